package ptxvm

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// fn computes one lane of an instruction. Operands come zero-extended from
// their registers; what it returns is cut to the destination's.
type fn func(a, b, c uint64) uint64

// operation is what an opcode means where it only computes.
type operation struct {
	f        fn
	dst      byte   // class of the destination: 'p', 'h', 'w', 'd'; 0: any
	src      string // classes of the sources; '?': any
	nonZero  bool   // operand b must not be 0
	ulps     float64
	absolute float64 // of an approximation: its error is within ulps·ulp + absolute
}

// typ is a PTX type.
type typ struct {
	bits  uint
	kind  byte // 'b', 'u', 's', 'f', 'p'
	class byte // of registers that hold it
}

func typeOf(s string) (typ, bool) {
	if s == "pred" {
		return typ{1, 'p', 'p'}, true
	}
	size := typeSizes["."+s]
	if size == 0 {
		return typ{}, false
	}
	return typ{uint(8 * size), s[0], classOf(size)}, true
}

func classOf(size int) byte {
	switch size {
	case 1, 2:
		return 'h'
	case 4:
		return 'w'
	}
	return 'd'
}

// extend returns v, whose low bits are of type t, in 64 bits.
func (t typ) extend(v uint64) uint64 {
	s := 64 - t.bits
	if t.kind == 's' {
		return uint64(int64(v<<s) >> s)
	}
	return v << s >> s
}

func f32(v uint64) float32 { return math.Float32frombits(uint32(v)) }
func b32(v float32) uint64 { return uint64(math.Float32bits(v)) }
func f64(v uint64) float64 { return math.Float64frombits(v) }
func b64(v float64) uint64 { return math.Float64bits(v) }
func bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
func each(class byte, n int) string { return strings.Repeat(string(class), n) }

// compute returns the operation of an opcode; ok is false where there is none.
func compute(op string) (o operation, ok bool) {
	parts := strings.Split(op, ".")
	base, mods := parts[0], parts[1:]
	if len(mods) == 0 {
		return o, false
	}
	t, ok := typeOf(mods[len(mods)-1])
	if !ok {
		return o, false
	}
	if base == "cvt" {
		return convert(mods)
	}
	mods = mods[:len(mods)-1]
	take := func(m string) bool {
		i := slices.Index(mods, m)
		if i >= 0 {
			mods = slices.Delete(slices.Clone(mods), i, i+1)
		}
		return i >= 0
	}
	switch {
	case base == "setp":
		o, ok = compare(t, take)
	case t.kind == 'f' && base != "selp" && base != "mov":
		o, ok = float(base, t, take)
	default:
		o, ok = integer(base, t, take)
	}
	return o, ok && len(mods) == 0
}

// comparison says which orders of a to b (-1, 0, 1, or that one is NaN) satisfy
// a comparison.
type comparison struct {
	name  string
	want  [4]uint64
	float bool // of floats only
}

var comparisons = [...]comparison{
	{"eq", [4]uint64{0, 1, 0, 0}, false}, {"ne", [4]uint64{1, 0, 1, 0}, false},
	{"lt", [4]uint64{1, 0, 0, 0}, false}, {"le", [4]uint64{1, 1, 0, 0}, false},
	{"gt", [4]uint64{0, 0, 1, 0}, false}, {"ge", [4]uint64{0, 1, 1, 0}, false},
	{"lo", [4]uint64{1, 0, 0, 0}, false}, {"ls", [4]uint64{1, 1, 0, 0}, false},
	{"hi", [4]uint64{0, 0, 1, 0}, false}, {"hs", [4]uint64{0, 1, 1, 0}, false},
	{"equ", [4]uint64{0, 1, 0, 1}, true}, {"neu", [4]uint64{1, 0, 1, 1}, true},
	{"ltu", [4]uint64{1, 0, 0, 1}, true}, {"leu", [4]uint64{1, 1, 0, 1}, true},
	{"gtu", [4]uint64{0, 0, 1, 1}, true}, {"geu", [4]uint64{0, 1, 1, 1}, true},
	{"num", [4]uint64{1, 1, 1, 0}, true}, {"nan", [4]uint64{0, 0, 0, 1}, true},
}

// compare is setp. "setp.lt.and" and its like take a third, predicate operand.
func compare(t typ, take func(string) bool) (operation, bool) {
	ftz := take("ftz")
	// order returns -1, 0, 1, or 2 where a float is NaN.
	var order func(a, b uint64) int
	x := t.extend
	cmp := func(less, equal bool) int {
		if less {
			return -1
		}
		return int(1 - bit(equal))
	}
	switch {
	case t.kind == 'p' || t.bits == 8:
		return operation{}, false
	case t.kind == 'f' && t.bits == 32:
		order = func(a, b uint64) int {
			if ftz {
				a, b = flush(a), flush(b)
			}
			u, v := f32(a), f32(b)
			if u != u || v != v {
				return 2
			}
			return cmp(u < v, u == v)
		}
	case t.kind == 'f':
		order = func(a, b uint64) int {
			u, v := f64(a), f64(b)
			if u != u || v != v {
				return 2
			}
			return cmp(u < v, u == v)
		}
	case t.kind == 's':
		order = func(a, b uint64) int { return cmp(int64(x(a)) < int64(x(b)), x(a) == x(b)) }
	default:
		order = func(a, b uint64) int { return cmp(x(a) < x(b), x(a) == x(b)) }
	}
	for _, e := range comparisons {
		if !take(e.name) {
			continue
		}
		if e.float && t.kind != 'f' {
			return operation{}, false
		}
		want := e.want
		o := operation{dst: 'p', src: each(t.class, 2)}
		o.f = func(a, b, _ uint64) uint64 { return want[order(a, b)+1] }
		f := o.f
		switch {
		case take("and"):
			o.src += "p"
			o.f = func(a, b, c uint64) uint64 { return f(a, b, 0) & c }
		case take("or"):
			o.src += "p"
			o.f = func(a, b, c uint64) uint64 { return f(a, b, 0) | c }
		case take("xor"):
			o.src += "p"
			o.f = func(a, b, c uint64) uint64 { return f(a, b, 0) ^ c }
		}
		return o, true
	}
	return operation{}, false
}

// modify returns the read-modify-write function of atom and red.
func modify(op string, t typ) (func(old, b, c uint64) uint64, error) {
	x := t.extend
	switch {
	case op == "exch":
		return func(_, b, _ uint64) uint64 { return b }, nil
	case op == "cas":
		return func(old, b, c uint64) uint64 {
			if old == x(b) {
				return c
			}
			return old
		}, nil
	case op == "inc" && t.kind == 'u':
		return func(old, b, _ uint64) uint64 {
			if old >= b {
				return 0
			}
			return old + 1
		}, nil
	case op == "dec" && t.kind == 'u':
		return func(old, b, _ uint64) uint64 {
			if old == 0 || old > b {
				return b
			}
			return old - 1
		}, nil
	}
	var o operation
	ok := false
	none := func(string) bool { return false }
	switch {
	case op != "add" && op != "min" && op != "max" && op != "and" && op != "or" && op != "xor":
	case t.kind == 'f' && op == "add":
		o, ok = float(op, t, none)
	case t.kind != 'f':
		o, ok = integer(op, t, none)
	}
	if !ok {
		return nil, fmt.Errorf("atomic %s", op)
	}
	return o.f, nil
}
