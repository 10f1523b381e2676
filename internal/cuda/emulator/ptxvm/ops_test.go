package ptxvm

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strings"
	"testing"
)

// edge are operands that functions go wrong at, as 64 bits and cut to fewer.
var edge = []uint64{
	0, 1, 2, 3, 5, 7, 31, 32, 33, 63, 64, 100, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, 0x12345678, 0x7fffffff, 0x80000000, 0x80000001,
	0xfffffffe, 0xffffffff, 0x100000000, 0x123456789abcdef0, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffffff3, 0xffffffffffffffff,
}

// reals are such operands of floats.
var reals = []float64{
	0, math.Copysign(0, -1), 1, -1, .5, -.5, 1.5, 2.5, -2.5, 3, 1. / 3, -100.7, 1e-3, 12345.678, 16777217, 2147483647, 2147483648, -2147483649, 4294967296,
	9.3e18, -1e19, 1e30, -1e38, 1e-38, 1e-40, -1e-44, 1e-46, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat32, 1 + 1./(1<<23), 1 + 1./(1<<24), 0x1.000001p0, 0x1.fffffep-127,
}

// evaluate runs "op d, a, b, c" on lanes that each have their own operands.
func evaluate(t *testing.T, op string, dst byte, operands [][]uint64, classes string) []uint64 {
	t.Helper()
	reg := map[byte]string{'h': "%h", 'w': "%r", 'd': "%rd"}
	load := map[byte]string{'h': "ld.global.u16", 'w': "ld.global.u32", 'd': "ld.global.u64"}
	var b strings.Builder
	b.WriteString("mul.wide.u32 %rd20, %r1, 32; mad.lo.s32 %r20, %r2, 32, %r1; mul.wide.u32 %rd20, %r20, 32; add.s64 %rd21, %rd1, %rd20; add.s64 %rd22, %rd2, %rd20;\n")
	args := make([]string, len(classes))
	for i := range classes {
		c := classes[i]
		n := 3 + i
		if c == 'p' {
			fmt.Fprintf(&b, "ld.global.u32 %%r%d, [%%rd21+%d]; setp.ne.s32 %%p%d, %%r%d, 0;\n", n, 8*i, n, n)
			args[i] = fmt.Sprintf("%%p%d", n)
			continue
		}
		fmt.Fprintf(&b, "%s %s%d, [%%rd21+%d];\n", load[c], reg[c], n, 8*i)
		args[i] = fmt.Sprintf("%s%d", reg[c], n)
	}
	store := map[byte]string{'h': "st.global.u16 [%rd22], %h8;", 'w': "st.global.u32 [%rd22], %r8;", 'd': "st.global.u64 [%rd22], %rd8;"}[dst]
	d := map[byte]string{'h': "%h8", 'w': "%r8", 'd': "%rd8", 'p': "%p8"}[dst]
	if dst == 'p' {
		store = "selp.u32 %r8, 1, 0, %p8; st.global.u32 [%rd22], %r8;"
	}
	fmt.Fprintf(&b, "%s %s, %s;\n%s\n", op, d, strings.Join(args, ", "), store)
	m, err := Parse(snippet(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	n := len(operands)
	blocks := (n + 31) / 32
	in := make([]byte, 32*32*blocks)
	for i := range 32 * blocks { // the rest repeat the last
		for j, v := range operands[min(i, n-1)] {
			binary.LittleEndian.PutUint64(in[32*i+8*j:], v)
		}
	}
	var results [2][]uint64
	for r, slow := range []bool{false, true} {
		dev := &device{t: t}
		out := dev.bytes(make([]byte, len(in)))
		a := binary.LittleEndian.AppendUint64(nil, dev.bytes(in))
		a = binary.LittleEndian.AppendUint64(a, out)
		k := m.Kernel("k")
		k.slow = slow
		if _, err := k.Run(&dev.Memory, [3]int{blocks, 1, 1}, [3]int{32, 1, 1}, 0, a, Options{}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(in))
		if err := dev.Read(got, out); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			results[r] = append(results[r], binary.LittleEndian.Uint64(got[32*i:]))
		}
	}
	for i := range n {
		if results[0][i] != results[1][i] {
			t.Errorf("%s of %#x: %#x by its loop, %#x by the general way", op, operands[i], results[0][i], results[1][i])
		}
	}
	return results[0]
}

func pairs(v []uint64) [][]uint64 {
	var all [][]uint64
	for i, a := range v {
		for j, b := range v {
			all = append(all, []uint64{a, b, v[(i+3*j)%len(v)]})
		}
	}
	return all
}

// Integer instructions against Go's operators on Go's types.
func TestIntegerInstructions(t *testing.T) {
	big2 := func(v uint64, signed bool) *big.Int {
		if signed {
			return big.NewInt(int64(v))
		}
		return new(big.Int).SetUint64(v)
	}
	ext := func(v uint64, n int, signed bool) uint64 {
		if signed {
			return uint64(int64(v<<(64-n)) >> (64 - n))
		}
		return v << (64 - n) >> (64 - n)
	}
	// quotients by math/big: an oracle that shares no operator with the code
	product := func(a, b uint64, n int, signed bool) *big.Int {
		return new(big.Int).Mul(big2(ext(a, n, signed), signed), big2(ext(b, n, signed), signed))
	}
	cut := func(v *big.Int, n int) uint64 {
		return new(big.Int).And(v, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(n)), big.NewInt(1))).Uint64()
	}
	type test struct {
		op      string
		dst     byte
		classes string
		want    func(a, b, c uint64) uint64
		nonZero bool
	}
	var tests []test
	for _, ty := range []struct {
		name   string
		n      int
		class  byte
		signed bool
	}{{"u16", 16, 'h', false}, {"s16", 16, 'h', true}, {"u32", 32, 'w', false}, {"s32", 32, 'w', true}, {"u64", 64, 'd', false}, {"s64", 64, 'd', true}} {
		n, s, two := ty.n, ty.signed, string([]byte{ty.class, ty.class})
		x := func(v uint64) *big.Int { return big2(ext(v, n, s), s) }
		add := func(op string, dst byte, classes string, f func(a, b, c uint64) *big.Int) {
			out := map[byte]int{'h': 16, 'w': 32, 'd': 64, 'p': 1}[dst]
			tests = append(tests, test{op + "." + ty.name, dst, classes, func(a, b, c uint64) uint64 { return cut(f(a, b, c), out) }, strings.HasPrefix(op, "div") || strings.HasPrefix(op, "rem")})
		}
		add("add", ty.class, two, func(a, b, _ uint64) *big.Int { return new(big.Int).Add(x(a), x(b)) })
		add("sub", ty.class, two, func(a, b, _ uint64) *big.Int { return new(big.Int).Sub(x(a), x(b)) })
		add("mul.lo", ty.class, two, func(a, b, _ uint64) *big.Int { return product(a, b, n, s) })
		add("mul.hi", ty.class, two, func(a, b, _ uint64) *big.Int { return new(big.Int).Rsh(product(a, b, n, s), uint(n)) })
		add("div", ty.class, two, func(a, b, _ uint64) *big.Int { return new(big.Int).Quo(x(a), x(b)) })
		add("rem", ty.class, two, func(a, b, _ uint64) *big.Int { return new(big.Int).Rem(x(a), x(b)) })
		add("mad.lo", ty.class, two+string(ty.class), func(a, b, c uint64) *big.Int { return new(big.Int).Add(product(a, b, n, s), x(c)) })
		add("mad.hi", ty.class, two+string(ty.class), func(a, b, c uint64) *big.Int {
			return new(big.Int).Add(new(big.Int).Rsh(product(a, b, n, s), uint(n)), x(c))
		})
		add("min", ty.class, two, func(a, b, _ uint64) *big.Int {
			if x(a).Cmp(x(b)) < 0 {
				return x(a)
			}
			return x(b)
		})
		add("max", ty.class, two, func(a, b, _ uint64) *big.Int {
			if x(a).Cmp(x(b)) > 0 {
				return x(a)
			}
			return x(b)
		})
		if n < 64 {
			wide := map[byte]byte{'h': 'w', 'w': 'd'}[ty.class]
			add("mul.wide", wide, two, func(a, b, _ uint64) *big.Int { return product(a, b, n, s) })
			add("mad.wide", wide, two+string(wide), func(a, b, c uint64) *big.Int { return new(big.Int).Add(product(a, b, n, s), big2(c, false)) })
		}
		add("shr", ty.class, string(ty.class)+"w", func(a, b, _ uint64) *big.Int { return new(big.Int).Rsh(x(a), uint(min(uint32(b), 200))) })
		if !s {
			b := strings.Replace(ty.name, "u", "b", 1)
			tests = append(tests, test{"shl." + b, ty.class, string(ty.class) + "w", func(a, b, _ uint64) uint64 {
				return cut(new(big.Int).Lsh(x(a), uint(min(uint32(b), 200))), n)
			}, false})
			for op, f := range map[string]func(a, b uint64) uint64{"and": func(a, b uint64) uint64 { return a & b }, "or": func(a, b uint64) uint64 { return a | b }, "xor": func(a, b uint64) uint64 { return a ^ b }} {
				tests = append(tests, test{op + "." + b, ty.class, two, func(a, b, _ uint64) uint64 { return ext(f(a, b), n, false) }, false})
			}
			tests = append(tests, test{"not." + b, ty.class, two[:1], func(a, _, _ uint64) uint64 { return ext(^a, n, false) }, false})
			tests = append(tests, test{"cnot." + b, ty.class, two[:1], func(a, _, _ uint64) uint64 { return bit(ext(a, n, false) == 0) }, false})
			tests = append(tests, test{"mov." + b, ty.class, two[:1], func(a, _, _ uint64) uint64 { return ext(a, n, false) }, false})
			tests = append(tests, test{"selp." + b, ty.class, two + "p", func(a, b, c uint64) uint64 {
				if uint32(c) != 0 {
					return ext(a, n, false)
				}
				return ext(b, n, false)
			}, false})
		} else {
			add("neg", ty.class, two[:1], func(a, _, _ uint64) *big.Int { return new(big.Int).Neg(x(a)) })
			add("abs", ty.class, two[:1], func(a, _, _ uint64) *big.Int { return new(big.Int).Abs(x(a)) })
		}
		for op, sign := range map[string]string{"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="} {
			holds := func(a, b uint64) bool {
				return strings.Contains(sign, map[int]string{-1: "<", 0: "=", 1: ">"}[x(a).Cmp(x(b))])
			}
			tests = append(tests, test{"setp." + op + "." + ty.name, 'p', two, func(a, b, _ uint64) uint64 { return bit(holds(a, b)) }, false})
			tests = append(tests, test{"setp." + op + ".and." + ty.name, 'p', two + "p", func(a, b, c uint64) uint64 { return bit(holds(a, b) && uint32(c) != 0) }, false})
			tests = append(tests, test{"setp." + op + ".or." + ty.name, 'p', two + "p", func(a, b, c uint64) uint64 { return bit(holds(a, b) || uint32(c) != 0) }, false})
		}
		if n >= 32 {
			for _, b := range []string{strings.Replace(strings.Replace(ty.name, "u", "b", 1), "s", "b", 1)} {
				if s {
					continue
				}
				tests = append(tests,
					test{"popc." + b, 'w', two[:1], func(a, _, _ uint64) uint64 { return uint64(bits.OnesCount64(ext(a, n, false))) }, false},
					test{"clz." + b, 'w', two[:1], func(a, _, _ uint64) uint64 {
						return uint64(len(strings.SplitN(fmt.Sprintf("%0*b", n, ext(a, n, false)), "1", 2)[0]))
					}, false},
					test{"brev." + b, ty.class, two[:1], func(a, _, _ uint64) uint64 {
						var v uint64
						for i := range n {
							v |= a >> i & 1 << (n - 1 - i)
						}
						return v
					}, false})
			}
			tests = append(tests, test{"bfe." + ty.name, ty.class, string(ty.class) + "ww", func(a, b, c uint64) uint64 { // PTX ISA, "bfe"
				pos, l := int(b&255), int(c&255)
				var sbit uint64
				if s && l > 0 {
					sbit = ext(a, n, false) >> min(pos+l-1, n-1) & 1
				}
				var v uint64
				for i := range n {
					v |= sbit << i
				}
				for i := range n {
					if i < l && pos+i < n {
						v = v&^(1<<i) | a>>(pos+i)&1<<i
					}
				}
				return v
			}, false})
			tests = append(tests, test{"bfind." + ty.name, 'w', two[:1], func(a, _, _ uint64) uint64 {
				v := x(a)
				if v.Sign() < 0 {
					v = new(big.Int).Not(v)
				}
				return uint64(uint32(v.BitLen() - 1))
			}, false})
		}
	}
	tests = append(tests,
		test{"shf.l.wrap.b32", 'w', "www", func(a, b, c uint64) uint64 {
			return uint64(uint32((b<<32 | a&0xffffffff) << (c & 31) >> 32))
		}, false},
		test{"shf.r.clamp.b32", 'w', "www", func(a, b, c uint64) uint64 {
			return uint64(uint32((b<<32 | a&0xffffffff) >> min(uint32(c), 32)))
		}, false},
		test{"prmt.b32", 'w', "www", func(a, b, c uint64) uint64 {
			by := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(a)), uint32(b))
			var v uint64
			for i := range 4 {
				s := c >> (4 * i) & 15
				x := by[s&7]
				if s > 7 {
					x = byte(int8(x) >> 7)
				}
				v |= uint64(x) << (8 * i)
			}
			return v
		}, false},
		test{"and.pred", 'p', "pp", func(a, b, _ uint64) uint64 { return bit(uint32(a) != 0 && uint32(b) != 0) }, false},
		test{"xor.pred", 'p', "pp", func(a, b, _ uint64) uint64 { return bit((uint32(a) != 0) != (uint32(b) != 0)) }, false},
		test{"not.pred", 'p', "p", func(a, _, _ uint64) uint64 { return bit(uint32(a) == 0) }, false},
	)
	for _, c := range tests {
		var operands [][]uint64
		for _, p := range pairs(edge) {
			if mask := ^uint64(0) >> (64 - classBits(c.classes[0])); !c.nonZero || p[1]&mask != 0 {
				operands = append(operands, p)
			}
		}
		bad := 0
		for i, got := range evaluate(t, c.op, c.dst, operands, c.classes) {
			o := operands[i]
			if want := c.want(o[0], o[1], o[2]); got != want && bad < 3 {
				bad++
				t.Errorf("%s of %#x = %#x, want %#x", c.op, o[:len(c.classes)], got, want)
			}
		}
	}
}

