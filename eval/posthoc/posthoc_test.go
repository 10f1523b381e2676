package posthoc

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// waves are sine waves whose last feature follows the first, a step late.
func waves(n int, seed uint64, level float32) Set {
	s := Set{Length: 12, Features: 4}
	for i := range n {
		phase := 2 * math.Pi * rng.Key{Seed: seed, A: uint32(i)}.Float64(0)
		for t := range s.Length {
			x := func(t int) float32 { return level + .3*float32(math.Sin(phase+float64(t)/2)) }
			s.X = append(s.X, x(t), 1-x(t), level, x(t-1))
		}
	}
	return s
}

func backend(t *testing.T) *compute.Backend {
	be := compute.NewBackend(compute.Go, 1)
	t.Cleanup(be.Close)
	return be
}

// The classifier cannot separate windows of one source, and separates different ones.
func TestDiscriminative(t *testing.T) {
	o := Options{Updates: 300, Batch: 64}
	same, err := Discriminative(context.Background(), backend(t), waves(400, 1, .5), waves(400, 2, .5), o)
	if err != nil || same > .1 {
		t.Errorf("one source: %v, %v", same, err)
	}
	other, err := Discriminative(context.Background(), backend(t), waves(400, 1, .5), waves(400, 2, .7), o)
	if err != nil || other < .45 {
		t.Errorf("two sources: %v, %v", other, err)
	}
}

// A predictor learns what the next value follows from, where it does.
func TestPredictive(t *testing.T) {
	o := Options{Updates: 1500, Batch: 32}
	good, err := Predictive(context.Background(), backend(t), waves(200, 1, .5), waves(200, 2, .5), o)
	if err != nil || good > .06 {
		t.Errorf("one source: %v, %v", good, err)
	}
	noise := waves(200, 2, .5)
	for i := range noise.X {
		noise.X[i] = float32(rng.Key{Seed: 3, A: uint32(i)}.Float64(0))
	}
	bad, err := Predictive(context.Background(), backend(t), waves(200, 1, .5), noise, o)
	if err != nil || bad < 2*good {
		t.Errorf("learnt from noise: %v, %v; from its like %v", bad, err, good)
	}
}

func TestRefuses(t *testing.T) {
	w := waves(10, 1, .5)
	ctx, cancel := context.WithCancel(context.Background())
	for _, c := range []struct {
		real, fake Set
		want       string
	}{
		{w, Set{Length: 12, Features: 3, X: make([]float32, 36)}, "generated windows are 12×3, real ones 12×4"},
		{w, Set{Length: 12, Features: 4, X: make([]float32, 47)}, "47 numbers"},
		{waves(2, 1, .5), Set{Length: 12, Features: 4}, "0 numbers"},
	} {
		for _, f := range []func(context.Context, *compute.Backend, Set, Set, Options) (float64, error){Discriminative, Predictive} {
			if _, err := f(ctx, backend(t), c.real, c.fake, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		}
	}
	cancel()
	if _, err := Predictive(ctx, backend(t), w, w, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Discriminative(ctx, backend(t), w, w, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
