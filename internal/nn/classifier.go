package nn

import (
	"fmt"
	"math"
)

// Classifier is a dense layer whose outputs are the logits of distributions, with
// the weighted cross-entropy of their classes. What it computes is what MLP and
// SoftmaxCE do together, but logits and their gradients stay in panels of a few
// tiles, which the cache holds.
type Classifier struct {
	mlp   *MLP
	ends  []int // of segments, see SoftmaxCE
	given []Given
}

// Given says that the class of an earlier segment adds a row of a table to the
// logits of a segment.
type Given struct {
	Segment, From int
	Table         []float32 // [classes of From, classes of Segment]
}

// NewClassifier is that of m, of one linear layer, whose outputs are segments
// that end at ends.
func NewClassifier(m *MLP, ends []int, given []Given) *Classifier {
	if m.layers() != 1 || m.Out != Linear {
		panic(fmt.Sprintf("nn: a classifier of an MLP of sizes %v", m.Sizes))
	}
	return &Classifier{m, ends, given}
}

// ClassifierRun is memory to apply a Classifier.
type ClassifierRun struct {
	*Classifier
	be    *Backend
	sizes []int // of the gradients: the layer's, then each table's
	total int
	sum   []float32
	loss  []float64 // [shards,segments]

	// of the call under way
	h, dh   []float32
	values  []int32
	weight  []float32
	scale   float32
	scratch []float32 // [shards, group·(out+in) + in + 3, lanes]
	grads   []float32 // [shards,total]
}

// group is how many tiles the gradient of the weights is summed over before it is
// added up.
const group = 8

// NewRun allocates a run.
func (c *Classifier) NewRun(be *Backend) *ClassifierRun {
	r := &ClassifierRun{Classifier: c, be: be, sizes: []int{len(c.mlp.params.Data)}}
	for _, g := range c.given {
		r.sizes = append(r.sizes, len(g.Table))
	}
	for _, n := range r.sizes {
		r.total += n
	}
	r.sum = make([]float32, r.total)
	return r
}

// size is how many classes a segment has, begin where its logits do.
func (c *Classifier) size(segment int) (begin, size int) {
	if segment > 0 {
		begin = c.ends[segment-1]
	}
	return begin, c.ends[segment] - begin
}

// Loss computes, for states h [n,in],
//
//	z = h·wᵀ + b + Σ given;  p = softmax(segment of z)
//	loss[s] += scale · Σ_rows w · -log p[value]
//
// sets dh [n,in] to its gradient, and adds those of the layer and of the tables, in
// the order of given, to grads. values and weight are as of SoftmaxCE.Loss; a
// value of -1 gives nothing to other segments either.
func (r *ClassifierRun) Loss(h []float32, values []int32, weight []float32, scale float32, loss []float64, dh []float32, grads [][]float32) {
	m, segments := r.mlp, len(r.ends)
	n := len(values) / segments
	check("classifier states", len(h), n, m.in())
	check("classifier gradient", len(dh), n, m.in())
	check("classifier losses", len(loss), segments)
	check("classifier gradients", len(grads), len(r.sizes))
	if weight != nil {
		check("classifier weights", len(weight), n, segments)
	}
	s := shards(tiles(n))
	r.loss = zeros(r.loss, s*segments)
	width := lanes * (group*(m.out()+m.in()) + m.in() + 3)
	mem := r.be.Scratch(s*width + s*pad(r.total))
	r.scratch, r.grads = mem[:s*width], mem[s*width:]
	r.h, r.dh, r.values, r.weight, r.scale = h, dh, values, weight, scale
	r.be.Do((*classifierJob)(r), s)
	for i, l := range r.loss {
		loss[i%segments] += l * float64(scale)
	}
	clear(r.sum)
	addShards(r.be, r.sum, r.grads, s)
	at := 0
	for i, size := range r.sizes {
		kernelsOf(r.be).sum(grads[i], r.sum[at:][:size])
		at += size
	}
	r.h, r.dh, r.values, r.weight, r.scratch, r.grads = nil, nil, nil, nil, nil, nil
}

type classifierJob ClassifierRun

