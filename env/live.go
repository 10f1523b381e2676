package env

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Source is measurements as they come in: of probes, or of a player.
type Source interface {
	Fields() []telemetry.Field
	// Take appends to dst what came since the last call, about in the order
	// of time. It does not wait. Millis is by the clock of this machine. The
	// records are the caller's from then on.
	Take(dst []telemetry.Record) []telemetry.Record
	Close() error
}

// LiveConfig describes the plant of real switches. Zero values are the
// defaults in the comments. Seconds are the switches' (see TimeScale).
type LiveConfig struct {
	// Safe is the limit put in force whenever something is wrong, and at the
	// end. It has no default.
	Safe p4.Limit `toml:"safe"`
	// GraceS is how long after a window's end what was measured in it may
	// still come in; 0.1.
	GraceS float64 `toml:"grace_s"`
	// StaleWindows is how many windows old the newest report of the probes,
	// or of the player, may be; 2.
	StaleWindows int `toml:"stale_windows"`
	// MaxStallS is how long playback may stall in a row; 0: for ever.
	MaxStallS float64 `toml:"max_stall_s"`
	// PatienceS is how long a reset waits for switches and telemetry; 60.
	PatienceS float64 `toml:"patience_s"`
	// Aggregation makes one value of the probes of a second;
	// "max-timedelta1", as published.
	Aggregation telemetry.Aggregation `toml:"aggregation"`
	// TimeScale is how many of the switches' seconds pass in one of ours; 1.
	// Emulated ones may be faster.
	TimeScale float64 `toml:"time_scale"`
}

