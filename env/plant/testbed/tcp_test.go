package testbed

import (
	"fmt"
	"math"
	"testing"

	"github.com/planegym/planegym/p4"
)

// goodput is the segments/s that flows of one kind get through q together,
// after a minute to settle; by flow.
func goodput(t testing.TB, q Port, f Flow, n, seconds int, seed uint64) []float64 {
	t.Helper()
	s := simulate(t, bench(q, Load{Kind: "tcp", Pattern: Pattern{N: float64(n)}, Flow: f}), seed, 60)
	before := make([]uint64, n)
	for i := range n {
		before[i] = s.flows[1+i].state.count.Acked
	}
	s.seconds(seconds)
	rate := make([]float64, n)
	for i := range n {
		rate[i] = float64(s.flows[1+i].state.count.Acked-before[i]) / float64(seconds)
	}
	return rate
}

func average(n int, f func(seed uint64) float64) (mean float64) {
	for seed := range uint64(n) {
		mean += f(seed) / float64(n)
	}
	return mean
}

func rtt(ms float64) [2]float64 { return [2]float64{ms, ms} }

// Reno without SACK under random loss, against Mathis, Semke, Mahdavi and Ott,
// CCR 27(3) 1997: W = √(3/2p), every acknowledged segment counting (b = 1).
func TestMathis(t *testing.T) {
	emulation(t)
	for _, p := range []float64{.0001, .0003, .001, .003, .01} {
		r := 100e-3
		got := average(4, func(seed uint64) float64 {
			return goodput(t, Port{PPS: 1e5, Limit: 1000, Loss: p}, Flow{CC: "reno", NoSACK: true, RTTMS: rtt(r * 1e3), Window: 4096}, 1, 600, seed)[0]
		})
		near(t, fmt.Sprintf("segments/s at loss %v", p), got, math.Sqrt(1.5/p)/r, .25)
	}
}

// The same against the full model of Padhye, Firoiu, Towsley and Kurose,
// SIGCOMM 1998, equation 30, with b = 1 and the timeout the flow has.
func TestPFTK(t *testing.T) {
	emulation(t)
	for _, p := range []float64{.001, .002, .005, .01, .02} {
		for _, r := range []float64{50e-3, 100e-3, 200e-3} {
			got := average(4, func(seed uint64) float64 {
				return goodput(t, Port{PPS: 1e5, Limit: 1000, Loss: p}, Flow{CC: "reno", NoSACK: true, RTTMS: rtt(r * 1e3), Window: 4096}, 1, 400, seed)[0]
			})
			const b = 1.0
			t0 := max(.2, r+1e-3)
			w := (2+b)/(3*b) + math.Sqrt(8*(1-p)/(3*b*p)+math.Pow((2+b)/(3*b), 2))
			q := min(1, (1-math.Pow(1-p, 3))*(1+math.Pow(1-p, 3)*(1-math.Pow(1-p, w-3)))/(1-math.Pow(1-p, w)))
			f := 1 + p + 2*p*p + 4*math.Pow(p, 3) + 8*math.Pow(p, 4) + 16*math.Pow(p, 5) + 32*math.Pow(p, 6)
			want := ((1-p)/p + w + q/(1-p)) / (r*(b/2*w+1) + q*t0*f/(1-p))
			near(t, fmt.Sprintf("segments/s at loss %v, RTT %v", p, r), got, want, .25)
		}
	}
}

func TestSACKIsNeverSlower(t *testing.T) {
	emulation(t)
	for _, cc := range []string{"reno", "cubic"} {
		for _, c := range []Port{
			{PPS: 1e5, Limit: 1000, Loss: .001}, {PPS: 1e5, Limit: 1000, Loss: .01}, {PPS: 1e5, Limit: 1000, Loss: .05},
			{PPS: 2500, Limit: 16}, {PPS: 2500, Limit: 64}, {PPS: 2500, Limit: 512},
		} {
			run := func(noSACK bool) float64 {
				return average(4, func(seed uint64) float64 {
					return goodput(t, c, Flow{CC: cc, NoSACK: noSACK, RTTMS: rtt(50), Window: 2048}, 1, 120, seed)[0]
				})
			}
			with, without := run(false), run(true)
			t.Logf("%s, limit %d, loss %v: %.1f with SACK, %.1f without", cc, c.Limit, c.Loss, with, without)
			if with < .99*without {
				t.Errorf("%s, limit %d, loss %v: SACK %.1f segments/s, without %.1f", cc, c.Limit, c.Loss, with, without)
			}
		}
	}
}

