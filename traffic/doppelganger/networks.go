package doppelganger

import (
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
)

// networks are the two generators.
//
//	attributes [A] = given, draw(MLP(normals, given))
//	5 steps        = draw(GRU(attributes, place, normals))
type networks struct {
	k          *codec
	c          Config
	attributes *nn.MLP
	series     *nn.GRU
}

// place is what the networks are told of where steps are: whether the session
// starts in this chunk, the chunk, and the first step's number in the chunk.
const place = 4

// seriesNoise is how many normals a call of the series generator gets.
const seriesNoise = 8

func newNetworks(k *codec, c Config) *networks {
	n := &networks{k: k, c: c}
	n.attributes = nn.NewMLP([]int{c.Noise + n.givenWidth(), c.Width, c.Width, k.width - n.givenWidth()}, nn.ReLU, nn.Linear)
	n.series = nn.NewGRU(nn.GRUConfig{In: k.width + place + seriesNoise, Hidden: c.Hidden, Layers: 1, Out: c.Emit * n.emitWidth()})
	n.attributes.Init(rng.Key{Seed: c.seed, A: 1, Purpose: rng.Init})
	n.series.Init(rng.Key{Seed: c.seed, A: 2, Purpose: rng.Init})
	return n
}

func (n *networks) givenWidth() (w int) {
	for _, b := range n.k.blocks[:n.k.given] {
		w += b
	}
	return w
}

// emitWidth is the outputs of a step: numbers, categories, whether it goes on.
func (n *networks) emitWidth() int { return n.k.row + 1 }

// critic inputs.
func (n *networks) windowWidth() int { return n.k.width + place + n.c.Window*n.k.row }

func setPlace(into []float32, first bool, chunk, chunks, step int) {
	clear(into[:place])
	if first {
		into[0] = 1
	}
	into[1] = float32(chunk) / float32(chunks)
	if step == 0 {
		into[2] = 1
	}
	into[3] = float32(math.Log1p(float64(step))) / 4
}

func (n *networks) tensors(prefix string) (all []safetensors.Tensor) {
	for name, p := range map[string]*nn.Params{"attributes.": n.attributes.Params(), "series.": n.series.Params()} {
		for _, v := range p.Views {
			all = append(all, safetensors.Tensor{Name: prefix + name + v.Name, Shape: v.Shape, Data: v.Data})
		}
	}
	return all
}

func (n *networks) clone() *networks {
	o := newNetworks(n.k, n.c)
	o.set(n)
	return o
}

// set takes over the weights of o.
func (n *networks) set(o *networks) {
	copy(n.attributes.Params().Data, o.attributes.Params().Data)
	copy(n.series.Params().Data, o.series.Params().Data)
}

// softmax turns rows of logits into probabilities, segment by segment; numbers
// of a row in front of the segments become their sigmoid.
func softmax(be *compute.Backend, x []float32, width, numbers int, sizes []int) {
	for r := 0; r < len(x); r += width {
		row := x[r : r+width]
		for i := range numbers {
			row[i] = -row[i]
		}
		at := numbers
		for _, n := range sizes {
			seg := row[at:][:n]
			top := seg[0]
			for _, v := range seg {
				top = max(top, v)
			}
			for i := range seg {
				seg[i] = max(seg[i]-top, -80)
			}
			at += n
		}
		for i := range numbers {
			row[i] = min(max(row[i], -80), 80)
		}
	}
	nn.Exp(be, x, x)
	for r := 0; r < len(x); r += width {
		row := x[r : r+width]
		for i := range numbers {
			row[i] = 1 / (1 + row[i])
		}
		at := numbers
		for _, n := range sizes {
			seg := row[at:][:n]
			var sum float32
			for _, v := range seg {
				sum += v
			}
			for i := range seg {
				seg[i] /= sum
			}
			at += n
		}
	}
}

// draw draws a class of probabilities p by the uniform number u.
func draw(p []float32, u float64) int32 { return seq.Pick(p, u) }

