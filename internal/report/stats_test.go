package report

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Small cases, by hand.
func TestStats(t *testing.T) {
	nan := math.NaN()
	x, y := cdf([]float64{3, 1, 2}, 10)
	if !slices.Equal(x, []float64{1, 2, 3}) || y[2] != 1 {
		t.Errorf("cdf %v %v", x, y)
	}
	// An alternating series: lag 1 is −1, lag 2 is 1; a gap changes neither.
	a := acf([]float64{1, -1, 1, -1, nan, -1, 1, -1, 1, -1, 1}, 2)
	near(t, "acf 1", a[1], -1, .11)
	near(t, "acf 2", a[2], 1, .11)
	if got := movingMean([]float64{1, nan, 3, 5}, 2); !slices.Equal(got, []float64{1, 1, 3, 4}) {
		t.Errorf("moving mean %v", got)
	}
	r := spearman([]float64{1, 1, 7, 2, 4, 7, 3, 9, 7, nan, 0, 7}, 3)
	near(t, "spearman of a monotone pair", r[1], 1, 1e-12)
	if !math.IsNaN(r[2]) {
		t.Errorf("spearman with a constant is %v", r[2])
	}
	at, density := kde([]float64{0, 0, 0, 1}, 64)
	if i := slices.Index(density, slices.Max(density)); math.Abs(at[i]) > .1 {
		t.Errorf("the density's top is at %v", at[i])
	}
	tx, ty := thin([]float64{0, 1, 2, 3, 4, 5}, []float64{0, 9, 1, 1, -9, 1}, 1)
	if !slices.Equal(tx, []float64{1, 4}) || !slices.Equal(ty, []float64{9, -9}) {
		t.Errorf("thinned to %v %v", tx, ty)
	}
}

// Three clusters far apart stay apart: every point's nearest neighbour in the
// plane is of its own cluster.
func TestTSNEKeepsClusters(t *testing.T) {
	var sets []*mat.Dense
	for c := range 3 {
		m := mat.NewDense(15, 4, nil)
		for i := range 15 {
			for j := range 4 {
				m.Set(i, j, 20*float64(c)*float64(j%2)+math.Sin(float64(7*i+3*j+c)))
			}
		}
		sets = append(sets, m)
	}
	points := tsne(sets, 10)
	for c, own := range points {
		for i, p := range own {
			best, of := math.Inf(1), -1
			for d, others := range points {
				for j, q := range others {
					if dist := math.Hypot(p.X-q.X, p.Y-q.Y); dist < best && (d != c || j != i) {
						best, of = dist, d
					}
				}
			}
			if of != c {
				t.Fatalf("point %d of cluster %d lies next to cluster %d", i, c, of)
			}
		}
	}
}
