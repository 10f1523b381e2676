package ws

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// ErrDisconnected is the end of a connection that nobody asked for.
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

// sentRequest is kept until its reply has come, to be sent again after a cut.
type sentRequest struct {
	seq uint64
	op  byte
	buf []byte
}

// Dial connects to rawURL (ws://host:port, wss://host, unix:///path/of/socket)
// and makes an environment there. ctx bounds the dialling alone. When the
// connection fails later, the call that finds out connects again and goes on
// where the session was.
func Dial(ctx context.Context, rawURL string, o DialOptions) (*Client, error) {
	if o.NumEnvs == 0 {
		o.NumEnvs = 1
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 5 * time.Second
	}
	kwargs, err := json.Marshal(o.Kwargs)
	if err != nil {
		return nil, fmt.Errorf("ws: kwargs: %w", err)
	}
	c := &Client{opts: o, url: rawURL}
	if err := c.dial(ctx, kwargs); err != nil {
		return nil, fmt.Errorf("ws: dial %s: %w", rawURL, err)
	}
	ctx, c.stop = context.WithCancel(context.Background())
	c.keeperEnd = make(chan struct{})
	go c.keep(ctx)
	return c, nil
}

// connect is a new connection.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, Subprotocols: []string{Protocol}, TLSClientConfig: c.opts.TLS}
	u, err := url.Parse(c.url)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Scheme == "unix":
		path := u.Path
		d.Proxy = nil
		d.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		u = &url.URL{Scheme: "ws", Host: "localhost", Path: Path}
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("%w: url %q: want ws://host:port, wss://host or unix:///path", ErrInvalidConfig, c.url)
	case u.Path == "" || u.Path == "/":
		u.Path = Path
	}
	h := http.Header{}
	if c.opts.Token != "" {
		h.Set("Authorization", "Bearer "+c.opts.Token)
	}
	up, resp, err := d.DialContext(ctx, u.String(), h)
	if err != nil {
		return nil, refused(resp, err)
	}
	if up.Subprotocol() != Protocol {
		_ = up.Close()
		return nil, fmt.Errorf("%w: the server chose subprotocol %q, want %s", ErrBadVersion, up.Subprotocol(), Protocol)
	}
	return newConn(up.NetConn(), true, maxReply, c.opts.WriteTimeout), nil
}

func (c *Client) dial(ctx context.Context, kwargs []byte) (err error) {
	up, err := c.connect(ctx)
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
	err = c.ask(ctx, "welcome", 0, map[string]any{"type": "hello", "id": 0, "client": clientName, "version": 1, "capabilities": []string{"final_info", "reset_options", "resume"}}, &w)
	if err != nil {
		return err
	}
	if c.token = w.ResumeToken; c.opts.Resume == 0 {
		c.opts.Resume = time.Duration(w.Limits.ResumeSeconds * float64(time.Second))
	}
	c.sent = 1
	err = c.ask(ctx, "made", 1, map[string]any{
		"type": "make", "id": 1, "scenario": c.opts.Scenario, "num_envs": c.opts.NumEnvs, "autoreset": c.opts.Autoreset,
		"model": c.opts.Model, "record": c.opts.Record, "kwargs": json.RawMessage(kwargs),
	}, &c.made)
	if err != nil {
		return err
	}
	c.got = 1
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
	return nil
}

