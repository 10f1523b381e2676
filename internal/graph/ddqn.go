package graph

import (
	"fmt"
	"hash"
	"math"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/internal/nn"
)

// Values are what a loss of DDQN may look at, for a batch of B transitions.
// Only the first two have a gradient.
type Values struct {
	Q      *G.Node // [1,B,A], Q(S, ·; θ), the heads' actions side by side
	Taken  *G.Node // [1,B,S], Q_s(S, A_s; θ)
	Target *G.Node // [1,B,S], y, the same for every head
}

// ValueTerm is one more loss for DDQN, a scalar of float32 that counts as it
// is: weigh it yourself. It may panic with an error, as gorgonia.Must does.
type ValueTerm func(v Values) (*G.Node, error)

// NewDDQN makes the engine that computes DDQN's loss as an expression and
// leaves its gradient to Gorgonia. terms are added to the loss. It trains as
// the agent does by hand, to rounding.
func NewDDQN(terms ...ValueTerm) agent.Learning {
	return func(u *agent.Minibatch) (agent.Learner, error) {
		o := &valueObjective{u: u}
		var err error
		o.program, err = compile(func(g *G.ExprGraph, p *program) { o.build(g, p, terms) })
		return o, err
	}
}

// valueObjective is the graph of an update: agent/ddqn.go in expressions.
type valueObjective struct {
	u       *agent.Minibatch
	program *program
	heads   []int     // where each head's actions begin in A
	total   int       // A
	chosen  []float32 // [1,B,A], 1 at the actions taken
	weights []float32 // [1,B,S], w/(B·S)
	y, far  G.Value   // [1,B,S], the target, and its distance
	count   int       // applications
}

// Learn is agent.Learner's.
func (o *valueObjective) Learn() (float64, error) {
	u, s := o.u, len(o.heads)
	clear(o.chosen)
	for i, a := range u.Actions {
		o.chosen[i/s*o.total+o.heads[i%s]+int(a)] = 1
		o.weights[i] = u.Weights[i/s] / float32(len(u.Actions))
	}
	if err := o.program.run(); err != nil {
		return 0, err
	}
	y, err := floats(o.y)
	if err != nil {
		return 0, err
	}
	far, err := floats(o.far)
	if err != nil {
		return 0, err
	}
	for i := range u.Y {
		u.Y[i] = y[i*s]
		var sum float64
		for _, x := range far[i*s : (i+1)*s] {
			sum += math.Abs(float64(x))
		}
		u.Delta[i] = float32(sum / float64(s))
	}
	o.program.learn()
	return float64(o.program.loss("L")), nil
}

// build writes L, in the order of the paper:
//
//	y = R + γⁿ · mean_s Q_s(S', argmaxₐ Q_s(S', a; θ); θ⁻)                     equation 4
//	L = Σ w ℓ(Q_s(S, A_s; θ) - y) + α Σ (log Σₐ exp Q_s(S, a) - Q_s(S, A_s))   w and α over B·S
func (o *valueObjective) build(g *G.ExprGraph, p *program, terms []ValueTerm) {
	u := o.u
	for _, n := range u.Spaces.Actions {
		o.heads, o.total = append(o.heads, o.total), o.total+n
	}
	rows, s, d := len(u.Reward), len(o.heads), len(u.Spaces.Elements)
	o.chosen, o.weights = make([]float32, rows*o.total), make([]float32, rows*s)

	theta, target := u.Online.Params.Data, u.Target.Params.Data
	learning := feed(g, "θ", theta, len(theta))
	q := o.values(u.Online, learning, feed(g, "S", u.X, 1, rows, d), true)
	// θ again, as data: what the target is made of has no gradient.
	next := feed(g, "S'", u.Next, 1, rows, d)
	choice := o.values(u.Online, feed(g, "θ'", theta, len(theta)), next, false)
	targets := o.values(u.Target, feed(g, "θ⁻", target, len(target)), next, false)

	best := o.perHead(must(G.HadamardProd(targets, must(o.greedy(choice)))))
	later := must(G.HadamardProd(feed(g, "γ", u.Discount, 1, rows, 1), o.meanHead(best)))
	y := o.all(must(G.Add(feed(g, "R", u.Reward, 1, rows, 1), later)))
	taken := o.perHead(must(G.HadamardProd(q, feed(g, "A", o.chosen, 1, rows, o.total))))
	far := must(G.Sub(taken, y))
	G.Read(y, &o.y)
	G.Read(far, &o.far)

	weights := feed(g, "w", o.weights, 1, rows, s)
	var losses []*G.Node
	if u.Config.Loss == "huber" {
		losses = append(losses, must(Huber(far, weights)))
	} else {
		losses = append(losses, must(G.Mul(G.NewConstant(float32(.5)), must(Squares(far, weights)))))
	}
	if a := u.Config.CQL; a > 0 {
		each := make([]float32, rows*s)
		for i := range each {
			each[i] = float32(a / float64(rows*s))
		}
		losses = append(losses, must(Dot(must(G.Sub(must(o.logSumExp(q)), taken)), feed(g, "α", each, 1, rows, s))))
	}
	for i, term := range terms {
		losses = append(losses, checked(i, must(term(Values{Q: q, Taken: taken, Target: y}))))
	}
	cost := sum(losses...)
	p.report("L", cost)
	p.differentiate(cost, G.Nodes{learning}, u.Grad)
}