// drawBack is the gradient of drawing a class, by ReinMax (Liu et al. 2023,
// "Bridging Discrete and Backpropagation", algorithm 2): p are the
// probabilities, class what was drawn, g ∂L/∂ of its one-hot vector. It sets
// into to ∂L/∂logits, to second order:
//
//	q = (p + onehot)/2;  2·q⊙(g - q·g) - ½·p⊙(g - p·g)
func drawBack(into, p, g []float32, class int32) {
	var pg, qg float32
	for i, v := range p {
		pg += v * g[i]
	}
	qg = (pg + g[class]) / 2
	for i, v := range p {
		into[i] = v*(g[i]-qg) - v*(g[i]-pg)/2
	}
	into[class] += g[class] - qg
}

// attributeRun applies the attribute generator to up to a number of rows, with
// gradients.
type attributeRun struct {
	n      *networks
	be     *compute.Backend
	run    *nn.MLPRun
	in     []float32
	p      []float32 // [rows, generated width]: probabilities
	class  []int32   // [rows, blocks]
	hot    []float32 // [rows, A]
	forced []int     // by row: a tag that was set afterwards, -1
	d      []float32
	rows   int
}

func (n *networks) newAttributeRun(be *compute.Backend, rows int) *attributeRun {
	r := &attributeRun{n: n, be: be, run: n.attributes.NewRun(be, rows)}
	gen := n.k.width - n.givenWidth()
	r.in = make([]float32, rows*(n.c.Noise+n.givenWidth()))
	r.p, r.d = make([]float32, pad(rows*gen)), make([]float32, rows*gen)
	r.class, r.hot, r.forced = make([]int32, rows*len(n.k.blocks)), make([]float32, rows*n.k.width), make([]int, rows)
	return r
}

func pad(n int) int { return (n + 15) &^ 15 }

// forward draws attributes; the given blocks of r.class are filled in already.
// key gives the random numbers of a row.
func (r *attributeRun) forward(rows int, key func(row int) rng.Key) {
	n, k := r.n, r.n.k
	given := n.givenWidth()
	gen, wide := k.width-given, n.c.Noise+given
	r.rows = rows
	clear(r.hot[:rows*k.width])
	for i := range rows {
		x, hot, class := r.in[i*wide:][:wide], r.hot[i*k.width:][:k.width], r.class[i*len(k.blocks):][:len(k.blocks)]
		normals(x[:n.c.Noise], key(i))
		at := 0
		for b := range k.given {
			hot[at+int(class[b])] = 1
			at += k.blocks[b]
		}
		copy(x[n.c.Noise:], hot[:given])
		r.forced[i] = -1
	}
	r.run.Forward(r.in[:rows*wide], r.p[:rows*gen])
	softmax(r.be, r.p[:pad(rows*gen)][:rows*gen], gen, 0, k.blocks[k.given:])
	for i := range rows {
		u := key(i)
		at := 0
		hot, class := r.hot[i*k.width+given:][:gen], r.class[i*len(k.blocks):][:len(k.blocks)]
		for b, size := range k.blocks[k.given:] {
			c := draw(r.p[i*gen+at:][:size], u.Float64(uint32(1000+b)))
			class[k.given+b] = c
			hot[at+int(c)] = 1
			at += size
		}
	}
}

// force sets the tag of a chunk, whatever was drawn.
func (r *attributeRun) force(row, chunk int) {
	k := r.n.k
	if k.Chunks == 1 {
		return
	}
	at := 0
	for _, b := range k.blocks[:k.tags+chunk] {
		at += b
	}
	r.class[row*len(k.blocks)+k.tags+chunk] = 1
	hot := r.hot[row*k.width+at:][:2]
	hot[0], hot[1] = 0, 1
	r.forced[row] = k.tags + chunk
}

