package structured

import (
	"context"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

const (
	netBatch = 256
	netRate  = 3e-3 // of Adam, falling linearly to a hundredth
)

// train fits a network to n examples in updates of netBatch drawn ones. put
// writes an example's input, slope sets the gradient of its loss in its
// outputs y, and gives the loss. It returns the mean loss of the last quarter.
func train(ctx context.Context, m *nn.MLP, be *compute.Backend, key rng.Key, n, updates int, put func(i int, x []float32), slope func(i int, y, dy []float32) float64) (float64, error) {
	m.Init(key)
	in, out := m.Sizes[0], m.Sizes[len(m.Sizes)-1]
	run, p := m.NewRun(be, netBatch), m.Params()
	adam := nn.NewAdam(len(p.Data), netRate)
	x, y, dy := make([]float32, netBatch*in), make([]float32, netBatch*out), make([]float32, netBatch*out)
	grad, which := make([]float32, len(p.Data)), make([]int, netBatch)
	last := 0.
	for u := range updates {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		draw := rng.Key{Seed: key.Seed, A: uint32(u), B: key.B, Purpose: rng.BatchOrder}
		for b := range netBatch {
			which[b] = draw.Intn(uint32(b), n)
			put(which[b], x[b*in:][:in])
		}
		run.Forward(x, y)
		loss := 0.
		for b, i := range which {
			loss += slope(i, y[b*out:][:out], dy[b*out:][:out]) / netBatch
		}
		for i := range dy {
			dy[i] /= netBatch
		}
		clear(grad)
		run.Backward(dy, nil, grad)
		adam.LR = netRate * (1 - .99*float64(u)/float64(updates))
		adam.Step(be, p.Data, grad)
		if u >= updates-updates/4 {
			last += loss / float64(max(updates/4, 1))
		}
	}
	return last, nil
}

// took is the loss of a download that took lo … hi seconds, or more than lo
// where hi is infinite, if log seconds are normal around mu with deviation
// e^s:
//
//	-log(Φ((log hi - μ)/σ) - Φ((log lo - μ)/σ))
//
// with its slopes in mu and s.
func took(mu, s, lo, hi float64) (loss, dmu, ds float64) {
	sigma := math.Exp(s)
	a := (math.Log(lo) - mu) / sigma
	b, fb, cb := math.Inf(1), 0., 1.
	if !math.IsInf(hi, 1) {
		b = (math.Log(hi) - mu) / sigma
		fb, cb = density(b), cumulative(b)
	}
	fa := density(a)
	p := cb - cumulative(a)
	if a > 0 { // in the upper tail, by symmetry
		cb = 0
		if !math.IsInf(b, 1) {
			cb = cumulative(-b)
		}
		p = cumulative(-a) - cb
	}
	if p < 1e-9 { // far out: the density at the middle
		z := a
		if !math.IsInf(b, 1) {
			z = (a + b) / 2
		}
		return z*z/2 - math.Log(1e-9), -z / sigma, -z * z
	}
	bfb := 0.
	if fb > 0 {
		bfb = b * fb
	}
	return -math.Log(p), (fb - fa) / (p * sigma), (bfb - a*fa) / p
}

func density(x float64) float64    { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }
func cumulative(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

// softmax turns logits into probabilities.
func softmax(y []float32, p []float64) {
	top := math.Inf(-1)
	for _, v := range y {
		top = max(top, float64(v))
	}
	sum := 0.
	for i, v := range y {
		p[i] = math.Exp(float64(v) - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}
