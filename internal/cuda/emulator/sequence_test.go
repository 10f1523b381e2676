package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/seq/seqtest"
)

// loop is a closed loop's network, small: the first head is only given, as the
// turning of a load is.
var loop = seq.Config{
	Embeddings: []seq.Embedding{{Name: "level", Size: 3, Dim: 3}, {Name: "change", Size: 5, Dim: 4}}, Dense: 6, Hidden: 9,
	Heads: []seq.Head{{Name: "turning", Size: 17}, {Name: "level", Size: 3, Given: []int{0}}, {Name: "change", Size: 5, Given: []int{0, 1}},
		{Name: "depth", Size: 12, Given: []int{0, 2}}, {Name: "wait", Size: 7, Given: []int{0, 3}}},
}

// TestSequence: losses of a sequence model and the gradient of every group of
// parameters are those of float64.
func TestSequence(t *testing.T) {
	interpreted(t)
	for name, c := range map[string]seq.Config{
		"closed loop":                  loop,
		"tokens alone, two layers":     {Embeddings: []seq.Embedding{{Name: "size", Size: 40, Dim: 5}}, Hidden: 6, Layers: 2, Heads: []seq.Head{{Name: "size", Size: 41}, {Name: "gap", Size: 10, Given: []int{0}}}},
		"numbers alone, no head given": {Dense: 5, Hidden: 4, Heads: []seq.Head{{Name: "a", Size: 2}, {Name: "b", Size: 9}}},
	} {
		t.Run(name, func(t *testing.T) {
			const steps, rows = 5, 67 // more than a split of 256
			m, b := seqtest.Model(t, c), seqtest.Batch(c, steps, rows, 1)
			for i := range steps * rows { // the turning has no value of its own: see timegan/closedloop
				if c.Heads[0].Name == "turning" {
					b.Weight[i*len(c.Heads)] = 0
				}
			}
			be := compute.NewBackend(compute.Reference, 1)
			defer be.Close()
			reference := m.NewRun(be, steps, rows)
			signed := slices.Clone(b.Weight) // advantages: see timegan/closedloop
			for i := range signed {
				if signed[i] -= 1.5; b.Weight[i] == 0 {
					signed[i] = 0
				}
			}
			for _, weights := range [][]float32{b.Weight, signed, nil} {
				b.Weight = weights
				want, err := reference.Losses(b)
				if err != nil {
					t.Fatal(err)
				}
				everywhere(t, func(t *testing.T, d driver.Driver, bound float64) {
					s, err := cuda.NewSequence(d, 0, m, steps, rows)
					if err != nil {
						t.Fatal(err)
					}
					got, err := s.Losses(b)
					if err != nil {
						t.Fatal(err)
					}
					for h := range want {
						if !(math.Abs(got[h]-want[h]) <= bound*max(math.Abs(want[h]), 1)) {
							t.Errorf("loss of %s: %v, want %v", c.Heads[h].Name, got[h], want[h])
						}
					}
					for i, g := range reference.Gradients() {
						near(t, bound, fmt.Sprintf("gradient of %s", m.Parts().Groups[i].Name), s.Gradients()[i], g)
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// TestSequenceTraining: updates on the device are those of the trainer on the CPU,
// with clipping, decay, a moving rate and averages; a run in two parts gives the
// bytes of one in one; a gradient that is not finite is named and updates nothing.
func TestSequenceTraining(t *testing.T) {
	interpreted(t)
	const steps, rows, updates = 3, 5, 6
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	settings := seq.Training{Updates: updates, Rate: .05, Decay: .1, Clip: .7, Average: .8}
	fill := func(u int, b *seq.Batch) error {
		*b = *seqtest.Batch(loop, steps, rows, uint64(10+u))
		return nil
	}
	// train fits a model in parts, each by a trainer of its own.
	train := func(t *testing.T, open func(m *seq.Model) seq.Objective, parts ...int) (*seq.Model, *seq.Model, []float64) {
		m, b := seqtest.Model(t, loop), seqtest.Batch(loop, steps, rows, 1)
		tr, err := seq.NewTrainer(m, be, settings)
		if err != nil {
			t.Fatal(err)
		}
		var all []float64
		for _, part := range parts {
			o := open(m)
			err := tr.Fit(context.Background(), o, b, fill, seq.FitOptions{Every: part, Report: func(_ int, l []float64) { all = append(all, slices.Clone(l)...) },
				Checkpoint: func() error { return seq.ErrStop }})
			if err != nil {
				t.Fatal(err)
			}
			if err := seq.Close(o); err != nil {
				t.Fatal(err)
			}
		}
		if tr.Update != updates {
			t.Fatalf("%d updates of %d", tr.Update, updates)
		}
		return m, tr.Averaged(), all
	}
	plain, average, losses := train(t, func(m *seq.Model) seq.Objective { return m.NewRun(be, steps, rows) }, updates)
	everywhere(t, func(t *testing.T, d driver.Driver, bound float64) {
		open := func(m *seq.Model) seq.Objective {
			s, err := cuda.NewSequence(d, 0, m, steps, rows)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		m, averaged, got := train(t, open, updates)
		for i, w := range losses {
			if !(math.Abs(got[i]-w) <= 10*bound*w) { // of weights that have gone their own way
				t.Errorf("update %d: loss %v, want %v", i/len(loop.Heads), got[i], w)
			}
		}
		same := func(what string, bound float64, got, want *seq.Model) {
			for i, g := range got.Tensors("") {
				near(t, bound, what+g.Name, g.Data.([]float32), want.Tensors("")[i].Data.([]float32))
			}
		}
		same("", 10*bound, m, plain)
		same("average of ", 10*bound, averaged, average)
		again, _, _ := train(t, open, 2, 2, 2)
		same("in three parts: ", 0, again, m)

		broken, b := seqtest.Model(t, loop), seqtest.Batch(loop, steps, rows, 1)
		before := broken.Clone()
		tr, err := seq.NewTrainer(broken, be, settings)
		if err != nil {
			t.Fatal(err)
		}
		o := open(broken)
		err = tr.Fit(context.Background(), o, b, func(u int, b *seq.Batch) error {
			_ = fill(u, b)
			b.Dense[4] = float32(math.NaN())
			return nil
		}, seq.FitOptions{})
		var diverged *seq.DivergedError
		if !errors.As(err, &diverged) || diverged.Update != 0 || diverged.Tensor != "gru." {
			t.Errorf("a number that is NaN: %v", err)
		}
		same("after a NaN: ", 0, broken, before)
		if err := seq.Close(o); err != nil {
			t.Error(err)
		}
	})
}

// TestSequenceSampler: a sampler on the device gives the weights of one in float64,
// step by step, of some of its rows or all, after resets and states put back, and
// the same classes for the same uniform numbers.
func TestSequenceSampler(t *testing.T) {
	interpreted(t)
	for _, layers := range []int{1, 2} {
		c := loop
		c.Layers = layers
		const n = 6
		m := seqtest.Model(t, c)
		everywhere(t, func(t *testing.T, d driver.Driver, bound float64) {
			be := compute.NewBackend(compute.Reference, 1)
			defer be.Close()
			want := m.NewSampler(be, n)
			name := fmt.Sprintf("sampler of %p", t)
			seq.Register(name, nil, func(m *seq.Model, n int) (seq.Stepper, error) { return cuda.NewSequenceSampler(d, 0, m, n) })
			got, err := seq.OpenSampler(name, m, be, n)
			if err != nil {
				t.Fatal(err)
			}
			state := make([]float32, got.Size())
			for step, rows := range [][]int{nil, {4, 1}, {5}, nil, {0, 1, 2, 3}} {
				count := len(rows)
				if rows == nil {
					count = n
				}
				b := seqtest.Batch(c, 1, count, uint64(step))
				want.Step(rows, b.Tokens, b.Dense)
				got.Step(rows, b.Tokens, b.Dense)
				for i := range count {
					one, other := make([]int32, len(c.Heads)), make([]int32, len(c.Heads))
					for h := range c.Heads {
						near(t, bound, fmt.Sprintf("step %d, entry %d: weights of %s", step, i, c.Heads[h].Name), got.Weights(i, h, one), want.Weights(i, h, one))
						u := rng.Key{Seed: uint64(step), A: uint32(i)}.Float64(uint32(h))
						if g, w := got.Draw(i, h, other, u), want.Draw(i, h, one, u); g != w {
							t.Errorf("step %d, entry %d: drew class %d of %s, want %d", step, i, g, c.Heads[h].Name, w)
						}
					}
				}
				switch step {
				case 1:
					got.Reset([]int{4, 0})
					want.Reset([]int{4, 0})
				case 2: // row 5 goes on from row 1, and is as it was there
					got.State(1, state)
					got.SetState(5, state)
					want.State(1, state)
					want.SetState(5, state)
				case 3:
					got.Reset(nil)
					want.Reset(nil)
				}
			}
			if err := got.Err(); err != nil {
				t.Error(err)
			}
			got.Step([]int{n}, make([]int32, len(c.Embeddings)), make([]float32, c.Dense))
			if got.Err() == nil {
				t.Error("a row that there is not is no error")
			}
			if err := got.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSequenceRefuses: what the device does not compute is said before anything
// is opened.
func TestSequenceRefuses(t *testing.T) {
	for _, change := range []func(*seq.Config){
		func(c *seq.Config) { c.Bidirectional = true },
		func(c *seq.Config) { c.HeadHidden = 4 },
		func(c *seq.Config) { c.Hidden = 600 },
	} {
		m, err := seq.New(loop, 1)
		if err != nil {
			t.Fatal(err)
		}
		change(&m.Config)
		d := &drivertest.Driver{}
		if _, err := cuda.NewSequence(d, 0, m, 2, 2); err == nil {
			t.Errorf("%+v is trained", m.Config)
		}
		if _, err := cuda.NewSequenceSampler(d, 0, m, 2); err == nil {
			t.Errorf("%+v is sampled", m.Config)
		}
		d.Check(t)
	}
}
