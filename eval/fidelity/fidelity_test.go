package fidelity_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
	"github.com/planegym/planegym/timegan"
)

// tape is a simulator that plays recordings in order, each as often as it is reset;
// backwards in time if it is reversed. What was not measured repeats.
type tape struct {
	data     []telemetry.Recording
	reversed bool
	at, t    int
}

func (s *tape) Num() int                   { return 2 }
func (s *tape) Columns() []telemetry.Field { return s.data[0].Data.Fields() }

func (s *tape) ResetAt([]int, []uint64, int) error {
	s.at, s.t = s.at+1, 0
	return nil
}

func (s *tape) Step(_ context.Context, rows []int, _ []int32, out *telemetry.Window) error {
	d := s.data[(s.at-1)%len(s.data)].Data
	n := len(d.Fields())
	for i := range rows {
		values, valid := out.Row(i)
		for second := range out.Seconds {
			t := s.t + second
			if s.reversed {
				t = d.Len() - 1 - t
			}
			for c := range n {
				values[second*n+c], _ = d.At(t, c)
				valid[second*n+c] = true
			}
		}
	}
	s.t += out.Seconds
	return nil
}

func bundled(t *testing.T, n int) []telemetry.Recording {
	t.Helper()
	all, err := sessions.Decode(scenarios.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	return all[:n]
}

func player(s *tape) fidelity.Model {
	name := "tape"
	if s.reversed {
		name = "reversed"
	}
	return fidelity.Model{Name: name, Open: func(int) (timegan.Rollouts, func(), error) { s.at = 0; return s, func() {}, nil }}
}

// A simulator that plays the recordings themselves has no error, but for the seconds
// around gaps; one that plays them backwards has equal distributions, and gets wrong
// what a limit does.
func TestMeasureOfTheRecordingsThemselves(t *testing.T) {
	data := bundled(t, 4)
	got, err := fidelity.Measure(t.Context(), &tape{data: data}, fidelity.Seeds(0, 2), data, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Of != "the seconds fitted to, 4 sessions" {
		t.Fatalf("%+v: want one entry of 4 sessions", got)
	}
	f := got[0]
	if f.W1 != 0 || f.KS != 0 || f.Corr != 0 || f.ACF > .02 {
		t.Errorf("the recordings differ from themselves: %+v", f)
	}
	if f.Exogeneity == nil || *f.Exogeneity != 0 || f.Effect == nil || *f.Effect > .02 {
		t.Errorf("effects of the recordings against themselves: %+v", f)
	}
	back, err := fidelity.Measure(t.Context(), &tape{data: data, reversed: true}, fidelity.Seeds(0, 2), data, false)
	if err != nil {
		t.Fatal(err)
	}
	if b := back[0]; b.Effect == nil || f.Effect == nil || !(*b.Effect > 2**f.Effect) || b.KS > .05 {
		t.Errorf("backwards %+v, forwards %+v: the distributions are the same, what a limit does is not", back[0], f)
	}
}

// Of recordings under one limit each, an entry names the limit.
func TestMeasureByLimit(t *testing.T) {
	r := bundled(t, 1)[0]
	data := []telemetry.Recording{{Limit: 48, Data: r.Data}}
	got, err := fidelity.Measure(t.Context(), &tape{data: data}, fidelity.Seeds(0, 1), data, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Of != "held-out blocks, limit 48" || got[0].Effect != nil {
		t.Errorf("%+v", got)
	}
}

// Where limits take turns a model is ranked by what a limit does in it, which the
// one that plays backwards gets wrong; by W1 both are alike.
func TestRankModels(t *testing.T) {
	data := bundled(t, 2)
	tables := 0
	o := fidelity.Options{Options: selection.Options{Draws: 2}, Rollouts: 2, Done: func(n int) error { tables += n; return nil }}
	sets, err := fidelity.ScoreModels(t.Context(), data, []fidelity.Model{player(&tape{data: data, reversed: true}), player(&tape{data: data})}, o)
	if err != nil {
		t.Fatal(err)
	}
	if tables != 4 {
		t.Errorf("%d tables were compared, want 4", tables)
	}
	r, err := fidelity.Rank(sets, "session", []int{0, 1}, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.By != "effects" || r.Sets[r.BestSum].Name != "tape" || r.Sets[r.WorstSum].Name != "reversed" {
		t.Errorf("by %s: best %s, worst %s", r.By, r.Sets[r.BestSum].Name, r.Sets[r.WorstSum].Name)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"session 1, ", "floor, median", "tape: exogeneity error 0.000 (0.000 … ", "session 0: best by effects tape, worst reversed", "sum over sessions: best tape, worst reversed\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if j := r.JSON(); j["by"] != "effects" || j["best_sum"] != "tape" || len(j["sessions"].([]int)) != 2 {
		t.Errorf("%v", j)
	}
	dir := t.TempDir()
	files, err := r.Export(filepath.Join(dir, "chosen"))
	if err != nil || len(files) != 4 || filepath.Base(files[0]) != "best_0.csv" || filepath.Base(files[3]) != "worst_1.csv" {
		t.Errorf("%v %v", files, err)
	}
	if text, err := os.ReadFile(files[0]); err != nil || !strings.HasPrefix(string(text), "enq_qdepth1,") {
		t.Errorf("%.40s %v", text, err)
	}

	one := []telemetry.Recording{{Limit: 32, Data: data[0].Data}}
	sets, err = fidelity.ScoreModels(t.Context(), one, []fidelity.Model{player(&tape{data: one})}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fidelity.Rank(sets, "limit", []int{32}, "effect"); err == nil || !strings.Contains(err.Error(), "not identifiable") {
		t.Errorf("a ranking by what one limit does: %v", err)
	}
	if r, err := fidelity.Rank(sets, "limit", []int{32}, ""); err != nil || r.By != "M" {
		t.Errorf("by %v, want M (%v)", r, err)
	}
}

func TestCheckBy(t *testing.T) {
	for _, by := range []string{"", "M", "M_raw", "W1", "KS", "corr", "ACF", "effects", "exogeneity", "effect", "transient"} {
		if err := fidelity.CheckBy(by); err != nil {
			t.Error(err)
		}
	}
	if fidelity.CheckBy("w1") == nil {
		t.Error("w1 is not W1")
	}
	if got := fidelity.Seeds(7, 3); !slices.Equal(got, []uint64{7, 8, 9}) {
		t.Errorf("seeds %v", got)
	}
}
