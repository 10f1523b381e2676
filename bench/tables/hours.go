package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/eval/selection"
)

var hourLimits = []int{32, 64}

// hourModels are the forms that are fitted to the published hours, by several seeds.
var hourModels = []struct{ name, about, flags, sample, quick string }{
	{"timegan", "TimeGAN", "--mode timegan --kernels avx2 --weights-only", "", "--set embed=60 --set super=20 --set joint=60"},
	{"clock", "closed loop with a clock", "--kernels avx2 --set held_out=true --set clock=3600", "--clock 0 ", "--set updates=20"},
	{"plain", "closed loop without", "--kernels avx2 --set held_out=true", "", "--set updates=20"},
}

func hourSeeds(quick bool) (fits, rollouts int) {
	if quick {
		return 2, 2
	}
	return 3, 20
}

// hoursSteps import the published files, fit models to them and sample those.
func hoursSteps(quick bool) (steps []step) {
	for _, l := range hourLimits {
		steps = append(steps, step{
			out:     fmt.Sprintf("recordings/grid_%d.csv", l),
			command: fmt.Sprintf("planegym import --dash {data}/dash_TD-%d_100.csv --rows {data}/real_%d.csv -o {out}", l, l),
		})
	}
	fits, rollouts := hourSeeds(quick)
	for _, m := range hourModels {
		for seed := range fits {
			flags := m.flags
			if quick {
				flags += " " + m.quick
			}
			file := fmt.Sprintf("%s-%d.safetensors", m.name, seed)
			steps = append(steps,
				step{out: file, command: fmt.Sprintf("planegym fit --data recordings %s --set seed=%d --progress none -o {out}", flags, seed), resume: "--resume"},
				step{out: fmt.Sprintf("samples-%s-%d", m.name, seed), command: fmt.Sprintf("planegym sample %s %s--rollouts %d -o {out}", file, m.sample, rollouts)})
		}
	}
	return steps
}

// hourRow is a set's figures, each of several tables.
type hourRow struct {
	name    string
	figures [][]float64 // by hourFigures
}

// short is the name without what is in brackets.
func (r hourRow) short() string {
	name, _, _ := strings.Cut(r.name, " (")
	return name
}

var hourFigures = []struct {
	name, format string
	of           func(selection.Score) float64
}{
	{"W1", "%.3f", func(s selection.Score) float64 { return s.Mean.W1 }},
	{"KS", "%.3f", func(s selection.Score) float64 { return s.Mean.KS }},
	{"correlation", "%.3f", func(s selection.Score) float64 { return s.Mean.Corr }},
	{"ACF", "%.3f", func(s selection.Score) float64 { return s.Mean.ACF }},
	{"M", "%.2f", func(s selection.Score) float64 { return s.Mean.MMinmax }},
	{"buffer's step", "%.2f", func(s selection.Score) float64 { return bufferOf(s).Step }},
}

func bufferOf(s selection.Score) selection.Feature {
	for _, f := range s.Features {
		if f.Name == "Buffer" {
			return f
		}
	}
	return selection.Feature{}
}

