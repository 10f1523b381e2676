package p4rt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/wait"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// State is the state of a client's connection to its switch.
type State struct {
	Connected bool // the stream is up and the switch has answered
	Primary   bool
	Synced    bool       // pipeline, entries and limits are as they should be
	Election  Election   // the highest that the switch reported
	Status    codes.Code // the last arbitration answer's
	Err       error      // why it is not connected, or not synced
	PacketIns uint64     // received
	Dropped   uint64     // of these, dropped because no caller took them in time
}

// Kind is what an Event tells.
type Kind string

// The kinds of events.
const (
	Up      Kind = "up"      // primary and synced
	Down    Kind = "down"    // the connection is lost
	Demoted Kind = "demoted" // another client is primary, or none is
	Failed  Kind = "failed"  // primary, but what the switch should hold could not be put there
)

// Event is a change. Of an Up, Pushed says that the switch had another
// pipeline or none, Restored how many entries had to be written.
type Event struct {
	Kind     Kind
	Err      error
	Pushed   bool
	Restored int
	Safe     bool // the safe limit was put in force: the switch had been out of our hands
	// Provisioned says that the queues were given their depths and rates.
	Provisioned bool
}

// PacketIn is a packet that a switch sent to its controller.
type PacketIn struct {
	Port    p4.Port // by which it came in
	Payload []byte
}

const packetQueue = 4096 // packets in that wait to be taken

// Client is a P4Runtime client of one switch: a p4.Switch. It owns a stream
// and the goroutine that keeps it up; calls may come from any goroutine.
type Client struct {
	cfg     *resolved
	cancel  context.CancelFunc
	done    chan struct{}
	packets chan PacketIn

	mu       sync.Mutex // all of below
	state    State
	changed  chan struct{} // closed and replaced whenever state changes
	closed   bool
	election *p4v1.Uint128 // to send: nil is unset
	held     bool          // claims what is free, pushes, puts back
	rpc      p4v1.P4RuntimeClient
	stream   p4v1.P4Runtime_StreamChannelClient
	resync   chan struct{} // asks the session to sync
	limits   map[p4.Port]p4.Limit
	lost     bool   // out of our hands since limits were in force
	term     uint64 // counts how often it was: a sync that began in another one is void
	ever     bool   // the switch was once as it should be
	unknown  bool   // the switch has restarted and nothing provisioned it
	taken    uint32 // times that an election id was another client's

	sending sync.Mutex // on stream
	writing sync.Mutex // one change of the switch at a time
}

var _ p4.Switch = (*Client)(nil)

// Open starts a client. It returns at once; Ready waits for the switch.
func Open(cfg Config) (*Client, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{
		cfg: r, cancel: cancel, done: make(chan struct{}), packets: make(chan PacketIn, packetQueue),
		changed: make(chan struct{}), limits: map[p4.Port]p4.Limit{}, held: !r.Backup, election: r.first(0),
	}
	go c.run(ctx)
	return c, nil
}

// Close ends the stream and waits for it; the limits stay in force.
func (c *Client) Close() error {
	c.update(func() { c.closed = true })
	c.cancel()
	<-c.done
	return nil
}

// State is a copy of the client's state.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Packets are the packets in. When no caller takes them, the oldest are dropped
// and counted.
func (c *Client) Packets() <-chan PacketIn { return c.packets }

// update changes state under the lock and wakes who waits for it.
func (c *Client) update(f func()) {
	c.mu.Lock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

func (c *Client) notify(e Event) {
	if c.cfg.Notify != nil {
		c.cfg.Notify(e)
	}
}

// await blocks until ok says so, or gives its error, or ctx ends.
func (c *Client) await(ctx context.Context, ok func() (bool, error)) error {
	for {
		c.mu.Lock()
		changed := c.changed
		done, err := ok()
		if c.closed {
			done, err = true, p4.ErrClosed
		}
		last := c.state.Err
		c.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(last, p4.ErrElection) {
				return c.named(last)
			}
			return c.named(unreachable(ctx.Err(), last))
		}
	}
}

