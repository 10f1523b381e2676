package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
)

func newJournal() *cobra.Command {
	var faults bool
	cmd := &cobra.Command{
		Use:   "journal FILE",
		Short: "Print a deployment's journal as a table: actions, rewards, faults",
		Long: `journal prints what deploy wrote with --journal: for every step the limits that
were asked for, the limits that the switches read back, the reward, and how long
that took; what went wrong, with its cause; and a summary.

A journal that is still written can be read at any moment.`,
		Example: `  planegym journal deploy.jsonl
  planegym journal deploy.jsonl --faults`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error { return printJournal(cmd, args[0], faults) },
	}
	cmd.Flags().BoolVar(&faults, "faults", false, "only entries with an error, and limits that differ from what was asked for")
	return cmd
}

func printJournal(cmd *cobra.Command, file string, faults bool) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	all, err := deploy.ReadJournal(f)
	if errors.Is(err, deploy.ErrCut) {
		fmt.Fprintf(cmd.ErrOrStderr(), "planegym: warning: %s: %v\n", file, err)
	} else if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("journal: %s holds no entry", file)
	}
	shown := all
	if faults {
		shown = slices.DeleteFunc(slices.Clone(all), func(e deploy.Entry) bool { return fault(e) == "" })
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), shown)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tBY\tEVENT\tSTEP\tASKED\tIN FORCE\tREWARD\tMS\tWHAT WENT WRONG")
	for _, e := range shown {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Format("2006-01-02 15:04:05.000"), e.By, e.Event,
			orDash(e.Step > 0, "%d", e.Step), limitsAsked(e), inForce(e), rewardOf(e), orDash(e.TookMS > 0, "%.1f", e.TookMS), fault(e))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return summary(cmd.OutOrStdout(), all)
}

func orDash(known bool, format string, x any) string {
	if !known {
		return "-"
	}
	return fmt.Sprintf(format, x)
}

func limitsAsked(e deploy.Entry) string {
	if len(e.Asked) == 0 {
		return "-"
	}
	return strings.Trim(fmt.Sprint(e.Asked), "[]")
}

func inForce(e deploy.Entry) string {
	if len(e.Got) == 0 {
		return "-"
	}
	var out []string
	for _, g := range e.Got {
		limit := "?"
		if g.Limit > 0 {
			limit = fmt.Sprint(g.Limit)
		}
		out = append(out, fmt.Sprintf("%s:%s", g.Switch, limit))
	}
	return strings.Join(out, " ")
}

func rewardOf(e deploy.Entry) string {
	if e.Reward == nil {
		return "-"
	}
	return fmt.Sprintf("%+.2f", *e.Reward)
}

// fault is what went wrong in e, "" where nothing did.
func fault(e deploy.Entry) string {
	var out []string
	if e.Error != "" {
		out = append(out, e.Error)
	}
	for i, g := range e.Got {
		switch {
		case g.Error != "":
			out = append(out, g.Switch+": "+g.Error)
		case len(e.Asked) > 0 && g.Limit > 0 && g.Limit != e.Asked[min(i, len(e.Asked)-1)]:
			out = append(out, fmt.Sprintf("%s: %d in force where %d was asked for", g.Switch, g.Limit, e.Asked[min(i, len(e.Asked)-1)]))
		}
	}
	return strings.Join(out, "; ")
}

// summary prints what a journal comes to.
func summary(w io.Writer, all []deploy.Entry) error {
	steps, faults, sum := 0, 0, 0.
	for _, e := range all {
		if e.Reward != nil {
			steps++
			sum += float64(*e.Reward)
		}
		if fault(e) != "" {
			faults++
		}
	}
	first, last := all[0].Time, all[len(all)-1].Time
	mean := ""
	if steps > 0 {
		mean = fmt.Sprintf(", mean reward %.3f", sum/float64(steps))
	}
	_, err := fmt.Fprintf(w, "\n%d entries in %v: %d steps%s, %d entries with a fault\n", len(all), last.Sub(first).Round(1e6), steps, mean, faults)
	return err
}
