package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval/selection"
)

// Every table has its two markers in its document, and every marker a recipe.
func TestMarkersAndRecipesAgree(t *testing.T) {
	if err := checkDocuments("../.."); err != nil {
		t.Error(err)
	}
}

func TestReplace(t *testing.T) {
	doc := "before\n" + begins("a") + "old\n" + ends("a") + "after\n"
	got, err := replace(doc, "a", "| new |\n")
	if want := "before\n" + begins("a") + "\n| new |\n\n" + ends("a") + "after\n"; err != nil || got != want {
		t.Errorf("%v:\n%s", err, got)
	}
	again, err := replace(got, "a", "| new |\n")
	if err != nil || again != got {
		t.Errorf("written twice: %v:\n%s", err, again)
	}
	for _, bad := range []string{"", begins("a"), doc + doc, ends("a") + begins("a")} {
		if _, err := replace(bad, "a", ""); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A document whose marker has another command, or no recipe, is reported.
func TestCheckDocumentsReports(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docs := map[string]string{}
	for _, x := range tables {
		docs[x.doc] += begins(x.name) + ends(x.name)
	}
	for doc, text := range docs {
		write(doc, text)
	}
	if err := checkDocuments(root); err != nil {
		t.Fatal(err)
	}
	write("README.md", docs["README.md"]+"<!-- table lost: go run ./bench/tables lost -->\n")
	if err := checkDocuments(root); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Error(err)
	}
	write("README.md", strings.Replace(docs["README.md"], "tables play -->", "tables -quick play -->", 1))
	if err := checkDocuments(root); err == nil || !strings.Contains(err.Error(), "-quick") {
		t.Error(err)
	}
}

// A piece that is there is not made again, and one that failed is not there.
func TestPiecesAreKept(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "count")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho run >> \"$1.runs\"\n[ -e stop ] && exit 3\n[ -e \"$1\" ] && echo resumed $2 >> \"$1\"\necho done >> \"$1\"\n"), 0o755); err != nil {
		t.Skip(err)
	}
	r := runner{root: ".", work: dir, built: map[string]string{"count": script}}
	tb := table{name: "x", steps: func(bool) []step { return []step{{out: "piece", command: "count {out}", resume: "--resume"}} },
		render: func(dir string, _ bool) (string, error) {
			b, err := os.ReadFile(filepath.Join(dir, "piece"))
			return string(b), err
		}}
	stop := filepath.Join(dir, "x", "stop")
	if err := os.MkdirAll(filepath.Dir(stop), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{stop, filepath.Join(dir, "x", "part-piece")} {
		if err := os.WriteFile(path, []byte("half\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.make(t.Context(), tb); err == nil {
		t.Fatal("a command that fails is no error")
	}
	if err := os.Remove(stop); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := r.make(t.Context(), tb)
		if err != nil || got != "half\nresumed --resume\ndone\n" {
			t.Fatalf("%v %q", err, got)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "x", "part-piece.runs")); err != nil || strings.Count(string(b), "run") != 2 {
		t.Errorf("%v %q: want two runs, one of which failed", err, b)
	}
}

// What needs no model, on a grid of 400 s whose value is its second: the held-out
// block is 300 to 399.
func TestCompetitors(t *testing.T) {
	real, other := selection.Table{Columns: []string{"enq_qdepth1"}}, selection.Table{Columns: []string{"enq_qdepth1"}}
	for i := range 400 {
		real.Values, other.Values = append(real.Values, float64(i)), append(other.Values, -1)
	}
	real.Values[250], real.Values[0], real.Values[320] = math.NaN(), math.NaN(), math.NaN()
	all := competitors(real, other, 3)
	by := map[string][]selection.Table{}
	for _, c := range all {
		by[c.name] = c.tables
	}
	before := by["block before"][0].Values
	if before[310] != 210 || before[350] != 249 || before[0] != 1 {
		t.Errorf("the block before: %v %v %v", before[310], before[350], before[0])
	}
	if by["other hour"][0].Values[17] != -1 {
		t.Error("the other hour is another")
	}
	for _, name := range []string{"shuffled", "bootstrap"} {
		if len(by[name]) != 3 || by[name][0].Rows() != 400 {
			t.Fatalf("%s: %d tables", name, len(by[name]))
		}
		follows := 0
		for i, v := range by[name][0].Values {
			if v >= 300 {
				t.Fatalf("%s holds %v, of the held-out block", name, v)
			}
			if i > 0 && v == by[name][0].Values[i-1]+1 {
				follows++
			}
		}
		if (follows > 300) != (name == "bootstrap") {
			t.Errorf("%s: %d rows follow the one before", name, follows)
		}
	}
}

func TestSpread(t *testing.T) {
	a, b := spreadOf([]float64{1, 2, 3}), spreadOf([]float64{2.5, 9})
	if a.against(b) != "overlap" || a.against(spreadOf([]float64{5, 6})) != "lower" || spreadOf([]float64{7}).against(a) != "higher" {
		t.Error(a, b)
	}
	if got := a.cell("%.1f"); got != "2.0 (1.1 … 2.9)" {
		t.Error(got)
	}
	if got := spreadOf([]float64{7}).cell("%.1f"); got != "7.0" {
		t.Error(got)
	}
}

// The commands of all recipes are of this repository.
func TestCommandsExist(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, x := range tables {
		for _, s := range append(x.steps(false), x.steps(true)...) {
			name, _, _ := strings.Cut(s.command, " ")
			dir := filepath.Join(root, "bench", name)
			if name == "planegym" {
				dir = filepath.Join(root, "cmd", name)
			}
			if _, err := os.Stat(dir); err != nil {
				t.Errorf("%s: %s: %v", x.name, s, err)
			}
		}
	}
}

// Figures that rise with regret have ρ 1, whatever the testbeds' scales are.
func TestGoesWith(t *testing.T) {
	var a, b []fit
	for i := range 6 {
		x := float64(i)
		a = append(a, fit{figures: map[string]float64{"M": x, "regret": 2 * x, "rms": -x}})
		b = append(b, fit{figures: map[string]float64{"M": 100 + x, "regret": x * x, "rms": -x}})
	}
	if got := goesWith("M", "regret", a, b); got != "1.00 (1.00 … 1.00)" {
		t.Error(got)
	}
	if got := goesWith("M", "rms", a); !strings.HasPrefix(got, "-1.00") {
		t.Error(got)
	}
}

func TestParseFit(t *testing.T) {
	text := "x: rho 1\n| model | regret | rms | M |\n|---|---|---|---|\n| a.safetensors | 36.6 % | 0.757 | 1.960 |\n\n| figure | ρ |\n"
	head, f, err := parseFit(text)
	if err != nil || strings.Join(head, " ") != "regret rms M" || f.figures["regret"] != 36.6 || f.figures["M"] != 1.96 {
		t.Error(head, f, err)
	}
	for _, bad := range []string{"", "| model | a |\n|---|\n", "| model | a | b |\n|---|---|---|\n| m | 1 |\n", "| model | a |\n|---|---|\n| m | x |\n"} {
		if _, _, err := parseFit(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