// backward takes ∂L/∂hot and adds ∂L/∂parameters to grad.
func (r *attributeRun) backward(dhot, grad []float32) {
	n, k := r.n, r.n.k
	given := n.givenWidth()
	gen := k.width - given
	for i := range r.rows {
		at := 0
		for b, size := range k.blocks[k.given:] {
			d := r.d[i*gen+at:][:size]
			if r.forced[i] == k.given+b {
				clear(d)
			} else {
				drawBack(d, r.p[i*gen+at:][:size], dhot[i*k.width+given+at:][:size], r.class[i*len(k.blocks)+k.given+b])
			}
			at += size
		}
	}
	r.run.Backward(r.d[:r.rows*gen], nil, grad)
}

// normals fills x with the first normals of key.
func normals(x []float32, key rng.Key) {
	for i := 0; i < len(x); i += 2 {
		a, b := key.Normal(uint32(i / 2))
		x[i] = float32(a)
		if i+1 < len(x) {
			x[i+1] = float32(b)
		}
	}
}

// seriesRun applies the series generator to one window of up to a number of
// rows, with gradients.
type seriesRun struct {
	n     *networks
	be    *compute.Backend
	run   *nn.GRURun
	calls int
	rows  int
	x, dx []float32 // [calls, rows, in]
	y, dy []float32 // [calls, rows, Emit·emit]: what the categories were drawn of
	class []int32   // [rows, Window, other+1]
	alive []float32 // [rows, Window+1]
	out   []float32 // [rows, Window·row]
	with  []fitting // by row: kinds that its attributes allow
	order []bool    // by row: the window begins the session, so that what came before a step is known
	h     []float32
	sizes []int // of a step's categories, the last whether it goes on
	g     []float32
}

func (n *networks) stepSizes() []int {
	var s []int
	for i := range n.k.Steps {
		s = append(s, n.k.Steps[i].len())
	}
	return append(s, 2)
}

func (n *networks) newSeriesRun(be *compute.Backend, rows int) *seriesRun {
	r := &seriesRun{n: n, be: be, calls: n.c.Window / n.c.Emit, rows: rows, sizes: n.stepSizes()}
	r.run = n.series.NewRun(be, r.calls, rows)
	r.x = make([]float32, r.calls*rows*n.series.In)
	r.dx = make([]float32, len(r.x))
	r.y = make([]float32, pad(r.calls*rows*n.series.Out))
	r.dy = make([]float32, r.calls*rows*n.series.Out)
	r.class = make([]int32, rows*n.c.Window*len(r.sizes))
	r.alive = make([]float32, rows*(n.c.Window+1))
	r.out = make([]float32, rows*n.c.Window*n.k.row)
	r.h = make([]float32, rows*n.c.Hidden)
	r.g = make([]float32, slices.Max(r.sizes))
	r.with, r.order = make([]fitting, rows), make([]bool, rows)
	return r
}

// input is a call's row of the series generator.
func (n *networks) input(x, hot []float32, first bool, chunk, step int, key rng.Key) {
	copy(x, hot[:n.k.width])
	setPlace(x[n.k.width:], first, chunk, n.k.Chunks, step)
	normals(x[n.k.width+place:], key)
}

// squash is what the series generator's logits become: the numbers' sigmoids
// and the categories' probabilities.
func (n *networks) squash(be *compute.Backend, y []float32) {
	softmax(be, y, n.emitWidth(), len(n.k.numeric), n.stepSizes())
}

