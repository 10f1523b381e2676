package doppelganger

import (
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// A heavy tail keeps its mean: classes as often as in training, and values drawn
// inside of them. Values are of a Pareto distribution, most below a minute,
// a few up to an hour.
func TestClassesKeepTheMean(t *testing.T) {
	key := rng.Key{Seed: 3, Purpose: rng.Bootstrap}
	var values []float64
	for i := range 2000 {
		values = append(values, min(.001/math.Pow(1-key.Float64(uint32(i)), 1/.7), 3600))
	}
	f := traffic.Field{Name: "gap", Kind: traffic.Gap}
	c := newClasses(&f, values, 24, 5)
	mean, drawn := 0., 0.
	const draws = 50
	for i, x := range values {
		mean += x
		for d := range draws {
			drawn += c.decode(c.encode(x), rng.Key{Seed: 4, A: uint32(i), Purpose: rng.Bootstrap}.Float64(uint32(d))) / draws
		}
	}
	if math.Abs(drawn/mean-1) > .15 {
		t.Errorf("mean %.4f s becomes %.4f", mean/2000, drawn/2000)
	}
}

// After a short fit sampled sessions are as long in the mean as training's, and go
// up and down as often: what a queue gets of them.
func TestRates(t *testing.T) {
	train := exchanges(200)
	measure := func(set *traffic.Set) (steps, down float64) {
		for i := range set.Sessions {
			for s := range set.Of.Len(&set.Sessions[i]) {
				steps++
				down += set.Of.Step(&set.Sessions[i], s)[0]
			}
		}
		return steps / float64(set.Len()), down / steps
	}
	wantSteps, wantDown := measure(train)
	for _, mode := range Modes {
		c := tiny(mode)
		c.Updates, c.Batch, c.Hidden, c.Rate = 400, 32, 16, 3e-3
		m, err := Fit(t.Context(), train, c, traffic.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		set, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 4000, Seed: 7}))
		if err != nil {
			t.Fatal(err)
		}
		steps, down := measure(set)
		t.Logf("%s: %.2f steps (%.2f), down %.3f (%.3f)", mode, steps, wantSteps, down, wantDown)
		if math.Abs(steps/wantSteps-1) > .1 || math.Abs(down-wantDown) > .05 {
			t.Errorf("%s: %.2f steps, %.3f down; training has %.2f and %.3f", mode, steps, down, wantSteps, wantDown)
		}
	}
}

// A session that goes on in a later chunk does so within its largest gap.
func TestChunksWithinGaps(t *testing.T) {
	m := fitted(t, tiny(Adversarial), traffic.FitOptions{})
	longest := 0.
	for s, err := range m.Sample(t.Context(), traffic.Request{N: 2000, Seed: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Schema().Len(&s) {
			longest = max(longest, m.Schema().Step(&s, i)[0])
		}
	}
	if longest > 1.01 { // training's are below 1 s, its chunks 16 s apart
		t.Errorf("a gap of %.2f s", longest)
	}
}
