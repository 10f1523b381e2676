package ws

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// This file is the Go client as an environment. Its calls run on their caller's goroutine, one at a
// time; keep runs beside them and only writes.

// ErrDisconnected is the error of a connection that ended by itself.
var ErrDisconnected = errors.New("connection to the server is lost")

// DialOptions say what to make on the server. Zero values are the defaults
// in the comments.
type DialOptions struct {
	Scenario  string
	NumEnvs   int // 1
	Autoreset env.Autoreset
	Model     string // "": the scenario's own
	Record    bool
	Kwargs    any  // marshalled to JSON; nil: none
	Info      bool // ask for infos at every reset and step: Client.Info has them

	Token        string      // bearer token; "": none
	TLS          *tls.Config // of wss; nil: the system's roots
	WriteTimeout time.Duration
	KeepAlive    time.Duration // a frame is sent after so long without one; 5 s
	Resume       time.Duration // how long to try to come back after a cut; as long as the server waits, negative: not at all
}

// Client is an environment on a server: an env.Vector, env.Pipeline,
// env.Snapshotter and env.Informer. Like every Vector it serves one caller
// at a time.
type Client struct {
	conn  *conn
	url   string
	reach func(context.Context) (*conn, error) // connect, but in tests
	opts  DialOptions
	token string                // to resume with
	kept  [inFlight]sentRequest // by number, those above got
	alive atomic.Pointer[conn]  // conn, for the keeper
	spec  env.Spec
	made  made
	shape shape
	s     int // actions of a row

	closed  bool
	broken  error  // why the connection is of no use any more
	sent    uint64 // number of the last request
	got     uint64 // number of the last reply
	dropped uint64 // replies up to here have lost their caller
	resync  bool   // an error came: the next request starts anew

	seen    []bool // scratch of env.CheckRows
	req     request
	buf     []byte
	res     result
	info    []float32 // [Num,F], of each row's last step
	final   []float32 // [Num,F], likewise, of the episode that the step ended where it did
	finals  bool      // the server sends final infos
	waiting waiter

	active    atomic.Bool // a frame was sent since the keeper looked
	stop      context.CancelFunc
	keeperEnd chan struct{}
}

var _ interface {
	env.Vector
	env.Pipeline
	env.Snapshotter
	env.FinalInformer
	env.Optioner
} = (*Client)(nil)

// Dial connects to rawURL (ws://host:port, wss://host, unix:///path/of/socket)
// and makes an environment there. ctx bounds the dialling alone. When the
// connection fails later, the call that finds out connects again and goes on
// where the session was.
func Dial(ctx context.Context, rawURL string, o DialOptions) (*Client, error) {
	kwargs, err := json.Marshal(o.Kwargs)
	if err != nil {
		return nil, fmt.Errorf("ws: kwargs: %w", err)
	}
	c := &Client{opts: o, url: rawURL}
	c.reach = c.connect
	if err := c.dial(ctx, kwargs); err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
			err = op.Err // the address is in the message already
			if call := (*os.SyscallError)(nil); errors.As(err, &call) {
				err = call.Err
			}
		}
		return nil, fmt.Errorf("ws: dial %s: %w", rawURL, err)
	}
	return c, nil
}

// dial opens the session and makes the environment in it.
func (c *Client) dial(ctx context.Context, kwargs []byte) (err error) {
	o := &c.opts
	if o.NumEnvs == 0 {
		o.NumEnvs = 1
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 5 * time.Second
	}
	up, err := c.reach(ctx)
	if err != nil {
		return err
	}
	c.use(up)
	defer func() {
		if err != nil {
			_ = c.conn.net.Close()
		}
	}()
	var w welcome
	err = c.exchange(ctx, "welcome", 0, map[string]any{"type": "hello", "id": 0, "client": clientName, "version": 1, "capabilities": []string{"final_info", "reset_options", "resume"}}, &w)
	if err != nil {
		return err
	}
	if c.token = w.ResumeToken; c.opts.Resume == 0 {
		c.opts.Resume = time.Duration(w.Limits.ResumeSeconds * float64(time.Second))
	}
	err = c.ask(ctx, "made", map[string]any{
		"type": "make", "scenario": c.opts.Scenario, "num_envs": c.opts.NumEnvs, "autoreset": c.opts.Autoreset,
		"model": c.opts.Model, "record": c.opts.Record, "kwargs": json.RawMessage(kwargs),
	}, &c.made)
	if err != nil {
		return err
	}
	if c.spec, err = c.made.spec(); err != nil {
		return err
	}
	c.s = len(c.spec.Action)
	c.shape = shape{c.made.NumEnvs, c.spec.Observation.Dim(), len(c.made.InfoFields), c.spec.Autoreset == env.SameStep}
	c.seen = make([]bool, c.shape.num)
	if c.opts.Info {
		c.info, c.final = make([]float32, c.shape.num*c.shape.f), make([]float32, c.shape.num*c.shape.f)
		c.finals = slices.Contains(w.Capabilities, "final_info")
	}
	ctx, c.stop = context.WithCancel(context.Background())
	c.keeperEnd = make(chan struct{})
	go c.keep(ctx)
	return nil
}

