package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/agent/onnx"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/nearest"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/internal/scalars"
)

func newTrain() *cobra.Command {
	var t training
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train an agent: here, on a server's environments, or from recordings",
		Long: `train teaches a DDQN agent to act in a scenario, in this process, on the server
that --url names, or --offline from episodes that play --record kept. Equal seeds
give equal weights in all of them.

--out becomes a folder of
  policy.safetensors      the agent: what play evaluates and deploy runs
  checkpoint.safetensors  the whole training, from which --resume goes on exactly,
                          with the kernels that it began with
  scalars.csv, events.*   the log, as a table and for TensorBoard: reward is the mean
                          of a step's, return of the last 100 episodes

What interrupts training (Ctrl-C, a server that goes away, a reward that is no
number) leaves the last checkpoint in place; Ctrl-C writes one more.`,
		Example: `  planegym train --scenario cartpole --out run
  planegym train --resume run --steps 120000
  planegym train --url ws://127.0.0.1:7070/v1/ws --set n_step=5 --set 'hidden=[64,64]'
  planegym train --offline episodes --scenario cartpole --cql 0.3
  planegym train --transfer run/policy.safetensors --freeze --scenario mine.toml --out adapted
  planegym train --export-onnx policy.onnx
  planegym train --switches --scenario lab.toml --transfer run/policy.safetensors --out online`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd) },
	}
	t.where.add(cmd, 8)
	t.switches.add(cmd)
	f := cmd.Flags()
	f.StringVar(&t.preset, "preset", "default", "configuration to begin with: "+strings.Join(agent.PresetNames, ", "))
	f.StringArrayVar(&t.set, "set", nil, "KEY=VALUE of the configuration, as in TOML; repeat for more (agent/DESIGN.md lists the keys)")
	f.Int64Var(&t.steps, "steps", 0, "transitions to train for; default: the configuration's")
	f.Uint64Var(&t.seed, "seed", 0, "of the weights, the exploration and the episodes")
	f.StringVarP(&t.out, "out", "o", "run", "folder to write to")
	f.Int64Var(&t.every, "checkpoint-every", 10_000, "transitions between checkpoints")
	f.StringVar(&t.resume, "resume", "", "go on with the training in this folder")
	f.StringVar(&t.transfer, "transfer", "", "begin with the network of this agent, its last layer new")
	f.BoolVar(&t.freeze, "freeze", false, "with --transfer: train the new layer only")
	f.StringVar(&t.offline, "offline", "", "learn from recorded episodes: a .parquet file, or a folder of them")
	f.Float64Var(&t.cql, "cql", 0, "with --offline: weight of the conservative term (Kumar et al. 2020); 0 is plain DDQN")
	f.StringVar(&t.onnx, "export-onnx", "", "also write the policy as this ONNX file")
	f.IntVar(&t.evaluate, "evaluate", 20, "episodes to evaluate the agent and the baselines in when done; 0: none")
	addProgress(cmd)
	t.computing.flags(cmd)
	t.computing.engineFlag(cmd, "")
	return cmd
}

type training struct {
	computing
	switches                                     onSwitches
	where                                        where
	preset, out, resume, transfer, offline, onnx string
	set                                          []string
	steps, every                                 int64
	seed                                         uint64
	freeze                                       bool
	cql                                          float64
	evaluate                                     int

	c       agent.Config // of a training that is not resumed
	be      *compute.Backend
	loss    agent.Learning
	log     *scalars.Log
	events  *events
	columns int // of the log
	bar     *progressbar.ProgressBar
	last    agent.Progress
	saved   int64 // transitions in the checkpoint that was written last; -1: none was
}

// logEvery is how many transitions, or updates offline, a line of the log
// covers.
const logEvery = 100

func (t *training) run(cmd *cobra.Command) error {
	if err := t.check(cmd); err != nil {
		return err
	}
	info, err := t.begin(cmd)
	if err != nil {
		return err
	}
	defer t.be.Close()
	release, err := lockOutput("train: --out", t.out)
	if err != nil {
		return err
	}
	defer release()
	for _, name := range []string{"checkpoint", "policy"} {
		if _, err := os.Stat(t.path(name)); t.resume == "" && !errors.Is(err, fs.ErrNotExist) {
			return usagef("train: --out: %s is there: --resume %s goes on with a training, another --out begins anew", t.path(name), t.out)
		}
	}
	if t.offline != "" {
		return t.runOffline(cmd)
	}
	return t.runOnline(cmd, info)
}

