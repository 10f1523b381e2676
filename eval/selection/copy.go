package selection

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// copyRows is the length of the windows that are looked up, as the classifiers
// of generated data take them.
const copyRows = 24

// CopyShare is the share of synth's windows of 24 rows that are nearer to a
// train window of real than to a test window, 0.5 where nothing was learnt by
// heart. real is a grid with gaps, split in blocks (telemetry.Split). Windows do not
// cross blocks, distances are over the cells that were measured (at least half
// of a window's), and as many train blocks are drawn as there are test blocks,
// draws times over, because the nearest of more is nearer.
func CopyShare(real, synth Table, draws int, seed uint64) (float64, error) {
	both, _, err := Common(real, synth)
	if err != nil {
		return 0, err
	}
	real, synth = both[0], both[1]
	if n := synth.gaps(); n > 0 || synth.Rows() < copyRows {
		return 0, fmt.Errorf("selection: %d synthetic rows, %d of them with cells without a value", synth.Rows(), n)
	}
	lo, span := make([]float64, len(real.Columns)), make([]float64, len(real.Columns))
	for k := range lo {
		x := slices.DeleteFunc(real.column(k), math.IsNaN)
		if len(x) > 0 {
			lo[k], span[k] = slices.Min(x), slices.Max(x)-slices.Min(x)
		}
	}
	f := len(real.Columns)
	scaled := func(t Table) []float64 {
		out := slices.Clone(t.Values)
		for i := range out {
			if k := i % f; span[k] > 0 {
				out[i] = (out[i] - lo[k]) / span[k]
			} else if !math.IsNaN(out[i]) {
				out[i] = 0
			}
		}
		return out
	}
	r, s := scaled(real), scaled(synth)
	var train, test [][][]float64 // block, window
	for block := 0; block+copyRows <= real.Rows(); block += telemetry.BlockSeconds {
		var windows [][]float64
		for from := block; from+copyRows <= min(block+telemetry.BlockSeconds, real.Rows()); from++ {
			w := r[from*f : (from+copyRows)*f]
			missing := 0
			for _, v := range w {
				if math.IsNaN(v) {
					missing++
				}
			}
			if 2*missing <= len(w) {
				windows = append(windows, w)
			}
		}
		if telemetry.Test.Holds(block) {
			test = append(test, windows)
		} else {
			train = append(train, windows)
		}
	}
	if len(slices.Concat(test...)) == 0 || len(train) < len(test) {
		return 0, fmt.Errorf("selection: %d train and %d test blocks: there is nothing to compare", len(train), len(test))
	}
	nearest := func(w []float64, among [][][]float64) float64 {
		best := math.Inf(1)
		for _, o := range slices.Concat(among...) {
			var sum float64
			var n int
			for i, v := range o {
				if !math.IsNaN(v) {
					sum += (v - w[i]) * (v - w[i])
					n++
				}
			}
			best = min(best, sum/float64(n))
		}
		return best
	}
	var nearer, total float64
	drawn := make([][][]float64, len(test))
	for d := range max(draws, 1) {
		key := rng.Key{Seed: seed, A: uint32(d), Purpose: rng.Bootstrap}
		order := slices.Clone(train)
		for i := range drawn { // the first steps of a Fisher-Yates shuffle
			j := i + key.Intn(uint32(i), len(order)-i)
			order[i], order[j] = order[j], order[i]
			drawn[i] = order[i]
		}
		for from := 0; from+copyRows <= synth.Rows(); from += copyRows {
			w := s[from*f : (from+copyRows)*f]
			a, b := nearest(w, drawn), nearest(w, test)
			switch {
			case a < b:
				nearer++
			case a == b:
				nearer += .5
			}
			total++
		}
	}
	return nearer / total, nil
}
