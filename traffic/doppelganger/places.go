package doppelganger

import (
	"cmp"
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
	Below float64   `json:"below"` // the largest value of the session, scaled, is below; that of a longer list's last says nothing
	From  []float32 `json:"from"`
	To    []float32 `json:"to"`
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

// share is where in its range an output puts numeric field j of a session whose largest
// value is top, scaled.
func (k *codec) share(j int, y float32, top float64) float64 {
	if j >= len(k.Places) || len(k.Places[j]) == 0 {
		return (&places{}).at(y)
	}
	all := k.Places[j]
	i := 0
	for i < len(all)-1 && top >= all[i].Below {
		i++
	}
	return all[i].at(y)
}

func (p *places) check() error {
	if len(p.From) != len(p.To) || len(p.From) > 1<<10 || p.Below-p.Below != 0 {
		return fmt.Errorf("codec: places of %d and %d knots below %v", len(p.From), len(p.To), p.Below)
	}
	for i, x := range p.From {
		y := p.To[i]
		if x-x != 0 || !(y >= 0 && y <= 1) || i > 0 && (x < p.From[i-1] || y < p.To[i-1]) {
			return fmt.Errorf("codec: places: knot %d is %v, %v", i, x, y)
		}
	}
	return nil
}

// placed is an output for a numeric field, or where the field's value is in its range.
type placed struct {
	field int
	top   float64 // the session's largest value, scaled
	x     float32
}

// fitPlaces makes values lie in their sessions' ranges as training's do, of sessions whose
// largest value is about as large: half of a session's packets may be as large as its largest,
// where a sigmoid's are just below it, and a session with one gap of a minute has mostly short ones.
func (m *Model) fitPlaces(be *compute.Backend, train []traffic.Session, n int, seed uint64) {
	k := m.codec
	var want, have []placed
	for i := range train {
		s := k.innerSession(&train[i])
		for j, f := range k.numeric {
			kind := k.in.Steps[f].Kind
			lo, hi := k.extremes(&s, f)
			lo, hi = scale(kind, lo), scale(kind, hi)
			for t := range k.in.Len(&s) {
				if step := k.in.Step(&s, t); hi > lo && k.placed(j, t, step) {
					want = append(want, placed{j, hi, float32(min(max((scale(kind, step[f])-lo)/(hi-lo), 0), 1))})
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
			have = append(have, s.seen[i]...)
			s.seen[i] = s.seen[i][:0]
		}
	})
	k.Places = make([][]places, len(k.numeric))
	for j := range k.numeric {
		of := func(all []placed) (these []placed) {
			for _, x := range all {
				if x.field == j {
					these = append(these, x)
				}
			}
			slices.SortFunc(these, func(a, b placed) int { return cmp.Compare(a.top, b.top) })
			return these
		}
		k.Places[j] = lines(of(want), of(have))
	}
}

// lines are those of one field, of values that are ordered by their sessions' largest.
// A line is of enough values to have quantiles; its sessions' largest values are within a
// factor of e² where that is enough.
func lines(want, have []placed) (all []places) {
	const wide, enough = 2, 4 * knots
	for below := wide; len(want) > 0; below += wide {
		upTo := func(of []placed) int {
			n, _ := slices.BinarySearchFunc(of, float64(below), func(x placed, at float64) int { return cmp.Compare(x.top, at) })
			return n
		}
		w, h := upTo(want), upTo(have)
		if len(want)-w < enough || len(have)-h < enough {
			w, h = len(want), len(have)
		}
		if min(w, h) < enough && w < len(want) {
			continue
		}
		if min(w, h) < knots {
			break
		}
		l := places{Below: float64(below)}
		sorted := func(of []placed) (x []float32) {
			for _, p := range of {
				x = append(x, p.x)
			}
			slices.Sort(x)
			return x
		}
		from, to := sorted(have[:h]), sorted(want[:w])
		for i := range knots {
			l.From = append(l.From, from[i*(len(from)-1)/(knots-1)])
			l.To = append(l.To, to[i*(len(to)-1)/(knots-1)])
		}
		all, want, have = append(all, l), want[w:], have[h:]
	}
	return all
}

// placed reports whether step t of a session of in has a value of numeric field j that
// its range says something of: no size that its kind has as 0, no gap of a first step.
func (k *codec) placed(j, t int, step []float64) bool {
	if k.Kinds != nil && k.off[int(step[0])][j] {
		return false
	}
	return t > 0 || k.numeric[j] != k.in.StepIndex("gap")
}
