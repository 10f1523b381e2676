// Package fidelity says how close synthetic rows are to recordings, and which of
// several candidates (files of rows, or models that are rolled out) is the best.
package fidelity

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Measure compares rollouts of a model, one from each of seeds, with each recording:
// on the held-out blocks if test is set, else on the seconds fitted to. A recording
// under one limit is an entry; sessions, in which the limit changes, are one entry
// together, the mean over them. sim needs a simulation for each seed.
func Measure(ctx context.Context, sim timegan.Rollouts, seeds []uint64, data []telemetry.Recording, test bool) ([]timegan.Fidelity, error) {
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
		rolled, err := rollOut(ctx, sim, seeds, r, real, selection.Options{Test: test, Draws: -1})
		if err != nil {
			return nil, err
		}
		mean := selection.Median(rolled.scores).Mean
		simulated = append(simulated, rolled.recordings...)
		if !r.Session() {
			all = append(all, timegan.Fidelity{Of: fmt.Sprintf("%s, limit %d", blocks, r.Limit), W1: mean.W1, KS: mean.KS, Corr: mean.Corr, ACF: mean.ACF})
			continue
		}
		sessions++
		sum.W1, sum.KS, sum.Corr, sum.ACF = sum.W1+mean.W1, sum.KS+mean.KS, sum.Corr+mean.Corr, sum.ACF+mean.ACF
	}
	if n := float64(sessions); sessions > 0 {
		f := timegan.Fidelity{Of: fmt.Sprintf("%s, %d sessions", blocks, sessions), W1: sum.W1 / n, KS: sum.KS / n, Corr: sum.Corr / n, ACF: sum.ACF / n}
		if e := effectsOf(data, simulated, 0); e != nil {
			f.Exogeneity, f.Effect, f.Transient = finite(e.Exogeneity), finite(e.Effect), finite(e.Transient)
			floor := e.Floor
			f.Floor = &timegan.EffectFloor{Exogeneity: finite(floor.Exogeneity), Effect: finite(floor.Effect), Transient: finite(floor.Transient)}
		}
		all = append(all, f)
	}
	return all, nil
}

// Effects are the errors of a simulator in what a limit does, their 95 %
// intervals by resampling sessions, and what the recorded system would itself be
// given by as many sessions: see eval.Effects.
type Effects struct {
	eval.EffectErrors
	Low   eval.EffectErrors `json:"low"`
	High  eval.EffectErrors `json:"high"`
	Floor eval.EffectErrors `json:"floor"`
}

// effectsOf is how far rollouts are from recordings in what a limit does; nil if
// the recordings do not identify it.
func effectsOf(data, simulated []telemetry.Recording, seed uint64) *Effects {
	recorded, err := eval.MeasureEffects(data)
	if err != nil {
		return nil
	}
	rolled, err := eval.MeasureEffects(simulated)
	if err != nil {
		return nil
	}
	e := Effects{EffectErrors: recorded.Against(rolled), Floor: recorded.Floor(seed)}
	e.Low, e.High = recorded.Interval(rolled, seed)
	return &e
}

// finite is nil for NaN, which is what too few seconds give.
func finite(n eval.Number) *float64 {
	x := float64(n)
	if math.IsNaN(x) {
		return nil
	}
	return &x
}

// rolledOut is rollouts under one recording's limits: an entry for each seed.
type rolledOut struct {
	scores     []selection.Score
	tables     []selection.Table
	recordings []telemetry.Recording
}

// rollOut rolls out from each seed under the limits of r and compares with its
// table, real. Only the first comparison draws the noise floor that o asks for.
func rollOut(ctx context.Context, sim timegan.Rollouts, seeds []uint64, r telemetry.Recording, real selection.Table, o selection.Options) (out rolledOut, err error) {
	rollouts, err := timegan.SampleLike(ctx, sim, seeds, 0, r)
	if err != nil {
		return out, err
	}
	o.Like = true
	for _, d := range rollouts {
		out.recordings = append(out.recordings, telemetry.Recording{Limit: r.Limit, Data: d, Limits: r.Limits, PerSwitch: r.PerSwitch})
		t, err := selection.FromDataset(d)
		if err != nil {
			return out, err
		}
		score, err := selection.Compare(real, t, o)
		if err != nil {
			return out, err
		}
		out.scores, out.tables = append(out.scores, score), append(out.tables, t)
		o.Draws = -1
	}
	return out, nil
}