// refused is the error of a handshake, from the error message in the body of
// resp where there is one.
func refused(resp *http.Response, err error) error {
	if resp == nil {
		return err
	}
	defer resp.Body.Close()
	var m errorMessage
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if json.Unmarshal(body, &m) != nil || m.Type != "error" {
		return fmt.Errorf("%w: HTTP %s", err, resp.Status)
	}
	return m.remote()
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

// waiter lets a context interrupt a read. The hook stays from call to call
// while the context is the same, so that waiting allocates nothing.
type waiter struct {
	conn *conn
	ctx  context.Context
	stop func() bool
	ran  chan struct{} // closed when the hook is done
}

func (w *waiter) on(ctx context.Context) error {
	if w.ctx != nil && reflect.TypeOf(ctx).Comparable() && w.ctx == ctx {
		return nil
	}
	if w.stop != nil && !w.stop() {
		<-w.ran // before the deadline that it sets is taken away
	}
	w.ctx, w.stop = ctx, nil
	if err := w.conn.net.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if ctx.Done() != nil {
		ran, conn := make(chan struct{}), w.conn
		w.ran = ran
		w.stop = context.AfterFunc(ctx, func() {
			defer close(ran)
			_ = conn.net.SetReadDeadline(time.Unix(1, 0))
			conn.interrupt()
		})
	}
	return nil
}

// next is the next data message. An error of ctx leaves the connection whole.
func (c *Client) next(ctx context.Context) (op byte, p []byte, err error) {
	for {
		op, p, err = c.receive(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return op, p, err
		}
		if err := c.resume(ctx, err); err != nil {
			return 0, nil, err
		}
	}
}

func (c *Client) receive(ctx context.Context) (op byte, p []byte, err error) {
	if err := c.waiting.on(ctx); err != nil {
		return 0, nil, err
	}
	for {
		op, p, err := c.conn.in.next()
		if err != nil {
			if isTimeout(err) && ctx.Err() != nil {
				return 0, nil, ctx.Err()
			}
			return 0, nil, err
		}
		switch op {
		case opText, opBinary:
			return op, p, nil
		case opPing:
			if err := c.conn.send(opPong, p, true); err != nil {
				return 0, nil, err
			}
		case opClose:
			return 0, nil, parseClose(p)
		}
	}
}

// use makes up the connection.
func (c *Client) use(up *conn) {
	if w := &c.waiting; w.stop != nil && !w.stop() {
		<-w.ran
	}
	c.conn, c.waiting = up, waiter{conn: up}
	c.alive.Store(up)
}

// keepRequest keeps a request, already in c.sent, for resume.
func (c *Client) keepRequest(op byte, b []byte) {
	k := &c.kept[c.sent%inFlight]
	k.seq, k.op, k.buf = c.sent, op, append(k.buf[:0], b...)
}

// write sends a message; ctx ends a write that waits for the network.
func (c *Client) write(ctx context.Context, op byte, b []byte, flush bool) error {
	if ctx.Done() != nil {
		if err := c.waiting.on(ctx); err != nil {
			return err
		}
	}
	return c.conn.send(op, b, flush)
}

// final says that nothing is to be hoped for after err.
func final(err error) bool {
	var closed *CloseError
	var remote *Error
	switch {
	case errors.As(err, &remote):
		return !errors.Is(err, ErrSessionBusy) && !errors.Is(err, ErrDraining) && !errors.Is(err, ErrRateLimited) && !errors.Is(err, ErrCapacity)
	case errors.As(err, &closed):
		return closed.Code != closeGoingAway && (closed.Code < closeNoPong || closed.Code >= closeBadFrame)
	}
	return false
}

// resume comes back to the session after a connection that ended with cause.
// When ctx ends before that, the next call tries again.
func (c *Client) resume(ctx context.Context, cause error) error {
	_ = c.conn.net.Close()
	if c.token == "" || c.opts.Resume < 0 || c.got == 0 || final(cause) {
		return c.fail(cause)
	}
	end := time.Now().Add(c.opts.Resume)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		up, accepted, err := c.reattach(ctx)
		if err == nil {
			c.use(up)
			for n := max(accepted, c.got) + 1; n <= c.sent && err == nil; n++ {
				k := &c.kept[n%inFlight]
				if k.seq != n {
					return c.fail(fmt.Errorf("%w: the server has not got request %d", ErrSessionLost, n))
				}
				err = c.conn.send(k.op, k.buf, false)
			}
			if err == nil {
				err = c.conn.flush()
			}
			if err == nil {
				return nil
			}
			_ = up.net.Close()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case final(err):
			return c.fail(err)
		case time.Now().Add(wait).After(end):
			return c.fail(fmt.Errorf("%w; not back within %v: %w", cause, c.opts.Resume, err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// reattach resumes on a new connection, once.
func (c *Client) reattach(ctx context.Context) (up *conn, accepted uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.opts.WriteTimeout)
	defer cancel()
	if up, err = c.connect(ctx); err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = up.net.Close() })
	defer stop()
	if accepted, err = c.sayResume(up); err != nil {
		_ = up.net.Close()
	}
	return up, accepted, err
}

func (c *Client) sayResume(up *conn) (accepted uint64, err error) {
	b, err := encode(map[string]any{
		"type": "resume", "id": 0, "client": clientName, "version": 1, "capabilities": []string{"final_info", "reset_options", "resume"}, "token": c.token, "last_seq": c.got,
	})
	if err != nil {
		return 0, err
	}
	if err := up.send(opText, b, true); err != nil {
		return 0, err
	}
	for {
		op, p, err := up.in.next()
		switch {
		case err != nil:
			return 0, err
		case op == opClose:
			return 0, parseClose(p)
		case op != opText:
			continue
		}
		var m struct {
			errorMessage
			Accepted uint64 `json:"accepted"`
		}
		if err := json.Unmarshal(p, &m); err != nil {
			return 0, fmt.Errorf("%w: %v", ErrBadFrame, err)
		}
		switch {
		case m.Type == "error":
			return 0, m.remote()
		case m.Type != "resumed" || m.Accepted < c.got || m.Accepted > c.sent:
			return 0, &Error{Code: "session_lost", Message: fmt.Sprintf("the server answers resume with %s of %d requests, sent are %d and answered %d", m.Type, m.Accepted, c.sent, c.got)}
		}
		return m.Accepted, nil
	}
}

const clientName = "planegym-go"

// fail makes the connection useless because of err.
func (c *Client) fail(err error) error {
	if c.broken == nil {
		var remote *Error
		if !errors.As(err, &remote) {
			err = fmt.Errorf("%w: %w", ErrDisconnected, err)
		}
		c.broken = err
		_ = c.conn.net.Close()
	}
	return c.broken
}

// ask sends the text request m of number id and reads its reply, of type
// want, into out.
func (c *Client) ask(ctx context.Context, want string, id uint64, m, out any) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	if len(b) > maxRequest {
		return fmt.Errorf("%w: a request of %d bytes, the most is %d", ErrCapacity, len(b), maxRequest)
	}
	if id != 0 {
		c.keepRequest(opText, b)
	}
	if err := c.write(ctx, opText, b, true); err != nil {
		if err := c.resume(ctx, err); err != nil {
			return err
		}
	}
	for {
		op, p, err := c.next(ctx)
		if err != nil {
			return err
		}
		seq, failed, err := c.number(ctx, op, p)
		switch {
		case err != nil:
			return err
		case seq == 0 && id != 0, seq != id && seq <= max(c.got, c.dropped):
			continue // an event, or nobody waits for it
		case seq != id:
			return c.fail(fmt.Errorf("%w: reply %d while %d is awaited", ErrBadFrame, seq, id))
		}
		c.got = max(c.got, seq)
		if failed != nil {
			return failed
		}
		if err := json.Unmarshal(p, out); err != nil {
			return c.fail(fmt.Errorf("%w: %s: %v", ErrBadFrame, want, err))
		}
		return nil
	}
}

// number is whose reply a message is, 0 for an event, and the error that the
// reply is, if it is one.
func (c *Client) number(ctx context.Context, op byte, p []byte) (seq uint64, failed, err error) {
	if op == opBinary {
		h, err := parseHeader(p)
		if err != nil {
			return 0, nil, c.fail(err)
		}
		return h.Seq, nil, nil
	}
	var m errorMessage
	if err := json.Unmarshal(p, &m); err != nil {
		return 0, nil, c.fail(fmt.Errorf("%w: %v", ErrBadFrame, err))
	}
	switch {
	case m.Type == "event":
		return 0, nil, nil
	case m.Type != "error":
		return m.ID, nil, nil
	case m.Fatal:
		return 0, nil, c.resume(ctx, m.remote())
	}
	return m.ID, m.remote(), nil
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

// Options are env.Optioner's.
func (c *Client) Options() env.OptionSpec {
	var s env.OptionSpec
	for name, into := range map[string]any{"initial_limit": &s.Initial, "phase": &s.Phases} {
		if v, ok := c.made.ResetOptions[name]; ok {
			b, err := json.Marshal(v)
			if err == nil {
				_ = json.Unmarshal(b, into) // a list of another kind is no option of ours
			}
		}
	}
	_, s.TrafficSeed = c.made.ResetOptions["traffic_seed"]
	_, s.Load = c.made.ResetOptions["load"]
	return s
}

// ResetWith is env.Optioner's.
func (c *Client) ResetWith(ctx context.Context, rows []int, seeds []uint64, o env.Options, out *env.Batch) error {
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
	options := map[string]any{}
	if o.Initial != nil {
		options["initial_limit"] = o.Initial
	}
	if o.TrafficSeed != nil {
		options["traffic_seed"] = wireSeeds(o.TrafficSeed)
	}
	if o.Load != nil {
		options["load"] = *o.Load
	}
	if o.Phase != "" {
		options["phase"] = o.Phase
	}
	for name := range options {
		if _, has := c.made.ResetOptions[name]; !has {
			return fmt.Errorf("%w: %s: the server's environment does not have it", env.ErrInvalidOption, name)
		}
	}
	c.sent++
	m := map[string]any{"type": "reset", "id": c.sent, "ack": c.got, "env": c.made.Env, "options": options, "info": c.opts.Info}
	if rows != nil {
		m["rows"] = rows
	}
	if seeds != nil {
		m["seeds"] = wireSeeds(seeds)
	}
	var r resetResult
	if err := c.ask(ctx, "reset_result", c.sent, m, &r); err != nil {
		if c.got < c.sent && c.broken == nil {
			c.dropped = c.sent
		}
		return err
	}
	out.Size(n, c.shape.d, c.shape.final)
	clear(out.Reward)
	clear(out.Terminated)
	clear(out.Truncated)
	clear(out.FinalObs)
	if len(r.Obs) != n {
		return c.fail(fmt.Errorf("%w: %d observations of %d rows", ErrBadFrame, len(r.Obs), n))
	}
	for i, obs := range r.Obs {
		if len(obs) != c.shape.d {
			return c.fail(fmt.Errorf("%w: an observation of %d numbers, want %d", ErrBadFrame, len(obs), c.shape.d))
		}
		copy(out.Obs[i*c.shape.d:], obs)
	}
	for j, f := range c.made.InfoFields {
		column := r.Info[f.Name]
		for i := range min(n, len(column)) {
			at := env.RowAt(rows, i)*c.shape.f + j
			if at < len(c.info) {
				c.info[at], c.final[at] = column[i], column[i]
			}
		}
	}
	return nil
}

func wireSeeds(seeds []uint64) []seed {
	out := make([]seed, len(seeds))
	for i, s := range seeds {
		out[i] = seed(s)
	}
	return out
}

// begin checks what all calls share.
func (c *Client) begin(ctx context.Context, rows []int) (n int, err error) {
	switch {
	case c.closed:
		return 0, env.ErrClosed
	case c.broken != nil:
		return 0, c.broken
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case rows == nil:
		return c.shape.num, nil
	case len(rows) == 0:
		return 0, fmt.Errorf("%w: none are named", env.ErrInvalidRows)
	}
	return len(rows), env.CheckRows(rows, c.seen)
}

// alone reports steps whose results Recv has not given.
func (c *Client) alone() error {
	if n := c.sent - max(c.got, c.dropped); n > 0 {
		return fmt.Errorf("ws: %d sent steps are to be received first", n)
	}
	return nil
}

// post sends c.req. With an error of ctx and seq above 0 the request is under way
// all the same: the next call sends it.
func (c *Client) post(ctx context.Context, kind uint8, n int, rows []int, flush bool) (seq uint64, err error) {
	r := &c.req
	r.header = header{Type: kind, Env: c.made.Env, N: uint32(n), Seq: c.sent + 1}
	r.Rows, r.Ack = rows, c.got
	if rows != nil {
		r.Flags |= flagSubset
	}
	if c.opts.Info {
		r.Flags |= flagInfo
	}
	if c.resync || c.sent == max(c.got, c.dropped) {
		r.Flags |= flagResync
	}
	if r.Seeds != nil {
		r.Flags |= flagSeeds
	}
	c.buf = r.append(c.buf[:0])
	r.Rows, r.Seeds, r.Actions = nil, nil, nil // the caller's
	if len(c.buf) > maxRequest {
		return 0, fmt.Errorf("%w: a request of %d bytes, the most is %d", ErrCapacity, len(c.buf), maxRequest)
	}
	c.sent++
	c.resync = false
	c.keepRequest(opBinary, c.buf)
	if err := c.write(ctx, opBinary, c.buf, flush); err != nil {
		if err := c.resume(ctx, err); err != nil {
			return c.sent, err
		}
	}
	c.active.Store(true)
	return c.sent, nil
}

// await reads the result of seq, whose rows were rows, into out. An error of
// ctx, or nil and c.got < seq, means that it has not come.
func (c *Client) await(ctx context.Context, seq uint64, want uint8, rows []int, out *env.Batch) error {
	for {
		op, p, err := c.next(ctx)
		if err != nil {
			return err
		}
		got, failed, err := c.number(ctx, op, p)
		switch {
		case err != nil:
			return err
		case got == 0, got <= c.got: // an event; a reply that had come before a cut
			continue
		case got == c.got+1 && got <= c.dropped: // its caller has gone
			c.got = got
			continue
		case got != seq || got != c.got+1:
			return c.fail(fmt.Errorf("%w: reply %d while %d is awaited", ErrBadFrame, got, seq))
		}
		c.got = got
		if failed != nil {
			c.resync = c.resync || !errors.Is(failed, ErrSkipped)
			return failed
		}
		if err := c.res.decode(p, c.shape, out); err != nil {
			return c.fail(err)
		}
		if c.res.Type != want || rows != nil && int(c.res.N) != len(rows) || rows == nil && c.res.Flags&flagSubset == 0 && int(c.res.N) != c.shape.num {
			return c.fail(fmt.Errorf("%w: reply %d is of type %d and %d rows", ErrBadFrame, got, c.res.Type, c.res.N))
		}
		if f := c.shape.f; len(c.res.Info) > 0 && len(c.info) > 0 && want != typeStepManyResult {
			final := c.res.Info
			if len(c.res.Final) > 0 {
				final = c.res.Final
			}
			for i := range int(c.res.N) {
				copy(c.info[env.RowAt(rows, i)*f:][:f], c.res.Info[i*f:])
				copy(c.final[env.RowAt(rows, i)*f:][:f], final[i*f:])
			}
		}
		return nil
	}
}

// call is a request and its result. When ctx ends between them the request
// is executed all the same, and its result dropped.
func (c *Client) call(ctx context.Context, kind uint8, n int, rows []int, out *env.Batch) error {
	seq, err := c.post(ctx, kind, n, rows, true)
	if err == nil {
		err = c.await(ctx, seq, kind+1, rows, out)
	}
	if err != nil && c.got < seq && c.broken == nil {
		c.dropped = seq
	}
	return err
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
	if limit := uint64(c.made.InFlight); err == nil && c.sent-c.got >= limit {
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
		if err := c.conn.flush(); err != nil {
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
	c.sent++
	m["id"], m["ack"], m["env"] = c.sent, c.got, c.made.Env
	return c.ask(ctx, want, c.sent, m, out)
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
	c.sent++
	err := c.ask(ctx, "closed", c.sent, map[string]any{"type": "close", "id": c.sent, "ack": c.got}, new(envReply))
	_ = c.conn.net.Close()
	if err != nil {
		return fmt.Errorf("ws: close: %w", err)
	}
	return nil
}
