// Package bmv2 sets queue depths over the Thrift interface of BMv2's
// simple_switch and simple_switch_grpc, whose P4Runtime has no call for it.
package bmv2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/planegym/planegym/p4"
)

// service is the name under which simple_switch offers its own calls; the
// rest is "standard".
const service = "simple_switch"

// Config says which switch is spoken to. Zero values are the defaults in the
// comments.
type Config struct {
	Addr    string        `toml:"addr"`    // host:port of --thrift-port, mostly 9090
	Timeout time.Duration `toml:"timeout"` // of a call; 1 s

	Dial func(ctx context.Context, addr string) (net.Conn, error) `toml:"-" json:"-"` // nil: TCP
}

// Client is a p4.Switch over Thrift. It connects when first called, and again
// after an error. Its calls may come from any goroutine; one is under way at
// a time.
//
// Thrift has no call that reads a depth. Limit tells what the switch has
// acknowledged, and asks its uptime to see that it is still the same run.
type Client struct {
	cfg Config

	mu     sync.Mutex
	closed bool
	conn   net.Conn
	in     *bufio.Reader
	seq    int32
	buf    []byte
	limits map[p4.Port]p4.Limit // acknowledged in this run of the switch
	uptime int64                // µs, as last reported
	booted time.Time            // by our clock, as last reported; zero: never asked
}

var _ p4.Switch = (*Client)(nil)

// New makes a client; it does not connect yet.
func New(cfg Config) (*Client, error) {
	if _, _, err := net.SplitHostPort(cfg.Addr); err != nil {
		return nil, fmt.Errorf("bmv2: addr: %q is not host:port", cfg.Addr)
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("bmv2: timeout: %v is negative", cfg.Timeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	return &Client{cfg: cfg, limits: map[p4.Port]p4.Limit{}}, nil
}

// Close hangs up; the depths stay.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.hangUp()
}

func (c *Client) hangUp() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn, c.in = nil, nil
	return err
}

// call makes one call of the switch's service; c.mu is held.
func (c *Client) call(ctx context.Context, method string, args ...arg) (int64, error) {
	if c.closed {
		return 0, p4.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	unreachable := func(err error) (int64, error) {
		_ = c.hangUp() // what is left on the connection would answer the next call
		return 0, fmt.Errorf("bmv2: %s: %s: %w: %w", c.cfg.Addr, method, p4.ErrUnreachable, err)
	}
	if c.conn == nil {
		conn, err := c.cfg.Dial(ctx, c.cfg.Addr)
		if err != nil {
			return unreachable(err)
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	c.seq++
	c.buf = appendCall(c.buf[:0], service, method, c.seq, args...)
	if _, err := conn.Write(c.buf); err != nil {
		return unreachable(errors.Join(err, ctx.Err()))
	}
	v, err := readReply(c.in, service, method, c.seq)
	var refused *SwitchError
	if err != nil && !errors.As(err, &refused) {
		return unreachable(errors.Join(err, ctx.Err()))
	}
	if !stop() {
		_ = c.hangUp() // the deadline struck after the answer: the connection keeps it
	}
	return v, err
}

// done makes a call whose result is a status: 0 where it was done.
func (c *Client) done(ctx context.Context, method string, args ...arg) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.call(ctx, method, args...)
	if err == nil && v != 0 {
		err = fmt.Errorf("bmv2: %s: %s: status %d", c.cfg.Addr, method, v)
	}
	return err
}

// SetQueueDepth sets the depth of all queues of a port.
func (c *Client) SetQueueDepth(ctx context.Context, port p4.Port, depth p4.Limit) error {
	return c.done(ctx, "set_egress_queue_depth", i32(int64(port)), i32(int64(depth)))
}

// SetPriorityQueueDepth sets the depth of one queue of a port. Since BMv2
// 1.15.1 queue i is the one that standard_metadata.priority i picks; before,
// Thrift counted from the other end. Error: p4.ErrNotProvisioned of a queue
// that the switch does not have; packets for it are dropped.
func (c *Client) SetPriorityQueueDepth(ctx context.Context, port p4.Port, queue int, depth p4.Limit) error {
	err := c.done(ctx, "set_egress_priority_queue_depth", i32(int64(port)), i32(int64(queue)), i32(int64(depth)))
	var refused *SwitchError
	if errors.As(err, &refused) && strings.Contains(refused.Message, "range_check") {
		return fmt.Errorf("%w %d: port %d has no queue %d, and drops its packets: start the switch with --priority-queues %d or more", p4.ErrNotProvisioned, depth, port, queue, queue+1)
	}
	return err
}

// spare is a port that no switch of ours uses: what is asked of its queues
// changes nothing that carries packets.
const spare p4.Port = 509

// HasQueue asks whether the switch has a queue of an id: nil, or
// p4.ErrNotProvisioned. Ports in use keep their depths.
func (c *Client) HasQueue(ctx context.Context, queue int) error {
	return c.SetPriorityQueueDepth(ctx, spare, queue, 64)
}

// SetQueueRate sets how many packets/s each queue of a port serves.
func (c *Client) SetQueueRate(ctx context.Context, port p4.Port, rate int64) error {
	return c.done(ctx, "set_egress_queue_rate", i32(int64(port)), i64(rate))
}

// Uptime is how long the switch has run.
func (c *Client) Uptime(ctx context.Context) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.look(ctx)
	return time.Duration(v) * time.Microsecond, err
}

// look asks the uptime; a switch that was restarted has lost its depths. The
// uptime says when it was started: it may be larger than the last one was, and
// of another run all the same.
func (c *Client) look(ctx context.Context) (int64, error) {
	asked := time.Now()
	v, err := c.call(ctx, "get_time_elapsed_us")
	if err != nil {
		return 0, err
	}
	// It was started between booted and booted plus the time of the call.
	booted := asked.Add(-time.Duration(v) * time.Microsecond)
	if v < c.uptime || !c.booted.IsZero() && booted.Sub(c.booted) > time.Since(asked)+slack {
		clear(c.limits)
	}
	c.uptime, c.booted = v, booted
	return v, nil
}

// slack is how far two clocks may drift apart between two looks.
const slack = 500 * time.Millisecond

// SetLimit sets the depth of a port's queues.
func (c *Client) SetLimit(ctx context.Context, port p4.Port, l p4.Limit) error {
	if err := l.Check(); err != nil {
		return err
	}
	if err := c.SetQueueDepth(ctx, port, l); err != nil {
		c.mu.Lock()
		delete(c.limits, port) // done or not: not known
		c.mu.Unlock()
		return err
	}
	c.mu.Lock()
	c.limits[port] = l
	c.mu.Unlock()
	return nil
}

// Limit is the depth last acknowledged for a port by this run of the switch,
// which is asked for its uptime. Error: p4.ErrNoLimit where nothing was.
func (c *Client) Limit(ctx context.Context, port p4.Port) (p4.Limit, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.look(ctx); err != nil {
		return 0, err
	}
	l, ok := c.limits[port]
	if !ok {
		return 0, fmt.Errorf("bmv2: %s: %w: port %d: Thrift cannot read depths, and this run of the switch was told none", c.cfg.Addr, p4.ErrNoLimit, port)
	}
	return l, nil
}
