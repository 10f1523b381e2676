package seq

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
)

// heads are the distributions of rows whose states are known.
type heads struct {
	m      *Model
	factor [][]float32 // e^table, of what heads are given
	plain  [][]bool    // by table and class: its factors are all 1
	y      []float32   // weights of the classes
	w      []float32
}

func (m *Model) newHeads() heads {
	s := heads{m: m}
	for _, t := range m.tables {
		f, plain := make([]float32, len(t.data)), make([]bool, t.size)
		for i, v := range t.data {
			f[i] = float32(math.Exp(float64(v)))
		}
		for i := range plain {
			plain[i] = !slices.ContainsFunc(t.data[i*t.dim:][:t.dim], func(v float32) bool { return v != 0 })
		}
		s.factor, s.plain = append(s.factor, f), append(s.plain, plain)
	}
	return s
}

// memory makes room for the logits of n rows.
func (s *heads) memory(n int) {
	w := n * s.m.width
	s.y = grow(s.y, (w+15)&^15)[:w] // whole vectors: see nn.ExpTop
}

// Sampler advances n independent sequences a step at a time: the causal model
// running free. What a row gives depends on its own inputs and the uniform
// numbers drawn for it, not on its neighbours or on threads.
type Sampler struct {
	heads
	stepper Stepper
	err     error // of stepper, the first
}

// Stepper is the states of a Sampler's rows, and what advances them: the CPU or a
// device.
type Stepper interface {
	// Step gives rows, nil being all, an input, and sets weights [n,Width] to those
	// of the classes before any is given, the largest of a head 1; where
	// weights is nil they are not computed.
	Step(rows []int, tokens []int32, dense, weights []float32) error
	Reset(rows []int) error
	State(row int, dst []float32) error
	SetState(row int, src []float32) error
	Close() error
}

// NewSampler is a sampler of n rows that have seen nothing. It panics for a
// bidirectional model. It takes m's parameters as they are now.
func (m *Model) NewSampler(be *compute.Backend, n int) *Sampler {
	if m.back != nil {
		panic("seq: a bidirectional model does not sample step by step")
	}
	return &Sampler{heads: m.newHeads(), stepper: &cpu{m: m, st: m.gru.NewState(be, n), run: m.head.NewRun(be, n)}}
}

// OpenSampler is NewSampler on an engine, "" being Fused. The draws are the same,
// but for the rounding of the engine's weights. Err says whether the device
// failed; Close gives back what it holds.
func OpenSampler(engine string, m *Model, be *compute.Backend, n int) (*Sampler, error) {
	if engine == "" || engine == Fused {
		return m.NewSampler(be, n), nil
	}
	e, err := find(engine)
	if err != nil {
		return nil, err
	}
	if e.sampler == nil {
		return nil, fmt.Errorf("seq: engine %q trains and does not sample", engine)
	}
	stepper, err := e.sampler(m, n)
	if err != nil {
		return nil, err
	}
	return &Sampler{heads: m.newHeads(), stepper: stepper}, nil
}

// Err is the first error of a sampler's device. Draws after it mean nothing.
func (s *Sampler) Err() error { return s.err }

