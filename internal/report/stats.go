package report

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot/plotter"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// cdf is the empirical distribution at no more than n points.
func cdf(v []float64, n int) (x, y []float64) {
	s := slices.Sorted(slices.Values(v))
	n = min(n, len(s))
	for i := range n {
		j := i * (len(s) - 1) / max(n-1, 1)
		x, y = append(x, s[j]), append(y, float64(j+1)/float64(len(s)))
	}
	return x, y
}

// kde is a Gaussian kernel density at n points over the data's range, with
// Silverman's bandwidth (1986, equation 3.31).
func kde(v []float64, n int) (at, density []float64) {
	s := slices.Sorted(slices.Values(v))
	lo, hi := s[0], s[len(s)-1]
	spread := stat.StdDev(s, nil)
	if iqr := telemetry.Quantile(s, .75) - telemetry.Quantile(s, .25); iqr > 0 {
		spread = min(spread, iqr/1.34)
	}
	h := .9 * spread * math.Pow(float64(len(s)), -.2)
	if !(h > 0) {
		h = max(math.Abs(lo), 1) * 1e-3
	}
	lo, hi = lo-h, hi+h
	for i := range n {
		x := lo + (hi-lo)*float64(i)/float64(n-1)
		var sum float64
		from, _ := slices.BinarySearch(s, x-5*h)
		for _, y := range s[from:] {
			if y > x+5*h {
				break
			}
			sum += math.Exp(-.5 * (x - y) * (x - y) / (h * h))
		}
		at, density = append(at, x), append(density, sum)
	}
	return at, density
}

// acf is the autocorrelation at lags 0…n over the pairs that were measured.
func acf(v []float64, n int) []float64 {
	var sum, count float64
	for _, x := range v {
		if !math.IsNaN(x) {
			sum, count = sum+x, count+1
		}
	}
	mean := sum / count
	out := make([]float64, n+1)
	for lag := range out {
		var c, pairs float64
		for i := lag; i < len(v); i++ {
			if p := (v[i] - mean) * (v[i-lag] - mean); !math.IsNaN(p) {
				c, pairs = c+p, pairs+1
			}
		}
		out[lag] = c / pairs
	}
	for lag, zero := n, out[0]; lag >= 0; lag-- {
		out[lag] /= zero // NaN where the column is constant
	}
	return out
}

// movingMean averages the measured values of n seconds.
func movingMean(v []float64, n int) []float64 {
	out := make([]float64, len(v))
	var sum, count float64
	for i, x := range v {
		if !math.IsNaN(x) {
			sum, count = sum+x, count+1
		}
		if i >= n && !math.IsNaN(v[i-n]) {
			sum, count = sum-v[i-n], count-1
		}
		out[i] = math.NaN()
		if count > 0 {
			out[i] = sum / count
		}
	}
	return out
}

// thin keeps of x, y the extremes of each of n stretches, so that no peak is
// lost.
func thin(x, y []float64, n int) ([]float64, []float64) {
	if len(y) <= 2*n {
		return x, y
	}
	var tx, ty []float64
	for b := range n {
		from, to := b*len(y)/n, (b+1)*len(y)/n
		low, high := -1, -1
		for i := from; i < to; i++ {
			if math.IsNaN(y[i]) {
				continue
			}
			if low < 0 || y[i] < y[low] {
				low = i
			}
			if high < 0 || y[i] > y[high] {
				high = i
			}
		}
		if low < 0 {
			tx, ty = append(tx, x[from]), append(ty, math.NaN())
			continue
		}
		first, last := min(low, high), max(low, high)
		tx, ty = append(tx, x[first]), append(ty, y[first])
		if last > first {
			tx, ty = append(tx, x[last]), append(ty, y[last])
		}
	}
	return tx, ty
}

// spearman is the rank correlation of every pair of columns over the rows in
// which both were measured, [f,f]; NaN where one is constant.
func spearman(values []float64, f int) []float64 {
	out := make([]float64, f*f)
	for a := range f {
		for b := range a + 1 {
			var x, y []float64
			for i := 0; i < len(values); i += f {
				if p, q := values[i+a], values[i+b]; !math.IsNaN(p) && !math.IsNaN(q) {
					x, y = append(x, p), append(y, q)
				}
			}
			r := math.NaN()
			if len(x) > 1 {
				r = eval.Spearman(x, y)
			}
			out[a*f+b], out[b*f+a] = r, r
		}
	}
	return out
}

// windows cuts values [T,F] into at most n windows of so many seconds, evenly
// placed, gaps filled with the last value, columns standardised by mean and sd.
func windows(values []float64, f, seconds, n int, mean, sd []float64) *mat.Dense {
	t := len(values) / f
	n = min(n, t-seconds+1)
	if n < 1 {
		return nil
	}
	filled := slices.Clone(values)
	for c := range f {
		last := mean[c]
		for i := c; i < len(filled); i += f {
			if math.IsNaN(filled[i]) {
				filled[i] = last
			}
			last = filled[i]
			filled[i] = (filled[i] - mean[c]) / sd[c]
		}
	}
	out := mat.NewDense(n, seconds*f, nil)
	for i := range n {
		at := i * (t - seconds) / max(n-1, 1)
		out.SetRow(i, filled[at*f:(at+seconds)*f])
	}
	return out
}

