package testbed

import (
	"fmt"
	"math"
	"testing"
)

// The patterns by the minute, against WAVE's formulas worked by hand.
func TestPatterns(t *testing.T) {
	wave := Pattern{Kind: "sinusoid", N: 30, Amplitude: 5, PeriodS: 120}
	// S 8, R 3, n 1: 1/log10(9) = 1.048 minutes up, log10(9) = 0.954 there and down.
	flash := Pattern{Kind: "flash", N: 3, Shock: 8, Decay: 1, AtS: 60}
	for _, c := range []struct {
		p    Pattern
		t    float64
		want float64
	}{
		{Pattern{N: 4}, 7, 4},
		{wave, 0, 30}, {wave, 30, 35}, {wave, 60, 30}, {wave, 90, 25}, {wave, 130, 32.5},
		{flash, 59, 3}, {flash, 60, 3}, {flash, 60 + 31.44, 13.5}, {flash, 60 + 62.9, 24}, {flash, 60 + 120, 24}, {flash, 60 + 62.88 + 57.25 + 28.63, 13.5}, {flash, 240, 3},
		{Pattern{Kind: "step", N: 2, To: 5, AtS: 9}, 8.9, 2}, {Pattern{Kind: "step", N: 2, To: 5, AtS: 9}, 9, 5},
		{Pattern{Kind: "series", Series: []float64{1, 7, 2}, EveryS: 10}, 19, 7}, {Pattern{Kind: "series", Series: []float64{1, 7, 2}, EveryS: 10}, 31, 1},
	} {
		if got := (&sim{}).level(&group{}, c.p, c.t); math.Abs(got-c.want) > .02 {
			t.Errorf("%+v at %v s: %v, want %v", c.p, c.t, got, c.want)
		}
	}
}

// active counts a load's sessions at the end of each of n seconds.
func active(s *sim, g, n int) (mean, low, high float64) {
	low = math.Inf(1)
	for range n {
		s.seconds(1)
		x := float64(s.groups[g].active)
		mean, low, high = mean+x/float64(n), min(low, x), max(high, x)
	}
	return mean, low, high
}

// Sessions come and go: as many are on as the pattern says; with Poisson
// arrivals and exponential stays their product in the mean (Little 1961).
func TestSessions(t *testing.T) {
	emulation(t)
	quiet := Port{PPS: 1e5, Limit: 1000}
	for _, c := range []struct {
		p               Pattern
		mean, low, high float64
	}{
		{Pattern{Kind: "sinusoid", N: 10, Amplitude: 4, PeriodS: 100}, 10, 6, 14},
		{Pattern{Kind: "sinusoid", N: 10, Amplitude: 4, PeriodS: 100, RandomStart: true}, 10, 6, 14},
		{Pattern{Kind: "series", Series: []float64{1, 3}, EveryS: 50}, 2, 1, 3},
		{Pattern{Kind: "sessions", PerSecond: .5, StayS: 8, Max: 30}, 4, 0, 30},
	} {
		s := simulate(t, bench(quiet, Load{Kind: "udp", PPS: 1, Pattern: c.p}), 1, 1)
		mean, low, high := active(s, 0, 5000)
		near(t, fmt.Sprintf("%+v", c.p), mean, c.mean, .06)
		if c.p.Kind != "sessions" && (low != c.low || high != c.high) || high > c.high {
			t.Errorf("%+v: %v…%v, want %v…%v", c.p, low, high, c.low, c.high)
		}
	}
	s := simulate(t, bench(quiet, Load{Kind: "udp", PPS: 1, Pattern: Pattern{Kind: "walk", N: 5, Min: 2, Max: 9, Amplitude: 1}}), 1, 1)
	if mean, low, high := active(s, 0, 2000); low != 2 || high != 9 || mean < 4.5 || mean > 6.5 {
		t.Errorf("walk: mean %v, %v…%v", mean, low, high)
	}
	// All slots are taken: who comes then is turned away and counted.
	s = simulate(t, bench(quiet, Load{Kind: "tcp", ObjectKB: 10, ThinkS: 1, Pattern: Pattern{Kind: "sessions", PerSecond: 2, StayS: 10, Max: 3}}), 1, 200)
	if g := s.groups[0]; g.blocked == 0 || g.active > 3 {
		t.Errorf("%d active of 3, %d blocked", g.active, g.blocked)
	}
}

