package timegan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/telemetry"
)

// cpu is the engine of this machine's processor.
type cpu struct {
	name string
	be   *compute.Backend
	open func(*Update) (Objective, error) // nil is fused
	t    *trainer
}

// NewCPU makes the engine on a kernel set of this processor: compute.Reference for
// plain loops, the oracle of the others. Bytes do not depend on threads.
func NewCPU(k compute.Kernels, threads int) Engine {
	return &cpu{name: k.String(), be: compute.NewBackend(k, threads)}
}

// NewEngine makes an engine that trains by another objective, and rolls out on
// be, which it closes.
func NewEngine(name string, be *compute.Backend, open func(*Update) (Objective, error)) Engine {
	return &cpu{name: name, be: be, open: open}
}

func (e *cpu) Name() string { return e.name }

var errNotLoaded = errors.New("timegan: the engine has nothing loaded")

func (e *cpu) Load(c Config, p Params, s OptimiserState, d Windows) error {
	l := NewLayout(c, d.Channels(), d.Bits)
	if err := l.Check(p, s); err != nil {
		return err
	}
	t := newTrainer(e.be, l.Config, d)
	if e.open != nil && len(d.Start) > 0 { // else there is nothing to train on
		o, err := e.open(t.update())
		if err != nil {
			return err
		}
		t.objective = o
	}
	e.t = t
	t.load(p, s)
	return nil
}

// sameTensors reports tensors of other names or shapes than wanted.
func sameTensors(what string, got, want []Tensor) error {
	if len(got) != len(want) {
		return fmt.Errorf("timegan: %s: %d tensors, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.Name || !slices.Equal(g.Shape, w.Shape) || len(g.Data) != len(w.Data) {
			return fmt.Errorf("timegan: %s: tensor %d is %s %v of %d numbers, want %s %v", what, i, g.Name, g.Shape, len(g.Data), w.Name, w.Shape)
		}
	}
	return nil
}

func (e *cpu) Run(ctx context.Context, ph Phase, from, steps int, seed uint64, losses []Losses) (int, error) {
	if e.t == nil {
		return 0, errNotLoaded
	}
	return e.t.run(ctx, ph, from, steps, seed, losses)
}

func (e *cpu) Store() (Params, OptimiserState, error) {
	if e.t == nil {
		return nil, nil, errNotLoaded
	}
	p, s := NewLayout(e.t.c, e.t.data.Channels(), e.t.data.Bits).Empty()
	e.t.each(p, s, func(tensor, ours []float32) { copy(tensor, ours) })
	for i, n := range e.t.nets {
		s[0].Data[i] = float32(n.adam.T)
	}
	return p, s, nil
}

func (e *cpu) Close() error {
	e.t = nil
	e.be.Close()
	return nil
}

// load puts weights and, unless nil, the state in place.
func (t *trainer) load(p Params, s OptimiserState) {
	t.each(p, s, func(tensor, ours []float32) { copy(ours, tensor) })
	for i, n := range t.nets {
		if s != nil {
			n.adam.T = int64(s[0].Data[i])
		}
	}
}

// each pairs the tensors of emptyParams and emptyState with the memory here.
func (t *trainer) each(p Params, s OptimiserState, do func(tensor, ours []float32)) {
	i := 0
	for k, n := range t.nets {
		for _, v := range n.Params().Views {
			do(p[i].Data, v.Data)
			i++
		}
		if s != nil {
			do(s[1+3*k].Data, n.adam.M)
			do(s[2+3*k].Data, n.adam.V)
			do(s[3+3*k].Data, t.carry[k])
		}
	}
	if s != nil {
		do(s[len(s)-1].Data, t.clock)
	}
}

// stepper is the rollouts of n rows.
type stepper struct {
	t     *trainer
	parts [3]*nn.GRUState
	x, h  []float32
}

var rolled = [3]int{generator, supervisor, recovery}

func (e *cpu) Stepper(n int) (Stepper, error) {
	if e.t == nil {
		return nil, errNotLoaded
	}
	s := &stepper{t: e.t}
	for i, k := range rolled {
		s.parts[i] = e.t.nets[k].NewState(e.be, n)
	}
	return s, nil
}

func (s *stepper) Next(rows []int, noise, cond, x []float32) error {
	n, h, z, k, f := len(rows), s.t.c.Hidden, s.t.c.Noise, s.t.c.conditions(), s.t.data.Channels()
	if len(noise) != n*z || len(cond) != n*k || len(x) != n*f {
		return fmt.Errorf("timegan: %d rows: %d noise, %d conditions, %d channels", n, len(noise), len(cond), len(x))
	}
	if n == 0 {
		return nil
	}
	in, width := noise, z
	for i, p := range s.parts {
		s.x = telemetry.Grow(s.x, n*(width+k))
		join(s.x, n, part{in, width}, part{cond, k})
		out := x
		if i < len(s.parts)-1 {
			s.h = telemetry.Grow(s.h, n*h)
			out = s.h
		}
		p.Step(rows, s.x, out)
		in, width = out, h
	}
	return nil
}

func (s *stepper) Hidden(row int, dst []float32) {
	for i, k := range rolled {
		n := s.t.nets[k].Layers * s.t.c.Hidden
		s.parts[i].Hidden(row, dst[:n])
		dst = dst[n:]
	}
}

func (s *stepper) SetHidden(row int, src []float32) {
	for i, k := range rolled {
		n := s.t.nets[k].Layers * s.t.c.Hidden
		s.parts[i].SetHidden(row, src[:n])
		src = src[n:]
	}
}

func (s *stepper) Size() int {
	n := 0
	for _, k := range rolled {
		n += s.t.nets[k].Layers * s.t.c.Hidden
	}
	return n
}
