// Package emulate makes the emulated testbed look like real switches: each is a
// P4Runtime server, telemetry reports leave it over UDP or as packets in, and
// the player posts its samples, in real time or a multiple of it.
package emulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/internal/wait"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
)

// Config describes the emulation. Zero values are the defaults in the comments.
type Config struct {
	Testbed     testbed.Config
	Seed        uint64
	Personality sim.Personality // "strict"
	// Depths are what the switches' queues are provisioned with; queue 0, the
	// first, is where they begin.
	Depths []p4.Limit
	Scale  float64  // testbed's seconds in one of ours; 1
	Addrs  []string // where the switches listen; free ports of 127.0.0.1
	UDP    string   // host:port that telemetry reports are sent to; "": nowhere
	HTTP   string   // URL that the player's samples are posted to; "": nowhere
	// Changed is called for every limit that comes into force, per switch in
	// that order; it must not block.
	Changed func(sw int, port p4.Port, l p4.Limit)
}

// Port is the port of every switch whose queue the testbed has.
const Port = p4.Port(1)

// Emulation is a running testbed behind P4Runtime.
type Emulation struct {
	cfg     Config
	plant   *testbed.Testbed
	servers []*sim.Server
	queues  []*queue
	thrift  []string
	second  time.Duration
	out     net.Conn // UDP; nil: none
	post    chan []byte
	lost    atomicCount
	seq     uint32
	cum     float64
}

type atomicCount struct {
	sync.Mutex
	n uint64
}

// queue is the backend of one switch.
type queue struct {
	sw      int
	changed func(sw int, port p4.Port, l p4.Limit)

	mu     sync.Mutex
	limit  p4.Limit
	probes int64
}

func (q *queue) SetLimit(port p4.Port, l p4.Limit) {
	if port != Port {
		return
	}
	q.mu.Lock()
	q.limit = l
	q.mu.Unlock()
	if q.changed != nil {
		q.changed(q.sw, port, l)
	}
}

// Packets counts the probes that crossed: the testbed reports no others.
func (q *queue) Packets(port p4.Port) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if port != Port {
		return 0
	}
	return q.probes
}

// PacketOut drops it: the testbed has its own probes.
func (q *queue) PacketOut(p4.Port, []byte) {}

// Open starts the switches. Run makes time go on.
func Open(cfg Config) (*Emulation, error) {
	if cfg.Scale == 0 {
		cfg.Scale = 1
	}
	switch {
	case !(cfg.Scale >= 1e-3 && cfg.Scale <= 1e4):
		return nil, fmt.Errorf("emulate: scale: %v is outside 0.001…10000", cfg.Scale)
	case len(cfg.Depths) == 0:
		return nil, errors.New("emulate: depths: none are given")
	}
	plant, err := testbed.New(cfg.Testbed)
	if err != nil {
		return nil, err
	}
	if n := plant.Switches(); len(cfg.Addrs) == 0 {
		cfg.Addrs = slices.Repeat([]string{"127.0.0.1:0"}, n)
	} else if len(cfg.Addrs) != n {
		return nil, fmt.Errorf("emulate: addrs: %d for %d switches", len(cfg.Addrs), n)
	}
	e := &Emulation{cfg: cfg, plant: plant, second: time.Duration(float64(time.Second) / cfg.Scale), post: make(chan []byte, 16)}
	for i, addr := range cfg.Addrs {
		q := &queue{sw: i, changed: cfg.Changed}
		s, err := sim.Open(sim.Config{
			Personality: cfg.Personality, Addr: addr, DeviceID: uint64(i + 1), Ports: []p4.Port{Port}, Depths: cfg.Depths, Queues: q,
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("emulate: switch %d: %w", i+1, err), e.Close())
		}
		e.servers, e.queues = append(e.servers, s), append(e.queues, q)
		if cfg.Personality != sim.BMv2 {
			continue
		}
		thrift, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("emulate: switch %d: %w", i+1, err), e.Close())
		}
		s.ServeThrift(thrift)
		e.thrift = append(e.thrift, thrift.Addr().String())
	}
	if cfg.UDP != "" {
		if e.out, err = net.Dial("udp", cfg.UDP); err != nil {
			return nil, errors.Join(fmt.Errorf("emulate: udp: %w", err), e.Close())
		}
	}
	return e, nil
}

