package seq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/safetensors"
)

// Training says how a model is trained. Zero values are the defaults named.
type Training struct {
	Updates int     // 1000
	Rate    float64 // of AdamW, at its highest; 2e-3
	WarmUp  int     // updates of a rising rate; a twentieth
	Floor   float64 // share of the rate that the cosine ends at; .02
	Decay   float64 // of AdamW, on matrices; 1e-4; negative is none
	Clip    float64 // of the gradient's norm; 1; negative is none
	Average float64 // of the weights' exponential moving average; .99; negative is none
}

func (c Training) withDefaults() Training {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
		*v = max(*v, 0)
	}
	if c.Updates == 0 {
		c.Updates = 1000
	}
	if c.WarmUp == 0 {
		c.WarmUp = c.Updates / 20
	}
	def(&c.Rate, 2e-3)
	def(&c.Floor, .02)
	def(&c.Decay, 1e-4)
	def(&c.Clip, 1)
	def(&c.Average, .99)
	return c
}

// Check reports the first setting that is out of its range.
func (c Training) Check() error {
	c = c.withDefaults()
	switch {
	case c.Updates < 1 || c.WarmUp < 0:
		return fmt.Errorf("seq: updates: %d, %d of them with a rising rate", c.Updates, c.WarmUp)
	case !(c.Rate > 0 && c.Rate <= 1) || !(c.Floor <= 1) || !(c.Decay < 1) || !(c.Average < 1) || math.IsNaN(c.Clip):
		return fmt.Errorf("seq: rate %v, floor %v, decay %v, average %v or clip %v is out of range", c.Rate, c.Floor, c.Decay, c.Average, c.Clip)
	}
	return nil
}

// Objective computes the losses of a batch and leaves its gradients: Run is
// one by hand; package graph has one by Gorgonia.
type Objective interface {
	// Losses gives the loss of each head in nats per step that counts. Its
	// gradient is in Gradients until the next call.
	Losses(b *Batch) ([]float64, error)
	Gradients() [][]float32
}

// Updater is an Objective that has the model's parameters for itself: it makes the
// updates where it computes the gradients, on a device. A Trainer's Fit uses it so.
type Updater interface {
	Objective
	// Load takes the model's parameters, and m, for updates to come.
	Load(m Moments) error
	// Step makes an update by the gradients of the last Losses: what Apply does. A
	// gradient that is not finite is a *DivergedError.
	Step(s Step) error
	// Store writes the parameters to the model, and m.
	Store(m Moments) error
}

// Moments are the state of an optimiser, a slice for each group of parameters in
// the order of Gradients.
type Moments struct{ M, V, Average [][]float32 }

// Step is the numbers of one update.
type Step struct {
	Update  int     // how many were made before
	T       int64   // of Adam: 1 in the first
	Rate    float64 // of learning
	Decay   float64 // of matrices, times Rate; 0 is none
	Clip    float64 // of the gradient's norm; 0 is none
	Average float64 // what averages keep of themselves
}

