package nn

import (
	"flag"
	"fmt"
	"math"
	"testing"
)

var everyFloat = flag.Bool("every-float", false, "sweep all 2³² float32 values instead of one in 4099")

// exp within 4 ulp, sigmoid and tanh within 1e-6, over all of float32; exact
// at 0 and ±Inf, and NaN stays NaN.
func TestElementwise(t *testing.T) {
	stride := uint64(4099)
	if *everyFloat {
		stride = 1
	}
	inf := math.Inf(1)
	for _, k := range fast() {
		table := table(k)
		for _, f := range []struct {
			name         string
			f            func(dst, src []float32)
			want         func(float64) float64
			err          func(got float32, want float64) float64
			limit        float64
			at0, up, low float64
		}{
			{"exp", table.exp, math.Exp, ulps, 4, 1, inf, 0},
			{"sigmoid", table.sigmoid, func(v float64) float64 { return activate(Sigmoid, v) }, distance, 1e-6, .5, 1, 0},
			{"tanh", table.tanh, math.Tanh, distance, 1e-6, 0, 1, -1},
		} {
			t.Run(fmt.Sprint(k, " ", f.name), func(t *testing.T) {
				src, dst := make([]float32, 0, 4096), make([]float32, 4096)
				worst, at := 0., float32(0)
				flush := func() {
					f.f(dst[:len(src)], src)
					for i, x := range src {
						if x != x {
							if dst[i] == dst[i] {
								t.Fatalf("%s(NaN %08x) = %v", f.name, math.Float32bits(x), dst[i])
							}
							continue
						}
						if e := f.err(dst[i], f.want(float64(x))); !(e <= worst) {
							worst, at = e, x
						}
					}
					src = src[:0]
				}
				for b := uint64(0); b < 1<<32; b += stride {
					if src = append(src, math.Float32frombits(uint32(b))); len(src) == cap(src) {
						flush()
					}
				}
				flush()
				t.Logf("worst error %.3g at %v", worst, at)
				if !(worst <= f.limit) {
					t.Errorf("error %.3g at %v, at most %.3g allowed", worst, at, f.limit)
				}
				zero := float32(math.Copysign(0, -1))
				exact := []float32{0, zero, float32(inf), float32(-inf), float32(math.NaN())}
				for n := 1; n <= 70; n++ { // every tail
					src, dst := make([]float32, n), make([]float32, n)
					for i := range src {
						src[i] = exact[i%len(exact)]
					}
					f.f(dst, src)
					for i, got := range dst {
						want := [...]float64{f.at0, f.at0, f.up, f.low, math.NaN()}[i%len(exact)]
						if float64(got) != want && !(got != got && want != want) {
							t.Fatalf("%s(%v) = %v, want %v", f.name, src[i], got, want)
						}
					}
				}
			})
		}
	}
}

func distance(got float32, want float64) float64 { return math.Abs(float64(got) - want) }

// ulps is the error of got in units of want's last place; both infinite is 0.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	if got == w {
		return 0
	}
	if math.IsInf(float64(got), 0) || math.IsInf(float64(w), 0) {
		return math.Abs(float64(math.Float32bits(got)) - float64(math.Float32bits(w)))
	}
	ulp := float64(math.Nextafter32(abs32(w), float32(math.Inf(1))) - abs32(w))
	return math.Abs(float64(got)-want) / ulp
}
