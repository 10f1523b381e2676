// Command learning draws a learning curve: the return of greedy episodes as a
// double DQN trains, over several seeds, beside baselines in the same episodes.
// It made docs/learning.svg:
//
//	go run ./bench/learning -o docs/learning.svg
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strings"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/report"
)

type options struct {
	scenario, judge, baselines, out, table string
	seeds, episodes                        int
	steps, every                           int64
}

func main() {
	var o options
	flag.StringVar(&o.scenario, "scenario", "closed-loop", "what the agent trains in")
	flag.StringVar(&o.judge, "judge", "", "what it is evaluated in; default: the same")
	flag.StringVar(&o.baselines, "baselines", "fixed:128,fixed:32,threshold:0.55", "policies to compare with")
	flag.IntVar(&o.seeds, "seeds", 3, "trainings")
	flag.Int64Var(&o.steps, "steps", 30_000, "transitions of a training")
	flag.Int64Var(&o.every, "every", 2_500, "transitions between evaluations")
	flag.IntVar(&o.episodes, "episodes", 8, "episodes of an evaluation")
	flag.StringVar(&o.out, "o", "learning.svg", "the drawing")
	flag.StringVar(&o.table, "csv", "", "a table of all evaluations; none where empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "learning:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.judge == "" {
		o.judge = o.scenario
	}
	kernels, err := compute.ParseKernels("auto")
	if err != nil {
		return err
	}
	be := compute.NewBackend(kernels, 1)
	defer be.Close()
	judge, err := planegym.Make(ctx, o.judge, planegym.Options{NumEnvs: o.episodes})
	if err != nil {
		return err
	}
	defer judge.Close()
	held := eval.HeldOut(7, o.episodes)
	play := func(p agent.Policy) (float64, error) {
		e, err := eval.Evaluate(ctx, judge, p, held, nil)
		if err != nil {
			return 0, err
		}
		return e.Return.Mean, nil
	}
	var at []float64    // transitions
	var all [][]float64 // [evaluation][seed]
	rows := [][]string{{"algorithm", "seed", "transitions", "return", "settings", "command"}}
	for seed := range o.seeds {
		config, err := agent.Preset("default")
		if err != nil {
			return err
		}
		config.Steps = o.steps
		v, err := planegym.Make(ctx, o.scenario, planegym.Options{NumEnvs: 8})
		if err != nil {
			return err
		}
		t, err := agent.NewTrainer(config, v, uint64(seed+1), be)
		if err != nil {
			return err
		}
		i := 0
		evaluate := func(steps int64) error {
			r, err := play(t.Agent)
			if err != nil {
				return err
			}
			if seed == 0 {
				at, all = append(at, float64(steps)), append(all, nil)
			}
			all[i] = append(all[i], r)
			i++
			rows = append(rows, []string{"planegym double DQN", fmt.Sprint(seed + 1), fmt.Sprint(steps), fmt.Sprintf("%.1f", r), settings(config), "go run ./bench/learning -scenario " + o.scenario})
			fmt.Fprintf(os.Stderr, "seed %d: %d transitions: %.0f\n", seed+1, steps, r)
			return nil
		}
		if err := evaluate(0); err != nil {
			return err
		}
		if err := t.Train(ctx, o.every, func(p agent.Progress) error { return evaluate(p.Steps) }); err != nil {
			return err
		}
		if err := v.Close(); err != nil {
			return err
		}
	}
	lines := []report.Line{band("DDQN", at, all)}
	for _, name := range strings.Split(o.baselines, ",") {
		p, err := baseline.New(name, judge.Spec())
		if err != nil {
			return err
		}
		r, err := play(p)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f\n", name, r)
		lines = append(lines, report.Line{Name: name, X: []float64{at[0], at[len(at)-1]}, Y: []float64{r, r}})
	}
	if o.table != "" {
		f, err := os.Create(o.table)
		if err != nil {
			return err
		}
		if err := csv.NewWriter(f).WriteAll(rows); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	figure, err := report.Lines("learning", "", "transitions", fmt.Sprintf("return of an episode in %s", o.judge), lines)
	if err != nil {
		return err
	}
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	if strings.HasSuffix(o.out, ".svg") {
		err = figure.WriteSVG(f)
	} else {
		err = figure.Write(f, o.out[strings.LastIndexByte(o.out, '.'):])
	}
	return errors.Join(err, f.Close())
}

// settings are the parts of a configuration that decide how it learns.
func settings(c agent.Config) string {
	return fmt.Sprintf("hidden=%v, batch=%d, learning_rate=%g, gamma=%g, n_step=%d, replay=%d, train_every=%d",
		c.Hidden, c.Batch, c.LearningRate, c.Gamma, c.NStep, c.Replay, c.TrainEvery)
}

// band is the mean over seeds with its 95 % interval.
func band(name string, x []float64, y [][]float64) report.Line {
	l := report.Line{Name: name, X: x}
	for _, v := range y {
		e := eval.EstimateOf(v)
		if math.IsNaN(e.CI) { // of one training
			e.CI = 0
		}
		l.Y, l.Low, l.High = append(l.Y, e.Mean), append(l.Low, e.Mean-e.CI), append(l.High, e.Mean+e.CI)
	}
	return l
}
