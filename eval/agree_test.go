package eval

import (
	"math"
	"testing"
)

// τ-b with ties: all 5 pairs that a does not tie agree, of 6 that b does not.
func TestKendall(t *testing.T) {
	if got, want := kendall([]float64{1, 2, 2, 4}, []float64{1, 3, 2, 4}), 5/math.Sqrt(5*6); math.Abs(got-want) > 1e-12 {
		t.Errorf("τ is %v, want %v", got, want)
	}
	if got := kendall([]float64{1, 2, 3, 4}, []float64{1, 2, 4, 3}); math.Abs(got-4./6) > 1e-12 {
		t.Errorf("τ is %v, want 2/3", got)
	}
}

// The interval covers what only the noise of few seeds hides: two policies
// that no seed separates rank either way.
func TestAgreeInterval(t *testing.T) {
	a := [][]float64{{0, 1, 0, 1, 0, 1}, {1, 0, 1, 0, 1, 0}, {5, 5, 5, 5, 5, 5}}
	b := [][]float64{{0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1}, {2, 2, 2, 2, 2, 2}}
	g := agree(a, b, 500)
	if g.Spearman.High != 1 || g.Spearman.Low > .5 || g.best != 2 || g.chosen != 2 || g.Regret.Absolute.High != 0 {
		t.Errorf("%+v", g)
	}
}
