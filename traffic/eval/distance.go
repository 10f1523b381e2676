package eval

import (
	"math"
	"slices"
)

// histogram counts values of any comparable kind.
type histogram[K comparable] struct {
	count map[K]float64
	total float64
}

func newHistogram[K comparable]() *histogram[K] { return &histogram[K]{count: map[K]float64{}} }

func (h *histogram[K]) add(k K) { h.count[k]++; h.total++ }

// jsd is the Jensen-Shannon divergence of two histograms, natural logarithm:
// 0 for equal ones, ln 2 for those that share nothing; the square of
// scipy.spatial.distance.jensenshannon. NaN where one is empty.
//
//	M = (P+Q)/2;  JSD = Σ P ln(P/M)/2 + Σ Q ln(Q/M)/2
func jsd[K comparable](p, q *histogram[K]) float64 {
	if p.total == 0 || q.total == 0 {
		return math.NaN()
	}
	// Sums depend on order, maps have none: sort the terms.
	var terms []float64
	term := func(a, b float64) {
		m := (a + b) / 2
		x := 0.
		if a > 0 {
			x += a / 2 * math.Log(a/m)
		}
		if b > 0 {
			x += b / 2 * math.Log(b/m)
		}
		terms = append(terms, x)
	}
	for k, c := range p.count {
		term(c/p.total, q.count[k]/q.total)
	}
	for k, c := range q.count {
		if _, both := p.count[k]; !both {
			term(0, c/q.total)
		}
	}
	slices.Sort(terms)
	sum := 0.
	for _, t := range terms {
		sum += t
	}
	return max(sum, 0)
}

// JSD is the Jensen-Shannon divergence of two samples, natural logarithm; NaN where
// one is empty.
func JSD[K comparable](p, q []K) float64 { return jsd(histogramOf(p), histogramOf(q)) }

// RankJSD is JSD of the counts of values by rank, the largest first; which value
// has a rank does not matter.
func RankJSD[K comparable](p, q []K) float64 { return rankJSD(histogramOf(p), histogramOf(q)) }

func histogramOf[K comparable](v []K) *histogram[K] {
	h := newHistogram[K]()
	for _, x := range v {
		h.add(x)
	}
	return h
}

// rankJSD is jsd of the counts themselves, sorted from the largest: which
// address it is does not matter (NetShare's SA and DA).
func rankJSD[K comparable](p, q *histogram[K]) float64 {
	rank := func(h *histogram[K]) *histogram[int] {
		c := make([]float64, 0, len(h.count))
		for _, x := range h.count {
			c = append(c, x)
		}
		slices.Sort(c)
		slices.Reverse(c)
		r := newHistogram[int]()
		for i, x := range c {
			r.count[i] = x
		}
		r.total = h.total
		return r
	}
	return jsd(rank(p), rank(q))
}

// emd is the Wasserstein-1 distance of two samples, which it sorts
// (scipy.stats.wasserstein_distance): ∫ |F_p - F_q|. NaN where one is empty.
func emd(p, q []float64) float64 {
	if len(p) == 0 || len(q) == 0 {
		return math.NaN()
	}
	slices.Sort(p)
	slices.Sort(q)
	var i, j int
	x := min(p[0], q[0])
	sum := 0.
	for i < len(p) || j < len(q) {
		next := math.Inf(1)
		if i < len(p) {
			next = p[i]
		}
		if j < len(q) {
			next = min(next, q[j])
		}
		sum += math.Abs(float64(i)/float64(len(p))-float64(j)/float64(len(q))) * (next - x)
		x = next
		for i < len(p) && p[i] == x {
			i++
		}
		for j < len(q) && q[j] == x {
			j++
		}
	}
	return sum
}

// quantileCuts are the upper ends of at most n bins cut at the quantiles of a
// sample, which it sorts; equal values share a bin.
func quantileCuts(v []float64, n int) []float64 {
	slices.Sort(v)
	var cuts []float64
	for b := 1; b <= n; b++ {
		if x := v[max(len(v)*b/n-1, 0)]; len(cuts) == 0 || x > cuts[len(cuts)-1] {
			cuts = append(cuts, x)
		}
	}
	return cuts
}

// autocorrelation of a series at a lag; NaN where it is constant or short.
func autocorrelation(v []float64, lag int) float64 {
	if len(v) <= lag+1 {
		return math.NaN()
	}
	mean := 0.
	for _, x := range v {
		mean += x / float64(len(v))
	}
	var c, s float64
	for i, x := range v {
		s += (x - mean) * (x - mean)
		if i >= lag {
			c += (x - mean) * (v[i-lag] - mean)
		}
	}
	if s == 0 {
		return math.NaN()
	}
	return c / s
}
