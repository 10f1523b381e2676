package autoregressive

import (
	"context"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// trialSteps are how many steps are sampled, about, to see how long sessions are.
const trialSteps = 1 << 17

// fitLength fits the end of sessions to training's steps in the mean. Sessions that
// were cut where the recording ended have no length to fit.
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
	return tokens.FitEnd(bias, steps, .005, func() (float64, error) {
		r := traffic.Request{N: sessions, Seed: m.Seed}
		s, n := m.newStream(&r, kernels), 0
		for range r.N {
			x, err := s.next(context.Background()) // seconds: what is trained is to be stored
			if err != nil {
				return 0, err
			}
			n += m.Schema().Len(&x)
		}
		return float64(n) / float64(sessions), nil
	})
}
