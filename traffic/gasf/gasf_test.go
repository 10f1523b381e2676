package gasf

import (
	"bytes"
	"image/png"
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

func TestExact(t *testing.T) {
	key := rng.Key{Seed: 1}
	for n := 1; n < 200; n += 13 {
		s := make([]float64, n)
		for i := range s {
			a, _ := key.Normal(uint32(1000*n + i))
			s[i] = 1e6 * a
		}
		f, err := Of(s)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range f.Series() {
			if math.Abs(x-s[i]) > 1e-6*(f.Max-f.Min+1e-9) {
				t.Errorf("n %d: value %d is %v, was %v", n, i, x, s[i])
			}
		}
	}
	f, err := Of([]float64{3, 3, 3})
	if err != nil || f.Series()[1] != 3 {
		t.Errorf("a constant series: %v, %v", f, err)
	}
}

// Of 1, 2, 4, by hand: x̃ = 0, 1/3, 1, φ = π/2, arccos 1/3, 0.
func TestCells(t *testing.T) {
	f, err := Of([]float64{1, 2, 4})
	if err != nil {
		t.Fatal(err)
	}
	q := math.Sqrt(8.) / 3
	for i, want := range []float64{-1, -q, 0, -q, 1./9 - 8./9, 1. / 3, 0, 1. / 3, 1} {
		if math.Abs(f.Cells[i]-want) > 1e-15 {
			t.Errorf("cell %d is %v, want %v", i, f.Cells[i], want)
		}
	}
	var b bytes.Buffer
	if err := f.WritePNG(&b); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil || m.Bounds().Dx() != 3 {
		t.Fatal(err)
	}
	if r, _, _, _ := m.At(2, 2).RGBA(); r != 65535 {
		t.Errorf("the brightest cell is %d", r)
	}
}

func TestBad(t *testing.T) {
	for _, s := range [][]float64{nil, {1, math.NaN()}, {math.Inf(1)}, {-math.MaxFloat64, math.MaxFloat64}} {
		if _, err := Of(s); err == nil {
			t.Errorf("%v: no error", s)
		}
	}
}