// renderHours scores samples and what needs no model on the held-out blocks.
func renderHours(dir string, quick bool) (string, error) {
	real := map[int]selection.Table{}
	for _, l := range hourLimits {
		var err error
		if real[l], err = selection.ReadFile(filepath.Join(dir, "recordings", fmt.Sprintf("grid_%d.csv", l))); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	for i, l := range hourLimits {
		rows, floor, err := hourRows(dir, quick, l, real[l], real[hourLimits[1-i]])
		if err != nil {
			return "", err
		}
		writeHour(&b, l, rows, floor)
	}
	fits, rollouts := hourSeeds(quick)
	fmt.Fprintf(&b, "Medians, and what nine of ten lie between, over %s fits and the %d rollouts of each; of rows without a model over 20 draws, or one figure where nothing is drawn. "+
		"Less is better, but for the buffer's step (mean change from second to second over the recorded one), where 1 is.\n",
		fitsDone(dir, fits), rollouts)
	return b.String(), nil
}

// done are the seeds whose samples are there: all, but where -kept makes a table of
// less.
func done(dir, model string, fits int) (seeds []int) {
	for seed := range fits {
		if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("samples-%s-%d", model, seed))); err == nil {
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

// fitsDone says how many fits of a form are in the table: "3", or each form's of how
// many where some are missing.
func fitsDone(dir string, fits int) string {
	var parts []string
	all := true
	for _, m := range hourModels {
		n := len(done(dir, m.name, fits))
		all = all && n == fits
		parts = append(parts, fmt.Sprint(n))
	}
	if all {
		return fmt.Sprint(fits)
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(" of %d", fits)
}

// hourRows are the sets of one limit, the models first, and the noise floor.
func hourRows(dir string, quick bool, limit int, real, other selection.Table) (rows []hourRow, floor [3]selection.Means, err error) {
	fits, rollouts := hourSeeds(quick)
	add := func(name string, tables []selection.Table) error {
		row := hourRow{name, make([][]float64, len(hourFigures))}
		for i, t := range tables {
			draws := -1
			if len(rows) == 0 && i == 0 {
				draws = 0
			}
			s, err := selection.Compare(real, t, selection.Options{Like: true, Test: true, Draws: draws})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if draws == 0 {
				floor = s.Floor
			}
			for k, f := range hourFigures {
				row.figures[k] = append(row.figures[k], f.of(s))
			}
		}
		rows = append(rows, row)
		return nil
	}
	for _, m := range hourModels {
		var tables []selection.Table
		for _, seed := range done(dir, m.name, fits) {
			for i := range rollouts {
				t, err := selection.ReadFile(filepath.Join(dir, fmt.Sprintf("samples-%s-%d", m.name, seed), fmt.Sprintf("sample_%d.%d.csv", limit, i)))
				if err != nil {
					return nil, floor, err
				}
				tables = append(tables, t)
			}
		}
		if err := add(m.about, tables); err != nil {
			return nil, floor, err
		}
	}
	known, err := published(limit)
	if err != nil {
		return nil, floor, err
	}
	for _, c := range append(competitors(real, other, 20), known...) {
		if err := add(c.name, c.tables); err != nil {
			return nil, floor, err
		}
	}
	return rows, floor, nil
}

// writeHour writes one limit's table, and which model is better than what.
func writeHour(b *strings.Builder, limit int, rows []hourRow, floor [3]selection.Means) {
	head := []string{"limit " + fmt.Sprint(limit)}
	for _, f := range hourFigures {
		head = append(head, f.name)
	}
	g := newGrid(head...)
	for _, r := range rows {
		cells := []string{r.name}
		for k, f := range hourFigures {
			cells = append(cells, spreadOf(r.figures[k]).cell(f.format))
		}
		g.row(cells...)
	}
	of := func(get func(selection.Means) float64, format string) string {
		return fmt.Sprintf(format+" ("+format+" … "+format+")", get(floor[1]), get(floor[0]), get(floor[2]))
	}
	g.row("*floor: windows of the held-out rows*", of(func(m selection.Means) float64 { return m.W1 }, "%.3f"), of(func(m selection.Means) float64 { return m.KS }, "%.3f"),
		of(func(m selection.Means) float64 { return m.Corr }, "%.3f"), of(func(m selection.Means) float64 { return m.ACF }, "%.3f"), of(func(m selection.Means) float64 { return m.MMinmax }, "%.2f"), "")
	b.WriteString(g.String() + "\n")
	for i, m := range rows[:len(hourModels)] {
		var said []string
		for k, f := range hourFigures {
			if f.name == "buffer's step" {
				continue
			}
			var better, worse []string
			for j, o := range rows {
				if j == i {
					continue
				}
				switch spreadOf(m.figures[k]).against(spreadOf(o.figures[k])) {
				case "lower":
					better = append(better, o.short())
				case "higher":
					worse = append(worse, o.short())
				}
			}
			text := f.name + ": "
			switch {
			case len(better)+len(worse) == 0:
				text += "overlaps with all"
			case len(worse) == 0:
				text += "better than " + strings.Join(better, ", ")
			case len(better) == 0:
				text += "worse than " + strings.Join(worse, ", ")
			default:
				text += "better than " + strings.Join(better, ", ") + ", worse than " + strings.Join(worse, ", ")
			}
			said = append(said, text)
		}
		fmt.Fprintf(b, "%s at limit %d, where intervals do not overlap: %s.\n\n", strings.ToUpper(m.name[:1])+m.name[1:], limit, strings.Join(said, "; "))
	}
}
