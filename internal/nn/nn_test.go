package nn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// draw is n numbers of ±limit.
func draw(seed uint64, n int, limit float64) []float32 {
	s := make([]float32, n)
	InitUniform(rng.Key{Seed: seed}, s, limit)
	return s
}

// fast are the kernel sets of this machine besides the reference.
func fast() []compute.Kernels { return compute.Available()[1:] }

// near fails where got is further from want than tol·(1+|want|).
func near(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		if !(math.Abs(g-w) <= tol*(1+math.Abs(w))) {
			t.Fatalf("%s[%d] = %v, want %v ± %.1e", what, i, g, w, tol*(1+math.Abs(w)))
		}
	}
}

func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); got != want {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	f()
}

// network is what the two kinds of runs have in common.
type network struct {
	params *Params
	in     int // values of x
	out    int
	run    func(*Backend) application
}

type application struct {
	forward  func(x, y []float32)
	backward func(dy, dx, grad []float32)
}

func mlpNetwork(sizes []int, hidden, out Activation, batch int, seed uint64) network {
	m := NewMLP(sizes, hidden, out)
	copy(m.Params().Data, draw(seed, len(m.Params().Data), .5))
	return network{m.Params(), batch * m.in(), batch * m.out(), func(be *Backend) application {
		r := m.NewRun(be, batch)
		return application{r.Forward, r.Backward}
	}}
}

func gruNetwork(c GRUConfig, steps, batch int, start bool, seed uint64) network {
	g := NewGRU(c)
	copy(g.Params().Data, draw(seed, len(g.Params().Data), .5))
	var h0 []float32
	if start {
		h0 = draw(seed+1, c.Layers*batch*c.Hidden, 1)
	}
	return network{g.Params(), steps * batch * c.In, steps * batch * c.Width(), func(be *Backend) application {
		r := g.NewRun(be, steps, batch)
		return application{func(x, y []float32) { r.Forward(x, h0, y) }, r.Backward}
	}}
}

// networks are random shapes with dimensions 1 to 130 and odd tails, and the
// sizes in use.
func networks(n int) map[string]network {
	all := map[string]network{
		"ddqn": mlpNetwork([]int{9, 24, 24, 2}, ReLU, Linear, 32, 1),
		"gru":  gruNetwork(GRUConfig{In: 7, Hidden: 24, Layers: 3, Out: 5, Act: Sigmoid}, 6, 40, true, 2),
	}
	key := rng.Key{Seed: 3}
	i := uint32(0)
	dim := func(n int) int { i++; return 1 + key.Intn(i, n) }
	for s := range uint64(n) {
		sizes := []int{dim(130), dim(130), dim(130)}[:2+dim(2)-1]
		a, b, batch := Activation(dim(4)-1), Activation(dim(4)-1), dim(130)
		all[fmt.Sprint("mlp ", sizes, a, b, " B", batch)] = mlpNetwork(sizes, a, b, batch, s)
		c := GRUConfig{In: dim(130), Hidden: dim(130), Layers: dim(3), Out: dim(20) - 1, Act: Activation(dim(4) - 1)}
		steps, batch := dim(5), dim(70)
		all[fmt.Sprintf("gru %+v T%d B%d", c, steps, batch)] = gruNetwork(c, steps, batch, s%2 == 0, s)
	}
	return all
}

// The same network, input and gradient on the reference and on every other
// kernel set.
func TestKernelsAgainstReference(t *testing.T) {
	n := 12
	if testing.Short() {
		n = 4
	}
	for name, net := range networks(n) {
		x, dy := draw(10, net.in, 1), draw(11, net.out, 1)
		apply := func(k compute.Kernels) (y, dx, grad []float32) {
			y, dx, grad = make([]float32, net.out), make([]float32, net.in), make([]float32, len(net.params.Data))
			be := compute.NewBackend(k, 1)
			defer be.Close()
			run := net.run(be)
			run.forward(x, y)
			run.backward(dy, dx, grad)
			return y, dx, grad
		}
		y, dx, grad := apply(compute.Reference)
		for _, k := range fast() {
			t.Run(fmt.Sprint(k, " ", name), func(t *testing.T) {
				gotY, gotDX, gotGrad := apply(k)
				near(t, "y", gotY, y, 1e-5)
				near(t, "dx", gotDX, dx, 1e-4)
				near(t, "grad", gotGrad, grad, 1e-4)
			})
		}
	}
}

