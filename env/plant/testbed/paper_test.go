package testbed

import (
	"math"
	"testing"

	"github.com/planegym/planegym/p4"
)

// RFC 9438, section 4.2, equations 1 and 2, and 4.3: the window after an
// acknowledgement t seconds into an epoch, from W_max and the window at which the
// epoch began (70 % of it). Numbers by hand: K = ∛((W_max - cwnd)/0.4).
func TestPaperCUBICWindow(t *testing.T) {
	for _, c := range []struct {
		wMax, prior, cwnd float64
		srtt              float64 // s
		at                float64 // s since the epoch began
		acked             float64
		want              float64
	}{
		// K = ∛(30/.4) = 4.21716. W(.1+.1) = 74.0516…: each acknowledgement brings
		// a 70th of what is missing.
		{100, 100, 70, .1, .1, 1, 70 + (100+.4*math.Pow(.2-4.217163326508746, 3)-70)/70},
		{100, 100, 70, .1, .1, 2, 70 + 2*(100+.4*math.Pow(.2-4.217163326508746, 3)-70)/70},
		// At K the window is W_max, and flat.
		{100, 100, 100 - 1e-9, .1, .000928, 1, 100 + .4*math.Pow(.1+.000928-.001357208808, 3)/100},
		// Far beyond K, no more than half the window more in a round trip.
		{100, 100, 70, .1, 12, 1, 70 + 35./70},
		// Convex: W_max is below the window, so that K is 0 and the origin is here.
		{50, 100, 70, .1, 2, 1, 70 + (70+.4*math.Pow(2.1, 3)-70)/70},
	} {
		f := &flow{}
		f.state.cwnd, f.state.ssthresh, f.state.cc, f.state.srtt = c.cwnd, 2, cubic, c.srtt*1e9
		f.state.cubic.wMax, f.state.cubic.prior = c.wMax, c.prior
		s := &sim{}
		s.now = 1e9
		s.grow(&f.state, 0) // the epoch begins
		if f.state.cwnd != c.cwnd {
			t.Fatalf("%+v: nothing acknowledged gives %v", c, f.state.cwnd)
		}
		f.state.cubic.wEst = 0 // Reno's estimate is the next test's
		s.now += int64(c.at * 1e9)
		if s.grow(&f.state, c.acked); math.Abs(f.state.cwnd-c.want) > 1e-6 {
			t.Errorf("%+v: window %.9f, want %.9f", c, f.state.cwnd, c.want)
		}
	}
}

// RFC 9438, section 4.3, equation 4: where Reno's estimate is larger it is the
// window; it grows by 3(1-β)/(1+β) = 0.5294 a window, by 1 beyond cwnd_prior.
func TestPaperCUBICIsFriendly(t *testing.T) {
	f := &flow{}
	f.state.cwnd, f.state.ssthresh, f.state.cc, f.state.srtt = 7, 2, cubic, 1e6
	f.state.cubic.wMax, f.state.cubic.prior = 10, 10
	s := &sim{}
	s.now = 1e9
	want := 7.
	for range 400 { // a millisecond's round trips: W(t) hardly moves
		step := 3 * .3 / 1.7
		if want >= 10 {
			step = 1
		}
		want += step / f.state.cwnd
		if s.grow(&f.state, 1); math.Abs(f.state.cwnd-want) > 1e-9 {
			t.Fatalf("window %v, want %v", f.state.cwnd, want)
		}
		s.now += 1000
	}
	if want < 20 {
		t.Errorf("ends at %v", want)
	}
}

// RFC 9438, sections 4.6 and 4.7: a loss leaves 70 % of what was in flight, and
// what was the largest window is remembered, less where it was not reached again.
// RFC 5681, equation 4: Reno's half, two segments at least.
func TestPaperReduction(t *testing.T) {
	for _, c := range []struct {
		cc           cc
		cwnd, wMax   float64
		flight       uint32
		thresh, left float64 // ssthresh, W_max
	}{
		{cubic, 100, 0, 100, 70, 100}, {cubic, 100, 120, 80, 56, 85}, {cubic, 100, 100, 100, 70, 100}, {cubic, 100, 99, 120, 70, 100}, {cubic, 2, 0, 2, 2, 2},
		{reno, 100, 7, 100, 50, 7}, {reno, 100, 7, 61, 30.5, 7}, {reno, 3, 7, 3, 2, 7},
	} {
		f := &flow{}
		f.state.cc, f.state.cwnd, f.state.cubic.wMax, f.state.cubic.epoch = c.cc, c.cwnd, c.wMax, 5
		f.state.una, f.state.nxt = 10, 10+c.flight
		(&sim{}).reduce(f)
		if g := f.state; math.Abs(g.ssthresh-c.thresh) > 1e-9 || math.Abs(g.cubic.wMax-c.left) > 1e-9 || c.cc == cubic && (g.cubic.prior != c.cwnd || g.cubic.epoch != 0) {
			t.Errorf("%+v: ssthresh %v, W_max %v, prior %v, epoch %v", c, g.ssthresh, g.cubic.wMax, g.cubic.prior, g.cubic.epoch)
		}
	}
}

