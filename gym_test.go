package planegym

import (
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/ws"
)

// TestOverridesAreOneClients: what one client overrides changes nothing for the
// next, who sees what clients saw before.
func TestOverridesAreOneClients(t *testing.T) {
	served, err := Bundled()
	if err != nil {
		t.Fatal(err)
	}
	open := new(Gym).Serve(served)
	first := func(kwargs string) []float32 {
		v, err := open(t.Context(), ws.MakeRequest{Scenario: "contended", NumEnvs: 1, Kwargs: []byte(kwargs)})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		var b env.Batch
		if err := v.Reset(t.Context(), nil, []uint64{7}, &b); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(b.Obs)
	}
	before := first("")
	other := first(`{"testbed": {"warmup_s": 0}, "env": {"limits": [16, 64, 200], "initial": 16}}`)
	if after := first(""); !slices.Equal(before, after) {
		t.Errorf("seed 7 began with %v, and after another client's overrides with %v", before, after)
	}
	if slices.Equal(before, other) {
		t.Error("the overrides changed nothing")
	}
}
