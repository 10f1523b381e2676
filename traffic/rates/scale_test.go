package rates

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/traffic"
)

// Common amounts come back exactly, rare ones within an eighth, the width of a cell; places ascend
// with amounts, from 0 to 1.
func TestScale(t *testing.T) {
	var v []float64
	for i := range 200 {
		v = append(v, 60, float64(1000+i*i))
	}
	q := NewScale(slices.Clone(v), traffic.Size, 5)
	if err := q.Check(traffic.Size); err != nil {
		t.Fatal(err)
	}
	slices.Sort(v)
	last := 0.
	for _, x := range v {
		at := q.Place(x)
		if at < last || at > 1 {
			t.Fatalf("%v is at %v, the one before at %v", x, at, last)
		}
		last = at
		if back := q.Amount(at, traffic.Size); x == 60 && back != x || math.Abs(back-x) > x/8 {
			t.Errorf("%v comes back as %v", x, back)
		}
	}
	if lo, hi := q.Amount(-3, traffic.Size), q.Amount(7, traffic.Size); lo != q[0] || hi != q[len(q)-1] {
		t.Errorf("places outside are %v and %v, the ends %v and %v", lo, hi, q[0], q[len(q)-1])
	}
	// With no amount to learn from the scale is still one.
	if x := NewScale(nil, traffic.Size, 5).Amount(.5, traffic.Size); x != 1 {
		t.Errorf("of nothing, the middle is %v", x)
	}
	for name, bad := range map[string]Scale{"one knot": {1}, "falling": {2, 1}, "zero": {0, 1}, "infinite": {1, math.Inf(1)}, "huge": {1, 1 << 60}} {
		if bad.Check(traffic.Size) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if q.Check(traffic.Symbol) == nil {
		t.Error("a symbol has a scale")
	}
}
