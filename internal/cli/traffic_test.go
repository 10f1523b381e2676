package cli

import (
	"bytes"
	"testing"

	"github.com/planegym/planegym/eval"
)

// Generated load gives an agent something to choose: in crossing constants
// differ, and over these seeds a rule that watches the queue earns more than the
// best of them.
func TestCrossing(t *testing.T) {
	if testing.Short() {
		t.Skip("nine emulated hours: not with -short")
	}
	for _, name := range []string{"crossing"} {
		var out, stderr bytes.Buffer
		args := []string{"compare", name, name, "--episodes", "4", "--steps", "250", "--baselines=false",
			"--policy", "fixed:32", "--policy", "fixed:64", "--policy", "fixed:128", "--policy", "occupancy:0.42", "--json"}
		if code := Main(t.Context(), args, nil, &out, &stderr); code != exitOK {
			t.Fatal(code, stderr.String(), out.String())
		}
		r, err := eval.Decode(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		value := map[string]float64{}
		for _, p := range r.Policies {
			value[p.Policy] = float64(p.A.Reward.Mean)
			if p.Difference.Mean != 0 {
				t.Errorf("%s: %s: the same seeds differ by %v", name, p.Policy, p.Difference)
			}
		}
		t.Logf("%s: %v", name, value)
		best := max(value["fixed:32"], value["fixed:64"], value["fixed:128"])
		worst := min(value["fixed:32"], value["fixed:64"], value["fixed:128"])
		if value["occupancy:0.42"] < best+.03 || best < worst+.3 {
			t.Errorf("%s: the rule earns %.2f a step, the best constant %.2f, the worst %.2f", name, value["occupancy:0.42"], best, worst)
		}
	}
}
