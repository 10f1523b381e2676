package ptxvm

import (
	"math/bits"
)

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
