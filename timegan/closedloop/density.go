package closedloop

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// With Config.Density numbers have a density in place of classes: of a head's
// logits only two numbers are free, η₁ and η₂, which are what a normal
// distribution cut off at the range of what was recorded has,
//
//	log p(u) = η₁·u + η₂·u² - log Z,  u = -1 … 1 over the range
//
// on a grid of gridCells. The network's last layer, and the rows that earlier heads
// add to a head's logits, are kept on that plane by projecting their gradients and,
// after every update, themselves. Levels of quality stay classes, which they are.
const gridCells = 48

// grid is cells of equal width over the range of x, less a thousandth at either
// end, whose values count as of the outermost cells.
func grid(x []float64) (*seq.Bins, error) {
	v := slices.Sorted(slices.Values(x))
	lo, hi := telemetry.Quantile(v, .001), telemetry.Quantile(v, .999)
	if !(hi > lo) {
		return seq.NewBins(x, gridCells)
	}
	b := &seq.Bins{Inside: 1}
	for i := range gridCells {
		at := func(i int) float64 { return lo + (hi-lo)*float64(i)/gridCells }
		b.Knots, b.Shares = append(b.Knots, at(i), at(i+1)), append(b.Shares, 1./gridCells)
	}
	return b, nil
}

// plane are two orthonormal vectors of size numbers that u and u² span, once their
// means, to which a softmax is blind, are taken off.
func plane(size int) (q [2][]float64) {
	for i := range q {
		q[i] = make([]float64, size)
		mean, norm, along := 0., 0., 0.
		for c := range q[i] {
			u := (2*float64(c)+1)/float64(size) - 1
			q[i][c] = math.Pow(u, float64(i+1))
			mean += q[i][c] / float64(size)
		}
		for c := range q[i] {
			if q[i][c] -= mean; i > 0 {
				along += q[i][c] * q[0][c]
			}
		}
		for c := range q[i] {
			q[i][c] -= along * q[0][c]
			norm += q[i][c] * q[i][c]
		}
		for c := range q[i] {
			q[i][c] /= math.Sqrt(norm)
		}
	}
	return q
}

// onPlane replaces x, whose numbers lie step apart from the first on, by the
// nearest point of a plane.
func onPlane[T float32 | float64](q [2][]float64, x []T, step int) {
	var along [2]float64
	for i := range q {
		for c, v := range q[i] {
			along[i] += v * float64(x[c*step])
		}
	}
	for c := range q[0] {
		x[c*step] = T(along[0]*q[0][c] + along[1]*q[1][c])
	}
}

// dense reports whether head h has a density.
func (k *codec) dense(h int) bool {
	b := k.Heads[h].Bins
	return k.Density && b != nil && b.Inside == 1 && b.Len() > 2
}

// project puts what data [groups of seq.Parts] holds of dense heads on their planes:
// the network's parameters or their gradients.
func (k *codec) project(net *seq.Model, data [][]float32) {
	if !k.Density {
		return
	}
	parts, lead := net.Parts(), k.lead()
	head := slices.IndexFunc(parts.Groups, func(g seq.Group) bool { return g.Name == "head." })
	for h := range k.Heads {
		if !k.dense(h) {
			continue
		}
		size := k.size(h)
		q, first, at := plane(size), parts.Ends[lead+h]-size, 0
		for _, v := range parts.Groups[head].Views { // of one layer: W [out,in] and b [out]
			in := 1
			if len(v.Shape) == 2 {
				in = v.Shape[1]
			}
			for i := range in {
				onPlane(q, data[head][at+first*in+i:], in)
			}
			at += len(v.Data)
		}
		for _, t := range parts.Given[lead+h] {
			for row := range slices.Chunk(data[head+1+t], size) {
				onPlane(q, row, 1)
			}
		}
	}
}

// projectWeights is project of net's parameters.
func (k *codec) projectWeights(net *seq.Model) {
	var data [][]float32
	for _, g := range net.Parts().Groups {
		data = append(data, g.Data)
	}
	k.project(net, data)
}

// onPlanes is an objective whose gradients lie on the planes of densities, which
// Adam would leave else: it scales each number by its own scatter.
type onPlanes struct {
	seq.Objective
	k   *codec
	net *seq.Model
}

// openObjective is seq.Open, of a network of k.
func (k *codec) openObjective(engine string, net *seq.Model, be *compute.Backend, steps, rows int) (seq.Objective, error) {
	o, err := seq.Open(engine, net, be, steps, rows)
	if err != nil {
		return nil, fmt.Errorf("closedloop: %w", err)
	}
	if k.Density {
		o = &onPlanes{o, k, net}
	}
	return o, nil
}

func (o *onPlanes) Losses(b *seq.Batch) ([]float64, error) {
	losses, err := o.Objective.Losses(b)
	o.k.project(o.net, o.Gradients())
	return losses, err
}

func (o *onPlanes) Close() error { return seq.Close(o.Objective) }

// spread begins a new network's densities with what all seconds have, by mean and
// deviation.
func (k *codec) spread(net *seq.Model) {
	parts := net.Parts()
	for _, v := range parts.Head.Params().Views {
		for h := range k.Heads {
			if len(v.Shape) != 1 || !k.dense(h) {
				continue
			}
			size, col := k.size(h), &k.Columns[k.Heads[h].Column]
			b := v.Data[parts.Ends[k.lead()+h]-size:][:size]
			for c := range b {
				lo, hi := k.Heads[h].Bins.Range(int32(c))
				z := ((lo+hi)/2 - col.Mean) / col.SD
				b[c] = float32(-z * z / 2)
			}
		}
	}
}
