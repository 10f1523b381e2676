package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
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
	found, err := openModel(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	m := found.gan
	if len(b) >= 1<<20 || m.State != nil || m.Credit == "" || m.Engine != "avx2" || !m.Done() {
		t.Errorf("%d bytes, state %v, credit %q, engine %s, done %v", len(b), m.State != nil, m.Credit, m.Engine, m.Done())
	}
	if want, _ := timegan.Preset(""); m.Config != want {
		t.Errorf("trained with %+v, the default is %+v", m.Config, want)
	}
	if _, err := openModel("nope"); !errors.Is(err, scenarios.ErrUnknown) {
		t.Error(err)
	}
}

// first200 is what the weights of the bundled model's run hash to after 200
// updates on AVX2.
const first200 = "a6f50d189c1aaa08779dc4609eb8fb6b507b8d1bee990572a41a2864023dfabf"

func TestBundledModelIsReproduced(t *testing.T) {
	if testing.Short() {
		t.Skip("trains 200 updates")
	}
	data := os.Getenv("PLANEGYM_DATA")
	if data == "" {
		t.Skip("PLANEGYM_DATA names no folder of the published recordings")
	}
	k, err := nn.ParseKernels("avx2")
	if err != nil {
		t.Skip("this machine has no AVX2: ", err)
	}
	r, err := telemetry.OpenFolder(data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := timegan.Preset("")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := timegan.NewTraining(r, telemetry.Train, c, timegan.DefaultKnots)
	if err != nil {
		t.Fatal(err)
	}
	found, err := openModel(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	shipped := found.gan
	if fmt.Sprint(tr.Data) != fmt.Sprint(shipped.Data) {
		t.Skipf("PLANEGYM_DATA holds other recordings than the model was made of: %v, %v", tr.Data, shipped.Data)
	}
	e := timegan.NewCPU(k, 1)
	defer e.Close()
	m, err := timegan.Fit(context.Background(), c, e, tr, timegan.FitOptions{Every: 200, Checkpoint: func(*timegan.Model) error { return timegan.ErrStop }})
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for _, p := range m.Params {
		fmt.Fprintln(h, p.Name, p.Shape)
		for _, x := range p.Data {
			fmt.Fprintf(h, "%b\n", x)
		}
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); m.Update != 200 || got != first200 {
		t.Errorf("after %d updates the weights hash to %s, want %s", m.Update, got, first200)
	}
}
