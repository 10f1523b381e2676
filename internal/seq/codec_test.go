package seq

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

// Values that went through bins and back are distributed as before: heavy
// tails, atoms, integers, a constant.
func TestBins(t *testing.T) {
	k := rng.Key{Seed: 1, Purpose: rng.Start}
	for name, c := range map[string]struct {
		n     int
		value func(i uint32) float64
		ks    float64
	}{
		"normal":   {32, func(i uint32) float64 { z, _ := k.Normal(i); return z }, .01},
		"heavy":    {32, func(i uint32) float64 { z, _ := k.Normal(i); return math.Exp(2 * z) }, .01},
		"atom":     {16, func(i uint32) float64 { return max(k.Float64(i)-.5, 0) }, .01},
		"integers": {12, func(i uint32) float64 { return math.Floor(40 * k.Float64(i) * k.Float64(i+1<<20)) }, .02},
		"constant": {8, func(uint32) float64 { return 3 }, 0},
		"two":      {8, func(i uint32) float64 { return float64(i % 2) }, 0},
	} {
		var x, y []float64
		for i := range uint32(20000) {
			x = append(x, c.value(i))
		}
		b, err := NewBins(x, c.n)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if b.Len() > c.n+4 {
			t.Errorf("%s: %d bins for %d", name, b.Len(), c.n)
		}
		sum := 0.
		for _, s := range b.Shares {
			sum += s
		}
		for i, v := range x {
			bin := b.Encode(v)
			if lo, hi := b.Range(bin); v < lo || v > hi {
				t.Fatalf("%s: %v is put into %v…%v", name, v, lo, hi)
			}
			d := b.Decode(bin, k.Float64(uint32(i)+1<<21))
			if b.Encode(d) != bin {
				t.Fatalf("%s: %v drawn in bin %d is of bin %d", name, d, bin, b.Encode(d))
			}
			if back := b.Decode(bin, b.Within(bin, v)); math.Abs(back-v) > 1e-9*(1+math.Abs(v)) && !b.Integer {
				t.Fatalf("%s: %v lies within bin %d at %v, which is %v", name, v, bin, b.Within(bin, v), back)
			}
			y = append(y, d)
		}
		if got := ks(x, y); got > c.ks || math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: KS %v of what came back, shares sum to %v", name, got, sum)
		}
	}
	for _, v := range [][]float64{nil, {1, math.NaN()}, {1, math.Inf(1)}} {
		if _, err := NewBins(v, 4); err == nil {
			t.Errorf("bins of %v", v)
		}
	}
}

// ks is Kolmogorov-Smirnov's statistic, by its definition.
func ks(x, y []float64) (worst float64) {
	x, y = slices.Clone(x), slices.Clone(y)
	slices.Sort(x)
	slices.Sort(y)
	for _, v := range x {
		a, _ := slices.BinarySearch(x, math.Nextafter(v, math.Inf(1)))
		b, _ := slices.BinarySearch(y, math.Nextafter(v, math.Inf(1)))
		worst = max(worst, math.Abs(float64(a)/float64(len(x))-float64(b)/float64(len(y))))
	}
	return worst
}

// Every integer has a class; common ones come back exactly, others as one of
// their cell, which says nothing about what was seen in it.
func TestVocabulary(t *testing.T) {
	var x []int64
	for range 50 {
		x = append(x, 1460, -1460, 0)
	}
	x = append(x, 100, 101, 102, 1000, -3, -700)
	v, err := NewVocabulary(x, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Check(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{1460, -1460, 0} {
		if got := v.Decode(v.Encode(n), .9); got != n {
			t.Errorf("%d comes back as %d", n, got)
		}
	}
	mass := map[int64]float64{} // of every integer of the grid, classes being equally probable
	for n := v.Cells[0]; n < v.Cells[len(v.Cells)-1]; n++ {
		class := v.Encode(n)
		mass[int64(class)] += math.Exp(v.LogShare(class, n))
		for _, u := range []float64{0, .3, .999999} {
			if got := v.Decode(class, u); v.Encode(got) != class {
				t.Fatalf("%d of class %d gives %d of class %d", n, class, got, v.Encode(got))
			}
		}
	}
	if len(mass) != v.Len() {
		t.Errorf("%d of %d classes have an integer", len(mass), v.Len())
	}
	for class, p := range mass {
		if math.Abs(p-1) > 1e-9 {
			t.Errorf("the values of class %d have probability %v", class, p)
		}
	}
	other, err := NewVocabulary(append(slices.Clone(x[:150]), 1001, 103, -4, -701), 10, 2) // other rare values
	if err != nil || !slices.Equal(v.Exact, other.Exact) || !slices.Equal(v.Cells, other.Cells) {
		t.Errorf("rare values show in the vocabulary: %v, %v", v, other)
	}
	for _, n := range []int64{1 << 40, math.MinInt64, math.MaxInt64} {
		if class := v.Encode(n); int(class) >= v.Len() || v.LogShare(class, n) > -30 {
			t.Errorf("%d is of class %d of %d with share %v", n, class, v.Len(), v.LogShare(class, n))
		}
	}
	if _, err := NewVocabulary(nil, 1, 1); err == nil {
		t.Error("a vocabulary of nothing")
	}
	for _, one := range []int64{5, -5, math.MinInt64, math.MaxInt64} {
		v, err := NewVocabulary([]int64{one, one}, 2, 1)
		if err != nil || v.Check() != nil || v.Decode(v.Encode(one), 0) != one {
			t.Errorf("%d: %v %v", one, v, err)
		}
	}
}

// What is drawn from bins of a heavy-tailed number has its mean, which bins that
// are even inside miss: their last one spans most of the range. Within undoes
// Decode.
func TestTailBins(t *testing.T) {
	var v []float64
	mean := 0.
	for i := range 4000 {
		x := 1e-4 * math.Pow((float64(i)+.5)/4000, -1/.9) // Pareto
		v = append(v, x)
		mean += x / 4000
	}
	off := func(b *Bins) float64 {
		sum := 0.
		for i, share := range b.Shares {
			for k := range 1000 {
				sum += share / 1000 * b.Decode(int32(i), (float64(k)+.5)/1000)
			}
		}
		return sum / mean
	}
	even, err := NewBins(v, 48)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := NewTailBins(v, 48)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := off(even), off(tail); b < .75 || b > 1.25 || a < 1.5 {
		t.Errorf("the mean drawn is %.2f of the values', %.2f of even bins", b, a)
	}
	if tail.Len() < even.Len()+2 || tail.Len() > even.Len()+8 {
		t.Errorf("%d bins, %d without a tail", tail.Len(), even.Len())
	}
	for i := range tail.Len() {
		for _, u := range []float64{.03, .4, .99} {
			x := tail.Decode(int32(i), u)
			if got := tail.Within(int32(i), x); math.Abs(got-u) > 1e-6 || tail.Encode(x) != int32(i) {
				t.Fatalf("bin %d at %.2f is %v, which is bin %d at %.4f", i, u, x, tail.Encode(x), got)
			}
		}
	}
}
