package selection

import (
	"math"
	"slices"

	"github.com/planegym/planegym/telemetry"
)

// firstRows is how many rows the tutorial's code computes M on.
const firstRows = 2600

// M is Equation 1 of Tavares et al. (SBRC 2024) on the scale of its arguments:
//
//	M = Σ_features |IQR(real) − IQR(synthetic)| + |median(real) − median(synthetic)|
//
// The first rows rows of each count, all with rows 0. Smaller is better, and
// nothing about the order of rows matters.
func M(real, synth Table, rows int) float64 {
	var m float64
	for _, x := range MByColumn(real, synth, rows) {
		m += x
	}
	return m
}

// MByColumn are the columns' terms, of which M is the sum: one that is not scaled
// outweighs the others, and few columns decide on any scale.
func MByColumn(real, synth Table, rows int) []float64 {
	terms := make([]float64, len(real.Columns))
	for k := range terms {
		a, b := quartiles(real, k, rows), quartiles(synth, k, rows)
		terms[k] = math.Abs((a[2]-a[0])-(b[2]-b[0])) + math.Abs(a[1]-b[1])
	}
	return terms
}

func quartiles(t Table, k, rows int) (q [3]float64) {
	x := t.column(k)
	if rows > 0 && rows < len(x) {
		x = x[:rows]
	}
	slices.Sort(x)
	for i, p := range []float64{.25, .5, .75} {
		q[i] = telemetry.Quantile(x, p)
	}
	return q
}

// Index is the position of model (i, j, k) in a grid of jMax values of its
// second and kMax values of its third parameter. (The published code's i·iMax + j·jMax +
// k gives several models of a 2×2×2, 3×2×2 or 3×3×3 grid one index.)
func Index(i, j, k, jMax, kMax int) int { return (i*jMax+j)*kMax + k }

// Ranking is what Algorithm 1 of Tavares et al. (SBRC 2024) chooses, as
// indices into the models: the best and the worst under each limit, and over
// the sum of all limits.
type Ranking struct {
	Best, Worst       []int // by limit
	BestSum, WorstSum int
}

// Rank is Algorithm 1: m[model][limit] is the metric of a model's rows under a
// limit. Of equals the first is chosen; a model with a NaN is the worst.
func Rank(m [][]float64) Ranking {
	var r Ranking
	if len(m) == 0 {
		return r
	}
	sum := make([]float64, len(m))
	one := make([]float64, len(m))
	for l := range m[0] {
		for i := range m {
			one[i] = m[i][l]
			sum[i] += m[i][l]
		}
		best, worst := extremes(one)
		r.Best, r.Worst = append(r.Best, best), append(r.Worst, worst)
	}
	r.BestSum, r.WorstSum = extremes(sum)
	return r
}

func extremes(x []float64) (smallest, largest int) {
	key := func(i int) float64 {
		if math.IsNaN(x[i]) {
			return math.Inf(1)
		}
		return x[i]
	}
	for i := range x {
		if key(i) < key(smallest) {
			smallest = i
		}
		if key(i) > key(largest) {
			largest = i
		}
	}
	return smallest, largest
}
