package report_test

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
)

const evaluated = `{
 "train_sessions": 10, "held_sessions": 9, "seeds": 1,
 "figures": [{"name": "nll", "about": "nats a step", "best": 0}, {"name": "copy", "about": "share of copies", "best": 0}],
 "rows": [
  {"name": "real", "kind": "real", "figures": {"copy": {"mean": 0.25, "low": null, "high": null}}},
  {"name": "mine", "kind": "candidate", "figures": {"nll": {"mean": 1.5, "low": 1.4, "high": 1.6}, "copy": {"mean": null, "low": null, "high": null}},
   "mixing": [{"generated": 0, "f1": 0.9}, {"generated": 1, "f1": 0.5}]}],
 "in_loop": {"scenario": "crossing", "loads": [{"name": "held", "kind": "held", "packets_per_s": 100}, {"name": "real", "kind": "real", "packets_per_s": 90}],
  "episodes": 2, "steps": 10, "policies": ["fixed:32", "fixed:64"], "apart": ["fixed:32"], "pairs_apart": 0,
  "values": [{"reward": {"mean": 1.25, "ci95": 0.5}}, {"reward": {"mean": 1, "ci95": null}}],
  "stand_ins": [{"name": "real", "values": [{"reward": {"mean": 1.5, "ci95": 0.5}}, {"reward": {"mean": 0.5, "ci95": 0.1}}],
   "differences": [{"mean": 0.25, "ci95": 0.1}, {"mean": -0.5, "ci95": 0.1}],
   "off": {"value": 0.375, "low": 0.3, "high": 0.4}, "off_less_first": {"value": 0, "low": 0, "high": 0},
   "spearman": {"value": null, "low": null, "high": null}, "ordered": {"value": null, "low": null, "high": null}, "regret_at_1": {"value": 0, "low": 0, "high": 0}}]}}`

func TestTraffic(t *testing.T) {
	e, err := inloop.Decode([]byte(evaluated))
	if err != nil {
		t.Fatal(err)
	}
	sections, err := report.Traffic(e)
	if err != nil {
		t.Fatal(err)
	}
	var sets []report.SessionSet
	for _, name := range []string{"real", "mine"} {
		s := &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "size", Kind: traffic.Size}, {Name: "gap", Kind: traffic.Gap}}}}
		for i := range 40 {
			s.Sessions = append(s.Sessions, traffic.Session{Label: -1, Start: float64(i * i % 37), Steps: []float64{float64(100 + i), 0, 10, .5}})
		}
		sets = append(sets, report.SessionSet{Name: name, Set: s})
	}
	more, err := report.Sessions(sets)
	if err != nil {
		t.Fatal(err)
	}
	html := render(t, "traffic", append(sections, more...))
	for _, want := range []string{"0.38 [0.30, 0.40]", "1.25 ± 0.50", "1.500 ± 0.100", "0.250", "share of copies", "crossing, 2 episodes of 10 steps", "index of dispersion", "bytes of a step"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}

// A figure of two rows is drawn, with a line where the first is real; one of a
// single row is not.
func TestGlance(t *testing.T) {
	e, err := inloop.Decode([]byte(evaluated))
	if err != nil {
		t.Fatal(err)
	}
	second := e.Rows[1]
	second.Name = "other"
	e.Rows = append(e.Rows, second)
	e.Rows[1].Figures["copy"] = eval.Estimate{Mean: .5, Low: .25, High: .75}
	sections, err := report.Traffic(e)
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]string{}
	for _, f := range sections[1].Figures {
		drawn[f.Name] = f.Caption
	}
	if got := drawn["likeness-copy"]; got != "share of copies: best is 0. The dashed line is real's." {
		t.Errorf("copies: %q", got)
	}
	if got := drawn["likeness-nll"]; got != "nats a step: best is 0." {
		t.Errorf("likelihood, which real has not: %q", got)
	}
	if _, err := report.Dots("x", "", "", math.NaN(), []report.Dot{{Name: "a", Mean: math.NaN()}}); err == nil {
		t.Error("no error for a drawing of nothing")
	}
	if html := render(t, "traffic", sections); !strings.Contains(html, `<table class="prose">`) {
		t.Error("what the figures are is a table of numbers")
	}
}

func TestTrafficErrors(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "not what traffic eval --json writes",
		`{}`: "neither rows nor in_loop",
		strings.Replace(evaluated, `"policies": ["fixed:32", "fixed:64"]`, `"policies": ["fixed:32"]`, 1):  "not of one comparison",
		strings.Replace(evaluated, `"differences": [{"mean": 0.25, "ci95": 0.1}, `, `"differences": [`, 1): "stand_ins[0]",
	} {
		if _, err := inloop.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := report.Sessions([]report.SessionSet{{Name: "x", Set: &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "size"}}}}}}); err == nil {
		t.Error("no error for steps without gaps")
	}
}
