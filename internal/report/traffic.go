package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/traffic"
	traffeval "github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
)

// Traffic is the sections of what traffic eval found: what policies are worth
// under each load, and how like real sessions are.
func Traffic(e *inloop.Evaluation) ([]Section, error) {
	var sections []Section
	if e.InLoop != nil {
		s, err := loadSection(e.InLoop)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	if e.Result != nil {
		s, err := likeness(e)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	return sections, nil
}

// loadSection is the values of policies under the loads.
func loadSection(r *inloop.Result) (Section, error) {
	s := Section{
		Title: "What policies are worth under each load",
		Text: fmt.Sprintf("%s, %d episodes of %d steps of each policy under each load, by the same seeds. held is real sessions that nothing was fitted to, the truth; "+
			"real is the other real sessions: no generator can be distinguished from a better one below what they are off. Rewards are per step, ± 95 %% confidence; other intervals resample episodes.",
			r.Scenario, r.Episodes, r.Steps),
	}
	off := Table{Caption: fmt.Sprintf("Ranks are over the %d policies that differ from each other beyond noise under held, order is over the %d such pairs.", len(r.Apart), r.Pairs),
		Head: []string{"load", "kind", "packets a second", "mean |difference| a step", "less that of real", "Spearman's ρ", "pairs in order", "regret"}}
	off.Rows = append(off.Rows, []string{"held", "truth", fmt.Sprintf("%.0f", r.Rows[0].PacketsPerSecond), "", "", "", "", ""})
	worth := Table{Head: []string{"policy"}}
	for _, l := range r.Rows {
		worth.Head = append(worth.Head, l.Name)
	}
	for p, name := range r.Policies {
		row := []string{short(name), r.Values[p].Reward.String()}
		for _, s := range r.StandIns {
			row = append(row, s.Values[p].Reward.String())
		}
		worth.Rows = append(worth.Rows, row)
	}
	var lines []Line
	order := make([]int, len(r.Policies))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return int(math.Copysign(1, float64(r.Values[b].Reward.Mean-r.Values[a].Reward.Mean)))
	})
	add := func(name string, values []eval.Worth) {
		l := Line{Name: name}
		for i, p := range order {
			l.X, l.Y = append(l.X, float64(i+1)), append(l.Y, float64(values[p].Reward.Mean))
		}
		lines = append(lines, l)
	}
	add("held", r.Values)
	for i, x := range r.StandIns {
		off.Rows = append(off.Rows, []string{x.Name, r.Rows[i+1].Kind, fmt.Sprintf("%.0f", r.Rows[i+1].PacketsPerSecond), x.Off.String(), x.More.String(), x.Spearman.String(), x.Ordered.String(), x.Regret.String()})
		add(x.Name, x.Values)
	}
	f, err := Lines("load-values", "Each policy's value under each load; policies in the order of their value under held.", "policy, the best under held first", "reward a step", lines)
	if err != nil {
		return s, err
	}
	var dots []Dot // real's is the first
	for _, x := range r.StandIns {
		dots = append(dots, Dot{x.Name, float64(x.Off.Value), float64(x.Off.Low), float64(x.Off.High)})
	}
	d, err := Dots("load-off", "How far the values of policies are off under each load, in the mean; the dashed line is real's, the noise floor.", "mean |difference| of a reward a step", dots[0].Mean, dots)
	if err != nil {
		return s, err
	}
	s.Tables, s.Figures = []Table{off, worth}, []Figure{d, f}
	return s, nil
}

// seen are the figures of likeness that are drawn, where rows have them.
var seen = []string{"nll", "c2st", "tstr_f1", "copy", "repair", "bigram", "gap", "series_c2st", "series_tstr_f1", "series_bytes"}

