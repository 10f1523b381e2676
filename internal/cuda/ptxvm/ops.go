package ptxvm

import (
	"fmt"
	"math"
	"math/bits"
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

// flush makes a subnormal a zero of its sign.
func flush(v uint64) uint64 {
	if v&0x7f800000 == 0 {
		return v & 0x80000000
	}
	return v
}

// fma32 is a·b + c rounded once. The product is exact in float64. The sum's
// rounding to float64 is harmless unless it hit the middle between two float32
// (or the result is subnormal), where the sum's own error decides.
func fma32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	u := math.Float64bits(s)
	if e := u >> 52 & 0x7ff; u&0x1fffffff != 0x10000000 && e > 897 || e == 0x7ff {
		return float32(s)
	}
	// Round to odd: the float64 whose last bit says that something was lost.
	bb := s - p
	lost := (p - (s - bb)) + (float64(c) - bb)
	if lost != 0 && u&1 == 0 {
		if (lost > 0) == (s > 0) {
			u++
		} else {
			u--
		}
		if s == 0 { // cannot be: a sum of floats that rounds to 0 is 0
			u = 0
		}
	}
	return float32(math.Float64frombits(u))
}

// minNumber and maxNumber return the other operand for a NaN, and -0 < +0.
func minNumber(a, b float64) float64 {
	switch {
	case a != a:
		return b
	case b != b:
		return a
	}
	return math.Min(a, b)
}

func maxNumber(a, b float64) float64 {
	switch {
	case a != a:
		return b
	case b != b:
		return a
	}
	return math.Max(a, b)
}

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

