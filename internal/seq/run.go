package seq

import (
	"fmt"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
)

// Batch is B sequences of T steps, time-major. A slice whose last dimension is
// 0 may be nil.
type Batch struct {
	Steps, Rows int
	Tokens      []int32   // [T,B,embeddings]; -1 is an absent token: a row of zeros
	Dense       []float32 // [T,B,dense]
	// Values are the classes of the heads, [T,B,heads]; -1 is not known: it
	// adds no loss, and nothing to the heads that are given it.
	Values []int32
	// Weight is each cell's in the loss, [T,B,heads]; nil is 1. Weight 0 masks
	// a cell whose value the other heads may still be given.
	Weight []float32
	// Length is how many steps of each row there are, [B]; nil is all. It
	// tells a bidirectional model where to begin; what lies beyond is the
	// caller's to mask.
	Length []int32
}

// Counted is how many steps count, of models of so many heads: those with a value
// of positive weight.
func (b *Batch) Counted(heads int) (steps int) {
	for i := range b.Steps * b.Rows {
		for h := range heads {
			if b.Values[i*heads+h] >= 0 && (b.Weight == nil || b.Weight[i*heads+h] != 0) {
				steps++
				break
			}
		}
	}
	return steps
}

// Run is memory to apply a model to batches of one size.
type Run struct {
	m           *Model
	be          *compute.Backend
	steps, rows int
	gru, back   *nn.GRURun
	head        *nn.MLPRun
	x, h, y     []float32 // [T,B,In], [T,B,H or 2H], [T,B,Width]
	xr, hr      []float32 // in reversed time
	dx, dh      []float32
	grads       [][]float32       // by group
	fused       *nn.ClassifierRun // of Losses; nil with a dense layer before the heads
	into        [][]float32       // grads of the head and of what heads are given, in fused's order
	embedded    int               // columns of the input that are embeddings
	b           *Batch
	ce          *nn.SoftmaxCE
	loss        []float64
}

// NewRun allocates a run for batches of steps×rows.
func (m *Model) NewRun(be *compute.Backend, steps, rows int) *Run {
	n, wide := steps*rows, m.Hidden
	r := &Run{m: m, be: be, steps: steps, rows: rows, gru: m.gru.NewRun(be, steps, rows), head: m.head.NewRun(be, n)}
	for _, e := range m.Embeddings {
		r.embedded += e.Dim
	}
	r.x, r.dx = make([]float32, n*m.In()), make([]float32, n*r.embedded)
	if r.embedded > 0 {
		r.gru.Want(r.embedded)
	}
	if m.back != nil {
		wide *= 2
		r.back = m.back.NewRun(be, steps, rows)
		r.xr, r.hr = make([]float32, n*m.In()), make([]float32, n*m.Hidden)
		if r.embedded > 0 {
			r.back.Want(r.embedded)
		}
	}
	r.h, r.dh, r.y = make([]float32, n*wide), make([]float32, n*wide), make([]float32, n*m.width)
	for _, g := range m.groups() {
		r.grads = append(r.grads, make([]float32, len(g.data)))
	}
	r.ce, r.loss = nn.NewSoftmaxCE(m.ends), make([]float64, len(m.Heads))
	if m.HeadHidden == 0 && be.Kernels != compute.Reference {
		r.fuse()
	}
	return r
}

// fuse makes Losses go through the heads in one pass.
func (r *Run) fuse() {
	m, head := r.m, r.m.headGroup()
	r.into = [][]float32{r.grads[head]}
	var given []nn.Given
	for h, hd := range m.Heads {
		for k, g := range hd.Given {
			t := m.given[h][k]
			given = append(given, nn.Given{Segment: h, From: g, Table: m.tables[t].data})
			r.into = append(r.into, r.grads[head+1+t])
		}
	}
	r.fused = nn.NewClassifier(m.head, m.ends, given).NewRun(r.be)
}

// Forward computes the logits [T,B,Width] of b, which are the run's until its
// next call: the heads' side by side, what each is given included.
func (r *Run) Forward(b *Batch) []float32 {
	r.states(b)
	r.head.Forward(r.h, r.y)
	r.m.addGiven(r.y, b.Values)
	return r.y
}

// states computes those of b.
func (r *Run) states(b *Batch) {
	m := r.m
	n := r.steps * r.rows
	e, heads := len(m.Embeddings), len(m.Heads)
	if b.Steps != r.steps || b.Rows != r.rows || len(b.Tokens) != n*e || len(b.Dense) != n*m.Dense || len(b.Values) != n*heads ||
		b.Weight != nil && len(b.Weight) != n*heads || b.Length != nil && len(b.Length) != r.rows {
		panic(fmt.Sprintf("seq: a batch of %d×%d with %d tokens, %d numbers, %d values, %d weights, %d lengths, in a run of %d×%d with %d embeddings, %d numbers, %d heads a step",
			b.Steps, b.Rows, len(b.Tokens), len(b.Dense), len(b.Values), len(b.Weight), len(b.Length), r.steps, r.rows, e, m.Dense, heads))
	}
	r.b = b
	m.inputs(r.x, b.Tokens, b.Dense)
	if m.back == nil {
		r.gru.Forward(r.x, nil, r.h)
	} else {
		in, hid := m.In(), m.Hidden
		r.gru.Forward(r.x, nil, r.hr)
		for i := range n {
			copy(r.h[i*2*hid:][:hid], r.hr[i*hid:])
		}
		r.reverse(func(at, from int) { copy(r.xr[at*in:][:in], r.x[from*in:]) })
		r.back.Forward(r.xr, nil, r.hr)
		r.reverse(func(at, from int) { copy(r.h[at*2*hid+hid:][:hid], r.hr[from*hid:]) })
	}
}

