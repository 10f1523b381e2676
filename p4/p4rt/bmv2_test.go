package p4rt

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/program"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/telemetry/intreport"
)

// What is offered and what the bottleneck serves, packets/s.
const (
	offered = 1600
	served  = 1000
)

// probed is a flow of probes over a line of switches: packets out at the
// first, packets in after the last. The bottleneck is port 2 of the second.
type probed struct {
	first, bottleneck, last *Client
}

// measured is what came of a while under one limit.
type measured struct {
	deepest   uint32        // largest enq_qdepth at the bottleneck
	delivered float64       // packets/s
	wrote     time.Duration // the change of the limit
}

// under puts a limit in force and offers load for a while. The first half
// second is what was queued before.
func (p probed) under(t *testing.T, l p4.Limit, seconds int) measured {
	t.Helper()
	var m measured
	at := time.Now()
	if err := p.bottleneck.SetLimit(t.Context(), 2, l); err != nil {
		t.Fatal(err)
	}
	m.wrote = time.Since(at)
	if got, err := p.bottleneck.Limit(t.Context(), 2); err != nil || got != l {
		t.Fatalf("read back %d, %v; want %d", got, err, l)
	}
	frame, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.9.9"), &intreport.Report{Format: intreport.Probe})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		// As many as are due by the clock: a machine that is busy for a while
		// makes up for it, so that the queue does not run dry.
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		begin, sent := time.Now(), 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for due := int(time.Since(begin).Seconds() * offered); sent < due; sent++ {
				if err := p.first.PacketOut(ctx, 2, frame); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		}
	})
	d, err := intreport.NewDecoder(intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	settle, end := time.After(500*time.Millisecond), time.After(500*time.Millisecond+time.Duration(seconds)*time.Second)
	n, counting := 0, false
	for done := false; !done; {
		select {
		case <-settle:
			counting = true
		case <-end:
			done = true
		case in := <-p.last.Packets():
			if !counting {
				continue
			}
			if err := d.Frame(in.Payload, func(r *intreport.Report) {
				for _, h := range r.Hops {
					if h.Switch == 2 {
						m.deepest = max(m.deepest, h.Depth)
						n++
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	sending.Wait()
	m.delivered = float64(n) / float64(seconds)
	return m
}

// check plays limits, each for so many seconds, and compares with what was
// measured when the mechanism was chosen.
func (p probed) check(t *testing.T, seconds int, limits ...p4.Limit) {
	for _, l := range limits {
		m := p.under(t, l, seconds)
		t.Logf("limit %d: deepest %d, delivered %.0f/s, written in %v", l, m.deepest, m.delivered, m.wrote)
		// BMv2 reads the size and pushes under two locks: limit itself is seen.
		if m.deepest != uint32(l)-1 && m.deepest != uint32(l) {
			t.Errorf("limit %d: enq_qdepth up to %d, want %d or %d", l, m.deepest, l-1, l)
		}
		if m.delivered < .97*served || m.delivered > 1.03*served {
			t.Errorf("limit %d: %.0f packets/s delivered, want %d", l, m.delivered, served)
		}
		if m.wrote > 50*time.Millisecond { // of a machine that is busy; idle, .6 ms
			t.Errorf("limit %d: written in %v, want at most 50 ms", l, m.wrote)
		}
	}
}

// line are the entries that lead probes from the first switch to the last's
// controller, and name the switches.
func line(n, of int) []program.Entry {
	port := "2"
	if n == of {
		port = "255" // --cpu-port
	}
	return []program.Entry{
		{Table: program.Routes, Match: map[string]string{"h.ipv4.dst": "10.0.9.9/32"}, Action: "I.forward", Params: map[string]string{"dmac": "2", "port": port}},
		{Table: program.Trace, Action: "int_hop", Params: map[string]string{"swid": string(rune('0' + n))}, Default: true},
	}
}

// TestBMv2 measures a real line of switches: see p4/BMV2.md.
func TestBMv2(t *testing.T) {
	list := os.Getenv("PLANEGYM_BMV2")
	if list == "" {
		t.Skip("PLANEGYM_BMV2 names no simple_switch_grpc: host:port of three in line, see p4/BMV2.md")
	}
	targets := strings.Split(list, ",")
	if len(targets) != 3 {
		t.Fatalf("PLANEGYM_BMV2: %d switches, want three in line", len(targets))
	}
	thrift := strings.Split(os.Getenv("PLANEGYM_BMV2_THRIFT"), ",")
	if len(thrift) != 3 {
		t.Fatalf("PLANEGYM_BMV2_THRIFT: %q: want host:port of the same three's --thrift-port", thrift)
	}
	b, err := bmv2.New(bmv2.Config{Addr: thrift[1]})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for q, depth := range []p4.Limit{64, 32} {
		if err := b.SetPriorityQueueDepth(t.Context(), 2, q, depth); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SetQueueRate(t.Context(), 2, served); err != nil {
		t.Fatal(err)
	}
	var c []*Client
	for i, target := range targets {
		c = append(c, start(t, Config{Switch: inventory.Switch{Target: target, DeviceID: 0, Ports: []p4.Port{2}, Queues: []p4.Limit{64, 32}, Entries: line(i+1, 3)}, Seed: uint64(i)}))
		ready(t, c[i])
	}
	probed{c[0], c[1], c[2]}.check(t, 10, 64, 32, 64, 32)
}

// TestBMv2Model holds the measurement itself to switches whose queue is a model
// of BMv2's.
func TestBMv2Model(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var servers [3]*sim.Server
		var pipes [3]*sim.Pipe
		queue := &bottleneck{deliver: func(frame []byte) { servers[2].PacketIn(1, frame) }}
		for i, backend := range []sim.Queues{queue.in(), queue, nil} {
			pipes[i] = sim.NewPipe()
			s, err := sim.Serve(sim.Config{Personality: sim.BMv2, Ports: []p4.Port{2}, Depths: []p4.Limit{64, 32}, Queues: backend}, net.Listener(pipes[i]))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			servers[i] = s
		}
		var c []*Client
		for i := range servers {
			c = append(c, start(t, Config{Switch: inventory.Switch{Target: "pipe", Dial: pipes[i].Dial, Ports: []p4.Port{2}, Queues: []p4.Limit{64, 32}, Entries: line(i+1, 3)}, Seed: uint64(i)}))
			ready(t, c[i])
		}
		probed{c[0], c[1], c[2]}.check(t, 1, 64, 32)
		for _, x := range c {
			x.Close()
		}
	})
}

// bottleneck is BMv2's queue: a packet is refused when size ≥ depth; send =
// max(now, last + 1/pps); enq_qdepth is the size before the push.
type bottleneck struct {
	deliver func([]byte)
	mu      sync.Mutex
	limit   p4.Limit
	sends   []time.Time // of those in the queue
	last    time.Time   // the last send
}

func (b *bottleneck) SetLimit(port p4.Port, l p4.Limit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if port == 2 {
		b.limit = l
	}
}
func (b *bottleneck) Packets(p4.Port) int64     { return 0 }
func (b *bottleneck) PacketOut(p4.Port, []byte) {}

// in is the backend of the switch before it.
func (b *bottleneck) in() sim.Queues { return before{b} }

type before struct{ next *bottleneck }

func (before) SetLimit(p4.Port, p4.Limit)          {}
func (before) Packets(p4.Port) int64               { return 0 }
func (b before) PacketOut(_ p4.Port, frame []byte) { b.next.arrive(frame) }

func (b *bottleneck) arrive(frame []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.sends = slices.DeleteFunc(b.sends, func(t time.Time) bool { return !t.After(now) })
	size := len(b.sends)
	if p4.Limit(size) >= b.limit {
		return
	}
	at := b.last.Add(time.Second / served)
	if at.Before(now) {
		at = now
	}
	b.last = at
	b.sends = append(b.sends, at)
	hop := intreport.Hop{Has: intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasWait | intreport.HasIngressTime | intreport.HasEgressTime, Switch: 2, Egress: 2, Depth: uint32(size), Wait: uint64(at.Sub(now).Microseconds()) * 1000, Wrap: 1 << 48 * 1000}
	out, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.9.9"), &intreport.Report{Format: intreport.Probe, Hops: []intreport.Hop{hop}})
	if err != nil {
		panic(err)
	}
	time.AfterFunc(at.Sub(now), func() { b.deliver(out) })
}
