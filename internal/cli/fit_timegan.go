package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// timegan fits a TimeGAN to the train blocks.
func (f *fitter) timegan(cmd *cobra.Command, data []telemetry.Recording, open func() (timegan.Engine, error)) (err error) {
	c, o := timegan.Config{}, timegan.FitOptions{Path: f.out, Every: f.every}
	if err := f.refuseLoss("--resume goes on from it, --force starts over"); err != nil {
		return err
	}
	if f.resume {
		if o.Resume, err = timegan.ReadModel(f.out); err != nil {
			return err
		}
		c = o.Resume.Config
	}
	if f.preset != "" || !f.resume {
		if c, err = timegan.Preset(f.preset); err != nil {
			return usagef("fit: --preset: %w", err)
		}
	}
	if err := f.settings(&c); err != nil {
		return err
	}
	t, err := timegan.NewTraining(data, telemetry.Train, c, f.knots)
	if err != nil {
		return err
	}
	bar, events := newProgress(cmd, int64(c.Embed+c.Super+c.Joint), "update", "fit"), newEvents(cmd)
	o.Report = func(p timegan.Progress) {
		bar.Describe(p.String())
		_ = bar.Set(p.Done)
		events.emit(p.Phase.String(), p.Done >= p.Total, p.Fields())
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
	return f.done(cmd, bar, data, fitted{
		model: planegym.Model{TimeGAN: m}, fidelity: &m.Fidelity, heldOut: telemetry.HoldsOut(data), limits: telemetry.LimitsOf(data),
		what:   fmt.Sprintf("%d updates on %s", c.Embed+c.Super+c.Joint, m.Engine),
		losses: m.Losses.Describe(timegan.Joint),
		json:   map[string]any{"engine": m.Engine, "config": m.Config, "losses": m.Losses},
	})
}
