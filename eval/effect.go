package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/rng"
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
	Limits   []int // packets, ascending
	cells    tallies
	sessions []tallies // by recording: what the scatter is measured from
}

type tallies map[cell]tally

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
	e := &Effects{}
	seen := map[int]bool{}
	changes := false
	for _, r := range recordings {
		cells := tallies{}
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
					cells.add(cell{sw: sw, limit: limit, full: full}, float64(is-was))
				}
				if since <= transient && before != 0 {
					cells.add(cell{sw: sw, limit: limit, before: before, tens: (since - 1) / 10}, float64(is-was))
				}
			}
		}
		e.sessions = append(e.sessions, cells)
	}
	e.cells = merge(e.sessions)
	for l := range seen {
		e.Limits = append(e.Limits, l)
	}
	slices.Sort(e.Limits)
	if !changes || len(e.Limits) < 2 {
		return nil, fmt.Errorf("eval: effects: what a limit does is not identifiable: no limit takes turns with another within a recording")
	}
	return e, nil
}

func (t tallies) add(c cell, rise float64) {
	of := t[c]
	t[c] = tally{of.seconds + 1, of.rise + rise}
}

// merge adds sessions up, in their order.
func merge(sessions []tallies) tallies {
	all := tallies{}
	for _, s := range sessions {
		for c, t := range s {
			of := all[c]
			all[c] = tally{of.seconds + t.seconds, of.rise + t.rise}
		}
	}
	return all
}

// Full is the share of settled seconds in which a switch's queue is full under
// a limit, NaN where too few were recorded.
func (e *Effects) Full(sw, limit int) float64 { return e.cells.full(sw, limit, enough) }

func (t tallies) full(sw, limit int, least float64) float64 {
	a, b := t[cell{sw: sw, limit: limit, full: true}].seconds, t[cell{sw: sw, limit: limit}].seconds
	if a+b < least {
		return math.NaN()
	}
	return a / (a + b)
}

// Drift is the mean change of the buffer in settled seconds under a limit while
// a switch's queue is full or not, s/s; NaN where too few were recorded.
func (e *Effects) Drift(sw, limit int, full bool) float64 {
	return e.cells.mean(cell{sw: sw, limit: limit, full: full}, enough)
}

func (t tallies) mean(c cell, least float64) float64 {
	of := t[c]
	if of.seconds < least || of.seconds == 0 {
		return math.NaN()
	}
	return of.rise / of.seconds
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
	return e.cells.against(simulated.cells, e.Limits, 1)
}

// Interval is the 95 % interval of Against by resampling sessions of both, for
// each figure {lowest, highest}. Figures are absolute, so that scatter adds to
// them: see Floor.
func (e *Effects) Interval(simulated *Effects, seed uint64) (low, high EffectErrors) {
	const draws = 200
	var all [3][]float64
	for d := range draws {
		pick := func(from []tallies, which uint32) tallies {
			key := rng.Key{Seed: seed, A: uint32(d), B: which, Purpose: rng.Bootstrap}
			some := make([]tallies, len(from))
			for i := range some {
				some[i] = from[key.Intn(uint32(i), len(from))]
			}
			return merge(some)
		}
		got := pick(e.sessions, 0).against(pick(simulated.sessions, 1), e.Limits, 1)
		for i, x := range got.list() {
			if x == x {
				all[i] = append(all[i], x)
			}
		}
	}
	var lo, hi [3]float64
	for i, x := range all {
		slices.Sort(x)
		if lo[i], hi[i] = math.NaN(), math.NaN(); len(x) > 0 {
			lo[i], hi[i] = telemetry.Quantile(x, .025), telemetry.Quantile(x, .975)
		}
	}
	return errorsOf(lo), errorsOf(hi)
}

// Floor is what the system that was recorded would itself be given: another set
// of as many sessions differs so much from these by chance. It is the mean, over
// random halves of the sessions, of the errors of one half against the other,
// over the square root of 2. NaN of one session.
func (e *Effects) Floor(seed uint64) EffectErrors {
	const splits = 40
	half := len(e.sessions) / 2
	var sum, n [3]float64
	for d := range splits {
		if half == 0 {
			break
		}
		key := rng.Key{Seed: seed, A: uint32(d), B: 2, Purpose: rng.Bootstrap}
		order := slices.Clone(e.sessions)
		for i := range order {
			j := i + key.Intn(uint32(i), len(order)-i)
			order[i], order[j] = order[j], order[i]
		}
		got := merge(order[:half]).against(merge(order[half:2*half]), e.Limits, .5)
		for i, x := range got.list() {
			if x == x {
				sum[i], n[i] = sum[i]+x, n[i]+1
			}
		}
	}
	for i := range sum {
		sum[i] /= n[i] * math.Sqrt2 // 0/0: not known
	}
	return errorsOf(sum)
}

func (x EffectErrors) list() [3]float64 {
	return [3]float64{float64(x.Exogeneity), float64(x.Effect), float64(x.Transient)}
}

func errorsOf(x [3]float64) EffectErrors {
	return EffectErrors{Number(x[0]), Number(x[1]), Number(x[2])}
}

// against is Against of sums; cells count from a share of the seconds that
// they need otherwise.
func (t tallies) against(simulated tallies, limits []int, share float64) EffectErrors {
	switches := map[int]bool{}
	for c := range t {
		switches[c.sw] = true
	}
	varies := map[int]bool{}
	for sw := range switches {
		varies[sw] = t.varies(sw, share)
	}
	worst := math.NaN()
	least := share * enough
	for sw := range switches {
		if !varies[sw] {
			continue
		}
		for i, a := range limits {
			for _, b := range limits[:i] {
				d := math.Abs(simulated.full(sw, a, least) - simulated.full(sw, b, least) - t.full(sw, a, least) + t.full(sw, b, least))
				if d == d && !(d <= worst) {
					worst = d
				}
			}
		}
	}
	var settled, passing []float64
	for c, of := range t {
		need, to := least, &settled
		if c.before != 0 {
			need, to = least/3, &passing
		}
		if !varies[c.sw] || of.seconds < need {
			continue
		}
		if d := simulated.mean(c, 1) - t.mean(c, need); d == d {
			*to = append(*to, d)
		}
	}
	return errorsOf([3]float64{worst, rms(settled), rms(passing)})
}

// varies says whether a switch's queue is full in some seconds and not in
// others: otherwise it says nothing about the load.
func (t tallies) varies(sw int, share float64) bool {
	full, low := false, false
	for c, of := range t {
		if c.sw == sw && c.before == 0 && of.seconds >= share*enough {
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
