package cuda

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/timegan"
)

// training is a model's windows, the memory of its updates and the launches
// that one of each phase is. They follow package timegan's train.go line by
// line: see there for what is computed.
type training struct {
	windows struct {
		data, valid, limit, second, start driver.Ptr
		starts                            int
	}
	x, valid, cond, cells, codes driver.Ptr // the batch: [T,B,F], [T,B,V], [T,B,C]; what was measured: [T,B,F], [T,B]
	z, fake                      driver.Ptr // [T,B,Z], [T,B,C] of generated windows
	stats                        driver.Ptr // [F,3]
	grad, partials               driver.Ptr
	share                        int // rows of a split of a gradient's sums
	records                      driver.Ptr

	launches [3][]step
	graphs   [3]driver.Exec // of the launches, once a phase was begun
}

// step is one launch of a kernel.
type step struct {
	kernel int
	launch func()
}

// chunk is how many updates are made between two looks at their losses.
const chunk = 64

// slots is how often a network is applied, at most, in what it learns from.
const slots = 3

// train allocates what training needs and lays its launches out.
func (m *model) train(d timegan.Windows) {
	t := &training{}
	m.training = t
	n := m.T * m.B
	t.windows.data, t.windows.valid, t.windows.limit = put(&m.arena, d.X), put(&m.arena, d.Valid), put(&m.arena, d.Limit)
	t.windows.second, t.windows.start, t.windows.starts = put(&m.arena, int32s(d.Second)), put(&m.arena, int32s(d.Start)), len(d.Start)
	t.x, t.valid, t.cond, t.cells, t.codes = m.floats(n*m.F), m.floats(n*m.V), m.floats(n*m.C), m.floats(n*m.F), m.floats(n)
	t.z, t.fake, t.stats = m.floats(n*m.Z), m.floats(n*m.C), m.floats(3*m.F)
	t.share = shareOf(n)
	t.grad, t.partials = m.floats(m.at[networks]), m.floats(slots*m.splits()*m.at[networks])
	t.records = m.alloc(chunk, int(unsafe.Sizeof(record{})))

	embed := m.train1(embedder, part{P: t.x, Width: int32(m.F)}, part{P: t.valid, Width: int32(m.V)}, m.told(t.cond))
	decode := m.train1(recovery, embed.output(), m.told(t.cond))
	super := m.train1(supervisor, embed.output(), m.told(t.cond))
	m.embedding(embed, decode)
	m.supervised(embed, super)
	m.joint(embed, decode, super)
}

// shareOf is how many rows of n a split has: about an eighth, and 256 at least.
func shareOf(n int) int { return max(256, (n/8+31)&^31) }

func (m *model) splits() int { return (m.T*m.B + m.share - 1) / m.share }

// told is the condition of a second (the limit, the clock), as a network's input.
func (m *model) told(cond driver.Ptr) part { return part{P: cond, Width: int32(m.C)} }

// train1 is an application that gradients go back through.
func (m *model) train1(network int, parts ...part) *application {
	a := m.apply(network, m.T, m.B, parts...)
	n := m.T * m.B
	a.DY, a.DH, a.DX = m.floats(n*int(a.Out)), m.floats(n*m.H), m.floats(n*int(a.In))
	return a
}

// Where losses go in a record, and what they are called in package timegan.
const (
	lossR = iota
	lossS
	lossU
	lossV
	lossC
	lossK
	lossD
)

// do appends launches to a phase.
func (m *model) do(ph timegan.Phase, steps ...step) {
	m.launches[ph] = append(m.launches[ph], steps...)
}

// embedding: min over e, r of 10·√L_R.
func (m *model) embedding(embed, decode *application) {
	dX := m.floats(m.T * m.B * m.F)
	loss := m.squares(decode.Y, m.x, m.cells, m.T*m.B, m.F, true, dX)
	m.do(timegan.Embedding,
		m.prepare(timegan.Embedding, 0, false),
		m.forward(2, embed, decode),
		m.lose(loss),
		m.backward(2, decode.from(true, root(10, loss)), embed.from(false, decode.passed())))
	m.learn(timegan.Embedding, 0, nil, embed, decode)
	m.do(timegan.Embedding, m.finish([networks]int32{embedder: 1, recovery: 1}, nil, total{loss, lossR}))
}

