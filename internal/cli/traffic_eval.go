package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/models"
)

func newTrafficEval() *cobra.Command {
	var e trafficEval
	cmd := &cobra.Command{
		Use:   "eval --real FILE [--held FILE] [--synth NAME=FILE]...",
		Short: "Say how far generated sessions are from real ones",
		Long: `eval compares sessions with held-out real ones. A --synth is a Parquet file of
sessions, or a model, which is sampled --seeds times and whose likelihood counts.
Without --held, every second session of --real is held out; give models that were
fitted to the others then, or likelihood and copies say little.

Beside every figure stand the row "real", the training sessions in a generator's
place, and the floors bootstrap, markov and witten-bell-3, fitted to the same
sessions. Intervals are 95 %, over seeds; of nll over held-out sessions. Likelihood
first: TSTR and C2ST reward copies, so read them where copy is near real's.`,
		Example: `  planegym traffic eval --real train.parquet --held test.parquet --synth mine=model.safetensors
  planegym traffic eval --real sessions.parquet --synth a=a.parquet --synth b=b.parquet --json > eval.json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&e.real, "real", "", "real sessions to fit to (required)")
	f.StringVar(&e.held, "held", "", "real sessions to compare with; default: every second one of --real")
	f.StringArrayVar(&e.synth, "synth", nil, "generated sessions or a model, as NAME=FILE; repeat for more")
	f.IntVar(&e.options.Seeds, "seeds", 3, "samples of a model, forests of a set")
	f.Uint64Var(&e.options.Seed, "seed", 0, "the first")
	f.IntVar(&e.options.N, "n", 0, "sessions sampled of a model; default: as many as in training")
	f.IntVar(&e.options.Steps, "steps", 10, "steps of a session that forests see")
	f.IntVar(&e.options.Trees, "trees", 200, "of a forest")
	f.BoolVar(&e.options.NoForest, "no-forest", false, "leave out what needs forests: seconds instead of minutes")
	f.BoolVar(&e.options.Mixing, "mixing", false, "also the curve of mixtures of real and generated sessions")
	return cmd
}

type trafficEval struct {
	real, held string
	synth      []string
	options    eval.Options
}

func (e *trafficEval) run(cmd *cobra.Command) error {
	switch {
	case e.real == "":
		return usagef("traffic eval: --real: which sessions are the real ones?")
	case e.options.Seeds < 1 || e.options.Steps < 1 || e.options.Trees < 1 || e.options.N < 0:
		return usagef("traffic eval: --seeds, --steps and --trees are at least 1")
	}
	train, err := readSessions("--real", e.real)
	if err != nil {
		return err
	}
	var held *traffic.Set
	if e.held != "" {
		if held, err = readSessions("--held", e.held); err != nil {
			return err
		}
	}
	var candidates []eval.Candidate
	for _, s := range e.synth {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return usagef("traffic eval: --synth: %q is not NAME=FILE", s)
		}
		c := eval.Candidate{Name: name}
		if filepath.Ext(path) == ".safetensors" {
			c.Model, err = models.Open(path)
		} else {
			c.Set, err = readSessions("--synth", path)
		}
		if err != nil {
			return err
		}
		candidates = append(candidates, c)
	}
	bar := newProgress(cmd, int64(e.options.Work(len(candidates))), "sets", "eval")
	e.options.Progress = func() { _ = bar.Add(1) }
	r, err := eval.Compare(cmd.Context(), train, held, candidates, e.options)
	if err != nil {
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), r)
	}
	return printTrafficEval(cmd.OutOrStdout(), r)
}

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
			fmt.Fprintf(w, "\t%v", row.Figures[f.Name])
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