func integer(base string, t typ, take func(string) bool) (operation, bool) {
	n, x := t.class, t.extend
	two := func(f func(a, b uint64) uint64) (operation, bool) {
		return operation{f: func(a, b, _ uint64) uint64 { return f(a, b) }, dst: n, src: each(n, 2)}, true
	}
	one := func(f func(a uint64) uint64) (operation, bool) {
		return operation{f: func(a, _, _ uint64) uint64 { return f(a) }, dst: n, src: each(n, 1)}, true
	}
	if t.kind == 'p' {
		switch base {
		case "and":
			return two(func(a, b uint64) uint64 { return a & b })
		case "or":
			return two(func(a, b uint64) uint64 { return a | b })
		case "xor":
			return two(func(a, b uint64) uint64 { return a ^ b })
		case "not":
			return one(func(a uint64) uint64 { return a ^ 1 })
		case "mov":
			return one(func(a uint64) uint64 { return a })
		}
		return operation{}, false
	}
	if t.bits == 8 {
		return operation{}, false
	}
	signed := t.kind == 's'
	switch base {
	case "mov":
		return one(func(a uint64) uint64 { return a })
	case "add":
		return two(func(a, b uint64) uint64 { return a + b })
	case "sub":
		return two(func(a, b uint64) uint64 { return a - b })
	case "and":
		return two(func(a, b uint64) uint64 { return a & b })
	case "or":
		return two(func(a, b uint64) uint64 { return a | b })
	case "xor":
		return two(func(a, b uint64) uint64 { return a ^ b })
	case "not":
		return one(func(a uint64) uint64 { return ^a })
	case "cnot":
		return one(func(a uint64) uint64 { return bit(a == 0) })
	case "neg":
		return one(func(a uint64) uint64 { return -a })
	case "abs":
		return one(func(a uint64) uint64 {
			if v := int64(x(a)); v < 0 {
				return uint64(-v)
			}
			return a
		})
	case "mul", "mad":
		var f func(a, b uint64) uint64
		dst := n
		switch {
		case take("lo"):
			f = func(a, b uint64) uint64 { return a * b }
		case take("wide") && t.bits < 64:
			f = func(a, b uint64) uint64 { return x(a) * x(b) }
			dst = map[byte]byte{'h': 'w', 'w': 'd'}[n]
		case take("hi"):
			f = func(a, b uint64) uint64 { return x(a) * x(b) >> t.bits }
			if t.bits == 64 {
				f = func(a, b uint64) uint64 {
					hi, _ := bits.Mul64(a, b)
					if signed {
						hi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a
					}
					return hi
				}
			}
		default:
			return operation{}, false
		}
		if base == "mul" {
			o, ok := two(f)
			o.dst = dst
			return o, ok
		}
		return operation{f: func(a, b, c uint64) uint64 { return f(a, b) + c }, dst: dst, src: each(n, 2) + string(dst)}, true
	case "div", "rem":
		f := func(a, b uint64) uint64 { return x(a) / x(b) }
		if base == "rem" {
			f = func(a, b uint64) uint64 { return x(a) % x(b) }
		}
		if signed {
			f = func(a, b uint64) uint64 { return uint64(int64(x(a)) / int64(x(b))) }
			if base == "rem" {
				f = func(a, b uint64) uint64 { return uint64(int64(x(a)) % int64(x(b))) }
			}
		}
		o, ok := two(f)
		o.nonZero = true
		return o, ok
	case "min":
		if signed {
			return two(func(a, b uint64) uint64 { return uint64(min(int64(x(a)), int64(x(b)))) })
		}
		return two(func(a, b uint64) uint64 { return min(a, b) })
	case "max":
		if signed {
			return two(func(a, b uint64) uint64 { return uint64(max(int64(x(a)), int64(x(b)))) })
		}
		return two(func(a, b uint64) uint64 { return max(a, b) })
	case "shl":
		return operation{f: func(a, b, _ uint64) uint64 { return a << b }, dst: n, src: string(n) + "w"}, true
	case "shr":
		f := func(a, b, _ uint64) uint64 { return a >> b }
		if signed {
			f = func(a, b, _ uint64) uint64 { return uint64(int64(x(a)) >> b) }
		}
		return operation{f: f, dst: n, src: string(n) + "w"}, true
	case "shf":
		if t.bits != 32 {
			return operation{}, false
		}
		left := take("l")
		if !left && !take("r") {
			return operation{}, false
		}
		wrap := take("wrap")
		if !wrap && !take("clamp") {
			return operation{}, false
		}
		return operation{f: func(a, b, c uint64) uint64 {
			s := min(c, 32)
			if wrap {
				s = c & 31
			}
			v := b<<32 | a
			if left {
				return v << s >> 32
			}
			return v >> s
		}, dst: 'w', src: "www"}, true
	case "popc", "clz", "brev", "bfind":
		o := operation{dst: 'w', src: each(n, 1)}
		switch {
		case t.bits == 16:
			return o, false
		case base == "popc":
			o.f = func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount64(a)) }
		case base == "clz":
			o.f = func(a, _, _ uint64) uint64 { return uint64(bits.LeadingZeros64(a)) - uint64(64-t.bits) }
		case base == "brev":
			o.dst = n
			o.f = func(a, _, _ uint64) uint64 { return bits.Reverse64(a) >> (64 - t.bits) }
		default:
			shift := take("shiftamt")
			o.f = func(a, _, _ uint64) uint64 {
				v := x(a)
				if signed && int64(v) < 0 {
					v = ^v
				}
				p := uint64(bits.Len64(v)) - 1
				if shift && v != 0 {
					return uint64(t.bits) - 1 - p
				}
				return p
			}
		}
		return o, true
	case "bfe":
		return operation{f: func(a, b, c uint64) uint64 {
			pos, n := b&255, c&255
			if n == 0 {
				return 0
			}
			v := int64(x(a))
			if pos >= uint64(t.bits) {
				if signed && v < 0 {
					return ^uint64(0)
				}
				return 0
			}
			if pos+n >= uint64(t.bits) {
				if signed {
					return uint64(v >> pos)
				}
				return uint64(v) >> pos
			}
			if signed {
				return uint64(v << (64 - pos - n) >> (64 - n))
			}
			return uint64(v) << (64 - pos - n) >> (64 - n)
		}, dst: n, src: string(n) + "ww"}, t.bits >= 32
	case "prmt":
		return operation{f: func(a, b, c uint64) uint64 {
			v, out := b<<32|a, uint64(0)
			for i := range 4 {
				s := c >> (4 * i) & 15
				by := v >> (8 * (s & 7)) & 255
				if s&8 != 0 {
					by = uint64(int8(by)>>7) & 255
				}
				out |= by << (8 * i)
			}
			return out
		}, dst: 'w', src: "www"}, t.bits == 32 && t.kind == 'b'
	case "selp":
		return operation{f: func(a, b, c uint64) uint64 {
			if c != 0 {
				return a
			}
			return b
		}, dst: n, src: each(n, 2) + "p"}, true
	}
	return operation{}, false
}