// forward draws a window. h0 [rows,H] is where the generator is; r.x is filled.
// zero reports whether a row's numeric field has no range, so that its place in
// it is 0.
func (r *seriesRun) forward(h0 []float32, key func(row int) rng.Key, zero func(row, field int) bool) {
	n, k := r.n, r.n.k
	r.run.Forward(r.x, h0, r.y[:r.calls*r.rows*n.series.Out])
	n.squash(r.be, r.y[:r.calls*r.rows*n.series.Out])
	w, emit, nums := n.c.Window, n.emitWidth(), len(k.numeric)
	clear(r.out)
	for i := range r.rows {
		u := key(i)
		alive := r.alive[i*(w+1):][:w+1]
		alive[0] = 1
		var before uint64
		for t := range w {
			y := r.step(r.y, i, t)[:emit]
			out := r.out[(i*w+t)*k.row:][:k.row]
			at := nums
			if k.Kinds != nil {
				k.allow(y[at:][:r.sizes[0]], r.with[i], before, r.order[i])
			}
			for s, size := range r.sizes {
				if s == len(r.sizes)-1 && k.Kinds != nil && r.order[i] && k.Kinds.over(r.with[i], before) {
					y[at], y[at+1] = 1, 0 // the session ends
				}
				c := draw(y[at:][:size], u.Float64(uint32(2000+t*len(r.sizes)+s)))
				r.class[(i*w+t)*len(r.sizes)+s] = c
				if s < len(r.sizes)-1 {
					out[at+int(c)] = alive[t]
					if s == 0 && k.Kinds != nil {
						before |= 1 << c
					}
				} else {
					alive[t+1] = alive[t] * float32(c)
				}
				at += size
			}
			off := r.off(i, t)
			for f := range nums {
				if !zero(i, f) && (off == nil || !off[f]) {
					out[f] = y[f] * alive[t]
				}
			}
			out[k.row-1] = alive[t+1]
		}
	}
}

// off is which numeric fields the kind of a step says are 0; nil: none.
func (r *seriesRun) off(row, t int) []bool {
	if r.n.k.off == nil {
		return nil
	}
	return r.n.k.off[r.class[(row*r.n.c.Window+t)*len(r.sizes)]]
}

// allow lowers the probabilities of kinds that do not go with a session's
// attributes, or where ordered after the kinds before.
func (k *codec) allow(p []float32, with fitting, before uint64, ordered bool) {
	set := with.any
	if ordered {
		set = k.Kinds.next(with, before)
	}
	weigh(p, set)
	var sum float32
	for _, v := range p {
		sum += v
	}
	for i := range p {
		p[i] /= sum
	}
}

// step is the part of y [calls, rows, Emit·emit] of step t of a row.
func (r *seriesRun) step(y []float32, row, t int) []float32 {
	emit := r.n.emitWidth()
	return y[((t/r.n.c.Emit)*r.rows+row)*r.n.series.Out+(t%r.n.c.Emit)*emit:][:emit]
}

// backward takes ∂L/∂out, adds ∂L/∂parameters to grad and leaves ∂L/∂x in r.dx.
func (r *seriesRun) backward(dout, grad []float32, zero func(row, field int) bool) {
	n, k := r.n, r.n.k
	w, nums := n.c.Window, len(k.numeric)
	var two [2]float32
	for i := range r.rows {
		alive := r.alive[i*(w+1):][:w+1]
		var dAlive float32 // of alive[t+1], from later steps
		for t := w - 1; t >= 0; t-- {
			y, dy := r.step(r.y, i, t), r.step(r.dy, i, t)
			d := dout[(i*w+t)*k.row:][:k.row]
			dAlive += d[k.row-1]
			var here float32 // of alive[t]
			at := nums
			for s, size := range r.sizes {
				c := r.class[(i*w+t)*len(r.sizes)+s]
				if s == len(r.sizes)-1 {
					two = [2]float32{0, dAlive * alive[t]}
					drawBack(dy[at:][:size], y[at:][:size], two[:], c)
					here += dAlive * float32(c)
				} else {
					seg := r.g[:size]
					for j := range seg {
						g := d[at+j]
						if s == 0 && k.off != nil { // the kind says which numbers there are
							for f, off := range k.off[j] {
								if !off && k.bytes[f] != 0 && !zero(i, f) {
									g += d[f] * y[f]
								}
							}
						}
						seg[j] = g * alive[t]
					}
					drawBack(dy[at:][:size], y[at:][:size], seg, c)
					here += d[at+int(c)]
				}
				at += size
			}
			off := r.off(i, t)
			for f := range nums {
				dy[f] = 0
				if !zero(i, f) && (off == nil || !off[f]) {
					dy[f] = d[f] * alive[t] * y[f] * (1 - y[f])
					here += d[f] * y[f]
				}
			}
			dAlive = here
		}
	}
	r.run.Backward(r.dy, r.dx, grad)
}
