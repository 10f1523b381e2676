package plants_test

import (
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval/plants"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// Another testbed takes the truth's limits, steps and switches, whether the truth is
// a scenario at hand or a server whose spec alone is known.
func TestWrong(t *testing.T) {
	truth, err := scenarios.Load("per-switch")
	if err != nil {
		t.Fatal(err)
	}
	truth.Env.Limits = []p4.Limit{16, 48}
	truth.Env.Initial = 48
	open := plants.Opener{Steps: 5, Envs: 1}
	want, err := open.Scenario("truth", truth, 0).Spec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, at := range map[string]*scenarios.Scenario{"at hand": &truth, "a server": nil} {
		side, err := open.Wrong("auto", want, at, 0, "per-switch", "mine.toml")
		if err != nil || side == nil || side.Name != "site" {
			t.Fatalf("%s: %v %v", what, side, err)
		}
		got, err := side.Spec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Action) != 3 || got.MaxSteps != 5 || got.StepSeconds != want.StepSeconds || len(got.Limits) != 2 || got.Limits[0] != 16 || got.Initial[0] != 48 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if side, err := open.Wrong("auto", want, nil, 0, "site", "contended.toml"); err != nil || side.Name != "contended" {
		t.Errorf("beside site: %v %v", side, err)
	}
	if side, err := open.Wrong("auto", env.Spec{Action: env.MultiDiscrete{2}}, nil, 0); err != nil || side != nil {
		t.Errorf("actions that are no limits: %v %v", side, err)
	}
	for name, says := range map[string]string{"synthetic": "another testbed is needed", "nowhere": "unknown scenario"} {
		if _, err := open.Wrong(name, want, nil, 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
