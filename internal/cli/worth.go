package cli

import (
	"cmp"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval/worth"
	"github.com/planegym/planegym/p4"
)

func newTestbedWorth() *cobra.Command {
	var w worthCommand
	cmd := &cobra.Command{
		Use:   "worth",
		Short: "Compare constant limits, policies and queue managements on the testbed",
		Long: `worth plays the same episodes with every constant limit, policies that watch
the queues, other queue managements, and a look-ahead that tries its actions from
a snapshot of the whole testbed before it takes one. It prints the mean reward of
a step with its 95 % interval over seeds, the difference to the best constant
that the scenario allows, paired by seed, and what a viewer saw.

Policies, for --policies:
  constants        every limit of --constants, at all switches alike
  combinations     per-switch scenarios: every combination of the allowed limits
  random           an allowed limit drawn at every step
  wait:X           the smallest allowed limit while a switch's mean queueing delay
                   is above X of a full queue's, else the largest
  occupancy:X      the same by queue depth over the limit, as in play and compare
  codel, pi2, red  that queue management at the largest of --constants
  look-ahead       the allowed action that serves the next --horizon steps best,
                   decided every --hold steps; it knows the future, no policy can

The best constant is chosen on the seeds it is compared on, which favours it.`,
		Example: `  planegym testbed worth --scenario contended
  planegym testbed worth --scenario mine.toml --seeds 5 --steps 300 --policies constants,wait:0.4
  planegym testbed worth --scenario per-switch --policies combinations,wait:0.22 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return w.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&w.scenario, "scenario", "contended", "the scenario: bundled, or a .toml file")
	f.IntVar(&w.Seeds, "seeds", 20, "episodes of each policy")
	f.Uint64Var(&w.Seed, "seed", 1, "picks the episodes")
	f.IntVar(&w.steps, "steps", 0, "steps of an episode; default: the scenario's")
	f.StringVar(&w.constants, "constants", "8,16,32,64,128,256,512", "constant limits, packets")
	f.StringVar(&w.policies, "policies", "constants,combinations,random,wait:0.42,wait:0.22,codel,pi2,look-ahead", "what to compare")
	f.IntVar(&w.Horizon, "horizon", 15, "steps that the look-ahead looks ahead")
	f.IntVar(&w.Hold, "hold", 5, "steps that the look-ahead holds an action")
	return cmd
}

type worthCommand struct {
	scenario, constants, policies string
	steps                         int
	worth.Options
}

func (w *worthCommand) run(cmd *cobra.Command) (err error) {
	switch {
	case w.Seeds < 2:
		return usagef("worth: --seeds: %d give no interval: 2 at least", w.Seeds)
	case w.steps < 0 || w.Horizon < 1 || w.Hold < 1:
		return usagef("worth: --steps %d, --horizon %d, --hold %d: steps are positive", w.steps, w.Horizon, w.Hold)
	}
	if w.Limits, err = parseLimits("worth: --constants", w.constants); err != nil {
		return err
	}
	s, err := loadTestbed(cmd, w.scenario)
	if err != nil {
		return err
	}
	if s.Env.Limits == nil {
		s.Env.Limits = queues.DefaultLimits()
	}
	if w.steps > 0 {
		s.Env.MaxSteps = w.steps
	}
	s.Env.Observation = queues.Observation{Normalise: "none"}
	w.Policies = strings.Split(w.policies, ",")
	all, err := worth.Contestants(s, w.Options)
	if err != nil {
		return usagef("worth: --policies: %w", err)
	}
	bar := newProgress(cmd, int64(len(all)), "policy", "worth")
	w.Done = func() { _ = bar.Add(1) }
	r, stopped := worth.Run(cmd.Context(), s, all, w.Options)
	_ = bar.Finish()
	if r == nil {
		return stopped
	}
	print := r.WriteText
	if asJSON(cmd) {
		print = func(w io.Writer) error { return writeJSON(w, r) }
	}
	return cmp.Or(print(cmd.OutOrStdout()), stopped) // Ctrl-C: what was played is printed
}

// parseLimits reads limits in packets, comma between; none of "".
func parseLimits(flag, list string) (limits []p4.Limit, err error) {
	if list == "" {
		return nil, nil
	}
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
		if err != nil || p4.Limit(n).Check() != nil {
			return nil, usagef("%s: %q is not a limit in packets", flag, text)
		}
		limits = append(limits, p4.Limit(n))
	}
	return limits, nil
}
