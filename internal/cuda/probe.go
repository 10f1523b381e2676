package cuda

import (
	"errors"
	"fmt"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/timegan"
)

// Probe is a model on a device whose launches are made one by one, and whose
// arrays are read and written between them. The tests of the kernels see
// through it: they belong to the module of the emulator, which this module does
// not require. Its calls belong to one thread, the context's.
type Probe struct{ m *model }

// NewProbe opens device 0 of d and loads a model as Engine.Load does. What it
// opened is closed where it fails.
func NewProbe(d driver.Driver, l timegan.Layout, p timegan.Params, w timegan.Windows) (*Probe, error) {
	dev, err := openDevice(d, 0, 1)
	if err != nil {
		return nil, err
	}
	m, err := newModel(dev, l, p, nil, w)
	if err != nil {
		return nil, errors.Join(err, dev.close())
	}
	return &Probe{m}, nil
}

// Close frees the model and closes the device.
func (p *Probe) Close() error { return errors.Join(p.m.end(), p.m.close()) }

// array returns where an array lies, and its length in float32.
//
//	x [T,B,F]  valid [T,B,V]  cond [T,B,C]  cells [T,B,F]  codes [T,B]   the batch
//	z [T,B,Z]  fake [T,B,C]                                              of generated windows
//	params, grad, moment1, moment2                                       of all networks: see Span
func (p *Probe) array(name string) (driver.Ptr, int) {
	m := p.m
	n, all := m.T*m.B, m.at[networks]
	switch name {
	case "x":
		return m.x, n * m.F
	case "valid":
		return m.valid, n * m.V
	case "cond":
		return m.cond, n * m.C
	case "cells":
		return m.cells, n * m.F
	case "codes":
		return m.codes, n
	case "z":
		return m.z, n * m.Z
	case "fake":
		return m.fake, n * m.C
	case "params":
		return m.p, all
	case "grad":
		return m.grad, all
	case "moment1":
		return m.m, all
	case "moment2":
		return m.v, all
	}
	panic(fmt.Sprintf("cuda: probe: no array %q", name))
}

// Span returns where a network's numbers begin and end in params, grad and the
// moments; networks are counted as in timegan.Layout.
func (p *Probe) Span(network int) (from, to int) { return p.m.at[network], p.m.at[network+1] }

// Read copies an array from the device.
func (p *Probe) Read(name string) ([]float32, error) {
	at, n := p.array(name)
	return p.read(at, n)
}

func (p *Probe) read(at driver.Ptr, n int) ([]float32, error) {
	out := make([]float32, n)
	download(&p.m.arena, out, at)
	return out, p.m.wait()
}

// Write copies values over an array from its number at on. An error comes with
// the next Read.
func (p *Probe) Write(name string, at int, values []float32) {
	to, n := p.array(name)
	if at < 0 || at+len(values) > n {
		panic(fmt.Sprintf("cuda: probe: %d values at %d of %s, which has %d", len(values), at, name, n))
	}
	upload(&p.m.arena, to+driver.Ptr(4*at), values)
}

// Launch is one launch of a kernel in an update.
type Launch struct {
	Kernel string
	Run    func()
}

// Update begins update number update of a phase and returns its launches, in
// order; an error of one comes with the next Read.
func (p *Probe) Update(ph timegan.Phase, update int, seed uint64) []Launch {
	m := p.m
	upload(&m.arena, m.control, bytesOf([]control{{Seed: seed, Update: int32(update), Bad: none}}))
	upload(&m.arena, m.records, make([]record, 1))
	var all []Launch
	for _, s := range m.launches[ph] {
		all = append(all, Launch{functions[s.kernel], s.launch})
	}
	return all
}

// Losses returns those of the update that Update began.
func (p *Probe) Losses() (timegan.Losses, error) {
	var r [1]record
	download(&p.m.arena, r[:], p.m.records)
	return r[0].losses(), p.m.wait()
}

// Pass is one network's way there and back, over [T,B] inputs.
type Pass struct {
	Y    []float32 // [T,B,out]
	DX   []float32 // [T,B,in], the gradient of the input
	Last []float32 // [layers,B,H], the hidden states after the last step; nil where it began from zeros
	Grad []float32 // of the network's parameters, as they lie in a Span
}

