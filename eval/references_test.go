package eval_test

import (
	"strings"
	"testing"

	"github.com/planegym/planegym/eval"
)

// The ceiling is what a comparison of A with A by the next seed says, and another
// testbed what a comparison with that says, by a road of their own.
func TestReferences(t *testing.T) {
	a := side(t, "a", 1, func() *toy { return &toy{} }, cfg)
	b := side(t, "b", 4, func() *toy { return &toy{shift: 3} }, cfg)
	wrong := side(t, "wrong", 7, func() *toy { return &toy{worse: true} }, cfg)
	got, err := eval.Run(t.Context(), a, b, five, eval.Options{Episodes: 8, Draws: 200, Ceiling: true, Wrong: &wrong})
	if err != nil {
		t.Fatal(err)
	}
	again := a
	again.Seed = 2
	for kind, other := range map[string]eval.Side{eval.Ceiling: again, eval.WrongTestbed: wrong} {
		f, want := got.Reference(kind), run(t, a, other)
		if f == nil {
			t.Fatalf("no %s", kind)
		}
		if f.Plant.Name != other.Name || f.Plant.Seed != other.Seed || f.Spearman != want.Agreement.Spearman || f.Regret != want.Agreement.Regret {
			t.Errorf("%s: %+v, want %+v", kind, f, want.Agreement)
		}
		if f.Calibration.RMS != want.Calibration.RMS || f.Calibration.Within != want.Calibration.Within {
			t.Errorf("%s: %+v, want %+v", kind, f.Calibration, want.Calibration)
		}
		for i, p := range want.Policies {
			if f.Values[i] != p.B.Reward {
				t.Errorf("%s: %s is worth %v, want %v", kind, p.Policy, f.Values[i], p.B.Reward)
			}
		}
	}
	plain := run(t, a, b)
	if got.Agreement.Spearman != plain.Agreement.Spearman || plain.References != nil {
		t.Error("references change what is said of B")
	}
	var text strings.Builder
	if err := got.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nB, b ", "\nA again, seed 2", "\nwrong (another testbed) ", "\nconstants             3 ", "\nCalibration: B is ", "\nB ranks policies worse than A itself"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
	if w := got.Reference(eval.WrongTestbed); w.Spearman.Value > 0 {
		t.Errorf("a plant on which limits do the opposite: ρ %v", w.Spearman)
	}
}