func float(base string, t typ, take func(string) bool) (operation, bool) {
	n := t.class
	if t.bits < 32 {
		return operation{}, false
	}
	ftz, sat := take("ftz"), take("sat")
	approx := take("approx")
	full := take("full")
	rn := take("rn")
	o := operation{dst: n, src: each(n, 2)}
	switch {
	case (ftz || sat || approx || full) && t.bits != 32:
		return o, false
	case t.bits == 32:
		switch base {
		case "add":
			o.f = func(a, b, _ uint64) uint64 { return b32(f32(a) + f32(b)) }
		case "sub":
			o.f = func(a, b, _ uint64) uint64 { return b32(f32(a) - f32(b)) }
		case "mul":
			o.f = func(a, b, _ uint64) uint64 { return b32(f32(a) * f32(b)) }
		case "fma", "mad":
			o.src = each(n, 3)
			o.f = func(a, b, c uint64) uint64 { return b32(fma32(f32(a), f32(b), f32(c))) }
			if !rn {
				return o, false
			}
		case "div":
			o.f = func(a, b, _ uint64) uint64 { return b32(f32(a) / f32(b)) }
			if approx || full {
				o.ulps = 2
			} else if !rn {
				return o, false
			}
		case "min", "max":
			f := minNumber
			if base == "max" {
				f = maxNumber
			}
			nan := take("NaN")
			o.f = func(a, b, _ uint64) uint64 {
				x, y := f32(a), f32(b)
				if nan && (x != x || y != y) {
					return 0x7fffffff
				}
				return b32(float32(f(float64(x), float64(y))))
			}
		case "neg":
			o.src = "w"
			o.f = func(a, _, _ uint64) uint64 { return a ^ 0x80000000 }
		case "abs":
			o.src = "w"
			o.f = func(a, _, _ uint64) uint64 { return a &^ 0x80000000 }
		case "copysign":
			o.f = func(a, b, _ uint64) uint64 { return b&^0x80000000 | a&0x80000000 }
		default:
			// Functions of one operand, in float64 and rounded; the bounds are
			// those of the PTX ISA.
			f := map[string]func(float64) float64{
				"rcp": func(v float64) float64 { return 1 / v }, "sqrt": math.Sqrt,
				"rsqrt": func(v float64) float64 { return 1 / math.Sqrt(v) },
				"ex2":   math.Exp2, "lg2": math.Log2, "tanh": math.Tanh, "sin": math.Sin, "cos": math.Cos,
			}[base]
			switch {
			case f == nil:
				return o, false
			case base == "rcp" || base == "sqrt":
				if approx == rn {
					return o, false
				}
				if approx {
					o.ulps = 1
				}
			case !approx:
				return o, false
			case base == "tanh": // 2⁻¹¹ relative
				o.ulps = 1 << 12
			case base == "sin" || base == "cos":
				o.absolute = 1. / (1 << 20)
			case base == "lg2":
				o.ulps, o.absolute = 2, 1./(1<<22)
			default: // rsqrt, ex2
				o.ulps = 2
			}
			o.src = "w"
			o.f = func(a, _, _ uint64) uint64 { return b32(float32(f(float64(f32(a))))) }
		}
	case t.bits == 64:
		switch base {
		case "add":
			o.f = func(a, b, _ uint64) uint64 { return b64(f64(a) + f64(b)) }
		case "sub":
			o.f = func(a, b, _ uint64) uint64 { return b64(f64(a) - f64(b)) }
		case "mul":
			o.f = func(a, b, _ uint64) uint64 { return b64(f64(a) * f64(b)) }
		case "fma", "mad":
			o.src = each(n, 3)
			o.f = func(a, b, c uint64) uint64 { return b64(math.FMA(f64(a), f64(b), f64(c))) }
		case "div":
			o.f = func(a, b, _ uint64) uint64 { return b64(f64(a) / f64(b)) }
		case "min":
			o.f = func(a, b, _ uint64) uint64 { return b64(minNumber(f64(a), f64(b))) }
		case "max":
			o.f = func(a, b, _ uint64) uint64 { return b64(maxNumber(f64(a), f64(b))) }
		case "neg":
			o.src = "d"
			o.f = func(a, _, _ uint64) uint64 { return a ^ 1<<63 }
		case "abs":
			o.src = "d"
			o.f = func(a, _, _ uint64) uint64 { return a &^ (1 << 63) }
		case "copysign":
			o.f = func(a, b, _ uint64) uint64 { return b&^(1<<63) | a&(1<<63) }
		case "rcp":
			o.src = "d"
			o.f = func(a, _, _ uint64) uint64 { return b64(1 / f64(a)) }
		case "sqrt":
			o.src = "d"
			o.f = func(a, _, _ uint64) uint64 { return b64(math.Sqrt(f64(a))) }
		default:
			return o, false
		}
	}
	if ftz {
		f := o.f
		o.f = func(a, b, c uint64) uint64 { return flush(f(flush(a), flush(b), flush(c))) }
	}
	if sat {
		f := o.f
		o.f = func(a, b, c uint64) uint64 { return b32(saturate(f32(f(a, b, c)))) }
	}
	return o, true
}

