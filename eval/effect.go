package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/telemetry"
)

// Effects are what recordings say a queue limit does, where several limits took
// turns within them: how often queues are full under each limit, which a limit
// must not move, and how the player's buffer changes under each limit in either
// load, which is what a limit is for.
//
// A queue is full in a second in which it holds more than half its limit. A
// second counts from settle seconds after a change of limit on; the transients
// are of the seconds before that.
type Effects struct {
	Limits []int // packets, ascending
	cells  map[cell]*tally
}

// cell is a kind of seconds: those of a switch under a limit, its queue full or
// not; settled, or so many tens of seconds after a change from another limit.
type cell struct {
	sw, limit, before int  // before 0: settled
	tens              int  // since the change; 0 of settled seconds
	full              bool // not distinguished where before is not 0
}

type tally struct{ seconds, rise float64 }

const (
	settle    = 30  // seconds after a change that do not count as settled
	transient = 60  // seconds after a change that are its transient
	enough    = 300 // seconds of a cell that counts
)

// MeasureEffects takes them from recordings. The error says why there are none
// to be seen: one limit a recording, no buffer, no depth.
func MeasureEffects(recordings []telemetry.Recording) (*Effects, error) {
	e := &Effects{cells: map[cell]*tally{}}
	seen := map[int]bool{}
	changes := false
	for _, r := range recordings {
		fields := r.Data.Fields()
		buffer := r.Data.Column("lbo_s")
		if buffer < 0 {
			return nil, fmt.Errorf("eval: effects: the recordings have no lbo_s")
		}
		limits := make([]int32, r.Switches())
		for j, f := range fields {
			n, ok := strings.CutPrefix(f.Name, "enq_qdepth")
			if !ok {
				continue
			}
			sw := 0
			if _, err := fmt.Sscan(n, &sw); err != nil {
				continue
			}
			since, before, last := transient, 0, 0
			for t := range r.Data.Len() {
				r.LimitsAt(t, limits)
				limit := int(limits[min(sw-1, len(limits)-1)])
				if t > 0 && limit != last {
					since, before, changes = 0, last, true
				}
				last = limit
				seen[limit] = true
				since++
				depth, measured := r.Data.At(t, j)
				if t == 0 || !measured {
					continue
				}
				was, a := r.Data.At(t-1, buffer)
				is, b := r.Data.At(t, buffer)
				if !a || !b {
					continue
				}
				full := float64(depth) > .5*float64(limit)
				if since > settle {
					e.add(cell{sw: sw, limit: limit, full: full}, float64(is-was))
				}
				if since <= transient && before != 0 {
					e.add(cell{sw: sw, limit: limit, before: before, tens: (since - 1) / 10}, float64(is-was))
				}
			}
		}
	}
	for l := range seen {
		e.Limits = append(e.Limits, l)
	}
	slices.Sort(e.Limits)
	if !changes || len(e.Limits) < 2 {
		return nil, fmt.Errorf("eval: effects: what a limit does is not identifiable: no limit takes turns with another within a recording")
	}
	return e, nil
}

func (e *Effects) add(c cell, rise float64) {
	t := e.cells[c]
	if t == nil {
		t = &tally{}
		e.cells[c] = t
	}
	t.seconds++
	t.rise += rise
}

// Full is the share of settled seconds in which a switch's queue is full under
// a limit, NaN where too few were recorded.
func (e *Effects) Full(sw, limit int) float64 {
	full, low := e.cells[cell{sw: sw, limit: limit, full: true}], e.cells[cell{sw: sw, limit: limit}]
	a, b := 0., 0.
	if full != nil {
		a = full.seconds
	}
	if low != nil {
		b = low.seconds
	}
	if a+b < enough {
		return math.NaN()
	}
	return a / (a + b)
}

// Drift is the mean change of the buffer in settled seconds under a limit while
// a switch's queue is full or not, s/s; NaN where too few were recorded.
func (e *Effects) Drift(sw, limit int, full bool) float64 {
	return e.mean(cell{sw: sw, limit: limit, full: full}, enough)
}

func (e *Effects) mean(c cell, least float64) float64 {
	t := e.cells[c]
	if t == nil || t.seconds < least {
		return math.NaN()
	}
	return t.rise / t.seconds
}

// EffectErrors are how far a simulator is from recordings in what a limit does.
// NaN is a figure that too few seconds give.
type EffectErrors struct {
	// Exogeneity is the largest difference, over pairs of limits and switches,
	// between how much more often queues are full under one limit than under the
	// other in the simulator and in the recordings.
	Exogeneity Number `json:"exogeneity_error"`
	// Effect is the root mean square error of the buffer's drift by load and
	// limit, s/s.
	Effect Number `json:"effect_error"`
	// Transient is that of the buffer's change in the six tens of seconds after
	// a change from one limit to another, s/s.
	Transient Number `json:"transient_error"`
}

// Against compares a simulator's effects, of rollouts under the recordings'
// limits, with the recordings' own, e.
func (e *Effects) Against(simulated *Effects) EffectErrors {
	switches := map[int]bool{}
	for c := range e.cells {
		switches[c.sw] = true
	}
	worst := math.NaN()
	for sw := range switches {
		if !e.varies(sw) {
			continue
		}
		for i, a := range e.Limits {
			for _, b := range e.Limits[:i] {
				d := math.Abs(simulated.Full(sw, a) - simulated.Full(sw, b) - e.Full(sw, a) + e.Full(sw, b))
				if d == d && !(d <= worst) {
					worst = d
				}
			}
		}
	}
	var settled, passing []float64
	for c, t := range e.cells {
		least, to := float64(enough), &settled
		if c.before != 0 {
			least, to = enough/3, &passing
		}
		if !e.varies(c.sw) || t.seconds < least {
			continue
		}
		if d := simulated.mean(c, 1) - e.mean(c, least); d == d {
			*to = append(*to, d)
		}
	}
	return EffectErrors{Number(worst), Number(rms(settled)), Number(rms(passing))}
}

// varies says whether a switch's queue is full in some seconds and not in
// others: otherwise it says nothing about the load.
func (e *Effects) varies(sw int) bool {
	full, low := false, false
	for c, t := range e.cells {
		if c.sw == sw && c.before == 0 && t.seconds >= enough {
			full, low = full || c.full, low || !c.full
		}
	}
	return full && low
}

func rms(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	slices.Sort(x) // the order of a map's cells must not be in the sum
	sum := 0.
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(x)))
}
