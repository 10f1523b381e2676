package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
)

// TestClassifier: losses and gradients are those of an MLP, the tables' rows and
// SoftmaxCE one after another in float64, and the bytes do not depend on threads.
func TestClassifier(t *testing.T) {
	ends := []int{3, 4, 23}
	const in, rows, segments = 5, 2600, 3 // more tiles of a shard than a group
	tables := [][]float32{uniform(3, 3*19, .5), uniform(4, 1*19, .5), uniform(5, 3*1, .5)}
	given := []Given{{2, 0, tables[0]}, {2, 1, tables[1]}, {1, 0, tables[2]}}
	h := uniform(1, rows*in, 1)
	values, weight := make([]int32, rows*segments), make([]float32, rows*segments)
	for i := range values {
		size := []int{3, 1, 19}[i%3]
		values[i] = int32(i*7%(size+1)) - 1
		weight[i] = float32(i%4) / 2
	}
	m := NewMLP([]int{in, 23}, Tanh, Linear)
	copy(m.Params().Data, uniform(2, len(m.Params().Data), .5))
	const scale = .25 / rows
	for _, weight := range [][]float32{weight, nil} {
		be := compute.NewBackend(compute.Reference, 1)
		run := m.NewRun(be, rows)
		y, dh, loss := make([]float32, rows*23), make([]float32, rows*in), make([]float64, segments)
		run.Forward(h, y)
		for _, g := range given {
			begin, size := NewClassifier(m, ends, given).size(g.Segment)
			for r := range rows {
				if v := int(values[r*segments+g.From]); v >= 0 {
					for c := range size {
						y[r*23+begin+c] += g.Table[v*size+c]
					}
				}
			}
		}
		NewSoftmaxCE(ends).Loss(be, y, values, weight, scale, loss)
		want := [][]float32{make([]float32, len(m.Params().Data)), make([]float32, 3*19), make([]float32, 19), make([]float32, 3)}
		for i, g := range given {
			begin, size := NewClassifier(m, ends, given).size(g.Segment)
			ScatterAdd(want[1+i], size, y[begin:], 23, values[g.From:], segments)
		}
		run.Backward(y, dh, want[0])
		be.Close()
		near := func(what string, got, want []float32) {
			t.Helper()
			var diff, norm float64
			for i, w := range want {
				diff += math.Pow(float64(got[i])-float64(w), 2)
				norm += math.Pow(float64(w), 2)
			}
			if !(math.Sqrt(diff) <= 1e-5*math.Sqrt(norm)) {
				t.Errorf("%s differs by %.1e of %.1e", what, math.Sqrt(diff), math.Sqrt(norm))
			}
		}
		for _, k := range compute.Available() {
			var first []float32
			for _, threads := range []int{1, 3} {
				be := compute.NewBackend(k, threads)
				run := NewClassifier(m, ends, given).NewRun(be)
				for range 2 { // the second adds to the gradients, and remembers nothing else
					got, gotH, gotLoss := [][]float32{make([]float32, len(want[0])), make([]float32, 3*19), make([]float32, 19), make([]float32, 3)}, make([]float32, rows*in), make([]float64, segments)
					run.Loss(h, values, weight, scale, gotLoss, gotH, got)
					for s := range loss {
						if math.Abs(gotLoss[s]-loss[s]) > 1e-5*loss[s]+1e-12 {
							t.Errorf("%v: loss %d is %v, want %v", k, s, gotLoss[s], loss[s])
						}
					}
					near(fmt.Sprint(k, ": gradient of the states"), gotH, dh)
					for i := range want {
						near(fmt.Sprint(k, ": gradient ", i), got[i], want[i])
					}
					all := append(slices.Concat(got...), gotH...)
					if first == nil {
						first = all
					} else if !slices.Equal(first, all) {
						t.Errorf("%v: %d threads give other bytes", k, threads)
					}
				}
				be.Close()
			}
		}
	}
}

// TestWant: the first columns of ∂L/∂x alone are those of all of them.
func TestWant(t *testing.T) {
	const in, hid, steps, rows = 7, 5, 3, 40
	for _, k := range compute.Available() {
		be := compute.NewBackend(k, 1)
		g := NewGRU(GRUConfig{In: in, Hidden: hid, Layers: 2})
		copy(g.Params().Data, uniform(2, len(g.Params().Data), .5))
		x, y, dy := uniform(1, steps*rows*in, 1), make([]float32, steps*rows*hid), uniform(3, steps*rows*hid, 1)
		all := make([]float32, steps*rows*in)
		run := g.NewRun(be, steps, rows)
		run.Forward(x, nil, y)
		run.Backward(dy, all, nil)
		for _, n := range []int{1, 4, in} {
			some := make([]float32, steps*rows*n)
			run := g.NewRun(be, steps, rows)
			run.Want(n)
			run.Forward(x, nil, y)
			run.Backward(dy, some, nil)
			for i := range steps * rows {
				if !slices.Equal(some[i*n:][:n], all[i*in:][:n]) {
					t.Fatalf("%v: row %d: the first %d of %v are %v", k, i, n, all[i*in:][:in], some[i*n:][:n])
				}
			}
		}
		be.Close()
	}
}