// values is Q(x, ·; θ), [1,B,A].
func (o *valueObjective) values(of agent.Network, theta, x *G.Node, learns bool) *G.Node {
	o.count++
	net := nn.MLPOf(of.MLPConfig, of.Params)
	rows := x.Shape()[1]
	a := &perceptron{number: o.count, net: net, run: net.NewRun(o.u.Backend, rows), rows: rows, learns: learns}
	out := must(G.ApplyOp(perceptronForward{output: newOutput(a.outShape()), perceptron: a}, theta, x))
	if !o.u.Config.Dueling {
		return out
	}
	// Wang et al. 2016, equation 9, per head: Qₛ(a) = V + Aₛ(a) - mean Aₛ.
	wide := o.total + 1
	each := func(f func(s, from, n int)) {
		for s, n := range o.u.Spaces.Actions {
			f(s, o.heads[s], n)
		}
	}
	return must(Linear{
		name: "duel", in: out.Shape().Clone(), out: tensor.Shape{1, rows, o.total},
		apply: func(dst, src []float32) {
			for i := range rows {
				q, v := dst[i*o.total:][:o.total], src[i*wide:][:wide]
				each(func(_, from, n int) {
					var mean float32
					for _, a := range v[1+from:][:n] {
						mean += a / float32(n)
					}
					for j := from; j < from+n; j++ {
						q[j] = v[0] + v[1+j] - mean
					}
				})
			}
		},
		adjoint: func(dst, src []float32) {
			for i := range rows {
				v, q := dst[i*wide:][:wide], src[i*o.total:][:o.total]
				v[0] = 0
				each(func(_, from, n int) {
					var sum float32
					for _, d := range q[from:][:n] {
						sum += d
					}
					v[0] += sum
					for j := from; j < from+n; j++ {
						v[1+j] = q[j] - sum/float32(n)
					}
				})
			}
		},
	}.Apply(out))
}

// perHead sums x [1,B,A] over each head's actions, [1,B,S].
func (o *valueObjective) perHead(x *G.Node) *G.Node {
	rows, s, actions := x.Shape()[1], len(o.heads), o.u.Spaces.Actions
	return must(Linear{
		name: "perhead", in: x.Shape().Clone(), out: tensor.Shape{1, rows, s},
		apply: func(dst, src []float32) {
			for i := range dst {
				dst[i] = 0
				for _, v := range src[i/s*o.total+o.heads[i%s]:][:actions[i%s]] {
					dst[i] += v
				}
			}
		},
		adjoint: func(dst, src []float32) {
			for i, v := range src {
				q := dst[i/s*o.total+o.heads[i%s]:][:actions[i%s]]
				for j := range q {
					q[j] = v
				}
			}
		},
	}.Apply(x))
}

// all gives every head x [1,B,1], [1,B,S].
func (o *valueObjective) all(x *G.Node) *G.Node { return o.between("all", x, 1, len(o.heads), 1) }

// meanHead is the mean over heads of x [1,B,S], [1,B,1].
func (o *valueObjective) meanHead(x *G.Node) *G.Node {
	s := len(o.heads)
	return o.between("meanhead", x, s, 1, float32(s))
}

