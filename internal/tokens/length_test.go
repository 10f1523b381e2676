package tokens

import (
	"math"
	"testing"
)

// chain is a network of two fields without weights: the second field's logits
// depend on the class of the first, which is drawn in
// two places. Its counts are exact, not sampled.
type chain struct {
	first  [2][]float32
	second []float32
}

func softmax(x []float32, add ...float64) []float64 {
	p, sum := make([]float64, len(x)), 0.
	for c, v := range x {
		p[c] = float64(v)
		if len(add) > 0 {
			p[c] += add[c]
		}
		p[c] = math.Exp(p[c])
		sum += p[c]
	}
	for c := range p {
		p[c] /= sum
	}
	return p
}

func (c *chain) counts() ([][]float64, error) {
	a := make([]float64, 3)
	for _, place := range c.first {
		for i, p := range softmax(place) {
			a[i] += p / 2
		}
	}
	b := make([]float64, 2)
	for i, p := range a {
		for j, q := range softmax(c.second, float64(i), -float64(i)) {
			b[j] += p * q * 1000
		}
	}
	return [][]float64{a, b}, nil
}

func TestFitShares(t *testing.T) {
	c := &chain{first: [2][]float32{{0, 0, -6}, {1, 0, -8}}, second: []float32{0, 1}}
	want := [][]float64{{700, 299.9, .1}, {30, 70}}
	if err := FitShares([]Shares{{c.first[:], want[0]}, {[][]float32{c.second}, want[1]}}, c.counts); err != nil {
		t.Fatal(err)
	}
	got, _ := c.counts()
	for f := range want {
		w, g := share(want[f]), share(got[f])
		for i := range w {
			if math.Abs(w[i]-g[i]) > .02 {
				t.Errorf("field %d class %d: share %.4f, training has %.4f", f, i, g[i], w[i])
			}
		}
	}
	// Both places moved alike.
	for i := range c.first[0] {
		if a, b := c.first[0][i]-[]float32{0, 0, -6}[i], c.first[1][i]-[]float32{1, 0, -8}[i]; math.Abs(float64(a-b)) > 1e-5 {
			t.Errorf("class %d is shifted by %v in one place and by %v in the other", i, a, b)
		}
	}
}

// Where a shift makes it worse, the logits are as they were before it.
func TestFitSharesKeepsTheBest(t *testing.T) {
	bias := []float32{1, 1}
	calls := 0
	err := FitShares([]Shares{{[][]float32{bias}, []float64{1, 1}}}, func() ([][]float64, error) {
		calls++
		return [][]float64{{1, float64(calls)}}, nil // perfect at first, then ever worse
	})
	if err != nil || bias[0] != 1 || bias[1] != 1 {
		t.Errorf("bias %v after %d samples, %v", bias, calls, err)
	}
}

func TestFitEnd(t *testing.T) {
	// Steps of a geometric length: mean 1 + e^-bias.
	for _, start := range []float32{-4, 0, 1} {
		bias := start
		if err := FitEnd(&bias, 16, .005, func() (float64, error) { return 1 + math.Exp(-float64(bias)), nil }); err != nil {
			t.Fatal(err)
		}
		if n := 1 + math.Exp(-float64(bias)); math.Abs(n/16-1) > .02 {
			t.Errorf("from %v: sessions have %.2f steps in the mean, training's 16", start, n)
		}
	}
}
