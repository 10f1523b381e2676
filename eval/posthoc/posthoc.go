// Package posthoc scores generated windows as the TimeGAN paper does (Yoon et
// al. 2019, section 5): networks are trained after the fact, one to tell them
// from real windows, one to predict on real windows what it learnt on them.
//
// The protocol is that of the authors' code (github.com/jsyoon0823/TimeGAN,
// metrics): one GRU layer of half as many units as there are features, under
// one dense unit; Adam at 0.001; batches of 128. Their GRU is TensorFlow 1's,
// which resets before the recurrent product; ours and PyTorch's after it.
package posthoc

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

// Set is N windows that stand alone, in [0, 1].
type Set struct {
	Length, Features int       // T, F
	X                []float32 // [N,T,F]
}

// Len is N.
func (s Set) Len() int { return len(s.X) / (s.Length * s.Features) }

// Options are what the protocol leaves open; zero values are its own.
type Options struct {
	Updates int // 2000 of a classifier, 5000 of a predictor
	Batch   int // 128
	Seed    uint64
}

const rate = .001 // of Adam

// Discriminative is |0.5 - accuracy| of a classifier on the fifth of real and
// of generated windows that it was not trained on: 0 where it cannot
// distinguish them, 0.5 where it always can.
func Discriminative(ctx context.Context, be *compute.Backend, real, fake Set, o Options) (float64, error) {
	if err := check(real, fake); err != nil {
		return 0, err
	}
	o.defaults(2000)
	key := rng.Key{Seed: o.Seed, Purpose: rng.BatchOrder}
	trainReal, testReal := divide(real.Len(), key)
	key.B = 1
	trainFake, testFake := divide(fake.Len(), key)
	if len(testReal) == 0 || len(testFake) == 0 {
		return 0, fmt.Errorf("posthoc: %d real and %d generated windows: a fifth of both is tested on", real.Len(), fake.Len())
	}
	m := newModel(be, real.Length, real.Features, real.Features, o)
	n := real.Length * o.Batch
	last := n - o.Batch
	grad := make([]float32, n)
	for u := range o.Updates {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for k, part := range []struct {
			set   Set
			among []int
			label float32
		}{{real, trainReal, 1}, {fake, trainFake, 0}} {
			key := rng.Key{Seed: o.Seed, A: uint32(1 + u), B: uint32(k), Purpose: rng.BatchOrder}
			m.fill(part.set, pick(part.among, o.Batch, key))
			m.run.Forward(m.x, nil, m.y)
			clear(grad)
			nn.BCEWithLogits(m.y[last:], part.label, 1, grad[last:])
			m.run.Backward(grad, nil, m.grad)
		}
		m.step(be)
	}
	right := 0
	for _, part := range []struct {
		set Set
		at  []int
		hit func(float32) bool
	}{{real, testReal, func(x float32) bool { return x > 0 }}, {fake, testFake, func(x float32) bool { return x <= 0 }}} {
		for from := 0; from < len(part.at); from += o.Batch {
			some := part.at[from:min(from+o.Batch, len(part.at))]
			m.fill(part.set, some)
			m.run.Forward(m.x, nil, m.y)
			for _, logit := range m.y[last : last+len(some)] {
				if part.hit(logit) {
					right++
				}
			}
		}
	}
	return math.Abs(.5 - float64(right)/float64(len(testReal)+len(testFake))), nil
}

