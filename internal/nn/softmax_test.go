package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

func uniform(seed uint64, n int, scale float64) []float32 {
	x := make([]float32, n)
	InitUniform(rng.Key{Seed: seed, Purpose: rng.Init}, x, scale)
	return x
}

// The gradient is that of central differences of the loss as it is defined,
// for masked and weighted cells, and every kernel set and number of threads
// agrees with the reference.
func TestSoftmaxCE(t *testing.T) {
	ends := []int{3, 4, 23}
	const rows = 70
	x := uniform(1, rows*23, 4)
	values, weight := make([]int32, rows*3), make([]float32, rows*3)
	for i := range values {
		size := []int{3, 1, 19}[i%3]
		values[i] = int32(i*7%(size+1)) - 1
		weight[i] = float32(i%4) / 2
	}
	loss := func(x []float32) (sum float64) {
		for r := range rows {
			begin := 0
			for s, end := range ends {
				if v := values[r*3+s]; v >= 0 {
					total := 0.
					for _, l := range x[r*23:][begin:end] {
						total += math.Exp(float64(l))
					}
					sum += .25 * float64(weight[r*3+s]) * (math.Log(total) - float64(x[r*23+begin+int(v)]))
				}
				begin = end
			}
		}
		return sum
	}
	want := loss(x)
	var reference []float32
	for _, k := range compute.Available() {
		for _, threads := range []int{1, 3} {
			be := compute.NewBackend(k, threads)
			g := append([]float32(nil), x...)
			l := make([]float64, 3)
			NewSoftmaxCE(ends).Loss(be, g, values, weight, .25, l)
			be.Close()
			if got := l[0] + l[1] + l[2]; math.Abs(got-want) > 2e-5*want {
				t.Errorf("%v: the loss is %v, want %v", k, got, want)
			}
			if k == compute.Reference {
				reference = g
				for i := 0; i < len(x); i += 11 {
					const h = 1e-2
					old := x[i]
					x[i] = old + h
					up := loss(x)
					x[i] = old - h
					slope := (up - loss(x)) / float64((old+h)-(old-h))
					x[i] = old
					if math.Abs(slope-float64(g[i])) > 1e-4 {
						t.Fatalf("gradient %d is %v, differences give %v", i, g[i], slope)
					}
				}
			}
			for i := range g {
				if math.Abs(float64(g[i]-reference[i])) > 1e-6 {
					t.Fatalf("%v: gradient %d is %v, the reference's %v", k, i, g[i], reference[i])
				}
			}
		}
	}
}

// ScatterAdd is the transpose of Gather: <Gather(table), d> = <table, ScatterAdd(d)>.
func TestGatherIsScatterAddTransposed(t *testing.T) {
	const dim, stride, step = 3, 5, 2
	tokens := []int32{4, 9, -1, 9, 0, 9, 4, 9}
	table, d := uniform(1, 5*dim, 1), uniform(2, 4*stride, 1)
	x, grad := make([]float32, 4*stride), make([]float32, len(table))
	Gather(x, stride, table, dim, tokens, step)
	ScatterAdd(grad, dim, d, stride, tokens, step)
	var a, b float64
	for i := range x {
		a += float64(x[i]) * float64(d[i])
	}
	for i := range table {
		b += float64(table[i]) * float64(grad[i])
	}
	if math.Abs(a-b) > 1e-6 || a == 0 {
		t.Errorf("<gather, d> = %v, <table, scatter> = %v", a, b)
	}
	for i := range dim {
		if x[i] != table[4*dim+i] || x[stride+i] != 0 {
			t.Errorf("gathered %v of %v", x, table)
		}
	}
}

