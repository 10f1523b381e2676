package plants

import (
	"context"
	"fmt"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

// scaling makes the scaler of observations for a plant's columns, given the
// plant's own.
type scaling func(columns []telemetry.Field, own queues.Normaliser) (queues.Normaliser, error)

// observed is s with the observations that d was trained with, and what scales
// them. Baselines, d nil, observe what is measured.
func (o *Opener) observed(s scenarios.Scenario, d *agent.DDQN) (as scenarios.Scenario, scale scaling, err error) {
	if d != nil {
		s.Env.Observation, scale, err = o.trained(d)
		return s, scale, err
	}
	s.Env.Observation = queues.Observation{Normalise: "none"}
	return s, func(_ []telemetry.Field, own queues.Normaliser) (queues.Normaliser, error) { return own, nil }, nil
}

// trained is how d observed the plant that it was trained in: what is shown, and
// that plant's scaler for the columns of another, matched by name.
func (o *Opener) trained(d *agent.DDQN) (shown queues.Observation, scale scaling, err error) {
	name := o.Observe
	if name == "" {
		name = d.Scenario
	}
	s, err := scenarios.Load(name)
	if err != nil {
		return shown, nil, fmt.Errorf("compare: the agent was trained in %q: name the scenario whose observations it is to get by --observe: %w", d.Scenario, err)
	}
	var columns []telemetry.Field
	var scaler queues.Normaliser
	gym := planegym.Gym{Data: o.Data, Computing: o.Computing, Wrap: func(p env.Plant, own queues.Normaliser) (env.Plant, queues.Normaliser, error) {
		columns, scaler = p.Columns(), own
		return p, own, nil
	}}
	v, err := gym.Open(context.Background(), s, 1, env.NextStep)
	if err != nil {
		return shown, nil, fmt.Errorf("scenario %s, which the agent was trained in: %w", name, err)
	}
	_ = v.Close() // nothing was written
	return s.Env.Observation, func(of []telemetry.Field, _ queues.Normaliser) (queues.Normaliser, error) {
		if scaler == nil {
			return nil, nil
		}
		return deploy.ScalerByName(scaler, columns, of)
	}, nil
}
