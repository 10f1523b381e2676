package nn

import (
	"fmt"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// MLP is a stack of dense layers, y = a(x·wᵀ + b) each.
type MLP struct {
	MLPConfig
	params *Params
}

// NewMLP is an MLP of at least one layer with zero parameters, named
// "0.weight" [out,in], "0.bias" [out], "1.weight" …
func NewMLP(sizes []int, hidden, out Activation) *MLP {
	if len(sizes) < 2 {
		panic(fmt.Sprintf("nn: an MLP of sizes %v has no layer", sizes))
	}
	var v []View
	for l, n := range sizes[1:] {
		v = append(v,
			View{Name: fmt.Sprintf("%d.weight", l), Shape: []int{n, sizes[l]}},
			View{Name: fmt.Sprintf("%d.bias", l), Shape: []int{n}})
	}
	return &MLP{MLPConfig{Sizes: sizes, Hidden: hidden, Out: out}, newParams(v...)}
}

// MLPOf is the MLP of sizes c over parameters that another MLP of the same sizes
// holds.
func MLPOf(c MLPConfig, p *Params) *MLP { return &MLP{c, p} }

// Params are the parameters, shared by all runs.
func (m *MLP) Params() *Params { return m.params }

// Init draws Glorot-uniform weights and sets biases to 0. It uses the streams
// of key with B up to the number of tensors above key.B.
func (m *MLP) Init(key rng.Key) {
	for i, v := range m.params.Views {
		clear(v.Data)
		if len(v.Shape) == 2 {
			InitGlorot(tensorKey(key, i), v.Data, v.Shape[0], v.Shape[1])
		}
	}
}

func (m *MLP) in() int  { return m.Sizes[0] }
func (m *MLP) out() int { return m.Sizes[len(m.Sizes)-1] }

func (m *MLP) layers() int { return len(m.Sizes) - 1 }

func (m *MLP) act(layer int) Activation {
	if layer == m.layers()-1 {
		return m.Out
	}
	return m.Hidden
}

// mlpLayer is layer l's part of flat parameters or gradients.
func mlpLayer[F float](m *MLP, data []F, l int) (w, b []F) {
	at := 0
	for i := range l {
		at += m.Sizes[i+1] * (m.Sizes[i] + 1)
	}
	n, k := m.Sizes[l+1], m.Sizes[l]
	return data[at:][:n*k], data[at+n*k:][:n]
}

// MLPRun applies an MLP to up to a number of rows.
type MLPRun struct {
	mlp   *MLP
	be    *Backend
	max   int
	width int // of one tile's values, all layers
	vals  []float32
	back  bool // vals belong to a Forward that no Backward has consumed

	// of the call under way
	n       int
	x, y    []float32
	ends    []int // of what ForwardExp takes for distributions
	grad    []float32
	grads   []float32 // [shards,params]
	scratch []float32 // [shards, 2·widest·lanes]
	ref     [][]float64
}

// NewRun allocates a run for up to batch rows.
func (m *MLP) NewRun(be *Backend, batch int) *MLPRun {
	width := 0
	for _, n := range m.Sizes {
		width += n * lanes
	}
	return &MLPRun{mlp: m, be: be, max: batch, width: width, vals: floats(tiles(batch) * width)}
}

// Forward sets y [n,out] from x [n,in], n at most the batch of the run.
func (r *MLPRun) Forward(x, y []float32) { r.forward(x, y, nil) }

// ForwardExp is Forward, but outputs between one of ends and the next are logits
// of a distribution: y is e^(logit - the largest of it), whose sum is the
// distribution's scale. The last of ends is the width of y. No Backward follows.
func (r *MLPRun) ForwardExp(x, y []float32, ends []int) {
	r.forward(x, y, ends)
	r.back = false
}

func (r *MLPRun) forward(x, y []float32, ends []int) {
	m := r.mlp
	n := len(x) / m.in()
	check("mlp input", len(x), min(n, r.max), m.in())
	check("mlp output", len(y), n, m.out())
	r.n, r.x, r.y, r.ends, r.back = n, x, y, ends, true
	if r.be.Kernels == compute.Reference {
		r.refForward()
	} else {
		r.be.Do((*mlpForward)(r), shards(tiles(n)))
	}
	r.x, r.y, r.ends = nil, nil, nil
}

type mlpForward MLPRun

func (r *mlpForward) Shard(i int) {
	m, k := r.mlp, kernelsOf(r.be)
	from, to := tilesOf(i, shards(tiles(r.n)), tiles(r.n))
	for t := from; t < to; t++ {
		rows := min(lanes, r.n-t*lanes)
		v := r.vals[t*r.width:][:r.width]
		k.panelIn(v, r.x[t*lanes*m.in():], rows, m.in())
		for l := range m.layers() {
			in, out := m.Sizes[l], m.Sizes[l+1]
			w, b := mlpLayer(m, m.params.Data, l)
			next := v[in*lanes:]
			k.affine(next, v, w, b, out, in)
			k.activate(m.act(l), next[:out*lanes])
			v = next
		}
		begin := 0
		for _, end := range r.ends {
			k.expTop(v[begin*lanes:], end-begin)
			begin = end
		}
		k.panelOut(r.y[t*lanes*m.out():], v, rows, m.out())
	}
}

// Backward takes ∂L/∂y [n,out] of the last Forward, sets dx [n,in] to ∂L/∂x
// and adds ∂L/∂parameters to grad; either may be nil where it is not wanted
// (grad: a frozen network). It consumes what Forward kept: once per Forward.
func (r *MLPRun) Backward(dy, dx, grad []float32) {
	m, n := r.mlp, r.n
	if !r.back {
		panic("nn: mlp: Backward without a Forward of its own")
	}
	r.back = false
	check("mlp output gradient", len(dy), n, m.out())
	if dx != nil {
		check("mlp input gradient", len(dx), n, m.in())
	}
	if grad != nil {
		check("mlp gradient", len(grad), len(m.params.Data))
	}
	if r.be.Kernels == compute.Reference {
		r.refBackward(dy, dx, grad)
		return
	}
	widest := 0
	for _, n := range m.Sizes {
		widest = max(widest, n*lanes)
	}
	s := shards(tiles(n))
	sizes := [2]int{s * 2 * widest, s * pad(len(m.params.Data))}
	if grad == nil {
		sizes[1] = 0
	}
	mem := r.be.Scratch(sizes[0] + sizes[1])
	r.scratch, r.grads = mem[:sizes[0]], mem[sizes[0]:]
	r.x, r.y, r.grad = dx, dy, grad
	r.be.Do((*mlpBackward)(r), s)
	r.x, r.y, r.grad = nil, nil, nil
	if grad != nil {
		addShards(r.be, grad, r.grads, s)
	}
}

type mlpBackward MLPRun

func (r *mlpBackward) Shard(i int) {
	m, k := r.mlp, kernelsOf(r.be)
	s := shards(tiles(r.n))
	width := len(r.scratch) / s
	d, dPrev := r.scratch[i*width:][:width/2], r.scratch[i*width+width/2:][:width/2]
	var grad []float32
	if r.grad != nil {
		grad = shardOf(r.grads, i, len(r.grad))
		clear(grad)
	}
	from, to := tilesOf(i, s, tiles(r.n))
	for t := from; t < to; t++ {
		rows := min(lanes, r.n-t*lanes)
		v := r.vals[t*r.width:][:r.width]
		at := r.width - m.out()*lanes
		k.panelIn(d, r.y[t*lanes*m.out():], rows, m.out())
		for l := m.layers() - 1; l >= 0; l-- {
			in, out := m.Sizes[l], m.Sizes[l+1]
			w, _ := mlpLayer(m, m.params.Data, l)
			k.activateBack(m.act(l), d, v[at:][:out*lanes])
			at -= in * lanes
			if grad != nil {
				dw, db := mlpLayer(m, grad, l)
				k.backWeights(dw, d, v[at:], out, in, 1, 0, 0)
				k.backBias(db, d, out, 1, 0)
			}
			if l > 0 || r.x != nil {
				k.backData(dPrev, d, w, out, in, in, false)
				d, dPrev = dPrev, d
			}
		}
		if r.x != nil {
			k.panelOut(r.x[t*lanes*m.in():], d, rows, m.in())
		}
	}
}

func (r *MLPRun) refForward() {
	m := r.mlp
	p := widen(m.params.Data)
	r.ref = append(r.ref[:0], widen(r.x))
	for l := range m.layers() {
		w, b := mlpLayer(m, p, l)
		r.ref = append(r.ref, refDense(r.ref[l], w, b, m.Sizes[l+1], m.Sizes[l], m.act(l)))
	}
	narrow(r.y, r.ref[m.layers()])
	ExpTop(r.be, r.y, r.ends)
}

func (r *MLPRun) refBackward(dy, dx, grad []float32) {
	m := r.mlp
	p := widen(m.params.Data)
	g := make([]float64, len(p))
	d := widen(dy)
	for l := m.layers() - 1; l >= 0; l-- {
		w, _ := mlpLayer(m, p, l)
		dw, db := mlpLayer(m, g, l)
		d = refDenseBack(d, r.ref[l+1], r.ref[l], w, m.Sizes[l+1], m.Sizes[l], m.act(l), dw, db)
	}
	if dx != nil {
		narrow(dx, d)
	}
	if grad != nil {
		addNarrow(grad, g)
	}
}
