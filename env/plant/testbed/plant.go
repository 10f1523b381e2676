package testbed

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Testbed is the emulator as a plant of an environment: each row is a run of
// its own. What a row measures depends on its seed and the limits it was
// given alone, whatever other rows there are and however many threads run.
type Testbed struct {
	plan *plan
	rows []*sim // by row; nil before its first reset
	logs []*Log // by row; nil: no log is written
}

// New makes the plant of a configuration. An error names the TOML key.
func New(cfg Config) (*Testbed, error) {
	p, err := cfg.compile()
	if err != nil {
		return nil, err
	}
	for i, l := range p.cfg.Loads {
		if l.Kind == "sessions" && p.libraries[i] == nil {
			return nil, fault(fmt.Sprintf("load[%d].sessions", i), "what %q names was not read: scenarios.Load does", l.Model+l.File)
		}
	}
	return &Testbed{plan: p}, nil
}

// Switches counts the switches whose limit an action sets.
func (t *Testbed) Switches() int { return t.plan.switches }

// Rates are the packets/s that the switches serve, full-sized ones where bits
// bound them; a switch of several ports has its slowest's.
func (t *Testbed) Rates() []float64 {
	rates := make([]float64, t.plan.switches)
	for _, q := range t.plan.cfg.Ports {
		r := q.rate()
		if n := q.Switch - 1; n >= 0 && (rates[n] == 0 || r < rates[n]) {
			rates[n] = r
		}
	}
	return rates
}

// Columns are the recordings' columns, by second: what the probes saw at each
// switch, then the player: buffer, frame rate and bitrate of the quality asked
// for last, what its counter of decoded kilobytes rose by, seconds stalled.
func (t *Testbed) Columns() []telemetry.Field { return t.plan.columns() }

// Ladder is what the measured player can show.
func (t *Testbed) Ladder() telemetry.Ladder {
	var rungs []telemetry.Quality
	for _, l := range t.plan.cfg.Video.Ladder {
		rungs = append(rungs, telemetry.Quality{FPS: float32(l.FPS), Kbps: float32(l.Kbps), Width: float32(l.Width), Height: float32(l.Height)})
	}
	return telemetry.NewLadder(rungs...)
}

func (p *plan) columns() []telemetry.Field {
	var f []telemetry.Field
	for n := 1; n <= p.switches; n++ {
		f = append(f,
			telemetry.Field{Name: fmt.Sprintf("enq_qdepth%d", n), Unit: "packets"},
			telemetry.Field{Name: fmt.Sprintf("deq_timedelta%d", n), Unit: "us"},
			telemetry.Field{Name: fmt.Sprintf("deq_qdepth%d", n), Unit: "packets"})
	}
	return append(f,
		telemetry.Field{Name: "lbo_s", Unit: "s"},
		telemetry.Field{Name: "fps", Unit: "1/s"},
		telemetry.Field{Name: "rep_kbps", Unit: "kbit/s"},
		telemetry.Field{Name: "calc_rate", Unit: "1/s"},
		telemetry.Field{Name: "stall_s", Unit: "s"})
}

// Reset starts runs, warms them up under limit and measures the first window.
func (t *Testbed) Reset(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error {
	return t.ResetUnder(ctx, rows, seeds, limit, 1, "", out)
}

// Phases are the names of the configuration's phases.
func (t *Testbed) Phases() []string {
	var names []string
	for _, f := range t.plan.cfg.Phases {
		names = append(names, f.Name)
	}
	return names
}

// ResetUnder is Reset with a share, 0…1, of the sessions of each load, rounded to
// whole ones, and with the phase that the run begins in, warm-up included; ""
// draws it. The share is of arrivals where sessions arrive one by one.
func (t *Testbed) ResetUnder(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, load float64, phase string, out *telemetry.Window) error {
	if !(load >= 0 && load <= 1) {
		return fmt.Errorf("testbed: load %v is outside 0…1", load)
	}
	first := slices.Index(t.Phases(), phase)
	if phase != "" && first < 0 {
		return fmt.Errorf("testbed: phase %q is not one of %q", phase, t.Phases())
	}
	if err := t.check(rows, limit, out, true); err != nil {
		return err
	}
	for _, r := range rows {
		for r >= len(t.rows) {
			t.rows = append(t.rows, nil)
		}
	}
	return t.each(ctx, rows, func(i int) error {
		s := newSim(t.plan, seeds[i], limit[i*t.plan.switches:(i+1)*t.plan.switches], load, first)
		t.rows[rows[i]] = s
		l := t.log(rows[i])
		for range *t.plan.cfg.WarmupS {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.second(out.Values[i*out.Seconds*out.Fields:], out.Valid[i*out.Seconds*out.Fields:])
		}
		l.reset(seeds[i], s.now)
		return s.window(ctx, out, i, limit[i*t.plan.switches:(i+1)*t.plan.switches], l)
	})
}

// Advance puts limit in force and measures a window.
func (t *Testbed) Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	if err := t.check(rows, limit, out, false); err != nil {
		return err
	}
	return t.each(ctx, rows, func(i int) error {
		s, limits := t.rows[rows[i]], limit[i*t.plan.switches:(i+1)*t.plan.switches]
		s.setLimits(limits)
		return s.window(ctx, out, i, limits, t.log(rows[i]))
	})
}

