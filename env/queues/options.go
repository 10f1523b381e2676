package queues

import (
	"context"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// loader is a plant whose traffic can be thinned, and begun in a phase.
type loader interface {
	// Phases are the names of the phases that an episode can begin in.
	Phases() []string
	// ResetUnder is env.Plant.Reset with a share of each load's sessions, 0…1, and
	// the phase to begin in, "" for one drawn.
	ResetUnder(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, load float64, phase string, out *telemetry.Window) error
}

// Options are those of the limits, and those of the plant.
func (q *Queues) Options() env.OptionSpec {
	s := env.OptionSpec{Initial: q.cfg.Limits, TrafficSeed: !q.spec.RealTime}
	if l, ok := q.plant.(loader); ok {
		s.Load, s.Phases = true, l.Phases()
	}
	return s
}