// Every gradient of L = Σ w·y against (L(p+ε)-L(p-ε))/2ε.
func TestGradients(t *testing.T) {
	nets := map[string]network{
		"gru":           gruNetwork(GRUConfig{In: 3, Hidden: 5, Layers: 2}, 4, 3, true, 1),
		"gru head":      gruNetwork(GRUConfig{In: 2, Hidden: 4, Layers: 1, Out: 3, Act: Sigmoid}, 3, 2, false, 2),
		"gru tanh head": gruNetwork(GRUConfig{In: 4, Hidden: 3, Layers: 3, Out: 2, Act: Tanh}, 5, 2, false, 3),
	}
	for a := Linear; a <= Tanh; a++ {
		nets["mlp "+a.String()] = mlpNetwork([]int{3, 5, 4}, a, Linear, 3, 4)
		nets["mlp out "+a.String()] = mlpNetwork([]int{3, 5, 4}, Tanh, a, 3, 4)
	}
	for name, net := range nets {
		for _, k := range append(fast(), compute.Reference) {
			t.Run(fmt.Sprint(k, " ", name), func(t *testing.T) {
				be := compute.NewBackend(k, 1)
				defer be.Close()
				run := net.run(be)
				x, w, y := draw(20, net.in, 1), draw(21, net.out, 1), make([]float32, net.out)
				loss := func() (l float64) {
					run.forward(x, y)
					for i, y := range y {
						l += float64(w[i]) * float64(y)
					}
					return l
				}
				dx, grad := make([]float32, net.in), make([]float32, len(net.params.Data))
				loss()
				run.backward(w, dx, grad)
				// 2⁻⁸ each way: the formula's error is of its square, that of
				// float32 outputs some 1e-7·2⁸.
				const eps = 1. / 256
				difference := func(p *float32) float32 {
					was := *p
					*p = was + eps
					up := loss()
					*p = was - eps
					down := loss()
					*p = was
					return float32((up - down) / (2 * eps))
				}
				numeric := func(s []float32) []float32 {
					d := make([]float32, len(s))
					for i := range s {
						d[i] = difference(&s[i])
					}
					return d
				}
				near(t, "dx", dx, numeric(x), 5e-4)
				near(t, "grad", grad, numeric(net.params.Data), 5e-4)
			})
		}
	}
}

// Gradients add up over calls, a frozen network gets none, and dx does not
// depend on that.
func TestBackwardFlags(t *testing.T) {
	for name, net := range networks(0) {
		for _, k := range append(fast(), compute.Reference) {
			t.Run(fmt.Sprint(k, " ", name), func(t *testing.T) {
				be := compute.NewBackend(k, 2)
				defer be.Close()
				run := net.run(be)
				x, dy, y := draw(1, net.in, 1), draw(2, net.out, 1), make([]float32, net.out)
				dx, frozen := make([]float32, net.in), make([]float32, net.in)
				once, twice := make([]float32, len(net.params.Data)), make([]float32, len(net.params.Data))
				run.forward(x, y)
				run.backward(dy, dx, once)
				run.forward(x, y)
				run.backward(dy, frozen, nil)
				if !slices.Equal(dx, frozen) {
					t.Error("dx of a frozen network differs")
				}
				copy(twice, once)
				run.forward(x, y)
				run.backward(dy, nil, twice)
				for i := range once {
					once[i] *= 2
				}
				near(t, "grad twice", twice, once, 1e-5)
			})
		}
	}
}

