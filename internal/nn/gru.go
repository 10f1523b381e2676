package nn

import (
	"fmt"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// GRU is a stack of GRU layers, reset gate after the recurrent product, and
// perhaps a dense head.
type GRU struct {
	GRUConfig
	params *Params
}

// NewGRU is a stack with zero parameters, named as in PyTorch's nn.GRU:
// "weight_ih_l0" [3H,in], "weight_hh_l0" [3H,H], "bias_ih_l0", "bias_hh_l0"
// [3H] (gates r, z, n), and so on for each layer, then "head.weight" [out,H],
// "head.bias" [out].
func NewGRU(c GRUConfig) *GRU {
	if c.In < 1 || c.Hidden < 1 || c.Layers < 1 || c.Out < 0 {
		panic(fmt.Sprintf("nn: no GRU has sizes %+v", c))
	}
	var v []View
	in, h := c.In, c.Hidden
	for l := range c.Layers {
		v = append(v,
			View{Name: fmt.Sprintf("weight_ih_l%d", l), Shape: []int{3 * h, in}},
			View{Name: fmt.Sprintf("weight_hh_l%d", l), Shape: []int{3 * h, h}},
			View{Name: fmt.Sprintf("bias_ih_l%d", l), Shape: []int{3 * h}},
			View{Name: fmt.Sprintf("bias_hh_l%d", l), Shape: []int{3 * h}})
		in = h
	}
	if c.Out > 0 {
		v = append(v, View{Name: "head.weight", Shape: []int{c.Out, h}}, View{Name: "head.bias", Shape: []int{c.Out}})
	}
	return &GRU{GRUConfig: c, params: newParams(v...)}
}

// GRUOf is the stack of sizes c over parameters that another stack of the same
// sizes holds.
func GRUOf(c GRUConfig, p *Params) *GRU { return &GRU{c, p} }

// Params are the parameters, shared by all runs and steppers.
func (g *GRU) Params() *Params { return g.params }

// Init draws Glorot-uniform input weights and orthogonal recurrent ones, per
// gate, and sets biases to 0. It uses the streams of key with B up to three
// times the number of tensors above key.B.
func (g *GRU) Init(key rng.Key) {
	for i, v := range g.params.Views {
		clear(v.Data)
		if len(v.Shape) < 2 {
			continue
		}
		out, in := v.Shape[0], v.Shape[1]
		if i >= 4*g.Layers { // the head
			InitGlorot(tensorKey(key, 3*i), v.Data, out, in)
			continue
		}
		h := g.Hidden
		for gate := range 3 {
			k, w := tensorKey(key, 3*i+gate), v.Data[gate*h*in:][:h*in]
			if i%4 == 1 {
				InitOrthogonal(k, w, h)
			} else {
				InitGlorot(k, w, h, in)
			}
		}
	}
}

// layerIn is the number of input features of layer l.
func layerIn(c GRUConfig, l int) int {
	if l == 0 {
		return c.In
	}
	return c.Hidden
}

// gruLayer is layer l's part of flat parameters or gradients.
func gruLayer[F float](c GRUConfig, data []F, l int) (wi, wh, bi, bh []F) {
	h := c.Hidden
	for i := range l {
		data = data[3*h*(layerIn(c, i)+h+2):]
	}
	in := layerIn(c, l)
	wi, data = data[:3*h*in], data[3*h*in:]
	wh, data = data[:3*h*h], data[3*h*h:]
	return wi, wh, data[:3*h], data[3*h:][:3*h]
}

// gruHead is the head's part of flat parameters or gradients.
func gruHead[F float](c GRUConfig, data []F) (w, b []F) {
	data = data[len(data)-c.Out*(c.Hidden+1):]
	return data[:c.Out*c.Hidden], data[c.Out*c.Hidden:]
}

// GRURun applies a GRU to T steps of B rows.
//
// A tile's values lie together: x [T,in], then per layer h [T+1,H], the first
// being the start, and the gates r, z, n, c [T,4H], then the head's y [T,out];
// a panel each.
type GRURun struct {
	g           *GRU
	be          *Backend
	steps, rows int
	width       int
	wanted      int // columns of ∂L/∂x
	vals        []float32
	back        bool // vals belong to a Forward that no Backward has consumed

	// of the call under way
	x, h0, y []float32
	grad     []float32
	grads    []float32 // [shards,params]
	scratch  []float32 // [shards, T·widest + in + H, lanes]
	ref      []refTrace
	refX     []float64
	refY     []float64
}

// NewRun allocates a run for steps×batch inputs, both at least 1.
func (g *GRU) NewRun(be *Backend, steps, batch int) *GRURun {
	if steps < 1 || batch < 1 {
		panic(fmt.Sprintf("nn: no GRU run has %d steps of %d rows", steps, batch))
	}
	width := lanes * (steps*(g.In+g.Out) + g.Layers*(steps+1+4*steps)*g.Hidden)
	return &GRURun{g: g, be: be, steps: steps, rows: batch, width: width, wanted: g.In, vals: floats(tiles(batch) * width)}
}

// Want makes Backward give the first n columns of ∂L/∂x alone, dx [T,B,n], at
// least one: what begins with embeddings and goes on with data has no use for the
// rest.
func (r *GRURun) Want(n int) {
	if n < 1 || n > r.g.In {
		panic(fmt.Sprintf("nn: gru: %d of %d columns", n, r.g.In))
	}
	r.wanted = n
}

// layer is layer l's values in a tile.
func (r *GRURun) layer(tile []float32, l int) (x, h, saved []float32) {
	step := lanes * r.g.Hidden
	size := (r.steps + 1 + 4*r.steps) * step
	at := r.steps*r.g.In*lanes + l*size
	h, saved = tile[at:][:(r.steps+1)*step], tile[at+(r.steps+1)*step:][:4*r.steps*step]
	if l == 0 {
		return tile[:r.steps*r.g.In*lanes], h, saved
	}
	return tile[at-size+step:][:r.steps*step], h, saved // h of the layer below, but for its start
}

// Forward sets y [T,B,width] from x [T,B,in] and the start h0 [layers,B,H];
// nil starts from zeros.
func (r *GRURun) Forward(x, h0, y []float32) {
	g := r.g
	check("gru input", len(x), r.steps, r.rows, g.In)
	check("gru output", len(y), r.steps, r.rows, g.Width())
	if h0 != nil {
		check("gru start", len(h0), g.Layers, r.rows, g.Hidden)
	}
	r.x, r.h0, r.y, r.back = x, h0, y, true
	if r.be.Kernels == compute.Reference {
		r.refForward()
	} else {
		r.be.Do((*gruForward)(r), shards(tiles(r.rows)))
	}
	r.x, r.h0, r.y = nil, nil, nil
}

type gruForward GRURun

func (r *gruForward) Shard(i int) {
	g, k := r.g, kernelsOf(r.be)
	hid := g.Hidden
	step := hid * lanes
	from, to := tilesOf(i, shards(tiles(r.rows)), tiles(r.rows))
	for t := from; t < to; t++ {
		rows := min(lanes, r.rows-t*lanes)
		tile := r.vals[t*r.width:][:r.width]
		for s := range r.steps {
			k.panelIn(tile[s*g.In*lanes:], r.x[(s*r.rows+t*lanes)*g.In:], rows, g.In)
		}
		var h []float32
		for l := range g.Layers {
			var x, saved []float32
			x, h, saved = (*GRURun)(r).layer(tile, l)
			if r.h0 == nil {
				clear(h[:step])
			} else {
				k.panelIn(h, r.h0[(l*r.rows+t*lanes)*hid:], rows, hid)
			}
			in := layerIn(g.GRUConfig, l)
			wi, wh, bi, bh := gruLayer(g.GRUConfig, g.params.Data, l)
			for s := range r.steps {
				k.gruForward(x[s*in*lanes:], h[s*step:], wi, wh, bi, bh, h[(s+1)*step:], saved[4*s*step:], in, hid)
			}
		}
		out := h[step:]
		if g.Out > 0 {
			out = tile[r.width-r.steps*g.Out*lanes:]
			w, b := gruHead(g.GRUConfig, g.params.Data)
			for s := range r.steps {
				k.affine(out[s*g.Out*lanes:], h[(s+1)*step:], w, b, g.Out, hid)
			}
			k.activate(g.Act, out)
		}
		width := g.Width()
		for s := range r.steps {
			k.panelOut(r.y[(s*r.rows+t*lanes)*width:], out[s*width*lanes:], rows, width)
		}
	}
}

// Backward takes ∂L/∂y [T,B,width] of the last Forward, sets dx [T,B,in] to
// ∂L/∂x and adds ∂L/∂parameters to grad; either may be nil where it is not
// wanted (grad: a frozen network). It consumes what Forward kept: once per
// Forward.
func (r *GRURun) Backward(dy, dx, grad []float32) {
	g := r.g
	if !r.back {
		panic("nn: gru: Backward without a Forward of its own")
	}
	r.back = false
	check("gru output gradient", len(dy), r.steps, r.rows, g.Width())
	if dx != nil {
		check("gru input gradient", len(dx), r.steps, r.rows, r.wanted)
	}
	if grad != nil {
		check("gru gradient", len(grad), len(g.params.Data))
	}
	if r.be.Kernels == compute.Reference {
		r.refBackward(dy, dx, grad)
		return
	}
	s := shards(tiles(r.rows))
	sizes := [2]int{s * r.scratchWidth(), s * pad(len(g.params.Data))}
	if grad == nil {
		sizes[1] = 0
	}
	mem := r.be.Scratch(sizes[0] + sizes[1])
	r.scratch, r.grads = mem[:sizes[0]], mem[sizes[0]:]
	r.x, r.y, r.grad = dx, dy, grad
	r.be.Do((*gruBackward)(r), s)
	r.x, r.y, r.grad = nil, nil, nil
	if grad != nil {
		addShards(r.be, grad, r.grads, s)
	}
}

// scratchWidth is what a shard of Backward needs: the gradient of the layer's
// output at all steps, and one panel each of ∂L/∂h and ∂L/∂x or ∂L/∂y.
func (r *GRURun) scratchWidth() int {
	return lanes * ((r.steps+1)*r.g.Hidden + max(r.g.In, r.g.Out))
}

type gruBackward GRURun

func (r *gruBackward) Shard(i int) {
	g, k := r.g, kernelsOf(r.be)
	hid := g.Hidden
	step := hid * lanes
	n := (*GRURun)(r).scratchWidth()
	scratch := r.scratch[i*n:][:n]
	dys, dh, io := scratch[:r.steps*step], scratch[r.steps*step:][:step], scratch[(r.steps+1)*step:]
	var grad []float32
	if r.grad != nil {
		grad = shardOf(r.grads, i, len(r.grad))
		clear(grad)
	}
	from, to := tilesOf(i, shards(tiles(r.rows)), tiles(r.rows))
	for t := from; t < to; t++ {
		rows := min(lanes, r.rows-t*lanes)
		tile := r.vals[t*r.width:][:r.width]
		if g.Out == 0 {
			for s := range r.steps {
				k.panelIn(dys[s*step:], r.y[(s*r.rows+t*lanes)*hid:], rows, hid)
			}
		} else {
			r.headBackward(tile, dys, io, grad, t, rows)
		}
		for l := g.Layers - 1; l >= 0; l-- {
			x, h, saved := (*GRURun)(r).layer(tile, l)
			in := layerIn(g.GRUConfig, l)
			wi, wh, _, _ := gruLayer(g.GRUConfig, g.params.Data, l)
			clear(dh)
			dwi, dwh, dbi, dbh := []float32(nil), []float32(nil), []float32(nil), []float32(nil)
			if grad != nil {
				dwi, dwh, dbi, dbh = gruLayer(g.GRUConfig, grad, l)
			}
			each := weightSteps(in, hid, r.steps)
			for s := r.steps - 1; s >= 0; s-- {
				d := saved[4*s*step:]
				k.gruGates(d, h[s*step:], dys[s*step:], dh, hid)
				if s > 0 {
					k.backData(dh, d, wh, 2*hid, hid, hid, true)
					k.backData(dh, d[3*step:], wh[2*hid*hid:], hid, hid, hid, true)
				}
				switch { // dys of this step is spent
				case l > 0:
					k.backData(dys[s*step:], d, wi, 3*hid, in, in, false)
				case r.x != nil:
					k.backData(io, d, wi, 3*hid, in, r.wanted, false)
					k.panelOut(r.x[(s*r.rows+t*lanes)*r.wanted:], io, rows, r.wanted)
				}
				if grad == nil || s%each != 0 {
					continue
				}
				n := min(each, r.steps-s) // steps whose gradients are still in the cache
				k.backWeights(dwi, d, x[s*in*lanes:], 3*hid, in, n, 4*step, in*lanes)
				k.backWeights(dwh, d, h[s*step:], 2*hid, hid, n, 4*step, step)
				k.backWeights(dwh[2*hid*hid:], d[3*step:], h[s*step:], hid, hid, n, 4*step, step)
				k.backBias(dbi, d, 3*hid, n, 4*step)
				k.backBias(dbh, d, 2*hid, n, 4*step)
				k.backBias(dbh[2*hid:], d[3*step:], hid, n, 4*step)
			}
		}
	}
}

// weightSteps is how many steps the gradients of a layer's weights are summed over
// before they are added up. Each few rows of weights run through the gates, inputs
// and states of all of these steps again: where those of the whole sequence are
// more than a second-level cache, a part of it that fits is taken at a time.
func weightSteps(in, hid, steps int) int {
	const cache = 1 << 20 / 4 // floats
	step := lanes * (in + 5*hid)
	if steps*step <= cache {
		return steps
	}
	return max(cache/2/step, 1)
}

// headBackward sets dys [T,H] from the gradient of the head's output, which
// replaces the output in the tile.
func (r *gruBackward) headBackward(tile, dys, io, grad []float32, t, rows int) {
	g, k := r.g, kernelsOf(r.be)
	hid, out := g.Hidden, g.Out
	w, _ := gruHead(g.GRUConfig, g.params.Data)
	ys := tile[r.width-r.steps*out*lanes:]
	for s := range r.steps {
		y := ys[s*out*lanes:][:out*lanes]
		k.panelIn(io, r.y[(s*r.rows+t*lanes)*out:], rows, out)
		k.activateBack(g.Act, io, y)
		copy(y, io)
		k.backData(dys[s*hid*lanes:], y, w, out, hid, hid, false)
	}
	if grad != nil {
		_, h, _ := (*GRURun)(r).layer(tile, g.Layers-1)
		dw, db := gruHead(g.GRUConfig, grad)
		k.backWeights(dw, ys, h[hid*lanes:], out, hid, r.steps, out*lanes, hid*lanes)
		k.backBias(db, ys, out, r.steps, out*lanes)
	}
}

func (r *GRURun) refForward() {
	g := r.g
	p := widen(g.params.Data)
	r.refX, r.ref = widen(r.x), r.ref[:0]
	x := r.refX
	for l := range g.Layers {
		h0 := make([]float64, r.rows*g.Hidden)
		if r.h0 != nil {
			h0 = widen(r.h0[l*r.rows*g.Hidden:][:r.rows*g.Hidden])
		}
		wi, wh, bi, bh := gruLayer(g.GRUConfig, p, l)
		r.ref = append(r.ref, refGRU(x, h0, wi, wh, bi, bh, r.rows, layerIn(g.GRUConfig, l), g.Hidden))
		x = r.ref[l].h
	}
	if g.Out > 0 {
		w, b := gruHead(g.GRUConfig, p)
		x = refDense(x, w, b, g.Out, g.Hidden, g.Act)
		r.refY = x
	}
	narrow(r.y, x)
}

func (r *GRURun) refBackward(dy, dx, grad []float32) {
	g := r.g
	p := widen(g.params.Data)
	dp := make([]float64, len(p))
	d := widen(dy)
	if g.Out > 0 {
		w, _ := gruHead(g.GRUConfig, p)
		dw, db := gruHead(g.GRUConfig, dp)
		d = refDenseBack(d, r.refY, r.ref[g.Layers-1].h, w, g.Out, g.Hidden, g.Act, dw, db)
	}
	for l := g.Layers - 1; l >= 0; l-- {
		x := r.refX
		if l > 0 {
			x = r.ref[l-1].h
		}
		wi, wh, _, _ := gruLayer(g.GRUConfig, p, l)
		dwi, dwh, dbi, dbh := gruLayer(g.GRUConfig, dp, l)
		d = refGRUBack(r.ref[l], d, x, wi, wh, r.rows, layerIn(g.GRUConfig, l), g.Hidden, dwi, dwh, dbi, dbh)
	}
	if dx != nil {
		for i := range r.steps * r.rows {
			narrow(dx[i*r.wanted:][:r.wanted], d[i*g.In:][:r.wanted])
		}
	}
	if grad != nil {
		addNarrow(grad, dp)
	}
}

// Last copies the hidden states after the last step of the latest Forward,
// [layers,B,H], to dst: the start of a run that goes on.
func (r *GRURun) Last(dst []float32) {
	g := r.g
	check("gru last hidden states", len(dst), g.Layers, r.rows, g.Hidden)
	if r.be.Kernels == compute.Reference {
		for l := range g.Layers {
			narrow(dst[l*r.rows*g.Hidden:][:r.rows*g.Hidden], r.ref[l].h[(r.steps-1)*r.rows*g.Hidden:])
		}
		return
	}
	for t := range tiles(r.rows) {
		rows := min(lanes, r.rows-t*lanes)
		tile := r.vals[t*r.width:][:r.width]
		for l := range g.Layers {
			_, h, _ := r.layer(tile, l)
			kernelsOf(r.be).panelOut(dst[(l*r.rows+t*lanes)*g.Hidden:], h[r.steps*g.Hidden*lanes:], rows, g.Hidden)
		}
	}
}