// supervised: min over s of L_S.
func (m *model) supervised(embed, super *application) {
	loss := m.predicts(super, embed)
	m.do(timegan.Supervised,
		m.prepare(timegan.Supervised, 0, false),
		m.forward(2, embed, super),
		m.lose(loss),
		m.backward(1, super.from(false, mean(1, loss))))
	m.learn(timegan.Supervised, 0, nil, super)
	m.do(timegan.Supervised, m.finish([networks]int32{supervisor: 1}, nil, total{loss, lossS}))
}

// joint: twice the generator (eq. 11) and the embedder (eq. 10), then the
// discriminator unless it is good already.
func (m *model) joint(embed, decode, super *application) {
	c, n := m.Config, m.T*m.B
	tellFake := m.told(m.fake)
	valid := part{P: m.valid, Width: int32(m.V)}
	generate := m.train1(generator, part{P: m.z, Width: int32(m.Z)}, tellFake)
	next := m.train1(supervisor, generate.output(), tellFake)
	render := m.train1(recovery, next.output(), tellFake)
	judge := m.train1(discriminator, embed.output(), valid, m.told(m.cond))
	chain := []*application{generate, next, render}
	var again, judgeFake, judgeOwn *application
	x := render.Y // generated channels, as they are compared
	if c.Latent {
		judgeOwn = m.train1(discriminator, generate.output(), valid, tellFake)
		judgeFake = m.train1(discriminator, next.output(), valid, tellFake)
		chain = append(chain, judgeOwn, judgeFake)
	} else {
		for _, a := range chain {
			a.Carry, a.CarryRow, a.CarryLayer = m.carry+driver.Ptr(4*m.layerAt[a.network]*m.B*m.H), int32(m.H), int32(m.B*m.H)
		}
		x = m.floats(n * m.F)
		render.Filled = x
		again = m.train1(embedder, part{P: x, Width: int32(m.F)}, valid, tellFake)
		judgeFake = m.train1(discriminator, again.output(), valid, tellFake)
		chain = append(chain, again, judgeFake)
	}

	// The generator's losses.
	s := m.predicts(super, embed)
	list := []*loss{s}
	totals := []total{{s, lossS}}
	var dX []source
	compare := func(kind, blocks, into int, weight float64, d driver.Ptr) {
		l := &loss{A: x, B: m.x, Mask: m.cells, D: d, Sums: m.alloc(blocks, 8), Kind: int32(kind), Blocks: int32(blocks), Weight: float32(weight)}
		list, totals = append(list, l), append(totals, total{l, into})
	}
	own := func(kind, blocks, into int, weight float64) {
		d := m.floats(n * m.F)
		compare(kind, blocks, into, weight, d)
		dX = append(dX, plain(d, m.F))
	}
	own(moments, m.T*m.F, lossV, c.Moments)
	if c.Changes > 0 {
		own(changes, m.F, lossC, c.Changes)
	}
	lags := m.lags()
	var scales, spreads []step // of what is compared on the scale of the real
	if c.Changes > 0 || c.Covariances > 0 {
		scales = []step{{stats, func() {
			launch(&m.arena, stats, m.F, 1, wide, 0, statsArgs{X: m.x, Stats: m.stats, T: int32(m.T), B: int32(m.B), F: int32(m.F)})
		}}}
	}
	if c.Covariances > 0 {
		blocks := len(lags) * m.F * m.F
		products, d := m.floats(blocks), m.floats(n*m.F)
		compare(covariances, blocks, lossK, c.Covariances, products)
		dX = append(dX, plain(d, m.F))
		spreads = []step{{spread, func() {
			launch(&m.arena, spread, (n*m.F+255)/256, 1, 256, 0, spreadArgs{X: x, Stats: m.stats, Products: products, D: d,
				T: int32(m.T), B: int32(m.B), F: int32(m.F), Lags: lags})
		}}}
	}
	fooled := m.entropies(label{judgeFake, 1, 1}, label{judgeOwn, 1, c.Gamma})
	list = append(list, fooled.list...)
	totals = append(totals, total{fooled.all(), lossU})

	var back []pass
	if c.Latent {
		back = []pass{
			judgeFake.from(true, fooled.gradient(0)),
			render.from(true, dX...),
			next.from(true, judgeFake.passed(), render.passed()),
			judgeOwn.from(true, fooled.gradient(1)),
			generate.from(false, next.passed(), judgeOwn.passed())}
	} else {
		back = []pass{
			judgeFake.from(true, fooled.gradient(0)), // it saw the codes of x
			again.from(true, judgeFake.passed()),
			render.from(true, append(dX, again.passed())...),
			next.from(true, render.passed()),
			generate.from(false, next.passed())}
	}

	// The embedder's.
	dR := m.floats(n * m.F)
	r := m.squares(decode.Y, m.x, m.cells, n, m.F, true, dR)
	s2 := m.predicts(super, embed)
	totals = append(totals, total{r, lossR})
	target := mean(-.1, s2)
	target.Shift = 1

	// The discriminator's.
	told := m.entropies(label{judge, 1, 1}, label{judgeFake, 0, 1}, label{judgeOwn, 0, c.Gamma})
	totals = append(totals, total{told.all(), lossD})
	judges, judgesBack := []*application{judge, judgeFake}, []pass{judge.from(false, told.gradient(0)), judgeFake.from(false, told.gradient(1))}
	if c.Latent {
		judges, judgesBack = append(judges, judgeOwn), append(judgesBack, judgeOwn.from(false, told.gradient(2)))
	}

	const ph = timegan.Joint
	chains := append([]*application{embed, super}, chain...)
	for k := range 2 {
		m.do(ph,
			m.prepare(ph, k, true))
		m.do(ph, scales...)
		m.do(ph,
			m.forward(2, chains...),
			m.lose(list...))
		m.do(ph, spreads...)
		m.do(ph,
			m.backward(1, append([]pass{super.from(false, root(c.Eta, s))}, back...)...))
		m.learn(ph, k, nil, generate, super, next)
		m.do(ph,
			m.forward(1, decode, super),
			m.lose(r, s2),
			m.backward(3, decode.from(true, root(10, r)), super.from(true, mean(.1, s2)), embed.from(false, decode.passed(), target, super.passed())))
		m.learn(ph, k, nil, embed, decode)
	}
	m.do(ph,
		m.prepare(ph, 2, true),
		m.forward(2, append([]*application{embed, judge}, chain...)...),
		m.lose(told.list...),
		m.backward(1, judgesBack...))
	m.learn(ph, 0, told, judges...)
	m.do(ph, m.finish([networks]int32{2, 2, 2, 2, 1}, told, totals...))
}

