package graph

import (
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/seq/seqtest"
)

// TestSeqParity: the losses of a sequence model and the gradient of every
// tensor are those by hand to 10⁻⁵, with absent tokens, unknown values and
// weights; those by hand are float64's to 10⁻⁵ too.
func TestSeqParity(t *testing.T) {
	for name, c := range map[string]seq.Config{
		"closed loop": {
			Embeddings: []seq.Embedding{{Name: "level", Size: 3, Dim: 3}, {Name: "change", Size: 5, Dim: 4}}, Dense: 21, Hidden: 24,
			Heads: []seq.Head{{Name: "level", Size: 3}, {Name: "change", Size: 5, Given: []int{0}}, {Name: "depth", Size: 12, Given: []int{1}}, {Name: "wait", Size: 9, Given: []int{2}}},
		},
		// As timegan/closedloop trains: the turning of the load is given and has no
		// loss; the player's heads weigh 4, or nothing while the load turns.
		"closed loop with a turning load": {
			Embeddings: []seq.Embedding{{Name: "level", Size: 3, Dim: 3}, {Name: "change", Size: 3, Dim: 3}}, Dense: 12, Hidden: 16,
			Heads: []seq.Head{{Name: "turning", Size: 17}, {Name: "level", Size: 3, Given: []int{0}}, {Name: "change", Size: 3, Given: []int{0, 1}},
				{Name: "depth", Size: 12, Given: []int{0, 2}}, {Name: "wait", Size: 9, Given: []int{0, 3}}},
		},
		// As timegan/closedloop is fine-tuned: weights are advantages, of either sign.
		"closed loop with signed weights": {
			Embeddings: []seq.Embedding{{Name: "level", Size: 3, Dim: 3}}, Dense: 12, Hidden: 16,
			Heads: []seq.Head{{Name: "signed", Size: 3}, {Name: "depth", Size: 12, Given: []int{0}}},
		},
		"tokens, two layers, a hidden head": {
			Embeddings: []seq.Embedding{{Name: "size", Size: 40, Dim: 16}}, Hidden: 20, Layers: 2, HeadHidden: 14,
			Heads: []seq.Head{{Name: "size", Size: 41}, {Name: "gap", Size: 10, Given: []int{0}}},
		},
		"masked": {
			Embeddings: []seq.Embedding{{Name: "size", Size: 41, Dim: 16}, {Name: "label", Size: 3, Dim: 4}}, Dense: 2, Hidden: 18, Bidirectional: true,
			Heads: []seq.Head{{Name: "size", Size: 40}, {Name: "gap", Size: 10, Given: []int{0}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := seqtest.Model(t, c)
			const steps, rows = 7, 40 // a tile of 32, and a part of one
			b := seqtest.Batch(c, steps, rows, 1)
			if c.Heads[0].Name == "turning" {
				for i := range steps * rows {
					values, w := b.Values[i*len(c.Heads):][:len(c.Heads)], b.Weight[i*len(c.Heads):][:len(c.Heads)]
					copy(w, []float32{0, 4, 4, 1, 1})
					if values[0] > 0 {
						w[1], w[2] = 0, 0
					}
				}
			}
			if c.Heads[0].Name == "signed" {
				for i := range b.Weight {
					b.Weight[i] -= 1.5
				}
			}
			be := compute.NewBackend(auto(t), 1)
			hand := m.NewRun(be, steps, rows)
			want, err := hand.Losses(b)
			if err != nil {
				t.Fatal(err)
			}
			plain := compute.NewBackend(compute.Reference, 1)
			defer plain.Close()
			oracle := m.NewRun(plain, steps, rows)
			exact, err := oracle.Losses(b)
			if err != nil {
				t.Fatal(err)
			}
			for h := range want {
				if d := math.Abs(exact[h] - want[h]); !(d <= 1e-5*max(math.Abs(exact[h]), 1)) {
					t.Errorf("loss of %s: %v by hand, %v in float64", c.Heads[h].Name, want[h], exact[h])
				}
			}
			for i, x := range oracle.Gradients() {
				if d := distance(hand.Gradients()[i], x); !(d <= 1e-5) {
					t.Errorf("gradient %d by hand differs from float64 by %.1e of its norm", i, d)
				}
			}
			g, err := NewSeq(m, be, steps, rows)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // a second run must not remember the first
				got, err := g.Losses(b)
				if err != nil {
					t.Fatal(err)
				}
				for h := range want {
					if d := math.Abs(got[h] - want[h]); !(d <= 1e-5*max(math.Abs(want[h]), 1)) {
						t.Errorf("loss of %s: %v by graph, %v by hand", c.Heads[h].Name, got[h], want[h])
					}
				}
			}
			sum := 0.
			for _, l := range want {
				sum += l
			}
			if l := float64(g.(*sequence).program.loss("L")); math.Abs(l-sum) > 1e-5*max(math.Abs(sum), 1) {
				t.Errorf("the graph's cost is %v, the losses sum to %v", l, sum)
			}
			for i, x := range hand.Gradients() {
				if d := distance(g.Gradients()[i], x); !(d <= 1e-5) { // NaN where all are 0
					t.Errorf("gradient %d of %d numbers differs by %.1e of its norm", i, len(x), d)
				}
			}
		})
	}
}

// distance is that of a from b over the norm of b.
func distance(a, b []float32) float64 {
	var diff, norm float64
	for k := range b {
		diff += math.Pow(float64(a[k])-float64(b[k]), 2)
		norm += math.Pow(float64(b[k]), 2)
	}
	return math.Sqrt(diff / norm)
}
