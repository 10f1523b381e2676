package main

import (
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/traffic/eval"
)

// Differences are split by split: rows that differ by .1 on every one of two splits do so
// for certain, though the splits are .6 apart. Student's t of one degree of freedom
// at 95 % is 12.706 (any table).
func TestPairedDifferences(t *testing.T) {
	figures := map[string][]float64{"half": {.1, .3}, "bootstrap": {.2, .8}, "likelihood": {.1, .7}}
	var b strings.Builder
	values(func(row, _ string) []float64 { return figures[row] }).print(&b, []string{"half", "bootstrap", "likelihood"})
	var got []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "| pairs |") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{ // half-widths: 12.706 × |a - b| / 2
		"| pairs | 0.2000 ± 1.2706 | 0.5000 ± 3.8119 | 0.4000 ± 3.8119 |",
		"| pairs | -0.3000 ± 2.5412, -0.1000 | -0.1000 ± 0.0000, -0.1000 |",
		"| pairs | 0.3000 ± 2.5412, 0.5000 | 0.2000 ± 2.5412, 0.4000 |",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows of pairs:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestResultsAreReadAgain(t *testing.T) {
	keep := pieces.Folder(t.TempDir())
	computed := 0
	measure := func(o options, seed int, value eval.Number) figures {
		o.keep = keep
		f, err := o.figures(seed, "half", func() (figures, error) {
			computed++
			return figures{"pairs": value}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for seed := range 2 {
		measure(options{draws: 3}, seed, .25)
	}
	if f := measure(options{draws: 3}, 1, .5); f["pairs"] != .25 || computed != 2 {
		t.Errorf("split 1: %v after %d computations", f, computed)
	}
	for _, other := range []figures{measure(options{updates: 400, draws: 3}, 1, .5), measure(options{draws: 1}, 1, .5), measure(options{draws: 3}, 2, .5)} {
		if other["pairs"] != .5 {
			t.Error("a result of other updates, draws or of another split is found")
		}
	}
}
