package timegan

import (
	"math"

	"github.com/planegym/planegym/internal/nn"
)

// Losses of the generator that the paper does not have. DESIGN.md says what each
// is for and what it gains.

// FloorSD is added to a standard deviation that something is divided by: what
// hardly varies in one batch must not outweigh the rest.
const FloorSD = .02

// CovarianceLags are the distances, in seconds, at which channels are compared.
var CovarianceLags = [...]int{0, 1, 3, 9}

// changes is the moment loss of the changes from second to second, on the
// scale of real ones, over all seconds of a batch: with d = x[t+1] - x[t], the
// mean over channels of |SD fake - SD real| + |mean fake - mean real|, over
// (SD real + 0.02). Its gradient goes to dX.
func (t *trainer) changes(x []float32) float64 {
	if t.c.Changes <= 0 {
		return 0
	}
	f, B, T := t.data.Channels(), t.c.Batch, t.data.Length
	n := B * f
	for i := range t.dDelta {
		t.deltaX[i] = x[i+n] - x[i]
		t.deltaReal[i] = t.batch.x[i+n] - t.batch.x[i]
	}
	_, sd := t.spread(t.deltaReal)
	for i := range t.dDelta {
		t.deltaX[i] /= sd[i%f]
		t.deltaReal[i] /= sd[i%f]
	}
	clear(t.dDelta)
	loss := nn.Moments(t.deltaX, t.deltaReal, 1, (T-1)*B, f, float32(t.c.Changes), t.dDelta)
	for i, d := range t.dDelta {
		d /= sd[i%f]
		t.dX[i+n] += d
		t.dX[i] -= d
	}
	return loss
}

// spread gives each channel's mean and floored standard deviation.
func (t *trainer) spread(x []float32) (mean, sd []float32) {
	f := t.data.Channels()
	n := float64(len(x) / f)
	for k := range f {
		var m, s float64
		for i := k; i < len(x); i += f {
			m += float64(x[i]) / n
		}
		for i := k; i < len(x); i += f {
			s += (float64(x[i]) - m) * (float64(x[i]) - m) / n
		}
		t.mean[k], t.sd[k] = float32(m), float32(math.Sqrt(s))+FloorSD
	}
	return t.mean, t.sd
}

// covariances compares how channels go together, at once and seconds apart:
// with u = (x - mean real)/(SD real + 0.02), the mean over lags l and pairs of
// channels i, j of
//
//	|Σ u_i[t]·u_j[t+l] fake - the same real| / how many t there are
//
// Its gradient goes to dX.
func (t *trainer) covariances(x []float32) float64 {
	if t.c.Covariances <= 0 {
		return 0
	}
	f, B, T := t.data.Channels(), t.c.Batch, t.data.Length
	mean, sd := t.spread(t.batch.x)
	for i := range t.unit {
		t.unit[i] = (x[i] - mean[i%f]) / sd[i%f]
		t.unitReal[i] = (t.batch.x[i] - mean[i%f]) / sd[i%f]
	}
	clear(t.dUnit)
	var loss float64
	for _, lag := range CovarianceLags {
		n := (T - lag) * B
		if n <= 0 {
			continue
		}
		far := lag * B * f // apart
		clear(t.products)
		clear(t.realProducts)
		nn.Cross(t.be, t.products, t.unit[:n*f], t.unit[far:], f, f)
		nn.Cross(t.be, t.realProducts, t.unitReal[:n*f], t.unitReal[far:], f, f)
		pairs := float64(f * f * len(CovarianceLags))
		w := float32(t.c.Covariances / pairs / float64(n))
		for i, p := range t.products { // becomes the gradient of each product
			p -= t.realProducts[i]
			t.products[i] = p // a NaN or 0 stays
			loss += math.Abs(float64(p)) / float64(n) / pairs
			switch {
			case p > 0:
				t.products[i] = w
			case p < 0:
				t.products[i] = -w
			}
		}
		nn.CrossBack(t.be, t.dUnit[:n*f], t.dUnit[far:], t.unit[:n*f], t.unit[far:], t.products, f, f)
	}
	for i, d := range t.dUnit {
		t.dX[i] += d / sd[i%f]
	}
	return loss
}
