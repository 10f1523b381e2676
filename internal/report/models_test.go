package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/telemetry"
)

// Of recordings with a player the page says what a limit does, or that it is not
// identifiable; of another CSV neither.
func TestModels(t *testing.T) {
	recording := func(names ...string) telemetry.Recording {
		var fields []telemetry.Field
		for _, n := range names {
			fields = append(fields, telemetry.Field{Name: n})
		}
		values, valid := make([]float32, 300*len(names)), make([]bool, 300*len(names))
		for i := range values {
			values[i], valid[i] = float32(i*7%31), true
		}
		d, err := telemetry.NewDataset(fields, 32, time.UnixMilli(0), values, valid)
		if err != nil {
			t.Fatal(err)
		}
		return telemetry.Recording{Limit: 32, Data: d}
	}
	for _, c := range []struct {
		data    telemetry.Recording
		effects *fidelity.Effects
		says    string
		not     string
	}{
		{recording("enq_qdepth1", "lbo_s"), nil, "it is not identifiable", "<td>floor</td>"},
		{recording("enq_qdepth1", "lbo_s"), &fidelity.Effects{EffectErrors: eval.EffectErrors{Exogeneity: .125, Effect: .5, Transient: .25}}, "0.125 (0.000 … 0.000)", "not identifiable"},
		{recording("load", "temp"), nil, "of M, unscaled", "What a limit does"},
	} {
		truth, err := selection.FromDataset(c.data.Data)
		if err != nil {
			t.Fatal(err)
		}
		set, err := fidelity.Of("mine", c.data, truth, c.effects)
		if err != nil {
			t.Fatal(err)
		}
		sections, compared, err := report.Models([]telemetry.Recording{c.data}, []report.File{{Name: "mine", Path: "mine.safetensors"}}, []fidelity.Set{set})
		if err != nil {
			t.Fatal(err)
		}
		page := render(t, "models", sections)
		if !strings.Contains(page, c.says) || strings.Contains(page, c.not) {
			t.Errorf("%q is missing, or %q is there", c.says, c.not)
		}
		if len(compared) != 2 || compared[1].File != "mine.safetensors" || compared[1].Score.Mean.W1 != 0 {
			t.Errorf("%+v", compared)
		}
	}
}
