package planegym

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/plant/replay"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/loads"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

// Gym makes the environments of scenarios. What it reads and fits, it reads and
// fits once. The zero value makes every bundled scenario but those that replay
// recordings. It may be used by several goroutines at once.
type Gym struct {
	Data      string    // folder of recordings; "" has none to replay
	Computing Computing // what computes models, but for its threads
	// Live opens the switches of a live scenario as a vector of one row; nil: a
	// live scenario is an error. See Options.Live.
	Live func(ctx context.Context, s scenarios.Scenario, mode env.Autoreset) (env.Vector, error)
	// Wrap, where not nil, puts something around every plant, and picks the
	// scaler of observations from nil or the plant's own.
	Wrap func(env.Plant, queues.Normaliser) (env.Plant, queues.Normaliser, error)

	mu         sync.Mutex // guards recordings and scaler
	recordings []*telemetry.Dataset
	scaler     queues.Normaliser
	testbeds   scalers // by configuration
}

// Bundled returns the bundled scenarios by name.
func Bundled() (map[string]scenarios.Scenario, error) {
	all := map[string]scenarios.Scenario{}
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			return nil, err
		}
		all[name] = s
	}
	return all, nil
}

// ErrConfig is wrapped by the error of a scenario that asks for what it cannot
// have: a limit without a recording, a model of other columns.
var ErrConfig = errors.New("invalid configuration")

// Open makes n environments of s. ctx bounds the making alone.
func (g *Gym) Open(ctx context.Context, s scenarios.Scenario, n int, mode env.Autoreset) (env.Vector, error) {
	switch s.Plant {
	case "cartpole":
		return cartpole.New(n, mode)
	case "synthetic":
		return g.openModel(ctx, s, n, mode)
	case "testbed":
		return g.openTestbed(ctx, s, n, mode)
	}
	if s.Plant == "live" {
		if g.Live == nil {
			return nil, fmt.Errorf("%w: live switches are for deploy, collect and train --switches", ErrConfig)
		}
		if n != 1 {
			return nil, fmt.Errorf("%w: live switches are one environment, not %d", ErrConfig, n)
		}
		return g.Live(ctx, s, mode)
	}
	recordings, scaler, err := g.Recordings()
	if err != nil {
		return nil, err
	}
	plant, err := replay.New(s.Replay, recordings)
	if err != nil {
		return nil, err
	}
	if s.Env.Limits == nil { // those that were recorded
		s.Env.Limits = plant.Limits()
	}
	s.Env.Autoreset = mode
	v, err := g.make(s.Env, plant, n, scaler)
	if err != nil {
		return nil, err
	}
	for _, l := range v.Spec().Limits {
		if !slices.Contains(plant.Limits(), l) {
			return nil, fmt.Errorf("%w: env.limits: there is no recording of limit %d in %s, only of %v", ErrConfig, l, g.Data, plant.Limits())
		}
	}
	return v, nil
}

func (g *Gym) make(cfg queues.Config, plant env.Plant, n int, scaler queues.Normaliser) (v env.Vector, err error) {
	if g.Wrap != nil {
		if plant, scaler, err = g.Wrap(plant, scaler); err != nil {
			return nil, err
		}
	}
	return queues.New(cfg, plant, n, scaler)
}

// openTestbed makes n emulated testbeds.
func (g *Gym) openTestbed(ctx context.Context, s scenarios.Scenario, n int, mode env.Autoreset) (env.Vector, error) {
	if err := loads.Attach(ctx, &s.Testbed); err != nil {
		return nil, err
	}
	plant, err := testbed.New(s.Testbed)
	if err != nil {
		return nil, err
	}
	return g.OpenOn(ctx, s, plant, n, mode)
}

