package graph

import (
	"math"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

func input(g *G.ExprGraph, name string, data []float32, shape ...int) *G.Node {
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name),
		G.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))))
}

func random(seed uint64, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Init}.Float64(0)*2 - 1)
	}
	return x
}

// TestOperations: along every gradient that a graph of all our operations
// gives, the loss changes by the gradient's length.
func TestOperations(t *testing.T) {
	const T, B = 5, 3
	be := compute.NewBackend(compute.Go, 1)
	first, second := nn.NewGRU(compute.GRUConfig{In: 4, Hidden: 5, Layers: 2, Out: 3, Act: compute.Sigmoid}), nn.NewGRU(compute.GRUConfig{In: 5, Hidden: 4, Layers: 1, Out: 2})
	for i, n := range []*nn.GRU{first, second} {
		copy(n.Params().Data, random(uint64(i), len(n.Params().Data)))
	}
	g := G.NewGraph()
	x, v := random(3, T*B*4), random(4, T*B*2)
	xNode, vNode := input(g, "x", x, T, B, 4), input(g, "v", v, T, B, 2)
	th1, th2 := input(g, "a", first.Params().Data, len(first.Params().Data)), input(g, "b", second.Params().Data, len(second.Params().Data))
	h := must((&application{number: 1, net: first, run: first.NewRun(be, T, B), steps: T, rows: B, widths: []int{4}, learns: true, passes: 1}).apply(th1, xNode))
	apply := func(number int, v *G.Node) *G.Node {
		return must((&application{number: number, net: second, run: second.NewRun(be, T, B), steps: T, rows: B, widths: []int{3, 2}, learns: true, passes: 2}).apply(th2, h, v))
	}
	y, again := apply(2, vNode), apply(3, must(Centred(vNode)))
	weights := input(g, "w", random(7, (T-1)*B*2), T-1, B, 2)
	ones := input(g, "u", random(8, T*2), T, 1, 2)
	loss := G.Must(G.Add(
		must(Squares(must(Changes(y)), weights)),
		must(Dot(ones, must(BatchMean(G.Must(G.Softplus(again)))))),
	))
	grads, err := G.Grad(loss, th1, th2, xNode, vNode)
	if err != nil {
		t.Fatal(err)
	}
	read := make([]G.Value, len(grads))
	for i, n := range grads {
		G.Read(n, &read[i])
	}
	var value G.Value
	G.Read(loss, &value)
	vm := G.NewTapeMachine(g)
	defer vm.Close()
	at := func() float64 {
		vm.Reset()
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		return float64(value.Data().(float32))
	}
	at()
	for i, theta := range [][]float32{first.Params().Data, second.Params().Data, x, v} {
		at()
		d := append([]float32(nil), read[i].Data().([]float32)...)
		norm := nn.Norm(d)
		old := append([]float32(nil), theta...)
		const step = 2e-3
		move := func(sign float64) float64 {
			for k := range theta {
				theta[k] = old[k] + float32(sign*step*float64(d[k])/norm)
			}
			return at()
		}
		slope := (move(1) - move(-1)) / (2 * step)
		copy(theta, old)
		if math.Abs(slope-norm) > .01*norm {
			t.Errorf("gradient %d: length %v, central difference %v", i, norm, slope)
		}
	}
}
