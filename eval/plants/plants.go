// Package plants opens what policies are compared on: a scenario, a server, live
// switches, or recorded sessions, each observed as the agent at hand was trained.
package plants

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// Opener makes the sides of a comparison. Limits and Steps hold on every side, so
// that one policy can act on all of them.
type Opener struct {
	Computing planegym.Computing
	Data      string     // folder of recordings, for scenarios that replay them
	Observe   string     // scenario whose observations agents get; "": the one that each was trained in
	Limits    []p4.Limit // packets, the last in force at first; nil: the scenarios'
	Steps     int        // of an episode; 0: the scenarios'
	Envs      int        // environments to step at once
	Token     string     // bearer token for servers
}

// apply is s with what o changes.
func (o *Opener) apply(s scenarios.Scenario) scenarios.Scenario {
	if o.Limits != nil {
		s.Env.Limits, s.Env.Initial = o.Limits, o.Limits[len(o.Limits)-1]
	}
	if o.Steps > 0 {
		s.Env.MaxSteps = o.Steps
	}
	return s
}

// Scenario is the side of a scenario that is simulated in this process.
func (o *Opener) Scenario(name string, s scenarios.Scenario, seed uint64) eval.Side {
	s = o.apply(s)
	gym := &planegym.Gym{Data: o.Data, Computing: o.Computing}
	return eval.Side{Name: name, Seed: seed, Open: func(ctx context.Context, d *agent.DDQN, tap func(env.Plant) env.Plant) (env.Vector, error) {
		as, scale, err := o.observed(s, d)
		if err != nil {
			return nil, err
		}
		gym.Wrap = func(p env.Plant, own queues.Normaliser) (env.Plant, queues.Normaliser, error) {
			scaler, err := scale(p.Columns(), own)
			return tap(p), scaler, err
		}
		return gym.Open(ctx, as, o.Envs, env.NextStep)
	}}
}

// IsURL reports whether a name is that of a server.
func IsURL(name string) bool {
	return strings.HasPrefix(name, "ws://") || strings.HasPrefix(name, "wss://")
}

// Server is the side of a scenario on a server, ws://HOST:PORT/PATH#SCENARIO;
// without #SCENARIO it is the named one.
func (o *Opener) Server(name, scenario string, seed uint64) eval.Side {
	url := name
	if before, after, given := strings.Cut(name, "#"); given {
		url, scenario = before, after
	}
	return eval.Side{Name: name, Seed: seed, Open: func(ctx context.Context, d *agent.DDQN, _ func(env.Plant) env.Plant) (env.Vector, error) {
		set := map[string]any{}
		if d == nil {
			set["observation"] = map[string]any{"normalise": "none"}
		}
		if o.Limits != nil {
			set["limits"], set["initial"] = o.Limits, o.Limits[len(o.Limits)-1]
		}
		if o.Steps > 0 {
			set["max_steps"] = o.Steps
		}
		v, err := ws.Dial(ctx, url, ws.DialOptions{Scenario: scenario, NumEnvs: o.Envs, Info: true, Token: o.Token, Kwargs: map[string]any{"env": set}})
		switch {
		case errors.Is(err, ws.ErrInvalidConfig) || errors.Is(err, ws.ErrUnknownScenario):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: is planegym serve running there?", err)
		}
		return v, nil
	}}
}

// Log reads the sessions that testbed record wrote to dir, for estimates of
// policies under s's rewards; gamma discounts a step.
func (o *Opener) Log(s scenarios.Scenario, dir string, gamma float64) (l *eval.Log, err error) {
	s = o.apply(s)
	l = &eval.Log{Path: dir, Gamma: gamma}
	if l.Fields, l.Switches, l.Sessions, err = table.Read(filepath.Join(dir, "recording.parquet")); err != nil {
		return nil, err
	}
	s.Env.MaxSteps, s.Env.EndOnStall = len(l.Sessions[0].Limits), 0 // the log ends by itself
	l.Open = func(d *agent.DDQN, plant env.Plant, n int) (env.Vector, error) {
		as, scale, err := o.observed(s, d)
		if err != nil {
			return nil, err
		}
		scaler, err := scale(plant.Columns(), nil)
		if err != nil {
			return nil, err
		}
		return queues.New(as.Env, plant, n, scaler)
	}
	return l, nil
}