// inputs sets x [n,In] from tokens and numbers.
func (m *Model) inputs(x []float32, tokens []int32, dense []float32) {
	in, e, at := m.In(), len(m.Embeddings), 0
	for i, t := range m.tables[:e] {
		if len(tokens) > 0 {
			nn.Gather(x[at:], in, t.data, t.dim, tokens[i:], e)
		}
		at += t.dim
	}
	if m.Dense > 0 {
		for i := range len(dense) / m.Dense {
			copy(x[i*in+at:][:m.Dense], dense[i*m.Dense:])
		}
	}
}

// addGiven adds to logits what their heads are given.
func (m *Model) addGiven(y []float32, values []int32) {
	heads, width := len(m.Heads), m.width
	for h, head := range m.Heads {
		for k, g := range head.Given {
			t := m.tables[m.given[h][k]]
			for i := range len(values) / heads {
				if v := values[i*heads+g]; v >= 0 {
					seg := y[i*width+m.ends[h]-head.Size:][:head.Size]
					for c, w := range t.data[int(v)*head.Size:][:head.Size] {
						seg[c] += w
					}
				}
			}
		}
	}
}

// reverse calls f for every step of every row of the run's batch.
func (r *Run) reverse(f func(at, from int)) { reverse(r.b, r.steps, r.rows, f) }

// reverse calls f for every step of every row with the step that mirrors it
// within the row's length.
func reverse(b *Batch, steps, rows int, f func(at, from int)) {
	for row := range rows {
		length := steps
		if b.Length != nil {
			length = int(b.Length[row])
		}
		for t := range steps {
			from := t
			if t < length {
				from = length - 1 - t
			}
			f(t*rows+row, from*rows+row)
		}
	}
}

// Backward takes the masked cross-entropy of the last Forward, leaves its
// gradient in Gradients and gives the loss of each head, in nats per step that
// counts: one with a value of positive weight. scale multiplies the gradient,
// not the losses. The losses are the run's until its next call.
func (r *Run) Backward(scale float32) []float64 {
	b := r.b
	clear(r.loss)
	r.ce.Loss(r.be, r.y, b.Values, b.Weight, scale*r.norm(), r.loss)
	if scale != 0 {
		for h := range r.loss {
			r.loss[h] /= float64(scale)
		}
	}
	r.BackwardFrom(r.y)
	return r.loss
}

// norm is 1 over the steps that count.
func (r *Run) norm() float32 { return 1 / float32(max(r.b.Counted(len(r.m.Heads)), 1)) }

// losses is Forward and Backward in one, without logits that others see.
func (r *Run) losses(b *Batch) []float64 {
	r.states(b)
	for _, g := range r.grads {
		clear(g)
	}
	clear(r.loss)
	r.fused.Loss(r.h, b.Values, b.Weight, r.norm(), r.loss, r.dh, r.into)
	r.backStates()
	return r.loss
}

// BackwardFrom leaves in Gradients those of a loss whose gradient for the
// logits of the last Forward is dy [T,B,Width].
func (r *Run) BackwardFrom(dy []float32) {
	m, b := r.m, r.b
	for _, g := range r.grads {
		clear(g)
	}
	head := m.headGroup()
	heads, width := len(m.Heads), m.width
	for h, hd := range m.Heads {
		for k, g := range hd.Given {
			nn.ScatterAdd(r.grads[head+1+m.given[h][k]], hd.Size, dy[m.ends[h]-hd.Size:], width, b.Values[g:], heads)
		}
	}
	r.head.Backward(dy, r.dh, r.grads[head])
	r.backStates()
}

// backStates goes back from the gradient dh of the states.
func (r *Run) backStates() {
	m, b, wide := r.m, r.b, r.embedded
	dx, dxr := r.dx, []float32(nil)
	if wide == 0 { // nothing learns from it
		dx = nil
	}
	if m.back == nil {
		r.gru.Backward(r.dh, dx, r.grads[0])
	} else {
		hid := m.Hidden
		if wide > 0 {
			dxr = r.xr[:len(dx)]
		}
		r.reverse(func(at, from int) { copy(r.hr[at*hid:][:hid], r.dh[from*2*hid+hid:]) })
		r.back.Backward(r.hr, dxr, r.grads[1])
		for i := range r.steps * r.rows {
			copy(r.hr[i*hid:][:hid], r.dh[i*2*hid:])
		}
		r.gru.Backward(r.hr, dx, r.grads[0])
		if wide > 0 {
			r.reverse(func(at, from int) {
				to := dx[at*wide:][:wide]
				for c, v := range dxr[from*wide:][:wide] {
					to[c] += v
				}
			})
		}
	}
	tables, from := m.headGroup()+1, 0
	for i, t := range m.tables[:len(m.Embeddings)] {
		nn.ScatterAdd(r.grads[tables+i], t.dim, dx[from:], wide, b.Tokens[i:], len(m.Embeddings))
		from += t.dim
	}
}

// Gradients are those of the last Backward, a slice for each group of
// parameters in the order of Tensors.
func (r *Run) Gradients() [][]float32 { return r.grads }