// Servers are the switches.
func (e *Emulation) Servers() []*sim.Server { return e.servers }

// Thrift is where the switches listen for Thrift calls; nil of those that are no
// BMv2.
func (e *Emulation) Thrift() []string { return e.thrift }

// Lost counts the player's samples that no collector accepted.
func (e *Emulation) Lost() uint64 {
	e.lost.Lock()
	defer e.lost.Unlock()
	return e.lost.n
}

// Close ends the switches.
func (e *Emulation) Close() error {
	var errs []error
	for _, s := range e.servers {
		errs = append(errs, s.Close())
	}
	if e.out != nil {
		errs = append(errs, e.out.Close())
	}
	return errors.Join(errs...)
}

// Run lets time go on until ctx ends, and then returns nil. Each second of the
// testbed is run under the limits in force when it begins; its probes and the
// player's sample then leave at their times in it.
func (e *Emulation) Run(ctx context.Context) error {
	var posting sync.WaitGroup
	posting.Go(func() { e.poster(ctx) })
	defer posting.Wait()
	log := e.plant.Keep(0)
	var w telemetry.Window
	w.Size(1, 1, len(e.plant.Columns()))
	limits := make([]p4.Limit, len(e.queues))
	inForce := func() []p4.Limit {
		for i, q := range e.queues {
			q.mu.Lock()
			limits[i] = q.limit
			q.mu.Unlock()
		}
		return limits
	}
	if err := e.plant.Reset(ctx, []int{0}, []uint64{e.cfg.Seed}, inForce(), &w); err != nil {
		return done(ctx, err)
	}
	first := int64(log.Seconds()) // what the log began with
	forget(log)
	begin := time.Now()
	epoch := begin // of the switches' and the player's clocks, which run with the testbed
	for n := int64(0); ; n++ {
		if err := e.plant.Advance(ctx, []int{0}, inForce(), &w); err != nil {
			return done(ctx, err)
		}
		start := begin.Add(time.Duration(n) * e.second)
		for i, p := range log.Probes {
			at := float64(p.Arrived)/1e9 - float64(first+n)
			if wait.For(ctx, time.Until(start.Add(time.Duration(at*float64(e.second))))) != nil {
				return nil
			}
			now := epoch.Add(time.Duration((float64(n) + at) * float64(time.Second)))
			if err := e.probe(now, log.Hops[i*len(e.queues):(i+1)*len(e.queues)]); err != nil {
				return err
			}
		}
		if wait.For(ctx, time.Until(start.Add(e.second*99/100))) != nil {
			return nil
		}
		if err := e.sample(epoch.Add(time.Duration(n)*time.Second+990*time.Millisecond), w.Values); err != nil {
			return err
		}
		forget(log)
		if wait.For(ctx, time.Until(start.Add(e.second))) != nil {
			return nil
		}
		if late := time.Since(start.Add(e.second)); late > time.Second && late > 10*e.second {
			begin = begin.Add(late) // too slow for this scale: time goes slower
		}
	}
}

// forget empties a log: it is read second by second.
func forget(l *testbed.Log) {
	l.Limits, l.Values, l.Valid, l.Probes, l.Hops = l.Limits[:0], l.Values[:0], l.Valid[:0], l.Probes[:0], l.Hops[:0]
}