func (c *Client) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.cfg.Target, err)
}

// connected, synced and primary are conditions of await; c.mu is held. A
// client that has failed once fails at once, it does not wait for better.
func (c *Client) connected() (bool, error) {
	if !c.state.Connected && errors.Is(c.state.Err, p4.ErrElection) {
		return false, c.named(c.state.Err)
	}
	if !c.state.Connected && c.state.Err != nil {
		return false, c.named(unreachable(c.state.Err))
	}
	return c.state.Connected, nil
}

func (c *Client) synced() (bool, error) {
	if ok, err := c.connected(); !ok {
		return false, err
	}
	if !c.state.Primary {
		return false, c.named(fmt.Errorf("%w (%v)", p4.ErrNotPrimary, c.state.Status))
	}
	if !c.state.Synced && c.state.Err != nil {
		return false, c.named(c.state.Err)
	}
	return c.state.Synced, nil
}

// Ready waits until the client is primary and the switch is as it should be,
// or, of a Backup, until it is connected.
func (c *Client) Ready(ctx context.Context) error {
	return c.await(ctx, func() (bool, error) {
		if !c.held {
			return c.state.Connected, nil
		}
		return c.state.Synced, nil
	})
}

// InHand is nil where the switch would accept a write now; it makes no call.
func (c *Client) InHand() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return p4.ErrClosed
	}
	ok, err := c.synced()
	if !ok && err == nil {
		err = c.named(fmt.Errorf("%w: it is not in order yet", p4.ErrUnreachable))
	}
	return err
}

// lose notes that the switch is out of our hands; c.mu is held.
func (c *Client) lose() {
	c.lost = true
	c.term++
}

// run keeps a session up until Close.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	key := rng.Key{Seed: c.cfg.Seed, Purpose: rng.Backoff}
	for attempt, n := 0, uint32(0); ctx.Err() == nil; n++ {
		answered, err := c.session(ctx)
		if answered {
			attempt = 0
		}
		if ctx.Err() != nil {
			return
		}
		c.update(func() {
			if c.state.Primary || c.state.Connected {
				c.lose()
			}
			if status.Code(err) == codes.InvalidArgument { // the id claimed is another client's
				err = fmt.Errorf("%w (id %d:%d): %w", p4.ErrElection, c.election.GetHigh(), c.election.GetLow(), err)
				c.taken++
				c.election = c.cfg.first(c.taken)
			}
			c.state.Connected, c.state.Primary, c.state.Synced, c.state.Err = false, false, false, err
			c.rpc, c.stream = nil, nil
		})
		c.notify(Event{Kind: Down, Err: err})
		_ = wait.For(ctx, backoff(c.cfg.Backoff, attempt, key.Float64(n)))
		attempt++
	}
}

// backoff is the wait before reconnect number attempt: doubling from bounds[0]
// to bounds[1], less a random half, so that clients of one switch do not
// return together.
func backoff(bounds [2]time.Duration, attempt int, u float64) time.Duration {
	d := bounds[0]
	for range attempt {
		if d *= 2; d >= bounds[1] {
			break
		}
	}
	d = min(d, bounds[1])
	return d - time.Duration(u*float64(d)/2)
}

