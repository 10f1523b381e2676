// Package branches compares what a simulator makes of a change of limit with what a
// testbed made of it, from the same state: counterfactual pairs. The testbed is put
// back into a snapshot and played on under each limit, meeting the same load; a
// simulator reads what was measured before and continues it under the same limits.
package branches

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/telemetry"
)

// Point is a moment of a testbed and what came after it under several limits.
type Point struct {
	First  int   // its first recording among those given; the others follow
	Limits []int // in force after it, one a recording
	From   int   // seconds before it, which the recordings share
	Buffer float64
	Full   bool // mean depth over limit above a half at a switch in the 16 s before it
}

// Points finds the moments in recordings as testbed record --branch-s writes them:
// those of a moment one after another, equal up to it and under one limit from then on.
func Points(all []telemetry.Recording) ([]Point, error) {
	var points []Point
	for i := 0; i < len(all); {
		p := Point{First: i, Limits: []int{all[i].LimitAt(all[i].Data.Len() - 1)}}
		j := i + 1
		for ; j < len(all); j++ {
			n, l := shared(all[i], all[j]), all[j].LimitAt(all[j].Data.Len()-1)
			if n < 2 || n >= all[i].Data.Len() || slices.Contains(p.Limits, l) || p.From > 0 && n != p.From {
				break
			}
			p.From = n
			p.Limits = append(p.Limits, l)
		}
		i = j
		if len(p.Limits) > 1 {
			p.state(all[p.First])
			points = append(points, p)
		}
	}
	if len(points) == 0 {
		return nil, errors.New("branches: no two recordings are equal up to a moment and differ in their limit from then on: record them by testbed record --branch-s")
	}
	return points, nil
}

// shared is how many seconds two recordings have in common before their limits
// differ; 0 where what was measured differs before that.
func shared(a, b telemetry.Recording) int {
	if a.Data.Len() != b.Data.Len() {
		return 0
	}
	f, s := len(a.Data.Fields()), max(a.Switches(), b.Switches())
	under, other := make([]int32, s), make([]int32, s)
	for t := range a.Data.Len() {
		a.LimitsAt(t, under)
		if b.LimitsAt(t, other); !slices.Equal(under, other) {
			return t
		}
		for j := range f {
			x, okX := a.Data.At(t, j)
			if y, okY := b.Data.At(t, j); okX != okY || okX && x != y {
				return 0
			}
		}
	}
	return a.Data.Len()
}

const before = 16 // seconds that say whether queues are full

func (p *Point) state(r telemetry.Recording) {
	for j, f := range r.Data.Fields() {
		switch {
		case f.Name == "lbo_s":
			for t := p.From - 1; t >= 0; t-- {
				if x, ok := r.Data.At(t, j); ok {
					p.Buffer = float64(x)
					break
				}
			}
		case strings.HasPrefix(f.Name, "enq_qdepth"):
			sum, n := 0., 0.
			for t := max(0, p.From-before); t < p.From; t++ {
				if x, ok := r.Data.At(t, j); ok {
					sum, n = sum+float64(x)/float64(r.LimitAt(t)), n+1
				}
			}
			p.Full = p.Full || n > 0 && sum/n > .5
		}
	}
}

// Cell is the mean over points of how far the player's buffer is from where it was,
// at one horizon.
type Cell struct {
	N              int
	Testbed, Model float64
	Error          float64 // standard error of the mean of the differences model - testbed
}

func cellOf(testbed, model []float64) Cell {
	c := Cell{N: len(testbed)}
	n, sq := float64(len(testbed)), 0.
	for i := range testbed {
		c.Testbed += testbed[i] / n
		c.Model += model[i] / n
	}
	for i := range testbed {
		d := model[i] - testbed[i] - (c.Model - c.Testbed)
		sq += d * d
	}
	if n > 1 {
		c.Error = math.Sqrt(sq / (n - 1) / n)
	}
	return c
}

