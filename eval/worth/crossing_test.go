package worth_test

import (
	"slices"
	"testing"

	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval/worth"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// Generated load gives an agent something to choose: a rule that watches the
// queue earns more than the best constant limit, beyond the interval of their
// difference, paired by seed; and the constants differ.
func TestCrossing(t *testing.T) {
	if testing.Short() {
		t.Skip("seven emulated hours a scenario: not with -short")
	}
	for _, name := range []string{"crossing", "crossing-attack"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := scenarios.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			s.Env.MaxSteps, s.Env.Observation = 250, queues.Observation{Normalise: "none"}
			o := worth.Options{Policies: []string{"constants", "occupancy:0.42"}, Limits: []p4.Limit{32, 64, 128}, Seeds: 6, Seed: 1}
			all, err := worth.Contestants(s, o)
			if err != nil {
				t.Fatal(err)
			}
			r, err := worth.Run(t.Context(), s, all, o)
			if err != nil {
				t.Fatal(err)
			}
			var constants []float64
			for _, row := range r.Rows[:3] {
				constants = append(constants, row.Reward.Mean)
			}
			rule := r.Rows[3]
			t.Logf("constants %.2f, %s %.2f: %.2f ± %.2f over the best constant", constants, rule.Policy, rule.Reward.Mean, rule.Gain.Mean, rule.Gain.CI)
			if rule.Gain.Mean <= rule.Gain.CI {
				t.Errorf("the rule earns %.2f ± %.2f a step over the best constant", rule.Gain.Mean, rule.Gain.CI)
			}
			if d := slices.Max(constants) - slices.Min(constants); d < .3 {
				t.Errorf("the best constant earns %.2f a step over the worst", d)
			}
		})
	}
}
