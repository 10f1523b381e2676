package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/structured"
)

// structured fits rules around a small TimeGAN. It takes a minute, and writes no
// checkpoint on its way.
func (f *fitter) structured(cmd *cobra.Command, data []telemetry.Recording, open func() (timegan.Engine, error)) error {
	if f.resume || f.preset != "" || f.limit != 0 {
		return usagef("fit: --resume, --preset, --limit: are not of --mode structured")
	}
	if err := f.refuseLoss("--force starts over"); err != nil {
		return err
	}
	c := structured.Defaults()
	if err := f.settings(&c); err != nil {
		return err
	}
	k, err := f.computing.check()
	if err != nil {
		return err
	}
	e, err := open()
	if err != nil {
		return err
	}
	defer e.Close()
	be := compute.NewBackend(k, 1)
	defer be.Close()
	bar, events := newProgress(cmd, -1, "update", "fit"), newEvents(cmd)
	m, err := structured.Fit(cmd.Context(), c, e, be, data, func(p structured.Progress) {
		if p.Ranks == nil {
			events.emit(p.What, true, map[string]any{"phase": p.What})
		} else {
			events.emit("ranks", p.Ranks.Done >= p.Ranks.Total, p.Ranks.Fields())
		}
		if bar.Describe(p.What); p.Ranks != nil {
			bar.ChangeMax(p.Ranks.Total)
			bar.Describe("ranks: " + p.Ranks.String())
			_ = bar.Set(p.Ranks.Done)
		}
	})
	if err != nil {
		return err
	}
	m.Credit = f.credit
	return f.done(cmd, bar, data, fitted{
		model: planegym.Model{Structured: m}, fidelity: &m.Fidelity, limits: m.Limits,
		what:   fmt.Sprintf("%d downloads, on %s", m.Downloads, m.Engine),
		losses: fmt.Sprintf("log loss of a download %.3f, of a level %.3f; ranks: %s", m.PaceLoss, m.LevelLoss, m.Ranks.Losses.Describe(timegan.Joint)),
		json: map[string]any{
			"engine": m.Engine, "config": m.Config,
			"downloads": m.Downloads, "pace_loss": m.PaceLoss, "level_loss": m.LevelLoss, "losses": m.Ranks.Losses,
		},
	})
}
