package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
)

type judge struct {
	train, held *traffic.Set
	net         *features
	seed        uint64
	real        [2][]float64 // mean and covariance of held-out features
}

func newJudge(train, held *traffic.Set, seed uint64) (*judge, error) {
	j := &judge{train: train, held: held, seed: seed, net: newFeatures(train, seed)}
	j.real[0], j.real[1] = moments(j.net.of(held))
	return j, nil
}

// figures judges a generator by series that it draws, of each class as many.
func (j *judge) figures(draw func(labels []int, n int, seed uint64) (*traffic.Set, error)) (map[string]float64, error) {
	c, added := len(j.train.Of.Labels), []int{0, *upTo / 4, *upTo / 2, *upTo}
	labels := make([]int, c)
	for i := range labels {
		labels[i] = i
	}
	drawn, err := draw(labels, c*max(*upTo, 60), j.seed+1000)
	if err != nil {
		return nil, err
	}
	// The same shares of classes as are held out.
	same := &traffic.Set{Of: drawn.Of}
	for l := range c {
		of := byLabel(drawn, l)
		same.Sessions = append(same.Sessions, of[:min(len(of), len(byLabel(j.held, l)))]...)
	}
	mean, cov := moments(j.net.of(same))
	fig := map[string]float64{"1 Fréchet": frechet(mean, cov, j.real[0], j.real[1])}
	fig["2 TSTR F1"] = j.forest(same)
	for _, n := range added {
		mix := &traffic.Set{Of: j.train.Of}
		for l := range c {
			mix.Sessions = append(mix.Sessions, byLabel(j.train, l)[:*few]...)
			of := byLabel(drawn, l)
			mix.Sessions = append(mix.Sessions, of[:min(n, len(of))]...)
		}
		fig[fmt.Sprintf("3 F1 of %d real + %3d", *few, n)] = j.forest(mix)
	}
	return fig, nil
}

// forest is the macro-F1 on held-out series of a forest trained on a set.
func (j *judge) forest(set *traffic.Set) float64 {
	examples := func(s *traffic.Set) (x [][]float32, y []int) {
		for i := range s.Sessions {
			x, y = append(x, eval.SeriesFeatures(&s.Sessions[i])), append(y, s.Sessions[i].Label)
		}
		return x, y
	}
	x, y := examples(set)
	tx, ty := examples(j.held)
	f1, _ := eval.Grow(x, y, len(j.train.Of.Labels), 200, j.seed).Score(tx, ty)
	return f1
}

// features is a classifier of real series, whose last hidden layer is the space
// of the Fréchet distance.
type features struct {
	mlp  *nn.MLP
	be   *compute.Backend
	hash string
}

const hidden = 24

// series is what the network sees of one: its features, on a scale of about 1.
func series(s *traffic.Session, into []float32) {
	for i, v := range eval.SeriesFeatures(s) {
		into[i] = v / 8
		if i%21 >= 2 && i%21 < 5 {
			into[i] = v / 64 // counts and places of ticks
		}
	}
}

// newFeatures trains a network of one hidden layer of 64 and one of 24 units on
// series and their classes, 400 updates of 64.
func newFeatures(train *traffic.Set, seed uint64) *features {
	classes, width := len(train.Of.Labels), len(eval.SeriesFeatures(&train.Sessions[0]))
	f := &features{mlp: nn.NewMLP([]int{width, 64, hidden, classes}, nn.Tanh, nn.Linear), be: compute.NewBackend(compute.Go, 1)}
	f.mlp.Init(rng.Key{Seed: seed, A: 77, Purpose: rng.Init})
	p := f.mlp.Params().Data
	adam, grad, run := nn.NewAdam(len(p), 2e-3), make([]float32, len(p)), f.mlp.NewRun(f.be, 64)
	ce, loss := nn.NewSoftmaxCE([]int{classes}), make([]float64, 1)
	x, y, v := make([]float32, 64*width), make([]float32, 64*classes), make([]int32, 64)
	for u := range 400 {
		for row := range 64 {
			s := &train.Sessions[rng.Key{Seed: seed, A: uint32(u), B: uint32(row), Purpose: rng.Judging}.Intn(0, train.Len())]
			series(s, x[row*width:])
			v[row] = int32(s.Label)
		}
		run.Forward(x, y)
		clear(grad)
		ce.Loss(f.be, y, v, nil, 1./64, loss)
		run.Backward(y, nil, grad)
		adam.Step(f.be, p, grad)
	}
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, p)
	f.hash = hex.EncodeToString(h.Sum(nil))[:16]
	return f
}