// moments are mean and standard deviation of each column's measured values;
// an sd of 0 is 1.
func moments(values []float64, f int) (mean, sd []float64) {
	for c := range f {
		var v []float64
		for i := c; i < len(values); i += f {
			if !math.IsNaN(values[i]) {
				v = append(v, values[i])
			}
		}
		m, s := 0., 1.
		if len(v) > 1 {
			if m, s = stat.MeanStdDev(v, nil); s == 0 {
				s = 1
			}
		}
		mean, sd = append(mean, m), append(sd, s)
	}
	return mean, sd
}

// pca projects every set's windows onto the first two principal components of
// the first set's.
func pca(sets []*mat.Dense) ([]plotter.XYs, bool) {
	var pc stat.PC
	if !pc.PrincipalComponents(sets[0], nil) {
		return nil, false
	}
	var v mat.Dense
	pc.VectorsTo(&v)
	if _, c := v.Dims(); c < 2 {
		return nil, false
	}
	out := make([]plotter.XYs, len(sets))
	for s, x := range sets {
		if x == nil {
			continue
		}
		var y mat.Dense
		y.Mul(x, v.Slice(0, v.RawMatrix().Rows, 0, 2))
		for i := range y.RawMatrix().Rows {
			out[s] = append(out[s], plotter.XY{X: y.At(i, 0), Y: y.At(i, 1)})
		}
	}
	return out, true
}

// tsne embeds all windows in the plane (van der Maaten and Hinton, JMLR 2008,
// algorithm 1; exact gradient, early exaggeration 4 for 100 of 500 steps).
// Equal input gives equal output: the start is drawn from a fixed key.
func tsne(sets []*mat.Dense, perplexity float64) []plotter.XYs {
	var x [][]float64
	for _, s := range sets {
		if s != nil {
			for i := range s.RawMatrix().Rows {
				x = append(x, s.RawRowView(i))
			}
		}
	}
	n := len(x)
	p := affinities(x, min(perplexity, float64(n-1)/3))
	y, v, grad := make([][2]float64, n), make([][2]float64, n), make([][2]float64, n)
	gain := make([][2]float64, n)
	for i := range y {
		a, b := rng.Key{A: uint32(i), Purpose: rng.Start}.Normal(0)
		y[i], gain[i] = [2]float64{1e-4 * a, 1e-4 * b}, [2]float64{1, 1}
	}
	q := make([]float64, n*n)
	for step := range 500 {
		exaggeration, momentum := 1., .8
		if step < 100 {
			exaggeration = 4
		}
		if step < 250 {
			momentum = .5
		}
		var sum float64
		for i := range n {
			for j := range i {
				a, b := y[i][0]-y[j][0], y[i][1]-y[j][1]
				k := 1 / (1 + a*a + b*b)
				q[i*n+j], q[j*n+i] = k, k
				sum += 2 * k
			}
		}
		for i := range n {
			var g [2]float64
			for j := range n {
				k := q[i*n+j]
				m := 4 * (exaggeration*p[i*n+j] - k/sum) * k
				g[0] += m * (y[i][0] - y[j][0])
				g[1] += m * (y[i][1] - y[j][1])
			}
			grad[i] = g
		}
		for i := range n {
			for d := range 2 {
				if (grad[i][d] > 0) != (v[i][d] > 0) {
					gain[i][d] += .2
				} else {
					gain[i][d] = max(gain[i][d]*.8, .01)
				}
				v[i][d] = momentum*v[i][d] - 100*gain[i][d]*grad[i][d]
				y[i][d] += v[i][d]
			}
		}
	}
	out := make([]plotter.XYs, len(sets))
	at := 0
	for s, x := range sets {
		if x == nil {
			continue
		}
		for range x.RawMatrix().Rows {
			out[s] = append(out[s], plotter.XY{X: y[at][0], Y: y[at][1]})
			at++
		}
	}
	return out
}

// affinities are t-SNE's symmetric p_ij [n,n], each row's bandwidth found by
// bisection so that its entropy is log of the perplexity.
func affinities(x [][]float64, perplexity float64) []float64 {
	n := len(x)
	d := make([]float64, n*n)
	for i := range n {
		for j := range i {
			var s float64
			for k := range x[i] {
				e := x[i][k] - x[j][k]
				s += e * e
			}
			d[i*n+j], d[j*n+i] = s, s
		}
	}
	p, row := make([]float64, n*n), make([]float64, n)
	for i := range n {
		low, high, beta := 0., math.Inf(1), 1/max(slices.Max(d[i*n:(i+1)*n]), 1e-12)
		for range 64 {
			var sum, dot float64
			for j := range n {
				row[j] = 0
				if j != i {
					row[j] = math.Exp(-beta * d[i*n+j])
				}
				sum, dot = sum+row[j], dot+row[j]*d[i*n+j]
			}
			entropy := math.Inf(-1)
			if sum > 0 {
				entropy = math.Log(sum) + beta*dot/sum
				for j := range row {
					row[j] /= sum
				}
			}
			if math.Abs(entropy-math.Log(perplexity)) < 1e-5 {
				break
			}
			if entropy > math.Log(perplexity) {
				if low = beta; math.IsInf(high, 1) {
					beta *= 2
				} else {
					beta = (beta + high) / 2
				}
			} else {
				high = beta
				beta = (beta + low) / 2
			}
		}
		for j := range n {
			p[i*n+j] += row[j] / float64(2*n)
			p[j*n+i] += row[j] / float64(2*n)
		}
	}
	return p
}
