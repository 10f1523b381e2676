// Package replay runs environments on recordings: the queue limit selects the
// recording that the next window comes from, at the row's own clock, as in the
// published tutorial.
package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Config says how recordings are replayed.
type Config struct {
	// Start is where an episode begins: "random" (default: at any second that
	// leaves a window to step into, drawn from the episode's seed) or "first".
	Start string `toml:"start"`
}

// Check reports what is wrong with c, naming the field.
func (c Config) Check() error {
	switch c.Start {
	case "", "random", "first":
		return nil
	}
	return fmt.Errorf(`env: replay: start: %q is not one of "random", "first"`, c.Start)
}

// Plant is the plant of recordings, one per queue limit: the limit in force
// picks the recording that the next window is cut from, at the row's own
// clock. This is how the tutorial of Tavares et al. (SBRC 2024) simulates.
// What the player did in one recording knows nothing of the others, so its
// state jumps where the limit changes; a limit's effect cannot be learnt
// from it.
//
// The episode is truncated at the window after which no recording has a
// whole one left. A cell that was not measured shows what telemetry.Dataset
// fills it with: the last value before it in its recording.
type Plant struct {
	random     bool
	recordings []*telemetry.Dataset // sorted by limit
	fields     []telemetry.Field
	seconds    int // of the shortest
	switches   int
	clock      []int // by row: the second that the next window begins at
}

// New makes the plant of recordings, which share their fields and have
// distinct limits.
func New(cfg Config, recordings []*telemetry.Dataset) (*Plant, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if len(recordings) == 0 {
		return nil, fmt.Errorf("env: replay: there is no recording")
	}
	p := &Plant{random: cfg.Start != "first", seconds: math.MaxInt, fields: recordings[0].Fields()}
	for _, r := range recordings {
		if err := p4.Limit(r.Limit()).Check(); err != nil {
			return nil, fmt.Errorf("env: replay: %w", err)
		}
		if p.recording(p4.Limit(r.Limit())) != nil {
			return nil, fmt.Errorf("env: replay: two recordings of limit %d", r.Limit())
		}
		if !slices.Equal(r.Fields(), p.fields) {
			return nil, fmt.Errorf("env: replay: the recordings of limits %d and %d have different fields", recordings[0].Limit(), r.Limit())
		}
		p.recordings = append(p.recordings, r)
		p.seconds = min(p.seconds, r.Len())
	}
	slices.SortFunc(p.recordings, func(a, b *telemetry.Dataset) int { return a.Limit() - b.Limit() })
	p.switches = env.CountSwitches(p.fields)
	if p.switches == 0 {
		return nil, errors.New("env: replay: the recordings measure no switch: planegym import --int joins a player's log with the log of probes")
	}
	for _, r := range recordings {
		for _, name := range r.Empty() {
			if stem := strings.TrimRight(name, "0123456789"); slices.Contains(replayed, stem) {
				return nil, fmt.Errorf("env: replay: the recording of limit %d holds no value of %s", r.Limit(), name)
			}
		}
	}
	return p, nil
}

// replayed are the columns, less the number of a switch, of which a recording
// must hold a value: what observations and rewards are made of.
var replayed = []string{"enq_qdepth", "deq_timedelta", "lbo_s", "fps", "rep_kbps"}

// recording is the recording of a limit, or nil.
func (p *Plant) recording(l p4.Limit) *telemetry.Dataset {
	for _, r := range p.recordings {
		if r.Limit() == int(l) {
			return r
		}
	}
	return nil
}

// Columns are the recordings' fields.
func (p *Plant) Columns() []telemetry.Field { return p.fields }

// Ladder is what the recordings' player showed.
func (p *Plant) Ladder() telemetry.Ladder { return telemetry.LadderOf(p.recordings...) }

// Switches counts the switches that the recordings measure.
func (p *Plant) Switches() int { return p.switches }

// Limits are the limits that recordings exist for, ascending.
func (p *Plant) Limits() []p4.Limit {
	var l []p4.Limit
	for _, r := range p.recordings {
		l = append(l, p4.Limit(r.Limit()))
	}
	return l
}

// Reset puts the rows' clocks to the start of an episode.
func (p *Plant) Reset(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error {
	last := p.seconds - 2*out.Seconds // leaves one step
	if last < 0 {
		return fmt.Errorf("env: replay: recordings of %d s are shorter than two windows of %d s", p.seconds, out.Seconds)
	}
	for i, r := range rows {
		for r >= len(p.clock) {
			p.clock = append(p.clock, 0)
		}
		p.clock[r] = 0
		if p.random {
			p.clock[r] = rng.Key{Seed: seeds[i], Purpose: rng.Start}.Intn(0, last+1)
		}
	}
	return p.Advance(ctx, rows, limit, out)
}

// Advance cuts each row's next window from the recording of its limit.
func (p *Plant) Advance(_ context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	for i, r := range rows {
		limits := limit[i*p.switches : (i+1)*p.switches]
		for _, l := range limits[1:] {
			if l != limits[0] {
				return &env.RowError{Row: r, Err: fmt.Errorf("env: replay: limits %v: every recording has one for all switches", limits)}
			}
		}
		if p.recording(limits[0]) == nil {
			return &env.RowError{Row: r, Err: fmt.Errorf("env: replay: no recording of limit %d: there are %v", limits[0], p.Limits())}
		}
		if p.clock[r]+out.Seconds > p.seconds {
			return &env.RowError{Row: r, Err: fmt.Errorf("env: replay: no window of %d s is left at second %d of %d", out.Seconds, p.clock[r], p.seconds)}
		}
	}
	for i, r := range rows {
		values, valid := out.Row(i)
		p.recording(limit[i*p.switches]).Copy(p.clock[r], values, valid)
		p.clock[r] += out.Seconds
		out.End[i], out.Reason[i] = telemetry.Going, ""
		if p.clock[r]+out.Seconds > p.seconds {
			out.End[i], out.Reason[i] = telemetry.Truncated, "the recording ends"
		}
	}
	return nil
}

// Snapshot appends the row's clock.
func (p *Plant) Snapshot(row int, dst []byte) ([]byte, error) {
	var clock uint32
	if row < len(p.clock) {
		clock = uint32(p.clock[row])
	}
	return binary.LittleEndian.AppendUint32(dst, clock), nil
}

// Restore puts back what Snapshot gave.
func (p *Plant) Restore(row int, src []byte) error {
	if len(src) != 4 || binary.LittleEndian.Uint32(src) > uint32(p.seconds) {
		return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
	}
	for row >= len(p.clock) {
		p.clock = append(p.clock, 0)
	}
	p.clock[row] = int(binary.LittleEndian.Uint32(src))
	return nil
}

// Close does nothing.
func (p *Plant) Close() error { return nil }
