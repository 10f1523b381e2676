package graph

import (
	"fmt"
	"hash"

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
	name           string
	in, out        tensor.Shape
	apply, adjoint func(dst, src []float32) // set dst, which holds anything
}

// Apply is the node l(x).
func (l Linear) Apply(x *G.Node) (*G.Node, error) { return G.ApplyOp(l, x) }

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

func (l Linear) Do(in ...G.Value) (G.Value, error) { return l.UsePreallocDo(nil, in...) }

// UsePreallocDo is Do into memory that the machine offers.
func (l Linear) UsePreallocDo(prealloc G.Value, in ...G.Value) (G.Value, error) {
	src, err := floats(in[0])
	if err != nil {
		return nil, err
	}
	out := into(prealloc, l.out)
	l.apply(out.Float32s(), src)
	return out, nil
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
	a, err := floats(in[0])
	if err != nil {
		return nil, err
	}
	b, err := floats(in[1])
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
