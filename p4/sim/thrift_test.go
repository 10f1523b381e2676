package sim_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/sim"
)

// The Thrift side does what a client of BMv2 asks for, queue by queue, and the
// limits in force follow.
func TestThriftCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sim.Serve(sim.Config{Personality: sim.BMv2, Ports: []p4.Port{1, 2}, Depths: []p4.Limit{128, 32}, Rate: 900}, sim.NewPipe())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		thrift := sim.NewPipe()
		s.ServeThrift(thrift)
		c, err := bmv2.New(bmv2.Config{Addr: "switch:9090", Dial: thrift.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := t.Context()
		show := func() string {
			return fmt.Sprint(s.Depths(1), s.InForce(1), s.Rate(1), " ", s.Depths(2), s.InForce(2), s.Rate(2), " ", s.Depths(9), s.Rate(9))
		}
		for _, x := range []struct {
			name string
			call func() error
			want string
		}{
			{"nothing", func() error { return nil }, "[128 32] 128 900 [128 32] 128 900 [64 64] 0"},
			{"all depths of a port", func() error { return c.SetQueueDepth(ctx, 1, 16) }, "[16 16] 16 900 [128 32] 128 900 [64 64] 0"},
			{"the second queue", func() error { return c.SetPriorityQueueDepth(ctx, 2, 1, 8) }, "[16 16] 16 900 [128 8] 128 900 [64 64] 0"},
			{"the first queue", func() error { return c.SetPriorityQueueDepth(ctx, 2, 0, 4) }, "[16 16] 16 900 [4 8] 4 900 [64 64] 0"},
			{"a rate", func() error { return c.SetQueueRate(ctx, 2, 1<<33) }, "[16 16] 16 900 [4 8] 4 8589934592 [64 64] 0"},
			{"a port that is not modelled", func() error { return c.SetPriorityQueueDepth(ctx, 9, 1, 7) }, "[16 16] 16 900 [4 8] 4 8589934592 [64 7] 0"},
			{"a restart", func() error { s.Restart(); return nil }, "[64 64] 64 0 [64 64] 64 0 [64 64] 0"},
		} {
			if err := x.call(); err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			if got := show(); got != x.want {
				t.Errorf("%s: %s, want %s", x.name, got, x.want)
			}
		}
		_, _ = c.Uptime(ctx) // the connection that the restart broke
		for _, wait := range []time.Duration{0, 5 * time.Second, time.Hour} {
			before, err := c.Uptime(ctx)
			time.Sleep(wait)
			after, err2 := c.Uptime(ctx)
			if errors.Join(err, err2) != nil || after-before != wait || after != s.Uptime() {
				t.Errorf("uptime %v, %v later %v; %v, %v", before, wait, after, err, err2)
			}
		}
		for _, q := range []int{2, 7, -1} {
			err := c.SetPriorityQueueDepth(ctx, 1, q, 32)
			if !errors.Is(err, p4.ErrNotProvisioned) {
				t.Errorf("queue %d of two: %v", q, err)
			}
		}
		if err := s.SetDepth(1, 2, 9); err == nil || err.Error() != "vector::_M_range_check: __n (which is 2) >= this->size() (which is 2)" {
			t.Errorf("%v", err)
		}
		s.Cut()
		if err := c.SetQueueDepth(ctx, 1, 5); !errors.Is(err, p4.ErrUnreachable) || s.Depths(1)[0] != 64 {
			t.Errorf("cut off: %v, %v", err, s.Depths(1))
		}
		s.Mend()
		if err := c.SetQueueDepth(ctx, 1, 5); err != nil || !slices.Equal(s.Depths(1), []p4.Limit{5, 5}) {
			t.Errorf("mended: %v, %v", err, s.Depths(1))
		}
	})
}

// Calls byte by byte (thrift-binary-protocol.md): what is a call is answered,
// by its number; what is none ends the connection.
func TestThriftBytes(t *testing.T) {
	s, err := sim.Serve(sim.Config{Personality: sim.BMv2, Ports: []p4.Port{1}}, sim.NewPipe())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	thrift := sim.NewPipe()
	s.ServeThrift(thrift)
	name := func(s string) string { return fmt.Sprintf("%08x%x", len(s), s) }
	const call, seq = "80010001", "00000105"
	refusal := func(method string) string {
		text := "Invalid method name: '" + method + "'"
		return "80010003" + name(method) + seq + "0b0001" + name(text) + "0800020000000600"
	}
	const depth, rate = "simple_switch:set_egress_queue_depth", "simple_switch:set_egress_queue_rate"
	arg := func(n int) string { return strings.Repeat("080001 00000001", n) + "00" }
	for _, c := range []struct{ what, in, out string }{
		{"a depth", call + name(depth) + seq + "080001 00000001 080002 00000020 00", "80010002" + name("set_egress_queue_depth") + seq + "080000 00000000 00"},
		{"a rate of 64 bits", call + name(rate) + seq + "080001 00000001 0a0002 0000000000000020 00", "80010002" + name("set_egress_queue_rate") + seq + "080000 00000000 00"},
		{"another method", call + name("simple_switch:x") + seq + "00", refusal("x")},
		{"another service", call + name("standard:set_egress_queue_depth") + seq + arg(2), refusal("set_egress_queue_depth")},
		{"an argument less", call + name(depth) + seq + arg(1), refusal("set_egress_queue_depth")},
		{"an argument more", call + name(depth) + seq + arg(3), refusal("set_egress_queue_depth")},
		{"eight arguments", call + name(depth) + seq + arg(8), refusal("set_egress_queue_depth")},
		{"a name of 256 bytes", call + name("simple_switch:"+strings.Repeat("x", 242)) + seq + "00", refusal(strings.Repeat("x", 242))},
		{"nine arguments", call + name(depth) + seq + arg(9), ""},
		{"a string", call + name(depth) + seq + "0b0001 00000000 00", ""},
		{"a name of 257 bytes", call + name("simple_switch:"+strings.Repeat("x", 243)) + seq + "00", ""},
		{"a reply", "80010002" + name(depth) + seq + "00", ""},
		{"not strict", name(depth) + seq + "00", ""},
	} {
		conn, err := thrift.Dial(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		in, err := hex.DecodeString(strings.ReplaceAll(c.in, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(strings.ReplaceAll(c.out, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { // a pipe has no buffer: the server may hang up before it has read all
			defer close(done)
			_, _ = conn.Write(in)
		}()
		got := make([]byte, max(len(want), 1))
		n, err := io.ReadFull(conn, got)
		if got = got[:n]; !bytes.Equal(got, want) || (err == nil) != (len(want) > 0) {
			t.Errorf("%s: %x, %v; want %x", c.what, got, err, want)
		}
		conn.Close()
		<-done
	}
	if got := fmt.Sprint(s.Depths(1), s.Rate(1)); got != "[32] 32" {
		t.Errorf("depths and rate %s", got)
	}
}