// of is the last hidden layer's activations of series, and forward their
// classes' logits.
func (f *features) of(set *traffic.Set) [][]float64 {
	c := f.mlp.Sizes
	cut := nn.NewMLP(c[:len(c)-1], nn.Tanh, nn.Tanh)
	copy(cut.Params().Data, f.mlp.Params().Data)
	return apply(cut, f.be, set)
}

func (f *features) accuracy(set *traffic.Set) float64 {
	right := 0
	for i, y := range apply(f.mlp, f.be, set) {
		best := 0
		for k := range y {
			if y[k] > y[best] {
				best = k
			}
		}
		if best == set.Sessions[i].Label {
			right++
		}
	}
	return float64(right) / float64(set.Len())
}

func apply(m *nn.MLP, be *compute.Backend, set *traffic.Set) [][]float64 {
	in, out := m.Sizes[0], m.Sizes[len(m.Sizes)-1]
	x, y := make([]float32, set.Len()*in), make([]float32, set.Len()*out)
	for i := range set.Sessions {
		series(&set.Sessions[i], x[i*in:][:in])
	}
	m.NewRun(be, set.Len()).Forward(x, y)
	rows := make([][]float64, set.Len())
	for i := range rows {
		for _, v := range y[i*out:][:out] {
			rows[i] = append(rows[i], float64(v))
		}
	}
	return rows
}

func moments(x [][]float64) (mean, cov []float64) {
	d := len(x[0])
	mean, cov = make([]float64, d), make([]float64, d*d)
	for _, r := range x {
		for i, v := range r {
			mean[i] += v / float64(len(x))
		}
	}
	for _, r := range x {
		for i := range d {
			for k := range d {
				cov[i*d+k] += (r[i] - mean[i]) * (r[k] - mean[k]) / float64(len(x)-1)
			}
		}
	}
	return mean, cov
}

// frechet is the squared distance of two normal distributions (Dowson and Landau
// 1982): |m-n|² + tr(A + B - 2(√A·B·√A)^½).
func frechet(m, a, n, b []float64) float64 {
	d := len(m)
	sum := 0.
	for i := range m {
		sum += (m[i] - n[i]) * (m[i] - n[i])
	}
	root := func(s *mat.SymDense) (*mat.SymDense, float64) {
		var e mat.EigenSym
		e.Factorize(s, true)
		var v mat.Dense
		e.VectorsTo(&v)
		values := e.Values(nil)
		trace := 0.
		for i := range values {
			values[i] = math.Sqrt(max(values[i], 0))
			trace += values[i]
		}
		out := mat.NewSymDense(d, nil)
		for i := range d {
			for k := i; k < d; k++ {
				x := 0.
				for l := range d {
					x += v.At(i, l) * values[l] * v.At(k, l)
				}
				out.SetSym(i, k, x)
			}
		}
		return out, trace
	}
	sa, sb := mat.NewSymDense(d, a), mat.NewSymDense(d, b)
	ra, _ := root(sa)
	var c, e mat.Dense
	c.Mul(ra, sb)
	e.Mul(&c, ra)
	mid := mat.NewSymDense(d, nil)
	for i := range d {
		for k := i; k < d; k++ {
			mid.SetSym(i, k, (e.At(i, k)+e.At(k, i))/2)
		}
	}
	_, trace := root(mid)
	return sum + mat.Trace(sa) + mat.Trace(sb) - 2*trace
}
