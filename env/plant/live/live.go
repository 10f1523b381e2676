// Package live runs an environment on real switches: one row, in real time. It puts
// limits in force, waits a window and joins what switches and player reported of it.
package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/wait"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Telemetry is what running switches and a player tell, joined second by
// second.
type Telemetry interface {
	// Columns are those of a window. Of the recordings' columns it may lack
	// stall_s; what else it has is not taken.
	Columns() []telemetry.Field
	// Window waits until the seconds that begin at start are over and what was
	// measured in them has come in, and fills values and valid [T,F], T
	// seconds from start. Where nothing was measured valid is false. It tells
	// how old the newest reports are by then.
	Window(ctx context.Context, start time.Time, values []float32, valid []bool) (Ages, error)
	Close() error
}

// Ages are how old the newest reports are; Never where there are none.
type Ages struct {
	Switches []time.Duration // by switch
	Player   time.Duration
}

// Never is the age of what was never heard of.
const Never = time.Duration(math.MaxInt64)

// Config describes the plant of real switches. Zero values are the
// defaults in the comments. Seconds are the switches' (see TimeScale).
type Config struct {
	// Safe is the limit put in force whenever something is wrong, and at the
	// end. It has no default.
	Safe p4.Limit `toml:"safe"`
	// StaleWindows is how many windows old the newest report of a switch, or
	// of the player, may be; 2.
	StaleWindows int `toml:"stale_windows"`
	// MaxStallS is how long playback may stall in a row; 0: for ever.
	MaxStallS float64 `toml:"max_stall_s"`
	// PatienceS is how long a reset waits for switches and telemetry, in our
	// seconds whatever TimeScale is; 60.
	PatienceS float64 `toml:"patience_s"`
	// TimeScale is how many of the switches' seconds pass in one of ours; 1.
	// Emulated ones may be faster.
	TimeScale float64 `toml:"time_scale"`
}

func (c Config) withDefaults() (Config, error) {
	fill := func(x *float64, d float64) {
		if *x == 0 {
			*x = d
		}
	}
	fill(&c.PatienceS, 60)
	fill(&c.TimeScale, 1)
	if c.StaleWindows == 0 {
		c.StaleWindows = 2
	}
	if err := c.Safe.Check(); err != nil {
		return c, fmt.Errorf("env: live: safe: %w", err)
	}
	for _, x := range []struct {
		key       string
		x, lo, hi float64
	}{
		{"stale_windows", float64(c.StaleWindows), 1, 100},
		{"max_stall_s", c.MaxStallS, 0, 3600},
		{"patience_s", c.PatienceS, 0, 24 * 3600},
		{"time_scale", c.TimeScale, 1e-3, 1e4},
	} {
		if !(x.x >= x.lo && x.x <= x.hi) {
			return c, fmt.Errorf("env: live: %s: %v is outside %v…%v", x.key, x.x, x.lo, x.hi)
		}
	}
	return c, nil
}

// Check reports the first thing wrong with c, naming the TOML key.
func (c Config) Check() error {
	_, err := c.withDefaults()
	return err
}

// Act is one change of the limits: reported before the switches are asked, and
// again when they have answered.
type Act struct {
	Time  time.Time // of the decision
	Why   string    // "reset", "policy", "close", or what was wrong
	Asked []p4.Limit
	Done  bool
	Got   []p4.InForce // what is in force now, where Done
	Err   error        // of the switches; Got says which
	Took  time.Duration
}

// Plant is the plant of real switches: one row, in real time. A reset or
// advance puts limits in force, waits a window and joins what switches and
// player reported of it. What they did not report is marked invalid. When one
// reports nothing for too long, a switch is out of hand or playback stalls, the safe
// limit is put in force and the episode is truncated with the reason.
type Plant struct {
	cfg      Config
	control  p4.QueueController
	queues   []p4.Queue
	switches int
	source   Telemetry
	notify   func(Act)

	columns []telemetry.Field
	from    []int // of the source's columns, by ours
	lbo     int   // of ours
	stall   int   // of ours, -1: not measured

	second  time.Duration // ours, of one of the switches'
	window  time.Duration
	changed time.Time // when limits last changed
	limits  []p4.Limit
	safe    bool  // the safe limit is in force, as far as known
	fault   error // of the last change
	fresh   bool  // the last window was as it should be
	last    []float32
	stalled float64 // seconds in a row
	values  []float32
	valid   []bool
	closed  bool
}

// New makes the plant of switches: limit s of an action goes to every
// queue of switch s. It owns control and source from then on. notify, which
// may be nil, is called for every change of limits.
func New(cfg Config, control p4.QueueController, queues []p4.Queue, source Telemetry, notify func(Act)) (*Plant, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Plant{
		cfg: cfg, control: control, queues: queues, source: source, notify: notify,
		stall: -1, second: time.Duration(float64(time.Second) / cfg.TimeScale),
	}
	if l.notify == nil {
		l.notify = func(Act) {}
	}
	for _, q := range queues {
		l.switches = max(l.switches, q.Switch+1)
	}
	for s := range l.switches {
		if !slices.ContainsFunc(queues, func(q p4.Queue) bool { return q.Switch == s }) {
			return nil, fmt.Errorf("env: live: switch %d has no port whose limit is set", s+1)
		}
	}
	if l.switches == 0 {
		return nil, errors.New("env: live: there is no switch")
	}
	return l, l.bind()
}