// Effect is what one limit did to the player's buffer that another did not, seconds of
// buffer, some seconds after both were put in force in one state.
type Effect struct {
	Lower, Higher int // limits, packets: the buffer under Higher less that under Lower
	After         int // seconds
	All           Cell
	States        []Cell // by buffer before (below its median, else above) and queues (full, else not), with two points or more
}

// Horizons are the seconds after a change at which effects are compared.
var Horizons = []int{4, 10, 20, 30, 60}

// Compare gives the effects of every pair of limits. model [recording][n,T,F] is what
// a simulator draws for each recording's T seconds from its point on, n times; its mean
// is compared.
func Compare(all []telemetry.Recording, points []Point, model [][]float32, n int) ([]Effect, error) {
	lbo := slices.IndexFunc(all[0].Data.Fields(), func(f telemetry.Field) bool { return f.Name == "lbo_s" })
	if lbo < 0 {
		return nil, errors.New("branches: the recordings have no lbo_s")
	}
	f := len(all[0].Data.Fields())
	var buffers []float64
	for _, p := range points {
		buffers = append(buffers, p.Buffer)
	}
	slices.Sort(buffers)
	median := buffers[len(buffers)/2]
	type pair struct{ lower, higher int }
	type sides struct{ testbed, model [5][]float64 } // all, then by state
	var effects []Effect
	for _, h := range Horizons {
		of := map[pair]*sides{}
		var order []pair
		for _, p := range points {
			for i, a := range p.Limits {
				for j, b := range p.Limits {
					x, ok := all[p.First+i].Data.At(min(p.From+h, all[p.First+i].Data.Len())-1, lbo)
					y, also := all[p.First+j].Data.At(min(p.From+h, all[p.First+j].Data.Len())-1, lbo)
					if a >= b || !ok || !also || p.From+h > all[p.First].Data.Len() {
						continue
					}
					s := of[pair{a, b}]
					if s == nil {
						s = &sides{}
						of[pair{a, b}], order = s, append(order, pair{a, b})
					}
					drawn := mean(model[p.First+j], n, f, h-1, lbo) - mean(model[p.First+i], n, f, h-1, lbo)
					state := 1
					if p.Buffer >= median {
						state += 2
					}
					if p.Full {
						state++
					}
					for _, k := range []int{0, state} {
						s.testbed[k], s.model[k] = append(s.testbed[k], float64(y-x)), append(s.model[k], drawn)
					}
				}
			}
		}
		slices.SortFunc(order, func(x, y pair) int { return cmp.Or(cmp.Compare(x.lower, y.lower), cmp.Compare(x.higher, y.higher)) })
		for _, o := range order {
			s := of[o]
			e := Effect{Lower: o.lower, Higher: o.higher, After: h, All: cellOf(s.testbed[0], s.model[0])}
			for k := 1; k < 5; k++ {
				if len(s.testbed[k]) > 1 {
					e.States = append(e.States, cellOf(s.testbed[k], s.model[k]))
				}
			}
			effects = append(effects, e)
		}
	}
	return effects, nil
}

// mean is that of column j, t seconds after the point, over n rollouts.
func mean(x []float32, n, f, t, j int) float64 {
	sum := 0.
	for i := range n {
		sum += float64(x[(i*len(x)/n/f+t)*f+j]) / float64(n)
	}
	return sum
}

// RMS is the root mean square over pairs of limits and states of the differences of
// the two means at a horizon, seconds of buffer, and of their standard errors: what a
// perfect model would come to.
func RMS(effects []Effect, after int) (rms, floor float64) {
	n := 0.
	for _, e := range effects {
		if e.After != after {
			continue
		}
		for _, c := range e.States {
			d := c.Model - c.Testbed
			rms, floor, n = rms+d*d, floor+c.Error*c.Error, n+1
		}
	}
	return math.Sqrt(rms / max(n, 1)), math.Sqrt(floor / max(n, 1))
}
