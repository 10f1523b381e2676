package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/run"
	"github.com/planegym/planegym/compute"
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
		RunE: func(cmd *cobra.Command, _ []string) error { return t.start(cmd) },
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

	c    agent.Config // of a training that is not resumed
	be   *compute.Backend
	loss agent.Learning
	run  *run.Run
}

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

// config is the preset with what the flags change.
func (t *training) config() (agent.Config, error) {
	c, err := agent.Preset(t.preset)
	if err != nil {
		return c, usageError{fmt.Errorf("train: --preset: %w", err)}
	}
	if err := set("train", t.set, &c); err != nil {
		return c, err
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
