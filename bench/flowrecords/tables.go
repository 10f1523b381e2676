package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/planegym/planegym/traffic/eval"
)

// result is what one row has on one split.
type result struct {
	Seed    int                    `json:"seed"`
	Row     string                 `json:"row"`
	Updates int                    `json:"updates"` // as asked for
	Draws   int                    `json:"draws"`   // samples that the figures are means of
	Figures map[string]eval.Number `json:"figures"`
}

// results are those of a run, in a file too, a line each, where one is given: a run
// that ended goes on where it was.
type results struct {
	all  []result
	file *os.File // nil: none
}

func openResults(path string) (*results, error) {
	r := &results{}
	if path == "" {
		return r, nil
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	for n := 1; lines.Scan(); n++ {
		var x result
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		r.all = append(r.all, x)
	}
	r.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	return r, err
}

func (r *results) add(x result) error {
	r.all = append(r.all, x)
	if r.file == nil {
		return nil
	}
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	_, err = r.file.Write(append(b, '\n'))
	return err
}

func (r *results) find(seed int, row string, updates, draws int) *result {
	for i := range r.all {
		if x := &r.all[i]; x.Seed == seed && x.Row == row && x.Updates == updates && x.Draws == draws {
			return x
		}
	}
	return nil
}

// values are a figure's of a row, by split.
type values func(row, figure string) []float64

// print writes the means of rows over splits, and for half and bootstrap, where they
// are among them, the differences of the other rows to them on the same splits.
func (v values) print(w io.Writer, rows []string) {
	table := func(title string, rows []string, cell func(row, figure string) string) {
		fmt.Fprintf(w, "\n| %s | %s |\n|---|%s\n", title, strings.Join(rows, " | "), strings.Repeat("---|", len(rows)))
		for _, name := range figureNames {
			fmt.Fprintf(w, "| %s |", name)
			for _, row := range rows {
				fmt.Fprintf(w, " %s |", cell(row, name))
			}
			fmt.Fprintln(w)
		}
	}
	table("figure", rows, func(row, figure string) string { return eval.EstimateOf(v(row, figure)).Text(4) })
	for _, other := range []string{"bootstrap", "half"} {
		if !slices.Contains(rows, other) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(rows), func(r string) bool { return r == other })
		table("less "+other+", largest", rest, func(row, figure string) string {
			d := differences(v(row, figure), v(other, figure))
			if len(d) == 0 {
				return "–"
			}
			return fmt.Sprintf("%s, %.4f", eval.EstimateOf(d).Text(4), slices.Max(d))
		})
	}
}

// differences are a - b, split by split; NaN where a correlation is.
func differences(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return slices.DeleteFunc(d, math.IsNaN)
}