// bind lays out the columns: those that every plant has.
func (l *Plant) bind() error {
	var names []string
	for s := 1; s <= l.switches; s++ {
		names = append(names, fmt.Sprint("enq_qdepth", s), fmt.Sprint("deq_timedelta", s), fmt.Sprint("deq_qdepth", s))
	}
	all := l.source.Columns()
	for _, name := range append(names, "lbo_s", "fps", "rep_kbps", "calc_rate", "stall_s") {
		at := slices.IndexFunc(all, func(f telemetry.Field) bool { return f.Name == name })
		switch {
		case at < 0 && name == "stall_s":
			continue
		case at < 0:
			return fmt.Errorf("env: live: telemetry tells no %s", name)
		case name == "stall_s":
			l.stall = len(l.columns)
		case name == "lbo_s":
			l.lbo = len(l.columns)
		}
		l.columns, l.from = append(l.columns, all[at]), append(l.from, at)
	}
	l.last = make([]float32, len(l.columns))
	return nil
}

// Columns are the recordings' columns: what probes met at each switch, then
// the player.
func (l *Plant) Columns() []telemetry.Field { return l.columns }

// Switches counts the switches whose limit an action sets.
func (l *Plant) Switches() int { return l.switches }

// RealTime is true: one row, no seeds, windows as long as they are.
func (l *Plant) RealTime() bool { return true }

// stale names the source that has reported nothing for too long, or "".
func (l *Plant) stale(ages Ages) string {
	who := []string{"the player"}
	for s := range l.switches {
		who = append(who, fmt.Sprint("switch ", s+1))
	}
	for i, age := range append([]time.Duration{ages.Player}, ages.Switches...) {
		switch {
		case age == Never:
			return fmt.Sprintf("telemetry: nothing of %s yet", who[i])
		case age > time.Duration(l.cfg.StaleWindows)*l.window:
			return fmt.Sprintf("telemetry: nothing of %s for %.3g s", who[i], float64(age)/float64(l.second))
		}
	}
	return ""
}

// set puts limits [S] in force and reads them back.
func (l *Plant) set(ctx context.Context, why string, limits []p4.Limit) error {
	each := make([]p4.Limit, len(l.queues))
	for i, q := range l.queues {
		each[i] = limits[q.Switch]
	}
	act := Act{Time: time.Now(), Why: why, Asked: slices.Clone(limits)}
	l.notify(act)
	got, err := l.control.Set(ctx, l.queues, each)
	act.Done, act.Got, act.Err, act.Took = true, got, err, time.Since(act.Time)
	l.notify(act)
	if !slices.Equal(l.limits, limits) {
		l.limits, l.changed = act.Asked, time.Now()
	}
	l.fault = err
	l.safe = err == nil && !slices.ContainsFunc(limits, func(x p4.Limit) bool { return x != l.cfg.Safe })
	return err
}

// trip puts the safe limit in force. It does so also where ctx has ended.
func (l *Plant) trip(ctx context.Context, why string) error {
	if l.safe {
		return nil
	}
	limits := make([]p4.Limit, l.switches)
	for s := range limits {
		limits[s] = l.cfg.Safe
	}
	return l.set(context.WithoutCancel(ctx), why, limits)
}

// Reset waits until telemetry comes in, puts limit in force and measures the
// first window. Whatever is wrong it tries again until PatienceS is over; the
// safe limit holds meanwhile.
func (l *Plant) Reset(ctx context.Context, rows []int, _ []uint64, limit []p4.Limit, out *telemetry.Window) error {
	if err := l.check(rows, out); err != nil || len(rows) == 0 {
		return err
	}
	l.stalled = 0
	until := time.Now().Add(time.Duration(l.cfg.PatienceS * float64(time.Second)))
	for {
		why := ""
		if !l.fresh { // see for a second whether anything comes
			ages, err := l.measure(ctx, time.Now(), 1)
			if err != nil {
				return err
			}
			why = l.stale(ages)
		}
		// While one switch is not in hand an episode cannot begin, and the
		// others keep the safe limit.
		if h, ok := l.control.(p4.Holder); ok && why == "" {
			if err := h.InHand(); err != nil {
				why, l.fault, l.fresh = "switches: "+err.Error(), err, false
			}
		}
		if why != "" {
			if err := l.trip(ctx, why); err != nil {
				why += "; the safe limit: " + err.Error()
			}
		} else {
			// At most one change a window, also where episodes are short.
			if t := l.changed.Add(l.window); !slices.Equal(l.limits, limit) {
				if err := wait.For(ctx, time.Until(t)); err != nil {
					return err
				}
			}
			if err := l.step(ctx, "reset", limit, out); err != nil {
				return err
			}
			if out.End[0] == telemetry.Going {
				return nil
			}
			why = out.Reason[0]
		}
		if !time.Now().Before(until) {
			return &liveError{why, l.fault}
		}
	}
}