func (s *Sampler) keep(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Close gives back what a sampler's device holds.
func (s *Sampler) Close() error { return s.stepper.Close() }

// Step gives rows (nil is all) an input: tokens [n,embeddings] and numbers
// [n,dense]. Draw then draws what comes out; entry i belongs to rows[i].
func (s *Sampler) Step(rows []int, tokens []int32, dense []float32) {
	s.memory(s.m.count(tokens, dense))
	s.keep(s.stepper.Step(rows, tokens, dense, s.y))
}

// Advance is Step without Draw: rows read an input and nothing is drawn.
func (s *Sampler) Advance(rows []int, tokens []int32, dense []float32) {
	s.keep(s.stepper.Step(rows, tokens, dense, nil))
}

// count is how many rows an input is for.
func (m *Model) count(tokens []int32, dense []float32) int {
	if e := len(m.Embeddings); e > 0 {
		return len(tokens) / e
	}
	return len(dense) / m.Dense
}

// cpu is the Stepper of a backend. It does not fail.
type cpu struct {
	m    *Model
	st   *nn.GRUState
	run  *nn.MLPRun
	x, h []float32
}

func (c *cpu) Step(rows []int, tokens []int32, dense, weights []float32) error {
	m, n := c.m, c.m.count(tokens, dense)
	c.x, c.h = grow(c.x, n*m.In()), grow(c.h, n*m.Hidden)
	m.inputs(c.x, tokens, dense)
	c.st.Step(rows, c.x, c.h)
	if weights != nil {
		c.run.ForwardExp(c.h, weights, m.ends)
	}
	return nil
}

func (c *cpu) Reset(rows []int) error {
	c.st.Reset(rows)
	return nil
}

func (c *cpu) State(row int, dst []float32) error {
	c.st.Hidden(row, dst)
	return nil
}

func (c *cpu) SetState(row int, src []float32) error {
	c.st.SetHidden(row, src)
	return nil
}

func (c *cpu) Close() error { return nil }

func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// Weights are entry i's unnormalised probabilities of a head's classes, given
// the classes of earlier heads, values [heads]: those that the head is given
// and that are not -1 count. They are the
// receiver's until its next call.
func (s *heads) Weights(i, head int, values []int32) []float32 {
	m := s.m
	size := m.Heads[head].Size
	w := s.y[i*m.width+m.ends[head]-size:][:size]
	own := false // w is a copy
	for k, g := range m.Heads[head].Given {
		v, t := int(values[g]), m.given[head][k]
		if v < 0 || s.plain[t][v] {
			continue
		}
		f := s.factor[t][v*size:][:size]
		if own {
			for c := range w {
				w[c] *= f[c]
			}
			continue
		}
		s.w, own = grow(s.w, size), true
		for c := range w {
			s.w[c] = w[c] * f[c]
		}
		w = s.w
	}
	return w
}

// Draw draws entry i's class of a head by the uniform number u in [0, 1), puts
// it into values[head] and returns it. Heads are drawn in their order.
func (s *heads) Draw(i, head int, values []int32, u float64) int32 {
	v := Pick(s.Weights(i, head, values), u)
	values[head] = v
	return v
}

// Pick is the class that u in [0, 1) falls on, by weights that need not sum to
// 1. Where they sum to 0 it is the first.
func Pick(weights []float32, u float64) int32 {
	var sum float32
	for _, w := range weights {
		sum += w
	}
	left := float32(u) * sum
	last := 0
	for c, w := range weights {
		if w <= 0 {
			continue
		}
		last = c
		if left < w {
			break
		}
		left -= w
	}
	return int32(last)
}

// Softmax turns logits into probabilities, for models whose logits come from a
// Run.
func Softmax(logits []float32) {
	top := logits[0]
	for _, v := range logits {
		top = max(top, v)
	}
	sum := 0.
	for i, v := range logits {
		e := math.Exp(float64(v - top))
		sum += e
		logits[i] = float32(e)
	}
	for i := range logits {
		logits[i] /= float32(sum)
	}
}

// Reset makes rows, nil is all, sequences that have seen nothing.
func (s *Sampler) Reset(rows []int) { s.keep(s.stepper.Reset(rows)) }

// Size is how many numbers the state of a row has.
func (s *Sampler) Size() int { return s.m.Layers * s.m.Hidden }

// State copies row's state to dst [Size].
func (s *Sampler) State(row int, dst []float32) { s.keep(s.stepper.State(row, dst)) }

// SetState makes src [Size] row's state.
func (s *Sampler) SetState(row int, src []float32) { s.keep(s.stepper.SetState(row, src)) }
