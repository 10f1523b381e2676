package bmv2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
)

// scripted is a switch that answers each call as say tells it to, and keeps
// the names, arguments and numbers of the calls, and how often it was dialled.
type scripted struct {
	say func(method string, args []int64) (kind uint32, fields []byte)

	mu    sync.Mutex
	calls []string
	dials int
}

func (s *scripted) dial(context.Context, string) (net.Conn, error) {
	near, far := net.Pipe()
	s.mu.Lock()
	s.dials++
	s.mu.Unlock()
	go func() {
		defer far.Close()
		for {
			r := &reader{r: far}
			r.i32()
			name := r.string()
			seq := r.i32()
			var args []int64
			for t := r.i8(); t != typeStop && r.err == nil; t = r.i8() {
				if r.i16(); t == typeI64 {
					args = append(args, r.i64())
				} else {
					args = append(args, int64(r.i32()))
				}
			}
			if r.err != nil {
				return
			}
			s.mu.Lock()
			s.calls = append(s.calls, fmt.Sprint(seq, " ", name, args))
			s.mu.Unlock()
			kind, fields := s.say(name, args)
			if fields == nil {
				continue // mute
			}
			b := append([]byte(nil), 0x80, 1, 0, byte(kind), 0, 0, 0, byte(len(name)))
			b = append(append(b, name...), byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq))
			if _, err := far.Write(append(append(b, fields...), 0)); err != nil {
				return
			}
		}
	}()
	return near, nil
}

// client is a client of s, open until the test ends.
func (s *scripted) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{Addr: "switch:9090", Dial: s.dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func result(v int64) []byte {
	b := []byte{typeI64, 0, 0}
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(v>>shift))
	}
	return b
}

// Calls are numbered from 1, each with its service and arguments.
func TestCallsAreNumbered(t *testing.T) {
	s := &scripted{say: func(string, []int64) (uint32, []byte) { return reply, []byte{} }}
	c := s.client(t)
	ctx := t.Context()
	for _, err := range []error{c.SetQueueDepth(ctx, 3, 32), c.SetPriorityQueueDepth(ctx, 4, 2, 16), c.HasQueue(ctx, 5), c.SetQueueRate(ctx, 6, 1<<40)} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"1 simple_switch:set_egress_queue_depth[3 32]",
		"2 simple_switch:set_egress_priority_queue_depth[4 2 16]",
		"3 simple_switch:set_egress_priority_queue_depth[509 5 64]",
		"4 simple_switch:set_egress_queue_rate[6 1099511627776]",
	}
	if !slices.Equal(s.calls, want) || s.dials != 1 {
		t.Errorf("%d connections, calls %q, want %q", s.dials, s.calls, want)
	}
}

// What a switch refuses is an error that says how: a status, a queue that is
// not there, or its own words. No number comes with it.
func TestRefusals(t *testing.T) {
	exceptionOf := func(text string) []byte {
		return append([]byte{typeString, 0, 1, 0, 0, 0, byte(len(text))}, text...)
	}
	for _, c := range []struct {
		name   string
		kind   uint32
		fields []byte
		call   func(ctx context.Context, c *Client) error
		want   string
		is     error
	}{
		{"status", reply, result(3), func(ctx context.Context, c *Client) error { return c.SetQueueDepth(ctx, 1, 32) }, "bmv2: switch:9090: set_egress_queue_depth: status 3", nil},
		{
			"no such queue", exception, exceptionOf("vector::_M_range_check"),
			func(ctx context.Context, c *Client) error { return c.SetPriorityQueueDepth(ctx, 7, 3, 32) },
			"p4: no queue is provisioned for the limit 32: port 7 has no queue 3, and drops its packets: start the switch with --priority-queues 4 or more", p4.ErrNotProvisioned,
		},
		{
			"its words", exception, exceptionOf("busy"),
			func(ctx context.Context, c *Client) error { return c.SetPriorityQueueDepth(ctx, 7, 3, 32) },
			`bmv2: set_egress_priority_queue_depth: the switch answers "busy" (kind 0)`, nil,
		},
		{
			"uptime", exception, exceptionOf("busy"),
			func(ctx context.Context, c *Client) error { d, err := c.Uptime(ctx); return zero(int64(d), err) },
			`bmv2: get_time_elapsed_us: the switch answers "busy" (kind 0)`, nil,
		},
		{
			"limit", exception, exceptionOf("busy"),
			func(ctx context.Context, c *Client) error { l, err := c.Limit(ctx, 1); return zero(int64(l), err) },
			`bmv2: get_time_elapsed_us: the switch answers "busy" (kind 0)`, nil,
		},
		{
			"no limit", reply, result(1e6),
			func(ctx context.Context, c *Client) error { l, err := c.Limit(ctx, 1); return zero(int64(l), err) },
			"bmv2: switch:9090: p4: no limit is set on the port: port 1: Thrift cannot read depths, and this run of the switch was told none", p4.ErrNoLimit,
		},
	} {
		s := &scripted{say: func(string, []int64) (uint32, []byte) { return c.kind, c.fields }}
		client := s.client(t)
		if err := c.call(t.Context(), client); err == nil || err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if v, err := client.call(t.Context(), "x"); v != 0 || !errors.Is(err, p4.ErrClosed) {
			t.Errorf("%s: after Close: %d, %v", c.name, v, err)
		}
	}
}

// zero is err, or another where a number came with it.
func zero(v int64, err error) error {
	if err != nil && v != 0 {
		return fmt.Errorf("%d with %w", v, err)
	}
	return err
}

