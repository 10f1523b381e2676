package scenarios_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

func TestBundled(t *testing.T) {
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.Name != name || s.Description == "" {
			t.Errorf("%s: name %q, description %q", name, s.Name, s.Description)
		}
	}
	tutorial, err := scenarios.Load("tutorial")
	if err != nil {
		t.Fatal(err)
	}
	if want := []p4.Limit{64, 32}; !slices.Equal(tutorial.Env.Limits, want) || tutorial.Env.Reward.Name != "tutorial" {
		t.Errorf("tutorial: limits %v, reward %q", tutorial.Env.Limits, tutorial.Env.Reward.Name)
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.toml")
	if err := os.WriteFile(file, []byte("plant = 'replay'\n[env]\nautoreset = 'same_step'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := scenarios.Load(file)
	if err != nil || s.Name != "mine" || s.Env.Autoreset != env.SameStep {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := scenarios.Load("nope"); !errors.Is(err, scenarios.ErrUnknown) || !strings.Contains(err.Error(), "cartpole") {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := scenarios.Load("../bundled/cartpole"); !errors.Is(err, scenarios.ErrUnknown) {
		t.Errorf("path as a name: %v", err)
	}
	if _, err := scenarios.Load("nope.toml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestParseErrorsNameTheKey(t *testing.T) {
	for _, c := range []struct{ toml, want string }{
		{"", "plant: is missing"},
		{"plant = 'ns3'", `plant: "ns3" is not one of`},
		{"plant = 'replay'\n[env]\nqueue = 3", `line 3: unknown key "env.queue"`},
		{"plant = 'replay'\n[envv]\nlimits = [32]", `line 2: unknown key "envv"`},
		{"plant = 'replay'\nenv.reward.kind = 'lbo-fps'", `line 2: unknown key "env.reward.kind"`},
		{"plant = 'replay'\n[env]\nlimits = [32, 0]", "limits"},
		{"plant = 'replay'\n[env]\nlimits = 'all'", "line 3"},
		{"plant = 'replay'\n[env]\nmax_steps = -1", "max_steps: -1"},
		{"plant = 'replay'\n[env]\nper_switch = true", "env.per_switch"},
		{"plant = 'synthetic'", "model: is missing"},
		{"plant = 'replay'\n[env.reward]\nname = 'fun'", `reward: name: "fun"`},
		{"plant = 'replay'\n[replay]\nstart = 'last'", `start: "last"`},
		{"plant = 'replay'\n[env]\nautoreset = 'never'", "never"},
		{"plant = ", "line 1"},
	} {
		if _, err := scenarios.Parse([]byte(c.toml)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want it to say %q", c.toml, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range scenarios.Names() {
		text, err := scenarios.Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := scenarios.Parse(text); err == nil && s.Check() != nil {
			t.Errorf("accepted, and yet %v", s.Check())
		}
	})
}