// Pass runs a network on x [T,B,in] from hidden states start [layers,B,H] (nil:
// zeros), then back from dy [T,B,out]. With far, weights stay in global memory
// instead of a copy in shared memory.
func (p *Probe) Pass(network int, x, start, dy []float32, far bool) (out Pass, err error) {
	m := p.m
	if far {
		m.weights = 0
	}
	a := m.train1(network, part{P: put(&m.arena, x), Width: int32(m.Networks[network].In)})
	if start != nil {
		a.Carry, a.CarryRow, a.CarryLayer = put(&m.arena, start), int32(m.H), int32(m.B*m.H)
	}
	m.forward(1, a).launch()
	if out.Y, err = p.read(a.Y, len(dy)); err != nil {
		return out, err
	}
	m.backward(1, a.from(true, plain(put(&m.arena, dy), int(a.Out)))).launch()
	ph := timegan.Embedding
	before := len(m.launches[ph])
	m.learn(ph, 0, nil, a)
	sums := m.launches[ph][before:]
	m.launches[ph] = m.launches[ph][:before]
	for _, s := range sums[:len(sums)-1] { // all but the optimiser's step
		s.launch()
	}
	if start != nil {
		if out.Last, err = p.read(a.Carry, len(start)); err != nil {
			return out, err
		}
	}
	if out.DX, err = p.read(a.DX, len(x)); err != nil {
		return out, err
	}
	from, to := p.Span(network)
	out.Grad, err = p.read(m.grad+driver.Ptr(4*from), to-from)
	return out, err
}

// AdamStep is one step of the optimiser from what params, grad and the moments
// hold.
type AdamStep struct {
	Networks  [2]int    // learn, neighbours in this order
	Learned   int       // steps that they made before
	Update    int       // of Of: the learning rate falls by the fraction Fall on the way
	Of        int       //
	Rate      float64   // learning rate of update 0
	Fall      float64   //
	Gate      []float64 // terms of a loss below whose Threshold nothing is learnt; nil: always
	Threshold float64   //
	Bad       int       // the parameter whose gradient is NaN or Inf, -1 for none
}

// Adam makes it. An error comes with the next Read.
func (p *Probe) Adam(s AdamStep) {
	m := p.m
	c := control{Update: int32(s.Update), Bad: none}
	if s.Bad >= 0 {
		c.Bad = int32(s.Bad)
	}
	for i := range c.Learned {
		c.Learned[i] = int32(s.Learned - 1)
	}
	upload(&m.arena, m.control, bytesOf([]control{c}))
	n := m.at[networks]
	of := func(network int) span {
		from, to := p.Span(network)
		return span{From: int32(from), Count: int32(to - from), Network: int32(network)}
	}
	a := learnArgs{Control: m.control, Grad: m.grad, P: m.p, M: m.m, V: m.v, Rate: s.Rate, Fall: s.Fall, Of: int32(s.Of), Before: 1, Params: int32(n),
		One: of(s.Networks[0]), Two: of(s.Networks[1]), Gates: int32(len(s.Gate)), Threshold: s.Threshold}
	if s.Gate != nil {
		a.Gate = put(&m.arena, s.Gate)
	}
	launch(&m.arena, adam, (n+255)/256, 1, 256, 0, a)
}

// Profile makes an update, each kernel alone, and adds its milliseconds to
// took, by its name.
func (p *Probe) Profile(ph timegan.Phase, took map[string]float64) error {
	return p.m.profile(ph, took)
}

// profile makes an update and adds each kernel's milliseconds.
func (m *model) profile(ph timegan.Phase, took map[string]float64) error {
	from, err := m.NewEvent()
	if err != nil {
		return err
	}
	to, err := m.NewEvent()
	if err != nil {
		return errors.Join(err, m.DestroyEvent(from))
	}
	upload(&m.arena, m.control, bytesOf([]control{{Seed: 1, Update: 1, Bad: none}})[:20])
	err = func() error {
		for _, s := range m.launches[ph] {
			if err := m.Record(from, m.stream); err != nil {
				return err
			}
			s.launch()
			if err := m.Record(to, m.stream); err != nil {
				return err
			}
			if err := m.wait(); err != nil {
				return err
			}
			ms, err := m.Elapsed(from, to)
			if err != nil {
				return err
			}
			took[functions[s.kernel]] += float64(ms)
		}
		return nil
	}()
	return errors.Join(err, m.DestroyEvent(from), m.DestroyEvent(to))
}
