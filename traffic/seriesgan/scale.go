package seriesgan

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/rates"
)

// field is how a field's values become numbers for TimeGAN, and how a rollout's
// numbers become values. Most ticks of most flows send nothing; a network that
// is trained on squares and moments gives the few others less than they have, or
// nothing. So a rollout's numbers count by their rank among those of other
// rollouts: as many ticks send as in training, and as much.
type field struct {
	Scale  rates.Scale `json:"scale"`  // of what is sent where something is
	Active float64     `json:"active"` // share of training's ticks that send
	// Ranks are quantiles of a rollout's numbers at ticks that send, ascending:
	// the first divides them from those that do not. Empty: nothing is ever sent.
	Ranks []float32 `json:"ranks"`
}

// common is how often training must have a value for the scale to have it
// exactly.
const common = 5

// scale fits the scales of fields to series.
func (m *Model) scale(set *traffic.Set) error {
	width := len(set.Of.Steps)
	sent := make([][]float64, width)
	for i := range set.Sessions {
		for j, x := range set.Sessions[i].Steps {
			if x < 0 {
				return fmt.Errorf("seriesgan: session %d: %s: %v is negative", i, set.Of.Steps[j%width].Name, x)
			}
			if x > 0 {
				sent[j%width] = append(sent[j%width], x)
			}
		}
	}
	for j, f := range set.Of.Steps {
		if f.Kind != traffic.Size && f.Kind != traffic.Number && f.Kind != traffic.Gap {
			return fmt.Errorf("seriesgan: %s is a %s: expected numbers", f.Name, f.Kind)
		}
		active := float64(len(sent[j])) / float64(max(m.about.Ticks*set.Len(), 1))
		m.about.Fields = append(m.about.Fields, field{Scale: rates.NewScale(sent[j], f.Kind, common), Active: active})
	}
	return nil
}

// encode is the number that TimeGAN sees: 0, or the upper half of [0,1] by the
// place among what training sends.
func (f *field) encode(x float64) float32 {
	if x <= 0 {
		return 0
	}
	return float32(.5 + f.Scale.Place(x)/2)
}

// decode is the value at the rank of a rollout's number.
func (f *field) decode(v float64, kind traffic.Kind) float64 {
	q := f.Ranks
	if len(q) == 0 || float32(v) < q[0] {
		return 0
	}
	i, found := slices.BinarySearch(q, float32(v))
	at := float64(i)
	if !found { // between two, or above all
		if at = float64(len(q) - 1); i < len(q) {
			at = float64(i-1) + (v-float64(q[i-1]))/float64(q[i]-q[i-1])
		}
	}
	return f.Scale.Amount(at/float64(max(len(q)-1, 1)), kind)
}

// calibrate finds the ranks, by rollouts of series with training's labels.
func (m *Model) calibrate(ctx context.Context, kernels compute.Kernels) error {
	const n, knots = 256, 65
	e := timegan.NewCPU(kernels, runtime.GOMAXPROCS(0))
	defer e.Close()
	width := len(m.about.Fields)
	all := make([][]float32, width)
	for block, err := range m.roll(ctx, e, &traffic.Request{N: n, Seed: m.gan.Config.Seed ^ 1<<63}) {
		if err != nil {
			return err
		}
		for _, s := range block {
			for j, v := range s.Steps {
				all[j%width] = append(all[j%width], float32(v))
			}
		}
	}
	for j := range m.about.Fields {
		f, v := &m.about.Fields[j], all[j]
		slices.Sort(v)
		v = v[len(v)-int(math.Round(f.Active*float64(len(v)))):]
		f.Ranks = nil
		for i := range knots {
			if len(v) > 0 {
				f.Ranks = append(f.Ranks, v[i*(len(v)-1)/(knots-1)])
			}
		}
	}
	return nil
}

// check reports what is wrong with a field that was read.
func (f *field) check(kind traffic.Kind) error {
	for _, v := range f.Ranks {
		if v-v != 0 {
			return fmt.Errorf("a rank is %v", v)
		}
	}
	if !slices.IsSorted(f.Ranks) || !(f.Active >= 0 && f.Active <= 1) {
		return fmt.Errorf("ranks %v, active %v", f.Ranks, f.Active)
	}
	return f.Scale.Check(kind)
}
