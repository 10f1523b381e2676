package rng

import (
	"math"
	"slices"
	"testing"
)

// Vectors of the Random123 distribution (kat_vectors, philox 4x32 10).
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.ctr, c.key); got != c.want {
			t.Errorf("Philox(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
	}
}

func TestStreamsDiffer(t *testing.T) {
	base := Key{Seed: 1, A: 2, B: 3, Purpose: Episode}
	seen := map[uint64]Key{}
	for _, k := range []Key{base, {2, 2, 3, Episode}, {1 << 32, 2, 3, Episode}, {1, 3, 2, Episode}, {1, 2, 4, Episode}, {1, 2, 3, Start}} {
		for i := range uint32(4) {
			v := k.Uint64(i)
			if other, ok := seen[v]; ok {
				t.Fatalf("%+v and %+v share %x", k, other, v)
			}
			seen[v] = k
		}
	}
}

func TestMoments(t *testing.T) {
	k := Key{Seed: 7, Purpose: Action}
	const n = 20000
	var mean, square, uniform float64
	counts := make([]int, 3)
	for i := range uint32(n) {
		a, b := k.Normal(i)
		mean += (a + b) / (2 * n)
		square += (a*a + b*b) / (2 * n)
		uniform += k.Float64(i) / n
		counts[k.Intn(i, 3)]++
	}
	if math.Abs(mean) > .02 || math.Abs(square-1) > .03 || math.Abs(uniform-.5) > .01 {
		t.Errorf("normal mean %v variance %v, uniform mean %v", mean, square, uniform)
	}
	for v, c := range counts {
		if math.Abs(float64(c)-n/3.) > 300 {
			t.Errorf("Intn gave %d %d times of %d", v, c, n)
		}
	}
}

// Normal's two numbers are Box and Muller's of the uniform numbers that its
// comment names.
func TestNormalOfUniform(t *testing.T) {
	for i := range uint32(100) {
		k := Key{Seed: 9, A: i, Purpose: Noise}
		u, v := 1-k.Float64(2*i), k.Float64(2*i+1)
		a, b := k.Normal(i)
		r := math.Sqrt(-2 * math.Log(u))
		if math.Abs(a-r*math.Cos(2*math.Pi*v)) > 1e-12 || math.Abs(b-r*math.Sin(2*math.Pi*v)) > 1e-12 {
			t.Fatalf("Normal(%d) = %v, %v of %v, %v", i, a, b, u, v)
		}
	}
}

func BenchmarkNormal(b *testing.B) {
	k, i, sum := Key{Seed: 1}, uint32(0), 0.
	for b.Loop() {
		x, y := k.Normal(i)
		sum += x + y
		i++
	}
	_ = sum
}

// Fewer are the first of more, each once.
func TestChoose(t *testing.T) {
	k := Key{Seed: 3, Purpose: Judging}
	all := k.Choose(50, 50)
	if few := k.Choose(50, 7); !slices.Equal(few, all[:7]) {
		t.Errorf("7 of 50 are %v, of all %v the first", few, all)
	}
	if slices.IsSorted(all) {
		t.Error("50 of 50 are in order")
	}
	slices.Sort(all)
	for i, x := range all {
		if x != i {
			t.Fatalf("50 of 50 are %v", all)
		}
	}
	if none := k.Choose(0, 0); len(none) != 0 {
		t.Errorf("of nothing: %v", none)
	}
}
