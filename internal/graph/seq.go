package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
)

// RegisterSeq makes the engine "graph" known to package seq: the loss of a
// sequence model as an expression, its gradient left to Gorgonia. It trains as
// the one by hand does, to rounding, several times slower.
func RegisterSeq() {
	seq.Register("graph", func(m *seq.Model, be *compute.Backend, steps, rows int) (seq.Objective, error) {
		return NewSeq(m, be, steps, rows)
	}, nil)
}

// sequence is the graph of a sequence model's loss, causal or bidirectional:
//
//	x = embeddings ⊕ numbers;  h = GRU(x), ⊕ P·GRU'(P·x);  y = head(h) + Σ given
//	L = Σ_cells w · (logsumexp of the cell's logits - the logit of its class)
//
// P reverses each row within its length.
type sequence struct {
	m       *seq.Model
	n       int // T·B
	program *program
	grads   [][]float32
	dense   []float32
	mirror  []float32   // P, [N,N]; nil of a causal model
	tokens  [][]float32 // by embedding: one-hot [N,Size]
	values  [][]float32 // by head that others are given: one-hot [N,Size]
	weights []float32   // [1,N,heads], w over the number of steps that count
	chosen  []float32   // [1,N,Width], the same at the cells' classes
	y, lse  G.Value
	losses  []float64
}

// NewSeq is the objective of batches of steps×rows.
func NewSeq(m *seq.Model, be *compute.Backend, steps, rows int) (seq.Objective, error) {
	parts := m.Parts()
	n := steps * rows
	s := &sequence{m: m, n: n, dense: make([]float32, n*m.Dense), weights: make([]float32, n*len(m.Heads)), chosen: make([]float32, n*m.Width()), losses: make([]float64, len(m.Heads))}
	s.grads = append(s.grads, make([]float32, len(parts.GRU.Params().Data)))
	if parts.Back != nil {
		s.grads = append(s.grads, make([]float32, len(parts.Back.Params().Data)))
		s.mirror = make([]float32, n*n)
	}
	s.grads = append(s.grads, make([]float32, len(parts.Head.Params().Data)))
	for _, t := range parts.Tables {
		s.grads = append(s.grads, make([]float32, len(t)))
	}
	var err error
	s.program, err = compile(func(g *G.ExprGraph, p *program) { s.build(g, p, be, parts, steps, rows) })
	return s, err
}

func (s *sequence) build(g *G.ExprGraph, p *program, be *compute.Backend, parts seq.Parts, steps, rows int) {
	m, n := s.m, s.n
	var wrt G.Nodes
	var into [][]float32
	learn := func(name string, data, grad []float32, shape ...int) *G.Node {
		node := feed(g, name, data, shape...)
		wrt, into = append(wrt, node), append(into, grad)
		return node
	}
	var x G.Nodes
	first := len(s.grads) - len(parts.Tables) // of the tables' gradients
	a := &application{number: 1, net: parts.GRU, run: parts.GRU.NewRun(be, steps, rows), steps: steps, rows: rows, learns: true, passes: len(m.Embeddings)}
	for i, e := range m.Embeddings {
		s.tokens = append(s.tokens, make([]float32, n*e.Size))
		one := feed(g, "token "+e.Name, s.tokens[i], n, e.Size)
		table := learn("embedding "+e.Name, parts.Tables[i], s.grads[first+i], e.Size, e.Dim)
		x = append(x, must(G.Reshape(must(G.Mul(one, table)), tensor.Shape{steps, rows, e.Dim})))
		a.widths = append(a.widths, e.Dim)
	}
	if m.Dense > 0 {
		x, a.widths = append(x, feed(g, "numbers", s.dense, steps, rows, m.Dense)), append(a.widths, m.Dense)
	}
	theta := learn("θ", parts.GRU.Params().Data, s.grads[0], len(s.grads[0]))
	y := must(G.Reshape(must(a.apply(theta, x...)), tensor.Shape{n, m.Hidden}))
	if parts.Back != nil {
		y = s.both(g, y, x, a, be, parts, learn)
	}
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	column := feed(g, "1", ones, n, 1)
	at := 0
	for l, in := range parts.Head.Sizes[:len(parts.Head.Sizes)-1] {
		out := parts.Head.Sizes[l+1]
		w := learn(fmt.Sprint("W", l), parts.Head.Params().Data[at:][:out*in], s.grads[first-1][at:][:out*in], out, in)
		at += out * in
		b := learn(fmt.Sprint("b", l), parts.Head.Params().Data[at:][:out], s.grads[first-1][at:][:out], 1, out)
		at += out
		y = must(G.Add(must(G.Mul(y, must(G.Transpose(w, 1, 0)))), must(G.Mul(column, b))))
		if l < len(parts.Head.Sizes)-2 {
			y = must(G.Tanh(y))
		}
	}
	s.values = make([][]float32, len(m.Heads))
	known := make(G.Nodes, len(m.Heads))
	for h, head := range m.Heads {
		place := make([]float32, head.Size*m.Width())
		for c := range head.Size {
			place[c*m.Width()+parts.Ends[h]-head.Size+c] = 1
		}
		for k, q := range head.Given {
			size := m.Heads[q].Size
			if s.values[q] == nil {
				s.values[q] = make([]float32, n*size)
				known[q] = feed(g, "value "+m.Heads[q].Name, s.values[q], n, size)
			}
			i := parts.Given[h][k]
			table := learn(fmt.Sprintf("%s given %s", head.Name, m.Heads[q].Name), parts.Tables[i], s.grads[first+i], size, head.Size)
			added := must(G.Mul(must(G.Mul(known[q], table)), feed(g, fmt.Sprintf("place %d %d", h, q), place, head.Size, m.Width())))
			y = must(G.Add(y, added))
		}
	}
	logits := must(G.Reshape(y, tensor.Shape{1, n, m.Width()}))
	segments := &valueObjective{u: &agent.Minibatch{}, total: m.Width()}
	for h, head := range m.Heads {
		segments.heads = append(segments.heads, parts.Ends[h]-head.Size)
		segments.u.Spaces.Actions = append(segments.u.Spaces.Actions, head.Size)
	}
	lse := must(segments.logSumExp(logits))
	cost := must(G.Sub(must(Dot(lse, feed(g, "w", s.weights, 1, n, len(m.Heads)))), must(Dot(logits, feed(g, "chosen", s.chosen, 1, n, m.Width())))))
	G.Read(logits, &s.y)
	G.Read(lse, &s.lse)
	p.report("L", cost)
	p.differentiate(cost, wrt, into...)
}