// saturate clamps to [0,1]; NaN becomes 0.
func saturate(v float32) float32 {
	if !(v > 0) {
		return 0
	}
	return min(v, 1)
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

// convert is cvt. Its registers may be wider than its types.
func convert(mods []string) (operation, bool) {
	o := operation{src: "?"}
	if len(mods) < 2 {
		return o, false
	}
	to, ok1 := typeOf(mods[len(mods)-2])
	from, ok2 := typeOf(mods[len(mods)-1])
	if !ok1 || !ok2 || to.kind == 'p' || from.kind == 'p' || to.kind == 'b' || from.kind == 'b' {
		return o, false
	}
	mods = mods[:len(mods)-2]
	round := ""
	ftz, sat := false, false
	for _, m := range mods {
		switch m {
		case "rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi":
			if round != "" {
				return o, false
			}
			round = m
		case "ftz":
			ftz = true
		case "sat":
			sat = true
		default:
			return o, false
		}
	}
	load := func(v uint64) float64 { // a float of type from
		if from.bits == 32 {
			if ftz {
				v = flush(v)
			}
			return float64(f32(v))
		}
		return f64(v)
	}
	if to.kind == 'f' && to.bits < 32 || from.kind == 'f' && from.bits < 32 {
		return o, false
	}
	integral := map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil}[round]
	switch {
	case from.kind != 'f' && to.kind != 'f':
		if round != "" || ftz {
			return o, false
		}
		o.f = func(a, _, _ uint64) uint64 {
			v := from.extend(a)
			if sat {
				v = clampInt(v, from.kind == 's', to)
			}
			return to.extend(v)
		}
	case from.kind == 'f' && to.kind != 'f':
		if integral == nil {
			return o, false
		}
		o.f = func(a, _, _ uint64) uint64 { return toInt(integral(load(a)), to) }
	case from.kind != 'f':
		if round == "" || integral != nil {
			return o, false
		}
		o.dst = to.class
		o.f = func(a, _, _ uint64) uint64 {
			v := from.extend(a)
			if to.bits == 32 {
				f := float32(v)
				if from.kind == 's' {
					f = float32(int64(v))
				}
				f = float32(direct(float64(f), compareInt(float64(f), v, from.kind == 's'), round,
					func(x, y float64) float64 { return float64(math.Nextafter32(float32(x), float32(y))) }))
				if sat {
					f = saturate(f)
				}
				return b32(f)
			}
			f := float64(v)
			if from.kind == 's' {
				f = float64(int64(v))
			}
			return b64(direct(f, compareInt(f, v, from.kind == 's'), round, math.Nextafter))
		}
	default: // float to float
		o.dst = to.class
		o.src = string(from.class)
		narrow := to.bits < from.bits
		if narrow && (round == "" || integral != nil) || to.bits > from.bits && round != "" || to.bits == from.bits && round != "" && integral == nil {
			return o, false
		}
		o.f = func(a, _, _ uint64) uint64 {
			v := load(a)
			if integral != nil {
				v = integral(v)
			}
			if to.bits == 64 {
				return b64(v)
			}
			f := float32(v)
			if narrow {
				order := 0
				if float64(f) > v {
					order = 1
				} else if float64(f) < v {
					order = -1
				}
				f = float32(direct(float64(f), order, round,
					func(x, y float64) float64 { return float64(math.Nextafter32(float32(x), float32(y))) }))
			}
			if sat {
				f = saturate(f)
			}
			if ftz {
				return flush(b32(f))
			}
			return b32(f)
		}
	}
	return o, true
}

