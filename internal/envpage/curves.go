package envpage

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/scenarios"
)

// ReadCurves reads the evaluations of trainings, a row each, from CSV files with
// a header, and returns a curve for each algorithm, in the files' order.
func ReadCurves(files []string) ([]scenarios.Curve, error) {
	var order []string
	settings := map[string][2]string{}                // and the command
	values := map[string]map[int]map[string]float64{} // by algorithm, transitions, seed
	for _, file := range files {
		rows, err := readTable(file, "algorithm", "seed", "transitions", "return", "settings", "command")
		if err != nil {
			return nil, err
		}
		for i, r := range rows {
			name, seed := r[0], r[1]
			n, err := strconv.Atoi(r[2])
			if err != nil || n < 0 {
				return nil, fmt.Errorf("%s: row %d: transitions: %q is not a whole number from 0", file, i+2, r[2])
			}
			x, err := strconv.ParseFloat(r[3], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: row %d: return: %q is not a number", file, i+2, r[3])
			}
			if values[name] == nil {
				order = append(order, name)
				values[name], settings[name] = map[int]map[string]float64{}, [2]string{r[4], r[5]}
			}
			if settings[name] != [2]string{r[4], r[5]} {
				return nil, fmt.Errorf("%s: row %d: %s has settings and command %q, and %q before", file, i+2, name, r[4:], settings[name])
			}
			if values[name][n] == nil {
				values[name][n] = map[string]float64{}
			}
			if _, twice := values[name][n][seed]; twice {
				return nil, fmt.Errorf("%s: row %d: %s, seed %s has two returns at %d transitions", file, i+2, name, seed, n)
			}
			values[name][n][seed] = x
		}
	}
	var out []scenarios.Curve
	for _, name := range order {
		c := scenarios.Curve{Algorithm: name, Settings: settings[name][0], Command: settings[name][1]}
		for _, n := range slices.Sorted(maps.Keys(values[name])) {
			at := slices.Collect(maps.Values(values[name][n]))
			if c.Seeds == 0 {
				c.Seeds = len(at)
			}
			if len(at) != c.Seeds {
				return nil, fmt.Errorf("%s has %d seeds at %d transitions, and %d at the first", name, len(at), n, c.Seeds)
			}
			slices.Sort(at) // the mean does not depend on the order of the map
			e := eval.EstimateOf(at)
			if math.IsNaN(e.CI) { // of one training
				e.CI = 0
			}
			c.Points = append(c.Points, scenarios.Point{Transitions: n, Mean: e.Mean, CI: e.CI})
		}
		out = append(out, c)
	}
	return out, nil
}

// readTable returns the named columns of a CSV file's rows.
func readTable(file string, columns ...string) ([][]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(all) < 2 {
		return nil, fmt.Errorf("%s: no rows", file)
	}
	var rows [][]string
	for _, name := range columns {
		k := slices.Index(all[0], name)
		if k < 0 {
			return nil, fmt.Errorf("%s: no column %s, only %s", file, name, strings.Join(all[0], ", "))
		}
		for i, r := range all[1:] {
			if len(rows) <= i {
				rows = append(rows, nil)
			}
			rows[i] = append(rows[i], r[k])
		}
	}
	return rows, nil
}

// WriteFigure draws the learning curves beside the best constant limit and the
// best rule, as SVG.
func (p Page) WriteFigure(w io.Writer) error {
	var lines []report.Line
	last := 0.
	for _, c := range p.Returns.Curves {
		l := report.Line{Name: c.Algorithm}
		for _, x := range c.Points {
			l.X, l.Y = append(l.X, float64(x.Transitions)), append(l.Y, x.Mean)
			l.Low, l.High = append(l.Low, x.Mean-x.CI), append(l.High, x.Mean+x.CI)
			last = max(last, float64(x.Transitions))
		}
		lines = append(lines, l)
	}
	for _, k := range references(p.Returns.Policies) {
		lines = append(lines, report.Line{Name: k.Policy, X: []float64{0, last}, Y: []float64{k.Mean, k.Mean}})
	}
	figure, err := report.Lines("curves", "", "transitions", "return of an episode", lines)
	if err != nil {
		return err
	}
	return figure.WriteSVG(w)
}

// references are the best constant limit and the best rule of policies, without
// agents.
func references(all []scenarios.Return) []scenarios.Return {
	all = slices.SortedStableFunc(slices.Values(all), func(a, b scenarios.Return) int { return cmp.Compare(b.Mean, a.Mean) })
	var out []scenarios.Return
	var constant, rule bool
	for _, r := range all {
		switch fixed := strings.HasPrefix(r.Policy, "fixed:"); {
		case r.Policy == "bundled" || strings.HasSuffix(r.Policy, ".safetensors"):
		case fixed && !constant:
			constant, out = true, append(out, r)
		case !fixed && !rule && !constant: // a rule worse than a constant shows nothing
			rule, out = true, append(out, r)
		}
	}
	return out
}