// both puts the states of the pass from the end beside those of the one from
// the beginning, [N,2H].
func (s *sequence) both(g *G.ExprGraph, y *G.Node, x G.Nodes, a *application, be *compute.Backend, parts seq.Parts, learn func(string, []float32, []float32, ...int) *G.Node) *G.Node {
	n, hid := s.n, s.m.Hidden
	mirror := feed(g, "mirror", s.mirror, n, n)
	turn := func(v *G.Node, dim int) *G.Node {
		return must(G.Mul(mirror, must(G.Reshape(v, tensor.Shape{n, dim}))))
	}
	var turned G.Nodes
	for i, v := range x {
		turned = append(turned, must(G.Reshape(turn(v, a.widths[i]), tensor.Shape{a.steps, a.rows, a.widths[i]})))
	}
	back := &application{number: 2, net: parts.Back, run: parts.Back.NewRun(be, a.steps, a.rows), steps: a.steps, rows: a.rows, learns: true, passes: a.passes, widths: a.widths}
	theta := learn("θ from the end", parts.Back.Params().Data, s.grads[1], len(s.grads[1]))
	h := turn(must(back.apply(theta, turned...)), hid)
	left, right := make([]float32, hid*2*hid), make([]float32, hid*2*hid)
	for i := range hid {
		left[i*2*hid+i], right[i*2*hid+hid+i] = 1, 1
	}
	return must(G.Add(must(G.Mul(y, feed(g, "left", left, hid, 2*hid))), must(G.Mul(h, feed(g, "right", right, hid, 2*hid)))))
}

// Losses is seq.Objective's.
func (s *sequence) Losses(b *seq.Batch) ([]float64, error) {
	m, heads := s.m, len(s.m.Heads)
	if b.Steps*b.Rows != s.n {
		return nil, fmt.Errorf("graph: a batch of %d×%d, the graph is of %d", b.Steps, b.Rows, s.n)
	}
	copy(s.dense, b.Dense)
	if s.mirror != nil {
		clear(s.mirror)
		for row := range b.Rows {
			length := b.Steps
			if b.Length != nil {
				length = int(b.Length[row])
			}
			for t := range b.Steps {
				from := t
				if t < length {
					from = length - 1 - t
				}
				s.mirror[(t*b.Rows+row)*s.n+from*b.Rows+row] = 1
			}
		}
	}
	for i, e := range m.Embeddings {
		oneHot(s.tokens[i], b.Tokens[i:], len(m.Embeddings), e.Size)
	}
	for h, head := range m.Heads {
		if s.values[h] != nil {
			oneHot(s.values[h], b.Values[h:], heads, head.Size)
		}
	}
	weight := func(i int) float32 {
		switch {
		case b.Values[i] < 0:
			return 0
		case b.Weight == nil:
			return 1
		}
		return b.Weight[i]
	}
	steps := 0
	for i := range s.n {
		for h := range heads {
			if weight(i*heads+h) != 0 {
				steps++
				break
			}
		}
	}
	clear(s.chosen)
	parts := m.Parts()
	place := func(i int) int {
		h := i % heads
		return i/heads*m.Width() + parts.Ends[h] - m.Heads[h].Size + int(b.Values[i])
	}
	for i := range s.weights {
		s.weights[i] = weight(i) / float32(max(steps, 1))
		if s.weights[i] != 0 {
			s.chosen[place(i)] = s.weights[i]
		}
	}
	for _, g := range s.grads {
		clear(g)
	}
	if err := s.program.run(); err != nil {
		return nil, err
	}
	s.program.learn()
	y, err := floats(s.y)
	if err != nil {
		return nil, err
	}
	lse, err := floats(s.lse)
	if err != nil {
		return nil, err
	}
	clear(s.losses)
	for i, w := range s.weights {
		if w != 0 {
			s.losses[i%heads] += float64(w) * float64(lse[i]-y[place(i)])
		}
	}
	return s.losses, nil
}

// oneHot writes every step-th of classes as rows of size, -1 as zeros.
func oneHot(to []float32, classes []int32, step, size int) {
	clear(to)
	for i, t := 0, 0; t < len(classes); i, t = i+1, t+step {
		if c := classes[t]; c >= 0 {
			to[i*size+int(c)] = 1
		}
	}
}

// Gradients is seq.Objective's.
func (s *sequence) Gradients() [][]float32 { return s.grads }
