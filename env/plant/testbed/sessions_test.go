package testbed

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/traffic"
)

var packetsSchema = traffic.Schema{
	Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp", "icmp"}}},
	Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
		{Name: "size", Kind: traffic.Size}, {Name: "gap", Kind: traffic.Gap}},
}

// played is sessions of both protocols: UDP ones of 5 packets down and one up,
// TCP ones of two messages of 100 kB.
func played() *traffic.Set {
	s := &traffic.Set{Of: packetsSchema}
	for i := range 40 {
		x := traffic.Session{Label: -1, Start: .5 * float64(i), Meta: []float64{float64(i % 2)}}
		if i%2 == 1 {
			x.Steps = append(x.Steps, 0, 100, 0)
			for k := range 5 {
				x.Steps = append(x.Steps, 1, 972, .01*float64(1+k))
			}
		} else {
			for range 2 {
				x.Steps = append(x.Steps, 0, 200, .1)
				for range 70 {
					x.Steps = append(x.Steps, 1, 1430, .0001)
				}
			}
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

func sessionsOf(arrivals Arrivals) Load {
	set := played()
	return Load{Kind: "sessions", Sessions: func() *traffic.Set { return set }, Arrivals: arrivals, Flow: Flow{RTTMS: [2]float64{20, 60}}}
}

// Packets of a port that carries no other traffic, by second.
func TestSessionsPlayed(t *testing.T) {
	// 20 sessions of 5 packets down in 20.5 s; TCP: 20 sessions of 2 messages of
	// 100,100 bytes, 70 segments each.
	s := simulate(t, bench(Port{PPS: 1e6, Limit: 10000}, sessionsOf("start")), 1, 20)
	count := s.ports[1].count.Arrived
	if tcp := s.groups[0]; tcp.blocked != 0 || tcp.active > 3 {
		t.Errorf("%d sessions are on, %d found no slot", tcp.active, tcp.blocked)
	}
	if want := uint64(20*5 + 20*140); count < want-145 || count > want {
		t.Errorf("%d packets in 20 s, want %d but for what is not over yet", count, want)
	}
	open := sessionsOf("start")
	no := false
	open.Reactive = &no
	s = simulate(t, bench(Port{PPS: 1e6, Limit: 10000}, open), 1, 20)
	if got, want := s.ports[1].count.Arrived, uint64(20*5+20*140); got < want-145 || got > want {
		t.Errorf("open loop: %d packets in 20 s, want %d", got, want)
	}
	// The first UDP session begins at .5 s, its packets .01, .03, .06, .1, .15 s later.
	one := sessionsOf("start")
	set := one.Sessions()
	set.Sessions = set.Sessions[1:2]
	lib, err := newLibrary(set, true, 2, 0, 0)
	if err != nil || !slices.Equal(lib.open.gap, []int64{0, 5e6, 10e6, 15e6, 20e6, 25e6}) || lib.open.size[1] != 1000 || lib.open.down[0] {
		t.Errorf("at twice the speed: gaps %v, sizes %v, %v", lib.open.gap, lib.open.size, err)
	}
}

// Sessions keep their own times however long the trace is; a size that no link
// carries names its session.
func TestSessionsOfADay(t *testing.T) {
	set := played()
	set.Sessions = set.Sessions[:4]
	for i, start := range []float64{0, 3000, 7200, 86400} {
		set.Sessions[i].Start = 5 + start
	}
	for _, speed := range []float64{.5, 1, 2} {
		lib, err := newLibrary(set, true, speed, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(slices.Values(slices.Concat(lib.open.start, lib.reactive.start)))
		if want := []int64{0, int64(3000e9 / speed), int64(7200e9 / speed), int64(86400e9 / speed)}; !slices.Equal(got, want) {
			t.Errorf("speed %v: starts %v, want %v", speed, got, want)
		}
	}
	set.Sessions[1].Steps[1] = 1 << 50
	if _, err := newLibrary(set, false, 1, 0, 0); err == nil || !strings.Contains(err.Error(), "session 1: step 0: 1125899906842624 bytes: steps are cut into more than 1048576 packets") {
		t.Error(err)
	}
	set.Of.Steps = slices.Clone(set.Of.Steps)
	set.Of.Steps[0].Levels = []string{"down", "up"}
	if _, err := newLibrary(set, false, 1, 0, 0); err == nil || !strings.Contains(err.Error(), `direction has the levels ["down" "up"]`) {
		t.Error(err)
	}
}

// As many come as the number says, and the loop of recorded times has the
// rate that the file has, from wherever it begins.
func TestSessionsRate(t *testing.T) {
	emulation(t)
	perSession := float64(20*5+20*140) / 40
	s := simulate(t, bench(Port{PPS: 1e6, Limit: 10000}, sessionsOf("8")), 1, 400)
	near(t, "8 sessions a second", float64(s.ports[1].count.Arrived)/400, 8*perSession, .05)
	for seed := range uint64(3) {
		s = simulate(t, bench(Port{PPS: 1e6, Limit: 10000}, sessionsOf("recorded")), seed, 400)
		near(t, "recorded", float64(s.ports[1].count.Arrived)/400, 40*perSession/(float64(s.libraries[0].period)/1e9), .06)
	}
}

// What comes does not depend on the limit, though what reacts takes longer.
func TestSessionsCounterfactual(t *testing.T) {
	for _, a := range []Arrivals{"5", "recorded"} {
		c := bench(Port{PPS: 300, Limit: 1, Switch: 2}, sessionsOf(a))
		c.Video.Path = []string{"v", "q"}
		c.Loads[0].Path = []string{"q"}
		c.Ports[1].Limit = 0
		p, err := c.compile()
		if err != nil {
			t.Fatal(err)
		}
		var draws [2][]uint32
		for k, limit := range []p4.Limit{2, 500} {
			s := newSim(p, 3, limitsOf(p, limit), 1, -1)
			s.seconds(60)
			for _, g := range s.groups {
				draws[k] = append(draws[k], g.draw.n, uint32(g.cursor.next))
			}
		}
		if !slices.Equal(draws[0], draws[1]) || draws[0][0] == 0 {
			t.Errorf("%s: %v under one limit, %v under another", a, draws[0], draws[1])
		}
	}
}

// Once warm, a second of sessions allocates nothing.
func TestSessionsAllocate(t *testing.T) {
	s := simulate(t, bench(Port{PPS: 1e4, Limit: 200}, sessionsOf("20")), 1, 200)
	values, valid := make([]float32, len(s.columns())), make([]bool, len(s.columns()))
	if n := testing.AllocsPerRun(60, func() { s.second(values, valid) }); n > .5 {
		t.Errorf("%v allocations a second", n)
	}
}

// A run goes on from a snapshot as it would have.
func TestSessionsSnapshot(t *testing.T) {
	for _, a := range []Arrivals{"20", "recorded", "start"} {
		c := bench(Port{PPS: 800, Limit: 50}, sessionsOf(a))
		tb, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		s := newSim(tb.plan, 1, limitsOf(tb.plan, 64), 1, -1)
		s.seconds(7)
		tb.rows = []*sim{s}
		snap, err := tb.Snapshot(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.seconds(30)
		want := s.ports[1].count
		other, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Restore(0, snap); err != nil {
			t.Fatal(err)
		}
		other.rows[0].seconds(30)
		if got := other.rows[0].ports[1].count; got != want {
			t.Errorf("%s: %+v after a snapshot, %+v without", a, got, want)
		}
		c.Loads[0].Sessions().Sessions[0].Steps[2] = .3
		changed, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := changed.Restore(0, snap); err == nil {
			t.Error("a snapshot of other sessions was restored")
		}
		// What a client sends may be anything: no panic, no endless run.
		for i := 16; i < len(snap)-8; i += 97 {
			b := slices.Clone(snap)
			b[i] ^= 0xff
			_ = other.Restore(0, b)
		}
	}
}

func TestSessionsConfig(t *testing.T) {
	for _, c := range []struct {
		change func(*Load)
		want   string
	}{
		{func(l *Load) { l.Sessions = nil }, "load[0].model: is missing"},
		{func(l *Load) { l.Model, l.File = "a", "b" }, "load[0].model: there is a file too"},
		{func(l *Load) { l.Arrivals = "often" }, `load[0].arrivals: "often"`},
		{func(l *Load) { l.Arrivals = "-1" }, `load[0].arrivals: "-1"`},
		{func(l *Load) { l.Speed = math.NaN() }, "load[0].speed"},
		{func(l *Load) { l.Pattern.Max = 1e6 }, "load[0].pattern.max"},
		{func(l *Load) { l.MaxSteps = -1 }, "load[0].max_steps"},
		{func(l *Load) { l.Pool = -1 }, "load[0].pool"},
		{func(l *Load) { l.Sessions().Of.Steps[0].Name = "x" }, "load[0].sessions: steps have no field"},
		{func(l *Load) { l.Sessions().Sessions = nil }, "load[0].sessions: there is no session"},
		{func(l *Load) { l.Sessions, l.File = nil, "x.parquet" }, `load[0].sessions: what "x.parquet" names was not read`},
	} {
		l := sessionsOf("5")
		l.Sessions().Of.Steps = slices.Clone(l.Sessions().Of.Steps)
		c.change(&l)
		if _, err := New(bench(Port{PPS: 100, Limit: 9}, l)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
