package ptxvm

import (
	"math"
)

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