// between sums the from columns of a row, over divisor, into each of the to
// columns.
func (o *valueObjective) between(name string, x *G.Node, from, to int, divisor float32) *G.Node {
	rows := x.Shape()[1]
	spread := func(from, to int) func(dst, src []float32) {
		return func(dst, src []float32) {
			for i := range rows {
				var sum float32
				for _, v := range src[i*from:][:from] {
					sum += v
				}
				for j := range to {
					dst[i*to+j] = sum / divisor
				}
			}
		}
	}
	return must(Linear{name: name, in: x.Shape().Clone(), out: tensor.Shape{1, rows, to}, apply: spread(from, to), adjoint: spread(to, from)}.Apply(x))
}

// greedy is 1 at each head's largest value of q [1,B,A], the first of equals,
// else 0. It has no gradient.
func (o *valueObjective) greedy(q *G.Node) (*G.Node, error) {
	return G.ApplyOp(greedy{output: newOutput(q.Shape()), o: o}, q)
}

type greedy struct {
	operation
	output
	o *valueObjective
}

func (greedy) Arity() int { return 1 }

func (greedy) Type() hm.Type { return hm.NewFnType(cube, cube) }

func (g greedy) InferShape(...G.DimSizer) (tensor.Shape, error) { return g.Shape().Clone(), nil }

func (g greedy) Do(in ...G.Value) (G.Value, error) {
	q, err := floats(in[0])
	if err != nil {
		return nil, err
	}
	one := g.Float32s()
	clear(one)
	for row := 0; row < len(q); row += g.o.total {
		for s, n := range g.o.u.Spaces.Actions {
			best := row + g.o.heads[s]
			for j := best; j < row+g.o.heads[s]+n; j++ {
				if q[j] > q[best] {
					best = j
				}
			}
			one[best] = 1
		}
	}
	return g.Dense, nil
}

// Gorgonia asks what it can reach from the loss, then learns that it ends here.
func (greedy) DiffWRT(int) []bool { return []bool{false} }

func (greedy) SymDiff(G.Nodes, *G.Node, *G.Node) (G.Nodes, error) { return G.Nodes{nil}, nil }

func (g greedy) WriteHash(h hash.Hash) { fmt.Fprint(h, g.String()) }
func (g greedy) Hashcode() uint32      { return hashOf(g) }
func (greedy) String() string          { return "greedy" }

// logSumExp is log Σₐ exp q over each head of q [1,B,A], [1,B,S].
func (o *valueObjective) logSumExp(q *G.Node) (*G.Node, error) {
	s := tensor.Shape{1, q.Shape()[1], len(o.heads)}
	return G.ApplyOp(logSumExp{output: newOutput(s), o: o}, q)
}

type logSumExp struct {
	operation
	output
	o *valueObjective
}

// headSum is the largest of a head's values, and Σ exp of what they are below it.
func headSum(q []float32) (top, z float64) {
	top = math.Inf(-1)
	for _, v := range q {
		top = max(top, float64(v))
	}
	for _, v := range q {
		z += math.Exp(float64(v) - top)
	}
	return top, z
}

// at is the i-th head of q, rows after one another.
func (o *valueObjective) at(q []float32, i int) []float32 {
	s := len(o.heads)
	return q[i/s*o.total+o.heads[i%s]:][:o.u.Spaces.Actions[i%s]]
}

func (logSumExp) Arity() int { return 1 }

func (logSumExp) Type() hm.Type { return hm.NewFnType(cube, cube) }

func (l logSumExp) InferShape(...G.DimSizer) (tensor.Shape, error) { return l.Shape().Clone(), nil }

func (l logSumExp) Do(in ...G.Value) (G.Value, error) {
	q, err := floats(in[0])
	if err != nil {
		return nil, err
	}
	for i := range l.Float32s() {
		top, z := headSum(l.o.at(q, i))
		l.Float32s()[i] = float32(top + math.Log(z))
	}
	return l.Dense, nil
}

func (logSumExp) DiffWRT(int) []bool { return []bool{true} }