// Predictive is the mean absolute error, on all real windows, of a predictor
// that learnt on generated ones to give the last feature's next value from the
// other features up to now.
func Predictive(ctx context.Context, be *compute.Backend, real, fake Set, o Options) (float64, error) {
	if err := check(real, fake); err != nil {
		return 0, err
	}
	if real.Features < 2 || real.Length < 2 {
		return 0, fmt.Errorf("posthoc: windows of %d×%d: the last of several features is predicted from the seconds before", real.Length, real.Features)
	}
	o.defaults(5000)
	f, steps := real.Features, real.Length-1
	m := newModel(be, steps, f-1, f, o)
	all := make([]int, fake.Len())
	for i := range all {
		all[i] = i
	}
	grad := make([]float32, steps*o.Batch)
	target := func(s Set, at []int, t, i int) float32 { return s.X[(at[i]*s.Length+t+1)*f+f-1] }
	for u := range o.Updates {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		at := pick(all, o.Batch, rng.Key{Seed: o.Seed, A: uint32(1 + u), Purpose: rng.BatchOrder})
		m.fill(fake, at)
		m.run.Forward(m.x, nil, m.y)
		for row, y := range m.y { // through the sigmoid; slope of |·| over all elements
			p := sigmoid(y)
			grad[row] = p * (1 - p) / float32(len(m.y))
			if p < target(fake, at, row/o.Batch, row%o.Batch) {
				grad[row] = -grad[row]
			}
		}
		m.run.Backward(grad, nil, m.grad)
		m.step(be)
	}
	var sum float64
	at := make([]int, 0, o.Batch)
	for from := 0; from < real.Len(); from += o.Batch {
		at = at[:0]
		for i := from; i < min(from+o.Batch, real.Len()); i++ {
			at = append(at, i)
		}
		m.fill(real, at)
		m.run.Forward(m.x, nil, m.y)
		for t := range steps {
			for i := range at {
				sum += math.Abs(float64(sigmoid(m.y[t*o.Batch+i]) - target(real, at, t, i)))
			}
		}
	}
	return sum / float64(steps*real.Len()), nil
}

func check(real, fake Set) error {
	for _, s := range []Set{real, fake} {
		if s.Length < 1 || s.Features < 1 || s.Len() < 1 || len(s.X) != s.Len()*s.Length*s.Features {
			return fmt.Errorf("posthoc: %d numbers do not make windows of %d×%d", len(s.X), s.Length, s.Features)
		}
	}
	if real.Length != fake.Length || real.Features != fake.Features {
		return fmt.Errorf("posthoc: generated windows are %d×%d, real ones %d×%d", fake.Length, fake.Features, real.Length, real.Features)
	}
	return nil
}

func (o *Options) defaults(updates int) {
	if o.Updates == 0 {
		o.Updates = updates
	}
	if o.Batch == 0 {
		o.Batch = 128
	}
}

// model is the GRU that is trained after the fact, and a batch of it.
type model struct {
	*nn.GRU
	run   *nn.GRURun
	adam  *nn.Adam
	grad  []float32
	in    int       // features that it sees
	steps int       // seconds that it sees
	batch int       // windows
	x, y  []float32 // [T,B,in], [T,B,1]
}

func newModel(be *compute.Backend, steps, in, features int, o Options) *model {
	g := nn.NewGRU(compute.GRUConfig{In: in, Hidden: max(features/2, 1), Layers: 1, Out: 1, Act: compute.Linear})
	g.Init(rng.Key{Seed: o.Seed, Purpose: rng.Init})
	n := len(g.Params().Data)
	return &model{g, g.NewRun(be, steps, o.Batch), nn.NewAdam(n, rate), make([]float32, n), in, steps, o.Batch,
		make([]float32, steps*o.Batch*in), make([]float32, steps*o.Batch)}
}

// fill puts the first features and seconds of windows at into the batch; rows
// beyond them are 0.
func (m *model) fill(s Set, at []int) {
	clear(m.x)
	for i, w := range at {
		for t := range m.steps {
			copy(m.x[(t*m.batch+i)*m.in:][:m.in], s.X[(w*s.Length+t)*s.Features:])
		}
	}
}

func (m *model) step(be *compute.Backend) {
	m.adam.Step(be, m.Params().Data, m.grad)
	clear(m.grad)
}

// divide shuffles 0…n-1 and takes four fifths to train on.
func divide(n int, key rng.Key) (train, test []int) {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	all = pick(all, n, key)
	return all[:n*4/5], all[n*4/5:]
}

// pick draws k of all without putting back, or all of them where k is more
// than there are, in random order.
func pick(all []int, k int, key rng.Key) []int {
	order := append([]int(nil), all...)
	k = min(k, len(order))
	for i := range k {
		j := i + key.Intn(uint32(i), len(order)-i)
		order[i], order[j] = order[j], order[i]
	}
	return order[:k]
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
