package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// pair is a policy's rewards a step in each episode, on the testbed and on a model.
type pair struct {
	policy       string
	truth, model []float64
}

func (v Values) names() (all []string) {
	for _, p := range v.Policies {
		all = append(all, p.Policy)
	}
	return all
}

// pairs are the policies that both have.
func pairs(truth, model Values) (all []pair) {
	for _, t := range truth.Policies {
		for _, m := range model.Policies {
			if m.Policy == t.Policy && len(t.PerSeed) > 0 && len(m.PerSeed) > 0 {
				all = append(all, pair{t.Policy, t.PerSeed, m.PerSeed})
			}
		}
	}
	return all
}

// kinds are the families that errors are printed by, each policy the first that
// its name fits. Unlike eval.Families they tell apart what a fit may not have seen:
// limits that change every step, as threshold:12000 makes them.
var kinds = []struct{ name, of string }{
	{"constants", "fixed"}, {"watch the player", "buffer level"}, {"change every step", "random alternate threshold:12000"},
	{"schedules", "sticky alternate:"}, {"watch queues", ""},
}

func kindOf(policy string) string {
	for _, k := range kinds {
		for _, part := range strings.Fields(k.of) {
			if part == policy || strings.Contains(policy, part) && part != "alternate" && part != "random" {
				return k.name
			}
		}
	}
	return "watch queues"
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// comparedTo are the figures of a model's values beside the truth's.
type comparedTo struct {
	rho, regret, rms, bias float64
}

func compare(a, b []float64) (c comparedTo) {
	for i := range a {
		d := b[i] - a[i]
		c.rms, c.bias = c.rms+d*d/float64(len(a)), c.bias+d/float64(len(a))
	}
	best, chosen := slices.Index(a, slices.Max(a)), slices.Index(b, slices.Max(b))
	c.rho, c.regret, c.rms = eval.Spearman(a, b), (a[best]-a[chosen])/a[best], math.Sqrt(c.rms)
	return c
}

// interval is the 95 % interval of a figure over draws of episodes, the same
// ones for all policies of a side.
func interval(rows []pair, figure func(a, b []float64) float64) (lo, hi float64) {
	a, b := make([]float64, len(rows)), make([]float64, len(rows))
	return overDraws(1000, func(draw uint32) float64 {
		for i, p := range rows {
			a[i], b[i] = redrawn(p.truth, draw, 0), redrawn(p.model, draw, 1)
		}
		return figure(a, b)
	})
}

// overDraws is the 95 % interval of a figure over n draws; those that are NaN do not
// count.
func overDraws(n int, figure func(draw uint32) float64) (lo, hi float64) {
	var all []float64
	for d := range n {
		if x := figure(uint32(d)); !math.IsNaN(x) {
			all = append(all, x)
		}
	}
	slices.Sort(all)
	return telemetry.Quantile(all, .025), telemetry.Quantile(all, .975)
}

// redrawn is the mean of episodes drawn with replacement.
func redrawn(x []float64, draw, side uint32) (m float64) {
	key := rng.Key{Seed: 1, A: draw, B: side, Purpose: rng.Bootstrap}
	for i := range x {
		m += x[key.Intn(uint32(i), len(x))] / float64(len(x))
	}
	return m
}

// ceiling is ρ of half of the testbed's episodes with the other half: with so
// many episodes no model exceeds it but by luck.
func ceiling(rows []pair) float64 {
	var even, odd []float64
	for _, p := range rows {
		var halves [2][]float64
		for i, x := range p.truth {
			halves[i%2] = append(halves[i%2], x)
		}
		even, odd = append(even, mean(halves[0])), append(odd, mean(halves[1]))
	}
	return eval.Spearman(even, odd)
}

// valuesOf are the means of both sides.
func valuesOf(rows []pair) (a, b []float64) {
	for _, p := range rows {
		a, b = append(a, mean(p.truth)), append(b, mean(p.model))
	}
	return a, b
}

// ofKind are the policies of a kind.
func ofKind(rows []pair, kind string) (some []pair) {
	for _, p := range rows {
		if kindOf(p.policy) == kind {
			some = append(some, p)
		}
	}
	return some
}

// summary prints a model's values beside the truth's, and what they come to.
func summary(w io.Writer, name string, rows []pair) (regret, rms float64) {
	a, b := valuesOf(rows)
	for i, p := range rows {
		fmt.Fprintf(w, "%-28s %6.2f %6.2f  %+.2f\n", p.policy, a[i], b[i], b[i]-a[i])
	}
	c := compare(a, b)
	lo, hi := interval(rows, eval.Spearman)
	fmt.Fprintf(w, "%s: rho %.3f (%.3f … %.3f; ceiling %.3f) regret %.1f %% rms %.3f bias %+.3f\n", name, c.rho, lo, hi, ceiling(rows), 100*c.regret, c.rms, c.bias)
	for _, k := range kinds {
		if some := ofKind(rows, k.name); some != nil {
			a, b := valuesOf(some)
			c := compare(a, b)
			fmt.Fprintf(w, "  %s, %d policies: rms %.3f bias %+.3f\n", k.name, len(some), c.rms, c.bias)
		}
	}
	return c.regret, c.rms
}
