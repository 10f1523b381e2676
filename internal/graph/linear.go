package graph

import (
	"fmt"
	"hash"
	"math"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Linear is a linear map of a [T,B,F] node as an operation of the graph, known
// by what it does and by its adjoint, which is all that its derivative needs.
// It copies: Gorgonia's own slices are views, whose memory may be used again
// while they live.
type Linear struct {
	operation
	output
	name           string
	in, out        tensor.Shape
	apply, adjoint func(dst, src []float32) // set dst, which holds anything
}

// Apply is the node l(x).
func (l Linear) Apply(x *G.Node) (*G.Node, error) {
	l.output = newOutput(l.out)
	return G.ApplyOp(l, x)
}

func (Linear) Arity() int { return 1 }

func (Linear) Type() hm.Type { return hm.NewFnType(cube, cube) }

func (l Linear) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shapes, err := G.DimSizersToShapes(in)
	if err != nil {
		return nil, err
	}
	if !shapes[0].Eq(l.in) {
		return nil, fmt.Errorf("graph: %s of shape %v, want %v", l.name, shapes[0], l.in)
	}
	return l.out.Clone(), nil
}

func (l Linear) Do(in ...G.Value) (G.Value, error) {
	src, err := floats(in[0])
	if err != nil {
		return nil, err
	}
	l.apply(l.Float32s(), src)
	return l.Dense, nil
}

func (Linear) DiffWRT(int) []bool { return []bool{true} }

// SymDiff is the adjoint of the gradient.
func (l Linear) SymDiff(_ G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	back := Linear{name: l.name + "ᵀ", in: l.out, out: l.in, apply: l.adjoint, adjoint: l.apply}
	d, err := back.Apply(grad)
	return G.Nodes{d}, err
}

func (l Linear) WriteHash(h hash.Hash) { fmt.Fprint(h, l.String()) }
func (l Linear) Hashcode() uint32      { return hashOf(l) }
func (l Linear) String() string        { return fmt.Sprintf("%s%v", l.name, l.in) }

// Steps is seconds from…to-1 of x [T,B,F].
func Steps(x *G.Node, from, to int) (*G.Node, error) {
	s := x.Shape()
	if s.Dims() != 3 || from < 0 || from >= to || to > s[0] {
		return nil, fmt.Errorf("graph: steps %d to %d of shape %v", from, to, s)
	}
	n := s[1] * s[2]
	return Linear{
		name: fmt.Sprintf("steps(%d,%d)", from, to), in: s.Clone(), out: tensor.Shape{to - from, s[1], s[2]},
		apply:   func(dst, src []float32) { copy(dst, src[from*n:]) },
		adjoint: func(dst, src []float32) { clear(dst); copy(dst[from*n:], src) },
	}.Apply(x)
}

// Changes is x[1:] - x[:T-1], [T-1,B,F].
func Changes(x *G.Node) (*G.Node, error) {
	later, err := Steps(x, 1, x.Shape()[0])
	if err != nil {
		return nil, err
	}
	earlier, err := Steps(x, 0, x.Shape()[0]-1)
	if err != nil {
		return nil, err
	}
	return G.Sub(later, earlier)
}

// Flat is x [T,B,F] as one second of T·B rows, [1,T·B,F]: with it BatchMean
// and Centred go over all seconds.
func Flat(x *G.Node) (*G.Node, error) {
	s := x.Shape()
	if s.Dims() != 3 {
		return nil, fmt.Errorf("graph: flat of shape %v", s)
	}
	whole := func(dst, src []float32) { copy(dst, src) }
	return Linear{name: "flat", in: s.Clone(), out: tensor.Shape{1, s[0] * s[1], s[2]}, apply: whole, adjoint: whole}.Apply(x)
}

// Spread repeats x [1,1,F] over the given seconds and rows.
func Spread(x *G.Node, steps, rows int) (*G.Node, error) {
	s := x.Shape()
	if s.Dims() != 3 || s[0] != 1 || s[1] != 1 {
		return nil, fmt.Errorf("graph: spread of shape %v", s)
	}
	f := s[2]
	return Linear{
		name: fmt.Sprintf("spread(%d,%d)", steps, rows), in: s.Clone(), out: tensor.Shape{steps, rows, f},
		apply: func(dst, src []float32) {
			for row := 0; row < len(dst); row += f {
				copy(dst[row:], src)
			}
		},
		adjoint: func(dst, src []float32) {
			for k := range dst {
				sum := 0.
				for i := k; i < len(src); i += f {
					sum += float64(src[i])
				}
				dst[k] = float32(sum)
			}
		},
	}.Apply(x)
}

