package doppelganger

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// kinds are what the steps of training are besides their numbers: the values of
// their symbols, together with which of their sizes are 0, and which payload is
// larger than a packet of Ethernet holds. A model draws the kind
// of a step first and its numbers given it, so that no step is what training
// never had: an acknowledgement with bytes, a flag of TCP in a datagram.
//
// A set of kinds is a uint64, bit k kind k.
type kinds struct {
	Symbols []int       `json:"symbols"` // fields of a step
	Sizes   []int       `json:"sizes"`   // fields of a step that may be 0
	Edges   []float64   `json:"edges"`   // of Sizes: from where one is large; 0: nowhere
	Of      [][]int32   `json:"of"`      // by kind: levels of Symbols, then of each size 0 where it is 0, 2 where it is large, else 1
	Least   [][]float64 `json:"least"`   // by kind, of each size that is not 0; bounds on the classes' grid
	Most    [][]float64 `json:"most"`
	After   []uint64    `json:"after"`  // by kind: those that training had anywhere after it in a session, more than rarely
	About   [][]uint64  `json:"about"`  // by field of a session and level: those that training had with it; none of fields that are no symbols
	Begins  [][]uint64  `json:"begins"` // the same of first steps
	// MostWith are the largest sizes of a kind in sessions with a symbol, by field of a session and level,
	// then by kind and size, as Most; 0: training has none. A full packet has fewer bytes beside timestamps.
	MostWith [][][]float64 `json:"most_with,omitempty"`
}

// fitting are the kinds that fit a session's fields: any of its steps, and its first.
type fitting struct{ any, first uint64 }

// maxKinds is the most kinds that a set may have.
const maxKinds = 64

// unseen is what the probability of a kind is multiplied by that training never
// had after what the session has, or with its symbols.
const unseen = 1e-6

// rarely is the share of the sessions with two kinds, of those with the rarer one,
// below which the one does not follow the other: a capture that lost a packet has
// data after a FIN, and a model is to have none.
const rarely = .05

// newKinds finds the kinds of a set. nil: no size is ever 0, or there is one kind
// alone, or too many.
func newKinds(set *traffic.Set, common int) *kinds {
	k := &kinds{}
	zero := make([]bool, len(set.Of.Steps))
	each := func(see func(s *traffic.Session, t int, x []float64)) {
		for i := range set.Sessions {
			for t := range set.Of.Len(&set.Sessions[i]) {
				see(&set.Sessions[i], t, set.Of.Step(&set.Sessions[i], t))
			}
		}
	}
	each(func(_ *traffic.Session, _ int, x []float64) {
		for j, v := range x {
			zero[j] = zero[j] || v == 0
		}
	})
	for j, f := range set.Of.Steps {
		switch {
		case f.Kind == traffic.Symbol:
			k.Symbols = append(k.Symbols, j)
		case f.Kind == traffic.Size && zero[j]:
			k.Sizes = append(k.Sizes, j)
			edge := 0.
			if f.Name == "size" && set.Of.StepIndex("direction") >= 0 {
				edge = float64(traffic.PayloadEdges[0])
			}
			k.Edges = append(k.Edges, edge)
		}
	}
	if len(k.Sizes) == 0 {
		return nil
	}
	each(func(_ *traffic.Session, _ int, x []float64) {
		if of := k.tuple(x); len(k.Of) <= maxKinds && k.find(of) < 0 {
			k.Of = append(k.Of, of)
		}
	})
	if len(k.Of) < 2 || len(k.Of) > maxKinds {
		return nil
	}
	slices.SortFunc(k.Of, func(a, b []int32) int { return slices.Compare(a, b) })
	k.After = make([]uint64, len(k.Of))
	for _, f := range set.Of.Meta {
		k.About = append(k.About, make([]uint64, len(f.Levels)))
		k.Begins = append(k.Begins, make([]uint64, len(f.Levels)))
	}
	sizes := make([][][]float64, len(k.Of)) // by kind and size
	for i := range sizes {
		sizes[i] = make([][]float64, len(k.Sizes))
	}
	with := make([][][][]float64, len(set.Of.Meta)) // by field, level, and kind and size
	for j, f := range set.Of.Meta {
		for range f.Levels {
			with[j] = append(with[j], make([][]float64, len(k.Of)*len(k.Sizes)))
		}
	}
	after, having := make([][maxKinds]int, len(k.Of)), make([]int, len(k.Of)) // sessions
	var before uint64
	pairs := make([]uint64, len(k.Of)) // of a session
	count := func() {
		for a, set := range pairs {
			for b := set; b != 0; b &= b - 1 {
				after[a][bits.TrailingZeros64(b)]++
			}
			having[a] += int(before >> a & 1)
		}
		before = 0
		clear(pairs)
	}
	each(func(s *traffic.Session, t int, x []float64) {
		own := k.find(k.tuple(x))
		bit := uint64(1) << own
		if t == 0 {
			count()
		}
		for b := before; b != 0; b &= b - 1 {
			pairs[bits.TrailingZeros64(b)] |= bit
		}
		before |= bit
		for j, f := range set.Of.Meta {
			if f.Kind == traffic.Symbol {
				k.About[j][int(s.Meta[j])] |= bit
				if t == 0 {
					k.Begins[j][int(s.Meta[j])] |= bit
				}
			}
		}
		for j, f := range k.Sizes {
			if x[f] != 0 {
				sizes[own][j] = append(sizes[own][j], x[f])
				for m, f := range set.Of.Meta {
					if f.Kind == traffic.Symbol {
						at := &with[m][int(s.Meta[m])][own*len(k.Sizes)+j]
						*at = append(*at, x[k.Sizes[j]])
					}
				}
			}
		}
	})
	count()
	for a := range k.Of {
		for b := range k.Of {
			if n := after[a][b]; n > 0 && float64(n) >= rarely*float64(min(having[a], having[b])) {
				k.After[a] |= 1 << b
			}
		}
	}
	for kind, bySize := range sizes {
		least, most := make([]float64, len(k.Sizes)), make([]float64, len(k.Sizes))
		for j, v := range bySize {
			if len(v) == 0 {
				continue
			}
			least[j], most[j] = bounds(v, common)
			if edge := k.Edges[j]; edge > 0 && k.Of[kind][len(k.Symbols)+j] == 2 {
				least[j] = max(least[j], edge)
			} else if edge > 0 {
				most[j] = min(most[j], edge-1)
			}
		}
		k.Least, k.Most = append(k.Least, least), append(k.Most, most)
	}
	for _, levels := range with {
		of := make([][]float64, len(levels))
		for l, sizes := range levels {
			of[l] = make([]float64, len(sizes))
			for at, v := range sizes {
				if len(v) > 0 {
					_, most := bounds(v, common)
					of[l][at] = min(most, k.Most[at/len(k.Sizes)][at%len(k.Sizes)])
				}
			}
		}
		k.MostWith = append(k.MostWith, of)
	}
	return k
}

