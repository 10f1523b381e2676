package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/traffic/eval"
)

// shown are the figures of each protocol, in order.
var shown = []struct{ protocol, figure, head string }{
	{"P0", "off", "mean \\|difference\\| of a policy's reward"},
	{"P0", "off_less", "less that of the other half"},
	{"P0", "packets_per_s", "packets/s offered"},
	{"P1", "nll", "nats a packet"},
	{"P1", "tstr_f1", "TSTR F1"},
	{"P1", "c2st", "C2ST"},
	{"P1", "copy", "copies"},
	{"P1", "pattern", "JSD of directions' patterns"},
	{"P1", "series_tstr_f1", "as series: TSTR F1"},
	{"P1", "series_c2st", "as series: C2ST"},
	{"P1", "series_bytes", "as series: JSD of bytes"},
	{"P1", "repair", "repair rate"},
	{"P2", "nll", "nats a packet"},
	{"P2", "c2st", "C2ST"},
	{"P2", "series_c2st", "as series: C2ST"},
	{"P2", "series_bytes", "as series: JSD of bytes"},
	{"P2", "repair", "repair rate"},
	{"P2", "legal_packets", "legal packets, compiled"},
	{"P3", "sa", "SA"}, {"P3", "da", "DA"}, {"P3", "sp", "SP"}, {"P3", "dp", "DP"}, {"P3", "pr", "PR"},
	{"P3", "c2st", "C2ST"},
	{"P4", "nll", "nats a packet"},
	{"P4", "c2st", "C2ST"},
	{"P4", "size_acf1", "autocorrelation of sizes, off by"},
	{"P4", "duration_emd_s", "EMD of durations, s"},
	{"P4", "series_c2st", "as series: C2ST"},
	{"P4", "series_acf1", "as series: autocorrelation, off by"},
	{"P4", "repair", "repair rate"},
}

// table is the values of figures by protocol, row and figure, and split.
type table map[[3]string]map[int]float64

// add puts what a piece of a split found. The floors' piece, which has the row
// real, comes before the others of its split.
func (t table) add(protocol string, seed int, piece string, r result) {
	put := func(row, figure string, x float64) {
		key := [3]string{protocol, row, figure}
		if t[key] == nil {
			t[key] = map[int]float64{}
		}
		t[key][seed] = x
	}
	for _, x := range r.Rows {
		for figure, v := range x.Figures {
			put(x.Name, figure, float64(v))
		}
		if real, ok := t[[3]string{protocol, "real", "off"}][seed]; ok {
			put(x.Name, "off_less", float64(x.Figures["off"])-real)
		}
	}
	if piece != floors {
		put(piece, "fit", r.Fit)
		put(piece, "rate", r.Rate)
	}
}

// of is the values of a figure, by split.
func (t table) of(protocol, row, figure string) (v []float64) {
	m := t[[3]string{protocol, row, figure}]
	for _, seed := range slices.Sorted(maps.Keys(m)) {
		v = append(v, m[seed])
	}
	return v
}

// columns are the rows of the models, which the table has as columns, real first.
func columns() []string {
	return append([]string{"real", "bootstrap", "markov", "witten-bell-3"}, rows...)
}

func (t table) write(w io.Writer) error {
	var b strings.Builder
	heads := columns()
	fmt.Fprintf(&b, "| protocol and figure | %s |\n|---|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	line := func(head string, cell func(row string) string) {
		cells := make([]string, len(heads))
		for i, row := range heads {
			cells[i] = cell(row)
		}
		if slices.ContainsFunc(cells, func(c string) bool { return c != "–" }) {
			fmt.Fprintf(&b, "| %s | %s |\n", head, strings.Join(cells, " | "))
		}
	}
	of := func(protocol, figure string, digits int) func(string) string {
		return func(row string) string {
			v := t.of(protocol, row, figure)
			if len(v) == 0 {
				return "–"
			}
			if digits >= 0 {
				return fmt.Sprintf("%.*f", digits, float64(eval.EstimateOf(v).Mean))
			}
			e := eval.EstimateOf(v)
			if math.Abs(float64(e.Mean)) >= 10 {
				return e.Text(0)
			}
			return e.String()
		}
	}
	for _, s := range shown {
		line(s.protocol+": "+s.head, of(s.protocol, s.figure, -1))
	}
	for _, p := range []string{"P0", "P1", "P2", "P3", "P4"} {
		line(p+": fitted in CPU-s", of(p, "fit", 0))
	}
	for _, p := range []string{"P1", "P2", "P3", "P4"} {
		line(p+": packets a CPU-s", of(p, "rate", 0))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
