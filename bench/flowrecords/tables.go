package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/traffic/eval"
)

// figures are what one row has on one split.
type figures map[string]eval.Number

// figures are those of a row on a split: kept ones of equal updates and draws, or what
// compute gives.
func (o *options) figures(seed int, row string, compute func() (figures, error)) (figures, error) {
	return pieces.Do(o.keep, fmt.Sprintf("%s-%d-updates-%d-draws-%d", row, seed, o.updates, o.draws), compute)
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
