package doppelganger

import (
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// fitLength fits the end of sessions of the likelihood mode to the steps that all,
// training's, have in the mean.
func (m *Model) fitLength(be *compute.Backend, all []traffic.Session) error {
	k := m.codec
	if k.Longest == 1 {
		return nil
	}
	var bias *float32
	for _, t := range m.lm.net.Tensors("") {
		if t.Name == "head.0.bias" { // of all sites' classes
			bias = &t.Data.([]float32)[m.lm.at[len(m.lm.sites)-1]]
		}
	}
	want := 0.
	for i := range all {
		want += float64(k.in.Len(&all[i])) / float64(len(all))
	}
	n := int(min(max(1<<16/want, 512), 4096))
	labels, starts := make([]int, block), make([]float64, block)
	return tokens.FitEnd(bias, want, func() (float64, error) {
		r, start, steps := traffic.Request{N: n, Seed: m.Seed}, 0., 0
		for first := 0; first < n; first += block {
			rows := min(block, n-first)
			for i := range rows {
				start += m.pause(r.Seed, first+i)
				labels[i], starts[i] = m.label(&r, first+i), start
			}
			for _, s := range m.lm.draw(be, &r, first, rows, labels, starts) {
				steps += k.Schema.Len(&s)
			}
		}
		return float64(steps) / float64(n), nil
	})
}
