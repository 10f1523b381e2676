package doppelganger

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/traffic"
)

// places says where in its session's range a value is, from 0, the smallest, to 1, by an
// output of the series generator: a line between knots that does not fall. Without
// knots it is the sigmoid that critics see in training.
type places struct {
	From []float32 `json:"from"`
	To   []float32 `json:"to"`
}

// knots of a line: quantiles of what is sampled, and the same ones of training's.
const knots = 65

func (p *places) at(y float32) float64 {
	n := len(p.From)
	if n == 0 {
		return 1 / (1 + math.Exp(-float64(y)))
	}
	i := sort.Search(n, func(i int) bool { return p.From[i] > y })
	if i == 0 {
		return float64(p.To[0])
	}
	if i == n {
		return float64(p.To[n-1])
	}
	share := float64(y-p.From[i-1]) / float64(p.From[i]-p.From[i-1])
	return float64(p.To[i-1]) + share*float64(p.To[i]-p.To[i-1])
}

// share is where in its range an output puts numeric field j.
func (k *codec) share(j int, y float32) float64 {
	if j < len(k.Places) {
		return k.Places[j].at(y)
	}
	return (&places{}).at(y)
}

func (p *places) check() error {
	if len(p.From) != len(p.To) || len(p.From) > 1<<10 {
		return fmt.Errorf("codec: places of %d and %d knots", len(p.From), len(p.To))
	}
	for i, x := range p.From {
		y := p.To[i]
		if x-x != 0 || !(y >= 0 && y <= 1) || i > 0 && (x < p.From[i-1] || y < p.To[i-1]) {
			return fmt.Errorf("codec: places: knot %d is %v, %v", i, x, y)
		}
	}
	return nil
}

// placed is an output for a numeric field, by its index in the codec's.
type placed struct {
	field int
	y     float32
}

// fitPlaces makes values lie in their sessions' ranges as training's do: half of a
// session's packets may be as large as its largest, where a sigmoid's are just below it
// and the mean of a hundred is what critics of ten steps let pass.
func (m *Model) fitPlaces(be *compute.Backend, train []traffic.Session, n int, seed uint64) {
	k := m.codec
	k.Places = make([]places, len(k.numeric))
	want, have := make([][]float32, len(k.numeric)), make([][]float32, len(k.numeric))
	for i := range train {
		s := k.innerSession(&train[i])
		for j, f := range k.numeric {
			kind := k.in.Steps[f].Kind
			lo, hi := k.extremes(&s, f)
			lo, hi = scale(kind, lo), scale(kind, hi)
			for t := range k.in.Len(&s) {
				if step := k.in.Step(&s, t); hi > lo && k.placed(j, t, step) {
					want[j] = append(want[j], float32((scale(kind, step[f])-lo)/(hi-lo)))
				}
			}
		}
	}
	m.blocks(be, n, seed, func(r *traffic.Request, s *sampler, first, rows int, _ []int, _ []float64) {
		if s.seen == nil {
			s.seen = make([][]placed, len(s.walks))
		}
		s.draw(r, first, rows)
		for i := range rows {
			for _, x := range s.seen[i] {
				have[x.field] = append(have[x.field], x.y)
			}
			s.seen[i] = s.seen[i][:0]
		}
	})
	for j := range k.numeric {
		if len(want[j]) < knots || len(have[j]) < knots {
			continue
		}
		slices.Sort(want[j])
		slices.Sort(have[j])
		for i := range knots {
			k.Places[j].From = append(k.Places[j].From, have[j][i*(len(have[j])-1)/(knots-1)])
			k.Places[j].To = append(k.Places[j].To, min(max(want[j][i*(len(want[j])-1)/(knots-1)], 0), 1))
		}
	}
}

// placed reports whether step t of a session of in has a value of numeric field j that
// its range says something of: no size that its kind has as 0, no gap of a first step.
func (k *codec) placed(j, t int, step []float64) bool {
	if k.Kinds != nil && k.off[int(step[0])][j] {
		return false
	}
	return t > 0 || k.numeric[j] != k.in.StepIndex("gap")
}
