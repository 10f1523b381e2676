package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// render writes a page of sections, to -keep too, and gives it back.
func render(t *testing.T, name string, sections []report.Section) string {
	t.Helper()
	p := report.Page{Title: name, Sections: sections}
	var b bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		if err := os.WriteFile(filepath.Join(*keep, name+".html"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(b.String(), "NaN") {
		t.Error("the page shows NaN")
	}
	return b.String()
}

// comparison is one of five policies, with a value that is not there and an
// agent in a folder.
func comparison() *eval.Result {
	nan := eval.Number(math.NaN())
	r := &eval.Result{Format: eval.Format, A: eval.Plant{Name: "contended"}, B: eval.Plant{Name: "lab/sim/fitted.toml", Seed: 3}, Episodes: 8, Steps: 900, Limits: []int{32, 64}, Span: 2,
		Columns:    []eval.Column{{Name: "lbo_s", Unit: "s", Spread: 60}, {Name: "fps", Unit: "1/s", Spread: 12}},
		Recordings: &eval.Recordings{Path: "blocks", Sessions: 4, Steps: 899, Block: 75, Gamma: .99, FQE: .9, DR: .8, Null: eval.Null{Shuffles: 10, FQE: .95, DR: nan}},
	}
	m := func(x, ci float64) eval.Mean { return eval.Mean{Mean: eval.Number(x), CI: eval.Number(ci)} }
	for i, name := range []string{"fixed:32", "fixed:64", "alternate:15", "occupancy:0.42", "runs/one/two/policy.safetensors"} {
		x := float64(i)
		lbo, level, stall := m(20+x, 1), m(1, .1), m(0, 0)
		v := eval.Value{Reward: m(.4*x, .1), LBO: &lbo, Level: &level, Stall: &stall}
		p := eval.Valued{Policy: name, A: v, B: v, Difference: m(0, .1), Normalised: m(0, .05), Ratio: 1,
			Drift: []eval.Drift{{W1: .1, KS: .2}, {W1: nan, KS: nan}}}
		if i == 4 {
			p.Agent = "f00"
		}
		if i == 0 {
			p.B.Reward.CI, p.Normalised = nan, eval.Mean{Mean: nan, CI: nan}
		}
		r.Policies = append(r.Policies, p)
		if i != 2 {
			r.Recordings.Policies = append(r.Recordings.Policies, eval.Estimated{Policy: name, FQE: m(.4*x, .2), DR: m(.4*x, .1), AdvantageFQE: m(x-1, .2), AdvantageDR: m(x-1, .2), Followed: 12})
		}
	}
	r.Agreement = eval.Agreement{Spearman: eval.Bounds{Value: 1, Low: .9, High: 1}, Kendall: eval.Bounds{Value: nan, Low: nan, High: nan},
		Regret: eval.Regret{Best: "occupancy:0.42", Chosen: "occupancy:0.42"}, Similarity: eval.Similarity{Ratios: eval.Ratios{Reward: .99, FPS: nan}, Apart: eval.Ratios{Reward: .5, FPS: nan}}}
	b := func(x float64) eval.Bounds {
		return eval.Bounds{Value: eval.Number(x), Low: eval.Number(x - .1), High: eval.Number(x + .1)}
	}
	none := eval.Bounds{Value: nan, Low: nan, High: nan}
	r.Calibration = eval.Calibration{RMS: b(.12), Bias: b(-.03), Slope: b(.8), Intercept: b(.1), Families: []eval.FamilyError{{Family: "constants", Policies: 2, RMS: b(.31), Bias: none}}}
	r.References = []eval.Reference{{Kind: eval.Ceiling, Plant: eval.Plant{Name: "contended", Seed: 1}, Spearman: b(.93), Regret: r.Agreement.Regret, Calibration: r.Calibration},
		{Kind: eval.WrongTestbed, Plant: eval.Plant{Name: "site"}, Spearman: none, Calibration: r.Calibration}}
	return r
}

// A figure as a file of its own is legible in either theme: no ink is a colour, and
// both themes name all of them.
func TestFigureFileHasBothThemes(t *testing.T) {
	f, err := report.Values(comparison())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "values.svg")
	if err := f.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(b), "</style>")
	if !ok || strings.Count(head, "--ink:") != 2 || !strings.Contains(head, "prefers-color-scheme:dark") || !strings.HasPrefix(body, `<rect width="100%" height="100%" fill="var(--paper)"/>`) {
		t.Fatalf("%.600s", b)
	}
	for _, colour := range regexp.MustCompile(`--[a-z0-9]+:(#[0-9A-F]{6});`).FindAllStringSubmatch(strings.SplitN(head, "@media", 2)[0], -1) {
		if strings.Contains(body, colour[1]) {
			t.Errorf("%s is the same in both themes", colour[0])
		}
	}
	if !strings.Contains(body, "var(--ink)") {
		t.Error("nothing is drawn in ink")
	}
}

