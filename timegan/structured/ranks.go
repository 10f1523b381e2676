package structured

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// law is what of x, measured in second t under limit, has quantiles: a depth's
// share of the limit, a wait's remainder over what the packets before it take.
func (m *Model) law(c *Column, r telemetry.Recording, t, col int) (float64, bool) {
	v, ok := r.Data.At(t, col)
	x := float64(v)
	switch c.Kind {
	case depthKind:
		x /= float64(r.LimitAt(t))
	case waitKind:
		if c.Depth >= 0 {
			d, measured := r.Data.At(t, c.Depth)
			x -= c.PerPacket * float64(d)
			ok = ok && measured
		}
	}
	return x, ok
}

// fitService sets what a packet that waits takes at each switch: the least
// squares slope of waits over depths, µs.
func (m *Model) fitService(recordings []telemetry.Recording) {
	for j := range m.Columns {
		c := &m.Columns[j]
		if c.Kind != waitKind || c.Depth < 0 {
			continue
		}
		var n, sx, sy, sxx, sxy float64
		for _, r := range recordings {
			for t := range r.Data.Len() {
				d, ok := r.Data.At(t, c.Depth)
				w, measured := r.Data.At(t, j)
				if ok && measured {
					x, y := float64(d), float64(w)
					n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
				}
			}
		}
		if v := n*sxx - sx*sx; v > 0 {
			c.PerPacket = max((n*sxy-sx*sy)/v, 0)
		}
	}
}

// tabulate fills the quantile tables and gives each recording's ranks: the
// rank of a second's measurement within its regime and limit.
func (m *Model) tabulate(recordings []telemetry.Recording, paths [][]uint8) ([]telemetry.Recording, error) {
	k, n, q := m.Config.Regimes, len(m.Limits), m.Config.Knots
	m.Tables = make([]float32, m.channels()*k*n*q)
	var fields []telemetry.Field
	ranks, valid := make([][]float32, len(recordings)), make([][]bool, len(recordings))
	for i, r := range recordings {
		ranks[i], valid[i] = make([]float32, r.Data.Len()*m.channels()), make([]bool, r.Data.Len()*m.channels())
	}
	for j := range m.Columns {
		c := &m.Columns[j]
		if c.Channel < 0 {
			continue
		}
		fields = append(fields, telemetry.Field{Name: c.Name})
		groups := make([][]float64, k*n)
		for i, r := range recordings {
			for t, z := range paths[i] {
				if x, ok := m.law(c, r, t, j); ok {
					g := int(z)*n + m.limitIndex(r.LimitAt(t))
					groups[g] = append(groups[g], x)
				}
			}
		}
		for g := range groups {
			if len(groups[g]) < 100 {
				return nil, fmt.Errorf("structured: %s: %d seconds of regime %d under limit %d: 100 at least are needed: record more, or ask for fewer regimes",
					c.Name, len(groups[g]), g/n, m.Limits[g%n])
			}
			slices.Sort(groups[g])
			for i := range q {
				m.Tables[(c.Channel*k*n+g)*q+i] = float32(telemetry.Quantile(groups[g], float64(i)/float64(q-1)))
			}
		}
		for i, r := range recordings {
			for t, z := range paths[i] {
				x, ok := m.law(c, r, t, j)
				at := t*m.channels() + c.Channel
				if valid[i][at] = ok; !ok {
					continue
				}
				sorted := groups[int(z)*n+m.limitIndex(r.LimitAt(t))]
				lo, _ := slices.BinarySearch(sorted, x)
				hi := lo
				for hi < len(sorted) && sorted[hi] == x {
					hi++
				}
				// Among equals a draw: ranks are uniform whatever the column.
				u := rng.Key{Seed: m.Config.Seed, A: uint32(i), B: uint32(t), Purpose: rng.Bootstrap}.Float64(uint32(c.Channel))
				ranks[i][at] = float32((float64(lo) + u*float64(hi-lo)) / float64(len(sorted)))
			}
		}
	}
	out := make([]telemetry.Recording, len(recordings))
	for i := range out {
		d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), ranks[i], valid[i])
		if err != nil {
			return nil, err
		}
		out[i] = telemetry.Recording{Data: d, Limits: make([]int, d.Len())}
		for t, z := range paths[i] {
			out[i].Limits[t] = int(z) // the condition of the TimeGAN is the regime
		}
	}
	return out, nil
}

const (
	levelRows    = 16
	levelSeconds = 600
)

// level measures the TimeGAN's own ranks in each regime, which are not quite
// uniform, so that a simulation can make them so: the quantiles [C,K,knots].
func (m *Model) level(ctx context.Context, e timegan.Engine) error {
	sim, err := timegan.NewSimulator(levelRows, []*timegan.Model{m.Ranks}, []timegan.Engine{e})
	if err != nil {
		return err
	}
	k, q, n := m.Config.Regimes, m.Config.Knots, m.channels()
	m.Uniform = make([]float32, n*k*q)
	seeds := make([]uint64, levelRows)
	for i := range seeds {
		seeds[i] = m.Config.Seed + uint64(i)
	}
	for z := range k {
		all, err := timegan.Sample(ctx, sim, seeds, -1, int32(z), levelSeconds)
		if err != nil {
			return err
		}
		for c := range n {
			var x []float64
			for _, d := range all {
				for t := range d.Len() {
					v, _ := d.At(t, c)
					x = append(x, float64(v))
				}
			}
			slices.Sort(x)
			for i := range q {
				m.Uniform[(c*k+z)*q+i] = float32(telemetry.Quantile(x, float64(i)/float64(q-1)))
			}
		}
	}
	return nil
}

// rank is the rank of v among knots, in [0, 1].
func rank(knots []float32, v float32) float64 {
	n := len(knots) - 1
	lo, _ := slices.BinarySearch(knots, v)
	switch {
	case lo == 0:
		return 0
	case lo > n:
		return 1
	}
	a, b := knots[lo-1], knots[lo]
	return (float64(lo-1) + float64((v-a)/(b-a))) / float64(n)
}

// quantile is the value at u of knots.
func quantile(knots []float32, u float64) float64 {
	n := len(knots) - 1
	at := min(max(u, 0), 1) * float64(n)
	i := min(int(at), n-1)
	return float64(knots[i]) + float64((float64(knots[i+1])-float64(knots[i]))*(at-float64(i)))
}

// shown is a channel's quantile at u in a regime under a limit: between two
// recorded limits, between theirs.
func (m *Model) shown(channel, regime int, limit, u float64) float64 {
	n, q := len(m.Limits), m.Config.Knots
	hi := 0
	for hi < n-1 && float64(m.Limits[hi]) < limit {
		hi++
	}
	table := func(l int) []float32 { return m.Tables[((channel*m.Config.Regimes+regime)*n+l)*q:][:q] }
	x := quantile(table(hi), u)
	if hi == 0 || float64(m.Limits[hi]) == limit {
		return x
	}
	a, b := m.place(float64(m.Limits[hi-1])), m.place(float64(m.Limits[hi]))
	w := (b - m.place(limit)) / (b - a)
	return float64(w*quantile(table(hi-1), u)) + float64((1-w)*x)
}

// limitIndex is a recorded limit's.
func (m *Model) limitIndex(l int) int { return slices.Index(m.Limits, int32(l)) }