func (m *model) lags() (out [4]int32) {
	for i, l := range timegan.CovarianceLags {
		out[i] = int32(l)
	}
	return out
}

// ---- Launches --------------------------------------------------------------

// wide is the threads of a block of losses, as in kernels.cu.
const wide = 128

// prepare draws the pick-th batch of an update, and noise where it generates.
func (m *model) prepare(ph timegan.Phase, pick int, noise bool) step {
	w := &m.windows
	a := prepareArgs{
		Control: m.control, Data: w.data, DataValid: w.valid, Limit: w.limit, Second: w.second, Start: w.start, Bit: m.bit, Median: m.median,
		X: m.x, Valid: m.valid, Cond: m.cond, Cells: m.cells, Codes: m.codes, Z: m.z, Fake: m.fake, Clock: m.clock, Carry: m.carry,
		Fresh:  uint64(math.Ceil(float64(m.T) / timegan.EpisodeSeconds * (1 << 53))),
		Starts: int32(w.starts), T: int32(m.T), B: int32(m.B), F: int32(m.F), V: int32(m.V), C: int32(m.C), Z0: int32(m.Z), H: int32(m.H),
		Layers: int32(m.layerAt[networks]), Turn: int32(max(m.Config.Clock, 0)), Pick: int32(4*int(ph) + pick), Round: -1,
	}
	if noise {
		a.Round = int32(pick)
	}
	if m.Config.Latent {
		a.Latent = 1
	}
	return step{prepare, func() { launch(&m.arena, prepare, m.B, 1, 64, 0, a) }}
}