// BatchMean is the mean of x [T,B,F] over the batch, [T,1,F].
func BatchMean(x *G.Node) (*G.Node, error) {
	s := x.Shape()
	if s.Dims() != 3 {
		return nil, fmt.Errorf("graph: batch mean of shape %v", s)
	}
	b, f := s[1], s[2]
	sums := make([]float64, f)
	return Linear{
		name: "batchmean", in: s.Clone(), out: tensor.Shape{s[0], 1, f},
		apply: func(dst, src []float32) {
			for t := range len(dst) / f {
				means(sums, src[t*b*f:][:b*f])
				for k, m := range sums {
					dst[t*f+k] = float32(m)
				}
			}
		},
		adjoint: func(dst, src []float32) {
			for row := range len(dst) / f {
				for k, v := range src[row/b*f:][:f] {
					dst[row*f+k] = v / float32(b)
				}
			}
		},
	}.Apply(x)
}

// Centred is x [T,B,F] less its mean over the batch. It is its own adjoint.
func Centred(x *G.Node) (*G.Node, error) {
	s := x.Shape()
	if s.Dims() != 3 {
		return nil, fmt.Errorf("graph: centre of shape %v", s)
	}
	n, f := s[1]*s[2], s[2]
	sums := make([]float64, f)
	centre := func(dst, src []float32) {
		for from := 0; from < len(src); from += n {
			means(sums, src[from:from+n])
			for i, v := range src[from : from+n] {
				dst[from+i] = v - float32(sums[i%f])
			}
		}
	}
	return Linear{name: "centred", in: s.Clone(), out: s.Clone(), apply: centre, adjoint: centre}.Apply(x)
}

// means sets m [F] to the means of x [B,F].
func means(m []float64, x []float32) {
	clear(m)
	for row := 0; row < len(x); row += len(m) {
		for k := range m {
			m[k] += float64(x[row+k])
		}
	}
	for k := range m {
		m[k] *= float64(len(m)) / float64(len(x))
	}
}

// two are the numbers of the first two inputs.
func two(in []G.Value) (a, b []float32, err error) {
	if a, err = floats(in[0]); err == nil {
		b, err = floats(in[1])
	}
	return a, b, err
}

// dot is Σ a·b over all elements, summed in float64, a scalar.
type dot struct{ operation }

// Dot is the scalar Σ a·b of two nodes of one shape, summed in float64.
func Dot(a, b *G.Node) (*G.Node, error) { return G.ApplyOp(dot{}, a, b) }

func (dot) Arity() int { return 2 }

func (dot) Type() hm.Type { return hm.NewFnType(cube, cube, tensor.Float32) }

func (dot) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shapes, err := G.DimSizersToShapes(in)
	if err != nil {
		return nil, err
	}
	if !shapes[0].Eq(shapes[1]) {
		return nil, fmt.Errorf("graph: dot of shapes %v and %v", shapes[0], shapes[1])
	}
	return tensor.ScalarShape(), nil
}

func (dot) Do(in ...G.Value) (G.Value, error) {
	a, b, err := two(in)
	if err != nil {
		return nil, err
	}
	sum := 0.
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return G.NewF32(float32(sum)), nil
}

func (dot) DiffWRT(int) []bool { return []bool{true, true} }

func (dot) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	a, err := G.HadamardProd(in[1], grad)
	if err != nil {
		return nil, err
	}
	b, err := G.HadamardProd(in[0], grad)
	return G.Nodes{a, b}, err
}

func (d dot) WriteHash(h hash.Hash) { fmt.Fprint(h, d.String()) }
func (d dot) Hashcode() uint32      { return hashOf(d) }
func (dot) String() string          { return "dot" }

// squares is Σ w·ℓ(x), ℓ being x² or Huber's.
type squares struct {
	operation
	huber bool
}

// Squares is the scalar Σ w·x² of x and w [T,B,F], summed in float64: one
// pass forward and one back. w is data: it has no gradient.
func Squares(x, w *G.Node) (*G.Node, error) { return G.ApplyOp(squares{}, x, w) }

// Huber is as Squares with Huber's loss (1964): ½x², beyond ±1 |x| - ½.
func Huber(x, w *G.Node) (*G.Node, error) { return G.ApplyOp(squares{huber: true}, x, w) }

func (squares) Arity() int { return 2 }

func (squares) Type() hm.Type { return hm.NewFnType(cube, cube, tensor.Float32) }

func (squares) InferShape(in ...G.DimSizer) (tensor.Shape, error) { return dot{}.InferShape(in...) }

func (q squares) Do(in ...G.Value) (G.Value, error) {
	x, w, err := two(in)
	if err != nil {
		return nil, err
	}
	sum := 0.
	for i, v := range x {
		l := float64(v) * float64(v)
		if q.huber {
			if l /= 2; l > .5 {
				l = math.Abs(float64(v)) - .5
			}
		}
		sum += float64(w[i]) * l
	}
	return G.NewF32(float32(sum)), nil
}

func (squares) DiffWRT(int) []bool { return []bool{true, false} }

func (q squares) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	d, err := G.ApplyOp(squaresBack{output: newOutput(in[0].Shape()), huber: q.huber}, in[0], in[1], grad)
	return G.Nodes{d, nil}, err
}