// keep sends an empty pong when nothing else was sent for a while, so that
// the server sees us while the caller computes.
func (c *Client) keep(ctx context.Context) {
	defer close(c.keeperEnd)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.opts.KeepAlive):
			if !c.active.Swap(false) {
				_ = c.alive.Load().send(opPong, nil, true) // the next call finds out
			}
		}
	}
}

// Spec is the remote vector's.
func (c *Client) Spec() env.Spec { return c.spec }

// Num is the number of environments.
func (c *Client) Num() int { return c.shape.num }

// ModelHash names the model behind the environment, "" where there is none.
func (c *Client) ModelHash() string { return c.made.ModelHash }

// InfoFields are the columns of Info, none unless DialOptions.Info asked.
func (c *Client) InfoFields() []telemetry.Field {
	if !c.opts.Info {
		return nil
	}
	out := make([]telemetry.Field, len(c.made.InfoFields))
	for i, f := range c.made.InfoFields {
		out[i] = telemetry.Field(f)
	}
	return out
}

// Info appends the infos that came with the row's last reset or step to dst.
func (c *Client) Info(row int, dst []float32) []float32 {
	if len(c.info) == 0 {
		return dst
	}
	return append(dst, c.info[row*c.shape.f:(row+1)*c.shape.f]...)
}

// FinalInfo is env.FinalInformer's. It does not know them of a server that does
// not send them.
func (c *Client) FinalInfo(row int, dst []float32) ([]float32, bool) {
	if len(c.final) == 0 || !c.finals && c.spec.Autoreset == env.SameStep {
		return dst, false
	}
	return append(dst, c.final[row*c.shape.f:(row+1)*c.shape.f]...), true
}

// begin checks what all calls share.
func (c *Client) begin(ctx context.Context, rows []int) (n int, err error) {
	switch {
	case c.closed:
		err = env.ErrClosed
	case c.broken != nil:
		err = c.broken
	case ctx.Err() != nil:
		err = ctx.Err()
	case rows == nil:
		n = c.shape.num
	case len(rows) == 0:
		err = fmt.Errorf("%w: none are named", env.ErrInvalidRows)
	default:
		n, err = len(rows), env.CheckRows(rows, c.seen)
	}
	return n, err
}

// alone reports steps whose results Recv has not given.
func (c *Client) alone() error {
	if n := c.sent - max(c.got, c.dropped); n > 0 {
		return fmt.Errorf("ws: %d sent steps are to be received first", n)
	}
	return nil
}

// Reset is env.Vector's.
func (c *Client) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	n, err := c.begin(ctx, rows)
	if err == nil {
		err = c.alone()
	}
	if err != nil {
		return err
	}
	if seeds != nil && len(seeds) != n {
		return fmt.Errorf("%w: %d seeds for %d rows", env.ErrInvalidRows, len(seeds), n)
	}
	c.req.Seeds = seeds
	return c.call(ctx, typeReset, n, rows, out)
}

func (c *Client) checkActions(n, steps int, actions []int32) error {
	if len(actions) != n*steps*c.s {
		return fmt.Errorf("%w: %d actions for %d steps of %d rows of %d", env.ErrInvalidAction, len(actions), steps, n, c.s)
	}
	return nil
}

// Step is env.Vector's. When ctx ends while the result is awaited, the step
// takes place all the same.
func (c *Client) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	n, err := c.begin(ctx, rows)
	if err == nil {
		err = c.alone()
	}
	if err == nil {
		err = c.checkActions(n, 1, actions)
	}
	if err != nil {
		return err
	}
	c.req.Actions = actions
	return c.call(ctx, typeStep, n, rows, out)
}

