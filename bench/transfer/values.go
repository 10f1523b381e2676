package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/model"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/closedloop"
	"github.com/planegym/planegym/timegan/structured"
)

// Values are what policies are worth on one plant: rewards a step. A file of
// the truth is one of them; a file of values is an array, one a model.
type Values struct {
	Scenario string
	Model    string `json:",omitempty"` // "": the testbed
	Data     string `json:",omitempty"` // SHA-256 of the model's file
	Seed     uint64
	Episodes int // wanted of each policy; a run that was stopped has fewer of some
	Steps    int
	Policies []Valued
}

// Valued is one policy: its reward a step in each episode. Episode i is that of
// seed i of eval.HeldOut, on every plant and for every policy.
type Valued struct {
	Policy    string
	PerSeed   []float64
	LBO       float64 // mean seconds buffered
	Level     float64 // mean quality level
	StallsPer float64 // seconds stalled in an episode
}

// families are the policies that are valued unless others are named, fixed:N
// for each of limits among them.
func families[L ~int32](limits []L) []string {
	var all []string
	for _, l := range limits {
		all = append(all, fmt.Sprint("fixed:", l))
	}
	return append(all, "random", "sticky:8", "sticky:30", "alternate", "alternate:15", "alternate:75",
		"threshold:3000", "threshold:6000", "threshold:12000", "threshold:22000", "codel:6000", "codel:20000",
		"occupancy:0.2", "occupancy:0.42", "occupancy:0.55", "occupancy:0.7", "occupancy:0.85",
		"hysteresis:0.3:0.6", "hysteresis:0.6:0.9", "buffer:15", "buffer:30", "buffer:50", "inverse:buffer:30", "level", "inverse:level",
		"inverse:occupancy:0.42", "delayed:3:occupancy:0.42", "delayed:10:occupancy:0.42", "noisy:0.2:occupancy:0.42", "noisy:0.5:codel:6000")
}

// atOnce is how many episodes of a policy are played before the next one's: a
// run that is stopped has some of every policy.
const atOnce = 10

// task is the scenario that policies are valued in: what they observe is
// measured, whatever the scenario scales it to.
func task(scenario string, steps int) (scenarios.Scenario, error) {
	s, err := scenarios.Load(scenario)
	s.Env.Observation = queues.Observation{Normalise: "none"}
	s.Env.MaxSteps, s.Env.Autoreset = steps, env.NextStep
	return s, err
}

// valueTruth values policies on the testbed of v's scenario, as far as out does
// not have them.
func valueTruth(ctx context.Context, v Values, policies []string, out string) error {
	s, err := task(v.Scenario, v.Steps)
	if err != nil {
		return err
	}
	if policies == nil {
		policies = families(s.Env.Limits)
	}
	old, err := read(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case old.Scenario != v.Scenario || old.Seed != v.Seed || old.Steps != v.Steps:
		return fmt.Errorf("%s holds values of %s, seed %d, %d steps: not those of %s, seed %d, %d steps", out, old.Scenario, old.Seed, old.Steps, v.Scenario, v.Seed, v.Steps)
	default:
		v.Policies = old.Policies
	}
	return v.value(ctx, s, policies, func() error { return write(out, v) })
}

// value plays what v lacks of policies, and calls keep now and then.
func (v *Values) value(ctx context.Context, s scenarios.Scenario, policies []string, keep func() error) error {
	for upTo := min(atOnce, v.Episodes); ; upTo = min(upTo+atOnce, v.Episodes) {
		for _, p := range policies {
			i := slices.IndexFunc(v.Policies, func(o Valued) bool { return o.Policy == p })
			if i < 0 {
				i, v.Policies = len(v.Policies), append(v.Policies, Valued{Policy: p})
			}
			if len(v.Policies[i].PerSeed) >= upTo {
				continue
			}
			if err := v.play(ctx, s, &v.Policies[i], upTo); err != nil {
				return err
			}
			if err := keep(); err != nil {
				return err
			}
		}
		if upTo == v.Episodes {
			return nil
		}
	}
}

func read(file string) (Values, error) { return readAs[Values](file) }

func readAs[T any](file string) (v T, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%s: %w", file, err)
	}
	return v, nil
}

func write(file string, v any) error {
	return atomicfile.Write(file, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(v)
	})
}

// play adds a policy's episodes to row, so that it has upTo.
func (v *Values) play(ctx context.Context, s scenarios.Scenario, row *Valued, upTo int) error {
	seeds := eval.HeldOut(v.Seed, upTo)[len(row.PerSeed):]
	plant, done, err := open(v.Model, s, len(seeds))
	if err != nil {
		return err
	}
	defer done()
	vec, err := queues.New(s.Env, plant, len(seeds), nil)
	if err != nil {
		return err
	}
	policy, err := baseline.New(row.Policy, vec.Spec())
	if err != nil {
		return err
	}
	e, err := eval.Evaluate(ctx, vec, policy, seeds, nil)
	if err != nil {
		return err
	}
	was, added := float64(len(row.PerSeed))/float64(upTo), float64(len(seeds))/float64(upTo)
	for _, r := range e.Returns {
		row.PerSeed = append(row.PerSeed, r/float64(v.Steps))
	}
	if e.QoE != nil {
		row.LBO = was*row.LBO + added*e.QoE.LBO.Mean
		row.Level = was*row.Level + added*e.QoE.Level.Mean
		row.StallsPer = was*row.StallsPer + added*e.QoE.Stalls.Mean
	}
	return nil
}

// open makes a plant of n rows.
func open(path string, s scenarios.Scenario, n int) (env.Plant, func(), error) {
	if path == "" {
		plant, err := testbed.New(s.Testbed)
		return plant, func() {}, err
	}
	sim, done, err := simulator(path, n)
	if err != nil {
		return nil, nil, err
	}
	return model.New(sim), done, nil
}

// simulation is what a model is valued on, and what is rolled out.
type simulation interface {
	model.Simulator
	timegan.Rollouts
}

// simulator opens n simulations of a checkpoint.
func simulator(path string, n int) (sim simulation, done func(), err error) {
	kernels, err := compute.ParseKernels("auto")
	if err != nil {
		return nil, nil, err
	}
	be := compute.NewBackend(kernels, 1)
	b, err := scenarios.OpenModel(path)
	if err != nil {
		return nil, nil, err
	}
	r, size := bytes.NewReader(b), int64(len(b))
	switch {
	case closedloop.IsCheckpoint(r, size):
		var m *closedloop.Model
		if m, err = closedloop.Decode(r, size); err == nil {
			sim, err = closedloop.NewSimulator(n, m, be)
		}
	case structured.IsCheckpoint(r, size):
		var m *structured.Model
		if m, err = structured.Decode(r, size); err == nil {
			sim, err = structured.NewSimulator(n, m, timegan.NewCPU(kernels, 1), be)
		}
	default:
		var m *timegan.Model
		if m, err = timegan.DecodeModel(r, size); err == nil {
			sim, err = timegan.NewSimulator(n, []*timegan.Model{m}, []timegan.Engine{timegan.NewCPU(kernels, 1)})
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return sim, be.Close, nil
}
