package autoregressive

import (
	"context"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/traffic"
)

// trialSteps are how many steps are sampled, about, to see how long sessions are,
// at most trials times.
const (
	trialSteps = 1 << 17
	trials     = 6
)

// fitLength shifts the logit of a session's end until sampled sessions have as
// many steps in the mean as training's, steps. The network learns each step's
// chance to be the last, and small errors of it add up over a long session; a
// load is its mean rate first. Sessions that were cut where the recording ended
// have no length to fit. The chances of what follows a step that is not the last
// do not change by it.
func (m *Model) fitLength(kernels compute.Kernels, steps float64) error {
	if m.census.MaxSteps > 0 {
		return nil
	}
	sessions := int(min(max(trialSteps/steps, 512), 8192))
	var bias *float32
	for _, t := range m.net.Tensors("") {
		if t.Name == "head.0.bias" {
			bias = &t.Data.([]float32)[m.end()]
		}
	}
	best, closest := *bias, math.Inf(1)
	for range trials {
		r := traffic.Request{N: sessions, Seed: m.Seed}
		s, n := m.newStream(&r, kernels), 0
		for range r.N {
			x, err := s.next(context.Background()) // seconds: what is trained is to be stored
			if err != nil {
				return err
			}
			n += m.Schema().Len(&x)
		}
		off := math.Log(float64(n) / float64(sessions) / steps)
		if math.Abs(off) < closest {
			best, closest = *bias, math.Abs(off)
		}
		if closest < .005 {
			break
		}
		*bias += float32(min(max(off, -1), 1))
	}
	*bias = best
	return nil
}
