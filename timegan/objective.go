package timegan

import "github.com/planegym/planegym/compute"

// Objective computes what training descends: for the batch that an Update
// holds, each method gives the losses of one step and adds the gradients of
// the networks that learn by it to theirs. Everything else, batches, noise and
// Adam, is the trainer's, so that objectives differ in nothing but how they
// differentiate. Embedder follows a Generator on the same batch; the weights of
// generator and supervisor have been updated between them.
type Objective interface {
	Embedding(l *Losses) error  // embedder, recovery
	Supervised(l *Losses) error // supervisor
	Generator(l *Losses) error  // generator, supervisor
	Embedder(l *Losses) error   // embedder, recovery
	// Discriminator adds no gradient, and reports false, where its loss is
	// below the threshold.
	Discriminator(l *Losses) (learns bool, err error)
	// GoOn sets Carry to the hidden states after the last second of the
	// generated windows, unless Latent.
	GoOn()
}

// Update is what an Objective works on. Its memory stays where it is; the
// trainer fills it anew before every step.
type Update struct {
	Config                     Config
	Steps, Rows                int // T, B
	Channels, Bits, Conditions int // F, V, C

	X, Valid, Told []float32 // [T,B,F], [T,B,V], [T,B,C] of real windows
	Cells          []bool    // [T,B,F], was measured
	Codes          []bool    // [T,B,H], of a second in which something was
	Z, ToldFake    []float32 // [T,B,Z], [T,B,C] of generated windows

	Embedder, Recovery, Generator, Supervisor, Discriminator Network

	data  *Windows
	fused *fused
}

// Fused is the objective whose gradients are written by hand over fused
// kernels, the default: on the memory of u, for comparison with another.
func (u *Update) Fused() Objective { return u.fused }

// Network is one of the five, as an Objective sees it.
type Network struct {
	compute.GRUConfig
	Params *compute.Params
	Name   string
	Grad   []float32 // add to it
	Carry  []float32 // [L,B,H], where generated windows begin
}

// Fill gives x [T,B,F] the gaps of the real windows: where a channel was not
// measured it shows its last measured value, the median before the first.
func (u *Update) Fill(x []float32) { u.data.fill(x, u.Valid, u.Rows) }

// FillBack is the adjoint of Fill.
func (u *Update) FillBack(dx []float32) { u.data.fillGrad(dx, u.Valid, u.Rows) }

// training shows what t holds.
func (t *trainer) update() *Update {
	net := func(i int) Network {
		return Network{t.nets[i].GRUConfig, t.nets[i].Params(), networkNames[i], t.nets[i].grad, t.carry[i]}
	}
	return &Update{
		Config: t.c, Steps: t.data.Length, Rows: t.c.Batch,
		Channels: t.data.Channels(), Bits: t.data.Bits, Conditions: t.c.conditions(),
		X: t.batch.x, Valid: t.batch.valid, Told: t.batch.cond, Cells: t.cells, Codes: t.codes, Z: t.z, ToldFake: t.cond,
		Embedder: net(embedder), Recovery: net(recovery), Generator: net(generator), Supervisor: net(supervisor), Discriminator: net(discriminator),
		data: &t.data, fused: &fused{trainer: t},
	}
}

// fused is the objective with gradients by hand, over fused kernels.
type fused struct {
	*trainer
	h []float32 // codes of the batch, from Generator to Embedder
}

func (f *fused) Embedding(l *Losses) error {
	f.embedding(l)
	return nil
}

func (f *fused) Supervised(l *Losses) error {
	f.supervise(l)
	return nil
}

func (f *fused) Generator(l *Losses) error {
	f.h = f.encode()
	f.generator(f.h, l)
	return nil
}

func (f *fused) Embedder(l *Losses) error {
	f.embedder(f.h, l)
	return nil
}

func (f *fused) Discriminator(l *Losses) (bool, error) {
	return f.discriminator(f.encode(), l), nil
}

func (f *fused) GoOn() { f.goOn() }
