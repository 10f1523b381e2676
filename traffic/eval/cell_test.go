package eval_test

import (
	"testing"

	"github.com/planegym/planegym/traffic/eval"
)

// A figure that is 0 in every sample is a figure; one that a row has not is
// none.
func TestCell(t *testing.T) {
	r := eval.Row{Figures: map[string]eval.Estimate{"copy": eval.EstimateOf([]float64{0, 0, 0})}}
	if got := r.Cell("copy"); got != "0.000 ± 0.000" {
		t.Errorf("no copy in three samples is shown as %q", got)
	}
	if got := eval.EstimateOf(nil).String(); got != "–" {
		t.Errorf("the mean of nothing is shown as %q", got)
	}
	if got := eval.EstimateOf([]float64{.25, .25}).Text(2); got != "0.25 ± 0.00" {
		t.Errorf("with two digits: %q", got)
	}
	if got := r.Cell("nll"); got != "–" {
		t.Errorf("a figure that is not there is shown as %q", got)
	}
}
