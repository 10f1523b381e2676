package nn

import (
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// Two runs of half the steps, the second from the first's last hidden states,
// give what one run of all steps does.
func TestLastGoesOn(t *testing.T) {
	const steps, rows = 6, 37 // a tile and a part of one
	for _, k := range []compute.Kernels{compute.Reference, compute.Go} {
		be := compute.NewBackend(k, 1)
		g := NewGRU(GRUConfig{In: 3, Hidden: 5, Layers: 2, Out: 2, Act: Sigmoid})
		g.Init(rng.Key{Seed: 1})
		x := make([]float32, steps*rows*3)
		InitUniform(rng.Key{Seed: 2}, x, 1)
		whole, y := make([]float32, steps*rows*2), make([]float32, steps*rows*2)
		h := make([]float32, 2*rows*5)
		g.NewRun(be, steps, rows).Forward(x, nil, whole)
		half := g.NewRun(be, steps/2, rows)
		half.Forward(x[:len(x)/2], nil, y[:len(y)/2])
		half.Last(h)
		half.Forward(x[len(x)/2:], h, y[len(y)/2:])
		for i := range y {
			if d := math.Abs(float64(y[i] - whole[i])); d > 1e-6 {
				t.Fatalf("%v: output %d differs by %v", k, i, d)
			}
		}
	}
}