// session is one connection: it arbitrates and receives until the stream
// ends. It owns the goroutine that syncs.
func (c *Client) session(ctx context.Context) (answered bool, err error) {
	options := []grpc.DialOption{grpc.WithTransportCredentials(c.cfg.creds), grpc.WithDisableServiceConfig(), grpc.WithNoProxy()}
	target := c.cfg.Target
	if c.cfg.Dial != nil {
		target = "passthrough:///" + target
		options = append(options, grpc.WithContextDialer(c.cfg.Dial))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, silent := context.WithCancelCause(ctx)
	cancel := func() { silent(nil) }
	defer cancel()
	rpc := p4v1.NewP4RuntimeClient(conn)
	stream, err := rpc.StreamChannel(ctx)
	if err != nil {
		return false, err
	}
	resync := make(chan struct{}, 1)
	var syncing sync.WaitGroup
	syncing.Go(func() { c.syncer(ctx, resync) })
	syncing.Go(func() {
		if err := c.watch(ctx, rpc); err != nil {
			silent(err)
		}
	})
	defer syncing.Wait()
	defer cancel()
	c.mu.Lock()
	c.rpc, c.stream, c.resync = rpc, stream, resync
	election := c.election
	c.mu.Unlock()
	if err := c.arbitrate(stream, election); err != nil {
		return false, reason(stream, err)
	}
	for {
		m, err := stream.Recv()
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
			err = cause
		}
		if err != nil {
			return answered, err
		}
		switch u := m.Update.(type) {
		case *p4v1.StreamMessageResponse_Arbitration:
			answered = true
			if err := c.answered(stream, u.Arbitration); err != nil {
				return answered, reason(stream, err)
			}
		case *p4v1.StreamMessageResponse_Packet:
			c.deliver(PacketIn{Port: p4.Port(c.cfg.names.metadatum(program.PacketIn, "ingress_port", u.Packet.Metadata)), Payload: u.Packet.Payload})
		}
	}
}

var errSilent = errors.New("the switch does not answer")

const (
	aliveEvery  = 2 * time.Second
	aliveWithin = 4 * time.Second // or a call's timeout, where that is longer
	lookEvery   = 5               // of these questions, one is about the entries
)

// watch asks the switch for the cookie of its pipeline, again and again, until
// ctx ends (nil) or no answer comes (errSilent): a connection to a switch that
// has gone silent stays open for minutes. gRPC's own keepalive would do for
// that, but servers hang up on clients that ping oftener than every 5 minutes.
// Another pipeline than ours is put right, and so are entries that are gone: a
// late push of a client that had our election id empties the tables, and the
// cookie stays ours.
func (c *Client) watch(ctx context.Context, rpc p4v1.P4RuntimeClient) error {
	due := time.Tick(aliveEvery)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		}
		call, cancel := context.WithTimeout(ctx, max(aliveWithin, c.cfg.Timeout))
		r, err := rpc.GetForwardingPipelineConfig(call, &p4v1.GetForwardingPipelineConfigRequest{
			DeviceId: c.cfg.DeviceID, ResponseType: p4v1.GetForwardingPipelineConfigRequest_COOKIE_ONLY,
		})
		cancel()
		code := status.Code(err)
		other := code == codes.FailedPrecondition || err == nil && r.GetConfig().GetCookie().GetCookie() != c.cfg.program.Cookie
		c.mu.Lock()
		ours := c.held && c.state.Synced
		c.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil
		case code == codes.DeadlineExceeded:
			return fmt.Errorf("%w: %w", errSilent, err)
		case ours && (other || err == nil && n%lookEvery == 0 && c.strayed(ctx)):
			c.distrust()
		}
	}
}

// reason is why a stream could not be sent on: its end's status.
func reason(stream p4v1.P4Runtime_StreamChannelClient, err error) error {
	if errors.Is(err, io.EOF) {
		if _, e := stream.Recv(); e != nil {
			return e
		}
	}
	return err
}

func (c *Client) deliver(p PacketIn) {
	dropped := uint64(0)
	for {
		select {
		case c.packets <- p:
			c.mu.Lock()
			c.state.PacketIns++
			c.state.Dropped += dropped
			c.mu.Unlock()
			return
		default:
		}
		select {
		case <-c.packets: // drop the oldest, keep the newest
			dropped++
		default:
		}
	}
}