func TestComparison(t *testing.T) {
	r := comparison()
	sections, err := report.Comparison(r)
	if err != nil {
		t.Fatal(err)
	}
	page := render(t, "comparison", sections)
	for _, want := range []string{
		"reward a step on A: contended", "reward a step on B: …/sim/fitted.toml", "…/two/policy.safetensors", "queue rules",
		"Kendall", "<td>–</td>", "99.0 %", "Drift", "A again, seed 1 (the ceiling)", "site (another testbed)", "0.93 (0.83 … 1.03)", "constants", "slope 0.80", "fitted Q evaluation", "textLength=",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(page, "<svg "); n != 5 {
		t.Errorf("%d figures, want 5", n)
	}
	r.Recordings.Policies[0].Policy = "nobody"
	if _, err := report.Comparison(r); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("an unknown policy: %v", err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// Names of policies stand apart however close their points are.
func TestValuesLabelsDoNotOverlap(t *testing.T) {
	r := comparison()
	one := r.Policies[0]
	r.Policies = nil
	for i := range 24 {
		one.Policy = fmt.Sprintf("occupancy:0.%02d", i)
		one.B.Reward.Mean = eval.Number(float64(i) / 1e4)
		r.Policies = append(r.Policies, one)
	}
	f, err := report.Values(r)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b, ".svg"); err != nil {
		t.Fatal(err)
	}
	last, n := math.Inf(1), 0
	for _, m := range regexp.MustCompile(`y="(-[0-9.]+)"[^>]*>occupancy`).FindAllStringSubmatch(b.String(), -1) {
		var y float64
		if _, err := fmt.Sscan(m[1], &y); err != nil {
			t.Fatal(err)
		}
		if n++; math.Abs(last-y) < 9 { // points; the letters are 9 high
			t.Errorf("names %.1f points apart", math.Abs(last-y))
		}
		last = y
	}
	if n != 24 {
		t.Errorf("%d names, want 24", n)
	}
	if err := f.Write(&b, ".pdf"); err == nil || !strings.Contains(err.Error(), `".pdf" is not a kind`) {
		t.Errorf("a PDF: %v", err)
	}
}

// played is an agent that takes action 1 above half of the buffer.
func played(t *testing.T, name string, unit string) *report.Played {
	t.Helper()
	s := episodes.Spaces{Actions: env.MultiDiscrete{2}, Limits: []p4.Limit{32, 64},
		Elements: []telemetry.Field{{Name: "enq_qdepth1_mean", Unit: unit}, {Name: "lbo_s"}, {Name: "level"}}}
	p := report.NewPlayed(name)
	for e := range 3 {
		var ep episodes.Episode
		for i := range 40 {
			k := rng.Key{Seed: uint64(e), A: uint32(i), Purpose: rng.Start}
			lbo := float32(k.Float64(0))
			ep.Obs = append(ep.Obs, float32(k.Float64(1)), lbo, float32(i%3)/2)
			a := int32(0)
			if lbo > .5 {
				a = 1
			}
			ep.Actions, ep.Reward = append(ep.Actions, a), append(ep.Reward, float32(e))
		}
		ep.Obs = append(ep.Obs, 0, 0, 0)
		if err := p.Add(s, &ep); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestAgents(t *testing.T) {
	nan := math.NaN()
	trained := []report.Trained{
		{Name: "online", Steps: []float64{100, 200}, Columns: map[string][]float64{"return": {1, 2}, "loss": {1, .5}, "target": {0, 1}, "epsilon": {1, .9}}},
		{Name: "offline", Steps: []float64{100, 200}, Columns: map[string][]float64{"return": {nan, nan}, "loss": {1, .7}, "target": {0, 1}, "epsilon": {0, 0}}},
	}
	one := played(t, "careful", "")
	sections, err := report.Agents(trained, []*report.Played{one, played(t, "again", "")})
	if err != nil {
		t.Fatal(err)
	}
	page := render(t, "agents", sections)
	for _, want := range []string{"return (reward)", "transitions", "limit 64", "share of steps", "careful: actions by buffer", "player", "level 2"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// Returns are 0, 40 and 80; the level is 0, 1, 2 in turn, its scale undone.
	row := strings.Join(sections[1].Tables[0].Rows[0], "|")
	if want := "careful|3|40.00|99.37|40.0|0.48|35 %|32 %|32 %|39.0"; row != want {
		t.Errorf("row %q, want %q", row, want)
	}
	if _, err := report.Agents([]report.Trained{{Name: "x", Steps: []float64{1}}}, nil); err == nil || !strings.Contains(err.Error(), "x: the log has no column return") {
		t.Errorf("an empty log: %v", err)
	}
	if _, err := report.Agents(nil, []*report.Played{report.NewPlayed("x")}); err == nil || !strings.Contains(err.Error(), "x: no episodes") {
		t.Errorf("no episodes: %v", err)
	}
	if err := one.Add(episodes.Spaces{}, &episodes.Episode{}); err == nil || !strings.Contains(err.Error(), "different spaces") {
		t.Errorf("other spaces: %v", err)
	}
}