// An address without a port and a negative timeout are refused; 0 is a second.
func TestConfig(t *testing.T) {
	if _, err := New(Config{Addr: "a:1", Timeout: -1}); err == nil || err.Error() != "bmv2: timeout: -1ns is negative" {
		t.Errorf("timeout -1: %v", err)
	}
	for _, given := range []time.Duration{0, 1, time.Minute} {
		c, err := New(Config{Addr: "a:1", Timeout: given})
		if err != nil {
			t.Fatal(err)
		}
		if want := max(given, map[bool]time.Duration{true: time.Second}[given == 0]); c.cfg.Timeout != want {
			t.Errorf("timeout %v is %v, want %v", given, c.cfg.Timeout, want)
		}
	}
}

// A silent switch is given up after the timeout, with 0 for its answer; a
// call's own deadline holds where it is earlier.
func TestSilence(t *testing.T) {
	for _, own := range []time.Duration{time.Hour, 3 * time.Second, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{say: func(string, []int64) (uint32, []byte) { return 0, nil }}
			c, err := New(Config{Addr: "switch:9090", Dial: s.dial, Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), own)
			defer cancel()
			began := time.Now()
			up, err := c.Uptime(ctx)
			if took := time.Since(began); up != 0 || !errors.Is(err, p4.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || took != min(own, 2*time.Second) {
				t.Errorf("own deadline %v: %v, %v after %v", own, up, err, took)
			}
		})
	}
}

// The clocks of client and switch may drift apart by half a second between two
// questions; a boot that looks later than that is a restart, and so is an uptime
// that falls. An uptime that does not move is none.
func TestRestartByClocks(t *testing.T) {
	const second = int64(time.Second / time.Microsecond)
	for _, c := range []struct {
		name   string
		asked  time.Duration // after the limit was read first
		uptime int64         // then, 10 s at first
		kept   bool
	}{
		{"in step", time.Second, 11 * second, true},
		{"at once", 0, 10 * second, true},
		{"at once, a microsecond less", 0, 10*second - 1, false},
		{"half a second behind", time.Second, 10*second + second/2, true},
		{"more than half a second behind", time.Second, 10*second + second/2 - 1, false},
		{"stopped for an hour", time.Hour, 10 * second, false},
		{"an hour ahead", time.Second, 3600 * second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			up := 10 * second
			s := &scripted{say: func(method string, _ []int64) (uint32, []byte) {
				if method == "simple_switch:get_time_elapsed_us" {
					return reply, result(up)
				}
				return reply, []byte{}
			}}
			client := s.client(t)
			if err := client.SetLimit(t.Context(), 1, 32); err != nil {
				t.Fatal(err)
			}
			if l, err := client.Limit(t.Context(), 1); l != 32 || err != nil {
				t.Fatalf("at first: %d, %v", l, err)
			}
			time.Sleep(c.asked)
			up = c.uptime
			l, err := client.Limit(t.Context(), 1)
			if c.kept && (l != 32 || err != nil) || !c.kept && (l != 0 || !errors.Is(err, p4.ErrNoLimit)) {
				t.Errorf("%s: %d, %v; want the limit kept: %v", c.name, l, err, c.kept)
			}
		})
	}
}

// late is a connection whose reads end their call's context with the answer.
type late struct {
	net.Conn
	end func()
}

func (l *late) Read(b []byte) (int, error) {
	n, err := io.ReadAtLeast(l.Conn, b, 1)
	l.end()
	return n, err
}

// A deadline that strikes when the answer is there already would stay on the
// connection: the answer holds, and the next call has a connection of its own.
func TestDeadlineAfterTheAnswer(t *testing.T) {
	s := &scripted{say: func(string, []int64) (uint32, []byte) { return reply, result(5) }}
	end := func() {}
	c, err := New(Config{Addr: "switch:9090", Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := s.dial(ctx, addr)
		return &late{conn, func() { end() }}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for dials := 1; dials <= 3; dials++ {
		ctx, cancel := context.WithCancel(t.Context())
		end = cancel
		up, err := c.Uptime(ctx)
		cancel()
		if up != 5*time.Microsecond || err != nil || s.dials != dials {
			t.Errorf("call %d: %v, %v on connection %d", dials, up, err, s.dials)
		}
	}
	end = func() {}
	for range 2 {
		if up, err := c.Uptime(t.Context()); up != 5*time.Microsecond || err != nil || s.dials != 4 {
			t.Errorf("afterwards: %v, %v on connection %d", up, err, s.dials)
		}
	}
}

// A broken connection is given up: the next call dials anew.
func TestHangUpIsDialledAnew(t *testing.T) {
	var out bytes.Buffer
	s := &scripted{say: func(string, []int64) (uint32, []byte) { return reply, result(1) }}
	c := s.client(t)
	for i := range 3 {
		up, err := c.Uptime(t.Context())
		fmt.Fprintln(&out, up, err == nil)
		if i == 1 {
			c.conn.Close()
			v, err := c.call(t.Context(), "x")
			fmt.Fprintln(&out, v, errors.Is(err, p4.ErrUnreachable))
		}
	}
	if want := "1µs true\n1µs true\n0 true\n1µs true\n"; out.String() != want || s.dials != 2 {
		t.Errorf("%d connections, %s", s.dials, out.String())
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil || c.conn != nil {
		t.Errorf("close: %v", err)
	}
}