// The penalty's gradient is that of central differences of the penalty, whose
// own slopes g are differences of the critic's outputs.
func TestGradientPenalty(t *testing.T) {
	m := NewMLP([]int{5, 24, 16, 1}, ReLU, Linear)
	m.Init(rng.Key{Seed: 3, Purpose: rng.Init})
	for _, v := range m.Params().Views {
		if len(v.Shape) == 1 {
			copy(v.Data, uniform(9, len(v.Data), .3))
		}
	}
	const rows, lambda = 45, 10.
	x := uniform(4, rows*5, 1)
	// in float64, as the equation is written
	penalty := func(p []float32) float64 {
		w := widen(p)
		total := 0.
		for r := range rows {
			norm := 0.
			v := widen(x[r*5:][:5])
			acts := [][]float64{v}
			for l := range 3 {
				a, b := mlpLayer(m, w, l)
				acts = append(acts, refDense(acts[l], a, b, m.Sizes[l+1], m.Sizes[l], m.act(l)))
			}
			d := []float64{1}
			for l := 2; l >= 0; l-- {
				a, _ := mlpLayer(m, w, l)
				junk := make([]float64, len(a)+m.Sizes[l+1])
				d = refDenseBack(d, acts[l+1], acts[l], a, m.Sizes[l+1], m.Sizes[l], m.act(l), junk[:len(a)], junk[len(a):])
			}
			for _, g := range d {
				norm += g * g
			}
			total += lambda / rows * (math.Sqrt(norm) - 1) * (math.Sqrt(norm) - 1)
		}
		return total
	}
	p := m.Params().Data
	for _, k := range compute.Available()[1:] {
		be := compute.NewBackend(k, 1)
		grad := make([]float32, len(p))
		gp := NewGradientPenalty(m, be, rows)
		got, want := gp.Penalty(x, lambda, grad), penalty(p)
		if math.Abs(got-want) > 1e-4*want {
			t.Errorf("%v: the penalty is %v, want %v", k, got, want)
		}
		bad := 0
		for i := range p {
			const h = 1e-4
			old := p[i]
			p[i] = old + h
			up := penalty(p)
			p[i] = old - h
			slope := (up - penalty(p)) / float64((old+h)-(old-h))
			p[i] = old
			if math.Abs(slope-float64(grad[i])) > 2e-3*(1+math.Abs(slope)) {
				bad++ // where a ReLU changes within the step, differences are off
			}
		}
		if bad > len(p)/100 {
			t.Errorf("%v: %d of %d slopes differ from differences", k, bad, len(p))
		}
		if n := testing.AllocsPerRun(3, func() { gp.Penalty(x, lambda, grad) }); n > 0 {
			t.Errorf("%v: %v allocations", k, n)
		}
	}
}

// Cosine with a warm-up, both sides of its ends.
func TestWarmUpCosine(t *testing.T) {
	for _, c := range []struct {
		update int
		want   float64
	}{{0, .25}, {3, 1}, {4, 1}, {14, .1 + .9*.5}, {24, .1}, {99, .1}} {
		if got := WarmUpCosine(c.update, 4, 24, .1); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("update %d: %v, want %v", c.update, got, c.want)
		}
	}
}

func TestClipNorms(t *testing.T) {
	a, b := []float32{3, 0}, []float32{0, 4}
	if n := ClipNorms(1, a, b); n != 5 || math.Abs(float64(a[0])-.6) > 1e-6 || math.Abs(float64(b[1])-.8) > 1e-6 {
		t.Errorf("norm %v, clipped to %v, %v", n, a, b)
	}
}

// ForwardExp gives the softmax of each segment of what Forward gives, up to the
// segment's sum, and the bytes of ExpTop after Forward; a row's do not depend on
// the rows beside it.
func TestForwardExp(t *testing.T) {
	ends := []int{1, 4, 23}
	for _, k := range compute.Available() {
		be := compute.NewBackend(k, 1)
		m := NewMLP([]int{7, 23}, Tanh, Linear)
		m.Init(rng.Key{Seed: 1})
		const rows = 70
		run := m.NewRun(be, rows)
		x, y, e, one := uniform(1, rows*7, 20), make([]float32, rows*23, rows*23+15), make([]float32, rows*23), make([]float32, 23)
		run.Forward(x, y)
		run.ForwardExp(x, e, ends)
		for r := range rows {
			begin := 0
			for _, end := range ends {
				top, sum, got := math.Inf(-1), 0., 0.
				for c := begin; c < end; c++ {
					top, got = max(top, float64(y[r*23+c])), got+float64(e[r*23+c])
				}
				for c := begin; c < end; c++ {
					sum += math.Exp(float64(y[r*23+c]) - top)
				}
				for c := begin; c < end; c++ {
					want := math.Exp(float64(y[r*23+c])-top) / sum
					if p := float64(e[r*23+c]) / got; math.Abs(p-want) > 1e-6 {
						t.Fatalf("%v: row %d, class %d: %v, want %v", k, r, c, p, want)
					}
				}
				begin = end
			}
		}
		ExpTop(be, y, ends)
		if !slices.Equal(y, e) {
			t.Errorf("%v: ExpTop after Forward gives other bytes", k)
		}
		run.ForwardExp(x[69*7:], one, ends)
		if !slices.Equal(one, e[69*23:]) {
			t.Errorf("%v: the last row alone gives other bytes", k)
		}
		be.Close()
	}
}
