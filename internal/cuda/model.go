package cuda

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/timegan"
)

// The networks, in the order of timegan.Layout.
const (
	embedder = iota
	recovery
	generator
	supervisor
	discriminator
	networks
)

// model is what is loaded: its memory on the device.
type model struct {
	arena
	timegan.Layout
	T, B, F, V, C, Z, H int
	at                  [networks + 1]int // where a network's parameters begin
	layerAt             [networks + 1]int // where its layers of carry begin

	p, m, v      driver.Ptr // [at[networks]] parameters, Adam's moments
	carry, clock driver.Ptr // [layers of all,B,H], [B]
	control      driver.Ptr
	bit, median  driver.Ptr // [F]

	stage, weights int // floats of shared memory of the networks' kernels
	*training          // nil where there are no windows
}

// maxHidden is how many threads a block of the networks' kernels has at most,
// and so how many units a layer.
const maxHidden = 512

// newModel copies a model to the device. What it allocated is freed where it
// fails.
func newModel(dev *device, l timegan.Layout, p timegan.Params, s timegan.OptimiserState, d timegan.Windows) (_ *model, err error) {
	c := l.Config
	m := &model{arena: arena{device: dev}, Layout: l, T: d.Length, B: c.Batch, F: l.Channels, V: l.Bits, C: l.Conditions, Z: c.Noise, H: c.Hidden}
	for i, n := range l.Networks {
		m.at[i+1] = m.at[i] + parameters(n)
		m.layerAt[i+1] = m.layerAt[i] + n.Layers
	}
	if err := m.fits(m.T+1, m.B); err != nil {
		return nil, err
	}
	if m.room(); 4*m.stage > m.info.SharedPerBlock-256 {
		return nil, fmt.Errorf("cuda: %d channels and %d units need %d bytes of shared memory: %s has %d", m.F, m.H, 4*m.stage, m.info.Name, m.info.SharedPerBlock)
	}
	m.p, m.m, m.v = m.floats(m.at[networks]), m.floats(m.at[networks]), m.floats(m.at[networks])
	m.carry, m.clock = m.floats(m.layerAt[networks]*m.B*m.H), m.floats(m.B)
	m.control = m.alloc(1, 40)
	m.bit, m.median = put(&m.arena, int32s(d.Bit)), put(&m.arena, d.Median)
	m.each(p, s, func(t timegan.Tensor, ours driver.Ptr) { upload(&m.arena, ours, t.Data) })
	if s != nil {
		var learned [networks]int32
		for i := range learned {
			learned[i] = int32(s[0].Data[i])
		}
		upload(&m.arena, m.control+20, learned[:])
	}
	if len(d.Start) > 0 {
		m.train(d)
	}
	if err := m.wait(); err != nil {
		_ = m.free() // err says what failed first
		return nil, err
	}
	return m, nil
}

// fits reports arrays that kernels cannot count, whose integers have 32 bits.
func (m *model) fits(steps, rows int) error {
	widest := 0
	for _, n := range m.Networks {
		widest = max(widest, n.In, n.Layers*4*m.H)
	}
	if steps*rows*widest > math.MaxInt32 || slots*9*m.at[networks] > math.MaxInt32 { // 9: splits at most
		return fmt.Errorf("cuda: %d seconds of %d rows with %d layers of %d units make arrays of more than 2³¹ numbers", steps, rows, m.Networks[embedder].Layers, m.H)
	}
	return nil
}

// parameters counts those of a network.
func parameters(c compute.GRUConfig) int {
	return 3*c.Hidden*(c.In+c.Hidden+2) + (c.Layers-1)*3*c.Hidden*(2*c.Hidden+2) + c.Out*(c.Hidden+1)
}

func int32s(v []int) []int32 {
	out := make([]int32, len(v))
	for i, x := range v {
		out[i] = int32(x)
	}
	return out
}

// each pairs the tensors of a checkpoint with the memory here; s may be nil.
// Its first tensor is not memory of its own: see control.
func (m *model) each(p timegan.Params, s timegan.OptimiserState, do func(t timegan.Tensor, ours driver.Ptr)) {
	at := driver.Ptr(0)
	for _, t := range p { // one after the other, as they lie here
		do(t, m.p+at)
		at += driver.Ptr(4 * len(t.Data))
	}
	if s == nil {
		return
	}
	for k := range networks {
		do(s[1+3*k], m.m+driver.Ptr(4*m.at[k]))
		do(s[2+3*k], m.v+driver.Ptr(4*m.at[k]))
		do(s[3+3*k], m.carry+driver.Ptr(4*m.layerAt[k]*m.B*m.H))
	}
	do(s[len(s)-1], m.clock)
}

