package main

import (
	"path/filepath"
	"strings"
	"testing"

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
	path := filepath.Join(t.TempDir(), "figures.jsonl")
	for seed := range 2 {
		r, err := openResults(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(r.all); n != seed {
			t.Fatalf("%d results of %d", n, seed)
		}
		if err := r.add(result{seed, "half", 0, 3, map[string]eval.Number{"pairs": .25}}); err != nil {
			t.Fatal(err)
		}
		if err := r.file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := openResults(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.file.Close()
	if x := r.find(1, "half", 0, 3); x == nil || x.Figures["pairs"] != .25 {
		t.Errorf("split 1: %+v", x)
	}
	if r.find(1, "half", 400, 3) != nil || r.find(1, "half", 0, 1) != nil || r.find(2, "half", 0, 3) != nil {
		t.Error("a result of other updates, draws or of another split is found")
	}
}
