package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/structured"
)

func newFit() *cobra.Command {
	var f fitter
	cmd := &cobra.Command{
		Use:   "fit -o MODEL.safetensors",
		Short: "Fit a simulator to recordings: a closed-loop generator, a TimeGAN, or rules around one",
		Long: `fit trains a simulator of what switches and a player measure under the queue
limits in force. There are three kinds:

  closed_loop  (default) a generator that reads its own last second and the
               limits, and draws the next second; the load is a process of its
               own that no limit moves. Any number of switches, one limit for
               all or one for each. See timegan/closedloop
  timegan      a conditional TimeGAN, trained on the train blocks. With --limit
               it sees that limit's recording only, the published way
  structured   rules of the queues and the player around a load that no limit
               moves, a TimeGAN for what is left; its settings are those of
               timegan/structured (regimes, ranks.joint, ...). It needs sessions

Recordings lie in a folder, one limit each; or they are sessions as testbed
record writes them, in which the limit changes (--schedule switchback): what a
limit does can be learnt from those alone. --data bundled are ten hours of such
sessions of scenario contended, --data bundled-mixed ten of schedule mixed, of
which a closed loop learns more.

The output is a checkpoint, written every so many updates, whole or not at all.
Ctrl-C keeps what is done, --resume goes on from there: the bytes in the end are
those of a run that was never interrupted. Equal data, settings and kernel set
give equal bytes.`,
		Example: `  planegym fit --data recordings -o model.safetensors
  planegym fit --data bundled-mixed -o model.safetensors
  planegym fit --data bundled-mixed --set seed=7 --set updates=600 -o model.safetensors
  planegym fit --data recordings --mode timegan --set joint=2000 -o gan.safetensors
  planegym fit --csv stock.csv --window 24 -o stock.safetensors
  planegym fit --csv house.csv --time date --columns load,temperature --condition weekday -o house.safetensors
  planegym fit --data recordings --limit 32 --preset tutorial --set latent=false -o model_32.safetensors
  planegym fit --data recordings --mode timegan --device cuda -o model.safetensors
  planegym fit --data recordings -o model.safetensors --resume
  planegym fit --data bundled --mode structured -o structured.safetensors
  planegym testbed record --scenario contended --schedule switchback --block-s 120 --sessions 40 --seed 1001 -o sessions
  planegym fit --data sessions --mode timegan --set clock=-1 -o pure.safetensors`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	addData(cmd, &f.data)
	f.computing.flags(cmd)
	f.engineFlag(cmd, ", cuda (on a GPU)")
	f.deviceFlag(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "the checkpoint to write")
	fl.StringVar(&f.preset, "preset", "", "settings to begin with: paper or tutorial; default: ours")
	fl.StringVar(&f.config, "config", "", "TOML file of settings")
	fl.StringArrayVar(&f.sets, "set", nil, "one setting, as KEY=VALUE; repeat for more")
	fl.StringVar(&f.mode, "mode", "", "what is fitted: closed_loop, timegan or structured (default closed_loop; timegan with --preset, --limit or a GPU)")
	fl.IntVar(&f.limit, "limit", 0, "train on this limit's recording only, packets")
	fl.Uint64Var(&f.shuffle, "shuffle-limits", 0, "a null model: deal the limits out anew among the stretches they were in force in, by this seed; 0: as they were")
	fl.IntVar(&f.knots, "knots", timegan.DefaultKnots, "quantiles of a column's scaler; 2 is min-max")
	fl.IntVar(&f.every, "every", 1000, "updates between checkpoints")
	fl.BoolVar(&f.resume, "resume", false, "go on from the output, with its settings")
	fl.BoolVar(&f.force, "force", false, "begin anew where the output is there already")
	fl.BoolVar(&f.weights, "weights-only", false, "leave the optimiser's state out of the finished checkpoint")
	addImpossible(cmd, &f.impossible)
	f.any.flags(cmd)
	fl.IntVar(&f.window, "window", 0, "of --csv: rows of a training window; default: 24")
	addProgress(cmd)
	fl.StringVar(&f.credit, "credit", "", "whose recordings these are: kept in the checkpoint")
	return cmd
}

type fitter struct {
	computing
	data, out, mode, preset, config, credit string
	sets                                    []string
	limit, knots, every                     int
	impossible                              float64
	any                                     anyCSV
	window                                  int
	shuffle                                 uint64
	resume, force, weights                  bool
}

func (f *fitter) run(cmd *cobra.Command) error {
	if err := checkProgress(cmd); err != nil {
		return err
	}
	if f.out == "" {
		return usagef("fit: --output: where to?")
	}
	if err := checkOutput("fit: --output", f.out, ".safetensors"); err != nil {
		return err
	}
	release, err := lockOutput("fit: --output", f.out)
	if err != nil {
		return err
	}
	defer release()
	if f.resume && f.force {
		return usagef("fit: --resume, --force: one or the other")
	}
	if f.every < 1 {
		return usagef("fit: --every: %d is below 1", f.every)
	}
	if f.any.file != "" {
		if f.mode != "" && f.mode != "timegan" {
			return usagef("fit: --csv: --mode %s is for recordings of switches: timegan models any columns", f.mode)
		}
		f.mode = "timegan"
		if f.window == 0 {
			f.window = 24
		}
		f.sets = append([]string{fmt.Sprint("window=", f.window)}, f.sets...)
	} else if f.window != 0 || f.any.time != "" || f.any.condition != "" || len(f.any.columns) > 0 {
		return usagef("fit: --window, --time, --condition, --columns: are of --csv")
	}
	if f.mode == "" {
		f.mode = "closed_loop"
		if f.preset != "" || f.limit != 0 || f.Engine == "cuda" || strings.HasPrefix(f.Device, "cuda") {
			f.mode = "timegan" // what these mean something to
		}
	}
	if !slices.Contains([]string{"closed_loop", "timegan", "structured"}, f.mode) {
		return usagef("fit: --mode: %q is none of closed_loop, timegan, structured", f.mode)
	}
	open, err := f.trainer()
	if err != nil {
		return err
	}
	data, err := f.recordings(cmd)
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
	if f.shuffle != 0 {
		for _, r := range data {
			if r.Switches() > 1 {
				return usagef("fit: --shuffle-limits: the recordings have a limit for each switch: one for all can be dealt out anew")
			}
		}
		data = shuffled(data, f.shuffle)
	}
	switch f.mode {
	case "closed_loop":
		return f.closedLoop(cmd, data)
	case "structured":
		return f.structured(cmd, data, open)
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
	events := newEvents(cmd)
	o.Report = func(p timegan.Progress) {
		bar.Describe(fmt.Sprintf("%s %s", p.Phase, describe(p.Phase, p.Losses)))
		_ = bar.Set(p.Done)
		events.emit(string(p.Phase), p.Done >= p.Total, fitted(p))
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
	if err := bar.Finish(); err != nil {
		return err
	}
	bytes, err := f.keep(cmd, planegym.Model{TimeGAN: m}, &m.Fidelity, data, true)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"output": f.out, "bytes": bytes, "limits": limitsOf(data), "engine": m.Engine, "config": m.Config, "losses": m.Losses, "fidelity": m.Fidelity,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: limits %v, %d updates on %s, %d KiB\n%s\n", f.out, limitsOf(data),
		c.Embed+c.Super+c.Joint, m.Engine, (bytes+512)/1024, describe(timegan.Joint, m.Losses))
	return nil
}

// recordings reads what is fitted to, and says what of it was passed over.
func (f *fitter) recordings(cmd *cobra.Command) ([]telemetry.Recording, error) {
	if f.any.file != "" && cmd.Flags().Changed("data") {
		return nil, usagef("fit: --csv, --data: one or the other")
	} else if f.any.file != "" {
		return f.any.read(cmd)
	}
	data, err := readRecordings("fit", f.data)
	if err != nil {
		return nil, err
	}
	for _, r := range data {
		if err := tellReading(cmd, r.Data, f.impossible); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// keep writes a fitted model, how far its rollouts are from the recordings in it
// where that can be measured, and gives the file's size.
func (f *fitter) keep(cmd *cobra.Command, m planegym.Model, fidelity *[]timegan.Fidelity, data []telemetry.Recording, test bool) (int64, error) {
	var err error
	if *fidelity, err = f.fidelity(cmd.Context(), m, data, test); err != nil {
		cmd.PrintErrf("fidelity was not measured: %v\n", err)
	}
	if err := m.WriteFile(f.out); err != nil {
		return 0, err
	}
	for _, x := range *fidelity {
		if !asJSON(cmd) {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", x.Of, x.Effects())
		}
	}
	st, err := os.Stat(f.out)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// shuffled is recordings whose limits were dealt out anew among the stretches
// of time in which one was in force: what a limit does is lost, all else stays.
func shuffled(all []telemetry.Recording, seed uint64) []telemetry.Recording {
	type stretch struct{ of, from, to, limit int }
	var cut []stretch
	for i, r := range all {
		for t := range r.Data.Len() {
			if n := len(cut); t == 0 || r.LimitAt(t) != r.LimitAt(t-1) {
				cut = append(cut, stretch{i, t, t + 1, r.LimitAt(t)})
			} else {
				cut[n-1].to++
			}
		}
	}
	for i := len(cut) - 1; i > 0; i-- {
		j := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Bootstrap}.Intn(0, i+1)
		cut[i].limit, cut[j].limit = cut[j].limit, cut[i].limit
	}
	out := make([]telemetry.Recording, len(all))
	for i, r := range all {
		out[i] = telemetry.Recording{Data: r.Data, Limits: make([]int, r.Data.Len())}
	}
	for _, c := range cut {
		for t := c.from; t < c.to; t++ {
			out[c.of].Limits[t] = c.limit
		}
	}
	return out
}

// structured fits a structured simulator. It takes a minute, and keeps nothing
// on its way.
func (f *fitter) structured(cmd *cobra.Command, data []telemetry.Recording, open func() (timegan.Engine, error)) error {
	if f.resume || f.preset != "" || f.limit != 0 {
		return usagef("fit: --resume, --preset, --limit: are not of --mode structured")
	}
	if _, err := os.Stat(f.out); !f.force && !errors.Is(err, os.ErrNotExist) {
		return usagef("fit: %s is there already: --force begins anew", f.out)
	}
	c := structured.Defaults()
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
	k, err := f.check()
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
			events.emit("ranks", p.Ranks.Done >= p.Ranks.Total, fitted(*p.Ranks))
		}
		if bar.Describe(p.What); p.Ranks != nil {
			bar.ChangeMax(p.Ranks.Total)
			bar.Describe(fmt.Sprintf("ranks: %s %s", p.Ranks.Phase, describe(p.Ranks.Phase, p.Ranks.Losses)))
			_ = bar.Set(p.Ranks.Done)
		}
	})
	if err != nil {
		return err
	}
	m.Credit = f.credit
	if err := bar.Finish(); err != nil {
		return err
	}
	bytes, err := f.keep(cmd, planegym.Model{Structured: m}, &m.Fidelity, data, false)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"fidelity": m.Fidelity,
			"output":   f.out, "bytes": bytes, "limits": m.Limits, "engine": m.Engine, "config": m.Config,
			"downloads": m.Downloads, "pace_loss": m.PaceLoss, "level_loss": m.LevelLoss, "losses": m.Ranks.Losses,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: limits %v, %d downloads, on %s, %d KiB\nlog loss of a download %.3f, of a level %.3f; ranks: %s\n", f.out, m.Limits, m.Downloads, m.Engine,
		(bytes+512)/1024, m.PaceLoss, m.LevelLoss, describe(timegan.Joint, m.Ranks.Losses))
	return nil
}

// fitted is how far a fit is, for --progress json.
func fitted(p timegan.Progress) map[string]any {
	l := map[string]float32{"R": p.Losses.R}
	switch p.Phase {
	case timegan.Supervised:
		l = map[string]float32{"S": p.Losses.S}
	case timegan.Joint:
		l = map[string]float32{"R": p.Losses.R, "S": p.Losses.S, "U": p.Losses.U, "V": p.Losses.V, "D": p.Losses.D}
	}
	return map[string]any{"phase": p.Phase, "done": p.Done, "total": p.Total, "losses": l}
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
