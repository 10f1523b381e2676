package eval_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval"
)

// The truth itself stands in for the truth without a difference; a plant where
// limits do the reverse ranks them in reverse, and is off by what the toy's rule
// says: frame rate 30 earns 1, 24 earns .5, and limit 16 has 30 a quarter of the time.
func TestStand(t *testing.T) {
	same, worse := func() *toy { return &toy{} }, func() *toy { return &toy{worse: true} }
	calls := 0
	r, err := eval.Stand(t.Context(), side(t, "truth", 1, same, cfg), []eval.Side{side(t, "same", 1, same, cfg), side(t, "worse", 1, worse, cfg)},
		policies("fixed:16", "fixed:32", "fixed:64"), eval.Options{Episodes: 12, Draws: 200, Done: func(string) error { calls++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if calls != 9 || !slices.Equal(r.Apart, []string{"fixed:64", "fixed:32", "fixed:16"}) || r.Pairs != 3 {
		t.Fatalf("%d calls; apart: %v, %d pairs", calls, r.Apart, r.Pairs)
	}
	a, b := r.StandIns[0], r.StandIns[1]
	for what, x := range map[string]eval.Number{"off": a.Off.High, "more": a.More.High, "regret": a.Regret.High, "1-ρ": 1 - a.Spearman.Low, "1-ordered": 1 - a.Ordered.Low} {
		near(t, "the truth for itself: "+what, x, 0, 1e-12)
	}
	near(t, "ρ of the reverse", b.Spearman.Value, -1, 0)
	near(t, "pairs in order", b.Ordered.Value, 0, 0)
	near(t, "off", b.Off.Value, (.375+0+.375)/3, .04)
	near(t, "less the floor's", b.More.Value, float64(b.Off.Value), 1e-12)
	near(t, "regret", b.Regret.Value, .375, .06)
	near(t, "difference of limit 16", b.Differences[0].Mean, .375, .06)
	if !(b.Off.Low > 0 && b.Off.Low <= b.Off.Value && b.Off.Value <= b.Off.High) {
		t.Errorf("off by %v", b.Off)
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.HasPrefix(string(text), `{"format":"planegym.standins.v1","truth":"truth"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// Policies that differ by nothing but noise are not ranked.
func TestStandTies(t *testing.T) {
	same := func() *toy { return &toy{} }
	one := cfg
	one.Limits = one.Limits[2:]
	r, err := eval.Stand(t.Context(), side(t, "truth", 1, same, one), []eval.Side{side(t, "same", 1, same, one)}, policies("fixed:64", "random", "alternate"), eval.Options{Episodes: 4, Draws: 50})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Apart) != 1 || r.Pairs != 0 || !math.IsNaN(float64(r.StandIns[0].Spearman.Value)) || !math.IsNaN(float64(r.StandIns[0].Ordered.Value)) {
		t.Errorf("apart %v, %d pairs, %+v", r.Apart, r.Pairs, r.StandIns[0])
	}
}

func TestStandErrors(t *testing.T) {
	same := func() *toy { return &toy{} }
	a := side(t, "a", 1, same, cfg)
	other := cfg
	other.Limits = other.Limits[1:]
	for _, c := range []struct {
		others   []eval.Side
		policies []eval.Policy
		episodes int
		want     string
	}{
		{nil, five, 1, "1 episodes give no interval"},
		{nil, five[:1], 4, "1 policies cannot be ranked"},
		{[]eval.Side{side(t, "b", 1, same, other)}, five[2:4], 4, "eval: b: the same actions are needed"},
		{nil, policies("random", "magic"), 4, "magic"},
	} {
		_, err := eval.Stand(t.Context(), a, c.others, c.policies, eval.Options{Episodes: c.episodes})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