// exactly evaluates with 2000 bits and rounds once; NaN and infinities, and
// zeros, whose sign big.Float drops, are left to plain.
func exactly(plain float64, f func() *big.Float) float32 {
	if plain-plain != 0 || plain == 0 {
		return float32(plain)
	}
	v, _ := f().Float32()
	return v
}

func bigOf(v float64) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(v) }

func sameFloat(a, b float64) bool {
	return a == b && math.Signbit(a) == math.Signbit(b) || a != a && b != b
}

// Float instructions against exact arithmetic, rounded once.
func TestFloatInstructions(t *testing.T) {
	finite := func(v ...float64) bool {
		for _, x := range v {
			if x-x != 0 {
				return false
			}
		}
		return true
	}
	var ops32, ops64 [][]uint64
	for _, p := range pairs(func() (v []uint64) {
		for _, x := range reals {
			v = append(v, math.Float64bits(x))
		}
		return v
	}()) {
		ops64 = append(ops64, p)
		ops32 = append(ops32, []uint64{b32(float32(f64(p[0]))), b32(float32(f64(p[1]))), b32(float32(f64(p[2])))})
	}
	for _, c := range []struct {
		op   string
		n    int
		want func(a, b, c float64) float32
	}{
		{"add.f32", 2, func(a, b, _ float64) float32 {
			return exactly(a+b, func() *big.Float { return bigOf(0).Add(bigOf(a), bigOf(b)) })
		}},
		{"add.rn.f32", 2, func(a, b, _ float64) float32 { return float32(a) + float32(b) }},
		{"sub.f32", 2, func(a, b, _ float64) float32 {
			return exactly(a-b, func() *big.Float { return bigOf(0).Sub(bigOf(a), bigOf(b)) })
		}},
		{"mul.f32", 2, func(a, b, _ float64) float32 {
			return exactly(a*b, func() *big.Float { return bigOf(0).Mul(bigOf(a), bigOf(b)) })
		}},
		{"fma.rn.f32", 3, func(a, b, c float64) float32 {
			if a == 0 || b == 0 || !finite(a, b, c) {
				return float32(a*b + c)
			}
			s := bigOf(0).Add(bigOf(0).Mul(bigOf(a), bigOf(b)), bigOf(c))
			if s.Sign() == 0 {
				return float32(a*b + c)
			}
			v, _ := s.Float32()
			return v
		}},
		{"div.rn.f32", 2, func(a, b, _ float64) float32 {
			return exactly(a/b, func() *big.Float { return bigOf(0).Quo(bigOf(a), bigOf(b)) })
		}},
		{"rcp.rn.f32", 1, func(a, _, _ float64) float32 {
			return exactly(1/a, func() *big.Float { return bigOf(0).Quo(bigOf(1), bigOf(a)) })
		}},
		{"sqrt.rn.f32", 1, func(a, _, _ float64) float32 {
			return exactly(math.Sqrt(a), func() *big.Float { return bigOf(0).Sqrt(bigOf(a)) })
		}},
		{"neg.f32", 1, func(a, _, _ float64) float32 { return float32(-a) }},
		{"abs.f32", 1, func(a, _, _ float64) float32 { return float32(math.Abs(a)) }},
		{"min.f32", 2, func(a, b, _ float64) float32 {
			if a != a || b < a || b == a && math.Signbit(b) {
				return float32(b)
			}
			return float32(a)
		}},
		{"max.f32", 2, func(a, b, _ float64) float32 {
			if a != a || b > a || b == a && math.Signbit(a) {
				return float32(b)
			}
			return float32(a)
		}},
		{"cvt.sat.f32.f32", 1, func(a, _, _ float64) float32 {
			if !(a > 0) {
				return 0
			}
			return float32(min(a, 1))
		}},
		{"cvt.rni.f32.f32", 1, func(a, _, _ float64) float32 { return float32(math.RoundToEven(a)) }},
		{"cvt.rzi.f32.f32", 1, func(a, _, _ float64) float32 { return float32(math.Trunc(a)) }},
		{"cvt.rmi.f32.f32", 1, func(a, _, _ float64) float32 { return float32(math.Floor(a)) }},
		{"cvt.rpi.f32.f32", 1, func(a, _, _ float64) float32 { return float32(math.Ceil(a)) }},
	} {
		bad := 0
		for i, got := range evaluate(t, c.op, 'w', ops32, strings.Repeat("w", c.n)) {
			a, b, x := float64(f32(ops32[i][0])), float64(f32(ops32[i][1])), float64(f32(ops32[i][2]))
			if want := c.want(a, b, x); !sameFloat(float64(f32(got)), float64(want)) && bad < 3 {
				bad++
				t.Errorf("%s of %v %v %v = %v, want %v", c.op, a, b, x, f32(got), want)
			}
		}
	}
	// Approximations: within the bound, and with Perturb beyond half of it somewhere.
	for op, f := range map[string]func(float64) float64{
		"ex2.approx.f32": math.Exp2, "rcp.approx.f32": func(v float64) float64 { return 1 / v }, "rsqrt.approx.f32": func(v float64) float64 { return 1 / math.Sqrt(v) },
		"sqrt.approx.f32": math.Sqrt, "lg2.approx.f32": math.Log2, "tanh.approx.f32": math.Tanh, "sin.approx.f32": math.Sin, "cos.approx.f32": math.Cos,
		"ex2.approx.ftz.f32": math.Exp2, "rcp.approx.ftz.f32": func(v float64) float64 { return 1 / v },
	} {
		for i, got := range evaluate(t, op, 'w', ops32, "w") {
			a := float64(f32(ops32[i][0]))
			if strings.Contains(op, "ftz") {
				a = float64(f32(flush(ops32[i][0])))
			}
			want := float64(float32(f(a)))
			if strings.Contains(op, "ftz") {
				want = float64(f32(flush(b32(float32(want)))))
			}
			if !sameFloat(float64(f32(got)), want) {
				t.Errorf("%s of %v = %v, want %v", op, a, f32(got), want)
			}
		}
		o, ok := compute(op)
		if !ok || o.ulps+o.absolute == 0 {
			t.Errorf("%s has no bound", op)
			continue
		}
		in := &instr{ulps: o.ulps, abs: o.absolute}
		worst := 0.
		for i := range 1000 {
			v := float32(1 + float64(i)/1000)
			bound := o.ulps/(1<<23) + o.absolute
			worst = max(worst, math.Abs(float64(f32(perturb(b32(v), in, uint64(i))))-float64(v))/bound)
		}
		if worst > 1+.5/o.ulps || worst < .5 {
			t.Errorf("%s: perturbed by up to %v of its bound", op, worst)
		}
	}
	for op, sign := range map[string]string{"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "equ": "=?", "neu": "<>?", "ltu": "<?", "leu": "<=?", "gtu": ">?", "geu": ">=?", "num": "<=>", "nan": "?"} {
		order := func(a, b float64) string {
			switch {
			case a < b:
				return "<"
			case a > b:
				return ">"
			case a == b:
				return "="
			}
			return "?"
		}
		for i, got := range evaluate(t, "setp."+op+".f32", 'p', ops32, "ww") {
			a, b := float64(f32(ops32[i][0])), float64(f32(ops32[i][1]))
			if want := bit(strings.Contains(sign, order(a, b))); got != want {
				t.Errorf("setp.%s.f32 of %v %v = %d", op, a, b, got)
			}
		}
		for i, got := range evaluate(t, "setp."+op+".f64", 'p', ops64, "dd") {
			a, b := f64(ops64[i][0]), f64(ops64[i][1])
			if want := bit(strings.Contains(sign, order(a, b))); got != want {
				t.Errorf("setp.%s.f64 of %v %v = %d", op, a, b, got)
			}
		}
	}
	for op, f := range map[string]func(a, b, c float64) float64{
		"add.f64": func(a, b, _ float64) float64 { return a + b }, "sub.rn.f64": func(a, b, _ float64) float64 { return a - b },
		"mul.f64": func(a, b, _ float64) float64 { return a * b }, "div.rn.f64": func(a, b, _ float64) float64 { return a / b }, "fma.rn.f64": math.FMA,
	} {
		n := 2
		if strings.HasPrefix(op, "fma") {
			n = 3
		}
		for i, got := range evaluate(t, op, 'd', ops64, strings.Repeat("d", n)) {
			if want := f(f64(ops64[i][0]), f64(ops64[i][1]), f64(ops64[i][2])); !sameFloat(f64(got), want) {
				t.Errorf("%s of %v %v %v = %v, want %v", op, f64(ops64[i][0]), f64(ops64[i][1]), f64(ops64[i][2]), f64(got), want)
			}
		}
	}
}

