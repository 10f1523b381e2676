package protocol

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/planegym/planegym/eval/posthoc"
	"github.com/planegym/planegym/internal/rng"
)

// Correlational is a tenth of the sum, over pairs of columns i ≤ j, of how far
// their correlation over all rows of all windows is apart,
//
//	1/10 Σ |ρ_ij(real) - ρ_ij(generated)|
//
// the correlational score of Diffusion-TS's code (after Ni et al.: "Conditional
// Sig-Wasserstein GANs for Time Series Generation", 2020). A column that is
// constant in either set adds nothing.
func Correlational(real, fake posthoc.Set) float64 {
	a, b := correlations(real), correlations(fake)
	sum := 0.
	for i := range a {
		if d := math.Abs(a[i] - b[i]); d == d {
			sum += d / 10
		}
	}
	return sum
}

func correlations(s posthoc.Set) []float64 {
	f := s.Features
	n := len(s.X) / f
	column := func(j int) []float64 {
		x := make([]float64, n)
		for t := range n {
			x[t] = float64(s.X[t*f+j])
		}
		return x
	}
	var all []float64
	for i := range f {
		x := column(i)
		for j := range i {
			all = append(all, stat.Correlation(x, column(j), nil))
		}
	}
	return all
}

// The features of Frechet: so many random convolutions, of lengths 3, 5 and 7,
// dilated by 1, 2 and 4 rows where they fit.
const (
	kernels     = 48
	featureSeed = 1
)

// Frechet is the Fréchet distance of two Gaussians fitted to features of real
// and of generated windows,
//
//	|μ_r - μ_g|² + tr(C_r + C_g - 2 (C_r^½ C_g C_r^½)^½)
//
// divided by the number of features. The features are those of a fixed network
// with random weights: 48 convolutions over all columns (after ROCKET: Dempster,
// Petitjean, Webb, 2020), of each the largest output in a window and the mean of
// its positive part; each feature is scaled by its mean and deviation on real
// windows. Papers' Context-FID is of a network that they train: the two are not
// comparable, but any two sets of windows of one table are.
func Frechet(real, fake posthoc.Set) (float64, error) {
	net := newNetwork(real)
	a, b := net.features(real), net.features(fake)
	rows, d := a.Dims()
	for j := range d {
		x := mat.Col(nil, j, a)
		m, sd := stat.MeanStdDev(x, nil)
		if !(sd > 1e-9) {
			sd = 1
		}
		for i := range rows {
			a.Set(i, j, (a.At(i, j)-m)/sd)
		}
		n, _ := b.Dims()
		for i := range n {
			b.Set(i, j, (b.At(i, j)-m)/sd)
		}
	}
	var ca, cb mat.SymDense
	stat.CovarianceMatrix(&ca, a, nil)
	stat.CovarianceMatrix(&cb, b, nil)
	dist := 0.
	for j := range d {
		diff := stat.Mean(mat.Col(nil, j, a), nil) - stat.Mean(mat.Col(nil, j, b), nil)
		dist += diff*diff + ca.At(j, j) + cb.At(j, j)
	}
	half, err := root(&ca)
	if err != nil {
		return 0, err
	}
	var inner mat.Dense
	inner.Product(half, &cb, half)
	sym := mat.NewSymDense(d, nil)
	for i := range d {
		for j := range i + 1 {
			sym.SetSym(i, j, (inner.At(i, j)+inner.At(j, i))/2)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(sym, false) {
		return 0, errors.New("protocol: frechet: the features' covariances have no eigenvalues")
	}
	for _, v := range e.Values(nil) {
		dist -= 2 * math.Sqrt(max(v, 0))
	}
	return max(dist, 0) / float64(d), nil
}

// root is the symmetric square root of a covariance.
func root(c *mat.SymDense) (*mat.Dense, error) {
	var e mat.EigenSym
	if !e.Factorize(c, true) {
		return nil, errors.New("protocol: frechet: the features' covariances have no eigenvalues")
	}
	var v mat.Dense
	e.VectorsTo(&v)
	values := e.Values(nil)
	for i := range values {
		values[i] = math.Sqrt(max(values[i], 0))
	}
	var out mat.Dense
	out.Product(&v, mat.NewDiagDense(len(values), values), v.T())
	return &out, nil
}

// convolution is one of the network's: weights [length,F] over rows so far apart.
type convolution struct {
	length, dilation int
	w                []float64
	bias             float64
}

type network []convolution

// newNetwork draws the weights; a convolution's bias makes its mean output on
// real windows 0.
func newNetwork(real posthoc.Set) network {
	var net network
	f := real.Features
	for k := range kernels {
		key := rng.Key{Seed: featureSeed, A: uint32(k), Purpose: rng.Init}
		c := convolution{length: []int{3, 5, 7}[k%3], dilation: []int{1, 2, 4}[k/3%3]}
		for c.rows() > real.Length {
			if c.dilation > 1 {
				c.dilation /= 2
			} else {
				c.length--
			}
		}
		c.w = make([]float64, c.length*f)
		for i := range c.w {
			z, _ := key.Normal(uint32(i))
			c.w[i] = z / math.Sqrt(float64(len(c.w)))
		}
		sum, n := 0., 0
		c.run(real, func(_ int, out []float64) {
			for _, y := range out {
				sum += y
			}
			n += len(out)
		})
		c.bias = -sum / float64(n)
		net = append(net, c)
	}
	return net
}

// rows is how many rows an output is of.
func (c *convolution) rows() int { return (c.length-1)*c.dilation + 1 }

// run gives each window's outputs.
func (c *convolution) run(s posthoc.Set, each func(window int, out []float64)) {
	f := s.Features
	out := make([]float64, s.Length-c.rows()+1)
	for n := range s.Len() {
		x := s.X[n*s.Length*f:][:s.Length*f]
		for t := range out {
			y := c.bias
			for i := range c.length {
				row := x[(t+i*c.dilation)*f:][:f]
				for j, v := range row {
					y += c.w[i*f+j] * float64(v)
				}
			}
			out[t] = y
		}
		each(n, out)
	}
}

// features are the outputs of the network for each window, [N,2·kernels].
func (net network) features(s posthoc.Set) *mat.Dense {
	to := mat.NewDense(s.Len(), 2*len(net), nil)
	for k := range net {
		net[k].run(s, func(n int, out []float64) {
			top, mean := math.Inf(-1), 0.
			for _, y := range out {
				top = max(top, y)
				mean += max(y, 0) / float64(len(out))
			}
			to.Set(n, 2*k, top)
			to.Set(n, 2*k+1, mean)
		})
	}
	return to
}
