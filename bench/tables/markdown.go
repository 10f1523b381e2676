package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planegym/planegym/telemetry"
)

// grid is a Markdown table in the making.
type grid struct{ b strings.Builder }

func newGrid(head ...string) *grid {
	g := &grid{}
	g.row(head...)
	g.b.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	return g
}

func (g *grid) row(cells ...string) { g.b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

func (g *grid) String() string { return g.b.String() }

// spread sums up the figures of several fits and samples: the median, and the 5 and
// 95 % points.
type spread struct {
	n              int
	low, mid, high float64
}

func spreadOf(x []float64) spread {
	x = slices.Sorted(slices.Values(x))
	return spread{len(x), telemetry.Quantile(x, .05), telemetry.Quantile(x, .5), telemetry.Quantile(x, .95)}
}

// cell is the spread as text, the figure alone where there is one.
func (s spread) cell(format string) string {
	if s.n == 1 {
		return fmt.Sprintf(format, s.mid)
	}
	return fmt.Sprintf(format+" ("+format+" … "+format+")", s.mid, s.low, s.high)
}

// against compares the intervals of s and o: "lower" if all of s is below o, "higher"
// if all of it is above, else "overlap", and neither has won.
func (s spread) against(o spread) string {
	switch {
	case s.high < o.low:
		return "lower"
	case s.low > o.high:
		return "higher"
	}
	return "overlap"
}
