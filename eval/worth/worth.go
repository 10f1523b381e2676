// Package worth says what an action is worth on the emulated testbed: it plays equal
// episodes with constant limits, policies, other queue managements and a look-ahead.
package worth

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// Options say what is compared.
type Options struct {
	Policies []string   // see Contestants
	Limits   []p4.Limit // packets, of the constants
	Seeds    int        // episodes of each policy; 2 at least
	Seed     uint64     // picks the episodes
	Horizon  int        // steps that the look-ahead looks ahead
	Hold     int        // steps that it holds an action
	Done     func()     // after each policy; may be nil
}

// Result is a comparison.
type Result struct {
	Limits   []p4.Limit `json:"limits"`
	Rows     []Row      `json:"rows"`
	Scenario string     `json:"scenario"`
	Seed     uint64     `json:"seed"`
	Seeds    int        `json:"seeds"`
	Steps    int        `json:"steps"`

	best int // row of the best constant that the scenario allows; -1: there is none
}

// Row is one policy.
type Row struct {
	Policy  string   `json:"policy"`
	Allowed bool     `json:"allowed"` // a constant that the scenario allows
	Reward  Interval `json:"reward"`  // per step
	Gain    Interval `json:"gain"`    // per step over the best allowed constant, paired by seed
	LBO     float64  `json:"lbo_s"`
	Level   float64  `json:"level"`
	Stall   float64  `json:"stall_s"` // per episode
	Seconds float64  `json:"wall_s"`

	PerSeed []float64 `json:"per_seed"` // reward per step
}

// Interval is a mean with the half width of its 95 % interval.
type Interval struct {
	Mean float64 `json:"mean"`
	CI   float64 `json:"ci95"`
}

func intervalOf(x []float64) Interval {
	e := eval.EstimateOf(x)
	if math.IsNaN(e.CI) { // one seed: JSON has no NaN
		e.CI = 0
	}
	return Interval{e.Mean, e.CI}
}

// Run plays the contestants in s, which observes what is measured. Where ctx ends
// after some of them, the result of those comes with the error.
func Run(ctx context.Context, s scenarios.Scenario, all []Contestant, o Options) (*Result, error) {
	r := &Result{Limits: s.Env.Limits, Scenario: s.Name, Seed: o.Seed, Seeds: o.Seeds, Steps: s.Env.MaxSteps}
	var stopped error
	for _, c := range all {
		row, err := c.play(ctx, o)
		if err != nil && len(r.Rows) > 0 && ctx.Err() != nil {
			stopped = fmt.Errorf("worth: stopped after %d of %d policies: %w", len(r.Rows), len(all), err)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		r.Rows = append(r.Rows, row)
		if o.Done != nil {
			o.Done()
		}
	}
	r.compare()
	return r, stopped
}

// compare finds the best allowed constant, and what each policy gains over it.
func (r *Result) compare() {
	r.best = -1
	for i, row := range r.Rows {
		if row.Allowed && (r.best < 0 || row.Reward.Mean > r.Rows[r.best].Reward.Mean) {
			r.best = i
		}
	}
	if r.best < 0 {
		return
	}
	for i := range r.Rows {
		var d []float64
		for k, x := range r.Rows[i].PerSeed {
			d = append(d, x-r.Rows[r.best].PerSeed[k])
		}
		r.Rows[i].Gain = intervalOf(d)
	}
}

func (c Contestant) play(ctx context.Context, o Options) (Row, error) {
	began := time.Now()
	row := Row{Policy: c.Name, Allowed: c.Allowed}
	v, err := new(planegym.Gym).Open(ctx, c.scenario, min(o.Seeds, 32), env.NextStep)
	if err != nil {
		return row, err
	}
	defer v.Close()
	p, err := c.policy(v)
	if err != nil {
		return row, err
	}
	e, err := eval.Evaluate(ctx, v, p, eval.HeldOut(o.Seed, o.Seeds), nil)
	if err != nil {
		return row, err
	}
	if l, ok := p.(*baseline.LookAhead); ok && l.Err() != nil {
		return row, l.Err()
	}
	for _, r := range e.Returns {
		row.PerSeed = append(row.PerSeed, r/e.Length.Mean)
	}
	row.Reward = intervalOf(row.PerSeed)
	row.LBO, row.Level, row.Stall = e.QoE.LBO.Mean, e.QoE.Level.Mean, e.QoE.Stalls.Mean
	row.Seconds = time.Since(began).Seconds()
	return row, nil
}
