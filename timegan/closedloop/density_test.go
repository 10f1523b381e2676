package closedloop

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

// normals is toy's recording with the depth of a normal distribution, whose mean
// is .3 of the limit under one limit and .6 under the other.
func normals(tb testing.TB, n, seconds int) *Model {
	data := toys(n, seconds, 40, false)
	for i := range data {
		values, valid := make([]float32, 0, 4*seconds), make([]bool, 0, 4*seconds)
		one := make([]float32, 4)
		for t := range seconds {
			data[i].Data.Copy(t, one, nil)
			limit := float64(data[i].LimitAt(t))
			mean := .3
			if limit == 128 {
				mean = .6
			}
			z, _ := rng.Key{Seed: uint64(i), A: uint32(t), Purpose: rng.Start}.Normal(7)
			one[0] = float32(limit * (mean + .08*z))
			one[1] = 400 * (1 + one[0])
			values, valid = append(values, one...), append(valid, true, true, true, true)
		}
		data[i].Data = dataset(data[i].Data.Fields(), values, valid)
	}
	c := small
	c.Density, c.Regimes = true, 1
	return fit(tb, c, data, FitOptions{})
}

// A density of numbers has the mean and the deviation of what was recorded, by
// limit; and every head's logits are a quadratic in the number, whatever came
// before: their third differences are 0.
func TestDensity(t *testing.T) {
	if testing.Short() {
		t.Skip("a training")
	}
	m := normals(t, 4, 900)
	limits, seeds := []int32{32, 128}, []uint64{1, 2}
	for i, v := range run(t, m, seeds, limits, 1500) {
		mean, square := 0., 0.
		for s := 100; s < 1500; s++ {
			x := float64(v[4*s]) / float64(limits[i]) / 1400
			mean, square = mean+x, square+x*x*1400
		}
		sd := math.Sqrt(square - mean*mean)
		t.Logf("limit %d: share %.3f ± %.3f", limits[i], mean, sd)
		if want := []float64{.3, .6}[i]; math.Abs(mean-want) > .05 || math.Abs(sd-.08) > .04 {
			t.Errorf("under limit %d queues hold %.3f ± %.3f of it, want %.2f ± .08, to .05 and .04", limits[i], mean, sd, want)
		}
	}
	k := m.codec
	be := backend(t)
	s := m.net.NewSampler(be, 1)
	x, tokens, values := make([]float32, k.numbersIn()), make([]int32, len(k.heads)), make([]int32, len(k.Heads))
	dense := 0
	for step := range 20 {
		for i := range x {
			x[i] = float32(rng.Key{A: uint32(step), Purpose: rng.Start}.Float64(uint32(i)))
		}
		s.Step(nil, tokens, x)
		for h := range k.Heads {
			w := s.Weights(0, h, values)
			if values[h] = int32(step % len(w)); !k.dense(h) {
				continue
			}
			dense++
			var l []float64
			for _, v := range w {
				l = append(l, math.Log(float64(v)))
			}
			for i := 3; i < len(l); i++ {
				if d := l[i] - 3*l[i-1] + 3*l[i-2] - l[i-3]; math.Abs(d) > 2e-3 && slices.Min(l) > -60 {
					t.Fatalf("step %d, %s: a third difference of %v in logits %v", step, k.Heads[h].Name, d, l)
				}
			}
		}
	}
	if dense < 40 {
		t.Errorf("%d densities were looked at", dense)
	}
}

// The plane is that of u and u², and a projection leaves what lies on it.
func TestPlane(t *testing.T) {
	const n = 9
	q := plane(n)
	x := make([]float64, n)
	for c := range x {
		u := (2*float64(c)+1)/n - 1
		x[c] = 3*u - 2*u*u
	}
	mean := 0.
	for _, v := range x {
		mean += v / n
	}
	want := slices.Clone(x)
	onPlane(q, x, 1)
	for c := range x {
		if math.Abs(x[c]-(want[c]-mean)) > 1e-12 {
			t.Fatalf("%v, want %v less %v", x, want, mean)
		}
	}
	bump := []float64{0, 0, 0, 0, 1, 0, 0, 0, 0}
	onPlane(q, bump, 1)
	once := slices.Clone(bump)
	onPlane(q, bump, 1)
	for c := range bump {
		if math.Abs(bump[c]-once[c]) > 1e-12 || bump[c] == 1 {
			t.Fatalf("projected once %v, twice %v", once, bump)
		}
	}
}

// The grid's cells are equally wide; where a column hardly varies, it has bins.
func TestGrid(t *testing.T) {
	var x []float64
	for i := range 10000 {
		x = append(x, float64(i)/9999)
	}
	b, err := grid(x)
	if err != nil || b.Len() != gridCells || b.Check() != nil {
		t.Fatalf("%v, %d cells, %v", err, b.Len(), b.Check())
	}
	for i := range int32(gridCells) {
		lo, hi := b.Range(i)
		if math.Abs(hi-lo-.998/gridCells) > 1e-9 || b.Encode((lo+hi)/2) != i {
			t.Fatalf("cell %d is of %v … %v", i, lo, hi)
		}
	}
	if b, err = grid([]float64{1, 1, 1}); err != nil || b.Len() != 1 {
		t.Errorf("one value has %d bins, %v", b.Len(), err)
	}
}
