package cuda

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/seq"
)

// Sequence trains a causal model of package seq on a device: it is a
// seq.Updater. A batch goes up and losses come down with every update; weights,
// gradients, moments and averages stay.
type Sequence struct {
	onThread
	model    *seq.Model
	names    []string    // of the groups of parameters
	params   [][]float32 // of the model, by group
	grads    [][]float32
	losses   []float64
	ones     []float32
	resident bool // parameters are the device's, see Load
}

var _ seq.Updater = (*Sequence)(nil)

// RegisterSeq makes device number ordinal of d's driver an engine of package seq,
// and returns its name, which holds what its bytes depend on.
func RegisterSeq(d func() driver.Driver, ordinal int) (name string, err error) {
	t := driver.NewThread()
	defer t.Close()
	err = t.Do(func() error {
		dev, err := openDevice(d(), ordinal, 1)
		if err != nil {
			return err
		}
		name = engineName(dev.info)
		return dev.close()
	})
	if err != nil {
		return "", err
	}
	seq.Register(name, func(m *seq.Model, _ *compute.Backend, steps, rows int) (seq.Objective, error) {
		return NewSequence(d(), ordinal, m, steps, rows)
	}, func(m *seq.Model, n int) (seq.Stepper, error) {
		return NewSequenceSampler(d(), ordinal, m, n)
	})
	return name, nil
}

