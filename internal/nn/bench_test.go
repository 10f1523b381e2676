//go:build unix

package nn

import (
	"fmt"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
)

// vectorLanes are the numbers of a vector.
var vectorLanes = map[compute.Kernels]int{compute.AVX2: 8, compute.AVX512: 16}

// One training step of a GRU stack: forward, backward, Adam.
func BenchmarkGRUStep(b *testing.B) {
	for _, c := range []struct{ in, hidden, layers, steps, batch int }{
		{24, 24, 1, 24, 128}, {24, 24, 3, 24, 128}, {24, 24, 1, 50, 128}, {24, 24, 3, 50, 128},
		{32, 32, 3, 24, 128}, {48, 48, 3, 24, 128}, {64, 64, 3, 24, 128}, {96, 96, 3, 24, 128},
	} {
		for i := range 2 * len(fast()) {
			k, threads := fast()[i/2], 1+i%2
			b.Run(fmt.Sprintf("H%d_L%d_T%d_B%d/%v/threads%d", c.hidden, c.layers, c.steps, c.batch, k, threads), func(b *testing.B) {
				be := compute.NewBackend(k, threads)
				defer be.Close()
				g := NewGRU(GRUConfig{In: c.in, Hidden: c.hidden, Layers: c.layers})
				g.Init(rng.Key{Seed: 1})
				run := g.NewRun(be, c.steps, c.batch)
				p := g.Params().Data
				adam := NewAdam(len(p), 1e-3)
				x, y := draw(1, c.steps*c.batch*c.in, 1), make([]float32, c.steps*c.batch*c.hidden)
				dx, grad := make([]float32, len(x)), make([]float32, len(p))
				seconds := testkit.PerOp(b, func() {
					clear(grad)
					run.Forward(x, nil, y)
					run.Backward(y, dx, grad)
					adam.Step(be, p, grad)
				})
				macs := 0
				for l := range c.layers {
					macs += 3 * c.hidden * (layerIn(g.GRUConfig, l) + c.hidden)
				}
				testkit.Peak(b, float64(3*macs*c.steps*c.batch), seconds, vectorLanes[k])
			})
		}
	}
}

// The rollout of a generative model: its three networks advance 1024 rows by
// one window.
func BenchmarkStepper(b *testing.B) {
	for _, k := range fast() {
		b.Run(k.String(), func(b *testing.B) {
			const n = 1024
			be := compute.NewBackend(k, 1)
			defer be.Close()
			g := NewGRU(GRUConfig{In: 24, Hidden: 24, Layers: 3, Out: 24, Act: Sigmoid})
			g.Init(rng.Key{Seed: 1})
			s := g.NewState(be, n)
			x, y := draw(1, n*24, 1), make([]float32, n*24)
			seconds := testkit.PerOp(b, func() { s.Step(nil, x, y) })
			testkit.Peak(b, n*(3*3*24*48+24*24), seconds, vectorLanes[k])
		})
	}
}

// A Q-network's update: forward, backward and Adam on 32 rows; and one
// forward on 256.
func BenchmarkMLP(b *testing.B) {
	for _, k := range fast() {
		be := compute.NewBackend(k, 1)
		defer be.Close()
		m := NewMLP([]int{9, 24, 24, 2}, ReLU, Linear)
		m.Init(rng.Key{Seed: 1})
		run := m.NewRun(be, 256)
		p := m.Params().Data
		adam := NewAdam(len(p), 1e-3)
		grad := make([]float32, len(p))
		x, y := draw(1, 9*256, 1), make([]float32, 2*256)
		b.Run("update/"+k.String(), func(b *testing.B) {
			testkit.PerOp(b, func() {
				clear(grad)
				run.Forward(x[:9*32], y[:2*32])
				run.Backward(y[:2*32], nil, grad)
				adam.Step(be, p, grad)
			})
		})
		b.Run("act/"+k.String(), func(b *testing.B) { testkit.PerOp(b, func() { run.Forward(x, y) }) })
	}
}