func (l logSumExp) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	d, err := G.ApplyOp(softmax{output: newOutput(in[0].Shape()), o: l.o}, in[0], grad)
	return G.Nodes{d}, err
}

func (l logSumExp) WriteHash(h hash.Hash) { fmt.Fprint(h, l.String()) }
func (l logSumExp) Hashcode() uint32      { return hashOf(l) }
func (logSumExp) String() string          { return "logsumexp" }

// softmax is that of each head of q [1,B,A], times g [1,B,S].
type softmax struct {
	operation
	output
	o *valueObjective
}

func (softmax) Arity() int { return 2 }

func (softmax) Type() hm.Type { return hm.NewFnType(cube, cube, cube) }

func (m softmax) InferShape(...G.DimSizer) (tensor.Shape, error) { return m.Shape().Clone(), nil }

func (m softmax) Do(in ...G.Value) (G.Value, error) {
	q, grad, err := two(in)
	if err != nil {
		return nil, err
	}
	for i, g := range grad {
		from, to := m.o.at(q, i), m.o.at(m.Float32s(), i)
		top, z := headSum(from)
		for j, v := range from {
			to[j] = float32(float64(g) * math.Exp(float64(v)-top) / z)
		}
	}
	return m.Dense, nil
}

func (m softmax) WriteHash(h hash.Hash) { fmt.Fprint(h, m.String()) }
func (m softmax) Hashcode() uint32      { return hashOf(m) }
func (softmax) String() string          { return "softmax" }

// perceptron is one use of an MLP in a graph, as application is one of a GRU
// stack.
type perceptron struct {
	number int
	net    *nn.MLP
	run    *nn.MLPRun
	rows   int
	learns bool // the parameters' gradient is wanted
}

func (a *perceptron) outShape() tensor.Shape {
	return tensor.Shape{1, a.rows, a.net.Sizes[len(a.net.Sizes)-1]}
}

// perceptronForward is the pass forward: parameters, x [1,B,in] → [1,B,out].
type perceptronForward struct {
	operation
	output
	*perceptron
}

func (perceptronForward) Arity() int { return 2 }

func (perceptronForward) Type() hm.Type { return hm.NewFnType(vector, cube, cube) }

func (f perceptronForward) InferShape(...G.DimSizer) (tensor.Shape, error) { return f.outShape(), nil }

func (f perceptronForward) Do(in ...G.Value) (G.Value, error) {
	x, err := floats(in[1])
	if err != nil {
		return nil, err
	}
	f.run.Forward(x, f.Float32s())
	return f.Dense, nil
}

func (f perceptronForward) DiffWRT(int) []bool { return []bool{f.learns, false} }

// SymDiff has the output among its inputs for the order: forward comes first.
func (f perceptronForward) SymDiff(_ G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	n := tensor.Shape{len(f.net.Params().Data)}
	d, err := G.ApplyOp(perceptronBackward{output: newOutput(n), perceptron: f.perceptron}, out, grad)
	return G.Nodes{d, nil}, err
}

func (f perceptronForward) WriteHash(h hash.Hash) { fmt.Fprint(h, f.String()) }
func (f perceptronForward) Hashcode() uint32      { return hashOf(f) }
func (f perceptronForward) String() string        { return fmt.Sprintf("mlp%d", f.number) }

// perceptronBackward is the pass back: output, its gradient → the parameters'.
type perceptronBackward struct {
	operation
	output
	*perceptron
}

func (perceptronBackward) Arity() int { return 2 }

func (perceptronBackward) Type() hm.Type { return hm.NewFnType(cube, cube, vector) }

func (b perceptronBackward) InferShape(...G.DimSizer) (tensor.Shape, error) {
	return b.Shape().Clone(), nil
}

func (b perceptronBackward) Do(in ...G.Value) (G.Value, error) {
	dy, err := floats(in[1])
	if err != nil {
		return nil, err
	}
	grad := b.Float32s()
	clear(grad)
	b.run.Backward(dy, nil, grad)
	return b.Dense, nil
}

func (b perceptronBackward) WriteHash(h hash.Hash) { fmt.Fprint(h, b.String()) }
func (b perceptronBackward) Hashcode() uint32      { return hashOf(b) }
func (b perceptronBackward) String() string        { return fmt.Sprintf("mlp%dback", b.number) }