// NewSequence opens a device for batches of steps×rows. The caller closes it.
func NewSequence(d driver.Driver, ordinal int, m *seq.Model, steps, rows int) (*Sequence, error) {
	if err := computes(m); err != nil {
		return nil, err
	}
	s := &Sequence{model: m, params: groups(m), losses: make([]float64, len(m.Heads))}
	for _, g := range m.Parts().Groups {
		s.names = append(s.names, g.Name)
		s.grads = append(s.grads, make([]float32, len(g.Data)))
	}
	for range steps * rows * len(m.Heads) {
		s.ones = append(s.ones, 1)
	}
	err := s.open(d, ordinal, func(dev *device) (*sequence, error) { return newSequence(dev, m, steps, rows) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

// onThread is a sequence on a thread of its own, with the device open there.
type onThread struct {
	t *driver.Thread // nil once closed
	s *sequence      // used on t only
}

// open opens a device for what lay makes there, and closes it where that fails.
func (o *onThread) open(d driver.Driver, ordinal int, lay func(*device) (*sequence, error)) error {
	t := driver.NewThread()
	err := t.Do(func() error {
		dev, err := openDevice(d, ordinal, 1)
		if err != nil {
			return err
		}
		if o.s, err = lay(dev); err != nil {
			return errors.Join(err, dev.close())
		}
		return nil
	})
	if err != nil {
		t.Close()
		return err
	}
	o.t = t
	return nil
}

func (o *onThread) do(f func(*sequence) error) error {
	if o.t == nil {
		return errClosed
	}
	return o.t.Do(func() error { return f(o.s) })
}

// Close gives the device's memory back and closes it.
func (o *onThread) Close() error {
	if o.t == nil {
		return nil
	}
	err := o.t.Do(func() error { return errors.Join(o.s.free(), o.s.close()) })
	o.t.Close()
	o.t = nil
	return err
}

// computes reports what this engine does not compute.
func computes(m *seq.Model) error {
	switch {
	case m.Bidirectional:
		return errors.New("cuda: a model that reads from both ends is computed on the CPU")
	case m.HeadHidden > 0:
		return errors.New("cuda: a model with a dense layer before its heads is computed on the CPU")
	case m.Hidden > maxHidden:
		return fmt.Errorf("cuda: hidden: %d is above %d, what this engine computes", m.Hidden, maxHidden)
	}
	return nil
}

// groups are a model's parameters, as they lie on the device.
func groups(m *seq.Model) (all [][]float32) {
	for _, g := range m.Parts().Groups {
		all = append(all, g.Data)
	}
	return all
}

// Losses is seq.Objective's.
func (s *Sequence) Losses(b *seq.Batch) ([]float64, error) {
	weight := b.Weight
	if weight == nil {
		weight = s.ones
	}
	err := s.do(func(d *sequence) error {
		n := d.T * d.B
		if b.Steps != d.T || b.Rows != d.B || len(b.Tokens) != n*len(s.model.Embeddings) || len(b.Dense) != n*s.model.Dense ||
			len(b.Values) != len(s.ones) || len(weight) != len(s.ones) {
			return fmt.Errorf("cuda: a batch of %d×%d with %d values, the engine is for %d×%d with %d", b.Steps, b.Rows, len(b.Values), d.T, d.B, len(s.ones))
		}
		if !s.resident {
			d.upload(d.p, s.params)
		}
		upload(&d.arena, d.tokens, b.Tokens)
		upload(&d.arena, d.dense, b.Dense)
		upload(&d.arena, d.values, b.Values)
		upload(&d.arena, d.weight, weight)
		upload(&d.arena, d.control, bytesOf([]control{{Bad: none}})[:20])
		steps := b.Counted(len(s.model.Heads))
		for _, l := range d.launches(1 / float32(max(steps, 1))) {
			l.launch()
		}
		if !s.resident {
			d.download(s.grads, d.grad)
		}
		return d.losses(s.losses, steps)
	})
	return s.losses, err
}

// Gradients is seq.Objective's. Between Load and Store they stay on the device.
func (s *Sequence) Gradients() [][]float32 { return s.grads }

// Load is seq.Updater's.
func (s *Sequence) Load(m seq.Moments) error {
	return s.do(func(d *sequence) error {
		d.upload(d.p, s.params)
		d.upload(d.m, m.M)
		d.upload(d.v, m.V)
		d.upload(d.average, m.Average)
		s.resident = true
		return d.wait()
	})
}

// Step is seq.Updater's.
func (s *Sequence) Step(u seq.Step) error {
	return s.do(func(d *sequence) error {
		if d.bad != none {
			return &seq.DivergedError{Update: u.Update, Tensor: s.names[d.group(s.params)]}
		}
		d.step(u)
		return d.err
	})
}

// Store is seq.Updater's.
func (s *Sequence) Store(m seq.Moments) error {
	return s.do(func(d *sequence) error {
		d.download(s.params, d.p)
		d.download(m.M, d.m)
		d.download(m.V, d.v)
		d.download(m.Average, d.average)
		return d.wait()
	})
}

// sequence is a model's memory on a device. Parameters lie one group of
// seq.Parts after another.
type sequence struct {
	arena
	T, B, H, in, width, heads, params int

	p, m, v, average, grad, partials driver.Ptr // [params]; partials [splits,params]
	decay                            driver.Ptr // [params] 1 where weights decay
	tokens, dense, values, weight    driver.Ptr // the batch
	columns, headList, given         driver.Ptr
	tables, products, tiles, passes  driver.Ptr
	sums, norm, control              driver.Ptr
	pass                             pass
	counts                           struct{ tables, elements, tiles int }
	embeddings, numbers              int
	share, blocks                    int // rows of a split of a gradient's sums; blocks of a head's loss
	stage, weights                   int // floats of shared memory of the networks' kernels
	bad                              int // parameter whose gradient was NaN or Inf in the last Losses
}

// lay makes room for a model on batches of steps×rows: its parameters, input,
// states and outputs. at is where its tables begin.
func lay(dev *device, m *seq.Model, steps, rows int) (s *sequence, at []int, err error) {
	parts := m.Parts()
	s = &sequence{arena: arena{device: dev}, T: steps, B: rows, H: m.Hidden, in: m.In(), width: m.Width(), heads: len(m.Heads),
		embeddings: len(m.Embeddings), numbers: m.Dense}
	c := parts.GRU.GRUConfig
	c.Out = s.width
	s.stage, s.weights = sharedMemory(dev.info, c)
	if 4*s.stage > dev.info.SharedPerBlock-256 {
		return nil, nil, fmt.Errorf("cuda: %d inputs, %d units and %d classes need %d bytes of shared memory: %s has %d", s.in, s.H, s.width, 4*s.stage, dev.info.Name, dev.info.SharedPerBlock)
	}
	for _, g := range parts.Groups {
		at = append(at, s.params)
		s.params += len(g.Data)
	}
	at = at[len(at)-len(parts.Tables):]
	n := steps * rows
	s.share = shareOf(n)
	s.blocks = (n + wide - 1) / wide
	if (steps+1)*rows*max(s.in, s.width, c.Layers*4*s.H) > math.MaxInt32 || s.splits()*s.params > math.MaxInt32 {
		return nil, nil, fmt.Errorf("cuda: %d steps of %d rows with %d inputs, %d units and %d classes make arrays of more than 2³¹ numbers", steps, rows, s.in, s.H, s.width)
	}
	s.p = s.floats(s.params)
	s.tokens, s.dense = s.alloc(n*s.embeddings, 4), s.floats(n*m.Dense)
	s.pass = s.arena.pass(c, s.p, steps, rows)
	var columns []column
	for i, e := range m.Embeddings {
		for d := range e.Dim {
			columns = append(columns, column{Token: int32(i), At: int32(at[i] + d), Dim: int32(e.Dim)})
		}
	}
	for d := range m.Dense {
		columns = append(columns, column{Token: -1, Dense: int32(d)})
	}
	var heads []classHead
	var given []classGiven
	for h, head := range m.Heads {
		heads = append(heads, classHead{Begin: int32(parts.Ends[h] - head.Size), Size: int32(head.Size), First: int32(len(given)), Count: int32(len(head.Given))})
		for k, g := range head.Given {
			given = append(given, classGiven{int32(g), int32(at[parts.Given[h][k]])})
		}
	}
	s.columns, s.headList, s.given = put(&s.arena, columns), put(&s.arena, heads), put(&s.arena, given)
	return s, at, nil
}

// newSequence is lay with what training needs.
func newSequence(dev *device, m *seq.Model, steps, rows int) (*sequence, error) {
	s, at, err := lay(dev, m, steps, rows)
	if err != nil {
		return nil, err
	}
	n, parts := steps*rows, m.Parts()
	s.m, s.v, s.average, s.grad = s.floats(s.params), s.floats(s.params), s.floats(s.params), s.floats(s.params)
	s.partials, s.decay = s.floats(s.splits()*s.params), put(&s.arena, matrices(parts.Groups))
	s.values, s.weight = s.alloc(n*s.heads, 4), s.floats(n*s.heads)
	s.sums, s.norm, s.control = s.alloc(s.heads*s.blocks, 8), s.alloc(1, 8), s.alloc(1, int(unsafe.Sizeof(control{})))
	s.pass.DY, s.pass.DH, s.pass.Sources = s.floats(n*s.width), s.floats(n*s.H), 1
	if s.embeddings > 0 { // else nothing learns from it
		s.pass.DX = s.floats(n * s.in)
	}
	s.pass.Source[0] = plain(s.pass.Y, s.width) // classes leaves the gradient there
	s.passes = put(&s.arena, []pass{s.pass})

	var tables []tableRows
	table := func(t tableRows, size int) {
		t.First = int32(s.counts.elements)
		s.counts.elements += size * int(t.Dim)
		tables = append(tables, t)
	}
	column := 0
	for i, e := range m.Embeddings {
		table(tableRows{Classes: s.tokens + driver.Ptr(4*i), D: s.pass.DX + driver.Ptr(4*column), Step: int32(s.embeddings),
			Stride: int32(s.in), Dim: int32(e.Dim), At: int32(at[i])}, e.Size)
		column += e.Dim
	}
	for h, head := range m.Heads {
		for k, g := range head.Given {
			table(tableRows{Classes: s.values + driver.Ptr(4*g), D: s.pass.Y + driver.Ptr(4*(parts.Ends[h]-head.Size)), Step: int32(s.heads),
				Stride: int32(s.width), Dim: int32(head.Size), At: int32(at[parts.Given[h][k]])}, m.Heads[g].Size)
		}
	}
	list := gradients(s.pass, 0, s.H, s.T, s.B, 0)
	tiles := tilesOf(list)
	s.tables, s.products, s.tiles = put(&s.arena, tables), put(&s.arena, list), put(&s.arena, tiles)
	s.counts.tables, s.counts.tiles = len(tables), len(tiles)
	if err := s.wait(); err != nil {
		_ = s.free() // err says what failed first
		return nil, err
	}
	return s, nil
}

// matrices are 1 for the parameters that decay, those of matrices and tables, and 0
// for biases.
func matrices(groups []seq.Group) (decay []float32) {
	for _, g := range groups {
		for _, v := range g.Views {
			one := float32(0)
			if len(v.Shape) == 2 {
				one = 1
			}
			for range v.Data {
				decay = append(decay, one)
			}
		}
	}
	return decay
}

func (s *sequence) splits() int { return (s.T*s.B + s.share - 1) / s.share }

// launches are those of an update up to its gradients.
func (s *sequence) launches(scale float32) []step {
	n := s.T * s.B
	all := []step{
		{gather, func() { s.gather(n) }},
		{forward, func() { s.network(forward) }},
		{classes, func() {
			launch(&s.arena, classes, s.blocks, s.heads, wide, 0, classArgs{P: s.p, Heads: s.headList, Given: s.given, Values: s.values, Weight: s.weight,
				Y: s.pass.Y, Sums: s.sums, Rows: int32(n), Heads_: int32(s.heads), Width: int32(s.width), Scale: scale})
		}},
		{backward, func() { s.network(backward) }},
		{products, func() {
			launch(&s.arena, products, s.counts.tiles, s.splits(), 64, 0, productArgs{Products: s.products, Tiles: s.tiles, Partials: s.partials,
				Rows: int32(n), Each: int32(s.share), Params: int32(s.params)})
		}},
	}
	if s.counts.tables > 0 {
		all = append(all, step{scatter, func() {
			launch(&s.arena, scatter, (s.counts.elements+255)/256, s.splits(), 256, 0, scatterArgs{Tables: s.tables, Partials: s.partials,
				Count: int32(s.counts.tables), Elements: int32(s.counts.elements), Rows: int32(n), Each: int32(s.share), Params: int32(s.params)})
		}})
	}
	return append(all, step{gradient, func() {
		launch(&s.arena, gradient, (s.params+255)/256, 1, 256, 0, learnArgs{Control: s.control, Partials: s.partials, Grad: s.grad,
			One: span{Count: int32(s.params), Slots: int32(s.splits())}, Params: int32(s.params)})
	}})
}

// gather launches what makes the input of n steps.
func (s *sequence) gather(n int) {
	launch(&s.arena, gather, (n*s.in+255)/256, 1, 256, 0, gatherArgs{P: s.p, Columns: s.columns, Tokens: s.tokens, Numbers: s.dense, X: s.pass.X,
		Rows: int32(n), In: int32(s.in), Tokens_: int32(s.embeddings), Dense: int32(s.numbers)})
}

// network launches the GRU and the head, or their way back.
func (s *sequence) network(kernel int) {
	runNetworks(&s.arena, kernel, networkArgs{Pass: s.passes, Count: 1, Split: 1, T: int32(s.T), B: int32(s.B), H: int32(s.H)}, s.stage, s.weights)
}

// losses reads those of an update in which so many steps counted, and which
// gradient was NaN or Inf.
func (s *sequence) losses(to []float64, steps int) error {
	sums, c := make([]float64, s.heads*s.blocks), make([]control, 1)
	download(&s.arena, sums, s.sums)
	download(&s.arena, bytesOf(c), s.control)
	if err := s.wait(); err != nil {
		return err
	}
	s.bad = int(c[0].Bad)
	for h := range to {
		to[h] = 0
		for _, v := range sums[h*s.blocks:][:s.blocks] {
			to[h] += v
		}
		to[h] /= float64(max(steps, 1))
	}
	return nil
}

// step updates the weights.
func (s *sequence) step(u seq.Step) {
	launch(&s.arena, norm, 1, 1, wide, 0, normArgs{Grad: s.grad, Norm: s.norm, Params: int32(s.params)})
	t := float64(u.T)
	launch(&s.arena, adamw, (s.params+255)/256, 1, 256, 0, updateArgs{Control: s.control, Norm: s.norm, Grad: s.grad, Decay: s.decay,
		P: s.p, M: s.m, V: s.v, Average: s.average, Limit: u.Clip, Keep: float32(1 - u.Rate*u.Decay), Params: int32(s.params),
		Step: float32(u.Rate / (1 - math.Pow(.9, t))), Root: float32(1 / math.Sqrt(1-math.Pow(.999, t))), Towards: float32(1 - u.Average)})
}

// group is that of the parameter bad.
func (s *sequence) group(groups [][]float32) int {
	at := s.bad
	for i, g := range groups {
		if at < len(g) {
			return i
		}
		at -= len(g)
	}
	panic(fmt.Sprintf("cuda: no parameter lies %d after the last", at))
}

// upload copies groups one after the other.
func (s *sequence) upload(to driver.Ptr, groups [][]float32) {
	for _, g := range groups {
		upload(&s.arena, to, g)
		to += driver.Ptr(4 * len(g))
	}
}

func (s *sequence) download(groups [][]float32, from driver.Ptr) {
	for _, g := range groups {
		download(&s.arena, g, from)
		from += driver.Ptr(4 * len(g))
	}
}