// StepMany steps rows (nil: all) steps times in one round trip, actions
// [steps,n,S], and fills out with steps·n rows, [steps,n,D]. All actions are
// validated before any row steps. With Autoreset disabled it stops after the
// step that ended an episode: done says how many were done.
func (c *Client) StepMany(ctx context.Context, rows []int, steps int, actions []int32, out *env.Batch) (done int, err error) {
	n, err := c.begin(ctx, rows)
	if err == nil {
		err = c.alone()
	}
	if err == nil && steps < 1 {
		err = fmt.Errorf("%w: %d steps", env.ErrInvalidAction, steps)
	}
	if err == nil {
		err = c.checkActions(n, steps, actions)
	}
	if err != nil {
		return 0, err
	}
	c.req.Actions, c.req.Steps = actions, steps
	if err := c.call(ctx, typeStepMany, n, rows, out); err != nil {
		return 0, err
	}
	return c.res.Steps, nil
}

// Send is env.Pipeline's; at most 64 steps may be under way. What is sent
// waits for Recv only while results lie ready to be received.
func (c *Client) Send(rows []int, actions []int32) (seq uint64, err error) {
	n, err := c.begin(context.Background(), rows)
	if err == nil {
		err = c.checkActions(n, 1, actions)
	}
	if limit := uint64(min(c.made.InFlight, inFlight)); err == nil && c.sent-c.got >= limit {
		err = fmt.Errorf("%w: %d steps are under way, the most allowed", ErrCapacity, limit)
	}
	if err != nil {
		return 0, err
	}
	c.req.Actions = actions
	return c.post(context.Background(), typeStep, n, rows, !c.conn.in.ready())
}

// Recv is env.Pipeline's. Infos of a step of a subset are not kept.
func (c *Client) Recv(ctx context.Context, out *env.Batch) (seq uint64, err error) {
	if _, err := c.begin(ctx, nil); err != nil {
		return 0, err
	}
	if c.sent == max(c.got, c.dropped) {
		return 0, errors.New("ws: no step is under way")
	}
	if !c.conn.in.ready() {
		err := c.waiting.toWrite(ctx)
		if err == nil {
			err = c.conn.flush()
		}
		if err != nil {
			if err := c.resume(ctx, err); err != nil {
				return 0, err
			}
		}
	}
	seq = max(c.got, c.dropped) + 1
	err = c.await(ctx, seq, typeStepResult, nil, out)
	if err != nil && c.got < seq {
		return 0, err
	}
	return seq, err
}

// Snapshot is env.Snapshotter's.
func (c *Client) Snapshot(row int, dst []byte) ([]byte, error) {
	var out stateResult
	if err := c.control("state_result", map[string]any{"type": "state", "rows": []int{row}}, &out); err != nil {
		return dst, err
	}
	if len(out.States) != 1 {
		return dst, c.fail(fmt.Errorf("%w: %d states of one row", ErrBadFrame, len(out.States)))
	}
	return append(dst, out.States[0]...), nil
}

// Restore is env.Snapshotter's.
func (c *Client) Restore(row int, src []byte) error {
	return c.control("state_set", map[string]any{"type": "set_state", "rows": []int{row}, "states": [][]byte{src}}, new(envReply))
}

// control sends the text request m to the environment.
func (c *Client) control(want string, m map[string]any, out any) error {
	ctx := context.Background()
	if _, err := c.begin(ctx, nil); err != nil {
		return err
	}
	if err := c.alone(); err != nil {
		return err
	}
	m["env"] = c.made.Env
	return c.ask(ctx, want, m, out)
}

// Close frees the environment on the server and disconnects. Closing again
// does nothing.
func (c *Client) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	c.opts.Resume = -1 // a server that is gone has nothing to free
	c.stop()
	<-c.keeperEnd
	if c.broken != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.WriteTimeout)
	defer cancel()
	c.dropped = c.sent
	err := c.ask(ctx, "closed", map[string]any{"type": "close"}, new(envReply))
	_ = c.conn.net.Close()
	if err != nil {
		return fmt.Errorf("ws: close: %w", err)
	}
	return nil
}
