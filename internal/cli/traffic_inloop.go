package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
)

// inLoop values policies under the loads.
func (e *trafficEval) inLoop(cmd *cobra.Command, train, held *traffic.Set, candidates []eval.Candidate) (*inloop.Result, error) {
	s, err := loadScenario(e.in)
	if err != nil {
		return nil, err
	}
	if e.steps > 0 {
		s.Env.MaxSteps = e.steps
	}
	if e.loop.Policies, err = inloop.Choose(cmd.Context(), s, e.policies); err != nil {
		return nil, usagef("traffic eval: --in, --policy: %w", err)
	}
	e.loop.Seed, e.loop.NoFloors = e.options.Seed, e.options.NoFloors
	bar := newProgress(cmd, int64(e.loop.Work(len(candidates), len(e.loop.Policies))), "policies", "eval --in")
	e.loop.Done = func(policy, load string) error {
		bar.Describe(load + " " + policy)
		return bar.Add(1)
	}
	r, err := inloop.Compare(cmd.Context(), s, train, held, candidates, e.loop)
	return r, cmp.Or(err, bar.Finish())
}
