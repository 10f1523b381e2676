package report

import (
	"fmt"
	"strings"

	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
)

// File is a recording by name.
type File struct{ Name, Path string }

// Compared is a set and its score; of the real recording, the noise floor.
type Compared struct {
	Name  string              `json:"name"`
	File  string              `json:"file"`
	Score *selection.Score    `json:"score,omitempty"`
	Floor *[3]selection.Means `json:"floor_p5_p50_p95,omitempty"`
	// Effects are the errors in what a limit does; nil where that is not identifiable.
	Effects *fidelity.Effects `json:"effects,omitempty"`
}

// Recordings are the sections of a real recording and synthetic ones beside it, and
// their scores; the first is the real one with the noise floor. done is called after
// each set.
func Recordings(real string, sets []File, o selection.Options, done func() error) ([]Section, []Compared, error) {
	truth, err := selection.ReadFile(real)
	if err != nil {
		return nil, nil, err
	}
	tables, names := []selection.Table{truth}, []string{"real"}
	results := []Compared{{Name: "real", File: real}}
	for _, f := range sets {
		table, err := selection.ReadFile(f.Path)
		if err != nil {
			return nil, nil, err
		}
		score, err := selection.Compare(truth, table, o)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		tables, names = append(tables, table), append(names, f.Name)
		results = append(results, Compared{Name: f.Name, File: f.Path, Score: &score})
		results[0].Floor = &score.Floor
		if err := done(); err != nil {
			return nil, nil, err
		}
	}
	sections, err := compared(tables, names, results)
	return sections, results, err
}

// compared are the sections of tables, the real one first, and their scores.
func compared(tables []selection.Table, names []string, results []Compared) ([]Section, error) {
	tables, left, err := selection.Common(tables...)
	if err != nil {
		return nil, err
	}
	var shown []Set
	for i, t := range tables {
		shown = append(shown, dataset(names[i], t))
	}
	sections, err := Data(shown)
	metrics := metricSections(results)
	if len(left) > 0 && len(metrics) > 0 {
		metrics[0].Text = "Left out, because not all sets hold measured numbers of them: " + strings.Join(left, ", ") + "."
	}
	return append(metrics, sections...), err
}

// metricSections is the table of scores, and of each set's columns.
func metricSections(results []Compared) []Section {
	if len(results) < 2 {
		return nil
	}
	number := func(x float64) string { return fmt.Sprintf("%.4f", x) }
	// A figure beyond the floor's 95 % is marked: real data differ less from real data.
	marked := func(x, top float64) string {
		if x > top {
			return number(x) + " ▲"
		}
		return number(x)
	}
	row := func(name string, m, top selection.Means) []string {
		return []string{name, marked(m.MMinmax, top.MMinmax), marked(m.W1, top.W1), marked(m.KS, top.KS), marked(m.Corr, top.Corr), marked(m.ACF, top.ACF)}
	}
	top := results[0].Floor[2]
	all := Table{
		Caption: "M is Equation 1 on the min-max scale over all rows; the others are means over the columns that vary. ▲: above the noise floor's 95 %, which real data against real data seldom pass.",
		Head:    []string{"set", "M", "W1", "KS", "correlation error", "ACF error, 1–20 s"},
	}
	each := Section{Title: "Metrics by column", Text: "Spread within windows and mean change from row to row: synthetic over real, 1 is best. Of M: the column's share of the sum that M is, on the min-max scale over all rows and as published, unscaled over the first 2600."}
	for _, c := range results[1:] {
		all.Rows = append(all.Rows, row(c.Name, c.Score.Mean, top))
		t := Table{Caption: c.Name, Head: []string{"column", "W1", "KS", "ACF error", "spread ratio", "step ratio", "of M", "of M, unscaled"}}
		share := func(name string, terms []float64) string {
			for _, s := range c.Score.Shares(terms) {
				if s.Column == name {
					return fmt.Sprintf("%.1f %%", 100*s.Of)
				}
			}
			return ""
		}
		for _, f := range c.Score.Features {
			t.Rows = append(t.Rows, []string{f.Name, number(f.W1), number(f.KS), number(f.ACF), number(f.SD), number(f.Step), share(f.Name, c.Score.MBy), share(f.Name, c.Score.MRawBy)})
		}
		each.Tables = append(each.Tables, t)
	}
	for i, name := range []string{"floor, 5 %", "floor, median", "floor, 95 %"} {
		all.Rows = append(all.Rows, row(name, results[0].Floor[i], top))
	}
	return []Section{{Title: "Metrics", Tables: []Table{all}}, each}
}

// dataset gives a table the units that figures show.
func dataset(name string, t selection.Table) Set {
	units := map[string]string{"Buffer": "s", "ReportedBitrate": "kbit/s", "FPS": "1/s", "CalcBitrate": "kbit"}
	s := Set{Name: name, Values: t.Values}
	for _, c := range t.Columns {
		unit, ok := units[c]
		switch {
		case ok:
		case strings.HasPrefix(c, "deq_timedelta"):
			unit = "us"
		default:
			f, _ := telemetry.Canonical(c) // of another CSV: no unit is known
			unit = f.Unit
		}
		s.Fields = append(s.Fields, telemetry.Field{Name: c, Unit: unit})
	}
	return s
}
