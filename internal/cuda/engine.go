// Package cuda trains TimeGAN and sequence models on an NVIDIA GPU. A TimeGAN's
// data, weights, moments and noise stay on the device, an update is one CUDA graph
// of some ten launches, and losses are read back once in several updates. A
// sequence model's weights and moments stay there too; its batch goes up with every
// update.
//
// It computes what package timegan's train.go and package seq do, which stay the
// reference.
package cuda

import (
	"context"
	"errors"
	"fmt"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/timegan"
)

// engine is a stream of its own on a device: engines of one device compute
// beside each other.
type engine struct {
	t    *driver.Thread // nil once closed
	dev  *device        // what follows is used on t only
	m    *model         // nil before Load
	name string
}

// New opens device number ordinal for one engine, of models that share the
// device's multiprocessors: bytes do not depend on how many. The name holds what
// they do depend on: the architecture and the driver, which compiles for it.
func New(d driver.Driver, ordinal, models int) (timegan.Engine, error) {
	e := &engine{t: driver.NewThread()}
	err := e.t.Do(func() (err error) {
		e.dev, err = openDevice(d, ordinal, models)
		return err
	})
	if err != nil {
		e.t.Close()
		return nil, err
	}
	e.name = engineName(e.dev.info)
	return e, nil
}

// engineName holds what the bytes of an engine on a device depend on.
func engineName(i driver.Info) string {
	return fmt.Sprintf("cuda-sm%d%d-%d.%d", i.Major, i.Minor, i.DriverVersion/1000, i.DriverVersion%1000/10)
}

func (e *engine) Name() string { return e.name }

var (
	errNotLoaded = errors.New("cuda: the engine has nothing loaded")
	errClosed    = errors.New("cuda: the engine is closed")
)

// do runs f with the model, on the thread.
func (e *engine) do(f func(*model) error) error {
	if e.t == nil {
		return errClosed
	}
	return e.t.Do(func() error {
		if e.m == nil {
			return errNotLoaded
		}
		return f(e.m)
	})
}

func (e *engine) Load(c timegan.Config, p timegan.Params, s timegan.OptimiserState, d timegan.Windows) error {
	l := timegan.NewLayout(c, d.Channels(), d.Bits)
	if h := l.Config.Hidden; h > maxHidden {
		return fmt.Errorf("cuda: hidden: %d is above %d, what this engine computes", h, maxHidden)
	}
	if err := l.Check(p, s); err != nil {
		return err
	}
	if e.t == nil {
		return errClosed
	}
	return e.t.Do(func() error {
		m, err := newModel(e.dev, l, p, s, d)
		if err != nil {
			return err
		}
		old := e.m
		if e.m = m; old != nil {
			return old.end()
		}
		return nil
	})
}

func (e *engine) Run(ctx context.Context, ph timegan.Phase, from, steps int, seed uint64, losses []timegan.Losses) (done int, err error) {
	err = e.do(func(m *model) error {
		switch {
		case ph > timegan.Joint || from < 0 || steps < 0 || len(losses) < steps:
			return fmt.Errorf("cuda: run of phase %v, updates %d+%d, %d losses", ph, from, steps, len(losses))
		case m.training == nil:
			return errors.New("cuda: the model was loaded without windows to train on")
		}
		done, err = m.steps(ctx, ph, from, seed, losses[:steps])
		return err
	})
	return done, err
}

func (e *engine) Store() (p timegan.Params, s timegan.OptimiserState, err error) {
	err = e.do(func(m *model) error {
		p, s, err = m.store()
		return err
	})
	return p, s, err
}

func (e *engine) Stepper(n int) (s timegan.Stepper, err error) {
	err = e.do(func(m *model) error {
		if n < 1 {
			return fmt.Errorf("cuda: a stepper of %d rows", n)
		}
		s, err = newStepper(e, m, n)
		return err
	})
	return s, err
}

func (e *engine) Close() error {
	if e.t == nil {
		return nil
	}
	err := e.t.Do(func() error {
		var err error
		if e.m != nil {
			err = e.m.end()
		}
		return errors.Join(err, e.dev.close())
	})
	e.t.Close()
	e.t, e.m = nil, nil
	return err
}
