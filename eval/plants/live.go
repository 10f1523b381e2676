package plants

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

// Live is where and how policies act on switches.
type Live struct {
	Name     string
	Scenario scenarios.Scenario // of plant live
	Journal  string             // file that every action is appended to
	Guard    []string           // how the guard is started, see deploy.Config
}

// unpaired is a plant of live switches for a comparison that gives seeds: the
// switches take none, so their episodes are independent of the other side's.
// It hides the plant's real-time mark.
type unpaired struct{ env.Plant }

// Live is the side of live switches, with the rewards, limits and length of
// episodes of like, and how long an episode takes. The rails, the guard and the
// journal of deploy hold.
func (o *Opener) Live(l Live, like scenarios.Scenario) (eval.Side, time.Duration, error) {
	side := eval.Side{Name: l.Name}
	s := l.Scenario
	s.Env = o.apply(like).Env
	if err := s.Live.Switches.Check(deploy.ActionLimits(s), s.Live.Safe); err != nil {
		return side, 0, fmt.Errorf("compare: --live: %w", err)
	}
	side.Open = func(ctx context.Context, d *agent.DDQN, tap func(env.Plant) env.Plant) (env.Vector, error) {
		as, scale, err := o.observed(s, d)
		if err != nil {
			return nil, err
		}
		on, err := deploy.Open(ctx, deploy.Config{
			Scenario: as, Name: l.Name, Journal: l.Journal, Autoreset: env.NextStep, Guard: l.Guard,
			Wrap:   func(p env.Plant) env.Plant { return tap(unpaired{p}) },
			Scaler: func(columns []telemetry.Field) (queues.Normaliser, error) { return scale(columns, nil) },
		})
		if err != nil {
			return nil, err
		}
		return on.Learn("compare")
	}
	seconds := float64(cmp.Or(s.Env.MaxSteps, 900)) * float64(cmp.Or(s.Env.StepSeconds, 4)) / cmp.Or(s.Live.TimeScale, 1)
	return side, time.Duration(seconds * float64(time.Second)), nil
}
