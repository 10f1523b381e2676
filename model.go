package planegym

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/closedloop"
	"github.com/planegym/planegym/timegan/structured"
)

// DefaultModel is the bundled model that is sampled from unless another is named.
const DefaultModel = "synthetic"

// Model is a bundled model, or a file's: one of the three.
type Model struct {
	TimeGAN    *timegan.Model
	Structured *structured.Model
	ClosedLoop *closedloop.Model
}

// OpenModel reads a bundled model by name, or the file where name ends in
// .safetensors.
func OpenModel(name string) (m Model, err error) {
	b, err := scenarios.OpenModel(name)
	if err != nil {
		return m, err
	}
	switch r, n := bytes.NewReader(b), int64(len(b)); {
	case closedloop.IsCheckpoint(r, n):
		m.ClosedLoop, err = closedloop.Decode(r, n)
	case structured.IsCheckpoint(r, n):
		m.Structured, err = structured.Decode(r, n)
	default:
		m.TimeGAN, err = timegan.DecodeModel(r, n)
	}
	if err != nil {
		err = fmt.Errorf("model %s: %w", name, err)
	}
	return m, err
}

// anyModel is what every kind of model has.
type anyModel interface {
	Write(w io.Writer) error
	WriteFile(path string) error
}

func (m Model) any() anyModel {
	switch {
	case m.ClosedLoop != nil:
		return m.ClosedLoop
	case m.Structured != nil:
		return m.Structured
	}
	return m.TimeGAN
}

// WriteFile writes m's checkpoint: path holds the old one or the new one, whole.
func (m Model) WriteFile(path string) error { return m.any().WriteFile(path) }

// Scaler is what observations of the model's simulations go through.
func (m Model) Scaler() queues.Normaliser {
	switch {
	case m.ClosedLoop != nil:
		return m.ClosedLoop
	case m.Structured != nil:
		return m.Structured
	}
	return m.TimeGAN.Codec
}

// ScalerFor is Scaler for measurements with these columns. It is an error
// where they are not the model's.
func (m Model) ScalerFor(columns []telemetry.Field) (queues.Normaliser, error) {
	var fields []telemetry.Field
	switch {
	case m.ClosedLoop != nil:
		fields = m.ClosedLoop.Fields()
	case m.Structured != nil:
		fields = m.Structured.Fields()
	default:
		fields = m.TimeGAN.Codec.Fields()
	}
	if !slices.Equal(fields, columns) {
		return nil, fmt.Errorf("its columns %v are not the %v that are measured", fields, columns)
	}
	return m.Scaler(), nil
}

// Limits are the limits that m was fitted to, packets; of a TimeGAN the
// smallest and the largest.
func (m Model) Limits() []int {
	var known []int32
	switch {
	case m.ClosedLoop != nil:
		known = m.ClosedLoop.Limits()
	case m.Structured != nil:
		known = m.Structured.Limits
	default:
		return LimitsOf([]*timegan.Model{m.TimeGAN})
	}
	var all []int
	for _, l := range known {
		all = append(all, int(l))
	}
	return all
}

// LimitsOf are the limits that models were trained under, packets, in order: of
// one model the smallest and the largest.
func LimitsOf(models []*timegan.Model) []int {
	limits := map[int]bool{}
	for _, m := range models {
		limits[int(m.Codec.Lo)], limits[int(m.Codec.Hi)] = true, true
	}
	return slices.Sorted(maps.Keys(limits))
}

// Simulation is n rollouts of a model: what a plant steps, and what sampling
// rolls out.
type Simulation interface {
	model.Simulator
	timegan.Rollouts
}

// Simulate opens n simulations of m and what closes them.
func (c *Computing) Simulate(ctx context.Context, n int, m Model) (Simulation, func(), error) {
	if m.TimeGAN != nil {
		return c.SimulateEach(ctx, n, []*timegan.Model{m.TimeGAN})
	}
	k, err := c.Resolve(ctx)
	if err != nil {
		return nil, nil, err
	}
	if m.ClosedLoop != nil {
		be := compute.NewBackend(k, cmp.Or(c.Threads, runtime.GOMAXPROCS(0)))
		engine, err := c.sequences(ctx)
		if err != nil {
			be.Close()
			return nil, nil, err
		}
		s, err := closedloop.NewSimulatorOn(n, m.ClosedLoop, be, engine)
		if err != nil {
			be.Close()
			return nil, nil, err
		}
		return s, func() { _ = s.Close(); be.Close() }, nil // they held memory only
	}
	e, err := c.open(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	be := compute.NewBackend(k, 1)
	done := func() {
		be.Close()
		_ = e.Close() // it held memory only
	}
	s, err := structured.NewSimulator(n, m.Structured, e, be)
	if err != nil {
		done()
		return nil, nil, err
	}
	return s, done, nil
}

// SimulateEach opens n simulations of one TimeGAN, or of one per limit, and what
// closes them.
func (c *Computing) SimulateEach(ctx context.Context, n int, models []*timegan.Model) (Simulation, func(), error) {
	k, err := c.Resolve(ctx)
	if err != nil {
		return nil, nil, err
	}
	var engines []timegan.Engine
	closeAll := func() {
		for _, e := range engines {
			_ = e.Close() // it held memory only
		}
	}
	for range models {
		e, err := c.open(ctx, k)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		engines = append(engines, e)
	}
	s, err := timegan.NewSimulator(n, models, engines)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return s, closeAll, nil
}