// liveError is what a reset gave up on; it wraps the switches' error, if any.
type liveError struct {
	why string
	err error
}

func (e *liveError) Error() string { return "env: live: " + e.why }
func (e *liveError) Unwrap() error { return e.err }

// Advance puts limit in force and measures a window under it.
func (l *Plant) Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	if err := l.check(rows, out); err != nil || len(rows) == 0 {
		return err
	}
	return l.step(ctx, "policy", limit, out)
}

func (l *Plant) check(rows []int, out *telemetry.Window) error {
	switch {
	case l.closed:
		return env.ErrClosed
	case len(rows) > 1 || len(rows) == 1 && rows[0] != 0:
		return fmt.Errorf("%w: live switches are one row, not %v", env.ErrInvalidRows, rows)
	case out.Fields != len(l.columns):
		return fmt.Errorf("env: live: a window of %d fields for %d columns", out.Fields, len(l.columns))
	}
	l.window = time.Duration(out.Seconds) * l.second
	return nil
}

// step is one window. Everything that goes wrong in it and is not ctx's
// truncates.
func (l *Plant) step(ctx context.Context, why string, limit []p4.Limit, out *telemetry.Window) error {
	truncate := func(why string) {
		if err := l.trip(ctx, why); err != nil {
			why += "; the safe limit: " + err.Error()
		}
		out.End[0], out.Reason[0], l.fresh = telemetry.Truncated, why, false
	}
	out.End[0], out.Reason[0], l.fresh = telemetry.Going, "", true
	if err := l.set(ctx, why, limit); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.fill(out, false)
		truncate("switches: " + err.Error())
		return nil
	}
	ages, err := l.measure(ctx, time.Now(), out.Seconds)
	if err != nil {
		return err
	}
	l.fill(out, true)
	wrong := l.stale(ages)
	if wrong == "" {
		wrong = l.compare(ctx, limit)
	}
	if wrong == "" && l.cfg.MaxStallS > 0 && l.stalled >= l.cfg.MaxStallS {
		wrong = fmt.Sprintf("playback: stalled for %.3g s", l.stalled)
	}
	if wrong != "" {
		truncate(wrong)
	}
	return nil
}

// compare says where the switches hold other limits than what was put in
// force: another client's, or the safe one of a client that had lost them.
func (l *Plant) compare(ctx context.Context, limit []p4.Limit) string {
	got, err := l.control.Read(ctx, l.queues)
	if err != nil {
		return "switches: " + err.Error()
	}
	for _, g := range got {
		if g.Limit != limit[g.Switch] {
			l.safe = false
			return fmt.Sprintf("switches: switch %d port %d has limit %d, it was given %d", g.Switch+1, g.Port, g.Limit, limit[g.Switch])
		}
	}
	return ""
}

// measure waits for the seconds from start on.
func (l *Plant) measure(ctx context.Context, start time.Time, seconds int) (Ages, error) {
	n := seconds * len(l.source.Columns())
	l.values, l.valid = telemetry.Grow(l.values, n), telemetry.Grow(l.valid, n)
	ages, err := l.source.Window(ctx, start, l.values, l.valid)
	if err != nil {
		return ages, fmt.Errorf("env: live: %w", err)
	}
	return ages, nil
}

// fill fills out's row with what measure got, or, where measured is false,
// with nothing but the last good values.
func (l *Plant) fill(out *telemetry.Window, measured bool) {
	values, valid := out.Row(0)
	clear(valid)
	all := len(l.source.Columns())
	for t := range out.Seconds {
		v, ok := values[t*len(l.columns):], valid[t*len(l.columns):]
		for c, from := range l.from {
			if i := t*all + from; measured && l.valid[i] {
				l.last[c], ok[c] = l.values[i], true
			}
			v[c] = l.last[c]
		}
		l.count(ok)
	}
}

// count keeps how long playback has stalled, as Queues does.
func (l *Plant) count(ok []bool) {
	var stall float32
	switch {
	case l.stall >= 0 && ok[l.stall]:
		stall = l.last[l.stall]
	case l.stall < 0 && ok[l.lbo]:
		if l.last[l.lbo] <= 0 {
			stall = 1
		}
	default:
		return
	}
	if l.stalled += float64(stall); stall <= 0 {
		l.stalled = 0
	}
}

// closing is how long Close may take to put the safe limit in force.
const closing = 5 * time.Second

// Close puts the safe limit in force and lets go of switches and telemetry.
func (l *Plant) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	l.safe = false // also where it should be in force already: read it back
	err := l.trip(ctx, "close")
	if err != nil {
		err = fmt.Errorf("env: live: close: the safe limit: %w", err)
	}
	return errors.Join(err, l.control.Close(), l.source.Close())
}
