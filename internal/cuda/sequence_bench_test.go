package cuda

import (
	"errors"
	"fmt"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/seq/seqtest"
)

// closedLoop is the network that bench/compute_peers.py has in PyTorch, and a batch
// for it in which every value is known.
func closedLoop(b *testing.B, hidden, steps, rows int) (*seq.Model, *seq.Batch) {
	b.Helper()
	m, err := seq.New(seqtest.ClosedLoop(hidden), 1)
	if err != nil {
		b.Fatal(err)
	}
	n := steps * rows
	bt := &seq.Batch{Steps: steps, Rows: rows, Dense: random(n*m.Dense, 0)}
	for i := range n {
		key := rng.Key{Seed: 1, B: uint32(i)}
		for k := range m.Embeddings {
			bt.Tokens = append(bt.Tokens, int32(key.Intn(uint32(k), 3)))
		}
		for h := range m.Heads {
			bt.Values = append(bt.Values, int32(key.Intn(uint32(8+h), m.Heads[h].Size)))
		}
	}
	return m, bt
}

// BenchmarkSequence is BenchmarkPeers of internal/seq on a GPU: an update of 32
// windows of 192 steps, and a step of so many samplers with their draws.
func BenchmarkSequence(b *testing.B) {
	missing := func(b *testing.B, err error) {
		if errors.Is(err, compute.ErrNoDevice) {
			b.Skip(err)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, hidden := range []int{64, 96, 128} {
		b.Run(fmt.Sprintf("train_H%d", hidden), func(b *testing.B) {
			m, bt := closedLoop(b, hidden, 192, 32)
			s, err := NewSequence(driver.New(), 0, m, 192, 32)
			missing(b, err)
			zeros := func() (all [][]float32) {
				for _, g := range groups(m) {
					all = append(all, make([]float32, len(g)))
				}
				return all
			}
			state := seq.Moments{M: zeros(), V: zeros(), Average: zeros()}
			missing(b, s.Load(state))
			b.ResetTimer()
			for i := range b.N {
				if _, err := s.Losses(bt); err != nil {
					b.Fatal(err)
				}
				if err := s.Step(seq.Step{Update: i, T: int64(i + 1), Rate: 1e-3, Decay: 1e-4, Clip: 1, Average: .99}); err != nil {
					b.Fatal(err)
				}
			}
			missing(b, s.Store(state))
			b.StopTimer()
			missing(b, s.Close())
		})
		for _, n := range []int{1024, 65536} {
			b.Run(fmt.Sprintf("sample_H%d_N%d", hidden, n), func(b *testing.B) {
				m, bt := closedLoop(b, hidden, 1, n)
				name, err := RegisterSeq(driver.New, 0)
				missing(b, err)
				s, err := seq.OpenSampler(name, m, nil, n)
				missing(b, err)
				values := make([]int32, len(m.Heads))
				b.ResetTimer()
				for step := range b.N {
					s.Step(nil, bt.Tokens, bt.Dense)
					for i := range n {
						key := rng.Key{Seed: uint64(i), A: uint32(step)}
						for h := range m.Heads {
							s.Draw(i, h, values, key.Float64(uint32(h)))
						}
					}
				}
				missing(b, s.Err())
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
				b.StopTimer()
				missing(b, s.Close())
			})
		}
	}
}
