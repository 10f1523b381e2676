package standings

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval"
)

// WriteText writes the rows, one at least, of a scenario as a table, and what a reader
// of it may overlook.
func WriteText(out io.Writer, scenario string, spec env.Spec, rows []Row) error {
	fmt.Fprintf(out, "%s: %d episodes each, mean ± 95 %% confidence\n", scenario, len(rows[0].Returns))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "POLICY\tRETURN\tOVER THE FIRST\tSTEPS\t"
	if rows[0].QoE != nil {
		head += "BUFFER (s)\tLEVEL\tSTALLED (s)\t"
	}
	fmt.Fprintln(w, head+"ACTIONS")
	for _, r := range rows {
		over := "-"
		if r.Over != nil {
			over = r.Over.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t", r.Policy, r.Return, over, r.Length.Mean)
		if q := r.QoE; q != nil {
			fmt.Fprintf(w, "%s\t%s\t%s\t", q.LBO, q.Level, q.Stalls)
		}
		fmt.Fprintln(w, shares(spec, r.Shares))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range notes(rows) {
		fmt.Fprintln(out, n)
	}
	return nil
}

// notes says what a reader of the table may overlook: a rule that equals a
// constant, and policies that all earn the same.
func notes(results []Row) []string {
	var out, names []string
	var all [][]float64
	for _, r := range results {
		names, all = append(names, r.Policy), append(all, r.Returns)
	}
	for _, twin := range eval.Twins(names, all) {
		out = append(out, fmt.Sprintf("%s earns what %s earns, episode by episode: here it never chooses anything else.", twin[0], twin[1]))
	}
	if eval.SameWithinNoise(all) {
		out = append(out, "All policies earn the same within noise: no action matters here, and an agent has nothing to learn.")
	}
	return out
}

// shares is how often each action was taken, switch by switch.
func shares(spec env.Spec, all [][]float64) string {
	var switches []string
	for _, s := range all {
		var actions []string
		for a, share := range s {
			name := fmt.Sprint(a)
			if spec.Limits != nil {
				name = fmt.Sprint(spec.Limits[a])
			}
			actions = append(actions, fmt.Sprintf("%s: %.0f %%", name, 100*share))
		}
		switches = append(switches, strings.Join(actions, ", "))
	}
	return strings.Join(switches, " | ")
}
