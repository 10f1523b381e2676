package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

func newFit() *cobra.Command {
	var f fitter
	cmd := &cobra.Command{
		Use:   "fit -o MODEL.safetensors",
		Short: "Train a TimeGAN on recordings",
		Long: `fit trains a conditional TimeGAN on the train blocks of recordings: one model
that is told the queue limit in force. With --limit it sees that limit's
recording only, the published way.

The output is a checkpoint, written every so many updates, whole or not at all.
Ctrl-C keeps what is done, --resume goes on from there: the bytes in the end are
those of a run that was never interrupted. Equal data, settings and kernel set
give equal bytes.`,
		Example: `  planegym fit --data recordings -o model.safetensors
  planegym fit --data recordings --set joint=2000 --set seed=7 -o model.safetensors
  planegym fit --data recordings --limit 32 --preset tutorial --set latent=false -o model_32.safetensors
  planegym fit --data recordings --device cuda -o model.safetensors
  planegym fit --data recordings -o model.safetensors --resume`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	addData(cmd, &f.data)
	f.compute.flags(cmd)
	f.engineFlag(cmd)
	f.deviceFlag(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "the checkpoint to write")
	fl.StringVar(&f.preset, "preset", "", "settings to begin with: paper or tutorial; default: ours")
	fl.StringVar(&f.config, "config", "", "TOML file of settings")
	fl.StringArrayVar(&f.sets, "set", nil, "one setting, as KEY=VALUE; repeat for more")
	fl.IntVar(&f.limit, "limit", 0, "train on this limit's recording only, packets")
	fl.IntVar(&f.knots, "knots", timegan.DefaultKnots, "quantiles of a column's scaler; 2 is min-max")
	fl.IntVar(&f.every, "every", 1000, "updates between checkpoints")
	fl.BoolVar(&f.resume, "resume", false, "go on from the output, with its settings")
	fl.BoolVar(&f.force, "force", false, "begin anew where the output is there already")
	fl.BoolVar(&f.weights, "weights-only", false, "leave the optimiser's state out of the finished checkpoint")
	fl.StringVar(&f.credit, "credit", "", "whose recordings these are: kept in the checkpoint")
	return cmd
}

type fitter struct {
	compute
	data, out, preset, config, credit string
	sets                              []string
	limit, knots, every               int
	resume, force, weights            bool
}

func (f *fitter) run(cmd *cobra.Command) error {
	if f.out == "" {
		return usagef("fit: --output: where to?")
	}
	if f.resume && f.force {
		return usagef("fit: --resume, --force: one or the other")
	}
	if f.every < 1 {
		return usagef("fit: --every: %d is below 1", f.every)
	}
	open, err := f.trainer()
	if err != nil {
		return err
	}
	data, err := recordings("fit", f.data)
	if err != nil {
		return err
	}
	if f.limit != 0 {
		all := limitsOf(data)
		data = slices.DeleteFunc(data, func(r telemetry.Recording) bool { return r.Limit != f.limit })
		if len(data) == 0 {
			return usagef("fit: --limit: there is no recording of limit %d, only of %v", f.limit, all)
		}
	}
	c, o := timegan.Config{}, timegan.FitOptions{Path: f.out, Every: f.every}
	if _, err := os.Stat(f.out); f.resume {
		if o.Resume, err = timegan.ReadModel(f.out); err != nil {
			return err
		}
		c = o.Resume.Config
	} else if !f.force && !errors.Is(err, os.ErrNotExist) {
		return usagef("fit: %s is there already: --resume goes on from it, --force begins anew", f.out)
	}
	if f.preset != "" || !f.resume {
		if c, err = timegan.Preset(f.preset); err != nil {
			return usagef("fit: --preset: %w", err)
		}
	}
	if f.config != "" {
		if err := decodeFile(f.config, &c); err != nil {
			return err
		}
	}
	if err := set("fit", f.sets, &c); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return usagef("fit: %w", err)
	}
	t, err := timegan.NewTraining(data, telemetry.Train, c, f.knots)
	if err != nil {
		return err
	}
	bar := newProgress(cmd, int64(c.Embed+c.Super+c.Joint), "update", "fit")
	o.Report = func(p timegan.Progress) {
		bar.Describe(fmt.Sprintf("%s %s", p.Phase, describe(p.Phase, p.Losses)))
		_ = bar.Set(p.Done)
	}
	e, err := open()
	if err != nil {
		return err
	}
	defer e.Close()
	m, err := timegan.Fit(cmd.Context(), c, e, t, o)
	if err != nil {
		if m != nil && errors.Is(err, context.Canceled) {
			return fmt.Errorf("fit: stopped in the %s phase after update %d; %s keeps it, --resume goes on", m.Phase, m.Update, f.out)
		}
		return err
	}
	if m.Credit = f.credit; f.weights {
		m.State = nil
	}
	if f.weights || f.credit != "" {
		if err := m.WriteFile(f.out); err != nil {
			return err
		}
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	st, err := os.Stat(f.out)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"output": f.out, "bytes": st.Size(), "limits": limitsOf(data), "engine": m.Engine, "config": m.Config, "losses": m.Losses,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: limits %v, %d updates on %s, %d KiB\n%s\n", f.out, limitsOf(data),
		c.Embed+c.Super+c.Joint, m.Engine, (st.Size()+512)/1024, describe(timegan.Joint, m.Losses))
	return nil
}

// describe are the losses that a phase has.
func describe(p timegan.Phase, l timegan.Losses) string {
	switch p {
	case timegan.Embedding:
		return fmt.Sprintf("R %.4f", l.R)
	case timegan.Supervised:
		return fmt.Sprintf("S %.4f", l.S)
	}
	return fmt.Sprintf("R %.4f S %.4f U %.3f V %.4f D %.3f", l.R, l.S, l.U, l.V, l.D)
}
