// Package seqtest draws sequence models and batches for the tests of whatever
// computes them.
package seqtest

import (
	"testing"

	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
)

// Model is a model whose parameters are all drawn, those that begin at 0 too.
func Model(t testing.TB, c seq.Config) *seq.Model {
	t.Helper()
	m, err := seq.New(c, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range m.Tensors("") {
		nn.InitUniform(rng.Key{Seed: uint64(i), Purpose: rng.Start}, v.Data.([]float32), .4)
	}
	return m
}

// Batch is a batch with absent tokens, unknown values and weights; rows of a
// bidirectional model have lengths of their own.
func Batch(c seq.Config, steps, rows int, seed uint64) *seq.Batch {
	b := &seq.Batch{Steps: steps, Rows: rows}
	at := uint32(0)
	draw := func(n int) int { at++; return rng.Key{Seed: seed, Purpose: rng.Start}.Intn(at, n) }
	if c.Bidirectional {
		for range rows {
			b.Length = append(b.Length, int32(steps-draw(steps)))
		}
	}
	for range steps * rows {
		for _, e := range c.Embeddings {
			b.Tokens = append(b.Tokens, int32(draw(e.Size+1)-1))
		}
		for range c.Dense {
			b.Dense = append(b.Dense, float32(draw(200))/100-1)
		}
		for _, h := range c.Heads {
			b.Values, b.Weight = append(b.Values, int32(draw(h.Size+1)-1)), append(b.Weight, float32(draw(4)))
		}
	}
	return b
}

// ClosedLoop is the network of a closed loop that bench/compute_peers.py has in
// PyTorch: two embeddings and 42 numbers, eight heads that are given some before
// them, as the codec of scenario contended makes them.
func ClosedLoop(hidden int) seq.Config {
	return seq.Config{
		Embeddings: []seq.Embedding{{Name: "level", Size: 3, Dim: 3}, {Name: "change", Size: 3, Dim: 4}}, Dense: 42, Hidden: hidden,
		Heads: []seq.Head{{Name: "level", Size: 3}, {Name: "change", Size: 3, Given: []int{0}}, {Name: "rate", Size: 5, Given: []int{0, 1}},
			{Name: "depth", Size: 24, Given: []int{1}}, {Name: "wait", Size: 24, Given: []int{3}}, {Name: "beside", Size: 24, Given: []int{3, 4}},
			{Name: "wait 2", Size: 16}, {Name: "wait 3", Size: 16}},
	}
}
