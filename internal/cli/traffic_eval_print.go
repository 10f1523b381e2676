package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	base "github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
)

func printTrafficEval(out io.Writer, r *eval.Result) error {
	fmt.Fprintf(out, "%d sessions to fit to, %d held out, %d labels; forests of %d trees see %d steps; %d seeds\n", r.Train, r.Held, len(r.Labels), r.Trees, r.Steps, r.Seeds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "FIGURE\tBEST")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "\t%s", strings.ToUpper(row.Name))
	}
	fmt.Fprintln(w)
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s\t%v", f.Name, f.Best)
		for _, row := range r.Rows {
			fmt.Fprintf(w, "\t%s", row.Cell(f.Name))
		}
		fmt.Fprintln(w)
	}
	for _, row := range r.Rows {
		if len(row.Mixing) == 0 {
			continue
		}
		fmt.Fprintf(w, "mixing, %s", row.Name)
		for _, p := range row.Mixing {
			fmt.Fprintf(w, "\t%.0f %%: %.3f", 100*p.Generated, float64(p.F1))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range r.Figures {
		fmt.Fprintf(out, "%-15s %s\n", f.Name, f.About)
	}
	return nil
}

// printInLoop prints what policies are worth, policies down, loads across.
func printInLoop(out io.Writer, r *inloop.Result) error {
	fmt.Fprintf(out, "%s: reward of a step under each load, %d episodes of %d steps, paired by seed; held: real sessions that nothing was fitted to; real: the others\n", r.Scenario, r.Episodes, r.Steps)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(head string, of func(i int, l inloop.Load) string) {
		fmt.Fprint(w, head)
		for i, l := range r.Rows {
			fmt.Fprintf(w, "\t%s", of(i, l))
		}
		fmt.Fprintln(w)
	}
	line("LOAD", func(_ int, l inloop.Load) string { return strings.ToUpper(l.Name) })
	line("packets a second", func(_ int, l inloop.Load) string { return fmt.Sprintf("%.0f", l.PacketsPerSecond) })
	for p, name := range r.Policies {
		line(name, func(i int, _ inloop.Load) string {
			if i == 0 {
				return r.Values[p].Reward.String()
			}
			return r.StandIns[i-1].Values[p].Reward.String()
		})
	}
	fmt.Fprintln(w)
	for _, f := range []struct {
		head string
		of   func(s *base.StandIn) base.Bounds
	}{
		{"mean |difference| a step", func(s *base.StandIn) base.Bounds { return s.Off }},
		{"  less that of real", func(s *base.StandIn) base.Bounds { return s.More }},
		{fmt.Sprintf("Spearman of %d policies apart", len(r.Apart)), func(s *base.StandIn) base.Bounds { return s.Spearman }},
		{fmt.Sprintf("pairs apart (%d) in order", r.Pairs), func(s *base.StandIn) base.Bounds { return s.Ordered }},
		{"regret@1", func(s *base.StandIn) base.Bounds { return s.Regret }},
	} {
		line(f.head, func(i int, _ inloop.Load) string {
			if i == 0 {
				return ""
			}
			return f.of(&r.StandIns[i-1]).String()
		})
	}
	return w.Flush()
}