func (m *model) forward(split int, all ...*application) step {
	var list []pass
	for _, a := range all {
		list = append(list, a.pass)
	}
	return m.network(forward, split, list)
}

func (m *model) backward(split int, all ...pass) step { return m.network(backward, split, all) }

func (m *model) network(kernel, split int, list []pass) step {
	args := networkArgs{Pass: put(&m.arena, list), Count: int32(len(list)), Valid: m.valid}
	return step{kernel, func() { m.run(kernel, args, split, m.B, m.T) }}
}

// from is an application's way back: the gradient of its output is the sum of
// sources; that of its input is wanted or not.
func (a *application) from(wanted bool, sources ...source) pass {
	p := a.pass
	if !wanted {
		p.DX = 0
	}
	p.Sources = int32(copy(p.Source[:], sources))
	return p
}

// passed is the gradient at an application's first part.
func (a *application) passed() source { return plain(a.DX, int(a.In)) }

// plain is a gradient as it is.
func plain(d driver.Ptr, stride int) source { return source{P: d, Stride: int32(stride), Weight: 1} }

// mean is the gradient of weight times a mean of squares.
func mean(weight float64, l *loss) source {
	return source{P: l.D, Sums: l.Sums, Stride: l.Width, Blocks: l.Blocks, Weight: float32(weight)}
}

// root is that of weight times its root.
func root(weight float64, l *loss) source {
	s := mean(weight, l)
	s.Root = 1
	return s
}

// squares is a mean square, where mask is set: of a row or, with cells, of
// each number.
func (m *model) squares(a, b, mask driver.Ptr, rows, width int, cells bool, d driver.Ptr) *loss {
	blocks := (rows*width + 4095) / 4096
	l := &loss{A: a, B: b, Mask: mask, D: d, Sums: m.alloc(2*blocks, 8), Kind: squares, Blocks: int32(blocks), Rows: int32(rows), Width: int32(width)}
	if cells {
		l.Each = 1
	}
	return l
}

// predicts is L_S, of the supervisor's codes against the next ones.
func (m *model) predicts(super, embed *application) *loss {
	row := driver.Ptr(4 * m.B)
	return m.squares(super.Y, embed.Y+row*driver.Ptr(m.H), m.codes+row, (m.T-1)*m.B, m.H, false, m.floats(m.T*m.B*m.H))
}

// label is what a discriminator's logits should say.
type label struct {
	judge         *application // nil: not there
	label, weight float64
}

// entropy is binary cross-entropies whose sums lie together.
type entropy struct {
	list []*loss
	sums driver.Ptr
	n    int
}

func (m *model) entropies(labels ...label) *entropy {
	blocks := (m.T*m.B + 1023) / 1024
	e := &entropy{sums: m.alloc(len(labels)*blocks, 8)}
	for _, l := range labels {
		if l.judge == nil {
			continue
		}
		e.list = append(e.list, &loss{A: l.judge.Y, D: m.floats(m.T * m.B), Sums: e.sums + driver.Ptr(8*e.n), Kind: crossEntropy, Blocks: int32(blocks),
			Rows: int32(m.T * m.B), Width: 1, Weight: float32(l.weight), Label: float32(l.label)})
		e.n += blocks
	}
	return e
}

func (e *entropy) gradient(i int) source { return plain(e.list[i].D, 1) }

// all is their sum.
func (e *entropy) all() *loss {
	return &loss{Sums: e.sums, Blocks: int32(e.n), Kind: crossEntropy}
}

// lose computes losses and their gradients.
func (m *model) lose(all ...*loss) step {
	blocks := 0
	var list []loss
	for _, l := range all {
		list, blocks = append(list, *l), max(blocks, int(l.Blocks))
	}
	a := lossArgs{Loss: put(&m.arena, list), Stats: m.stats, T: int32(m.T), B: int32(m.B), F: int32(m.F), Lags: m.lags()}
	return step{losses, func() { launch(&m.arena, losses, blocks, len(list), wide, 0, a) }}
}

