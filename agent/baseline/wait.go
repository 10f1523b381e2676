package baseline

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// wait watches how full the queues are: the average (½ of the new, ½ of
// the old) of mean queueing delay over what a full queue's would be. Above a
// share of it the smallest limit, else the largest.
type wait struct {
	share        float64
	rates        []float64 // packets/s, by switch
	delay        []int     // elements of an observation, by switch
	limits       []p4.Limit
	dim, s       int
	small, large int32
	rows         map[int]*waited
}

type waited struct {
	average []float64 // by action
	limit   []p4.Limit
}

// NewWait is the rule by mean queueing delay: the smallest limit while the average of
// what a switch's delay is of a full queue's is above share, else the largest. rates
// are what switches send, packets/s, by switch; spec's observations hold
// deq_timedeltaN_mean in microseconds.
func NewWait(share float64, rates []float64, spec env.Spec) (agent.Policy, error) {
	w := &wait{share: share, rates: rates, limits: spec.Limits, dim: spec.Observation.Dim(), s: len(spec.Action), rows: map[int]*waited{}}
	for n := range w.rates {
		name := fmt.Sprintf("deq_timedelta%d_mean", n+1)
		at := slices.IndexFunc(spec.Observation.Elements, func(f telemetry.Field) bool { return f.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("the observation has no %s", name)
		}
		w.delay = append(w.delay, at)
	}
	w.small = int32(slices.Index(w.limits, slices.Min(w.limits)))
	w.large = int32(slices.Index(w.limits, slices.Max(w.limits)))
	return w, nil
}

func (w *wait) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		w.rows[env.RowAt(rows, i)] = nil
	}
}

func (w *wait) Act(rows []int, obs []float32, actions []int32) {
	for i := range len(actions) / w.s {
		r := env.RowAt(rows, i)
		st := w.rows[r]
		if st == nil {
			st = &waited{average: make([]float64, w.s), limit: slices.Repeat([]p4.Limit{w.limits[w.large]}, w.s)}
			w.rows[r] = st
		}
		for j := range w.s {
			full := 0.
			for n, at := range w.delay {
				if w.s == 1 || n == j {
					full = max(full, float64(obs[i*w.dim+at])*1e-6*w.rates[n]/float64(st.limit[j]))
				}
			}
			st.average[j] += (full - st.average[j]) / 2
			a := w.large
			if st.average[j] > w.share {
				a = w.small
			}
			actions[i*w.s+j], st.limit[j] = a, w.limits[a]
		}
	}
}