func (q squares) WriteHash(h hash.Hash) { fmt.Fprint(h, q.String()) }
func (q squares) Hashcode() uint32      { return hashOf(q) }
func (q squares) String() string        { return fmt.Sprintf("squares(%v)", q.huber) }

// squaresBack is g·w·ℓ'(x): 2x, or x within ±1.
type squaresBack struct {
	operation
	output
	huber bool
}

func (squaresBack) Arity() int { return 3 }

func (squaresBack) Type() hm.Type { return hm.NewFnType(cube, cube, tensor.Float32, cube) }

func (q squaresBack) InferShape(...G.DimSizer) (tensor.Shape, error) { return q.Shape().Clone(), nil }

func (q squaresBack) Do(in ...G.Value) (G.Value, error) {
	x, w, err := two(in)
	if err != nil {
		return nil, err
	}
	g, ok := in[2].Data().(float32)
	if !ok {
		return nil, fmt.Errorf("graph: a gradient %v is not a scalar of float32", in[2])
	}
	d := q.Float32s()
	for i, v := range x {
		slope := 2 * v
		if q.huber {
			slope = min(max(v, -1), 1)
		}
		d[i] = g * w[i] * slope
	}
	return q.Dense, nil
}

func (q squaresBack) WriteHash(h hash.Hash) { fmt.Fprint(h, q.String()) }
func (q squaresBack) Hashcode() uint32      { return hashOf(q) }
func (q squaresBack) String() string        { return fmt.Sprintf("squaresback(%v)", q.huber) }

// outer is Σ over seconds and rows of a bᵀ.
type outer struct {
	operation
	output
}

// Outer is the products of channels of a and b [T,B,F], [1,F,F]: element i, j
// is Σ a_i·b_j over all seconds and rows.
func Outer(a, b *G.Node) (*G.Node, error) {
	s := a.Shape()
	if s.Dims() != 3 {
		return nil, fmt.Errorf("graph: outer of shape %v", s)
	}
	return G.ApplyOp(outer{output: newOutput(tensor.Shape{1, s[2], s[2]})}, a, b)
}

func (outer) Arity() int { return 2 }

func (outer) Type() hm.Type { return hm.NewFnType(cube, cube, cube) }

func (o outer) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shapes, err := G.DimSizersToShapes(in)
	if err != nil {
		return nil, err
	}
	if !shapes[0].Eq(shapes[1]) {
		return nil, fmt.Errorf("graph: outer of shapes %v and %v", shapes[0], shapes[1])
	}
	return o.Shape().Clone(), nil
}

func (o outer) Do(in ...G.Value) (G.Value, error) {
	a, b, err := two(in)
	if err != nil {
		return nil, err
	}
	f := in[0].Shape()[2]
	p := o.Float32s()
	clear(p)
	for row := 0; row < len(a); row += f {
		u, v := a[row:][:f], b[row:][:f]
		for i, x := range u {
			for j, y := range v {
				p[i*f+j] += x * y
			}
		}
	}
	return o.Dense, nil
}

func (outer) DiffWRT(int) []bool { return []bool{true, true} }

// SymDiff: with M the gradient, da = M b and db = Mᵀ a.
func (outer) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	a, err := G.ApplyOp(mix{output: newOutput(in[1].Shape())}, grad, in[1])
	if err != nil {
		return nil, err
	}
	b, err := G.ApplyOp(mix{output: newOutput(in[0].Shape()), transposed: true}, grad, in[0])
	return G.Nodes{a, b}, err
}

func (o outer) WriteHash(h hash.Hash) { fmt.Fprint(h, o.String()) }
func (o outer) Hashcode() uint32      { return hashOf(o) }
func (outer) String() string          { return "outer" }

// mix is M x for every second and row of x [T,B,F], M [1,F,F].
type mix struct {
	operation
	output
	transposed bool
}

func (mix) Arity() int { return 2 }

func (mix) Type() hm.Type { return hm.NewFnType(cube, cube, cube) }

func (mix) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shapes, err := G.DimSizersToShapes(in)
	if err != nil {
		return nil, err
	}
	return shapes[1].Clone(), nil
}

func (m mix) Do(in ...G.Value) (G.Value, error) {
	matrix, x, err := two(in)
	if err != nil {
		return nil, err
	}
	f := in[1].Shape()[2]
	di, dj := f, 1
	if m.transposed {
		di, dj = 1, f
	}
	y := m.Float32s()
	for row := 0; row < len(x); row += f {
		for i := range f {
			var sum float32
			for j, v := range x[row:][:f] {
				sum += matrix[i*di+j*dj] * v
			}
			y[row+i] = sum
		}
	}
	return m.Dense, nil
}

func (m mix) WriteHash(h hash.Hash) { fmt.Fprint(h, m.String()) }
func (m mix) Hashcode() uint32      { return hashOf(m) }
func (m mix) String() string        { return fmt.Sprintf("mix(%v)", m.transposed) }
