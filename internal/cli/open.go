package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

// addData adds the flag that names the folder of recordings.
func addData(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data", os.Getenv("PLANEGYM_DATA"), "folder of recordings, for scenarios that replay them; default $PLANEGYM_DATA")
}

// opener makes the environments of scenarios. What it reads it reads once.
type opener struct {
	data      string    // folder of recordings, may be ""
	computing computing // what computes models, but for its threads
	// wrap, where not nil, puts something around every plant, and picks the
	// scaler of observations, nil or the plant's own.
	wrap func(env.Plant, env.Scaler) (env.Plant, env.Scaler, error)

	mu         sync.Mutex // guards recordings and scaler
	recordings []*telemetry.Dataset
	scaler     env.Scaler
	testbeds   scalers // by configuration
}

// bundled are the bundled scenarios by name.
func bundled() (map[string]scenarios.Scenario, error) {
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

// errConfig marks what a scenario asks for and cannot have.
var errConfig = errors.New("invalid configuration")

// open makes n environments of s. ctx bounds the making alone.
func (o *opener) open(ctx context.Context, s scenarios.Scenario, n int, mode env.Autoreset) (env.Vector, error) {
	switch s.Plant {
	case "cartpole":
		return env.NewCartPole(n, mode)
	case "synthetic":
		return o.openModel(s, n, mode)
	case "testbed":
		return o.openTestbed(ctx, s, n, mode)
	}
	if s.Plant == "live" {
		return nil, fmt.Errorf("%w: live switches are for deploy, collect and train --switches", errConfig)
	}
	recordings, scaler, err := o.load()
	if err != nil {
		return nil, err
	}
	plant, err := env.NewReplay(s.Replay, recordings)
	if err != nil {
		return nil, err
	}
	s.Env.Autoreset = mode
	v, err := o.make(s.Env, plant, n, scaler)
	if err != nil {
		return nil, err
	}
	for _, l := range v.Spec().Limits {
		if !slices.Contains(plant.Limits(), l) {
			return nil, fmt.Errorf("%w: env.limits: there is no recording of limit %d in %s, only of %v", errConfig, l, o.data, plant.Limits())
		}
	}
	return v, nil
}

func (o *opener) make(cfg env.Config, plant env.Plant, n int, scaler env.Scaler) (v env.Vector, err error) {
	if o.wrap != nil {
		if plant, scaler, err = o.wrap(plant, scaler); err != nil {
			return nil, err
		}
	}
	return env.New(cfg, plant, n, scaler)
}

// openTestbed makes n emulated testbeds.
func (o *opener) openTestbed(ctx context.Context, s scenarios.Scenario, n int, mode env.Autoreset) (env.Vector, error) {
	plant, err := testbed.New(s.Testbed)
	if err != nil {
		return nil, err
	}
	return o.envOn(ctx, s, plant, n, mode)
}

// envOn makes n environments of s on plant, whose configuration is s's.
func (o *opener) envOn(ctx context.Context, s scenarios.Scenario, plant *testbed.Testbed, n int, mode env.Autoreset) (env.Vector, error) {
	s.Env.Autoreset = mode
	if normalise := s.Env.Observation.Normalise; normalise == "none" || normalise == "l2" {
		return o.make(s.Env, plant, n, nil)
	}
	if s.Model != "" {
		m, err := openModel(s.Model)
		if err != nil {
			return nil, err
		}
		scaler, err := m.scalerOf(plant.Columns())
		if err != nil {
			return nil, fmt.Errorf("%w: model: %s: %w", errConfig, s.Model, err)
		}
		return o.make(s.Env, plant, n, scaler)
	}
	limits := s.Env.Limits
	if limits == nil {
		limits = env.DefaultLimits()
	}
	key, err := json.Marshal([]any{s.Testbed, limits})
	if err != nil {
		return nil, err
	}
	scaler, err := o.testbeds.get(ctx, string(key), func(ctx context.Context) (env.Scaler, error) {
		return testbed.FitScaler(ctx, s.Testbed, limits)
	})
	if err != nil {
		return nil, err
	}
	return o.make(s.Env, plant, n, scaler)
}

// openModel makes n simulations of s's model.
func (o *opener) openModel(s scenarios.Scenario, n int, mode env.Autoreset) (env.Vector, error) {
	m, err := openModel(s.Model)
	if err != nil {
		return nil, err
	}
	c := o.computing
	c.kernels, c.threads = cmp.Or(c.kernels, "auto"), 1
	if n > 64 {
		c.threads = runtime.GOMAXPROCS(0)
	}
	sim, done, err := c.simulate(n, m)
	if err != nil {
		return nil, err
	}
	plant := synthetic{env.NewSynthetic(sim), done}
	s.Env.Autoreset = mode
	v, err := o.make(s.Env, plant, n, m.scaler())
	if err != nil {
		done()
		return nil, err
	}
	lo, hi := sim.Limits()
	for _, l := range v.Spec().Limits {
		if int32(l) < lo || int32(l) > hi {
			done()
			return nil, fmt.Errorf("%w: env.limits: %d: the model was trained under %d…%d", errConfig, l, lo, hi)
		}
	}
	return newModelled(v, m)
}

// synthetic is the plant of a model and of the engine that computes it.
type synthetic struct {
	*env.Synthetic
	done func()
}

// Close ends the engine.
func (p synthetic) Close() error {
	p.done()
	return nil
}

// load reads the recordings and fits the scaler of observations to them.
func (o *opener) load() ([]*telemetry.Dataset, env.Scaler, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.recordings != nil {
		return o.recordings, o.scaler, nil
	}
	if o.data == "" {
		return nil, nil, fmt.Errorf("%w: no recordings: name their folder by --data or PLANEGYM_DATA", errConfig)
	}
	found, err := telemetry.OpenFolder(o.data)
	if err == nil {
		err = plausible(found, telemetry.MaxRefused)
	}
	if err != nil {
		return nil, nil, err
	}
	var all []*telemetry.Dataset
	for _, r := range found {
		all = append(all, r.Data)
	}
	scaler, err := telemetry.FitScaler(telemetry.Train, nil, all...)
	if err != nil {
		return nil, nil, err
	}
	o.recordings, o.scaler = all, scaler
	return all, scaler, nil
}

// serveOpen is open for a server: of the scenarios that it serves by name,
// with a client's overrides.
func (o *opener) serveOpen(served map[string]scenarios.Scenario) func(context.Context, ws.MakeRequest) (env.Vector, error) {
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
		v, err := o.open(ctx, s, m.NumEnvs, m.Autoreset)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ws.ErrInvalidConfig, err)
		}
		return v, nil
	}
}
