package doppelganger

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/traffic"
)

// classes turn the values of one field into categories and back: values that
// are common, exactly, and ranges for all others, inside of which a value is
// drawn. Ends of ranges lie on a grid that does not depend on the data, so
// that no rare value can be read from a model.
type classes struct {
	Kind  traffic.Kind `json:"kind"`
	Exact []float64    `json:"exact,omitempty"` // ascending; classes 0 … len(Exact)-1
	Edges []float64    `json:"edges,omitempty"` // ascending; of the classes after them, [lo, hi) each
}

// grid is the largest point of the grid at or below x: whole numbers to 8, then
// eight to a power of two (1,000 of a continuous field).
func grid(k traffic.Kind, x float64) float64 {
	if x < 0 {
		if grid(k, -x) == -x {
			return x
		}
		return -gridUp(k, -x)
	}
	if whole(k) && x < 8 {
		return math.Floor(x)
	}
	if !whole(k) && x < 1e-6 {
		return 0
	}
	f, e := math.Frexp(x)
	n := perOctave(k)
	return math.Ldexp(math.Floor(f*n)/n, e)
}

// gridUp is the smallest point of the grid above x.
func gridUp(k traffic.Kind, x float64) float64 {
	if x < 0 {
		f := math.Nextafter(-x, 0)
		return -grid(k, f)
	}
	g := grid(k, x)
	for g <= x { // the next point: at most two tries
		switch f, e := math.Frexp(g); {
		case whole(k) && g < 8:
			g++
		case !whole(k) && g == 0:
			g = 1e-6
		default:
			n := perOctave(k)
			g = math.Ldexp((math.Floor(f*n)+1)/n, e)
		}
	}
	return g
}

// perOctave counts the points of the grid from .5 to 1, doubled: mantissas are
// in that half of the unit interval.
func perOctave(k traffic.Kind) float64 {
	if whole(k) {
		return 16
	}
	return 2048
}

func whole(k traffic.Kind) bool { return k != traffic.Number && k != traffic.Gap }

// tail is the fewest values of a range at the end.
const tail = 16

// newClasses fits classes to the values of a field: those that are there at
// least common times, of a port twice, and up to bins ranges of about equal
// counts.
func newClasses(f *traffic.Field, values []float64, bins, common int) classes {
	c := classes{Kind: f.Kind}
	if f.Kind == traffic.Symbol {
		for i := range f.Levels {
			c.Exact = append(c.Exact, float64(i))
		}
		return c
	}
	v := slices.Sorted(slices.Values(values))
	if f.Kind == traffic.Port {
		common = 2
	}
	var rest []float64
	for i := 0; i < len(v); {
		j := i
		for j < len(v) && v[j] == v[i] {
			j++
		}
		if j-i >= common || v[i] == 0 && j-i > 1 {
			c.Exact = append(c.Exact, v[i])
		} else {
			rest = append(rest, v[i:j]...)
		}
		i = j
	}
	if len(rest) == 0 {
		if len(c.Exact) > 0 {
			return c
		}
		rest = []float64{0}
	}
	if f.Kind == traffic.Port {
		c.Edges = portEdges()
		return c
	}
	share := max(float64(len(rest))/float64(bins), 2)
	c.Edges = append(c.Edges, grid(f.Kind, rest[0]))
	last := 0
	for i := 1; i < len(rest); i++ {
		need := share
		if left := float64(len(rest) - last); f.Kind != traffic.Address && left <= share && left >= 2*tail {
			need = left / 2 // the tail is halved again and again: a mean depends on it
		}
		if float64(i-last) < need {
			continue
		}
		if x := grid(f.Kind, rest[i]); x > c.Edges[len(c.Edges)-1] {
			c.Edges = append(c.Edges, x)
			last = i
		}
	}
	c.Edges = append(c.Edges, gridUp(f.Kind, rest[len(rest)-1]))
	if isNumeric(f.Kind) {
		c.Edges = octaves(c.Edges)
	}
	return c
}

// portEdges are ranges of ports: well-known, then registered and dynamic ones
// (RFC 6335) in parts.
func portEdges() (edges []float64) {
	for x := 0.; x <= 1<<16; x += 1024 {
		if x == 0 || x == 1024 || math.Mod(x, 8192) == 0 {
			edges = append(edges, x)
		}
	}
	return edges
}

// octaves cuts ranges into ones that are at most a factor of two wide. In a range
// values are drawn evenly in the logarithm: a last range of gaps from a minute to
// an hour has a mean of 14 minutes, whatever training has there, and with it
// sessions last twice as long.
func octaves(edges []float64) []float64 {
	var all []float64
	for i, lo := range edges {
		all = append(all, lo)
		if i == len(edges)-1 || lo <= 0 {
			continue
		}
		for x := 2 * lo; x < edges[i+1]; x *= 2 {
			all = append(all, x)
		}
	}
	return all
}

// len counts the classes.
func (c *classes) len() int { return len(c.Exact) + max(len(c.Edges)-1, 0) }

// encode is the class of x, the nearest where it falls outside of all.
func (c *classes) encode(x float64) int32 {
	i, ok := slices.BinarySearch(c.Exact, x)
	if ok {
		return int32(i)
	}
	if len(c.Edges) < 2 {
		if i > 0 && (i == len(c.Exact) || x-c.Exact[i-1] < c.Exact[i]-x) {
			i--
		}
		return int32(i)
	}
	b := sort.SearchFloat64s(c.Edges, x)
	if b == len(c.Edges) || c.Edges[b] > x {
		b--
	}
	return int32(len(c.Exact) + min(max(b, 0), len(c.Edges)-2))
}

// decode is the value at share u in [0, 1) of a class.
func (c *classes) decode(class int32, u float64) float64 {
	if int(class) < len(c.Exact) {
		return c.Exact[class]
	}
	lo, hi := c.Edges[int(class)-len(c.Exact)], c.Edges[int(class)-len(c.Exact)+1]
	switch {
	case whole(c.Kind):
		lo, hi = math.Ceil(lo), math.Ceil(hi)
		return min(lo+math.Floor(u*(hi-lo)), max(hi-1, lo))
	case lo > 0:
		return lo * math.Pow(hi/lo, u)
	}
	return lo + u*(hi-lo)
}

// check reports what is wrong with classes read from a file.
func (c *classes) check() error {
	for _, v := range [][]float64{c.Exact, c.Edges} {
		for i, x := range v {
			if x-x != 0 || i > 0 && x <= v[i-1] {
				return fmt.Errorf("value %d of a field is %v: expected finite numbers that ascend", i, x)
			}
		}
	}
	if c.len() == 0 || len(c.Edges) == 1 || c.len() > 1<<16 {
		return fmt.Errorf("a field has %d exact values and %d edges of ranges", len(c.Exact), len(c.Edges))
	}
	return nil
}
