package timegan

import (
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

// The five networks (section 4 of the paper, figure 2), each a stack of GRU
// layers under one dense layer. c is the condition, the queue limit and the
// phase of the clock: the paper has none.
//
//	embedder       e: x ⊕ v ⊕ c → h      v: validity bits
//	recovery       r: h ⊕ c → x̃
//	generator      g: z ⊕ c → ê
//	supervisor     s: h ⊕ c → the next h   (the authors' code; not in the paper's figure)
//	discriminator  d: h ⊕ v ⊕ c → a logit
//
// Latent codes and channels are in [0, 1], through a sigmoid.
const (
	embedder = iota
	recovery
	generator
	supervisor
	discriminator
	networkCount
)

var networkNames = [networkCount]string{"embedder", "recovery", "generator", "supervisor", "discriminator"}

// sizes of the five networks for channels F and validity bits V.
func (c Config) sizes(channels, bits int) [networkCount]compute.GRUConfig {
	net := func(in, layers, out int, act compute.Activation) compute.GRUConfig {
		return compute.GRUConfig{In: in + c.conditions(), Hidden: c.Hidden, Layers: layers, Out: out, Act: act}
	}
	h, l := c.Hidden, c.Layers
	return [networkCount]compute.GRUConfig{
		embedder:      net(channels+bits, l, h, compute.Sigmoid),
		recovery:      net(h, l, channels, compute.Sigmoid),
		generator:     net(c.Noise, l, h, compute.Sigmoid),
		supervisor:    net(h, max(l-1, 1), h, compute.Sigmoid),
		discriminator: net(h+bits, l, 1, compute.Linear),
	}
}

// tensors names and shapes a network's parameters, over the memory of p.
func tensors(network int, p *compute.Params) Params {
	var t Params
	for _, v := range p.Views {
		t = append(t, Tensor{networkNames[network] + "." + v.Name, v.Shape, v.Data})
	}
	return t
}

// emptyParams are the five networks' tensors, all 0.
func emptyParams(c Config, channels, bits int) Params {
	var p Params
	for n, s := range c.WithDefaults().sizes(channels, bits) {
		p = append(p, tensors(n, nn.NewGRU(s).Params())...)
	}
	return p
}

// NewParams are initial weights, drawn from c.Seed: input weights
// Glorot-uniform, recurrent ones orthogonal, per gate; biases 0.
func NewParams(c Config, channels, bits int) Params {
	var p Params
	for n, s := range c.WithDefaults().sizes(channels, bits) {
		g := nn.NewGRU(s)
		g.Init(rng.Key{Seed: c.Seed, A: uint32(n), Purpose: rng.Init})
		p = append(p, tensors(n, g.Params())...)
	}
	return p
}

// emptyState is what an optimiser carries before the first update.
func emptyState(c Config, channels, bits int) OptimiserState {
	c = c.WithDefaults()
	s := OptimiserState{{"state.updates", []int{networkCount}, make([]float32, networkCount)}}
	for n, size := range c.sizes(channels, bits) {
		count := len(nn.NewGRU(size).Params().Data)
		hidden := size.Layers * c.Batch * c.Hidden
		for _, t := range []Tensor{
			{"m", []int{count}, make([]float32, count)}, {"v", []int{count}, make([]float32, count)},
			{"hidden", []int{size.Layers, c.Batch, c.Hidden}, make([]float32, hidden)},
		} {
			t.Name = "state." + networkNames[n] + "." + t.Name
			s = append(s, t)
		}
	}
	return append(s, Tensor{"state.clock", []int{c.Batch}, make([]float32, c.Batch)})
}

// network is one of the five: its weights, their gradients, its optimiser.
type network struct {
	*nn.GRU
	grad []float32
	adam *nn.Adam
}

func newNetwork(size compute.GRUConfig, rate float64) *network {
	g := nn.NewGRU(size)
	n := len(g.Params().Data)
	return &network{g, make([]float32, n), nn.NewAdam(n, rate)}
}

// pass is one application of a network to [T,B] rows.
type pass struct {
	net *network
	run *nn.GRURun
	x   []float32 // [T,B,in]
	h0  []float32 // [L,B,H], nil is 0
	y   []float32 // [T,B,out]
	dx  []float32 // [T,B,in]
}

func newPass(be *compute.Backend, n *network, steps, rows int) *pass {
	return &pass{net: n, run: n.NewRun(be, steps, rows),
		x: make([]float32, steps*rows*n.In), y: make([]float32, steps*rows*n.Out), dx: make([]float32, steps*rows*n.In)}
}

// forward sets y from x.
func (p *pass) forward() []float32 {
	p.run.Forward(p.x, p.h0, p.y)
	return p.y
}

// learn adds the gradient of the weights, given the one at y.
func (p *pass) learn(dy []float32) { p.run.Backward(dy, nil, p.net.grad) }

// learnAndPass does so and gives the gradient at x; passOn only gives it.
func (p *pass) learnAndPass(dy []float32) []float32 {
	p.run.Backward(dy, p.dx, p.net.grad)
	return p.dx
}

func (p *pass) passOn(dy []float32) []float32 {
	p.run.Backward(dy, p.dx, nil)
	return p.dx
}
