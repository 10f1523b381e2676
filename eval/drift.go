package eval

import (
	"context"
	"math"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Column is a measured quantity that both plants have.
type Column struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
	// Spread is the largest less the smallest value on A under all policies:
	// what W1 is in units of.
	Spread Number `json:"spread"`
}

// Drift is how far a column is apart under one policy.
type Drift struct {
	W1    Number `json:"w1"` // Wasserstein-1 distance over the column's spread
	KS    Number `json:"ks"` // Kolmogorov-Smirnov statistic
	MeanA Number `json:"mean_a"`
	MeanB Number `json:"mean_b"`
}

// watch keeps what a plant measures under one policy: the measured cells of
// its windows and, where one of the plants is not at hand, the observations.
type watch struct {
	windows  bool // the plant is at hand
	stride   int  // keep one in so many windows and observations
	seen     int  // windows
	stepped  int  // observations
	fields   []telemetry.Field
	values   [][]float64 // by field
	elements []telemetry.Field
	observed [][]float64 // by element
}

// kept is the most windows that are held of a policy.
const kept = 1 << 15

func (w *watch) begin(spec env.Spec, episodes int) {
	w.seen, w.stepped, w.stride = 0, 0, max(1, episodes*max(spec.MaxSteps, 1)/kept)
	w.values, w.elements = make([][]float64, len(w.fields)), spec.Observation.Elements
	w.observed = make([][]float64, len(w.elements))
}

// columns are what there is to compare.
func (w *watch) columns(windows bool) ([]telemetry.Field, [][]float64) {
	if windows {
		return w.fields, w.values
	}
	return w.elements, w.observed
}

// plant puts the watch around a plant.
func (w *watch) plant(p env.Plant) env.Plant {
	w.windows, w.fields = true, p.Columns()
	return watchedPlant{p, w}
}

type watchedPlant struct {
	env.Plant
	w *watch
}

// Advance is env.Plant's.
func (p watchedPlant) Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	if err := p.Plant.Advance(ctx, rows, limit, out); err != nil {
		return err
	}
	w := p.w
	for i := range rows {
		if w.seen++; (w.seen-1)%w.stride != 0 {
			continue
		}
		values, valid := out.Row(i)
		for at, x := range values {
			if valid[at] {
				c := at % out.Fields
				w.values[c] = append(w.values[c], float64(x))
			}
		}
	}
	return nil
}

// vector puts the watch around environments: their plant may be elsewhere, or
// the other side's.
func (w *watch) vector(v env.Vector) env.Vector { return watchedVector{v, w} }

type watchedVector struct {
	env.Vector
	w *watch
}

// Step is env.Vector's.
func (v watchedVector) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if err := v.Vector.Step(ctx, rows, actions, out); err != nil {
		return err
	}
	d := len(v.w.elements)
	for i := range len(out.Obs) / d {
		if v.w.stepped++; (v.w.stepped-1)%v.w.stride != 0 {
			continue
		}
		for c, x := range out.Obs[i*d : (i+1)*d] {
			v.w.observed[c] = append(v.w.observed[c], float64(x))
		}
	}
	return nil
}

// InfoFields is env.Informer's.
func (v watchedVector) InfoFields() []telemetry.Field {
	if i, ok := v.Vector.(env.Informer); ok {
		return i.InfoFields()
	}
	return nil
}

// Info is env.Informer's.
func (v watchedVector) Info(row int, dst []float32) []float32 {
	if i, ok := v.Vector.(env.Informer); ok {
		return i.Info(row, dst)
	}
	return dst
}

// FinalInfo is env.FinalInformer's.
func (v watchedVector) FinalInfo(row int, dst []float32) ([]float32, bool) {
	return env.FinalInfo(v.Vector, row, dst)
}

// spreads are the columns and the range of each on A, over policies.
type spreads struct {
	columns   []Column
	low, high []float64
}

// drift compares what was measured of a policy; W1 waits for scale.
func (s *spreads) drift(a, b *watch) []Drift {
	windows := a.windows && b.windows
	fa, va := a.columns(windows)
	fb, vb := b.columns(windows)
	if s.columns == nil {
		for _, f := range fa {
			if slices.ContainsFunc(fb, func(g telemetry.Field) bool { return g.Name == f.Name }) {
				s.columns = append(s.columns, Column{Name: f.Name, Unit: f.Unit})
				s.low, s.high = append(s.low, math.Inf(1)), append(s.high, math.Inf(-1))
			}
		}
	}
	nan := Number(math.NaN())
	out := make([]Drift, len(s.columns))
	for c, col := range s.columns {
		find := func(all []telemetry.Field, v [][]float64) []float64 {
			if i := slices.IndexFunc(all, func(f telemetry.Field) bool { return f.Name == col.Name }); i >= 0 {
				return v[i]
			}
			return nil // an agent observes other elements than the baselines
		}
		x, y := find(fa, va), find(fb, vb)
		out[c] = Drift{nan, nan, nan, nan}
		if len(x) == 0 || len(y) == 0 {
			continue
		}
		slices.Sort(x)
		slices.Sort(y)
		s.low[c], s.high[c] = min(s.low[c], x[0]), max(s.high[c], x[len(x)-1])
		w1, ks := selection.Distances(x, y)
		out[c] = Drift{Number(w1), Number(ks), Number(mean(x)), Number(mean(y))}
	}
	return out
}

// scale puts W1 in units of the columns' spread.
func (s *spreads) scale(d []Drift) {
	for c := range s.columns {
		spread := s.high[c] - s.low[c]
		s.columns[c].Spread = Number(spread)
		switch {
		case d[c].W1 == 0: // a constant is far from nothing equal to it
		case spread > 0:
			d[c].W1 /= Number(spread)
		default:
			d[c].W1 = Number(math.NaN())
		}
	}
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
