package seq

import (
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
)

// Filler applies a bidirectional model to sequences with masked cells and
// draws classes for some of them: heads are computed of those steps alone. What
// a row gives depends on its own inputs, not on its neighbours or on threads.
type Filler struct {
	heads
	be          *compute.Backend
	steps, rows int
	gru, back   *nn.GRURun
	run         *nn.MLPRun
	x, xr, h    []float32
	states      [2][]float32 // [T*B,2H]; the second of what guides
	hr          []float32
	other       []float32
}

// NewFiller is a filler of batches of steps×rows. It panics for a causal
// model. It takes m's parameters as they are now.
func (m *Model) NewFiller(be *compute.Backend, steps, rows int) *Filler {
	if m.back == nil {
		panic("seq: a causal model does not see what comes after a masked cell")
	}
	n := steps * rows
	f := &Filler{heads: m.newHeads(), be: be, steps: steps, rows: rows, gru: m.gru.NewRun(be, steps, rows), back: m.back.NewRun(be, steps, rows), run: m.head.NewRun(be, n)}
	f.x, f.xr, f.hr = make([]float32, n*m.In()), make([]float32, n*m.In()), make([]float32, n*m.Hidden)
	for i := range f.states {
		f.states[i] = make([]float32, n*2*m.Hidden)
	}
	return f
}

// Read reads b, of which Values and Weight are not used.
func (f *Filler) Read(b *Batch) { f.read(b, f.states[0]) }

// ReadFree reads b as what Draw's guidance moves away from: the same cells
// without the condition.
func (f *Filler) ReadFree(b *Batch) { f.read(b, f.states[1]) }

func (f *Filler) read(b *Batch, h []float32) {
	m := f.m
	in, hid, n := m.In(), m.Hidden, f.steps*f.rows
	m.inputs(f.x, b.Tokens, b.Dense)
	f.gru.Forward(f.x, nil, f.hr)
	for i := range n {
		copy(h[i*2*hid:][:hid], f.hr[i*hid:])
	}
	reverse(b, f.steps, f.rows, func(at, from int) { copy(f.xr[at*in:][:in], f.x[from*in:]) })
	f.back.Forward(f.xr, nil, f.hr)
	reverse(b, f.steps, f.rows, func(at, from int) { copy(h[at*2*hid+hid:][:hid], f.hr[from*hid:]) })
}

// Heads computes the distributions of cells t*rows+row, as Weights and Draw
// then give them; entry i belongs to cells[i]. guidance g above 0 makes logits
// those read, and g times their distance from those of ReadFree (Ho and
// Salimans 2022, eq. 6).
func (f *Filler) Heads(cells []int, guidance float32) {
	n, wide := len(cells), 2*f.m.Hidden
	load := func(from []float32) {
		f.h = grow(f.h, n*wide)
		for i, c := range cells {
			copy(f.h[i*wide:][:wide], from[c*wide:])
		}
		f.memory(n)
		f.run.Forward(f.h, f.y)
	}
	if guidance > 0 {
		load(f.states[1])
		f.other = append(f.other[:0], f.y...)
	}
	load(f.states[0])
	if guidance > 0 {
		for i, v := range f.other {
			f.y[i] += guidance * (f.y[i] - v)
		}
	}
	nn.ExpTop(f.be, f.y, f.m.ends)
}
