package telemetry

import (
	"errors"
	"maps"
	"slices"

	"github.com/planegym/planegym/internal/rng"
)

// Session reports whether the limit may change within r: what a limit does can be
// learnt from sessions alone.
func (r Recording) Session() bool { return r.Limits != nil || r.PerSwitch != nil }

// LimitsOf are the limits in force in recordings, packets, in ascending order; the
// first switch's where switches had limits of their own.
func LimitsOf(all []Recording) []int {
	limits := map[int]bool{}
	for _, r := range all {
		for t := range r.Data.Len() {
			limits[r.LimitAt(t)] = true
		}
	}
	return slices.Sorted(maps.Keys(limits))
}

// ShuffleLimits deals the limits out anew among the stretches of time in which one
// was in force: a null model, in which what a limit does is lost and all else is as
// it was. Data is shared with all. One limit must hold for all switches.
func ShuffleLimits(all []Recording, seed uint64) ([]Recording, error) {
	type stretch struct{ of, from, to, limit int }
	var cut []stretch
	for i, r := range all {
		if r.Switches() > 1 {
			return nil, errors.New("the recordings have a limit for each switch: one for all can be dealt out anew")
		}
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
	out := make([]Recording, len(all))
	for i, r := range all {
		out[i] = Recording{Data: r.Data, Limits: make([]int, r.Data.Len())}
	}
	for _, c := range cut {
		for t := c.from; t < c.to; t++ {
			out[c.of].Limits[t] = c.limit
		}
	}
	return out, nil
}
