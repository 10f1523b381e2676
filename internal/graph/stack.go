package graph

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/planegym/planegym/internal/nn"
)

// application is one use of a network in a graph: nn's fused GRU stack as an
// operation on its parameters and the parts of its input, which are put beside
// each other. The pass forward keeps what the pass back consumes, so each use
// of a network has an application of its own, and its number is part of the
// operation's hash: two uses of equal input must not become one node.
type application struct {
	number int
	net    *nn.GRU
	run    *nn.GRURun
	widths []int     // of the parts
	start  []float32 // [L,B,H], nil is 0
	steps  int
	rows   int
	learns bool      // the parameters' gradient is wanted
	passes int       // the gradient of so many of the first parts is wanted
	x      []float32 // [T,B,in]
}

// input is the length of the input.
func (a *application) input() int { return a.steps * a.rows * a.net.In }

func (a *application) outShape() tensor.Shape { return tensor.Shape{a.steps, a.rows, a.net.Width()} }

// packed is the length of the gradient: parameters first, then input, each if
// it is wanted.
func (a *application) packed() int {
	n := 0
	if a.learns {
		n += len(a.net.Params().Data)
	}
	if a.passes > 0 {
		n += a.input()
	}
	return n
}

var (
	cube   = G.TensorType{Dims: 3, Of: tensor.Float32}
	vector = G.TensorType{Dims: 1, Of: tensor.Float32}
)

// operation has what all our operations share: one output, memory of their
// own, nothing overwritten.
type operation struct{}

func (operation) ReturnsPtr() bool     { return true }
func (operation) CallsExtern() bool    { return false }
func (operation) OverwritesInput() int { return -1 }

func hashOf(op fmt.Stringer) uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, op.String())
	return h.Sum32()
}

// floats are the numbers of a value, which must not be a strided view.
func floats(v G.Value) ([]float32, error) {
	d, ok := v.(*tensor.Dense)
	if !ok || d.Dtype() != tensor.Float32 {
		return nil, fmt.Errorf("graph: a %T of %v is not a float32 tensor", v, v.Dtype())
	}
	if d.RequiresIterator() || !d.DataOrder().IsContiguous() {
		return nil, fmt.Errorf("graph: a strided view of shape %v", d.Shape())
	}
	return d.Float32s(), nil
}

// output is where an operation leaves its value: memory of its own,
// because the machine's pool would hand out new memory every time.
type output struct{ *tensor.Dense }

func newOutput(shape tensor.Shape) output {
	return output{tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(shape...))}
}

// forward is the pass forward: parameters, parts → output [T,B,width].
type forward struct {
	operation
	output
	*application
}

// apply is the node of a's pass forward.
func (a *application) apply(theta *G.Node, parts ...*G.Node) (*G.Node, error) {
	f := forward{output: newOutput(a.outShape()), application: a}
	return G.ApplyOp(f, append(G.Nodes{theta}, parts...)...)
}

func (f forward) Arity() int { return 1 + len(f.widths) }

func (f forward) Type() hm.Type {
	t := []hm.Type{vector}
	for range f.widths {
		t = append(t, cube)
	}
	return hm.NewFnType(append(t, cube)...)
}

func (f forward) InferShape(...G.DimSizer) (tensor.Shape, error) { return f.outShape(), nil }

func (f forward) Do(in ...G.Value) (G.Value, error) {
	if f.x == nil {
		f.x = make([]float32, f.input())
	}
	at := 0
	for i, v := range in[1:] {
		part, err := floats(v)
		if err != nil {
			return nil, err
		}
		w := f.widths[i]
		for row := range f.steps * f.rows {
			copy(f.x[row*f.net.In+at:][:w], part[row*w:])
		}
		at += w
	}
	f.run.Forward(f.x, f.start, f.Float32s())
	return f.Dense, nil
}

func (f forward) DiffWRT(n int) []bool {
	wrt := make([]bool, n)
	for i := range wrt {
		wrt[i] = i == 0 && f.learns || 0 < i && i <= f.passes
	}
	return wrt
}

// SymDiff is one operation for all gradients, and one each to take its part.
// The output is among its inputs for the order: forward comes first.
func (f forward) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	packed, err := G.ApplyOp(backward{output: newOutput(tensor.Shape{f.packed()}), application: f.application}, out, grad)
	if err != nil {
		return nil, err
	}
	grads := make(G.Nodes, len(in))
	from := 0
	if f.learns {
		from = len(f.net.Params().Data)
		if grads[0], err = taken(packed, 0, from, from, from); err != nil {
			return nil, err
		}
	}
	for i, w := range f.widths[:f.passes] {
		if grads[1+i], err = taken(packed, from, f.net.In, w, f.steps, f.rows, w); err != nil {
			return nil, err
		}
		from += w
	}
	return grads, nil
}

func (f forward) WriteHash(h hash.Hash) { fmt.Fprint(h, f.String()) }
func (f forward) Hashcode() uint32      { return hashOf(f) }
func (f forward) String() string        { return fmt.Sprintf("gru%d", f.number) }

// backward is the pass back: output, its gradient → packed gradients.
type backward struct {
	operation
	output
	*application
}

func (backward) Arity() int { return 2 }

func (backward) Type() hm.Type { return hm.NewFnType(cube, cube, vector) }

func (b backward) InferShape(...G.DimSizer) (tensor.Shape, error) {
	return tensor.Shape{b.packed()}, nil
}

func (b backward) Do(in ...G.Value) (G.Value, error) {
	dy, err := floats(in[1])
	if err != nil {
		return nil, err
	}
	packed := b.Float32s()
	var grad, dx []float32
	if b.learns {
		grad = packed[:len(b.net.Params().Data)]
		clear(grad)
	}
	if b.passes > 0 {
		dx = packed[len(grad):]
	}
	b.run.Backward(dy, dx, grad)
	return b.Dense, nil
}

func (b backward) WriteHash(h hash.Hash) { fmt.Fprint(h, b.String()) }
func (b backward) Hashcode() uint32      { return hashOf(b) }
func (b backward) String() string        { return fmt.Sprintf("gru%dback", b.number) }

// take copies width columns of the rows of a vector, of the given stride.
type take struct {
	operation
	output
	from, stride, width int
}

func taken(packed *G.Node, from, stride, width int, shape ...int) (*G.Node, error) {
	return G.ApplyOp(take{output: newOutput(shape), from: from, stride: stride, width: width}, packed)
}

func (take) Arity() int { return 1 }

func (t take) Type() hm.Type {
	if t.Dims() == 1 {
		return hm.NewFnType(vector, vector)
	}
	return hm.NewFnType(vector, cube)
}

func (t take) InferShape(...G.DimSizer) (tensor.Shape, error) { return t.Shape().Clone(), nil }

func (t take) Do(in ...G.Value) (G.Value, error) {
	src, err := floats(in[0])
	if err != nil {
		return nil, err
	}
	dst := t.Float32s()
	for row := range len(dst) / t.width {
		copy(dst[row*t.width:][:t.width], src[t.from+row*t.stride:])
	}
	return t.Dense, nil
}

func (t take) WriteHash(h hash.Hash) { fmt.Fprint(h, t.String()) }
func (t take) Hashcode() uint32      { return hashOf(t) }
func (t take) String() string {
	return fmt.Sprintf("take(%d,%d,%d,%v)", t.from, t.stride, t.width, t.Shape())
}