// store copies the model back.
func (m *model) store() (timegan.Params, timegan.OptimiserState, error) {
	p, s := m.Empty()
	m.each(p, s, func(t timegan.Tensor, ours driver.Ptr) { download(&m.arena, t.Data, ours) })
	var learned [networks]int32
	download(&m.arena, learned[:], m.control+20)
	if err := m.wait(); err != nil {
		return nil, nil, err
	}
	for i, n := range learned {
		s[0].Data[i] = float32(n)
	}
	return p, s, nil
}

// application is one use of a network in a phase.
type application struct {
	pass
	network int
}

// apply gives a network memory for one use on steps × rows inputs.
func (m *model) apply(network, steps, rows int, parts ...part) *application {
	c := m.Networks[network]
	a := &application{network: network, pass: m.pass(c, m.p+driver.Ptr(4*m.at[network]), steps, rows)}
	copy(a.Part[:], parts)
	if c.Act == compute.Sigmoid {
		a.Squash = 1
	}
	return a
}

// pass gives a network whose parameters are at p memory for steps × rows inputs.
func (a *arena) pass(c compute.GRUConfig, p driver.Ptr, steps, rows int) pass {
	n := steps * rows
	return pass{
		W: p,
		X: a.floats(n * c.In), H: a.floats(c.Layers * (steps + 1) * rows * c.Hidden), Gates: a.floats(c.Layers * n * 4 * c.Hidden), Y: a.floats(n * c.Out),
		In: int32(c.In), Out: int32(c.Out), Layers: int32(c.Layers),
	}
}

// output is what an application gives, as the input of another.
func (a *application) output() part { return part{P: a.Y, Width: a.Out} }

// room sets how much shared memory the networks' kernels have.
func (m *model) room() { m.stage, m.weights = sharedMemory(m.info, m.Networks[:]...) }

// sharedMemory is how many floats of shared memory the kernels of networks of one
// width have: for the rows at hand, at most 32 kB unless a row needs more, and for
// the weights of one product where the device has so much.
func sharedMemory(info driver.Info, networks ...compute.GRUConfig) (stage, weights int) {
	wide := func(n int) int { return (n + 3) &^ 3 }
	hidden := networks[0].Hidden
	gates := wide(3 * hidden)
	depth := gates
	for _, n := range networks {
		for _, product := range [][2]int{{3 * hidden, n.In}, {3 * hidden, hidden}, {n.Out, hidden}, {hidden, n.Out}, {hidden, 3 * hidden}, {n.In, 3 * hidden}} {
			depth = max(depth, wide(product[1]))
			weights = max(weights, product[0]*(wide(product[1])+1))
		}
	}
	stage = max(min(32*depth, 8192), 4*depth, 2*(maxHidden/hidden)*gates)
	weights = max(min(weights, info.SharedPerBlock/4-64-stage), 0) // 64: what the compiler gave the kernels
	return stage, weights
}

// rowsOf is how many of so many rows a block takes: one, while the device has a
// multiprocessor for each, which is fastest; of many models beside each other
// as many as fill a block's warps, so that all find room. A row's numbers do
// not depend on it.
func (d *device) rowsOf(rows, hidden int) int {
	most, ours := maxHidden/hidden, max(1, d.info.SMs/d.models)
	if d.models > 1 {
		most = max(1, 128/hidden)
	}
	return max(1, min((rows+ours-1)/ours, most))
}

// run launches a chain of passes, or two beside each other from split on.
func (m *model) run(kernel int, args networkArgs, split, rows, steps int) {
	args.Split, args.T, args.B, args.H, args.V = int32(split), int32(steps), int32(rows), int32(m.H), int32(m.V)
	args.Bit, args.Median = m.bit, m.median
	runNetworks(&m.arena, kernel, args, m.stage, m.weights)
}

// runNetworks launches a chain of passes, or two beside each other where Split is
// below Count, with so many floats of shared memory.
func runNetworks(a *arena, kernel int, args networkArgs, stage, weights int) {
	rows, hidden := int(args.B), int(args.H)
	r := a.rowsOf(rows, hidden)
	args.R, args.Stage, args.Weights = int32(r), int32(stage), int32(weights)
	chains := 1
	if args.Split < args.Count {
		chains = 2
	}
	bytes := 4 * (stage + weights)
	if a.err == nil && bytes > 48<<10 {
		a.err = a.SetShared(a.f[kernel], bytes)
	}
	launch(a, kernel, (rows+r-1)/r, chains, max(128, (r*hidden+31)&^31), bytes, args)
}
