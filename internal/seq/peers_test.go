//go:build unix

package seq

import (
	"fmt"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
)

// peer is the network of a closed loop that bench/compute_peers.py has in
// PyTorch: two embeddings and 42 numbers, eight heads that are given some before
// them, as the codec of scenario contended makes them.
func peer(b *testing.B, hidden int) *Model {
	m, err := New(Config{
		Embeddings: []Embedding{{"level", 3, 3}, {"change", 3, 4}}, Dense: 42, Hidden: hidden,
		Heads: []Head{{"level", 3, nil}, {"change", 3, []int{0}}, {"rate", 5, []int{0, 1}}, {"depth", 24, []int{1}},
			{"wait", 24, []int{3}}, {"beside", 24, []int{3, 4}}, {"wait 2", 16, nil}, {"wait 3", 16, nil}},
	}, 1)
	if err != nil {
		b.Fatal(err)
	}
	for i, t := range m.tables[2:] { // of what heads are given, as if learnt
		for k := range t.data {
			t.data[k] = float32(rng.Key{Seed: 2, B: uint32(i)}.Float64(uint32(k))) - .5
		}
	}
	return m
}

// BenchmarkPeers is what bench/compute.py sets beside PyTorch: an update of 32
// windows of 192 steps, the optimiser's step, clipping and averaged weights
// included; and a step of 1,024 samplers, their draws included.
func BenchmarkPeers(b *testing.B) {
	for _, hidden := range []int{64, 96, 128} {
		for _, k := range compute.Available()[2:] {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("train_H%d/%v/threads%d", hidden, k, threads), func(b *testing.B) {
					m := peer(b, hidden)
					be := compute.NewBackend(k, threads)
					defer be.Close()
					bt := batch(m, 192, 32, 1)
					run := m.NewRun(be, 192, 32)
					tr, err := NewTrainer(m, be, Training{})
					if err != nil {
						b.Fatal(err)
					}
					testkit.PerOp(b, func() {
						if _, err := run.Losses(bt); err != nil {
							b.Fatal(err)
						}
						if err := tr.Apply(run.Gradients()); err != nil {
							b.Fatal(err)
						}
					})
				})
				b.Run(fmt.Sprintf("sample_H%d/%v/threads%d", hidden, k, threads), func(b *testing.B) {
					m := peer(b, hidden)
					be := compute.NewBackend(k, threads)
					defer be.Close()
					const n = 1024
					bt := batch(m, 1, n, 1)
					s := m.NewSampler(be, n)
					values := make([]int32, n*len(m.Heads))
					step := uint32(0)
					testkit.PerOp(b, func() {
						s.Step(nil, bt.Tokens, bt.Dense)
						step++
						for i := range n {
							key := rng.Key{Seed: uint64(i), A: step}
							v := values[i*len(m.Heads):][:len(m.Heads)]
							var u [4]uint32 // as the simulator draws
							for h := range m.Heads {
								if h%4 == 0 {
									u = key.Block(uint32(h / 4))
								}
								s.Draw(i, h, v, (float64(u[h%4])+.5)*0x1p-32)
							}
						}
					})
				})
			}
		}
	}
}