// Conversions in every rounding mode against big.Float's.
func TestConversions(t *testing.T) {
	modes := map[string]big.RoundingMode{"rn": big.ToNearestEven, "rz": big.ToZero, "rm": big.ToNegativeInf, "rp": big.ToPositiveInf}
	var ints [][]uint64
	for _, e := range edge {
		ints = append(ints, []uint64{e}, []uint64{e ^ 0x5555}, []uint64{e * 0x9e3779b97f4a7c15})
	}
	for name, mode := range modes {
		for _, from := range []struct {
			name   string
			n      int
			signed bool
			class  string
		}{{"u32", 32, false, "w"}, {"s32", 32, true, "w"}, {"u64", 64, false, "d"}, {"s64", 64, true, "d"}, {"u16", 16, false, "h"}, {"s8", 8, true, "w"}} {
			value := func(v uint64) *big.Float {
				v <<= 64 - from.n
				if from.signed {
					return bigOf(0).SetInt64(int64(v) >> (64 - from.n))
				}
				return bigOf(0).SetUint64(v >> (64 - from.n))
			}
			for _, to := range []struct {
				name  string
				prec  uint
				class byte
			}{{"f32", 24, 'w'}, {"f64", 53, 'd'}} {
				for i, got := range evaluate(t, "cvt."+name+"."+to.name+"."+from.name, to.class, ints, from.class) {
					r := new(big.Float).SetPrec(to.prec).SetMode(mode).Set(value(ints[i][0]))
					want, _ := r.Float64()
					g := f64(got)
					if to.class == 'w' {
						g = float64(f32(got))
					}
					if g != want {
						t.Errorf("cvt.%s.%s.%s of %#x = %v, want %v", name, to.name, from.name, ints[i][0], g, want)
					}
				}
			}
		}
		// float64 to float32: normal results only, where the precision is fixed
		var f [][]uint64
		for i := range 200 {
			f = append(f, []uint64{b64(math.Sin(float64(i)) * math.Exp(float64(i%80)-40))})
		}
		for i, got := range evaluate(t, "cvt."+name+".f32.f64", 'w', f, "d") {
			want, _ := new(big.Float).SetPrec(24).SetMode(mode).Set(bigOf(f64(f[i][0]))).Float32()
			if f32(got) != want {
				t.Errorf("cvt.%s.f32.f64 of %v = %v, want %v", name, f64(f[i][0]), f32(got), want)
			}
		}
	}
	var fs, ds [][]uint64
	for _, r := range append([]float64{-129, -128.5, 127.4, 127.5, 255.5, 256, 32767.5, 65535.4, -32768.7}, reals...) {
		fs, ds = append(fs, []uint64{b32(float32(r))}), append(ds, []uint64{b64(r)})
	}
	for mode, round := range map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil} {
		for _, to := range []struct {
			name   string
			lo, hi string
			class  byte
		}{{"s32", "-2147483648", "2147483647", 'w'}, {"u32", "0", "4294967295", 'w'}, {"s64", "-9223372036854775808", "9223372036854775807", 'd'},
			{"u64", "0", "18446744073709551615", 'd'}, {"u16", "0", "65535", 'h'}, {"s16", "-32768", "32767", 'h'}, {"u8", "0", "255", 'w'}} {
			lo, _ := new(big.Int).SetString(to.lo, 10)
			hi, _ := new(big.Int).SetString(to.hi, 10)
			want := func(v float64) uint64 {
				i := new(big.Int)
				switch {
				case v != v:
				case math.IsInf(v, 1):
					i = hi
				case math.IsInf(v, -1):
					i = lo
				default:
					i, _ = bigOf(round(v)).Int(nil)
				}
				if i.Cmp(lo) < 0 {
					i = lo
				}
				if i.Cmp(hi) > 0 {
					i = hi
				}
				if i.Sign() < 0 {
					return uint64(i.Int64()) & (^uint64(0) >> (64 - classBits(to.class)))
				}
				return i.Uint64()
			}
			for i, got := range evaluate(t, "cvt."+mode+"."+to.name+".f32", to.class, fs, "w") {
				if w := want(float64(f32(fs[i][0]))); got != w {
					t.Errorf("cvt.%s.%s.f32 of %v = %#x, want %#x", mode, to.name, f32(fs[i][0]), got, w)
				}
			}
			for i, got := range evaluate(t, "cvt."+mode+"."+to.name+".f64", to.class, ds, "d") {
				if w := want(f64(ds[i][0])); got != w {
					t.Errorf("cvt.%s.%s.f64 of %v = %#x, want %#x", mode, to.name, f64(ds[i][0]), got, w)
				}
			}
		}
	}
	for _, c := range []struct {
		op      string
		dst     byte
		class   string
		in, out uint64
	}{
		{"cvt.s32.s8", 'w', "w", 0x1ff, 0xffffffff}, {"cvt.u32.u8", 'w', "w", 0x1ff, 0xff}, {"cvt.s64.s32", 'd', "w", 0x80000000, 0xffffffff80000000},
		{"cvt.u64.u32", 'd', "w", 0x80000000, 0x80000000}, {"cvt.u32.u64", 'w', "d", 0x123456789, 0x23456789}, {"cvt.u16.u32", 'h', "w", 0x12345, 0x2345},
		{"cvt.s32.s16", 'w', "h", 0x8000, 0xffff8000}, {"cvt.sat.s8.s32", 'w', "w", 1000, 127}, {"cvt.sat.u8.s32", 'w', "w", 0xfffffff0, 0},
		{"cvt.sat.s32.u32", 'w', "w", 0xfffffff0, 0x7fffffff}, {"cvt.sat.u32.s64", 'w', "d", 1 << 40, 0xffffffff}, {"cvt.f64.f32", 'd', "w", 0x3fc00000, 0x3ff8000000000000},
	} {
		if got := evaluate(t, c.op, c.dst, [][]uint64{{c.in}}, c.class)[0]; got != c.out {
			t.Errorf("%s of %#x = %#x, want %#x", c.op, c.in, got, c.out)
		}
	}
}

