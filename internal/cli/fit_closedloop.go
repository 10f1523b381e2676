package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan/closedloop"
)

// closedLoop fits a closed-loop simulator.
func (f *fitter) closedLoop(cmd *cobra.Command, data []telemetry.Recording) error {
	if f.preset != "" || f.limit != 0 {
		return usagef("fit: --preset, --limit: are of --mode timegan")
	}
	c, o := closedloop.Config{}, closedloop.FitOptions{Path: f.out, Every: f.every}
	if _, err := os.Stat(f.out); f.resume {
		if o.Resume, err = closedloop.ReadFile(f.out); err != nil {
			return err
		}
		c = o.Resume.Config
	} else if !f.force && !errors.Is(err, os.ErrNotExist) {
		return usagef("fit: %s is there already: --resume goes on from it, --force begins anew", f.out)
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
	engine, k, err := f.ClosedLoop(cmd.Context())
	if err != nil {
		return asUsage(err)
	}
	o.Engine = engine
	be := compute.NewBackend(k, f.Threads)
	defer be.Close()
	bar, events := newProgress(cmd, -1, "update", "fit"), newEvents(cmd)
	o.Report = func(p closedloop.Progress) {
		events.emit("closed_loop", p.Update >= p.Of, map[string]any{
			"phase": "closed_loop", "done": p.Update, "total": p.Of, "nats_per_second": float64(p.Loss),
		})
		bar.ChangeMax(p.Of)
		bar.Describe(fmt.Sprintf("%.3f nats a second", p.Loss))
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
	if err := bar.Finish(); err != nil {
		return err
	}
	bytes, err := f.keep(cmd, planegym.Model{ClosedLoop: m}, &m.Fidelity, data, false)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"output": f.out, "bytes": bytes, "limits": m.Limits(), "switches": m.Switches(), "regimes": m.Regimes(), "engine": m.Engine,
			"config": m.Config, "nats_per_second": m.Loss, "fidelity": m.Fidelity,
		})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: limits %v, a load of %d regimes, %d updates on %s, %d KiB\n%.3f nats a second\n",
		f.out, m.Limits(), m.Regimes(), m.Updates, m.Engine, (bytes+512)/1024, m.Loss)
	return err
}