func (t *training) path(name string) string { return filepath.Join(t.out, name+".safetensors") }

// check finds flags that contradict each other.
func (t *training) check(cmd *cobra.Command) error {
	if err := checkProgress(cmd); err != nil {
		return err
	}
	given := func(names ...string) string {
		for _, n := range names {
			if cmd.Flags().Changed(n) {
				return n
			}
		}
		return ""
	}
	switch {
	case t.resume != "":
		if n := given("preset", "set", "seed", "transfer", "freeze", "offline", "cql", "out", "envs"); n != "" {
			return usagef("train: --resume goes on as the training began: leave out --%s", n)
		}
	case t.offline != "":
		if n := given("transfer", "freeze", "url", "switches"); n != "" {
			return usagef("train: --offline learns from recordings alone: leave out --%s", n)
		}
	case given("cql") != "":
		return usagef("train: --cql is for --offline")
	case t.freeze && t.transfer == "":
		return usagef("train: --freeze is for --transfer: which agent?")
	}
	if n := given("url"); t.switches.on && n != "" {
		return usagef("train: --switches are reached from here: leave out --%s", n)
	} else if n := given("journal", "metrics", "collect"); !t.switches.on && n != "" {
		return usagef("train: --%s is for --switches", n)
	}
	switch {
	case t.every < 1:
		return usagef("train: --checkpoint-every: %d is less than 1", t.every)
	case t.steps < 0:
		return usagef("train: --steps: %d is negative", t.steps)
	case cmd.Flags().Changed("steps") && t.steps < 1:
		return usagef("train: --steps: %d is less than 1", t.steps)
	case t.evaluate < 0:
		return usagef("train: --evaluate: %d is negative", t.evaluate)
	}
	return nil
}

// begin finds out what there is to go on from, and makes the backend.
func (t *training) begin(cmd *cobra.Command) (info agent.Info, err error) {
	t.saved = -1
	file := t.transfer
	if t.resume != "" {
		t.out = t.resume
		file = t.path("checkpoint")
	}
	if file != "" {
		if info, err = agent.Inspect(file); err != nil {
			return info, err
		}
	}
	if t.resume != "" {
		if info.Rows == 0 {
			return info, fmt.Errorf("train: --resume: %s holds a policy only: begin a training from it with --transfer", file)
		}
		t.where.envs, t.saved = info.Rows, info.Steps
		if !cmd.Flags().Changed("kernels") {
			t.Kernels = info.Kernels
		}
	}
	if t.switches.on {
		t.where.envs = 1
	}
	if err := t.where.check(cmd, info.Scenario); err != nil {
		return info, err
	}
	if t.c, err = t.config(); err != nil {
		return info, err
	}
	var k compute.Kernels
	if t.loss, k, err = t.computing.agentEngine(); err != nil {
		return info, err
	}
	t.be = compute.NewBackend(k, t.Threads)
	return info, nil
}

// config is the preset with what the flags change.
func (t *training) config() (agent.Config, error) {
	c, err := agent.Preset(t.preset)
	if err != nil {
		return c, usageError{fmt.Errorf("train: --preset: %w", err)}
	}
	for _, s := range t.set {
		if err := nesting.TOML([]byte(s)); err != nil {
			return c, usagef("train: --set: %w", err)
		}
		meta, err := toml.Decode(s, &c)
		if err != nil {
			return c, usagef("train: --set %s: expected KEY=VALUE as in TOML: %w", s, err)
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			return c, usagef("train: --set %s: there is no key %q%s", s, unknown[0].String(), nearest.Hint(unknown[0].String(), nearest.Keys(c)))
		}
	}
	if t.steps > 0 {
		c.Steps = t.steps
	}
	if t.offline != "" {
		c.CQL = t.cql
	}
	if err := c.Check(); err != nil {
		return c, usageError{fmt.Errorf("train: %w", err)}
	}
	return c, nil
}

