package cli

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/plants"
)

// runLive plays the policies on the switches too, beside a and beside b.
func (c *comparer) runLive(cmd *cobra.Command, nameA string, a, b eval.Side, policies []eval.Policy, o eval.Options) error {
	s, err := loadLive(cmd, c.live)
	if err != nil {
		return err
	}
	like, err := loadScenario(nameA)
	if err != nil {
		return err
	}
	guard, err := guardCommand(c.live, c.journal)
	if err != nil {
		return err
	}
	switches, episode, err := c.plants.Live(plants.Live{Name: c.live, Scenario: s, Journal: c.journal, Guard: guard}, like)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "compare: %d policies, %d episodes each, beside A and beside B: about %v on the switches\n",
		len(policies), c.episodes, (2 * time.Duration(len(policies)*c.episodes) * episode).Round(time.Second))
	bar := newProgress(cmd, int64(3*len(policies)), "policies", "compare")
	o.Done = func(string) error { return bar.Add(1) }
	all, err := eval.RunLive(cmd.Context(), switches, a, b, policies, o)
	if err != nil && !errors.Is(err, eval.ErrStopped) {
		return err
	}
	stopped := cmp.Or(err, bar.Finish())
	return cmp.Or(printComparison(cmd, all), stopped)
}