// direct turns f, the nearest float to a value, into the one that the rounding
// mode wants; order says whether f is below (-1), at or above (1) the value.
func direct(f float64, order int, round string, next func(x, y float64) float64) float64 {
	down := round == "rm" || round == "rz" && f > 0
	up := round == "rp" || round == "rz" && f < 0
	switch {
	case order > 0 && down:
		return next(f, math.Inf(-1))
	case order < 0 && up:
		return next(f, math.Inf(1))
	}
	return f
}

// compareInt compares f, which is within rounding of the integer v, with it.
func compareInt(f float64, v uint64, signed bool) int {
	if signed {
		if f >= 1<<63 {
			return 1
		}
		i := int64(f)
		switch {
		case i > int64(v):
			return 1
		case i < int64(v):
			return -1
		}
		return 0
	}
	if f >= 1<<64 {
		return 1
	}
	switch i := uint64(f); {
	case i > v:
		return 1
	case i < v:
		return -1
	}
	return 0
}

// toInt converts an integral float, clamped to the type; NaN becomes 0.
func toInt(v float64, t typ) uint64 {
	if v != v {
		return 0
	}
	if t.kind == 's' {
		limit := math.Ldexp(1, int(t.bits)-1)
		switch {
		case v >= limit:
			return 1<<(t.bits-1) - 1
		case v < -limit:
			return -uint64(1 << (t.bits - 1))
		}
		return uint64(int64(v))
	}
	switch {
	case v <= 0:
		return 0
	case v >= math.Ldexp(1, int(t.bits)):
		return ^uint64(0) >> (64 - t.bits)
	}
	return uint64(v)
}

// clampInt is cvt.sat between integers.
func clampInt(v uint64, signed bool, t typ) uint64 {
	if t.kind == 's' {
		hi := int64(^uint64(0) >> (65 - t.bits))
		if !signed {
			return min(v, uint64(hi))
		}
		return uint64(min(max(int64(v), -hi-1), hi))
	}
	if signed && int64(v) < 0 {
		return 0
	}
	return min(v, ^uint64(0)>>(64-t.bits))
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
