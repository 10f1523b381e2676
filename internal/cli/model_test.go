package cli

import (
	"errors"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/scenarios"
)

// The scenario of the bundled model keeps the contract of environments.
func TestSyntheticContract(t *testing.T) {
	s, err := scenarios.Load("synthetic")
	if err != nil {
		t.Fatal(err)
	}
	s.Env.MaxSteps = 12
	envtest.Check(t, func(t *testing.T) env.Vector {
		v, err := (&opener{}).open(s, 3, env.Disabled)
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

// The bundled model is weights and says whose recordings it was made of.
func TestBundledModel(t *testing.T) {
	b, err := scenarios.OpenModel(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	m, err := openModel(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) >= 1<<20 || m.State != nil || m.Credit == "" || !m.Done() {
		t.Errorf("%d bytes, state %v, credit %q, done %v", len(b), m.State != nil, m.Credit, m.Done())
	}
	if _, err := openModel("nope"); !errors.Is(err, scenarios.ErrUnknown) {
		t.Error(err)
	}
}