// learn appends what sums the gradients of all's networks, one network or two
// neighbours, and makes a step of Adam after before others of this update.
// Below the threshold of gate, unless nil, nothing is learnt.
func (m *model) learn(ph timegan.Phase, before int, gate *entropy, all ...*application) {
	c := m.Config
	a := learnArgs{Control: m.control, Partials: m.partials, Grad: m.grad, P: m.p, M: m.m, V: m.v,
		Threshold: c.Threshold, Rate: c.LearningRate, Params: int32(m.at[networks]), Of: 1, Before: int32(before)}
	if gate != nil {
		a.Gate, a.Gates = gate.sums, int32(gate.n)
	}
	var used [networks]int32
	var list []product
	for _, x := range all {
		list = append(list, m.products(x, used[x.network])...)
		used[x.network]++
	}
	tiles := tilesOf(list)
	for i, n := range used {
		if n == 0 {
			continue
		}
		r := span{int32(m.at[i]), int32(m.at[i+1] - m.at[i]), n * int32(m.splits()), int32(i)}
		if a.One.Count == 0 {
			a.One = r
		} else {
			a.Two = r
		}
	}
	pa := productArgs{Products: put(&m.arena, list), Tiles: put(&m.arena, tiles), Partials: m.partials,
		Rows: int32(m.T * m.B), Each: int32(m.share), Params: a.Params}
	blocks := int(a.One.Count+a.Two.Count+255) / 256
	if ph == timegan.Joint {
		a.Fall, a.Of = 1-c.FinalRate, int32(max(c.Joint, 1))
	}
	m.do(ph,
		step{products, func() { launch(&m.arena, products, len(tiles), m.splits(), 64, 0, pa) }},
		step{gradient, func() { launch(&m.arena, gradient, blocks, 1, 256, 0, a) }},
		step{adam, func() { launch(&m.arena, adam, blocks, 1, 256, 0, a) }})
}

// products are the gradients of an application's weights.
func (m *model) products(a *application, slot int32) []product {
	return gradients(a.pass, m.at[a.network], m.H, m.T, m.B, slot)
}

// gradients are those of the weights of a pass over [T,B] rows, which begin at in
// the parameters.
func gradients(a pass, begin, hidden, steps, rows int, slot int32) []product {
	H, in, at := int32(hidden), a.In, int32(begin)
	row := 4 * driver.Ptr(rows*hidden) // bytes of a second's hidden states
	layer := row * driver.Ptr(steps+1) // of a layer's
	gates := row * driver.Ptr(4*steps) // of a layer's gates
	x, h, d := a.X, a.H, a.Gates
	var list []product
	for range a.Layers {
		bias := at + 3*H*(in+H)
		list = append(list,
			product{A: d, B: x, LDA: 4 * H, NA: 3 * H, Edge: 3 * H, LDB: in, NB: in, Weight: at, Bias: bias, Slot: slot},
			product{A: d, B: h, LDA: 4 * H, NA: 3 * H, Edge: 2 * H, Gap: H, LDB: H, NB: H, Weight: at + 3*H*in, Bias: bias + 3*H, Slot: slot})
		at = bias + 6*H
		x, h, d, in = h+row, h+layer, d+gates, H
	}
	return append(list, product{A: a.DY, B: x, LDA: a.Out, NA: a.Out, Edge: a.Out, LDB: H, NB: H, Weight: at, Bias: at + a.Out*H, Slot: slot})
}

// tilesOf are the tiles of products: 16 columns of a by 16 of b, one more for the
// biases.
func tilesOf(list []product) (tiles []tile) {
	for k, p := range list {
		for i := int32(0); i < p.NA; i += 16 {
			for j := int32(0); j <= p.NB; j += 16 {
				tiles = append(tiles, tile{Product: int32(k), I: i, J: j})
			}
		}
	}
	return tiles
}

// total is where a loss goes in the record.
type total struct {
	loss *loss
	into int
}

