package nn

import (
	"fmt"
	"testing"

	"github.com/planegym/planegym/compute"
)

// Cross and CrossBack against loops, gradients into one array at two places as
// lagged products have it.
func TestCross(t *testing.T) {
	for _, c := range []struct{ rows, n, m, lag int }{{1, 1, 1, 0}, {31, 17, 3, 0}, {32, 5, 5, 3}, {200, 17, 17, 64}, {77, 40, 40, 0}} {
		for _, k := range compute.Available() {
			t.Run(fmt.Sprint(k, c), func(t *testing.T) {
				be := compute.NewBackend(k, 1)
				rows, n, m := c.rows, c.n, c.m
				a, b := draw(1, rows*n, 1), draw(2, rows*m, 1)
				s, sum, want := draw(3, n*m, 1), draw(4, n*m, 1), draw(4, n*m, 1)
				Cross(be, sum, a, b, n, m)
				da, db := draw(5, rows*n, 1), draw(6, rows*m, 1)
				wantA, wantB := draw(5, rows*n, 1), draw(6, rows*m, 1)
				if n == m { // at two places of one array
					da = draw(5, (rows+c.lag)*n, 1)
					wantA = draw(5, (rows+c.lag)*n, 1)
					db, wantB = da[c.lag*n:], wantA[c.lag*n:]
				}
				CrossBack(be, da[:rows*n], db, a, b, s, n, m)
				for r := range rows {
					for i := range n {
						for j := range m {
							want[i*m+j] += a[r*n+i] * b[r*m+j]
							wantA[r*n+i] += s[i*m+j] * b[r*m+j]
							wantB[r*m+j] += s[i*m+j] * a[r*n+i]
						}
					}
				}
				near(t, "sum", sum, want, 1e-4)
				near(t, "da", da, wantA, 1e-5)
				near(t, "db", db, wantB, 1e-5)
			})
		}
	}
	be := compute.NewBackend(compute.Go, 1)
	wantPanic(t, "nn: cross b: shape [5], want [2 2] = [4]", func() { Cross(be, make([]float32, 6), make([]float32, 6), make([]float32, 5), 3, 2) })
}