func done(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// probe sends what a probe collected: as the probe itself to the last switch's
// controller, and as a report of its INT-MD stack over UDP.
func (e *Emulation) probe(at time.Time, hops []testbed.HopLog) error {
	probe := intreport.Report{Format: intreport.Probe}
	report := intreport.Report{Format: intreport.V20, Node: uint32(len(hops)), Tracked: true, Seq: e.seq & (1<<22 - 1), SeqBits: 22}
	e.seq++
	now := uint64(at.UnixMicro())
	for i, h := range hops {
		e.queues[i].mu.Lock()
		e.queues[i].probes++
		e.queues[i].mu.Unlock()
		wait := uint64(h.Timedelta) * 1000
		enter := (now*1000 - wait) % probeWrap
		probe.Hops = append(probe.Hops, intreport.Hop{
			Has: intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasWait | intreport.HasIngressTime | intreport.HasEgressTime, Switch: uint32(i + 1),
			Egress: uint32(Port), EgressSpec: uint16(Port), Depth: uint32(h.EnqDepth), DeqDepth: uint32(h.DeqDepth), Wait: wait,
			IngressTime: enter / 1000 * 1000, EgressTime: (now * 1000) % probeWrap, Wrap: probeWrap, EnqTime: enter % enqWrap / 1000 * 1000,
		})
		report.Hops = append(report.Hops, intreport.Hop{
			Has: intreport.HasSwitch | intreport.HasLatency | intreport.HasQueue, Switch: uint32(i + 1), Depth: uint32(h.EnqDepth), Latency: min(wait, math.MaxUint32),
		})
	}
	frame, err := intreport.AppendProbeFrame(nil, netip.AddrFrom4([4]byte{10, 0, 0, 1}), netip.AddrFrom4([4]byte{10, 0, 0, 2}), &probe)
	if err != nil {
		return fmt.Errorf("emulate: %w", err)
	}
	e.servers[len(e.servers)-1].PacketIn(Port, frame)
	if e.out == nil {
		return nil
	}
	b, err := intreport.Append(nil, intreport.Config{}, &report)
	if err != nil {
		return fmt.Errorf("emulate: %w", err)
	}
	_, _ = e.out.Write(b) // an error before a collector listens is expected
	return nil
}

const (
	probeWrap = 1 << 48 * 1000 // ns
	enqWrap   = 1 << 32 * 1000
)

// sample posts what the player is at a time, the end of a second, [F] by the
// testbed's columns.
func (e *Emulation) sample(at time.Time, values []float32) error {
	v := values[3*len(e.queues):]
	e.cum += float64(v[3])
	s := map[string]any{
		"timestamp": at.UnixMilli(), "Buffer": v[0], "FPS": v[1], "ReportedBitrate": v[2], "CalcBitrate": e.cum, "stall_s": v[4],
	}
	ladder := e.cfg.Testbed.Video.Ladder
	if ladder == nil {
		ladder = testbed.DefaultLadder()
	}
	for _, l := range ladder {
		if float32(l.Kbps) == v[2] {
			s["Resolution"] = fmt.Sprintf("%dx%d", l.Width, l.Height)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("emulate: %w", err)
	}
	select {
	case e.post <- b:
	default:
		e.lose()
	}
	return nil
}

func (e *Emulation) lose() {
	e.lost.Lock()
	e.lost.n++
	e.lost.Unlock()
}

// postTime is how long a collector may take to answer: one that is just ending
// must not hold up what the next one is to get.
const postTime = 200 * time.Millisecond

// poster posts samples until ctx ends.
func (e *Emulation) poster(ctx context.Context) {
	client := http.Client{Timeout: postTime}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-e.post:
			if e.cfg.HTTP == "" {
				continue
			}
			if err := post(ctx, &client, e.cfg.HTTP, b); err != nil {
				e.lose()
			}
		}
	}
}

func post(ctx context.Context, client *http.Client, url string, b []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, a.Body)
	if e := a.Body.Close(); err == nil {
		err = e
	}
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, a.Status)
	}
	return err
}
