package nn

import (
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
)

// SoftmaxCE is the weighted cross-entropy of several categorical distributions
// a row, whose logits lie side by side: segment s of a row is
// x[ends[s-1]:ends[s]], the last end being the width of a row.
type SoftmaxCE struct {
	ends []int

	// of the call under way
	be     *Backend
	x      []float32
	values []int32
	weight []float32
	scale  float32
	loss   []float64 // [shards,segments]
}

// NewSoftmaxCE is the loss of segments with these ends, ascending.
func NewSoftmaxCE(ends []int) *SoftmaxCE { return &SoftmaxCE{ends: ends} }

// Loss computes, for x [rows,width],
//
//	p = softmax(segment);  loss[s] += scale · Σ_rows w · -log p[value]
//	x becomes the gradient  scale · w · (p - onehot(value))
//
// values [rows,segments] are classes, -1 where none is known; weight, of the
// same shape, may be nil, which is 1. A cell without a value or of weight 0
// adds nothing and its gradient is 0.
func (j *SoftmaxCE) Loss(be *Backend, x []float32, values []int32, weight []float32, scale float32, loss []float64) {
	n := len(j.ends)
	width := j.ends[n-1]
	rows := len(x) / width
	check("softmax logits", len(x), rows, width)
	check("softmax values", len(values), rows, n)
	check("softmax losses", len(loss), n)
	if weight != nil {
		check("softmax weights", len(weight), rows, n)
	}
	s := shards(tiles(rows))
	j.loss = zeros(j.loss, s*n)
	j.be, j.x, j.values, j.weight, j.scale = be, x, values, weight, scale
	be.Do((*softmaxJob)(j), s)
	for i, l := range j.loss {
		loss[i%n] += l * float64(scale)
	}
	j.be, j.x, j.values, j.weight = nil, nil, nil, nil
}

type softmaxJob SoftmaxCE

func (j *softmaxJob) Shard(i int) {
	n := len(j.ends)
	width := j.ends[n-1]
	rows := len(j.x) / width
	k := kernelsOf(j.be)
	from, to := tilesOf(i, shards(tiles(rows)), tiles(rows))
	loss := j.loss[i*n:][:n]
	for r := from * lanes; r < min(to*lanes, rows); r++ {
		x, values := j.x[r*width:][:width], j.values[r*n:][:n]
		if j.be.Kernels == compute.Reference {
			j.reference(x, values, r, loss)
			continue
		}
		begin := 0
		for s, end := range j.ends {
			seg := x[begin:end]
			top := seg[0]
			for _, v := range seg {
				top = max(top, v)
			}
			if v, w := values[s], cellWeight(j.weight, r*n+s); v >= 0 && w != 0 {
				loss[s] -= float64(w) * float64(seg[v]-top)
			}
			for k := range seg {
				seg[k] -= top
			}
			begin = end
		}
		k.exp(x, x)
		begin = 0
		for s, end := range j.ends {
			seg := x[begin:end]
			begin = end
			w := cellWeight(j.weight, r*n+s)
			if values[s] < 0 || w == 0 {
				clear(seg)
				continue
			}
			var sum float64
			for _, v := range seg {
				sum += float64(v)
			}
			loss[s] += float64(w) * math.Log(sum)
			g := j.scale * w
			norm := g * float32(1/sum)
			for c := range seg {
				seg[c] *= norm
			}
			seg[values[s]] -= g
		}
	}
}

// cellWeight is weight i, or 1 where there are none.
func cellWeight(weight []float32, i int) float32 {
	if weight == nil {
		return 1
	}
	return weight[i]
}

// zeros is n of them, in the memory of x where it has as much.
func zeros(x []float64, n int) []float64 {
	if cap(x) < n {
		return make([]float64, n)
	}
	x = x[:n]
	clear(x)
	return x
}

// reference is a row as the equation is written, in float64.
func (j *softmaxJob) reference(x []float32, values []int32, r int, loss []float64) {
	begin := 0
	for s, end := range j.ends {
		seg := x[begin:end]
		begin = end
		w := float64(cellWeight(j.weight, r*len(j.ends)+s))
		if values[s] < 0 || w == 0 {
			clear(seg)
			continue
		}
		top, sum := math.Inf(-1), 0.
		for _, v := range seg {
			top = max(top, float64(v))
		}
		for _, v := range seg {
			sum += math.Exp(float64(v) - top)
		}
		loss[s] += w * (top + math.Log(sum) - float64(seg[values[s]]))
		for k, v := range seg {
			p := math.Exp(float64(v)-top) / sum
			if k == int(values[s]) {
				p--
			}
			seg[k] = float32(float64(j.scale) * w * p)
		}
	}
}

// Exp sets dst[i] to e^src[i]; dst may be src.
func Exp(be *Backend, dst, src []float32) { kernelsOf(be).exp(dst, src) }

// ExpTop makes segments of rows x [rows,width], see SoftmaxCE, e^(x - the
// largest of the segment). Where there are no ends it does nothing.
func ExpTop(be *Backend, x []float32, ends []int) {
	if len(ends) == 0 {
		return
	}
	for row := range slices.Chunk(x, ends[len(ends)-1]) {
		begin := 0
		for _, end := range ends {
			seg := row[begin:end]
			begin = end
			top := slices.Max(seg)
			for i := range seg {
				seg[i] -= top
			}
		}
	}
	// Whole vectors: the kernels' exp and plain Go's differ by rounding.
	if n := (len(x) + 15) &^ 15; n <= cap(x) {
		x = x[:n]
	}
	kernelsOf(be).exp(x, x)
}

// Gather copies rows of table [n,dim] to dst: row i of dst begins at
// dst[i*stride] and is table's row tokens[i*step]. A token of -1 is a row of
// zeros.
func Gather(dst []float32, stride int, table []float32, dim int, tokens []int32, step int) {
	for i, t := 0, 0; t < len(tokens); i, t = i+1, t+step {
		row := dst[i*stride:][:dim]
		if k := int(tokens[t]); k >= 0 {
			copy(row, table[k*dim:][:dim])
		} else {
			clear(row)
		}
	}
}

// ScatterAdd is Gather's way back: it adds row i of d to grad's row
// tokens[i*step], and leaves out tokens of -1.
func ScatterAdd(grad []float32, dim int, d []float32, stride int, tokens []int32, step int) {
	for i, t := 0, 0; t < len(tokens); i, t = i+1, t+step {
		if k := int(tokens[t]); k >= 0 {
			row := grad[k*dim:][:dim]
			for c, v := range d[i*stride:][:dim] {
				row[c] += v
			}
		}
	}
}
