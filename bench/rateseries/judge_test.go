package main

import (
	"math"
	"testing"
)

// Of normal distributions with diagonal covariances the distance is
// Σ (m-n)² + (√a-√b)², and of equal ones 0.
func TestFrechet(t *testing.T) {
	m, n := []float64{1, 2, 3}, []float64{0, 2, 5}
	a, b := []float64{4, 0, 0, 0, 1, 0, 0, 0, 9}, []float64{1, 0, 0, 0, 1, 0, 0, 0, 4}
	if got := frechet(m, a, n, b); math.Abs(got-(1+4+1+1)) > 1e-9 {
		t.Errorf("distance %v, want 7", got)
	}
	full := []float64{2, .5, .1, .5, 1, .2, .1, .2, 3}
	if got := frechet(m, full, m, full); math.Abs(got) > 1e-9 {
		t.Errorf("a distribution is %v from itself", got)
	}
}