// Close gives back what an Objective holds, if it holds something.
func Close(o Objective) error {
	if c, ok := o.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Losses is Objective's.
func (r *Run) Losses(b *Batch) ([]float64, error) {
	if r.fused != nil {
		return r.losses(b), nil
	}
	r.Forward(b)
	return r.Backward(1), nil
}

// Fused is the name of the engine that computes by hand on the backend.
const Fused = "fused"

// engine makes what computes a model otherwise.
type engine struct {
	objective func(m *Model, be *compute.Backend, steps, rows int) (Objective, error)
	sampler   func(m *Model, n int) (Stepper, error) // nil: it trains alone
}

// engines are the others, by name.
var (
	enginesMu sync.Mutex
	engines   = map[string]engine{}
)

// Register makes an engine known by a name, before anything is opened; sampler is
// nil where it trains alone.
func Register(name string, objective func(m *Model, be *compute.Backend, steps, rows int) (Objective, error), sampler func(m *Model, n int) (Stepper, error)) {
	enginesMu.Lock()
	defer enginesMu.Unlock()
	engines[name] = engine{objective, sampler}
}

func find(name string) (engine, error) {
	enginesMu.Lock()
	defer enginesMu.Unlock()
	e, ok := engines[name]
	if !ok {
		return e, fmt.Errorf("seq: engine %q is not known here", name)
	}
	return e, nil
}

// Open makes the objective of an engine, "" being Fused, for batches of
// steps×rows. Close gives back what it holds.
func Open(name string, m *Model, be *compute.Backend, steps, rows int) (Objective, error) {
	if name == "" || name == Fused {
		return m.NewRun(be, steps, rows), nil
	}
	e, err := find(name)
	if err != nil {
		return nil, err
	}
	return e.objective(m, be, steps, rows)
}

// DivergedError says that training met a gradient that is not finite. Nothing
// was updated by it.
type DivergedError struct {
	Update int
	Tensor string
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("seq: update %d: the gradient of %s is not finite", e.Update, e.Tensor)
}

// Trainer trains a model. What it does depends on the model's parameters, the
// settings and the batches alone; its state is Update and State.
type Trainer struct {
	Training
	Update  int // updates done
	m       *Model
	be      *compute.Backend
	groups  []group
	adam    []*nn.Adam
	average [][]float32
}

// NewTrainer begins to train m.
func NewTrainer(m *Model, be *compute.Backend, c Training) (*Trainer, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	t := &Trainer{Training: c.withDefaults(), m: m, be: be, groups: m.groups()}
	for _, g := range t.groups {
		a := nn.NewAdam(len(g.data), 0)
		t.adam = append(t.adam, a)
		t.average = append(t.average, append([]float32(nil), g.data...))
	}
	return t, nil
}

// On makes be compute the updates from here on.
func (t *Trainer) On(be *compute.Backend) { t.be = be }

// Apply updates the model by gradients as Run gives them, which it clips in
// place.
func (t *Trainer) Apply(grads [][]float32) error {
	norm := nn.ClipNorms(limit(t.Clip), grads...)
	if norm-norm != 0 {
		for i, g := range grads {
			if n := nn.Norm(g); n-n != 0 {
				return &DivergedError{t.Update, t.groups[i].name}
			}
		}
	}
	s := t.step()
	for i, g := range t.groups {
		for _, p := range g.matrices {
			if s.Decay > 0 {
				nn.Decay(p, s.Rate*s.Decay)
			}
		}
		t.adam[i].LR = s.Rate
		t.adam[i].Step(t.be, g.data, grads[i])
		nn.Average(t.average[i], g.data, s.Average)
	}
	t.Update++
	return nil
}

// step is the numbers of the next update.
func (t *Trainer) step() Step {
	return Step{
		Update: t.Update, T: t.adam[0].T + 1, Decay: t.Decay, Clip: t.Clip,
		Rate: t.Rate * nn.WarmUpCosine(t.Update, t.WarmUp, t.Updates, t.Floor),
		// Early on an average of .99 would be of the beginning: it opens slowly.
		Average: min(t.Average, float64(t.Update+1)/float64(t.Update+10)),
	}
}

// remote makes the next update by u.
func (t *Trainer) remote(u Updater) error {
	if err := u.Step(t.step()); err != nil {
		return err
	}
	for _, a := range t.adam {
		a.T++
	}
	t.Update++
	return nil
}

// state is that of the optimiser, the trainer's own.
func (t *Trainer) state() (m Moments) {
	for i, a := range t.adam {
		m.M, m.V, m.Average = append(m.M, a.M), append(m.V, a.V), append(m.Average, t.average[i])
	}
	return m
}

func limit(clip float64) float64 {
	if clip <= 0 {
		return math.Inf(1)
	}
	return clip
}

// Averaged is a copy of the model with the moving average of its weights: what
// to sample from.
func (t *Trainer) Averaged() *Model {
	m := t.m.Clone()
	for i, g := range m.groups() {
		copy(g.data, t.average[i])
	}
	return m
}

// State is what a checkpoint needs beside the model's Tensors to go on with
// the same bytes: moments, averages and the count of updates.
func (t *Trainer) State(prefix string) []safetensors.Tensor {
	all := []safetensors.Tensor{{Name: prefix + "update", Shape: []int{1}, Data: []int64{int64(t.Update)}}}
	return append(all, t.moments(prefix)...)
}

func (t *Trainer) moments(prefix string) (all []safetensors.Tensor) {
	for i, g := range t.groups {
		for name, data := range map[string][]float32{"m.": t.adam[i].M, "v.": t.adam[i].V, "average.": t.average[i]} {
			all = append(all, safetensors.Tensor{Name: prefix + name + g.name, Shape: []int{len(data)}, Data: data})
		}
	}
	return all
}

// Restore reads what State wrote; the model's own Load comes beside it.
func (t *Trainer) Restore(f *safetensors.File, prefix string) error {
	done := []int64{0}
	if err := safetensors.Read(f, prefix+"update", done, 1); err != nil {
		return fmt.Errorf("seq: %w", err)
	}
	if done[0] < 0 || done[0] > int64(t.Updates) {
		return fmt.Errorf("seq: a checkpoint after %d updates of %d", done[0], t.Updates)
	}
	if err := load(f, t.moments(prefix)); err != nil {
		return err
	}
	t.Update = int(done[0])
	for _, a := range t.adam {
		a.T = done[0]
	}
	return nil
}

// ErrStop is what FitOptions.Checkpoint returns to end training early.
var ErrStop = errors.New("training was stopped early")

// DefaultEvery is how many updates lie between checkpoints unless said otherwise.
const DefaultEvery = 500

// FitOptions say what happens along the way; the zero value is silence.
type FitOptions struct {
	Report     func(update int, losses []float64) // after every update
	Every      int                                // updates between checkpoints; DefaultEvery
	Checkpoint func() error                       // there, and at the end; ErrStop ends training without an error
}

// Fit trains until t.Updates are done. fill puts update's batch into b: equal
// updates must give equal batches, then a resumed run ends with the bytes of
// one that never stopped. When ctx ends, Fit ends between two updates, after a
// last checkpoint, with the context's error.
func (t *Trainer) Fit(ctx context.Context, o Objective, b *Batch, fill func(update int, b *Batch) error, opt FitOptions) error {
	every := opt.Every
	if every <= 0 {
		every = DefaultEvery
	}
	u, remote := o.(Updater)
	if remote {
		if err := u.Load(t.state()); err != nil {
			return err
		}
	}
	checkpoint := func() error {
		if remote {
			if err := u.Store(t.state()); err != nil {
				return err
			}
		}
		if opt.Checkpoint == nil {
			return nil
		}
		return opt.Checkpoint()
	}
	for t.Update < t.Updates {
		if err := ctx.Err(); err != nil {
			if stop := checkpoint(); stop != nil && !errors.Is(stop, ErrStop) {
				return errors.Join(err, stop)
			}
			return err
		}
		if err := fill(t.Update, b); err != nil {
			return err
		}
		losses, err := o.Losses(b)
		if err != nil {
			return err
		}
		if remote {
			err = t.remote(u)
		} else {
			err = t.Apply(o.Gradients())
		}
		if err != nil {
			return err
		}
		if opt.Report != nil {
			opt.Report(t.Update, losses)
		}
		if t.Update%every == 0 && t.Update < t.Updates {
			if err := checkpoint(); errors.Is(err, ErrStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	if err := checkpoint(); err != nil && !errors.Is(err, ErrStop) {
		return err
	}
	return nil
}
