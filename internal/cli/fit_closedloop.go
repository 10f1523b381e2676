package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan/closedloop"
)

// closedLoop fits a closed-loop simulator.
func (f *fitter) closedLoop(cmd *cobra.Command, data []telemetry.Recording) (err error) {
	if f.preset != "" || f.limit != 0 {
		return usagef("fit: --preset, --limit: are of --mode timegan")
	}
	c, o := closedloop.Config{}, closedloop.FitOptions{Path: f.out, Every: f.every}
	if err := f.refuseLoss("--resume goes on from it, --force starts over"); err != nil {
		return err
	}
	if f.resume {
		if o.Resume, err = closedloop.ReadFile(f.out); err != nil {
			return err
		}
		c = o.Resume.Config
	}
	if f.from != "" {
		if o.From, err = closedloop.ReadFile(f.from); err != nil {
			return fmt.Errorf("fit: --from: %w", err)
		}
	}
	if err := f.settings(&c); err != nil {
		return err
	}
	if f.ensemble > 0 {
		c.Ensemble = f.ensemble
	}
	engine, k, err := f.ClosedLoop(cmd.Context())
	if err != nil {
		return asUsage(err)
	}
	o.Engine = engine
	be := compute.NewBackend(k, f.Threads)
	defer be.Close()
	bar, events := newProgress(cmd, -1, "update", "fit"), newEvents(cmd)
	o.Report = func(p closedloop.Progress) {
		event := map[string]any{"phase": "closed_loop", "done": p.Update, "total": p.Of, "nats_per_second": float64(p.Loss)}
		text := fmt.Sprintf("%.3f nats a second", p.Loss)
		if p.Right > 0 {
			event["discriminator_right"] = p.Right
			text = fmt.Sprintf("discriminator right in %.0f %%", 100*p.Right)
		}
		events.emit("closed_loop", p.Update >= p.Of, event)
		bar.ChangeMax(p.Of)
		bar.Describe(text)
		_ = bar.Set(p.Update)
	}
	m, err := closedloop.Fit(cmd.Context(), c, be, data, o)
	if err != nil {
		if m != nil && errors.Is(err, context.Canceled) {
			return fmt.Errorf("fit: stopped after update %d; %s keeps it, --resume goes on", m.Updates, f.out)
		}
		return err
	}
	m.Credit = f.credit
	for _, w := range m.Warnings {
		cmd.PrintErrln("fit: warning:", w)
	}
	losses := fmt.Sprintf("%.3f nats a second", m.Loss)
	if m.Adversary != nil {
		losses += fmt.Sprintf("\nadversary: %v", m.Adversary)
	}
	updates := fmt.Sprintf("%d updates", m.Updates)
	if n := m.Members(); n > 1 {
		updates = fmt.Sprintf("%d networks of %s", n, updates)
	}
	return f.done(cmd, bar, data, fitted{
		model: planegym.Model{ClosedLoop: m}, fidelity: &m.Fidelity, heldOut: m.Config.HeldOut, limits: m.Limits(),
		what:   fmt.Sprintf("a load of %d regimes, %s on %s", m.Regimes(), updates, m.Engine),
		losses: losses,
		json: map[string]any{
			"switches": m.Switches(), "regimes": m.Regimes(), "engine": m.Engine, "config": m.Config, "nats_per_second": m.Loss,
			"warnings": append([]string{}, m.Warnings...), "adversary": m.Adversary,
		},
	})
}