// The plain Go kernels give these bytes on every architecture.
func TestGoBytes(t *testing.T) {
	const want = "3c350f024b61479b"
	be := compute.NewBackend(compute.Go, 1)
	sum := sha256.New()
	nets := networks(0)
	for _, name := range slices.Sorted(maps.Keys(nets)) {
		net := nets[name]
		x, y, dy := draw(1, net.in, 1), make([]float32, net.out), draw(2, net.out, 1)
		dx, grad := make([]float32, net.in), make([]float32, len(net.params.Data))
		run := net.run(be)
		run.forward(x, y)
		run.backward(dy, dx, grad)
		NewAdam(len(grad), 1e-3).Step(be, net.params.Data, grad)
		for _, s := range [][]float32{y, dx, grad, net.params.Data} {
			if err := binary.Write(sum, binary.LittleEndian, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

// Threads change no byte.
func TestThreads(t *testing.T) {
	net := gruNetwork(GRUConfig{In: 5, Hidden: 9, Layers: 2, Out: 3, Act: Tanh}, 4, 330, false, 1)
	x, dy := draw(1, net.in, 1), draw(2, net.out, 1)
	for _, k := range fast() {
		var want []float32
		for _, threads := range []int{1, 2, 3, 8} {
			be := compute.NewBackend(k, threads)
			run := net.run(be)
			got := make([]float32, net.out+net.in+len(net.params.Data))
			run.forward(x, got[:net.out])
			run.backward(dy, got[net.out:][:net.in], got[net.out+net.in:])
			be.Close()
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%v: %d threads give other bytes than 1", k, threads)
			}
		}
	}
}

// A row's output depends on its own input alone: batch 1 and batch n agree in
// every byte.
func TestBatchInvariance(t *testing.T) {
	for _, k := range fast() {
		be := compute.NewBackend(k, 1)
		defer be.Close()
		const batch = 70
		m := NewMLP([]int{9, 24, 24, 2}, ReLU, Linear)
		m.Init(rng.Key{Seed: 1})
		x, y := draw(1, batch*9, 1), make([]float32, batch*2)
		run := m.NewRun(be, batch)
		run.Forward(x, y)
		for _, n := range []int{1, 2, 31, 32, 33} {
			got := make([]float32, n*2)
			from := batch - n
			run.Forward(x[from*9:], got)
			if !slices.Equal(got, y[from*2:]) {
				t.Errorf("%v: %d rows of %d differ", k, n, batch)
			}
		}
	}
}

// Steps that carry the hidden state are the run over the whole sequence, rows
// in any company.
func TestStepper(t *testing.T) {
	const steps, batch = 7, 75
	for _, c := range []GRUConfig{
		{In: 5, Hidden: 24, Layers: 3, Out: 4, Act: Sigmoid},
		{In: 3, Hidden: 7, Layers: 1},
	} {
		for _, k := range append(fast(), compute.Reference) {
			g := NewGRU(c)
			g.Init(rng.Key{Seed: 1})
			be := compute.NewBackend(k, 2)
			defer be.Close()
			x, want := draw(1, steps*batch*c.In, 1), make([]float32, steps*batch*c.Width())
			g.NewRun(be, steps, batch).Forward(x, nil, want)
			in, out := c.In, c.Width()
			tol := 0.
			if k == compute.Reference { // its stepper rounds the state to float32
				tol = 1e-6
			}

			s := g.NewState(be, batch)
			y := make([]float32, batch*out)
			for pass := range 2 {
				for t1 := range steps {
					s.Step(nil, x[t1*batch*in:][:batch*in], y)
					near(t, fmt.Sprint(k, " step ", t1, " pass ", pass), y, want[t1*batch*out:][:batch*out], tol)
				}
				s.Reset(nil)
			}

			// The tiles listed, the last one first.
			tiled := append(rowsFrom(64, batch), append(rowsFrom(0, 32), rowsFrom(32, 64)...)...)
			xs, ys := make([]float32, batch*in), make([]float32, batch*out)
			for t1 := range steps {
				for i, row := range tiled {
					copy(xs[i*in:][:in], x[(t1*batch+row)*in:])
					copy(ys[i*out:][:out], want[(t1*batch+row)*out:])
				}
				s.Step(tiled[:11], xs[:11*in], y[:11*out])
				s.Step(tiled[11:], xs[11*in:], y[11*out:])
				near(t, fmt.Sprint(k, " tiled step ", t1), y, ys, tol)
			}
			s.Reset(nil)

			// Each row at its own pace, in an order of its own.
			at := make([]int, batch)
			key := rng.Key{Seed: 2}
			for round := range uint32(60) {
				var rows []int
				var xs, ys []float32
				for i := range batch {
					row := (i*31 + int(round)) % batch
					if at[row] < steps && key.Intn(round*batch+uint32(i), 3) == 0 {
						rows = append(rows, row)
						xs = append(xs, x[(at[row]*batch+row)*in:][:in]...)
						ys = append(ys, want[(at[row]*batch+row)*out:][:out]...)
						at[row]++
					}
				}
				if rows == nil {
					continue
				}
				got := make([]float32, len(ys))
				s.Step(rows, xs, got)
				near(t, fmt.Sprint(k, " rows ", rows), got, ys, tol)
			}

			h, other := make([]float32, c.Layers*c.Hidden), make([]float32, c.Layers*c.Hidden)
			s.Hidden(40, h)
			s.SetHidden(3, h)
			s.Hidden(3, other)
			if !slices.Equal(h, other) || slices.Max(h) == 0 {
				t.Errorf("%v: hidden state %v, want %v", k, other, h)
			}
			s.Reset([]int{3})
			s.Hidden(3, other)
			if slices.Max(other) != 0 || slices.Min(other) != 0 {
				t.Errorf("%v: hidden state %v after Reset", k, other)
			}
		}
	}
}

func rowsFrom(from, to int) (rows []int) {
	for i := from; i < to; i++ {
		rows = append(rows, i)
	}
	return rows
}

func TestNoAllocation(t *testing.T) {
	for _, k := range fast() {
		for _, threads := range []int{1, 2} {
			be := compute.NewBackend(k, threads)
			defer be.Close()
			for name, net := range networks(0) {
				run := net.run(be)
				x, dy, y := draw(1, net.in, 1), draw(2, net.out, 1), make([]float32, net.out)
				dx, grad := make([]float32, net.in), make([]float32, len(net.params.Data))
				adam := NewAdam(len(grad), 1e-3)
				if n := testing.AllocsPerRun(10, func() {
					clear(grad)
					run.forward(x, y)
					run.backward(dy, dx, grad)
					ClipNorm(grad, 1)
					adam.Step(be, net.params.Data, grad)
				}); n != 0 {
					t.Errorf("%v, %d threads: %s: %v allocations per update", k, threads, name, n)
				}
			}
			g := NewGRU(GRUConfig{In: 6, Hidden: 24, Layers: 3, Out: 6})
			s := g.NewState(be, 100)
			rows := []int{99, 3, 50}
			x, y := make([]float32, 600), make([]float32, 600)
			if n := testing.AllocsPerRun(10, func() {
				s.Step(nil, x, y)
				s.Step(rows, x[:18], y[:18])
				s.Reset(rows)
			}); n != 0 {
				t.Errorf("%v, %d threads: %v allocations per step", k, threads, n)
			}
		}
	}
}

func TestShapes(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	m := NewMLP([]int{9, 24, 2}, ReLU, Linear)
	run := m.NewRun(be, 4)
	wantPanic(t, "nn: mlp input: shape [45], want [4 9] = [36]", func() { run.Forward(make([]float32, 45), make([]float32, 10)) })
	wantPanic(t, "nn: mlp output: shape [3], want [4 2] = [8]", func() { run.Forward(make([]float32, 36), make([]float32, 3)) })
	wantPanic(t, "nn: mlp: Backward without a Forward of its own", func() { run.Backward(nil, nil, nil) })
	g := NewGRU(GRUConfig{In: 2, Hidden: 3, Layers: 1})
	gr := g.NewRun(be, 4, 5)
	wantPanic(t, "nn: gru input: shape [7], want [4 5 2] = [40]", func() { gr.Forward(make([]float32, 7), nil, nil) })
	wantPanic(t, "nn: gru start: shape [1], want [1 5 3] = [15]", func() {
		gr.Forward(make([]float32, 40), make([]float32, 1), make([]float32, 60))
	})
	gr.Forward(make([]float32, 40), nil, make([]float32, 60))
	wantPanic(t, "nn: gru gradient: shape [1], want [63] = [63]", func() { gr.Backward(make([]float32, 60), nil, make([]float32, 1)) })
	s := g.NewState(be, 5)
	wantPanic(t, "nn: step input: shape [1], want [5 2] = [10]", func() { s.Step(nil, make([]float32, 1), nil) })
	wantPanic(t, "nn: stepper: row 5 of 5", func() { s.Step([]int{5}, make([]float32, 2), make([]float32, 3)) })
}

func TestParams(t *testing.T) {
	g := NewGRU(GRUConfig{In: 2, Hidden: 3, Layers: 2, Out: 4})
	var got []string
	n := 0
	for _, v := range g.Params().Views {
		got = append(got, fmt.Sprint(v.Name, v.Shape))
		n += len(v.Data)
	}
	want := []string{
		"weight_ih_l0[9 2]", "weight_hh_l0[9 3]", "bias_ih_l0[9]", "bias_hh_l0[9]",
		"weight_ih_l1[9 3]", "weight_hh_l1[9 3]", "bias_ih_l1[9]", "bias_hh_l1[9]",
		"head.weight[4 3]", "head.bias[4]",
	}
	if !slices.Equal(got, want) || n != len(g.Params().Data) {
		t.Errorf("views %v of %d values, want %v of %d", got, n, want, len(g.Params().Data))
	}
	g.Params().View("bias_hh_l1").Data[8] = 7
	_, _, _, bh := gruLayer(g.GRUConfig, g.Params().Data, 1)
	if bh[8] != 7 {
		t.Error("a view is not where the kernels read")
	}
	w, _ := gruHead(g.GRUConfig, g.Params().Data)
	if &w[0] != &g.Params().View("head.weight").Data[0] {
		t.Error("the head is not where the kernels read")
	}
	m := NewMLP([]int{2, 3, 4}, ReLU, Linear)
	w, _ = mlpLayer(m, m.Params().Data, 1)
	if &w[0] != &m.Params().View("1.weight").Data[0] {
		t.Error("layer 1 is not where the kernels read")
	}
	wantPanic(t, `compute: no parameter "x"`, func() { m.Params().View("x") })
}

func TestInit(t *testing.T) {
	g := NewGRU(GRUConfig{In: 20, Hidden: 30, Layers: 2, Out: 4})
	g.Init(rng.Key{Seed: 1})
	for _, v := range g.Params().Views {
		lo, hi := float64(slices.Min(v.Data)), float64(slices.Max(v.Data))
		switch v.Name {
		case "weight_ih_l0":
			if limit := math.Sqrt(6. / 50); lo < -limit || hi > limit || hi-lo < 1.95*limit {
				t.Errorf("%s in [%v, %v], want ±%v", v.Name, lo, hi, limit)
			}
		case "weight_hh_l0", "weight_hh_l1":
			for gate := range 3 {
				q := v.Data[gate*900:][:900]
				for i := range 30 {
					for j := range 30 {
						dot, want := 0., 0.
						for k := range 30 {
							dot += float64(q[i*30+k]) * float64(q[j*30+k])
						}
						if i == j {
							want = 1
						}
						if math.Abs(dot-want) > 1e-6 {
							t.Fatalf("%s gate %d: rows %d·%d = %v", v.Name, gate, i, j, dot)
						}
					}
				}
			}
		case "bias_ih_l0", "bias_hh_l1", "head.bias":
			if lo != 0 || hi != 0 {
				t.Errorf("%s in [%v, %v], want 0", v.Name, lo, hi)
			}
		}
	}
	a, b := g.Params().View("weight_ih_l1").Data, slices.Clone(g.Params().Data)
	if slices.Equal(a[:600], g.Params().View("weight_ih_l0").Data[:600]) || slices.Equal(a[:900], a[900:1800]) {
		t.Error("two tensors share their numbers")
	}
	g.Init(rng.Key{Seed: 1})
	if !slices.Equal(b, g.Params().Data) {
		t.Error("one key, two sets of weights")
	}
}
