package windows

import (
	"context"
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// process is a price that walks back to 10, one that is twice it and a little
// more, a positive quantity that spans decades, and one that is alone.
func process(n int) [][]float64 {
	var rows [][]float64
	x := 10.
	for t := range n {
		key := rng.Key{Seed: 5, A: uint32(t), Purpose: rng.Start}
		z := [3]float64{}
		for i := range z {
			z[i], _ = key.Normal(uint32(i))
		}
		x += .1*z[0] - .02*(x-10)
		rows = append(rows, []float64{x, 2*x + 1 + .02*z[1], math.Exp(2 * z[2]), z[1]})
	}
	return rows
}

// Windows that are generated are of the process: each column's mean and
// deviation, how far it moves from row to row, and that two columns go together.
func TestWindowsAreOfTheProcess(t *testing.T) {
	rows := process(3000)
	all := compute.Available()
	be := compute.NewBackend(all[len(all)-1], 1)
	defer be.Close()
	c := Config{Window: 12, Hidden: 24, Updates: 300, Batch: 32, Seed: 1}
	m, err := Fit(context.Background(), c, be, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k := m.codec.columns; !k[0].change || k[1].of != 0 || !k[2].log || k[3].change || k[3].of >= 0 {
		t.Errorf("columns: %v", m.Describe())
	}
	const n = 1500
	x := m.Sample(be, n, 7)
	for j := range 4 {
		column := func(get func(w, t int) float64, windows int) (level, moves []float64) {
			for w := range windows {
				for s := range 12 {
					v := get(w, s)
					if j == 2 {
						v = math.Log(v)
					}
					level = append(level, v)
					if s > 0 {
						before := get(w, s-1)
						if j == 2 {
							before = math.Log(before)
						}
						moves = append(moves, v-before)
					}
				}
			}
			return level, moves
		}
		a, da := column(func(w, s int) float64 { return rows[w+s][j] }, len(rows)-12)
		b, db := column(func(w, s int) float64 { return x[(w*12+s)*4+j] }, n)
		ma, sa := sd(a)
		mb, sb := sd(b)
		_, va := sd(da)
		_, vb := sd(db)
		if math.Abs(ma-mb) > .15*sa || math.Abs(sb/sa-1) > .15 || math.Abs(vb/va-1) > .15 {
			t.Errorf("column %d: mean %.3f deviation %.3f moves %.3f, want %.3f %.3f %.3f", j, mb, sb, vb, ma, sa, va)
		}
	}
	apart := 0.
	for i := range n * 12 {
		apart = max(apart, math.Abs(x[4*i+1]-2*x[4*i]-1))
	}
	if apart > .15 {
		t.Errorf("the second column is up to %.3f from what the first says; .02 is its deviation", apart)
	}
	again := m.Sample(be, 3, 7)
	for i, v := range again {
		if v != x[i] {
			t.Fatal("a window depends on how many are drawn")
		}
	}
}
