package graph

import (
	"math"
	"testing"

	G "gorgonia.org/gorgonia"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

// The gradient penalty of WGAN-GP by one order of derivatives is what Gorgonia
// gives by two: Grad of a loss that holds Grad of the critic.
func TestGradientPenaltyIsGradOfGrad(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		rows  int
		ended float64 // share of the inputs that are 0: windows that ended
	}{
		{"one hidden layer", []int{5, 12, 1}, 7, 0},
		{"three, more than a tile", []int{9, 16, 12, 8, 1}, 45, 0},
		{"windows of ragged length", []int{24, 20, 20, 1}, 33, .6},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := nn.NewMLP(c.sizes, nn.ReLU, nn.Linear)
			m.Init(rng.Key{Seed: 3, Purpose: rng.Init})
			for i, v := range m.Params().Views {
				if len(v.Shape) == 1 {
					copy(v.Data, random(uint64(20+i), len(v.Data)))
				}
			}
			const lambda = 10
			in := c.sizes[0]
			x := random(4, c.rows*in)
			for r := range c.rows { // a window ends, and is zeros from there
				from := in - int(c.ended*float64(in)*float64(r)/float64(c.rows))
				clear(x[r*in+from : (r+1)*in])
			}

			g := G.NewGraph()
			y := input(g, "x", x, c.rows, in)
			first := y
			var weights []*G.Node
			for l := range len(c.sizes) - 1 {
				v := m.Params().Views
				w := input(g, v[2*l].Name, v[2*l].Data, v[2*l].Shape...)
				b := input(g, v[2*l+1].Name, v[2*l+1].Data, 1, v[2*l+1].Shape[0])
				weights = append(weights, w)
				y = G.Must(G.BroadcastAdd(G.Must(G.Mul(y, G.Must(G.Transpose(w, 1, 0)))), b, nil, []byte{0}))
				if l < len(c.sizes)-2 {
					y = G.Must(G.Rectify(y))
				}
			}
			slope := must(G.Grad(G.Must(G.Sum(y)), first))[0]
			norm := G.Must(G.Sqrt(G.Must(G.Sum(G.Must(G.Square(slope)), 1))))
			less := G.Must(G.Sub(norm, G.NewConstant(float32(1))))
			loss := G.Must(G.Mul(G.Must(G.Mean(G.Must(G.Square(less)))), G.NewConstant(float32(lambda))))
			grads := must(G.Grad(loss, weights...))
			read := make([]G.Value, len(grads))
			for i, n := range grads {
				G.Read(n, &read[i])
			}
			var value G.Value
			G.Read(loss, &value)
			vm := G.NewTapeMachine(g)
			defer vm.Close()
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}

			for _, k := range compute.Available()[1:] {
				be := compute.NewBackend(k, 1)
				grad := make([]float32, len(m.Params().Data))
				p := nn.NewGradientPenalty(m, be, c.rows).Penalty(x, lambda, grad)
				be.Close()
				if want := float64(value.Data().(float32)); math.Abs(p-want) > 1e-6*want {
					t.Errorf("%v: the penalty is %v, Gorgonia's %v", k, p, want)
				}
				at := 0
				largest, worst := 0., 0.
				for l := range weights {
					want := read[l].Data().([]float32)
					for i, w := range want {
						largest = max(largest, math.Abs(float64(w)))
						worst = max(worst, math.Abs(float64(w)-float64(grad[at+i])))
					}
					at += len(want)
					for i := range c.sizes[l+1] {
						if grad[at+i] != 0 {
							t.Errorf("%v: bias %d of layer %d has the gradient %v", k, i, l, grad[at+i])
						}
					}
					at += c.sizes[l+1]
				}
				if worst > 1e-6*largest || largest == 0 {
					t.Errorf("%v: gradients differ by %v of at most %v", k, worst, largest)
				}
			}
		})
	}
}
