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
	a, b := features(real), features(fake)
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

// features are the outputs of the network for each window, [N,2·kernels].
func features(s posthoc.Set) *mat.Dense {
	f := s.Features
	out := mat.NewDense(s.Len(), 2*kernels, nil)
	for k := range kernels {
		key := rng.Key{Seed: featureSeed, A: uint32(k), Purpose: rng.Init}
		length, dilation := []int{3, 5, 7}[k%3], []int{1, 2, 4}[k/3%3]
		for (length-1)*dilation+1 > s.Length && (dilation > 1 || length > 1) {
			if dilation > 1 {
				dilation /= 2
			} else {
				length--
			}
		}
		w := make([]float64, length*f)
		for i := range w {
			z, _ := key.Normal(uint32(i))
			w[i] = z / math.Sqrt(float64(len(w)))
		}
		bias, _ := key.Normal(uint32(len(w)))
		bias /= 2
		steps := s.Length - (length-1)*dilation
		for n := range s.Len() {
			x := s.X[n*s.Length*f:][:s.Length*f]
			top, mean := math.Inf(-1), 0.
			for t := range steps {
				y := bias
				for i := range length {
					for j := range f {
						y += w[i*f+j] * (2*float64(x[(t+i*dilation)*f+j]) - 1)
					}
				}
				top = max(top, y)
				mean += max(y, 0) / float64(steps)
			}
			out.Set(n, 2*k, top)
			out.Set(n, 2*k+1, mean)
		}
	}
	return out
}
