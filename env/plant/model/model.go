// Package model runs environments on a generative model: a window of its rollout is
// the measurement, and the queue limit conditions the next window of a simulation
// that continues.
package model

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Simulator is a generative model that is rolled out: n independent simulations,
// a window at a time. What a row gives depends on its seed and the limits it
// was stepped under alone, not on its index or its neighbours.
type Simulator interface {
	Num() int // n
	Columns() []telemetry.Field
	// Limits are the smallest and the largest queue limit, in packets, that
	// the model was trained under.
	Limits() (lo, hi int32)
	// Reset starts simulations in rows, row i from seeds[i].
	Reset(rows []int, seeds []uint64) error
	// Step advances rows by out.Seconds under limit [len(rows)] and fills
	// out's values, all of them valid. The state survives a change of limit.
	//
	// A model that knows a limit for each switch says so by a method Switches() int:
	// where that is more than 1, limit is [len(rows),Switches].
	Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error
	Snapshot(row int, dst []byte) ([]byte, error) // see Snapshotter
	Restore(row int, src []byte) error
}

// Plant is the plant of a generative model: what it measures never was,
// an episode has no end of its own, and limits are a condition on the next
// window of one continuing simulation.
type Plant struct {
	model    Simulator
	switches int
	each     int // limits that a row of the model takes: 1, or one a switch
	lo, hi   int32
	limits   []int32
}

// New makes the plant of a model's rows.
func New(model Simulator) *Plant {
	p := &Plant{model: model, switches: env.CountSwitches(model.Columns()), each: 1}
	if m, ok := model.(interface{ Switches() int }); ok && m.Switches() == p.switches {
		p.each = p.switches
	}
	p.lo, p.hi = model.Limits()
	return p
}

// Ladder is what the model's player can show, where the model says it.
func (p *Plant) Ladder() telemetry.Ladder {
	if m, ok := p.model.(interface{ Ladder() telemetry.Ladder }); ok {
		return m.Ladder()
	}
	return nil
}

// Columns are what the model generates.
func (p *Plant) Columns() []telemetry.Field { return p.model.Columns() }

// Switches counts the switches that the model's columns measure.
func (p *Plant) Switches() int { return p.switches }

// Reset starts simulations and advances them by the first window.
func (p *Plant) Reset(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error {
	if err := p.check(rows, limit); err != nil {
		return err
	}
	if err := p.model.Reset(rows, seeds); err != nil {
		return fmt.Errorf("env: synthetic: %w", err)
	}
	return p.advance(ctx, rows, out)
}

// Advance generates each row's next window under its limit.
func (p *Plant) Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	if err := p.check(rows, limit); err != nil {
		return err
	}
	return p.advance(ctx, rows, out)
}

// check keeps the limits of rows in p.limits.
func (p *Plant) check(rows []int, limit []p4.Limit) error {
	p.limits = telemetry.Grow(p.limits, len(rows)*p.each)
	for i, r := range rows {
		if r >= p.model.Num() {
			return &env.RowError{Row: r, Err: fmt.Errorf("%w: the model has %d", env.ErrInvalidRows, p.model.Num())}
		}
		limits := limit[i*p.switches : (i+1)*p.switches]
		for j, l := range limits {
			if p.each == 1 && l != limits[0] {
				return &env.RowError{Row: r, Err: fmt.Errorf("env: synthetic: limits %v: the model knows one for all switches", limits)}
			}
			if l := int32(l); l < p.lo || l > p.hi {
				return &env.RowError{Row: r, Err: fmt.Errorf("env: synthetic: limit %d: the model was trained under %d…%d", l, p.lo, p.hi)}
			}
			p.limits[i*p.each+min(j, p.each-1)] = int32(l)
		}
	}
	return nil
}

func (p *Plant) advance(ctx context.Context, rows []int, out *telemetry.Window) error {
	if err := p.model.Step(ctx, rows, p.limits, out); err != nil {
		return fmt.Errorf("env: synthetic: %w", err)
	}
	for i := range rows {
		out.End[i], out.Reason[i] = telemetry.Going, ""
	}
	return nil
}

// Snapshot appends the state of the row's simulation.
func (p *Plant) Snapshot(row int, dst []byte) ([]byte, error) { return p.model.Snapshot(row, dst) }

// Restore puts back what Snapshot gave.
func (p *Plant) Restore(row int, src []byte) error {
	if err := p.model.Restore(row, src); err != nil {
		return &env.RowError{Row: row, Err: fmt.Errorf("%w: %w", env.ErrBadSnapshot, err)}
	}
	return nil
}

// Close does nothing: the model is the caller's.
func (p *Plant) Close() error { return nil }
