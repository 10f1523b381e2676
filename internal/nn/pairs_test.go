package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// Norms and the sum of clipped gradients are those of a loop that computes the
// gradient of one pair after another, by the layers' backward and the penalty's:
// for pairs of more than one tile, with clips that take all, some and none.
func TestPairGradients(t *testing.T) {
	const pairs, lambda = 70, 10.
	for _, sizes := range [][]int{{9, 1}, {9, 12, 1}, {9, 16, 7, 1}} {
		m := NewMLP(sizes, ReLU, Linear)
		for i := range m.params.Data { // biases too
			a, _ := rng.Key{Seed: 2, Purpose: rng.Init}.Normal(uint32(i))
			m.params.Data[i] = float32(.4 * a)
		}
		rows := func(seed uint64) []float32 {
			x := make([]float32, pairs*9)
			for i := range x {
				a, _ := rng.Key{Seed: seed, Purpose: rng.Noise}.Normal(uint32(i))
				x[i] = float32(a)
			}
			return x
		}
		real, fake, hat := rows(3), rows(4), rows(5)
		for _, k := range compute.Available() {
			be := compute.NewBackend(k, 1)
			run, penalty := m.NewRun(be, 1), NewGradientPenalty(m, be, 1)
			var own [][]float32
			for i := range pairs {
				g := make([]float32, len(m.params.Data))
				y := make([]float32, 1)
				for _, x := range []struct {
					row []float32
					dy  float32
				}{{real, -1}, {fake, 1}} {
					run.Forward(x.row[i*9:][:9], y)
					run.Backward([]float32{x.dy}, nil, g)
				}
				penalty.Penalty(hat[i*9:][:9], lambda, g)
				own = append(own, g)
			}
			p := NewPairGradients(m, be, pairs)
			var norms []float64
			for _, g := range own {
				norms = append(norms, Norm(g))
			}
			slices.Sort(norms)
			median := norms[pairs/2]
			for _, clip := range []float64{1e-3, median, 1e6} {
				want := make([]float64, len(m.params.Data))
				clipped := 0
				for _, g := range own {
					scale := 1.
					if n := Norm(g); n > clip {
						scale = clip / n
						clipped++
					}
					for j, v := range g {
						want[j] += scale * float64(v)
					}
				}
				if clip == median && (clipped == 0 || clipped == pairs) {
					t.Errorf("%v: %d of %d are clipped: the middle case is none", sizes, clipped, pairs)
				}
				got := make([]float32, len(want))
				norms := p.Sum(real, fake, hat, lambda, clip, got)
				for i, g := range own {
					if n := Norm(g); math.Abs(norms[i]/n-1) > 1e-4 {
						t.Errorf("%v %v: pair %d has a norm of %v, alone %v", k, sizes, i, norms[i], n)
					}
				}
				most := 0.
				for _, x := range want {
					most = max(most, math.Abs(x))
				}
				for j, x := range want {
					if math.Abs(float64(got[j])-x) > 1e-5*most {
						t.Errorf("%v %v: clip %v: element %d is %v, by a loop %v", k, sizes, clip, j, got[j], x)
					}
				}
				// One pair alone is never above the bound.
				for i := range own {
					one := make([]float32, len(want))
					p.Sum(real[i*9:][:9], fake[i*9:][:9], hat[i*9:][:9], lambda, clip, one)
					if n := Norm(one); n > clip {
						t.Errorf("%v %v: pair %d adds %v, above %v", k, sizes, i, n, clip)
					}
				}
			}
			be.Close()
		}
	}
}

// BenchmarkPairGradients is a critic of attributes and a window of flow records.
func BenchmarkPairGradients(b *testing.B) {
	const pairs, in = 128, 512
	m := NewMLP([]int{in, 128, 128, 1}, ReLU, Linear)
	m.Init(rng.Key{Purpose: rng.Init})
	x := make([]float32, pairs*in)
	for i := range x {
		x[i] = float32(rng.Key{Purpose: rng.Noise}.Float64(uint32(i)))
	}
	grad := make([]float32, len(m.params.Data))
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	p := NewPairGradients(m, be, pairs)
	for b.Loop() {
		p.Sum(x, x, x, 10, 1, grad)
	}
}
