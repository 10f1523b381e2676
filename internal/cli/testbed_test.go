package cli

import (
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
)

// A served testbed is the local one to the bit, a client's overrides included.
func TestServeTestbedEqualsLocal(t *testing.T) {
	url := serve(t, "--scenario", "contended")
	s, err := loadScenario("testbed")
	if err != nil {
		t.Fatal(err)
	}
	s.Env.MaxSteps = 12
	one := 1
	s.Testbed.WarmupS, s.Testbed.Video.ABR = &one, "throughput"
	local, err := new(opener).open(s, 3, env.SameStep)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	remote := dial(t, url, ws.DialOptions{Scenario: "testbed", NumEnvs: 3, Autoreset: env.SameStep, Kwargs: map[string]any{
		"env": map[string]any{"max_steps": 12}, "testbed": map[string]any{"warmup_s": 1, "video": map[string]any{"abr": "throughput"}},
	}})
	sameRollouts(t, local, remote, 30)
}

func TestCombinations(t *testing.T) {
	got := combinations([]int{2, 3})
	if len(got) != 6 || got[0][0] != 0 || got[0][1] != 0 || got[5][0] != 1 || got[5][1] != 2 {
		t.Errorf("%v", got)
	}
}
