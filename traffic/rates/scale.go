package rates

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/traffic"
)

// Scale is how much a field has where it has something: quantiles of the values
// above 0 that training had, ascending. It turns an amount into its place among
// them, in [0,1], and back.
type Scale []float64

const knots = 64

// NewScale is the scale of values above 0, which it sorts. A value that fewer than
// common of them are equal to is rounded to eight to a power of two, unless the
// field is no size: no rare size is in it.
func NewScale(v []float64, kind traffic.Kind, common int) Scale {
	if len(v) == 0 {
		v = []float64{1}
	}
	slices.Sort(v)
	count := map[float64]int{}
	for _, x := range v {
		count[x]++
	}
	var q Scale
	for i := range knots {
		x := v[i*(len(v)-1)/(knots-1)]
		if count[x] < common && kind == traffic.Size {
			x = max(coarse(x), 1)
		}
		q = append(q, x)
	}
	slices.Sort(q)
	return q
}

// coarse is a value that no other series can be known by: eight to a power of
// two.
func coarse(x float64) float64 {
	if x < 8 {
		return math.Round(x)
	}
	f, e := math.Frexp(x)
	return math.Ldexp(math.Round(f*16)/16, e)
}

// Place is where amount x is: the middle of the knots that are equal to it, or
// between two by its logarithm.
func (q Scale) Place(x float64) float64 {
	a := sort.SearchFloat64s(q, x)
	b := sort.Search(len(q), func(i int) bool { return q[i] > x })
	at := float64(a+b-1) / 2
	if a == b { // between two
		switch {
		case a == 0:
			at = 0
		case a == len(q):
			at = float64(len(q) - 1)
		default:
			at = float64(a-1) + math.Log(x/q[a-1])/math.Log(q[a]/q[a-1])
		}
	}
	return at / float64(len(q)-1)
}

// Amount is Place's way back, of a size a whole number. Places outside [0,1] are
// its ends.
func (q Scale) Amount(place float64, kind traffic.Kind) float64 {
	at := min(max(place, 0), 1) * float64(len(q)-1)
	i := min(int(at), len(q)-2)
	if i > 0 && q[i-1] == q[i] || i+2 < len(q) && q[i+1] == q[i+2] {
		at = math.Round(at) // beside a common value there is nothing between
	}
	x := q[i] * math.Pow(q[i+1]/q[i], at-float64(i))
	if kind == traffic.Size {
		x = max(math.Round(x), 1)
	}
	return x
}

// Check reports what is wrong with a scale that was read.
func (q Scale) Check(kind traffic.Kind) error {
	for i, x := range q {
		if !(x > 0) || math.IsInf(x, 0) || i > 0 && x < q[i-1] {
			return fmt.Errorf("knot %d is %v", i, x)
		}
	}
	if len(q) < 2 || q[len(q)-1] > 1<<52 || kind != traffic.Size && kind != traffic.Number && kind != traffic.Gap {
		return fmt.Errorf("%d knots of a %s", len(q), kind)
	}
	return nil
}
