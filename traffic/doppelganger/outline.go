package doppelganger

import (
	"math"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// The likelihood mode draws a session's outline before its steps: the class of its
// length, and of the largest value of each numeric field, as the generator against
// critics draws ranges. Long gaps and bulk come in some sessions, often, and in
// most never. A network that draws one step after another, and remembers few of
// them, spreads both over all sessions: its load is smoother than the real one, and
// a queue is full at other times.

// low and high are the smallest and the largest value of a class.
func (c *classes) low(class int32) float64 {
	if i := int(class) - len(c.Exact); i >= 0 {
		if whole(c.Kind) {
			return math.Ceil(c.Edges[i])
		}
		return c.Edges[i]
	}
	return c.Exact[class]
}

func (c *classes) high(class int32) float64 {
	if i := int(class) - len(c.Exact); i >= 0 {
		if whole(c.Kind) {
			return math.Ceil(c.Edges[i+1]) - 1
		}
		return math.Nextafter(c.Edges[i+1], math.Inf(-1))
	}
	return c.Exact[class]
}

// lengths is the field that classes of the number of steps are of.
var lengths = traffic.Field{Name: "steps", Kind: traffic.Size}

// outlined are a session's length and its largest values; the session is of in.
func (k *codec) outlined(s *traffic.Session) []float64 {
	v := []float64{float64(k.in.Len(s))}
	for _, f := range k.numeric {
		_, hi := k.extremes(s, f)
		v = append(v, hi)
	}
	return v
}

// newOutline fits classes to the outlines of sessions; none where all have one step.
func (k *codec) newOutline(set *traffic.Set, c Config) {
	if k.Longest == 1 {
		return
	}
	values := make([][]float64, 1+len(k.numeric))
	for i := range set.Sessions {
		if k.in.Len(&set.Sessions[i]) == 0 {
			continue
		}
		for j, x := range k.outlined(&set.Sessions[i]) {
			values[j] = append(values[j], x)
		}
	}
	for j, v := range values {
		k.Outline = append(k.Outline, newClasses(k.outlineField(j), v, c.Bins, c.Common))
	}
}

func (k *codec) outlineField(j int) *traffic.Field {
	if j == 0 {
		return &lengths
	}
	return &k.in.Steps[k.numeric[j-1]]
}

// outlineOf are the classes of a session's outline.
func (k *codec) outlineOf(s *traffic.Session) (class []int32) {
	if len(k.Outline) == 0 {
		return nil
	}
	for j, x := range k.outlined(s) {
		class = append(class, k.Outline[j].encode(x))
	}
	return class
}

// outline is what a session is to have, and where its steps have come to.
type outline struct {
	k       *codec
	class   []int32 // of the length, then by numeric field; empty: there is no outline
	reached []bool  // by numeric field: a step has its largest value
	n       int     // steps
}

func (k *codec) newOutlineAt(class []int32) outline {
	return outline{k: k, class: class, reached: make([]bool, max(len(class)-1, 0))}
}

// step takes a step of in.
func (o *outline) step(x []float64) {
	o.n++
	for j := range o.reached {
		o.reached[j] = o.reached[j] || x[o.k.numeric[j]] >= o.k.Outline[1+j].low(o.class[1+j])
	}
}

// embeddings are of the inputs that outlines give: by class of the outline, of
// largest values also whether one has come; and how many steps are left at most.
func (k *codec) outlineEmbeddings() (e []seq.Embedding) {
	for j := range k.Outline {
		e = append(e, seq.Embedding{Name: "outline." + k.outlineField(j).Name, Size: 2 * k.Outline[j].len(), Dim: 8})
	}
	if len(e) > 0 {
		e = append(e, seq.Embedding{Name: "left", Size: tokens.Positions, Dim: 8})
	}
	return e
}

// tokens are the inputs while the first known classes are drawn.
func (o *outline) tokens(into []int32, known int) {
	if len(o.class) == 0 {
		return
	}
	for j, class := range o.class {
		into[j] = -1
		if j < known {
			into[j] = 2 * class
			if j > 0 && o.reached[j-1] {
				into[j]++
			}
		}
	}
	into[len(o.class)] = -1
	if known > 0 {
		into[len(o.class)] = tokens.Position(max(int(o.k.Outline[0].high(o.class[0]))-o.n, 0))
	}
}

// limit takes their weight from classes of a field of steps of which all values are
// larger than the session's largest.
func (o *outline) limit(w []float32, field int) {
	for j := range o.reached {
		if o.k.numeric[j] != field {
			continue
		}
		high := o.k.Outline[1+j].high(o.class[1+j])
		for c, low := range o.k.lows[j] {
			if low > high {
				w[c] = 0
			}
		}
	}
}

// end takes its weight from an end before the shortest of the length's class, and from
// going on after its longest. w is of the end and of going on.
func (o *outline) end(w []float32) {
	if len(o.class) == 0 {
		return
	}
	switch n, c := float64(o.n), &o.k.Outline[0]; {
	case n < c.low(o.class[0]):
		w[0] = 0
	case n >= c.high(o.class[0]):
		w[1] = 0
	}
}

// bytes are the kinds whose size the largest values do not allow to be more than 0.
func (o *outline) bytes() (none uint64) {
	for j := range o.reached {
		if o.k.Outline[1+j].high(o.class[1+j]) == 0 {
			none |= o.k.bytes[j]
		}
	}
	return none
}

// finish puts a largest value that no step has come to into the step, of those from
// from on, whose value is the largest. s is of Schema.
func (o *outline) finish(s *traffic.Session, from int, key rng.Key) {
	k := o.k
	if k.Means {
		in := k.innerSession(s)
		o.largest(&in, from, key)
		width := len(k.in.Steps)
		for t := from; t < o.n; t++ {
			s.Steps = k.outer(s.Steps[:t*width], in.Steps[t*width:][:width])
		}
		return
	}
	o.largest(s, from, key)
}

// largest is finish of a session whose sizes are as in in.
func (o *outline) largest(s *traffic.Session, from int, key rng.Key) {
	k := o.k
	width := len(k.Schema.Steps)
	for j, reached := range o.reached {
		field := k.numeric[j]
		if k.Kinds != nil {
			field = k.fields[field]
		}
		t, best := from, -1
		if k.Schema.Steps[field].Kind == traffic.Gap {
			t = max(t, 1) // the first gap is 0 by definition
		}
		for ; t < o.n; t++ {
			x := s.Steps[t*width:][:width]
			if x[field] == 0 && k.Kinds != nil && !k.Kinds.has(k.Kinds.nearest(x), field) {
				continue
			}
			if best < 0 || x[field] > s.Steps[best*width+field] {
				best = t
			}
		}
		if reached || best < 0 {
			continue
		}
		x := s.Steps[best*width:][:width]
		value := k.Outline[1+j].decode(o.class[1+j], key.Float64(uint32(2+j)))
		if k.Kinds == nil {
			x[field] = value
			continue
		}
		kind := k.Kinds.nearest(x)
		x[field] = value
		k.Kinds.bound(kind, x)
	}
}

// indexOutline finds the smallest value of each class of a step.
func (k *codec) indexOutline() {
	k.lows = nil
	if len(k.Outline) == 0 {
		return
	}
	for _, f := range k.numeric {
		low := make([]float64, k.Steps[f].len())
		for c := range low {
			low[c] = k.Steps[f].low(int32(c))
		}
		k.lows = append(k.lows, low)
	}
}

// atLeast takes their weight from classes of an outline that are below what a
// session's first steps have.
func (c *classes) atLeast(w []float32, x float64) {
	for class := range w {
		if c.high(int32(class)) < x && int32(class) != c.encode(x) {
			w[class] = 0
		}
	}
}