func (t *training) runOnline(cmd *cobra.Command, info agent.Info) (err error) {
	ctx := cmd.Context()
	var v env.Vector
	if t.switches.on {
		v, err = t.switches.open(cmd, t.where.scenario, t.where.local.Data)
	} else {
		v, err = t.where.open(ctx, t.where.envs, false)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	var tr *agent.Trainer
	if t.resume != "" {
		tr, err = agent.Resume(ctx, t.path("checkpoint"), v, t.steps, t.be)
	} else {
		tr, err = t.start(v)
	}
	if err != nil {
		return err
	}
	if err := tr.Agent.Use(t.loss); err != nil {
		return err
	}
	tr.Agent.Scenario = t.where.scenario
	total := tr.Agent.Config.Steps
	if err := t.open(cmd, total, "transitions"); err != nil {
		return err
	}
	if t.resume != "" {
		if err := t.policyOf(tr.Agent); err != nil {
			return errors.Join(err, t.close())
		}
	}
	save := func() error {
		// Write everything after an interruption, too.
		if err := tr.Save(context.WithoutCancel(ctx), t.path("checkpoint")); err != nil {
			return err
		}
		t.saved = t.last.Steps
		return tr.Agent.SavePolicy(t.path("policy"))
	}
	began := time.Now()
	t.last.Steps = max(t.saved, 0)
	err = tr.Train(ctx, logEvery, func(p agent.Progress) error {
		due := p.Steps/t.every > t.last.Steps/t.every || p.Steps >= total
		if err := t.report(p); err != nil || !due {
			return err
		}
		return save()
	})
	if errors.Is(err, context.Canceled) && tr.Agent.Updates() > 0 {
		if e := save(); e != nil {
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	if e := t.close(); err == nil {
		err = e
	}
	if err != nil {
		return t.stopped(err)
	}
	if info.Steps >= total { // there was nothing left to do
		t.last = agent.Progress{Steps: info.Steps, Total: total, Updates: info.Updates, Return: math.NaN()}
	}
	return t.finish(cmd, tr.Agent, time.Since(began), v.Spec().RealTime)
}

// policyOf makes the saved policy that of d, the agent of the checkpoint:
// a kill may have come between the two, and a training that is done already
// writes no other.
func (t *training) policyOf(d *agent.DDQN) error {
	if old, err := agent.Load(t.path("policy"), t.be); err == nil && old.Hash() == d.Hash() {
		return nil
	}
	return d.SavePolicy(t.path("policy"))
}

// start begins a training that is not resumed.
func (t *training) start(v env.Vector) (*agent.Trainer, error) {
	if t.transfer != "" {
		return agent.Transfer(t.transfer, t.c, v, t.seed, t.freeze, t.be)
	}
	return agent.NewTrainer(t.c, v, t.seed, t.be)
}

func (t *training) runOffline(cmd *cobra.Command) error {
	o, err := offline.New(t.c, t.offline, t.seed, t.be)
	if err != nil {
		return err
	}
	if err := o.Agent.Use(t.loss); err != nil {
		return err
	}
	o.Agent.Scenario = o.Env
	if cmd.Flags().Changed("scenario") {
		o.Agent.Scenario = t.where.scenario
	}
	t.where.scenario = o.Agent.Scenario
	if err := t.open(cmd, o.Total, "updates"); err != nil {
		return err
	}
	save := func() error { return o.Agent.SavePolicy(t.path("policy")) }
	began := time.Now()
	err = o.Train(cmd.Context(), logEvery, func(p agent.Progress) error {
		due := p.Steps/t.every > t.last.Steps/t.every || p.Steps >= o.Total
		if err := t.report(p); err != nil || !due {
			return err
		}
		return save()
	})
	if e := t.close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return t.finish(cmd, o.Agent, time.Since(began), false)
}

// open begins the log and the bar.
func (t *training) open(cmd *cobra.Command, total int64, unit string) (err error) {
	names := []string{"return", "loss", "target", "epsilon", "episodes", "updates", "reward"}
	t.columns = len(names)
	if now := time.Now().Unix(); t.resume != "" {
		t.log, err = scalars.Resume(t.out, now, t.saved, names...)
		if err != nil { // a log that was begun before it had the reward goes on without
			var e error
			if t.log, e = scalars.Resume(t.out, now, t.saved, names[:t.columns-1]...); e == nil {
				t.columns, err = t.columns-1, nil
			}
		}
	} else {
		t.log, err = scalars.Open(t.out, now, names...)
	}
	t.events = newEvents(cmd)
	t.bar = newProgress(cmd, total, unit, "train")
	return err
}

// report logs p.
func (t *training) report(p agent.Progress) error {
	t.last = p
	if !math.IsNaN(p.Return) {
		t.bar.Describe(fmt.Sprintf("train, return %.1f", p.Return))
	} else if !math.IsNaN(p.Reward) {
		t.bar.Describe(fmt.Sprintf("train, reward %.3f a step", p.Reward))
	}
	if err := t.bar.Set64(min(p.Steps, t.bar.GetMax64())); err != nil { // the last step of all rows may take it past the end
		return err
	}
	t.events.emit("", p.Steps >= p.Total, map[string]any{
		"done": p.Steps, "total": p.Total, "updates": p.Updates, "episodes": p.Episodes,
		"epsilon": p.Epsilon, "return": p.Return, "reward": p.Reward, "loss": p.Loss, "target": p.Target,
	})
	row := []float64{p.Return, p.Loss, p.Target, p.Epsilon, float64(p.Episodes), float64(p.Updates), p.Reward}
	return t.log.Add(p.Steps, float64(time.Now().UnixMilli())/1000, row[:t.columns]...)
}

func (t *training) close() error { return errors.Join(t.bar.Finish(), t.log.Close()) }

// stopped says what is left of a training that err ended.
func (t *training) stopped(err error) error {
	if t.saved < 0 {
		return fmt.Errorf("train: %w; no checkpoint had been written yet: begin again", err)
	}
	hint := ""
	if t.where.url != "" {
		hint = " --url " + t.where.url
	}
	return fmt.Errorf("train: %w; the checkpoint at transition %d is kept: planegym train --resume %s%s goes on from there", err, t.saved, t.out, hint)
}

// finish exports and evaluates d, and says what came out.
func (t *training) finish(cmd *cobra.Command, d *agent.DDQN, took time.Duration, live bool) error {
	if t.onnx != "" {
		if err := onnx.Export(d, t.onnx); err != nil {
			return err
		}
	}
	out := map[string]any{
		"scenario": t.where.scenario, "steps": t.last.Steps, "updates": t.last.Updates, "episodes": t.last.Episodes,
		"seconds": took.Seconds(), "policy": t.path("policy"), "agent": d.Hash(), "kernels": t.be.Kernels.String(),
	}
	if t.onnx != "" {
		out["onnx"] = t.onnx
	}
	if !math.IsNaN(t.last.Return) {
		out["return"] = t.last.Return
	}
	if !asJSON(cmd) {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d updates in %.1f s, agent %s; planegym play %[1]s evaluates it\n", t.path("policy"), t.last.Updates, took.Seconds(), d.Hash())
	}
	if t.evaluate > 0 && !live { // an hour of a live network is for play to ask for
		spec, results, err := t.evaluation(cmd, d)
		if err != nil {
			return fmt.Errorf("train: the agent is trained and kept; evaluating it: %w", err)
		}
		if !asJSON(cmd) {
			return printResults(cmd, t.where.scenario, spec, results)
		}
		out["evaluation"] = results
	}
	if asJSON(cmd) {
		if err := writeJSON(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	}
	if live && t.last.Updates == 0 { // an hour of a live network for nothing
		return reportedError{fmt.Errorf("train: 0 updates in %d transitions: the policy is as untrained as it began; the first update comes after %d transitions (--steps)", t.last.Steps, d.Config.Minimum)}
	}
	return nil
}

func (t *training) evaluation(cmd *cobra.Command, d *agent.DDQN) (spec env.Spec, results []result, err error) {
	v, err := t.where.open(cmd.Context(), min(t.where.envs, t.evaluate), true)
	if err != nil {
		return spec, nil, err
	}
	defer v.Close()
	spec = v.Spec()
	if err := d.Fits(episodes.SpacesOf(spec)); err != nil {
		return spec, nil, err
	}
	entries := addBaselines([]entry{{name: t.path("policy"), policy: d, hash: d.Hash()}}, spec)
	if !asJSON(cmd) {
		fmt.Fprintf(cmd.ErrOrStderr(), "evaluating %d policies in %d episodes each; --evaluate 0 skips\n", len(entries), t.evaluate)
	}
	bar := newProgress(cmd, int64(len(entries)), "policies", "evaluate")
	results, err = evaluateAll(cmd.Context(), v, entries, eval.HeldOut(t.seed, t.evaluate), nil, bar)
	return spec, results, err
}
