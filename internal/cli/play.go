package cli

import (
	"github.com/spf13/cobra"
)

func newPlay() *cobra.Command {
	var p player
	cmd := &cobra.Command{
		Use:   "play [AGENT...]",
		Short: "Evaluate agents and baselines, and record what they do",
		Long: `play lets trained agents (files that train wrote) act greedily in evaluation
episodes, the baselines beside them in the same ones, and prints each one's
return with a 95 % confidence interval over episodes, how much that is over the
first one's (paired by episode), what a viewer saw, and how often each action
was taken. No training uses the seeds of these episodes.

` + policyHelp() + `

--record keeps the episodes of the agents and of the policies that --policy
names as Parquet, for train --offline. --picture draws the first policy's first
episode as an animated SVG: queues against their limits, the player, the reward.`,
		Example: `  planegym play
  planegym play run/policy.safetensors
  planegym play --scenario cartpole --policy random --episodes 200 --record episodes/random.parquet
  planegym play run/policy.safetensors --picture episode.svg
  planegym play run/policy.safetensors --url ws://127.0.0.1:7070/v1/ws --json`,
		RunE: func(cmd *cobra.Command, files []string) error { return p.run(cmd, files) },
	}
	p.where.add(cmd, 16)
	f := cmd.Flags()
	f.StringArrayVar(&p.policies, "policy", nil, "a baseline to play; repeat for more")
	f.BoolVar(&p.baselines, "baselines", true, "play the baselines that the scenario has")
	f.IntVar(&p.episodes, "episodes", 20, "evaluation episodes")
	f.Uint64Var(&p.seed, "seed", 0, "picks the evaluation episodes")
	f.StringVar(&p.record, "record", "", "file to record the episodes to, .parquet")
	f.StringVar(&p.picture, "picture", "", "file to draw the first policy's first episode to, .svg, animated")
	f.IntVar(&p.pictureSteps, "picture-steps", 150, "steps that --picture shows")
	p.computing.flags(cmd)
	return cmd
}

type player struct {
	computing
	where     where
	policies  []string
	baselines bool
	episodes  int
	seed      uint64
	record    string
	picture   string
	// pictureSteps is how many steps the picture shows.
	pictureSteps int
}