func (c LiveConfig) withDefaults() (LiveConfig, error) {
	fill := func(x *float64, d float64) {
		if *x == 0 {
			*x = d
		}
	}
	fill(&c.GraceS, .1)
	fill(&c.PatienceS, 60)
	fill(&c.TimeScale, 1)
	if c.StaleWindows == 0 {
		c.StaleWindows = 2
	}
	if c.Aggregation == "" {
		c.Aggregation = telemetry.MaxTimedelta1
	}
	if err := c.Safe.Check(); err != nil {
		return c, fmt.Errorf("env: live: safe: %w", err)
	}
	for _, x := range []struct {
		key       string
		x, lo, hi float64
	}{
		{"grace_s", c.GraceS, 0, 10},
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
func (c LiveConfig) Check() error {
	_, err := c.withDefaults()
	return err
}

// Act is one change of the limits: told before the switches are asked, and
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

// Live is the plant of real switches: one row, in real time. A reset or
// advance puts limits in force, waits a window and joins what probes and
// player reported of it. What they did not report is marked invalid. Where
// they report nothing for too long, a switch is out of hand or playback
// stalls, the safe limit is put in force and the episode is truncated with the
// reason.
type Live struct {
	cfg            LiveConfig
	control        p4.QueueController
	queues         []p4.Queue
	switches       int
	probes, player Source
	notify         func(Act)

	columns []telemetry.Field
	take    *telemetry.Aggregator
	probe   []int // column by the aggregator's field, -1: none
	play    []int // column by the player's field, -1: none
	counter int   // the player's calc_cum, -1
	rate    int   // column calc_rate, -1
	buffer  int   // the player's lbo_s
	stall   int   // the player's stall_s, -1

	second  time.Duration // ours, of one of the switches'
	window  time.Duration
	changed time.Time // when limits last changed
	limits  []p4.Limit
	safe    bool // the safe limit is in force, as far as known
	last    []float32
	heard   [2]time.Time // the newest report of the probes, of the player
	cum     float64
	counted bool
	stalled float64 // seconds in a row
	waiting [2][]telemetry.Record
	joined  time.Time // the end of the last second that was
	late    uint64
	closed  bool
}

// NewLive makes the plant of switches: limit s of an action goes to every
// queue of switch s. It owns control and the sources from then on. notify is
// told of every change of limits; it may be nil.
func NewLive(cfg LiveConfig, control p4.QueueController, queues []p4.Queue, probes, player Source, notify func(Act)) (*Live, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Live{
		cfg: cfg, control: control, queues: queues, probes: probes, player: player, notify: notify,
		counter: -1, rate: -1, buffer: -1, stall: -1, second: time.Duration(float64(time.Second) / cfg.TimeScale),
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
	if l.take, err = telemetry.NewAggregator(probes.Fields(), cfg.Aggregation); err != nil {
		return nil, fmt.Errorf("env: live: %w", err)
	}
	return l, l.bind()
}

// bind lays out the columns: those that every plant has.
func (l *Live) bind() error {
	add := func(names ...string) {
		for _, n := range names {
			f, _ := telemetry.Canonical(n)
			l.columns = append(l.columns, f)
		}
	}
	for s := 1; s <= l.switches; s++ {
		add(fmt.Sprint("enq_qdepth", s), fmt.Sprint("deq_timedelta", s), fmt.Sprint("deq_qdepth", s))
	}
	add("lbo_s", "fps", "rep_kbps", "calc_rate")
	at := func(name string) int {
		return slices.IndexFunc(l.columns, func(f telemetry.Field) bool { return f.Name == name })
	}
	l.rate = at("calc_rate")
	for _, f := range l.take.Fields() {
		l.probe = append(l.probe, at(f.Name))
	}
	for i, f := range l.player.Fields() {
		switch f.Name {
		case "calc_cum":
			l.counter = i
		case "lbo_s":
			l.buffer = i
		case "stall_s":
			l.stall = i
			add(f.Name)
		}
		l.play = append(l.play, at(f.Name))
	}
	for c, f := range l.columns {
		if c != l.rate && !slices.Contains(l.probe, c) && !slices.Contains(l.play, c) {
			return fmt.Errorf("env: live: neither probes nor player report %s", f.Name)
		}
	}
	l.last = make([]float32, len(l.columns))
	return nil
}

// Columns are the recordings' columns: what probes met at each switch, then
// the player.
func (l *Live) Columns() []telemetry.Field { return l.columns }

// Switches counts the switches whose limit an action sets.
func (l *Live) Switches() int { return l.switches }

// RealTime is true: one row, no seeds, windows as long as they are.
func (l *Live) RealTime() bool { return true }

// Late counts reports that were of no use: of a second joined already, from
// further ahead than a window, or telling nothing.
func (l *Live) Late() uint64 { return l.late }

// stale says who has reported nothing for too long, or "".
func (l *Live) stale(now time.Time) string {
	for i, who := range []string{"probes (INT)", "player (DASH)"} {
		switch d := now.Sub(l.heard[i]); {
		case l.heard[i].IsZero():
			return fmt.Sprintf("telemetry: nothing from the %s yet", who)
		case d > time.Duration(l.cfg.StaleWindows)*l.window:
			return fmt.Sprintf("telemetry: nothing from the %s for %.3g s", who, float64(d)/float64(l.second))
		}
	}
	return ""
}

// poll takes in what the sources have. A report from further ahead than a
// window is of a wrong clock.
func (l *Live) poll() {
	now := time.Now()
	for i, s := range []Source{l.probes, l.player} {
		was := len(l.waiting[i])
		all := s.Take(l.waiting[i])
		l.waiting[i] = all[:was]
		for _, r := range all[was:] {
			at := time.UnixMilli(r.Millis)
			if at.After(now.Add(l.window)) || !slices.Contains(r.Valid, true) {
				l.late++
				continue
			}
			if at.After(l.heard[i]) {
				l.heard[i] = at
			}
			l.waiting[i] = append(l.waiting[i], r)
		}
	}
}

// set puts limits [S] in force and reads them back.
func (l *Live) set(ctx context.Context, why string, limits []p4.Limit) error {
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
	l.safe = err == nil && !slices.ContainsFunc(limits, func(x p4.Limit) bool { return x != l.cfg.Safe })
	return err
}

// trip puts the safe limit in force. It does so also where ctx has ended.
func (l *Live) trip(ctx context.Context, why string) error {
	if l.safe {
		return nil
	}
	limits := make([]p4.Limit, l.switches)
	for s := range limits {
		limits[s] = l.cfg.Safe
	}
	return l.set(context.WithoutCancel(ctx), why, limits)
}

// wait sleeps until t, polling. It ends early where tripped says why.
func (l *Live) wait(ctx context.Context, t time.Time, tripped func(now time.Time) string) (string, error) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick.C:
		}
		l.poll()
		now := time.Now()
		if why := tripped(now); why != "" {
			return why, nil
		}
		if !now.Before(t) {
			return "", nil
		}
		tick.Reset(min(t.Sub(now), l.second/4))
	}
}