// Close does nothing.
func (t *Testbed) Close() error { return nil }

func (t *Testbed) check(rows []int, limit []p4.Limit, out *telemetry.Window, fresh bool) error {
	for i, r := range rows {
		if !fresh && (r >= len(t.rows) || t.rows[r] == nil) {
			return fmt.Errorf("testbed: row %d has no run: it was never reset, or its last call was stopped", r)
		}
		for _, l := range limit[i*t.plan.switches : (i+1)*t.plan.switches] {
			if err := l.Check(); err != nil {
				return fmt.Errorf("testbed: row %d: %w", r, err)
			}
		}
	}
	if want := 3*t.plan.switches + 5; out.Fields != want {
		return fmt.Errorf("testbed: a window of %d fields for %d columns", out.Fields, want)
	}
	return nil
}

// each calls run for every row, on as many threads as there are, and waits for
// all of them. A run that stops because ctx has ended leaves its row in the
// middle of a window, so none of the rows can be advanced before a reset.
func (t *Testbed) each(ctx context.Context, rows []int, run func(i int) error) error {
	err := t.eachRow(ctx, rows, run)
	if err != nil && ctx.Err() != nil {
		for _, r := range rows {
			t.rows[r] = nil
		}
	}
	return err
}

func (t *Testbed) eachRow(ctx context.Context, rows []int, run func(i int) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	errs := make([]error, len(rows))
	threads := min(runtime.GOMAXPROCS(0), len(rows))
	if threads < 2 {
		for i := range rows {
			errs[i] = t.guard(rows[i], func() error { return run(i) })
		}
		return errors.Join(errs...)
	}
	var wait sync.WaitGroup
	for k := range threads {
		wait.Go(func() {
			for i := k; i < len(rows); i += threads {
				errs[i] = t.guard(rows[i], func() error { return run(i) })
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// guard gives row up where a snapshot that came from outside makes it panic.
func (t *Testbed) guard(row int, run func() error) (err error) {
	if s := t.rows[row]; s == nil || !s.foreign {
		return run()
	}
	defer func() {
		if p := recover(); p != nil {
			t.rows[row] = nil
			err = fmt.Errorf("%w: row %d: %v", ErrBadSnapshot, row, p)
		}
	}()
	return run()
}

// window measures row i of out, into l as well where it is not nil. It stops
// between two seconds once ctx has ended.
func (s *sim) window(ctx context.Context, out *telemetry.Window, i int, limits []p4.Limit, l *Log) error {
	values, valid := out.Row(i)
	f := out.Fields
	s.log = l
	defer func() { s.log = nil }()
	for t := range out.Seconds {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.second(values[t*f:(t+1)*f], valid[t*f:(t+1)*f])
		l.second(limits, values[t*f:(t+1)*f], valid[t*f:(t+1)*f])
	}
	out.End[i], out.Reason[i] = telemetry.Going, ""
	if h := s.cfg.HorizonS; h > 0 && int(s.now/1e9)-*s.cfg.WarmupS+out.Seconds > h {
		out.End[i], out.Reason[i] = telemetry.Truncated, "the horizon is reached"
	}
	return nil
}
