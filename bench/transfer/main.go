// Command transfer measures how far a simulator can replace the emulated testbed:
// it values policies on the testbed once, and then on each model named.
//
//	go run ./bench/transfer -truth contended -o truth.json
//	go run ./bench/transfer -against truth.json model.safetensors ...
//	go run ./bench/transfer -against truth.json -metrics mixed/recording.parquet model.safetensors ...
//
// The last asks which figures of recordings say what models are worth. The
// first writes as it goes, and goes on where it was stopped.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"

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

// Values are what policies are worth on one plant: rewards a step.
type Values struct {
	Scenario string
	Model    string `json:",omitempty"` // "": the testbed
	Seed     uint64
	Episodes int
	Steps    int
	Policies []Valued
}

// Valued is one policy: its reward a step in each episode.
type Valued struct {
	Policy    string
	PerSeed   []float64
	LBO       float64 // mean seconds buffered
	Level     float64
	StallsPer float64 // seconds stalled in an episode
}

func main() {
	truth := flag.String("truth", "", "scenario to value on the testbed")
	against := flag.String("against", "", "file of values: value the models named on its scenario's task, and compare")
	episodes := flag.Int("episodes", 20, "episodes of a policy")
	steps := flag.Int("steps", 450, "steps of an episode")
	seed := flag.Uint64("seed", 1, "picks the episodes")
	out := flag.String("o", "", "file of values to write")
	names := flag.String("policies", "", "policies, separated by commas; default: all families")
	figures := flag.String("metrics", "", "recording.parquet of sessions: score the models' rollouts under their limits too")
	flag.Parse()
	if *names != "" {
		families = strings.Split(*names, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *against != "":
		err = compareModels(ctx, *against, *figures, *episodes, *seed, flag.Args())
	case *truth != "" && *out != "":
		err = value(ctx, Values{Scenario: *truth, Seed: *seed, Episodes: *episodes, Steps: *steps}, *out)
	default:
		err = errors.New("one of -truth with -o, or -against, says what to do")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}

var families = []string{
	"fixed:32", "fixed:64", "fixed:128", "random", "sticky:8", "sticky:30", "alternate", "alternate:15", "alternate:75",
	"threshold:3000", "threshold:6000", "threshold:12000", "threshold:22000", "codel:6000", "codel:20000",
	"occupancy:0.2", "occupancy:0.42", "occupancy:0.55", "occupancy:0.7", "occupancy:0.85",
	"hysteresis:0.3:0.6", "hysteresis:0.6:0.9", "buffer:15", "buffer:30", "buffer:50", "inverse:buffer:30", "level", "inverse:level",
	"inverse:occupancy:0.42", "delayed:3:occupancy:0.42", "delayed:10:occupancy:0.42", "noisy:0.2:occupancy:0.42", "noisy:0.5:codel:6000",
}

// value values policies on v's plant, those that out has not.
func value(ctx context.Context, v Values, out string) error {
	old, err := read(out)
	if err == nil {
		v.Policies = old.Policies
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s, err := scenarios.Load(v.Scenario)
	if err != nil {
		return err
	}
	s.Env.Observation = queues.Observation{Normalise: "none"}
	s.Env.MaxSteps, s.Env.Autoreset = v.Steps, env.NextStep
	for _, p := range families {
		if slices.ContainsFunc(v.Policies, func(o Valued) bool { return o.Policy == p }) {
			continue
		}
		row, err := v.play(ctx, s, p)
		if err != nil {
			return err
		}
		v.Policies = append(v.Policies, row)
		if err := atomicfile.Write(out, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", " ")
			return enc.Encode(v)
		}); err != nil {
			return err
		}
	}
	return nil
}

func read(file string) (v Values, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(b, &v)
}

// play is one policy's episodes.
func (v *Values) play(ctx context.Context, s scenarios.Scenario, name string) (Valued, error) {
	row := Valued{Policy: name}
	plant, done, err := open(v.Model, s, v.Episodes)
	if err != nil {
		return row, err
	}
	defer done()
	vec, err := queues.New(s.Env, plant, v.Episodes, nil)
	if err != nil {
		return row, err
	}
	policy, err := baseline.New(name, vec.Spec())
	if err != nil {
		return row, err
	}
	e, err := eval.Evaluate(ctx, vec, policy, eval.HeldOut(v.Seed, v.Episodes), nil)
	if err != nil {
		return row, err
	}
	for _, r := range e.Returns {
		row.PerSeed = append(row.PerSeed, r/float64(v.Steps))
	}
	if e.QoE != nil {
		row.LBO, row.Level, row.StallsPer = e.QoE.LBO.Mean, e.QoE.Level.Mean, e.QoE.Stalls.Mean
	}
	return row, nil
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

// compareModels values models and prints each beside the truth.
func compareModels(ctx context.Context, file, recordings string, episodes int, seed uint64, models []string) error {
	truth, err := read(file)
	if err != nil {
		return err
	}
	s, err := scenarios.Load(truth.Scenario)
	if err != nil {
		return err
	}
	s.Env.Observation = queues.Observation{Normalise: "none"}
	s.Env.MaxSteps = truth.Steps
	judge, err := newMetrics(recordings)
	if err != nil {
		return err
	}
	for _, m := range models {
		v := Values{Scenario: truth.Scenario, Model: m, Seed: seed, Episodes: episodes, Steps: truth.Steps}
		var rows []pair
		for _, p := range truth.Policies {
			row, err := v.play(ctx, s, p.Policy)
			if err != nil {
				return err
			}
			rows = append(rows, pair{p.Policy, p.PerSeed, row.PerSeed})
			fmt.Printf("%-28s %6.2f %6.2f  %+.2f   buffer %.1f %.1f level %.2f %.2f\n", p.Policy, mean(p.PerSeed), mean(row.PerSeed), mean(row.PerSeed)-mean(p.PerSeed), p.LBO, row.LBO, p.Level, row.Level)
		}
		regret, rms := summary(m, rows)
		if judge == nil {
			continue
		}
		if err := judge.add(ctx, m, func(n int) (timegan.Rollouts, func(), error) {
			return simulator(m, n)
		}, regret, rms); err != nil {
			return err
		}
	}
	if judge != nil {
		judge.print()
	}
	return nil
}

// pair is a policy's rewards a step in each episode, on the testbed and on a model.
type pair struct {
	policy       string
	truth, model []float64
}

// kinds are the families that errors are printed by, each policy the first that
// its name fits.
var kinds = []struct{ name, of string }{
	{"constants", "fixed"}, {"watch the player", "buffer level"}, {"change every step", "random alternate threshold:12000"},
	{"schedules", "sticky alternate:"}, {"watch queues", ""},
}

func kindOf(policy string) string {
	for _, k := range kinds {
		for _, part := range strings.Fields(k.of) {
			if part == policy || strings.Contains(policy, part) && part != "alternate" && part != "random" {
				return k.name
			}
		}
	}
	return "watch queues"
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// summary prints rank correlation, regret, and the error of a value, with the
// ceiling of ρ: half of the testbed's episodes against the other half, whose ρ
// with so many episodes no model exceeds but by luck; and errors by family.
func summary(name string, rows []pair) (regret, rms float64) {
	var va, vb, even, odd []float64
	sq, bias := 0., 0.
	for _, p := range rows {
		a, b := mean(p.truth), mean(p.model)
		va, vb = append(va, a), append(vb, b)
		sq, bias = sq+(b-a)*(b-a)/float64(len(rows)), bias+(b-a)/float64(len(rows))
		var halves [2][]float64
		for i, x := range p.truth {
			halves[i%2] = append(halves[i%2], x)
		}
		even, odd = append(even, mean(halves[0])), append(odd, mean(halves[1]))
	}
	best, chosen := slices.Index(va, slices.Max(va)), slices.Index(vb, slices.Max(vb))
	regret, rms = (va[best]-va[chosen])/va[best], math.Sqrt(sq)
	fmt.Printf("%s: rho %.3f (ceiling %.3f) regret %.1f %% rms %.3f bias %+.3f\n", name, eval.Spearman(va, vb), eval.Spearman(even, odd), 100*regret, rms, bias)
	for _, k := range kinds {
		n, sq, bias := 0., 0., 0.
		for i, p := range rows {
			if kindOf(p.policy) == k.name {
				d := vb[i] - va[i]
				n, sq, bias = n+1, sq+d*d, bias+d
			}
		}
		if n > 0 {
			fmt.Printf("  %s, %.0f policies: rms %.3f bias %+.3f\n", k.name, n, math.Sqrt(sq/n), bias/n)
		}
	}
	return regret, rms
}