// OpenOn makes n environments of s on plant, whose configuration is s's.
func (g *Gym) OpenOn(ctx context.Context, s scenarios.Scenario, plant *testbed.Testbed, n int, mode env.Autoreset) (env.Vector, error) {
	s.Env.Autoreset = mode
	if normalise := s.Env.Observation.Normalise; normalise == "none" || normalise == "l2" {
		return g.make(s.Env, plant, n, nil)
	}
	if s.Model != "" {
		m, err := OpenModel(s.Model)
		if err != nil {
			return nil, err
		}
		scaler, err := m.ScalerFor(plant.Columns())
		if err != nil {
			return nil, fmt.Errorf("%w: model: %s: %w", ErrConfig, s.Model, err)
		}
		return g.make(s.Env, plant, n, scaler)
	}
	limits := s.Env.Limits
	if limits == nil {
		limits = queues.DefaultLimits()
	}
	key, err := json.Marshal([]any{s.Testbed, limits})
	if err != nil {
		return nil, err
	}
	scaler, err := g.testbeds.get(ctx, string(key), func(ctx context.Context) (queues.Normaliser, error) {
		return testbed.FitScaler(ctx, s.Testbed, limits)
	})
	if err != nil {
		return nil, err
	}
	return g.make(s.Env, plant, n, scaler)
}

// openModel makes n simulations of s's model.
func (g *Gym) openModel(ctx context.Context, s scenarios.Scenario, n int, mode env.Autoreset) (env.Vector, error) {
	m, err := OpenModel(s.Model)
	if err != nil {
		return nil, err
	}
	c := g.Computing
	c.Threads = 1
	if n > 64 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	sim, done, err := c.Simulate(ctx, n, m)
	if err != nil {
		return nil, err
	}
	if k, ok := sim.(interface{ Switches() int }); s.Env.PerSwitch && (!ok || k.Switches() < 2) {
		done()
		return nil, fmt.Errorf("%w: env.per_switch: model %s has one limit for all switches", ErrConfig, s.Model)
	}
	plant := synthetic{model.New(sim), done}
	s.Env.Autoreset = mode
	v, err := g.make(s.Env, plant, n, m.Scaler())
	if err != nil {
		done()
		return nil, err
	}
	lo, hi := sim.Limits()
	for _, l := range v.Spec().Limits {
		if int32(l) < lo || int32(l) > hi {
			done()
			return nil, fmt.Errorf("%w: env.limits: %d: the model was trained under %d…%d", ErrConfig, l, lo, hi)
		}
	}
	return newModelled(v, m)
}

// synthetic is the plant of a model and of the engine that computes it.
type synthetic struct {
	*model.Plant
	done func()
}

// Close ends the engine.
func (p synthetic) Close() error {
	p.done()
	return nil
}

// Recordings reads the recordings in Data and fits the scaler of observations
// to them.
func (g *Gym) Recordings() ([]*telemetry.Dataset, queues.Normaliser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.recordings != nil {
		return g.recordings, g.scaler, nil
	}
	if g.Data == "" {
		return nil, nil, fmt.Errorf("%w: no recordings: name their folder by --data or PLANEGYM_DATA", ErrConfig)
	}
	found, err := telemetry.OpenFolder(g.Data)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range found {
		if err := r.Data.Reading().Check(telemetry.MaxRefused); err != nil {
			return nil, nil, err
		}
	}
	var all []*telemetry.Dataset
	for _, r := range found {
		all = append(all, r.Data)
	}
	scaler, err := telemetry.FitScaler(telemetry.Train, nil, all...)
	if err != nil {
		return nil, nil, err
	}
	g.recordings, g.scaler = all, scaler
	return all, scaler, nil
}

// Serve is Open for a server (ws.Options.Open): of the scenarios that it serves
// by name, with a client's overrides.
func (g *Gym) Serve(served map[string]scenarios.Scenario) func(context.Context, ws.MakeRequest) (env.Vector, error) {
	return func(ctx context.Context, m ws.MakeRequest) (env.Vector, error) {
		s, ok := served[m.Scenario]
		if !ok {
			var names []string
			for name := range served {
				names = append(names, name)
			}
			slices.Sort(names)
			return nil, fmt.Errorf("%w: %q: there are %v", ws.ErrUnknownScenario, m.Scenario, names)
		}
		if m.Model != "" && m.Model != s.Model {
			return nil, fmt.Errorf("%w: %q", ws.ErrModelUnavailable, m.Model)
		}
		s, err := s.With(ctx, m.Kwargs)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ws.ErrInvalidConfig, err)
		}
		v, err := g.Open(ctx, s, m.NumEnvs, m.Autoreset)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ws.ErrInvalidConfig, err)
		}
		return v, nil
	}
}