// CUBIC where it is not Reno's equal, against RFC 9438 equation 6:
// W = (C(3+β)/(4(1-β)))^¼ · RTT^¾ / p^¾, for a loss every 1/p segments.
func TestCUBICResponse(t *testing.T) {
	emulation(t)
	for _, c := range []struct{ p, rtt float64 }{{1e-3, .4}, {1e-4, .1}, {1e-4, .2}, {3e-5, .2}} {
		got := average(3, func(seed uint64) float64 {
			return goodput(t, Port{PPS: 1e6, Limit: 10000, Loss: c.p}, Flow{RTTMS: rtt(c.rtt * 1e3), Window: 1 << 14}, 1, 800, seed)[0]
		})
		want := math.Pow(cubicC*(3+cubicBeta)/(4*(1-cubicBeta)), .25) * math.Pow(c.rtt, .75) / math.Pow(c.p, .75) / c.rtt
		near(t, fmt.Sprintf("segments/s at loss %v, RTT %v", c.p, c.rtt), got, want, .25)
	}
}

// Two equal flows share a queue: Jain's index (Jain, Chiu, Hawe 1984).
func TestFairness(t *testing.T) {
	emulation(t)
	for _, cc := range []string{"reno", "cubic"} {
		for _, limit := range []int{32, 64, 256} {
			r := goodput(t, Port{PPS: 2500, Limit: p4.Limit(limit), JitterMS: .1}, Flow{CC: cc, RTTMS: rtt(30), JitterMS: .5}, 2, 300, uint64(limit))
			jain := (r[0] + r[1]) * (r[0] + r[1]) / (2 * (r[0]*r[0] + r[1]*r[1]))
			t.Logf("%s, limit %d: %.0f and %.0f segments/s, Jain %.3f", cc, limit, r[0], r[1], jain)
			if jain < .95 {
				t.Errorf("%s, limit %d: Jain's index %.3f", cc, limit, jain)
			}
			if sum := r[0] + r[1]; sum < 2200 {
				t.Errorf("%s, limit %d: %.0f of 2500 segments/s are used", cc, limit, sum)
			}
		}
	}
}

// The last of ten segments finds a full queue. The ninth is acknowledged after
// 28 ms and a delayed acknowledgement's 40; from there the tail loss probe
// takes two round trips and 40 ms, the retransmission timer its least 200 ms;
// the repair is one round trip and 40 ms more.
func TestTailLossProbe(t *testing.T) {
	took := func(noSACK bool) float64 {
		c := bench(Port{PPS: 1000, Limit: 8}, Load{Kind: "tcp", Pattern: Pattern{N: 1}, ObjectKB: 14.48, ThinkS: 30, Flow: Flow{RTTMS: rtt(20), NoSACK: noSACK}})
		s := simulate(t, c, 1, 5)
		f := &s.flows[1].state
		f.srtt, f.rttvar = 20e6, 1e6 // a connection with a history
		f.rto, f.cwnd, f.ssthresh, f.lastSend, f.count = 200e6, 20, 20, s.now, flowCount{}
		from := s.now
		s.write(1, 10, 1500)
		for f.una != f.end && s.now < from+1e9 {
			s.run(s.now + 1e6)
		}
		if f.count.Retransmitted == 0 {
			t.Fatal("nothing was lost")
		}
		if noSACK != (f.count.Timeouts > 0) {
			t.Errorf("no_sack %v: %d timeouts", noSACK, f.count.Timeouts)
		}
		return float64(s.now-from) / 1e6
	}
	if with, without := took(false), took(true); math.Abs(with-(68+80+60)) > 20 || math.Abs(without-(68+200+60)) > 20 {
		t.Errorf("%.0f ms with the probe, %.0f ms without", with, without)
	}
}

// The path grows longer than the retransmission timer: every timeout is
// spurious, and the window comes back.
func TestSpuriousTimeoutIsUndone(t *testing.T) {
	s := simulate(t, bench(Port{PPS: 1e5, Limit: 1000}, Load{Kind: "tcp", Pattern: Pattern{N: 1}, Flow: Flow{RTTMS: rtt(20), Window: 100}}), 1, 5)
	f := &s.flows[1].state
	before := f.cwnd
	s.ports[1].prop += 500e6
	s.seconds(3)
	if f.count.Timeouts == 0 || f.count.Undone == 0 || f.cwnd < before {
		t.Errorf("window %.1f, then %.1f: %+v", before, f.cwnd, f.count)
	}
}

func TestIdleRestart(t *testing.T) {
	s := simulate(t, bench(Port{PPS: 1e5, Limit: 1000}, Load{Kind: "tcp", Pattern: Pattern{N: 1}, ObjectKB: 500, ThinkS: 1e4, Flow: Flow{RTTMS: rtt(20)}}), 1, 10)
	f := &s.flows[1].state
	if f.una != f.end || f.cwnd < 50 {
		t.Fatalf("after the object: %d of %d, window %.0f", f.una, f.end, f.cwnd)
	}
	s.write(1, 100, 1500)
	if f.nxt-f.una != initialWindow {
		t.Errorf("%d segments leave at once after ten idle seconds, want %d", f.nxt-f.una, initialWindow)
	}
}
