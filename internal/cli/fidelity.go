package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// fidelity measures five rollouts of a model against each recording, on the
// held-out blocks where test is set; sessions, whose limits change, are one
// figure, their mean.
func (c *computing) fidelity(ctx context.Context, m planegym.Model, data []telemetry.Recording, test bool) ([]timegan.Fidelity, error) {
	const rollouts = 5
	sim, done, err := c.Simulate(ctx, rollouts, m)
	if err != nil {
		return nil, err
	}
	defer done()
	blocks := "the seconds fitted to"
	if test {
		blocks = "held-out blocks"
	}
	var all []timegan.Fidelity
	var simulated []telemetry.Recording
	sum, sessions := timegan.Fidelity{}, 0
	for _, r := range data {
		real, err := selection.FromDataset(r.Data)
		if err != nil {
			return nil, err
		}
		scores, _, rolled, err := scoreRollouts(ctx, sim, seedsFrom(0, rollouts), r, real, selection.Options{Test: test, Draws: -1})
		if err != nil {
			return nil, err
		}
		mean := selection.Median(scores).Mean
		simulated = append(simulated, rolled...)
		if r.Limits == nil && r.PerSwitch == nil {
			all = append(all, timegan.Fidelity{Of: fmt.Sprintf("%s, limit %d", blocks, r.Limit), W1: mean.W1, KS: mean.KS, Corr: mean.Corr, ACF: mean.ACF})
			continue
		}
		sessions++
		sum.W1, sum.KS, sum.Corr, sum.ACF = sum.W1+mean.W1, sum.KS+mean.KS, sum.Corr+mean.Corr, sum.ACF+mean.ACF
	}
	if n := float64(sessions); sessions > 0 {
		f := timegan.Fidelity{Of: fmt.Sprintf("%s, %d sessions", blocks, sessions), W1: sum.W1 / n, KS: sum.KS / n, Corr: sum.Corr / n, ACF: sum.ACF / n}
		if e, err := effectErrors(data, simulated); err == nil {
			f.Exogeneity, f.Effect, f.Transient = finite(e.Exogeneity), finite(e.Effect), finite(e.Transient)
		}
		all = append(all, f)
	}
	return all, nil
}

// effectErrors are how far rollouts are from the recordings in what a limit
// does; an error where the recordings do not say it.
func effectErrors(data, simulated []telemetry.Recording) (e eval.EffectErrors, err error) {
	recorded, err := eval.MeasureEffects(data)
	if err != nil {
		return e, err
	}
	rolled, err := eval.MeasureEffects(simulated)
	if err != nil {
		return e, err
	}
	return recorded.Against(rolled), nil
}

// finite is nil for one that too few seconds give.
func finite(n eval.Number) *float64 {
	x := float64(n)
	if math.IsNaN(x) {
		return nil
	}
	return &x
}

// scoreRollouts rolls out from each seed under the limits of a recording, and
// compares with its table; only the first draws the floor that o asks for. The
// rollouts come too, as recordings.
func scoreRollouts(ctx context.Context, sim planegym.Simulation, seeds []uint64, r telemetry.Recording, real selection.Table, o selection.Options) ([]selection.Score, []selection.Table, []telemetry.Recording, error) {
	rollouts, err := timegan.SampleLike(ctx, sim, seeds, 0, r)
	if err != nil {
		return nil, nil, nil, err
	}
	o.Like = true
	var scores []selection.Score
	var tables []selection.Table
	var rolled []telemetry.Recording
	for _, d := range rollouts {
		rolled = append(rolled, telemetry.Recording{Limit: r.Limit, Data: d, Limits: r.Limits, PerSwitch: r.PerSwitch})
		t, err := selection.FromDataset(d)
		if err != nil {
			return nil, nil, nil, err
		}
		score, err := selection.Compare(real, t, o)
		if err != nil {
			return nil, nil, nil, err
		}
		scores, tables = append(scores, score), append(tables, t)
		o.Draws = -1
	}
	return scores, tables, rolled, nil
}
