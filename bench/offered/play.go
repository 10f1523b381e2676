package main

import (
	"errors"
	"math/rand/v2"

	"github.com/planegym/planegym/traffic"
)

// packets are a session's, in their order.
type packets struct {
	gap, size []float64 // s, bytes
	down      []bool
}

// compile turns sessions into packets of at most 1,500 bytes with headers of 40, of UDP
// and ICMP 28.
func compile(set *traffic.Set, speed float64) ([]packets, error) {
	c := &set.Of
	direction, size, gap, protocol := c.StepIndex("direction"), c.StepIndex("size"), c.StepIndex("gap"), c.MetaIndex("protocol")
	if direction < 0 || size < 0 || gap < 0 || set.Len() == 0 {
		return nil, errors.New("there are no sessions of packets: steps need direction, size and gap")
	}
	all := make([]packets, set.Len())
	for i := range set.Sessions {
		s, p := &set.Sessions[i], &all[i]
		header := 28.
		if protocol < 0 || s.Meta[protocol] == 0 {
			header = 40
		}
		for t := range c.Len(s) {
			x := c.Step(s, t)
			wait := x[gap] / speed
			for left := x[size] + header; left > 0; left -= 1500 {
				p.gap, p.size, p.down = append(p.gap, wait), append(p.size, min(left, 1500)), append(p.down, x[direction] == 1)
				wait = 0
			}
		}
	}
	return all, nil
}

// play is how sessions are played: at Poisson times, each a random one, packets at
// their own times.
type play struct {
	rate            float64 // sessions a second
	places          int
	warmup, seconds float64
	runs            int
}

// offer is what was played, in the mean of a second.
type offer struct {
	atOnce, refused     float64 // sessions in progress as a second begins; share that found no place
	down, downBytes, up float64
	dispersion          [3]float64 // variance over mean of packets down in windows of 10 ms, 100 ms, 1 s
}

func (p *play) offer(of []packets) (o offer) {
	const bin = .01
	var came, refused float64
	counts := make([][]float64, p.runs)
	whole := float64(p.runs) * p.seconds
	for r := range counts {
		draw := rand.New(rand.NewPCG(uint64(r), 7))
		n := make([]float64, int(p.seconds/bin+.5))
		var ends []float64
		for second := 0.; second < p.warmup+p.seconds; second++ {
			on := ends[:0]
			for _, e := range ends {
				if e > second {
					on = append(on, e)
				}
			}
			ends = on
			if second >= p.warmup {
				o.atOnce += float64(len(ends)) / whole
			}
			for t := draw.ExpFloat64() / p.rate; t < 1; t += draw.ExpFloat64() / p.rate {
				x := &of[draw.IntN(len(of))]
				came++
				if len(ends) >= p.places {
					refused++
					continue
				}
				at := second + t
				for k, gap := range x.gap {
					at += gap
					switch i := int((at - p.warmup) / bin); {
					case at < p.warmup || i >= len(n):
					case x.down[k]:
						n[i]++
						o.down, o.downBytes = o.down+1/whole, o.downBytes+x.size[k]/whole
					default:
						o.up += 1 / whole
					}
				}
				ends = append(ends, at)
			}
		}
		counts[r] = n
	}
	o.refused = refused / max(came, 1)
	for i, windows := range []int{1, 10, 100} {
		o.dispersion[i] = dispersion(counts, windows)
	}
	return o
}

// dispersion is the variance over the mean of counts in windows of so many bins.
func dispersion(counts [][]float64, bins int) float64 {
	var n, sum, squares float64
	for _, run := range counts {
		for i := 0; i+bins <= len(run); i += bins {
			x := 0.
			for _, y := range run[i : i+bins] {
				x += y
			}
			n, sum, squares = n+1, sum+x, squares+x*x
		}
	}
	if sum == 0 {
		return 0
	}
	return (squares/n - sum/n*sum/n) / (sum / n)
}