// finish ends an update, in which Adam made so many steps for each network; of
// the discriminator only where its gate, if any, is open.
func (m *model) finish(learned [networks]int32, gate *entropy, totals ...total) step {
	var list []sum
	for _, t := range totals {
		s := sum{Sums: t.loss.Sums, N: t.loss.Blocks, Into: int32(t.into)}
		if t.loss.Kind == squares {
			s.Mean = 1
		}
		list = append(list, s)
	}
	a := finishArgs{Control: m.control, Sum: put(&m.arena, list), Records: m.records, Threshold: m.Config.Threshold,
		Count: int32(len(list)), Learned: learned, Gated: -1}
	if gate != nil {
		a.Gate, a.Gates, a.Gated = gate.sums, int32(gate.n), discriminator
	}
	return step{finish, func() { launch(&m.arena, finish, 1, 1, wide, 0, a) }}
}

// ---- Updates ---------------------------------------------------------------

// graph is an update of a phase, recorded once.
func (m *model) graph(ph timegan.Phase) (driver.Exec, error) {
	if m.graphs[ph] != 0 {
		return m.graphs[ph], nil
	}
	if err := m.BeginCapture(m.stream); err != nil {
		return 0, err
	}
	for _, s := range m.launches[ph] {
		s.launch()
	}
	g, err := m.EndCapture(m.stream)
	if m.err != nil {
		err = m.err
	}
	if g != 0 {
		defer func() { _ = m.DestroyGraph(g) }() // what was made of it stays
	}
	if err != nil {
		return 0, err
	}
	m.graphs[ph], err = m.Instantiate(g)
	return m.graphs[ph], err
}

// update makes updates from…from+len(losses)-1 of a phase, a chunk at most.
func (m *model) update(ph timegan.Phase, from int, seed uint64, losses []timegan.Losses) (int, error) {
	g, err := m.graph(ph)
	if err != nil {
		return 0, err
	}
	if from == 0 { // each phase has an optimiser of its own
		n := 4 * m.at[networks]
		for _, z := range []struct {
			p driver.Ptr
			n int
		}{{m.m, n}, {m.v, n}, {m.control + 20, 4 * networks}} {
			if err := m.Zero(z.p, z.n, m.stream); err != nil {
				return 0, err
			}
		}
	}
	c := control{Seed: seed, Update: int32(from), Bad: none}
	upload(&m.arena, m.control, bytesOf([]control{c})[:20])
	if m.err == nil {
		m.err = m.Zero(m.records, chunk*int(unsafe.Sizeof(record{})), m.stream)
	}
	for range losses {
		if m.err == nil {
			m.err = m.LaunchGraph(g, m.stream)
		}
	}
	records := make([]record, len(losses))
	download(&m.arena, records, m.records)
	if err := m.wait(); err != nil {
		return 0, err
	}
	for i, r := range records {
		losses[i] = r.losses()
		if r.Bad != none {
			losses[i].At = m.tensorAt(int(r.Bad))
			return i, &timegan.DivergedError{Phase: ph, Update: from + i, Tensor: losses[i].At}
		}
	}
	return len(losses), nil
}

func (r *record) losses() timegan.Losses {
	l := &r.Loss
	return timegan.Losses{R: l[lossR], S: l[lossS], U: l[lossU], V: l[lossV], C: l[lossC], K: l[lossK], D: l[lossD]}
}

// tensorAt names the tensor that a parameter belongs to.
func (m *model) tensorAt(i int) string {
	p, _ := m.Empty()
	for _, t := range p {
		if i < len(t.Data) {
			return t.Name
		}
		i -= len(t.Data)
	}
	panic(fmt.Sprintf("cuda: no parameter lies %d after the last", i))
}

// steps makes updates until ctx ends.
func (m *model) steps(ctx context.Context, ph timegan.Phase, from int, seed uint64, losses []timegan.Losses) (int, error) {
	for done := 0; done < len(losses); {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := m.update(ph, from+done, seed, losses[done:min(done+chunk, len(losses))])
		done += n
		if err != nil {
			return done, err
		}
	}
	return len(losses), nil
}

// end frees the model's memory and graphs.
func (m *model) end() error {
	var first error
	if m.training != nil {
		for _, g := range m.graphs {
			if g == 0 {
				continue
			}
			if err := m.DestroyExec(g); first == nil {
				first = err
			}
		}
	}
	if err := m.free(); first == nil {
		first = err
	}
	return first
}