// bounds are the smallest and the largest of sizes, or where they are not common
// the ends of their cells of the grid.
func bounds(v []float64, common int) (lo, hi float64) {
	lo, hi = slices.Min(v), slices.Max(v)
	count := func(x float64) (n int) {
		for _, y := range v {
			if y == x {
				n++
			}
		}
		return n
	}
	if count(lo) < common {
		lo = max(grid(traffic.Size, lo), 1)
	}
	if count(hi) < common && grid(traffic.Size, hi) != hi {
		hi = gridUp(traffic.Size, hi)
	}
	return lo, hi
}

// tuple is what a kind is of, for a step.
func (k *kinds) tuple(x []float64) []int32 {
	of := make([]int32, 0, len(k.Symbols)+len(k.Sizes))
	for _, f := range k.Symbols {
		of = append(of, int32(x[f]))
	}
	for j, f := range k.Sizes {
		switch edge := k.Edges[j]; {
		case x[f] == 0:
			of = append(of, 0)
		case edge > 0 && x[f] >= edge:
			of = append(of, 2)
		default:
			of = append(of, 1)
		}
	}
	return of
}

func (k *kinds) find(of []int32) int {
	return slices.IndexFunc(k.Of, func(o []int32) bool { return slices.Equal(o, of) })
}

// bound makes a step's sizes what a kind allows.
func (k *kinds) bound(kind int, x []float64) {
	for i, f := range k.Sizes {
		if k.Of[kind][len(k.Symbols)+i] == 0 {
			x[f] = 0
		} else {
			x[f] = min(max(x[f], k.Least[kind][i]), k.Most[kind][i])
		}
	}
}

// boundWith makes a step's sizes what a kind allows in a session with symbols; level gives
// that of a session's field.
func (k *kinds) boundWith(kind int, x []float64, level func(field int) int) {
	for j, levels := range k.MostWith {
		if len(levels) == 0 {
			continue
		}
		for i, f := range k.Sizes {
			if most := levels[level(j)][kind*len(k.Sizes)+i]; most > 0 && x[f] > most {
				x[f] = max(most, k.Least[kind][i])
			}
		}
	}
}

// nearest is the kind of a step, one of the fewest differences where training had
// none such.
func (k *kinds) nearest(x []float64) int {
	of := k.tuple(x)
	best, fewest := 0, len(of)+1
	for i, o := range k.Of {
		n := 0
		for j := range o {
			if o[j] != of[j] {
				n++
			}
		}
		if n < fewest {
			best, fewest = i, n
		}
	}
	return best
}

// has reports whether the size of a step field is not 0 in a kind; it is of
// fields that are never 0.
func (k *kinds) has(kind, field int) bool {
	j := slices.Index(k.Sizes, field)
	return j < 0 || k.Of[kind][len(k.Symbols)+j] != 0
}

