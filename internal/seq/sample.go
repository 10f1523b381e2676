package seq

import (
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
)

// heads are the distributions of rows whose states are known.
type heads struct {
	m      *Model
	be     *compute.Backend
	run    *nn.MLPRun
	factor [][]float32 // e^table, of what heads are given
	h, y   []float32
	e, w   []float32
}

func (m *Model) newHeads(be *compute.Backend, n int) heads {
	s := heads{m: m, be: be, run: m.head.NewRun(be, n)}
	for _, t := range m.tables {
		f := make([]float32, len(t.data))
		for i, v := range t.data {
			f[i] = float32(math.Exp(float64(v)))
		}
		s.factor = append(s.factor, f)
	}
	return s
}

// logits computes those of n rows whose states are h.
func (s *heads) logits(n int) {
	m := s.m
	s.e = grow(s.e, (n*m.Width()+15)&^15) // whole vectors: the kernels' exp and plain Go's differ by rounding
	s.y = s.e[:n*m.Width()]
	s.run.Forward(s.h, s.y)
}

// exp makes weights of logits, the largest of a head 1.
func (s *heads) exp(n int) {
	m := s.m
	for i := range n {
		begin := 0
		for _, end := range m.ends {
			seg := s.y[i*m.Width()+begin : i*m.Width()+end]
			top := seg[0]
			for _, v := range seg {
				top = max(top, v)
			}
			for k := range seg {
				seg[k] -= top
			}
			begin = end
		}
	}
	nn.Exp(s.be, s.e, s.e)
}

// Sampler advances n independent sequences a step at a time: the causal model
// running free. What a row gives depends on its own inputs and the uniform
// numbers drawn for it, not on its neighbours or on threads.
type Sampler struct {
	heads
	st *nn.GRUState
	x  []float32
}

// NewSampler is a sampler of n rows that have seen nothing. It panics for a
// bidirectional model. It takes m's parameters as they are now.
func (m *Model) NewSampler(be *compute.Backend, n int) *Sampler {
	if m.back != nil {
		panic("seq: a bidirectional model does not sample step by step")
	}
	return &Sampler{heads: m.newHeads(be, n), st: m.gru.NewState(be, n)}
}

// Step gives rows (nil is all) an input: tokens [n,embeddings] and numbers
// [n,dense]. Draw then draws what comes out; entry i belongs to rows[i].
func (s *Sampler) Step(rows []int, tokens []int32, dense []float32) {
	s.advance(rows, tokens, dense)
	n := len(s.h) / s.m.Hidden
	s.logits(n)
	s.exp(n)
}

// Advance is Step without Draw: rows read an input and nothing is drawn.
func (s *Sampler) Advance(rows []int, tokens []int32, dense []float32) {
	s.advance(rows, tokens, dense)
}

func (s *Sampler) advance(rows []int, tokens []int32, dense []float32) {
	m := s.m
	n := len(tokens)
	if e := len(m.Embeddings); e > 0 {
		n /= e
	} else {
		n = len(dense) / m.Dense
	}
	s.x, s.h = grow(s.x, n*m.In()), grow(s.h, n*m.Hidden)
	m.inputs(s.x, tokens, dense)
	s.st.Step(rows, s.x, s.h)
}

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
	e := s.y[i*m.Width()+m.ends[head]-size:][:size]
	if len(m.Heads[head].Given) == 0 {
		return e
	}
	s.w = grow(s.w, size)
	w := s.w
	copy(w, e)
	for k, g := range m.Heads[head].Given {
		v := values[g]
		if v < 0 {
			continue
		}
		f := s.factor[m.given[head][k]][int(v)*size:][:size]
		for c := range w {
			w[c] *= f[c]
		}
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
func (s *Sampler) Reset(rows []int) { s.st.Reset(rows) }

// Size is how many numbers the state of a row has.
func (s *Sampler) Size() int { return s.m.Layers * s.m.Hidden }

// State copies row's state to dst [Size].
func (s *Sampler) State(row int, dst []float32) { s.st.Hidden(row, dst) }

// SetState makes src [Size] row's state.
func (s *Sampler) SetState(row int, src []float32) { s.st.SetHidden(row, src) }
