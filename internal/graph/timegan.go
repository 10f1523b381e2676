// Package graph trains TimeGAN, DDQN and sequence models as Gorgonia expressions,
// with Gorgonia's automatic differentiation: the independent second
// implementation that the hand-written engines are checked against, and the
// place to add a loss (Term) without writing its gradient.
package graph

import (
	"errors"
	"fmt"
	"runtime"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/timegan"
)

// Windows are what a loss of the generator may look at: channels of real and
// of generated windows, [T,B,F] in [0, 1]. Both have the real windows' gaps,
// at which a channel shows its last measured value.
type Windows struct {
	Real, Generated *G.Node
}

// Term is one more loss for the generator, a scalar of float32 that counts as
// it is: weigh it yourself. It may panic with an error, as gorgonia.Must does.
type Term func(w Windows) (*G.Node, error)

// NewTimeGAN makes the engine that computes TimeGAN's losses as expressions
// and leaves their gradients to Gorgonia. terms are added to what the
// generator minimises. It trains as timegan.NewCPU does with the same kernels,
// to rounding.
func NewTimeGAN(k compute.Kernels, threads int, terms ...Term) timegan.Engine {
	be := compute.NewBackend(k, threads)
	name := "graph/" + k.String()
	if len(terms) > 0 {
		name += fmt.Sprintf("+%d", len(terms))
	}
	return timegan.NewEngine(name, be, func(t *timegan.Update) (timegan.Objective, error) {
		return newObjective(be, t, terms)
	})
}

// objective is a graph for each gradient of training.
type objective struct {
	t             *timegan.Update
	cells         []float32 // [T,B,F], 1/n where measured, else 0
	codes         []float32 // [T-1,B,H], the same of the codes that the supervisor is to foresee
	embedding     *program
	supervised    *program
	generator     *program
	embedder      *program
	discriminator *program
	rollouts      []*application // of the generator's or the discriminator's graph, whichever ran last
}

func newObjective(be *compute.Backend, t *timegan.Update, terms []Term) (*objective, error) {
	o := &objective{t: t, cells: make([]float32, len(t.Cells)), codes: make([]float32, len(t.Codes)-t.Rows*t.Config.Hidden)}
	var errs [5]error
	build := func(i int, losses func(b *builder)) *program {
		var p *program
		p, errs[i] = newProgram(be, o, losses)
		return p
	}
	o.embedding = build(0, (*builder).embedding)
	o.supervised = build(1, (*builder).supervised)
	o.generator = build(2, func(b *builder) { b.generator(terms) })
	o.embedder = build(3, (*builder).embedder)
	o.discriminator = build(4, (*builder).discriminator)
	return o, errors.Join(errs[:]...)
}

// weigh sets the weights of the mean squares for the batch at hand.
func (o *objective) weigh() {
	share(o.cells, o.t.Cells)
	share(o.codes, o.t.Codes[len(o.t.Codes)-len(o.codes):])
}

// share sets w to 1/n where set, n the number that are.
func share(w []float32, set []bool) {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	for i, s := range set {
		w[i] = 0
		if s {
			w[i] = float32(1 / float64(n))
		}
	}
}

func (o *objective) Embedding(l *timegan.Losses) error {
	o.weigh()
	err := o.embedding.run()
	l.R = o.embedding.loss("R")
	o.embedding.learn()
	return err
}

func (o *objective) Supervised(l *timegan.Losses) error {
	o.weigh()
	err := o.supervised.run()
	l.S = o.supervised.loss("S")
	o.supervised.learn()
	return err
}

func (o *objective) Generator(l *timegan.Losses) error {
	o.weigh()
	err := o.generator.run()
	l.S, l.U = o.generator.loss("S"), o.generator.loss("U")
	l.V, l.C, l.K = o.generator.loss("V"), o.generator.loss("C"), o.generator.loss("K")
	o.generator.learn()
	o.rollouts = o.generator.rollouts
	return err
}

func (o *objective) Embedder(l *timegan.Losses) error {
	err := o.embedder.run()
	l.R = o.embedder.loss("R")
	o.embedder.learn()
	return err
}

func (o *objective) Discriminator(l *timegan.Losses) (bool, error) {
	err := o.discriminator.run()
	l.D = o.discriminator.loss("D")
	o.rollouts = o.discriminator.rollouts
	if float64(l.D) < o.t.Config.Threshold {
		return false, err
	}
	o.discriminator.learn()
	return true, err
}

// GoOn keeps the hidden states that the next generated windows begin with.
func (o *objective) GoOn() {
	for _, a := range o.rollouts {
		if a.start != nil {
			a.run.Last(a.start)
		}
	}
}

// program is a graph of losses, compiled.
type program struct {
	vm       G.VM
	losses   map[string]*G.Value
	grads    []gradient
	rollouts []*application // of generator, supervisor, recovery, where windows go on
}

// gradient is a network's, and where it goes.
type gradient struct {
	value *G.Value
	into  []float32
}

func (p *program) run() error {
	p.vm.Reset()
	return p.vm.RunAll()
}

// loss is 0 for one that the graph does not have.
func (p *program) loss(name string) float32 {
	if v := p.losses[name]; v != nil && *v != nil {
		return (*v).Data().(float32)
	}
	return 0
}

