package timegan_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// A model of data of which 34 % was lost gives what a model of the complete
// data gives, and both give the data's distribution (decision 4: gaps are
// modelled, not avoided).
func TestGaps(t *testing.T) {
	if testing.Short() {
		t.Skip("trains two models")
	}
	c := timegan.Config{Window: 12, Hidden: 12, Layers: 1, Noise: 4, Batch: 32, Embed: 500, Super: 100, Joint: 1000, Seed: 1, Eta: .1, Clock: 120}
	k, err := compute.ParseKernels("auto")
	if err != nil {
		t.Fatal(err)
	}
	rollout := func(lost float64) *telemetry.Dataset {
		e := timegan.NewCPU(k, 1)
		defer e.Close()
		m, err := timegan.Fit(context.Background(), c, e, training(t, c, lost), timegan.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sim, err := timegan.NewSimulator(1, []*timegan.Model{m}, []timegan.Engine{e})
		if err != nil {
			t.Fatal(err)
		}
		d, err := timegan.Sample(context.Background(), sim, []uint64{1}, 0, 64, 1200)
		if err != nil {
			t.Fatal(err)
		}
		return d[0]
	}
	real, complete, gappy := recording(t, 64, 1200, 0).Data, rollout(0), rollout(.34)
	for _, name := range []string{"enq_qdepth1", "deq_timedelta1", "lbo_s", "fps"} {
		whole, gaps, apart := w1(real, complete, name), w1(real, gappy, name), w1(complete, gappy, name)
		t.Logf("%s: W1 to the data %.3f from all of it, %.3f from 66 %%; to each other %.3f", name, whole, gaps, apart)
		if whole > .25 || gaps > .25 || apart > .15 {
			t.Errorf("%s: W1 to the data %v from all of it, %v from 66 %%; to each other %v", name, whole, gaps, apart)
		}
	}
}

// w1 is the Wasserstein-1 distance of a column, on the scale of a's range.
func w1(a, b *telemetry.Dataset, name string) float64 {
	sorted := func(d *telemetry.Dataset) []float64 {
		var x []float64
		for t := range d.Len() {
			v, _ := d.At(t, d.Column(name))
			x = append(x, float64(v))
		}
		slices.Sort(x)
		return x
	}
	x, y := sorted(a), sorted(b)
	var sum float64
	for i := range x {
		sum += math.Abs(x[i]-y[i]) / float64(len(x))
	}
	return sum / (x[len(x)-1] - x[0])
}