// Reset waits until telemetry comes in, puts limit in force and measures the
// first window. Whatever is wrong it tries again until PatienceS is over; the
// safe limit holds meanwhile.
func (l *Live) Reset(ctx context.Context, rows []int, _ []uint64, limit []p4.Limit, out *telemetry.Window) error {
	if err := l.check(rows, out); err != nil || len(rows) == 0 {
		return err
	}
	l.counted, l.stalled = false, 0
	until := time.Now().Add(time.Duration(l.cfg.PatienceS * float64(l.second)))
	for {
		l.poll()
		now := time.Now()
		why := l.stale(now)
		if why != "" {
			if err := l.trip(ctx, why); err != nil {
				why += "; the safe limit: " + err.Error()
			}
		} else {
			// At most one change a window, also where episodes are short.
			if t := l.changed.Add(l.window); now.Before(t) && !slices.Equal(l.limits, limit) {
				if _, err := l.wait(ctx, t, l.stale); err != nil {
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
		if now = time.Now(); !now.Before(until) {
			return fmt.Errorf("env: live: %s", why)
		}
		if _, err := l.wait(ctx, now.Add(l.second), nothing); err != nil {
			return err
		}
		l.waiting = [2][]telemetry.Record{} // of no window
	}
}

func nothing(time.Time) string { return "" }

// Advance puts limit in force and measures a window under it.
func (l *Live) Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	if err := l.check(rows, out); err != nil || len(rows) == 0 {
		return err
	}
	return l.step(ctx, "policy", limit, out)
}

func (l *Live) check(rows []int, out *telemetry.Window) error {
	switch {
	case l.closed:
		return ErrClosed
	case len(rows) > 1 || len(rows) == 1 && rows[0] != 0:
		return fmt.Errorf("%w: live switches are one row, not %v", ErrInvalidRows, rows)
	case out.Fields != len(l.columns):
		return fmt.Errorf("env: live: a window of %d fields for %d columns", out.Fields, len(l.columns))
	}
	l.window = time.Duration(out.Seconds) * l.second
	return nil
}

// step is one window. Everything that goes wrong in it and is not ctx's
// truncates.
func (l *Live) step(ctx context.Context, why string, limit []p4.Limit, out *telemetry.Window) error {
	truncate := func(why string) {
		if err := l.trip(ctx, why); err != nil {
			why += "; the safe limit: " + err.Error()
		}
		out.End[0], out.Reason[0] = telemetry.Truncated, why
	}
	out.End[0], out.Reason[0] = telemetry.Going, ""
	if err := l.set(ctx, why, limit); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.poll()
		l.join(time.Now(), 0, out)
		truncate("switches: " + err.Error())
		return nil
	}
	begin := time.Now()
	wrong, err := l.wait(ctx, begin.Add(l.window+time.Duration(l.cfg.GraceS*float64(l.second))), l.stale)
	if err != nil {
		return err
	}
	l.join(begin, out.Seconds, out)
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
// force: somebody else's, or the safe one of a client that had lost them.
func (l *Live) compare(ctx context.Context, limit []p4.Limit) string {
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

// join fills out's row with the reports of the seconds from begin on; of
// seconds 0 none counts as measured.
func (l *Live) join(begin time.Time, seconds int, out *telemetry.Window) {
	values, valid := out.Row(0)
	clear(valid)
	f := len(l.columns)
	begin = begin.Truncate(time.Millisecond) // as reports are
	// cut takes the reports before the end of second t; those before the
	// window come too where they are not late.
	cut := func(i, t int) (in []telemetry.Record) {
		all := l.waiting[i]
		l.waiting[i] = all[:0]
		for _, r := range all {
			switch at := time.UnixMilli(r.Millis); {
			case !at.Before(begin.Add(time.Duration(t+1) * l.second)):
				l.waiting[i] = append(l.waiting[i], r)
			case at.Before(l.joined):
				l.late++
			default:
				in = append(in, r)
			}
		}
		return in
	}
	for _, r := range cut(1, -1) { // between two windows
		l.record(&r, make([]bool, f))
	}
	cut(0, -1)
	for t := range out.Seconds {
		v, ok := values[t*f:(t+1)*f], valid[t*f:(t+1)*f]
		if t < seconds {
			l.take.Clear()
			for _, r := range cut(0, t) {
				l.take.Add(&r)
			}
			for i, c := range l.probe {
				if c >= 0 {
					if x, measured := l.take.Value(i); measured {
						l.last[c], ok[c] = float32(x), true
					}
				}
			}
			for _, r := range cut(1, t) {
				l.record(&r, ok)
			}
			l.count(ok)
			l.joined = begin.Add(time.Duration(t+1) * l.second)
		}
		copy(v, l.last)
	}
}

// record takes one report of the player in. Of two of a second the last
// counts.
func (l *Live) record(r *telemetry.Record, ok []bool) {
	for i, c := range l.play {
		if c >= 0 && r.Valid[i] {
			l.last[c], ok[c] = float32(r.Values[i]), true
		}
	}
	if l.counter < 0 || !r.Valid[l.counter] {
		return
	}
	cum := r.Values[l.counter]
	if l.counted && cum >= l.cum { // a counter that falls is another player's
		rise := float32(cum - l.cum)
		if ok[l.rate] {
			rise += l.last[l.rate]
		}
		l.last[l.rate], ok[l.rate] = rise, true
	}
	l.cum, l.counted = cum, true
}

// count keeps how long playback has stalled, as Queues does.
func (l *Live) count(ok []bool) {
	column := func(i int) (float32, bool) {
		if i < 0 || l.play[i] < 0 {
			return 0, false
		}
		return l.last[l.play[i]], ok[l.play[i]]
	}
	stall, told := column(l.stall)
	if l.stall < 0 {
		var lbo float32
		if lbo, told = column(l.buffer); told && lbo <= 0 {
			stall = 1
		}
	}
	switch {
	case !told:
	case stall > 0:
		l.stalled += float64(stall)
	default:
		l.stalled = 0
	}
}

// closing is how long Close may take to put the safe limit in force.
const closing = 5 * time.Second

// Close puts the safe limit in force and lets go of switches and sources.
func (l *Live) Close() error {
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
	return errors.Join(err, l.control.Close(), l.probes.Close(), l.player.Close())
}
