package standings_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/standings"
)

// Play the usual baselines of CartPole in the same ten episodes.
func Example() {
	v, err := cartpole.New(4, env.NextStep)
	if err != nil {
		panic(err)
	}
	defer v.Close()
	entries := standings.WithBaselines(nil, v.Spec())
	rows, err := standings.Play(context.Background(), v, entries, eval.HeldOut(0, 10), nil, nil)
	if err != nil {
		panic(err)
	}
	if err := standings.WriteText(os.Stdout, "cartpole", v.Spec(), rows); err != nil {
		panic(err)
	}
	// Output:
	// cartpole: 10 episodes each, mean ± 95 % confidence
	// POLICY     RETURN         OVER THE FIRST  STEPS  ACTIONS
	// fixed:0    9.50 ± 0.70    -               9.5    0: 100 %, 1: 0 %
	// fixed:1    9.20 ± 0.66    -0.30 ± 1.31    9.2    0: 0 %, 1: 100 %
	// alternate  41.20 ± 11.81  31.70 ± 11.33   41.2   0: 50 %, 1: 50 %
	// random     24.10 ± 5.74   14.60 ± 5.74    24.1   0: 55 %, 1: 45 %
}

// Baselines that are there already are not added again; those that do not work in the
// spec are left out.
func TestWithBaselines(t *testing.T) {
	spec := env.Spec{Action: env.MultiDiscrete{2}}
	random, err := baseline.New("random", spec)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range standings.WithBaselines([]standings.Entry{{Name: "random", Policy: random, Record: true}}, spec) {
		names = append(names, fmt.Sprint(e.Name, " ", e.Record))
	}
	if want := []string{"random true", "fixed:0 false", "fixed:1 false", "alternate false"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// Gains are paired with the first: episode by episode, not mean by mean.
func TestOverTheFirst(t *testing.T) {
	v, err := cartpole.New(3, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	calls := 0
	rows, err := standings.Play(t.Context(), v, standings.WithBaselines(nil, v.Spec()), eval.HeldOut(0, 6), nil, func() error { calls++; return nil })
	if err != nil || calls != len(rows) {
		t.Fatal(calls, err)
	}
	for i, r := range rows {
		if (r.Over == nil) != (i == 0) {
			t.Fatalf("%s: %+v", r.Policy, r.Over)
		}
		if i == 0 {
			continue
		}
		sum := 0.
		for k, x := range r.Returns {
			sum += x - rows[0].Returns[k]
		}
		if d := r.Over.Mean - sum/6; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: %v over the first, want %v", r.Policy, r.Over.Mean, sum/6)
		}
	}
}
