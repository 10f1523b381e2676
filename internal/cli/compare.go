package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/eval/plants"
	"github.com/planegym/planegym/p4"
)

func newCompare() *cobra.Command {
	var c comparer
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Value the same policies on two plants, and tell how alike they rank them",
		Long: `compare plays the same policies on two plants, A the truth and B what is to stand
in for it, and reports, with 95 % intervals that resample episodes:

  value       mean reward of a step on each
  ρ, τ        Spearman's and Kendall's rank correlation of the two values; 1 is best
  regret@1    what it costs on A to take the policy that does best on B, as a share
              of A's best value less its worst; 0 is best
  rms, bias   error of a value, reward a step: root mean square and mean over
              policies, in all and by family (constants, schedules, rules that
              watch queues or player, late and noisy ones, adversarial ones, agents)
  calibration the line of B's values over A's: slope 1 and intercept 0 are best
  drift       how far what is measured under each policy is apart, by column: the
              Wasserstein-1 distance over the column's range on A, and
              Kolmogorov-Smirnov's statistic; 0 is best
  similarity  the mean over policies of the smaller value over the larger, as the
              tutorial compares its environments, beside that of A's worst policy
              and its best: what it says of plants it says of any two policies

ρ, regret and rms are beside two others. The ceiling is A again, by other seeds and as
many episodes: no B exceeds it but by luck. The other is another testbed (--wrong) with
A's limits, rewards and episodes: a B that is no better has learnt nothing of A. Both
are played, which takes as long as A does; --ceiling=false and --wrong none leave
them out. Plants are played at the same time where there are cores.

-o draws all this as a page, --figure the values on B over those on A alone.

With --recordings, what testbed record --schedule switchback (or random) wrote of
A's scenario, come estimates of the policies that were not played: fitted Q
evaluation and doubly robust, of a discounted reward per step; advantages over
drawing the limit at every step; and the same with the limits' labels shuffled,
where intervals should contain 0.

With --live, a scenario with plant = "live", the same policies act on the switches
too, with A's rewards, limits and length of episodes, and the page says what A and
what B are worth as stand-ins for them: values, drift by column, regret. The
switches take no seeds, so their episodes and a simulator's are independent. Every
policy is played twice on them; --episodes and --steps say how long that takes.

A and B are bundled scenarios, .toml files, or servers: ws://HOST:PORT` + ws.Path + `#SCENARIO; both need the same
actions, which --limits sets.

The default policies, which --baselines=false leaves out, are every limit, the limits
in turn at three paces, random, rules that watch the queues at several levels or the
player, and rules that hold a limit, act late, at random in part, or turned round;
--policy adds baselines and agents (files that train wrote, or bundled). An agent observes either
plant as it did the one it was trained in, baselines observe what is measured.

` + policyHelp(),
		Example: `  planegym compare contended mine.toml
  planegym compare contended synthetic -o compare.html --figure values.svg
  planegym compare contended synthetic --episodes 6 --steps 300 --wrong crossing
  planegym testbed record --scenario contended --schedule switchback --sessions 20 -o blocks
  planegym compare contended mine.toml --recordings blocks
  planegym compare synthetic contended --live lab.toml --episodes 3 --steps 30 --policy run/policy.safetensors
  planegym compare contended contended --seed-b 1 --policy run/policy.safetensors --json
  planegym compare contended ws://127.0.0.1:7070/v1/ws#contended --policy fixed:32 --policy fixed:64 --policy random --baselines=false`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.policies, "policy", nil, "a policy to add: a baseline, an agent's .safetensors file, or bundled; repeat for more")
	f.BoolVar(&c.baselines, "baselines", true, "play the default policies")
	f.IntVar(&c.episodes, "episodes", 10, "episodes of each policy on each plant")
	f.Uint64Var(&c.seed, "seed", 0, "picks the episodes")
	f.Uint64Var(&c.seedB, "seed-b", 0, "picks the episodes on B; default: --seed")
	f.IntVar(&c.steps, "steps", 0, "steps of an episode; default: the scenarios'")
	f.StringVar(&c.limits, "limits", "", "queue limits to choose from, packets, the last in force at first; default: the scenarios'")
	f.StringVar(&c.observe, "observe", "", "scenario whose observations the agents are given; default: what each was trained in")
	f.StringVar(&c.figure, "figure", "", "draw the values on B over those on A, to this .svg (light or dark as the reader's system is) or .png")
	f.StringVarP(&c.page, "output", "o", "", "write the page to this .html too, as report --compare does")
	f.BoolVar(&c.force, "force", false, "replace the page where it already exists")
	f.BoolVar(&c.ceiling, "ceiling", true, "play A again, by other seeds: what no plant exceeds but by luck")
	f.StringVar(&c.wrong, "wrong", "auto", "another testbed to play beside: a scenario, auto (site, or contended where A is site), or none")
	f.StringVar(&c.recordings, "recordings", "", "folder that testbed record wrote of A's scenario: estimate the policies from it too")
	f.StringVar(&c.live, "live", "", "scenario of live switches to play the policies on too, within the rails, guard and journal of deploy")
	f.StringVar(&c.journal, "journal", "journal.jsonl", "with --live: file to append every action to")
	f.Float64Var(&c.gamma, "gamma", .99, "with --recordings: discount a step")
	f.StringVar(&c.token, "token", "", "bearer token for servers; default $PLANEGYM_TOKEN")
	addData(cmd, &c.data)
	c.computing.flags(cmd)
	return cmd
}

type comparer struct {
	computing
	policies                             []string
	baselines                            bool
	episodes, steps                      int
	seed, seedB                          uint64
	limits, observe, figure, token, data string
	recordings, live, journal            string
	page, wrong                          string
	force, ceiling                       bool
	gamma                                float64

	allowed []p4.Limit
	plants  plants.Opener
}

func (c *comparer) check(cmd *cobra.Command, a string) error {
	if !cmd.Flags().Changed("seed-b") {
		c.seedB = c.seed
	}
	switch ext := filepath.Ext(c.figure); {
	case c.episodes < 2:
		return usagef("compare: --episodes: %d give no interval: 2 at least", c.episodes)
	case c.steps < 0:
		return usagef("compare: --steps: %d is negative", c.steps)
	case !(c.gamma >= 0 && c.gamma < 1):
		return usagef("compare: --gamma: %v: expected 0 up to 1", c.gamma)
	case c.figure != "" && ext != ".svg" && ext != ".png":
		return usagef("compare: --figure: %s ends in neither .svg nor .png", c.figure)
	case c.recordings != "" && plants.IsURL(a):
		return usagef("compare: --recordings: the rewards are the scenario's, which is on a server: name it as it is here")
	case c.live != "" && plants.IsURL(a):
		return usagef("compare: --live: A's rewards and limits hold on the switches, too: name its scenario, not a server")
	case c.live != "" && c.recordings != "":
		return usagef("compare: --live: recordings are A's: compare them without the switches")
	case c.live != "" && c.page != "":
		return usagef("compare: --output: the comparison with switches is printed, not drawn: leave out --live")
	}
	var err error
	if c.page != "" {
		if err := checkOutput("compare: --output", c.page, ".html"); err != nil {
			return err
		}
		if err := refuseExisting("compare: --output", c.page, c.force); err != nil {
			return err
		}
	}
	c.allowed, err = parseLimits("compare: --limits", c.limits)
	return err
}
