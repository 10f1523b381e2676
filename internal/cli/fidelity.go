package cli

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/selection"
)

// fidelity measures five rollouts of a checkpoint against each recording, on
// the held-out blocks where test is set; sessions, whose limits change, are one
// figure, their mean.
func (c *compute) fidelity(ctx context.Context, file string, data []telemetry.Recording, test bool) ([]timegan.Fidelity, error) {
	const rollouts = 5
	sim, _, done, err := c.openModels(rollouts, []string{file})
	if err != nil {
		return nil, err
	}
	defer done()
	blocks := "the seconds fitted to"
	if test {
		blocks = "held-out blocks"
	}
	var all []timegan.Fidelity
	sum, sessions := timegan.Fidelity{}, 0
	for _, r := range data {
		real, err := selection.FromDataset(r.Data)
		if err != nil {
			return nil, err
		}
		rolled, err := timegan.SampleLike(ctx, sim, seedsFrom(0, rollouts), 0, r)
		if err != nil {
			return nil, err
		}
		var scores []selection.Score
		for _, d := range rolled {
			t, err := selection.FromDataset(d)
			if err != nil {
				return nil, err
			}
			s, err := selection.Compare(real, t, selection.Options{Like: true, Test: test, Draws: -1})
			if err != nil {
				return nil, err
			}
			scores = append(scores, s)
		}
		m := selection.Median(scores).Mean
		if r.Limits == nil {
			all = append(all, timegan.Fidelity{Of: fmt.Sprintf("%s, limit %d", blocks, r.Limit), W1: m.W1, KS: m.KS, Corr: m.Corr, ACF: m.ACF})
			continue
		}
		sessions++
		sum.W1, sum.KS, sum.Corr, sum.ACF = sum.W1+m.W1, sum.KS+m.KS, sum.Corr+m.Corr, sum.ACF+m.ACF
	}
	if n := float64(sessions); sessions > 0 {
		all = append(all, timegan.Fidelity{Of: fmt.Sprintf("%s, %d sessions", blocks, sessions), W1: sum.W1 / n, KS: sum.KS / n, Corr: sum.Corr / n, ACF: sum.ACF / n})
	}
	return all, nil
}
