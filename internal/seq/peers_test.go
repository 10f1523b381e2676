//go:build unix

package seq_test

import (
	"fmt"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/seq/seqtest"
	"github.com/planegym/planegym/internal/testkit"
)

// peer is seqtest.ClosedLoop with what heads are given as if learnt.
func peer(b *testing.B, hidden int) *seq.Model {
	m, err := seq.New(seqtest.ClosedLoop(hidden), 1)
	if err != nil {
		b.Fatal(err)
	}
	for i, t := range m.Parts().Tables[2:] {
		for k := range t {
			t[k] = float32(rng.Key{Seed: 2, B: uint32(i)}.Float64(uint32(k))) - .5
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
					bt := seqtest.Batch(m.Config, 192, 32, 1)
					run := m.NewRun(be, 192, 32)
					tr, err := seq.NewTrainer(m, be, seq.Training{})
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
					bt := seqtest.Batch(m.Config, 1, n, 1)
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