// RFC 5681, section 3.1, with RFC 3465's limit: slow start by what is
// acknowledged, two segments at most, one after a timeout, up to ssthresh; then one
// segment a window.
func TestPaperReno(t *testing.T) {
	for _, c := range []struct {
		cwnd, thresh, acked float64
		phase               tcpPhase
		want                float64
	}{
		{4, 64, 1, open, 5}, {4, 64, 2, open, 6}, {4, 64, 9, open, 6}, {4, 64, 9, timedOut, 5}, {63.5, 64, 2, open, 64}, {64, 64, 2, open, 64 + 2./64}, {10, 5, 1, open, 10.1}, {10, 5, 40, open, 11},
	} {
		f := flowState{cwnd: c.cwnd, ssthresh: c.thresh, cc: reno, phase: c.phase}
		if (&sim{}).grow(&f, c.acked); math.Abs(f.cwnd-c.want) > 1e-12 {
			t.Errorf("%+v: window %v", c, f.cwnd)
		}
	}
}

// dropTimes are when port q drops packets, in ms from its first packet, and what
// p' is by the ms.
func dropTimes(t *testing.T, q Port, pps float64, ms int) (at []int, p []float64) {
	t.Helper()
	plan, err := bench(q, Load{Kind: "udp", Pattern: Pattern{N: 1}, PPS: pps, Bytes: 1000}).compile()
	if err != nil {
		t.Fatal(err)
	}
	s := newSim(plan, 1, limitsOf(plan, 64), 1, -1)
	const port = 1 // of bench
	now, before := int64(0), uint64(0)
	for s.ports[port].count.Arrived == 0 {
		now++
		s.run(now * 1e6)
	}
	began := now
	for now := range ms {
		s.run((began + int64(now) + 1) * 1e6)
		for ; before < s.ports[port].count.Dropped; before++ {
			at = append(at, now)
		}
		p = append(p, s.ports[port].aqm.p)
	}
	return at, p
}

// RFC 8289, sections 4.3 and 5.5: with a queue that stays above the target the
// first packet is dropped an interval after it was first seen above, the n-th drop
// follows the one before by interval/√n.
func TestPaperCoDelControlLaw(t *testing.T) {
	at, _ := dropTimes(t, Port{PPS: 1000, Limit: 100000, AQM: AQM{Name: "codel"}}, 1300, 3000)
	if len(at) < 40 {
		t.Fatalf("%d drops", len(at))
	}
	// .3 packets a ms pile up: sojourn is 5 ms at the packet that finds 5, some 22
	// ms from the start; 100 ms later the first is dropped.
	if at[0] < 115 || at[0] > 135 {
		t.Errorf("the first drop is at %d ms", at[0])
	}
	when := float64(at[0])
	for n := 1; n < 40; n++ {
		if when += 100 / math.Sqrt(float64(n)); math.Abs(float64(at[n])-when) > 3 {
			t.Fatalf("drop %d is at %d ms, want %.1f", n+1, at[n], when)
		}
	}
}

// RFC 8289, section 4.2: a queue whose sojourn time falls below the target within
// every interval is left alone, as is a queue of a single packet.
func TestPaperCoDelLeavesBursts(t *testing.T) {
	// 50 packets come at once every 90 ms and wait 50 ms at most: below 5 ms
	// before the next burst.
	plan, err := bench(Port{PPS: 1000, Limit: 100000, AQM: AQM{Name: "codel"}}, Load{Kind: "udp", Pattern: Pattern{N: 1}, PPS: 50000, Bytes: 1000, Arrivals: "onoff", OnMS: 1, OffMS: 89}).compile()
	if err != nil {
		t.Fatal(err)
	}
	s := newSim(plan, 1, limitsOf(plan, 64), 1, -1)
	s.seconds(20)
	for i := range s.ports {
		if n := s.ports[i].count.Dropped; n > 0 {
			t.Errorf("port %d drops %d of a queue that empties", i, n)
		}
	}
}

// RFC 9332, appendix A: p' += α(delay - target) + β(delay - delay before) at every
// update of 16 ms, within [0, 1]; a packet is dropped with chance p'².
func TestPaperPI2Controller(t *testing.T) {
	const alpha, beta, target = .16, 3.2, .015
	q := &port{}
	a := &q.aqm
	*a = aqm{kind: pi2, target: 15e6}
	var p, before float64
	for k, delayMS := range []float64{5, 40, 80, 200, 200, 100, 20, 10, 0, 0, 400, 8000} {
		now := int64(k+1) * 16e6
		q.next = now + int64(delayMS*1e6)
		a.refuse(q, now, 1) // of a single packet nothing is refused, but the controller runs
		delay := delayMS / 1e3
		p = min(max(p+alpha*(delay-target)+beta*(delay-before), 0), 1)
		before = delay
		if math.Abs(a.p-p) > 1e-9 {
			t.Fatalf("update %d, delay %v ms: p' is %v, want %v", k, delayMS, a.p, p)
		}
	}
	// Under a steady overload the share that is dropped settles where what is left
	// is what the port serves, and the delay at the target.
	at, ps := dropTimes(t, Port{PPS: 1000, Limit: p4.Limit(100000), AQM: AQM{Name: "pi2"}}, 1300, 60000)
	n := 0
	for _, ms := range at {
		if ms >= 30000 {
			n++
		}
	}
	share := float64(n) / (1300 * 30)
	if want := 300. / 1300; math.Abs(share-want) > .02 {
		t.Errorf("%.3f of packets are dropped, want %.3f", share, want)
	}
	var mean float64
	for _, p := range ps[30000:] {
		mean += p * p / 30000
	}
	if math.Abs(mean-share) > .02 {
		t.Errorf("p'² is %.3f on average, %.3f of packets are dropped", mean, share)
	}
}