// learn adds the gradients of the latest run where they belong.
func (p *program) learn() {
	for _, g := range p.grads {
		if *g.value == nil {
			continue // the run failed
		}
		for i, d := range (*g.value).Data().([]float32) {
			g.into[i] += d
		}
	}
}

// must panics with the error, as G.Must does: expressions stay readable, and
// newProgram makes an error of it again.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// builder writes the expressions of one graph.
type builder struct {
	*timegan.Update
	o      *objective
	be     *compute.Backend
	g      *G.ExprGraph
	learns []*timegan.Network // whose gradients are wanted
	params map[*timegan.Network]*G.Node
	inputs map[string]*G.Node
	count  int // applications
	cost   *G.Node
	p      *program
}

func newProgram(be *compute.Backend, o *objective, losses func(b *builder)) (*program, error) {
	return compile(func(g *G.ExprGraph, p *program) {
		b := &builder{Update: o.t, o: o, be: be, g: g, params: map[*timegan.Network]*G.Node{}, inputs: map[string]*G.Node{}, p: p}
		losses(b)
		var wrt G.Nodes
		var into [][]float32
		for _, n := range b.learns {
			wrt, into = append(wrt, b.params[n]), append(into, n.Grad)
		}
		p.differentiate(b.cost, wrt, into...)
	})
}

// compile makes the program of what build writes; what build panics with, must's
// errors, it gives back.
func compile(build func(g *G.ExprGraph, p *program)) (p *program, err error) {
	defer func() {
		switch f := recover().(type) {
		case nil:
		case runtime.Error:
			panic(f)
		case error:
			err = fmt.Errorf("graph: %w", f)
		default:
			panic(f)
		}
	}()
	g := G.NewGraph()
	p = &program{losses: map[string]*G.Value{}}
	build(g, p)
	p.vm = G.NewTapeMachine(g)
	return p, nil
}

// differentiate asks for the gradients of cost at wrt, and says where they go.
func (p *program) differentiate(cost *G.Node, wrt G.Nodes, into ...[]float32) {
	for i, d := range must(G.Grad(cost, wrt...)) {
		p.grads = append(p.grads, gradient{new(G.Value), into[i]})
		G.Read(d, p.grads[i].value)
	}
}

// report makes a loss readable after a run.
func (p *program) report(name string, loss *G.Node) {
	v := new(G.Value)
	G.Read(loss, v)
	p.losses[name] = v
}

// feed is a node of memory that is filled before a run.
func feed(g *G.ExprGraph, name string, data []float32, shape ...int) *G.Node {
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name),
		G.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))))
}

// checked is a term's loss, if that is one.
func checked(i int, loss *G.Node) *G.Node {
	if loss == nil || !loss.IsScalar() || loss.Dtype() != tensor.Float32 {
		panic(fmt.Errorf("term %d: %v is not a scalar of float32", i, loss))
	}
	return loss
}

// input is the node of memory that is filled before a run.
func (b *builder) input(name string, data []float32, shape ...int) *G.Node {
	n, ok := b.inputs[name]
	if !ok {
		n = feed(b.g, name, data, shape...)
		b.inputs[name] = n
	}
	return n
}

func (b *builder) real() *G.Node      { return b.input("x", b.X, b.Steps, b.Rows, b.Channels) }
func (b *builder) noise() *G.Node     { return b.input("z", b.Z, b.Steps, b.Rows, b.Config.Noise) }
func (b *builder) condition() *G.Node { return b.input("c", b.Told, b.Steps, b.Rows, b.Conditions) }
func (b *builder) toldFake() *G.Node {
	return b.input("c'", b.ToldFake, b.Steps, b.Rows, b.Conditions)
}

// valid are the validity bits, none where nothing is ever missing.
func (b *builder) valid() G.Nodes {
	if b.Bits == 0 {
		return nil
	}
	return G.Nodes{b.input("v", b.Valid, b.Steps, b.Rows, b.Bits)}
}

// apply is a network on parts of input. Whether its parameters' gradient is
// wanted, and that of the first part, is said here: Gorgonia cannot tell an
// operation, and a frozen network must not cost the full price.
func (b *builder) apply(n *timegan.Network, passes bool, start []float32, parts ...*G.Node) *G.Node {
	theta, ok := b.params[n]
	if !ok {
		data := n.Params.Data
		theta = b.input("θ"+n.Name, data, len(data))
		b.params[n] = theta
	}
	b.count++
	net := nn.GRUOf(n.GRUConfig, n.Params)
	a := &application{number: b.count, net: net, run: net.NewRun(b.be, b.Steps, b.Rows), steps: b.Steps, rows: b.Rows, start: start}
	for _, p := range parts {
		a.widths = append(a.widths, p.Shape()[2])
	}
	for _, l := range b.learns {
		a.learns = a.learns || l == n
	}
	if passes {
		a.passes = 1
	}
	if start != nil {
		b.p.rollouts = append(b.p.rollouts, a)
	}
	return must(a.apply(theta, parts...))
}

// report makes a loss readable after a run.
func (b *builder) report(name string, loss *G.Node) *G.Node {
	b.p.report(name, loss)
	return loss
}
