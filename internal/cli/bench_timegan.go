package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval/protocol"
	"github.com/planegym/planegym/telemetry"
)

func newBenchTimeGAN() *cobra.Command {
	var a anyCSV
	var c protocol.Config
	var kernels string
	cmd := &cobra.Command{
		Use:   "timegan --csv FILE",
		Short: "The field's public benchmark of time-series generators, on any CSV",
		Long: `timegan trains generators on all windows of a CSV and scores as many generated
windows as there are, less being better:

  discriminative  |accuracy - 0.5| of a classifier trained to tell them from real ones
  predictive      error of the last column's next value, on [0, 1], by a predictor
                  trained on generated windows and tested on real ones
  correlational   a tenth of the sum, over pairs of columns, of how far their
                  correlations are apart
  Fréchet         distance of random convolutional features (eval/protocol); papers'
                  Context-FID is of other features and is not comparable

The forms are the paper's TimeGAN (preset paper: three phases of --updates each),
its closed-loop form for windows that stand alone (--likelihood updates); real windows
drawn with replacement, which no score takes for the copy that it is; windows of rows
in random order; and real windows against real windows, the floor. The deviation is
over --trainings, each with its own seed and scored once. Published figures are of
windows of 24 rows of the public set that has as many columns (Stocks 6, Energy 28,
ETTh 7, Sines 5), else of Stocks: on other data they are no comparison.

A gap takes the value before it; columns that never change are left out.`,
		Example: `  planegym bench timegan --csv stock.csv
  planegym bench timegan --csv energy.csv --columns T1,RH_1,T2 --trainings 2 --updates 500 --forms closed-loop,real`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.file == "" {
				return usagef("timegan: --csv: which file?")
			}
			data, err := a.read(cmd)
			if err != nil {
				return err
			}
			names, rows, err := numbers(data[0].Data)
			if err != nil {
				return fmt.Errorf("%s: %w", a.file, err)
			}
			if c.Kernels, err = compute.ParseKernels(kernels); err != nil {
				return asUsage(err)
			}
			bar, last := newProgress(cmd, -1, "update", "timegan"), ""
			scores, err := protocol.Run(cmd.Context(), c, rows, func(p protocol.Progress) {
				if now := fmt.Sprintf("%s %d of %d", p.Form, p.Training, p.Of); now != last {
					last = now
					bar.ChangeMax(p.Total)
					bar.Describe(now)
				}
				_ = bar.Set(p.Done)
			})
			if err != nil {
				return err
			}
			if err := bar.Finish(); err != nil {
				return err
			}
			set, published := protocol.Published(len(names))
			if asJSON(cmd) {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"file": a.file, "columns": names, "rows": len(rows), "window": c.Window, "trainings": c.Trainings,
					"kernels": c.Kernels.String(), "scores": scores, "published_set": set, "published": published})
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "%s: %d rows of %d columns, windows of %d, %d trainings\n", a.file, len(rows), len(names), c.Window, c.Trainings)
			fmt.Fprintln(w, "\tdiscriminative\tpredictive\tcorrelational\tFréchet")
			show := func(s protocol.Stat) string { return fmt.Sprintf("%.3f ± %.3f", s.Mean, s.SD) }
			for _, r := range scores {
				name := r.Form
				if r.Updates > 0 {
					name += fmt.Sprintf(", %d updates, %.0f s", r.Updates, r.Seconds)
				}
				fmt.Fprintf(w, "%s\t%s\t%.4f ± %.4f\t%s\t%s\n", name, show(r.Discriminative), r.Predictive.Mean, r.Predictive.SD, show(r.Correlational), show(r.Frechet))
			}
			fmt.Fprintf(w, "published, on %s:\n", set)
			for _, p := range published {
				fmt.Fprintf(w, "%s\t%s\t\n", p.Name, strings.Join(p.Cells(), "\t"))
			}
			return w.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.file, "csv", "", "any CSV, a row a time step: its columns of numbers are generated")
	f.StringVar(&a.Time, "time", "", "the column of time, which is not generated; default: a column of dates, or one that counts the rows")
	f.StringSliceVar(&a.Columns, "columns", nil, "the columns to generate, separated by commas; default: all that hold numbers")
	f.IntVar(&c.Window, "window", 24, "rows of a window")
	f.IntVar(&c.Trainings, "trainings", 5, "trainings of each form")
	f.IntVar(&c.Updates, "updates", 10000, "updates of each of the paper's three phases")
	f.IntVar(&c.Likely, "likelihood", 2000, "updates of the closed loop")
	f.StringSliceVar(&c.Forms, "forms", nil, "which, of "+strings.Join(protocol.Forms, ", ")+"; default: all")
	f.Uint64Var(&c.Seed, "seed", 0, "of the first training")
	f.StringVar(&kernels, "kernels", "auto", "kernel set: auto, go, avx2 or avx512; equal bytes are promised per set")
	addProgress(cmd)
	return cmd
}

// numbers are the rows of a table of numbers: gaps filled by the value before,
// at the beginning by the first; columns that never change left out.
func numbers(d *telemetry.Dataset) (names []string, rows [][]float64, err error) {
	rows = make([][]float64, d.Len())
	for j, f := range d.Fields() {
		x, first, changes := make([]float64, d.Len()), -1, false
		for t := range x {
			v, ok := d.At(t, j)
			switch {
			case ok:
				if x[t] = float64(v); first < 0 {
					first = t
				}
				changes = changes || x[t] != x[first]
			case first >= 0:
				x[t] = x[t-1]
			}
		}
		if !changes {
			continue
		}
		for t := range x {
			rows[t] = append(rows[t], x[max(t, first)])
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("no column of numbers changes")
	}
	return names, rows, nil
}