// glance draws figures of all rows.
func glance(r *traffeval.Result) ([]Figure, error) {
	var all []Figure
	for _, name := range seen {
		i := slices.IndexFunc(r.Figures, func(f traffeval.Figure) bool { return f.Name == name })
		if i < 0 {
			continue
		}
		var dots []Dot
		for _, row := range r.Rows {
			if e, ok := row.Figures[name]; ok {
				dots = append(dots, Dot{row.Name, float64(e.Mean), float64(e.Low), float64(e.High)})
			}
		}
		if len(dots) < 2 {
			continue
		}
		f := r.Figures[i]
		caption, line := fmt.Sprintf("%s: best is %v.", f.About, f.Best), math.NaN()
		if dots[0].Name == "real" {
			caption, line = caption+" The dashed line is real's.", dots[0].Mean
		}
		d, err := Dots("likeness-"+strings.ReplaceAll(name, "_", "-"), caption, name, line, dots)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// likeness is the figures of sessions.
func likeness(e *inloop.Evaluation) (Section, error) {
	r := e.Result
	s := Section{
		Title: "How like real sessions are",
		Text: fmt.Sprintf("%d sessions to fit to, %d held out that all rows are compared with; %d seeds, ± 95 %% confidence. real is the sessions fitted to in a generator's place: "+
			"the noise floor. Kind floor is models that only count. Likelihood first; forests reward copies, so read them where copy is near real's.", r.Train, r.Held, r.Seeds),
	}
	t := Table{Head: []string{"figure", "best"}}
	for _, row := range r.Rows {
		t.Head = append(t.Head, row.Name)
	}
	about := Table{Head: []string{"figure", "what it is"}, Prose: true}
	for _, f := range r.Figures {
		row := []string{f.Name, fmt.Sprint(f.Best)}
		for _, x := range r.Rows {
			row = append(row, x.Cell(f.Name))
		}
		t.Rows = append(t.Rows, row)
		about.Rows = append(about.Rows, []string{f.Name, f.About})
	}
	s.Tables = []Table{t, about}
	var err error
	if s.Figures, err = glance(r); err != nil {
		return s, err
	}
	var lines []Line
	for _, row := range r.Rows {
		l := Line{Name: row.Name}
		for _, p := range row.Mixing {
			l.X, l.Y = append(l.X, p.Generated), append(l.Y, float64(p.F1))
		}
		if len(l.X) > 0 {
			lines = append(lines, l)
		}
	}
	if len(lines) > 0 {
		f, err := Lines("mixing", "Macro F1 on held-out sessions of a forest trained on a mixture of constant size.", "share of generated sessions", "macro F1", lines)
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, f)
	}
	return s, nil
}

// SessionSet is sessions by a name.
type SessionSet struct {
	Name string
	*traffic.Set
}

// Sessions is the sections of sets of sessions, the real ones first: the
// distributions of what a step is, and how bursty all of them are together.
func Sessions(sets []SessionSet) ([]Section, error) {
	sizes := make([][]float64, len(sets))
	gaps, lengths, durations, times := slices.Clone(sizes), slices.Clone(sizes), slices.Clone(sizes), slices.Clone(sizes)
	for k, s := range sets {
		size, gap := s.Of.StepIndex("size"), s.Of.StepIndex("gap")
		if size < 0 || gap < 0 {
			return nil, fmt.Errorf("report: %s: steps have no size and gap", s.Name)
		}
		for i := range s.Sessions {
			x := &s.Sessions[i]
			at, n := x.Start, s.Of.Len(x)
			for t := range n {
				step := s.Of.Step(x, t)
				at += step[gap]
				sizes[k], gaps[k], times[k] = append(sizes[k], step[size]), append(gaps[k], math.Log10(step[gap]+1e-6)), append(times[k], at)
			}
			lengths[k], durations[k] = append(lengths[k], math.Log10(float64(max(n, 1)))), append(durations[k], math.Log10(at-x.Start+1e-6))
		}
		if len(times[k]) == 0 {
			return nil, fmt.Errorf("report: %s: there is no step", s.Name)
		}
	}
	share := Section{Title: "Distributions of sessions", Text: "Shares of values that are not larger."}
	for _, d := range []struct {
		name, x string
		v       [][]float64
	}{{"size", "bytes of a step", sizes}, {"gap", "gap before a step, log10 s", gaps}, {"length", "steps of a session, log10", lengths}, {"duration", "duration of a session, log10 s", durations}} {
		var lines []Line
		for k, s := range sets {
			x, y := cdf(d.v[k], 400)
			lines = append(lines, Line{Name: s.Name, X: x, Y: y})
		}
		f, err := Lines("cdf-"+d.name, "", d.x, "share", lines)
		if err != nil {
			return nil, err
		}
		share.Figures = append(share.Figures, f)
	}
	bursts := Section{Title: "Burstiness", Text: "Variance over mean of the number of steps in windows, by their width; 0 of a Poisson process on this scale. " +
		"Equal distributions do not make equal bursts, and a queue sees the bursts."}
	var lines []Line
	for k, s := range sets {
		l := Line{Name: s.Name}
		for w := 1e-3; w < 2e3; w *= math.Sqrt(10) {
			if d := traffeval.Dispersion(times[k], w); d > 0 {
				l.X, l.Y = append(l.X, math.Log10(w)), append(l.Y, math.Log10(d))
			}
		}
		if len(l.X) > 1 {
			lines = append(lines, l)
		}
	}
	if len(lines) > 0 {
		f, err := Lines("dispersion", "", "width of a window, log10 s", "index of dispersion, log10", lines)
		if err != nil {
			return nil, err
		}
		bursts.Figures = append(bursts.Figures, f)
		return []Section{share, bursts}, nil
	}
	return []Section{share}, nil
}