// What moves values between lanes, against the PTX ISA's pseudocode.
func TestWarpInstructions(t *testing.T) {
	run := func(t *testing.T, threads int, body string, n int) []uint32 {
		t.Helper()
		m, err := Parse(snippet(body))
		if err != nil {
			t.Fatal(err)
		}
		d := &device{t: t}
		p := d.alloc(4 * n)
		args := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), p)
		if _, err := m.Kernel("k").Run(&d.Memory, [3]int{1, 1, 1}, [3]int{threads, 1, 1}, 0, append(args, make([]byte, 8)...), Options{}); err != nil {
			t.Fatal(err)
		}
		return d.readWords(p, n)
	}
	for _, c := range []struct {
		mode string
		b, c int
	}{{"up", 1, 0}, {"up", 3, 0x1800}, {"down", 1, 31}, {"down", 5, 0x181f}, {"bfly", 16, 31}, {"bfly", 3, 0x1c1f}, {"idx", 7, 31}, {"idx", 33, 31}, {"idx", 2, 0x181f}, {"idx", 9, 5}} {
		got := run(t, 32, fmt.Sprintf("add.s32 %%r4, %%r1, 100; shfl.sync.%s.b32 %%r3|%%p1, %%r4, %d, %d, -1; @!%%p1 add.s32 %%r3, %%r3, 1000; st.global.u32 [%%rd6], %%r3;", c.mode, c.b, c.c), 32)
		for lane, g := range got {
			bval, segment := c.b&31, c.c>>8&31
			limit, low := lane&segment|c.c&31&^segment, lane&segment
			j, ok := 0, false
			switch c.mode {
			case "up":
				j = lane - bval
				ok = j >= limit
			case "down":
				j = lane + bval
				ok = j <= limit
			case "bfly":
				j = lane ^ bval
				ok = j <= limit
			case "idx":
				j = low | bval&^segment
				ok = j <= limit
			}
			want := uint32(j + 100)
			if !ok {
				want = uint32(lane + 1100)
			}
			if g != want {
				t.Errorf("shfl.%s %d %#x: lane %d got %d, want %d", c.mode, c.b, c.c, lane, g, want)
			}
		}
	}
	for op, want := range map[string]uint32{"add.u32": 496, "min.s32": 0, "max.u32": 31, "or.b32": 31, "and.b32": 0, "xor.b32": 0} {
		for lane, g := range run(t, 32, "redux.sync."+op+" %r3, %r1, -1; st.global.u32 [%rd6], %r3;", 32) {
			if g != want {
				t.Errorf("redux.%s: lane %d got %d, want %d", op, lane, g, want)
			}
		}
	}
	// two halves of a warp, each with its own mask
	for lane, g := range run(t, 32, "setp.lt.u32 %p1, %r1, 16; selp.b32 %r5, 0xffff, 0xffff0000, %p1; setp.gt.u32 %p2, %r1, 9; vote.sync.ballot.b32 %r3, %p2, %r5; vote.sync.uni.pred %p3, !%p2, %r5; @%p3 add.s32 %r3, %r3, 1; st.global.u32 [%rd6], %r3;", 32) {
		want := uint32(0xfc00)
		if lane > 15 {
			want = 0xffff0001
		}
		if g != want {
			t.Errorf("vote: lane %d got %#x, want %#x", lane, g, want)
		}
	}
	// a loop of another length per lane, then all together
	for lane, g := range run(t, 32, "mov.u32 %r3, 0; mov.u32 %r4, 0;\n$l: add.s32 %r3, %r3, %r4; add.s32 %r4, %r4, 1; setp.le.u32 %p1, %r4, %r1; @%p1 bra $l; activemask.b32 %r5; st.global.u32 [%rd6], %r3; st.global.u32 [%rd6+128], %r5;", 64) {
		want := uint32(lane * (lane + 1) / 2)
		if lane >= 32 {
			want = 0xffffffff
		}
		if g != want {
			t.Errorf("loop: word %d is %d, want %d", lane, g, want)
		}
	}
	for op, want := range map[string]uint32{"add.u32": 5 + 496, "min.u32": 0, "max.s32": 31, "and.b32": 0, "or.b32": 31, "xor.b32": 5, "exch.b32": 31, "inc.u32": 3, "dec.u32": 29} {
		// inc and dec: 32 times by the bound 9 and 31
		arg := map[string]string{"inc.u32": "8", "dec.u32": "31"}[op]
		if arg == "" {
			arg = "%r1"
		}
		body := fmt.Sprintf("setp.eq.s32 %%p1, %%r1, 0; @%%p1 st.shared.u32 [s], 5; bar.sync 0; atom.shared.%s %%r3, [s], %s; bar.sync 0; @%%p1 ld.shared.u32 %%r4, [s]; @%%p1 st.global.u32 [%%rd1], %%r4;", op, arg)
		if op == "inc.u32" {
			want = 1 // 5 … 8, 0, then 28 more of 9
		}
		if op == "dec.u32" {
			want = 5 // a whole turn of 32
		}
		if g := run(t, 32, body, 1)[0]; g != want {
			t.Errorf("atom.%s leaves %d, want %d", op, g, want)
		}
	}
	body := "setp.eq.s32 %p1, %r1, 0; @%p1 st.shared.f32 [s], 0f3F800000; bar.sync 0; atom.shared.add.f32 %f3, [s], 0f3F000000; bar.sync 0; @%p1 ld.shared.f32 %f4, [s]; @%p1 st.global.f32 [%rd1], %f4;"
	if g := math.Float32frombits(run(t, 32, body, 1)[0]); g != 17 {
		t.Errorf("atom.add.f32 leaves %v, want 17", g)
	}
}