// arbitrate sends an arbitration update.
func (c *Client) arbitrate(stream p4v1.P4Runtime_StreamChannelClient, election *p4v1.Uint128) error {
	a := &p4v1.MasterArbitrationUpdate{DeviceId: c.cfg.DeviceID, ElectionId: election}
	if c.cfg.Role != "" {
		a.Role = &p4v1.Role{Name: c.cfg.Role}
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	return stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Arbitration{Arbitration: a}})
}

// answered handles the switch's arbitration update. Where no client is primary
// it claims again: by the specification, unlike BMv2, a switch promotes no one.
func (c *Client) answered(stream p4v1.P4Runtime_StreamChannelClient, a *p4v1.MasterArbitrationUpdate) error {
	code := codes.Code(a.GetStatus().GetCode())
	highest := fromProto(a.GetElectionId())
	var demoted bool
	var claim *p4v1.Uint128
	c.update(func() {
		s := &c.state
		was := s.Primary
		s.Connected, s.Status, s.Election, s.Primary = true, code, highest, code == codes.OK
		if !s.Primary || !was {
			s.Synced, s.Err = false, nil
		}
		switch {
		case s.Primary && !was:
			signal(c.resync)
		case !s.Primary && was:
			demoted = true
			c.lose()
		}
		if code == codes.NotFound && c.held {
			if fromProto(c.election).Compare(highest) < 0 {
				c.election = toProto(highest)
			}
			claim = c.election
		}
	})
	if demoted {
		c.notify(Event{Kind: Demoted, Err: fmt.Errorf("%w (%v)", p4.ErrNotPrimary, code)})
	}
	if claim != nil {
		return c.arbitrate(stream, claim)
	}
	return nil
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Arbitrate claims the switch with an election id and waits for the answer:
// nil as primary. From then on the client holds its place, also one that was
// opened as Backup.
func (c *Client) Arbitrate(ctx context.Context, e Election) error {
	if err := c.await(ctx, c.connected); err != nil {
		return err
	}
	c.mu.Lock()
	stream, same := c.stream, c.election != nil && fromProto(c.election) == e
	c.election, c.held = toProto(e), true
	c.mu.Unlock()
	if stream == nil {
		return c.named(p4.ErrUnreachable)
	}
	if !same { // BMv2 does not answer an update that changes nothing
		if err := c.arbitrate(stream, toProto(e)); err != nil {
			return c.named(unreachable(err))
		}
	}
	return c.await(ctx, func() (bool, error) {
		if ok, err := c.connected(); !ok {
			return false, err
		}
		// Not found: a claim is under way. A lower primary: ours is not
		// answered yet.
		if !c.state.Primary && c.state.Status != codes.NotFound && c.state.Election.Compare(e) >= 0 {
			return false, c.named(fmt.Errorf("%w (%v)", p4.ErrNotPrimary, c.state.Status))
		}
		if c.state.Primary && !c.state.Synced {
			signal(c.resync)
		}
		// Primary by an earlier id: ours is not answered yet. The client itself
		// claims with a higher one where the switch has seen such.
		return c.state.Primary && c.state.Election == fromProto(c.election), nil
	})
}

// PacketOut sends a packet out of a port.
func (c *Client) PacketOut(ctx context.Context, port p4.Port, payload []byte) error {
	if err := c.await(ctx, c.connected); err != nil {
		return err
	}
	md, err := c.cfg.names.metadata(program.PacketOut, "egress_port", uint64(port))
	if err != nil {
		return c.named(err)
	}
	c.mu.Lock()
	stream, primary := c.stream, c.state.Primary
	c.mu.Unlock()
	if stream == nil || !primary {
		return c.named(p4.ErrNotPrimary)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	err = stream.Send(&p4v1.StreamMessageRequest{Update: &p4v1.StreamMessageRequest_Packet{Packet: &p4v1.PacketOut{Payload: payload, Metadata: md}}})
	if err != nil {
		return c.named(unreachable(err))
	}
	return nil
}
