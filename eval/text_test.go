package eval_test

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval"
)

// The page has a line for each policy; what was not measured is a dash.
func TestWriteText(t *testing.T) {
	none := eval.Number(math.NaN())
	r := &eval.Result{
		A: eval.Plant{Name: "truth", Seed: 1}, B: eval.Plant{Name: "model", Seed: 2}, Episodes: 3, Steps: 40, Limits: []int{32, 64}, Span: .5,
		Columns: []eval.Column{{Name: "lbo_s"}},
		Policies: []eval.Valued{
			{Policy: "fixed:32", A: eval.Value{Reward: eval.Mean{Mean: 1, CI: .25}}, B: eval.Value{Reward: eval.Mean{Mean: 1.5, CI: none}},
				Difference: eval.Mean{Mean: .5, CI: .1}, Normalised: eval.Mean{Mean: 1}, Drift: []eval.Drift{{KS: .25}}},
			{Policy: "random", Normalised: eval.Mean{Mean: none}},
		},
	}
	r.Agreement.Regret.Chosen, r.Agreement.Regret.Best = "fixed:32", "random"
	r.Agreement.Similarity.FPS = none
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"A: truth, seed 1    B: model, seed 2\n3 episodes of 40 steps each, limits [32 64]; mean reward a step ± 95 %\n",
		"fixed:32  1.00 ± 0.25  1.50         0.50 ± 0.10  +100 %       0.25 lbo_s\n",
		"random    0.00 ± 0.00  0.00 ± 0.00  0.00 ± 0.00  –            –\n",
		"Regret@1: B picks fixed:32, A's best is random: ",
		"of the 0.50 between A's best and worst\n",
		"Similarity as the tutorial takes it: 0.0 % of reward, – of the frame rate;",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "BUFFER") {
		t.Error("a plant without a player has no buffer")
	}

	b.Reset()
	all := eval.SimToReal{Simulated: r} // stopped before the switches
	if err := all.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(strings.TrimSpace(b.String()), "The two without the switches\n\nA: truth") || strings.Contains(b.String(), "The switches") {
		t.Errorf("a page of what was reached:\n%s", b.String())
	}
}

// Where no action matters the page says so, plant by plant; a rule that earns
// what a constant earns is named.
func TestWriteTextNotes(t *testing.T) {
	value := func(perSeed ...float64) eval.Value { return eval.Value{PerSeed: perSeed} }
	r := &eval.Result{Policies: []eval.Valued{
		{Policy: "fixed:32", A: value(1, 5, 3), B: value(1, 2, 3)},
		{Policy: "fixed:64", A: value(2, 4, 3), B: value(5, 6, 7.5)},
		{Policy: "threshold", A: value(3, 4, 1), B: value(1, 2, 3)},
	}}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"On A all policies earn the same within noise: no action matters there, and their ranks say nothing.\n",
		"On B, what fixed:32 earns, episode by episode, is earned by: threshold.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "On B all") || strings.Contains(b.String(), "On A, what") {
		t.Errorf("a note that does not hold:\n%s", b.String())
	}
}