// with are the kinds that training had with the symbols of a session; meta gives
// the level of a field. Symbols that training never had together can leave no
// kind: then a field counts only where the fields before it leave one.
func (k *kinds) with(meta func(field int) int) fitting {
	all := uint64(1)<<len(k.Of) - 1
	set := fitting{all, all}
	for j, levels := range k.About {
		if len(levels) == 0 {
			continue
		}
		if any := set.any & levels[meta(j)]; any != 0 {
			set.any = any
		}
		if first := set.first & k.Begins[j][meta(j)]; first != 0 {
			set.first = first
		}
	}
	return set
}

// next are the kinds that may follow: those of with that training began with, or
// had after all kinds of before.
func (k *kinds) next(with fitting, before uint64) uint64 {
	if before == 0 {
		return with.first
	}
	set := with.any
	for b := before; b != 0; b &= b - 1 {
		set &= k.After[bits.TrailingZeros64(b)]
	}
	return set
}

// over reports whether training had nothing after all of before in sessions of
// with: the session ends.
func (k *kinds) over(with fitting, before uint64) bool { return k.next(with, before) == 0 }

// weigh lowers the weights of kinds that are not in set.
func weigh(w []float32, set uint64) {
	for i := range w {
		if set>>i&1 == 0 {
			w[i] *= unseen
		}
	}
}

// check reports what is wrong with kinds read from a file.
func (k *kinds) check(c *traffic.Schema) error {
	n := len(k.Of)
	if n < 2 || n > maxKinds || len(k.After) != n || len(k.Least) != n || len(k.Most) != n || len(k.About) != len(c.Meta) || len(k.Begins) != len(c.Meta) {
		return fmt.Errorf("codec: %d kinds of steps, %d orders, %d and %d bounds, %d fields of sessions", n, len(k.After), len(k.Least), len(k.Most), len(k.About))
	}
	var symbols, sizes []int
	for j, f := range c.Steps {
		switch {
		case f.Kind == traffic.Symbol:
			symbols = append(symbols, j)
		case f.Kind == traffic.Size && slices.Contains(k.Sizes, j):
			sizes = append(sizes, j)
		}
	}
	if !slices.Equal(symbols, k.Symbols) || !slices.Equal(sizes, k.Sizes) || len(k.Edges) != len(sizes) {
		return fmt.Errorf("codec: kinds are of fields %v and %v of steps", k.Symbols, k.Sizes)
	}
	for i, of := range k.Of {
		if len(of) != len(symbols)+len(sizes) || len(k.Least[i]) != len(sizes) || len(k.Most[i]) != len(sizes) {
			return fmt.Errorf("codec: kind %d is %v", i, of)
		}
		for j, v := range of {
			most := int32(2)
			if j < len(symbols) {
				most = int32(len(c.Steps[symbols[j]].Levels)) - 1
			}
			if v < 0 || v > most {
				return fmt.Errorf("codec: kind %d is %v", i, of)
			}
		}
		for j := range sizes {
			lo, hi := k.Least[i][j], k.Most[i][j]
			if !(lo >= 0 && lo <= hi && hi <= 1<<53) || of[len(symbols)+j] != 0 && lo < 1 {
				return fmt.Errorf("codec: sizes of kind %d are from %v to %v", i, lo, hi)
			}
		}
	}
	for j, f := range c.Meta {
		if len(k.About[j]) != len(f.Levels) || len(k.Begins[j]) != len(f.Levels) {
			return fmt.Errorf("codec: kinds of %d levels of %s", len(k.About[j]), f.Name)
		}
	}
	if len(k.MostWith) != 0 && len(k.MostWith) != len(c.Meta) {
		return fmt.Errorf("codec: largest sizes with %d fields of sessions", len(k.MostWith))
	}
	for j, levels := range k.MostWith {
		if len(levels) != len(c.Meta[j].Levels) {
			return fmt.Errorf("codec: largest sizes with %d levels of %s", len(levels), c.Meta[j].Name)
		}
		for l, most := range levels {
			if len(most) != n*len(sizes) || slices.ContainsFunc(most, func(x float64) bool { return !(x >= 0 && x <= 1<<53) }) {
				return fmt.Errorf("codec: largest sizes with level %d of %s are %v", l, c.Meta[j].Name, most)
			}
		}
	}
	return nil
}

// inner is a schema of kinds and of the fields that they leave, in their order.
func (k *kinds) inner(c *traffic.Schema) (traffic.Schema, []int) {
	in := *c
	levels := make([]string, len(k.Of))
	for i, of := range k.Of {
		levels[i] = fmt.Sprint(of)
	}
	in.Steps = []traffic.Field{{Name: "kind", Kind: traffic.Symbol, Levels: levels}}
	fields := []int{-1}
	for j, f := range c.Steps {
		if f.Kind != traffic.Symbol {
			in.Steps, fields = append(in.Steps, f), append(fields, j)
		}
	}
	return in, fields
}
