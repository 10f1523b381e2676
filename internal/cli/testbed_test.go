package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
)

// light is a testbed with little traffic, which runs fast.
const light = `plant = "testbed"
[env]
max_steps = 12
[testbed]
warmup_s = 1
[[testbed.load]]
kind = "tcp"
object_kb = 20
think_s = 0.2
pattern = { n = 1 }
`

// A served testbed is the local one to the bit, a client's overrides included.
func TestServeTestbedEqualsLocal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "light.toml")
	if err := os.WriteFile(file, []byte(light), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, "--scenario", file)
	s, err := loadScenario(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Testbed.Video.ABR = "throughput"
	local, err := new(planegym.Gym).Open(t.Context(), s, 3, env.SameStep)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	remote := dial(t, url, ws.DialOptions{Scenario: "light", NumEnvs: 3, Autoreset: env.SameStep, Kwargs: map[string]any{
		"testbed": map[string]any{"video": map[string]any{"abr": "throughput"}},
	}})
	sameRollouts(t, local, remote, 30)
}