func (r *classifierJob) Shard(i int) {
	m, k := r.mlp, kernelsOf(r.be)
	in, out, segments := m.in(), m.out(), len(r.ends)
	n := len(r.values) / segments
	width := len(r.scratch) / shards(tiles(n))
	scratch := r.scratch[i*width:][:width]
	zs, hs, scratch := scratch[:group*out*lanes], scratch[group*out*lanes:][:group*in*lanes], scratch[group*(out+in)*lanes:]
	dh, scratch := scratch[:in*lanes], scratch[in*lanes:]
	var of rowsOf
	of.scale, of.top, of.sum = (*[lanes]float32)(scratch), (*[lanes]float32)(scratch[lanes:]), (*[lanes]float32)(scratch[2*lanes:])
	grad := shardOf(r.grads, i, r.total)
	clear(grad)
	w, b := mlpLayer(m, m.params.Data, 0)
	dw, db := mlpLayer(m, grad, 0)
	loss := r.loss[i*segments:][:segments]
	from, to := tilesOf(i, shards(tiles(n)), tiles(n))
	for t := from; t < to; t += group {
		some := min(group, to-t)
		for j := range some {
			row := (t + j) * lanes
			rows := min(lanes, n-row)
			h, z := hs[j*in*lanes:][:in*lanes], zs[j*out*lanes:][:out*lanes]
			k.panelIn(h, r.h[row*in:], rows, in)
			k.affine(z, h, w, b, out, in)
			values := r.values[row*segments:][:rows*segments]
			r.addGiven(z, values)
			for s := range segments {
				loss[s] += r.segment(k, of, z, values, row, s)
			}
			r.gradGiven(grad[r.sizes[0]:], z, values)
			k.backData(dh, z, w, out, in, in, false)
			k.panelOut(r.dh[row*in:], dh, rows, in)
		}
		k.backWeights(dw, zs, hs, out, in, some, out*lanes, in*lanes)
		k.backBias(db, zs, out, some, out*lanes)
	}
}

// addGiven adds to the logits of a tile what their segments are given.
func (r *classifierJob) addGiven(z []float32, values []int32) {
	segments := len(r.ends)
	for _, g := range r.given {
		begin, size := r.size(g.Segment)
		for b := range len(values) / segments {
			if v := int(values[b*segments+g.From]); v >= 0 {
				to := z[begin*lanes+b:]
				for c, add := range g.Table[v*size:][:size] {
					to[c*lanes] += add
				}
			}
		}
	}
}

// gradGiven adds the gradients z of a tile to those of the tables.
func (r *classifierJob) gradGiven(grad, z []float32, values []int32) {
	segments := len(r.ends)
	for _, g := range r.given {
		begin, size := r.size(g.Segment)
		for b := range len(values) / segments {
			if v := int(values[b*segments+g.From]); v >= 0 {
				from, to := z[begin*lanes+b:], grad[v*size:][:size]
				for c := range to {
					to[c] += from[c*lanes]
				}
			}
		}
		grad = grad[len(g.Table):]
	}
}

// rowsOf is what softmax takes and gives of the rows of a tile.
type rowsOf struct{ scale, top, sum *[lanes]float32 }

// segment makes the logits of a tile's segment their gradients and returns the
// loss; row is the tile's first.
func (r *classifierJob) segment(k *kernels, of rowsOf, z []float32, values []int32, row, s int) (loss float64) {
	segments := len(r.ends)
	begin, size := r.size(s)
	z = z[begin*lanes:][:size*lanes]
	var own [lanes]float32
	clear(of.scale[:])
	for b := range len(values) / segments {
		if v := values[b*segments+s]; v >= 0 {
			own[b] = z[int(v)*lanes+b]
			of.scale[b] = r.scale * cellWeight(r.weight, (row+b)*segments+s)
		}
	}
	k.softmax(z, size, of.scale, of.top, of.sum)
	for b := range len(values) / segments {
		v := values[b*segments+s]
		if v < 0 {
			continue
		}
		if w := cellWeight(r.weight, (row+b)*segments+s); w != 0 {
			loss += float64(w) * (math.Log(float64(of.sum[b])) - float64(own[b]-of.top[b]))
			z[int(v)*lanes+b] -= of.scale[b]
		}
	}
	return loss
}
