package nn

import (
	"fmt"
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
)

func TestLossValues(t *testing.T) {
	inf := float32(math.Inf(1))
	mask := []bool{true, false, true}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"bce at 0", BCEWithLogits([]float32{0}, 1, 1, nil), math.Ln2},
		{"bce far right", BCEWithLogits([]float32{200, -200}, 1, 1, nil), 100},
		{"bce label 0", BCEWithLogits([]float32{200, -200}, 0, 1, nil), 100},
		{"mse", MSE([]float32{1, 2, 3}, []float32{1, 4, 0}, nil, 1, nil, nil), 13. / 3},
		{"mse masked", MSE([]float32{1, inf, 3}, []float32{2, 4, 0}, mask, 1, nil, nil), 5},
		{"mse all masked", MSE([]float32{1}, []float32{2}, []bool{false}, 1, nil, nil), 0},
		{"huber", Huber([]float32{.5, 3, -3}, []float32{0, 0, 0}, nil, 1, 1, nil), (.125 + 2.5 + 2.5) / 3},
		{"huber masked", Huber([]float32{.5, inf, -3}, []float32{0, 0, 0}, mask, 2, 1, nil), (.125 + 4) / 2},
		// one step, rows {0,2} against {5,5}: means 1 and 5, variances 1 and 0
		{"moments", Moments([]float32{0, 2}, []float32{5, 5}, 1, 2, 1, 1, nil), math.Sqrt(1+1e-6) - 1e-3 + 4},
		{"moments of itself", Moments([]float32{0, 2, 1, 7}, []float32{0, 2, 1, 7}, 1, 2, 2, 1, nil), 0},
	} {
		if math.Abs(c.got-c.want) > 1e-12*(1+c.want) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	if l := MSE([]float32{float32(math.NaN())}, []float32{1}, nil, 1, nil, nil); l == l {
		t.Errorf("mse of NaN = %v", l)
	}
}

func TestLossGradients(t *testing.T) {
	const steps, rows, features = 2, 5, 3
	n := steps * rows * features
	x, y := draw(1, n, 2), draw(2, n, 2)
	mask := make([]bool, n)
	for i := range mask {
		mask[i] = i%3 != 1
	}
	losses := map[string]func(x, grad []float32) float64{
		"bce":         func(x, g []float32) float64 { return BCEWithLogits(x, 1, 3, g) },
		"bce 0.2":     func(x, g []float32) float64 { return BCEWithLogits(x, .2, 3, g) },
		"mse":         func(x, g []float32) float64 { return MSE(x, y, nil, 3, g, nil) },
		"mse masked":  func(x, g []float32) float64 { return MSE(x, y, mask, 3, g, nil) },
		"mse target":  func(x, g []float32) float64 { return MSE(y, x, mask, 3, nil, g) },
		"huber":       func(x, g []float32) float64 { return Huber(x, y, mask, .7, 3, g) },
		"moments":     func(x, g []float32) float64 { return Moments(x, y, steps, rows, features, 3, g) },
		"one row":     func(x, g []float32) float64 { return Moments(x, y, steps*rows, 1, features, 3, g) },
		"one feature": func(x, g []float32) float64 { return Moments(x, y, steps, rows*features, 1, 3, g) },
	}
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			grad, want := make([]float32, n), make([]float32, n)
			for i := range grad {
				grad[i] = float32(i) // the gradient is added
			}
			loss(x, grad)
			for i := range x {
				const eps = 1. / 1024
				was := x[i]
				x[i] = was + eps
				up := loss(x, nil)
				x[i] = was - eps
				down := loss(x, nil)
				x[i] = was
				want[i] = float32(i) + float32(3*(up-down)/(2*eps))
			}
			near(t, "gradient", grad, want, 1e-5)
		})
	}
}

func TestLossShapes(t *testing.T) {
	two, three := make([]float32, 2), make([]float32, 3)
	wantPanic(t, "nn: mse target: shape [3], want [2] = [2]", func() { MSE(two, three, nil, 1, nil, nil) })
	wantPanic(t, "nn: mask: shape [1], want [2] = [2]", func() { MSE(two, two, []bool{true}, 1, nil, nil) })
	wantPanic(t, "nn: bce gradient: shape [3], want [2] = [2]", func() { BCEWithLogits(two, 1, 1, three) })
	wantPanic(t, "nn: huber target: shape [3], want [2] = [2]", func() { Huber(two, three, nil, 1, 1, nil) })
	wantPanic(t, "nn: moments real: shape [3], want [1 2 1] = [2]", func() { Moments(two, three, 1, 2, 1, 1, nil) })
}

// Both optimisers against their formulas in float64, 200 updates of a
// quadratic with a drifting gradient.
func TestOptimisers(t *testing.T) {
	const n = 131
	for _, k := range fast() {
		t.Run(fmt.Sprint("adam ", k), func(t *testing.T) {
			be := compute.NewBackend(k, 1)
			a, p := NewAdam(n, .01), draw(1, n, 1)
			want, m, v := widen(p), make([]float64, n), make([]float64, n)
			for s := range 200 {
				g := draw(uint64(s+2), n, 1)
				a.Step(be, p, g)
				for i, g := range widen(g) {
					m[i] = .9*m[i] + .1*g
					v[i] = .999*v[i] + .001*g*g
					c, d := 1-math.Pow(.9, float64(s+1)), 1-math.Pow(.999, float64(s+1))
					want[i] -= .01 * m[i] / c / (math.Sqrt(v[i]/d) + 1e-8)
				}
			}
			near(t, "parameters", p, narrowed(want), 1e-5)
			near(t, "m", a.M, narrowed(m), 1e-6)
			near(t, "v", a.V, narrowed(v), 1e-6)
		})
	}
	s, p := NewSGD(n, .01, .9), draw(1, n, 1)
	want, v := widen(p), make([]float64, n)
	for i := range 200 {
		g := draw(uint64(i+2), n, 1)
		s.Step(p, g)
		for i, g := range widen(g) {
			v[i] = .9*v[i] + g
			want[i] -= .01 * (g + .9*v[i])
		}
	}
	near(t, "sgd parameters", p, narrowed(want), 1e-5)
}

func narrowed(s []float64) []float32 {
	n := make([]float32, len(s))
	narrow(n, s)
	return n
}

func TestClipNorm(t *testing.T) {
	g := []float32{3, 4}
	if n := ClipNorm(g, 10); n != 5 || g[0] != 3 {
		t.Errorf("norm %v, gradient %v", n, g)
	}
	if n := ClipNorm(g, 1); n != 5 || math.Abs(Norm(g)-1) > 1e-6 {
		t.Errorf("norm %v, gradient %v", n, g)
	}
	g[1] = float32(math.NaN())
	if n := ClipNorm(g, 1); n == n {
		t.Errorf("norm of NaN = %v", n)
	}
}