func TestUDPRates(t *testing.T) {
	emulation(t)
	for _, c := range []struct {
		l    Load
		rate float64
	}{
		{Load{Arrivals: "constant", PPS: 40}, 40},
		{Load{Arrivals: "poisson", PPS: 40}, 40},
		{Load{Arrivals: "onoff", PPS: 1000, OnMS: 20, OffMS: 380}, 50},
		{Load{Arrivals: "onoff", PPS: 1000, OnMS: 20, OffMS: 380, RandomOff: true}, 50},
	} {
		c.l.Kind, c.l.Pattern.N = "udp", 2
		s := simulate(t, bench(Port{PPS: 1e5, Limit: 1000}, c.l), 1, 2)
		before := s.ports[1].count.Arrived
		s.seconds(1000)
		near(t, string(c.l.Arrivals), float64(s.ports[1].count.Arrived-before)/1000, 2*c.rate, .03)
	}
}

// Objects have the mean size asked for; Pareto's is cut at a hundred times it.
func TestObjectSizes(t *testing.T) {
	emulation(t)
	for _, shape := range []float64{0, 1, 2.5} {
		s := simulate(t, bench(Port{PPS: 1e6, Limit: 4000}, Load{Kind: "tcp", ObjectKB: 30, ObjectShape: shape, ThinkS: .5, Flow: Flow{RTTMS: rtt(2)}, Pattern: Pattern{N: 20}}), 1, 600)
		var bytes, objects float64
		for i := 1; i < len(s.flows); i++ {
			bytes += float64(s.flows[i].state.count.Acked) * payload
		}
		objects = 20 * 600 / .53 // a pause and about 30 ms
		near(t, fmt.Sprintf("bytes per object of shape %v", shape), bytes/objects, 30e3, .12)
	}
}

// Phases take turns, and only the loads of the one that is on send.
func TestPhases(t *testing.T) {
	emulation(t)
	c := bench(Port{PPS: 1e5, Limit: 100}, Load{Kind: "udp", PPS: 10, Phase: "a", Pattern: Pattern{N: 1}}, Load{Kind: "udp", PPS: 10, Phase: "b", Pattern: Pattern{N: 1}})
	c.Phases = []Phase{{Name: "a", MeanS: 30, Spread: .5}, {Name: "b", MeanS: 10}}
	s := simulate(t, c, 3, 0)
	var a, b, both float64
	for range 4000 {
		s.seconds(1)
		x, y := float64(s.groups[0].active), float64(s.groups[1].active)
		a, b, both = a+x, b+y, both+x*y
	}
	near(t, "seconds of a", a, 3000, .06)
	near(t, "seconds of b", b, 1000, .06)
	if both > 0 {
		t.Errorf("both were on for %v s", both)
	}
}

// Queue management against one TCP flow with a large limit: what each is for.
// CoDel keeps the delay near its target (RFC 8289, 5 ms) and PI2 near its own
// (15 ms), RED the queue between its marks; drop-tail fills the queue.
func TestQueueManagement(t *testing.T) {
	emulation(t)
	for _, c := range []struct {
		aqm       AQM
		low, high float64 // ms of mean wait
	}{
		{AQM{}, 60, 300},
		{AQM{Name: "codel"}, 1, 12},
		{AQM{Name: "pi2"}, 10, 20},
		{AQM{Name: "red", Low: 10, High: 30, Weight: .01}, 3, 13},
	} {
		s := simulate(t, bench(Port{PPS: 2500, Limit: 600, AQM: c.aqm}, Load{Kind: "tcp", Flow: Flow{RTTMS: rtt(40), Window: 4096}, Pattern: Pattern{N: 8}}), 1, 30)
		before := s.ports[1].count
		s.seconds(120)
		n := s.ports[1].count
		wait := float64(n.WaitSum-before.WaitSum) / float64(n.Delivered-before.Delivered) / 1e6
		rate := float64(n.Delivered-before.Delivered) / 120
		t.Logf("%q: %.1f ms, %.0f packets/s, %d dropped, %d refused", c.aqm.Name, wait, rate, n.Dropped, n.Refused)
		if wait < c.low || wait > c.high || rate < 2350 || (n.Dropped > 0) != (c.aqm.Name != "") {
			t.Errorf("%q: mean wait %.1f ms, want %v…%v; %.0f of 2500 packets/s; %d dropped", c.aqm.Name, wait, c.low, c.high, rate, n.Dropped)
		}
	}
}
