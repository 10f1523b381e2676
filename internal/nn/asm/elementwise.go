package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// each runs body for every register of n floats, n a multiple of the width;
// the names are pointers that advance with it.
func (s isa) each(body func(at []Mem), names ...string) {
	n := load("n")
	var at []Mem
	for _, name := range names {
		at = append(at, Mem{Base: load(name)})
	}
	done := label("done")
	TESTQ(n, n)
	JZ(LabelRef(done))
	l := label("loop")
	Label(l)
	body(at)
	for _, m := range at {
		ADDQ(Imm(uint64(s.width)), m.Base)
	}
	SUBQ(Imm(uint64(s.width/4)), n)
	JNZ(LabelRef(l))
	Label(done)
	end()
}

// exps are the constants of exp, and exp itself: within 4 units in the last place.
type exps struct {
	lo, hi, log2e, ln2, ln2lo, bias Op
	q                               []Op
}

func (s isa) exps() exps {
	e := exps{lo: s.c(-104), hi: s.c(89), log2e: s.c(math.Log2E)}
	// ln 2 in two parts, the first short enough for exact multiples.
	e.ln2, e.ln2lo = s.c(0.693359375), s.c(-2.12194440e-4)
	for _, c := range []float32{0.0013843606876209114, 0.00837419601107682, 0.041668004744610264, 0.16666430795601644, 0.49999994191481606, 1, 1} {
		e.q = append(e.q, s.c(c))
	}
	e.bias = s.cBits(127)
	return e
}

// of is eˣ; it destroys x.
func (e exps) of(s isa, x VecVirtual) VecVirtual {
	n, p, k, l := s.vec(), s.vec(), s.vec(), s.vec()
	VMAXPS(x, s.reg(e.lo), x)
	VMINPS(x, s.reg(e.hi), x)
	VMULPS(e.log2e, x, n)
	VCVTPS2DQ(n, k)
	VCVTDQ2PS(k, n)
	VFNMADD231PS(e.ln2, n, x)
	VFNMADD231PS(e.ln2lo, n, x)
	VMOVUPS(e.q[0], p)
	for _, c := range e.q[1:] {
		VFMADD213PS(c, x, p)
	}
	// 2ⁿ in two factors: it may be no normal float32 itself.
	VPSRAD(Imm(1), k, l)
	s.subInt(l, k, k)
	for _, k := range []VecVirtual{k, l} {
		s.addInt(e.bias, k, k)
		VPSLLD(Imm(23), k, k)
		VMULPS(k, p, p)
	}
	return p
}

func (s isa) exp() {
	s.text("exp", "func(dst, src *float32, n int)", "kernels.exp, n a multiple of 16,")
	e := s.exps()
	s.each(func(at []Mem) {
		x := s.vec()
		VMOVUPS(at[1], x)
		VMOVUPS(e.of(s, x), at[0])
	}, "dst", "src")
}

// features runs p through the n features of x's register of rows.
func (s isa) features(x, p Register, body func()) {
	n := load("n")
	MOVQ(x, p)
	countdown(n, func() {
		body()
		ADDQ(Imm(panel), p)
	})
}

// largest makes top the largest of the features.
func (s isa) largest(x, p Register, top VecVirtual) {
	VMOVUPS(Mem{Base: x}, top)
	s.features(x, p, func() { VMAXPS(Mem{Base: p}, top, top) })
}

// expBelow is e^(what is at p - top).
func (s isa) expBelow(e exps, p Register, top VecVirtual) VecVirtual {
	v := s.vec()
	VMOVUPS(Mem{Base: p}, v)
	VSUBPS(top, v, v)
	return e.of(s, v)
}

// expTop runs twice through the features of each register of rows: for the
// largest, then for the exponentials.
func (s isa) expTop() {
	s.text("expTop", "func(x *float32, n int)", "kernels.expTop, n at least 1,")
	e := s.exps()
	x := load("x")
	left := GP64()
	MOVQ(U32(uint32(s.v)), left)
	countdown(left, func() {
		p, top := GP64(), s.vec()
		s.largest(x, p, top)
		s.features(x, p, func() {
			VMOVUPS(s.expBelow(e, p, top), Mem{Base: p})
		})
		ADDQ(Imm(uint64(s.width)), x)
	})
	end()
}

// softmax is expTop with a third run, for the scales.
func (s isa) softmax() {
	s.text("softmax", "func(x *float32, n int, scale, top, sum *float32)", "kernels.softmax, n at least 1,")
	e := s.exps()
	x, scale, tops, sums := load("x"), load("scale"), load("top"), load("sum")
	left := GP64()
	MOVQ(U32(uint32(s.v)), left)
	countdown(left, func() {
		p, top, sum := GP64(), s.vec(), s.vec()
		s.largest(x, p, top)
		VMOVUPS(top, Mem{Base: tops})
		s.zero(sum)
		s.features(x, p, func() {
			v := s.expBelow(e, p, top)
			VMOVUPS(v, Mem{Base: p})
			VADDPS(v, sum, sum)
		})
		VMOVUPS(sum, Mem{Base: sums})
		f := s.vec()
		VMOVUPS(Mem{Base: scale}, f)
		VDIVPS(sum, f, f)
		s.features(x, p, func() {
			v := s.vec()
			VMULPS(Mem{Base: p}, f, v)
			VMOVUPS(v, Mem{Base: p})
		})
		for _, at := range []Register{x, scale, tops, sums} {
			ADDQ(Imm(uint64(s.width)), at)
		}
	})
	end()
}

func (s isa) addInt(a Op, b, dst Op) { VPADDD(a, b, dst) }
func (s isa) subInt(a Op, b, dst Op) { VPSUBD(a, b, dst) }

func (s isa) sigmoid() {
	s.text("sigmoid", "func(dst, src *float32, n int)", "kernels.sigmoid, n a multiple of 16,")
	k := s.expConsts(-88.8, 88.02)
	s.each(func(at []Mem) {
		x := s.vec()
		VMOVUPS(at[1], x)
		e, one := s.expPlus1(k, x), s.reg(k.one)
		VDIVPS(e, one, e)
		VMOVUPS(e, at[0])
	}, "dst", "src")
}

func (s isa) tanh() {
	s.text("tanh", "func(dst, src *float32, n int)", "kernels.tanh, n a multiple of 16,")
	k := s.expConsts(-88.8, 88.02)
	two, minusOne := s.c(2), s.c(-1)
	s.each(func(at []Mem) {
		x := s.vec()
		VMOVUPS(at[1], x)
		VADDPS(x, x, x)
		e, one := s.expPlus1(k, x), s.reg(k.one)
		VDIVPS(e, one, e)
		VFMADD213PS(minusOne, s.reg(two), e) // 2σ(2x)-1
		VMOVUPS(e, at[0])
	}, "dst", "src")
}

// relu, reluBack, sigmoidBack and tanhBack are the rest of kernels.activate
// and activateBack.
func (s isa) relu() {
	s.text("relu", "func(y *float32, n int)", "kernels.activate for ReLU, n a multiple of 16,")
	zero := s.vec()
	s.zero(zero)
	s.each(func(at []Mem) {
		y := s.vec()
		VMAXPS(at[0], zero, y) // the first here stays if it is a NaN
		VMOVUPS(y, at[0])
	}, "y")
}

func (s isa) activateBack() {
	const signature, doc = "func(d, y *float32, n int)", "kernels.activateBack for %s, n a multiple of 16,"
	s.text("reluBack", signature, fmt.Sprintf(doc, "ReLU"))
	zero := s.vec()
	s.zero(zero)
	s.each(func(at []Mem) {
		if s.width == 64 {
			k, d := K(), s.vec()
			VMOVUPS(at[1], d)
			VCMPPS(Imm(4), zero, d, k) // ≠ or a NaN
			VMOVUPS_Z(at[0], k, d)
			VMOVUPS(d, at[0])
			return
		}
		m := s.vec()
		VCMPPS(Imm(4), at[1], zero, m)
		VANDPS(at[0], m, m)
		VMOVUPS(m, at[0])
	}, "d", "y")

	s.text("sigmoidBack", signature, fmt.Sprintf(doc, "Sigmoid"))
	flushDenormals()
	s.each(func(at []Mem) {
		y, d := s.vec(), s.vec()
		VMOVUPS(at[1], y)
		VMULPS(at[0], y, d)
		VFNMADD231PS(d, y, d) // d·y - d·y·y
		VMOVUPS(d, at[0])
	}, "d", "y")

	s.text("tanhBack", signature, fmt.Sprintf(doc, "Tanh"))
	flushDenormals()
	one := s.c(1)
	s.each(func(at []Mem) {
		y, d := s.vec(), s.vec()
		VMOVUPS(at[1], y)
		VMOVUPS(one, d)
		VFNMADD231PS(y, y, d)
		VMULPS(at[0], d, d)
		VMOVUPS(d, at[0])
	}, "d", "y")
}

func (s isa) adam() {
	s.text("adam", "func(p, grad, m, v *float32, n int, c *float32)", "kernels.adam, n a multiple of 16,")
	flushDenormals()
	c := load("c")
	k := s.vecs(7)
	for i := range k {
		VBROADCASTSS(Mem{Base: c, Disp: 4 * i}, k[i])
	}
	s.each(func(at []Mem) {
		g, m, v := s.vec(), s.vec(), s.vec()
		VMOVUPS(at[1], g)
		VMULPS(at[2], k[0], m)
		VFMADD231PS(g, k[1], m)
		VMOVUPS(m, at[2])
		VMULPS(at[3], k[2], v)
		VMULPS(g, g, g)
		VFMADD231PS(g, k[3], v)
		VMOVUPS(v, at[3])
		VSQRTPS(v, v)
		VFMADD213PS(k[6], k[5], v)
		VMULPS(k[4], m, m)
		VDIVPS(v, m, m)
		VMOVUPS(at[0], g)
		VSUBPS(m, g, g)
		VMOVUPS(g, at[0])
	}, "p", "grad", "m", "v") // the assembler takes no argument named g
}

func (s isa) sum() {
	s.text("sum", "func(dst, src *float32, n int)", "kernels.sum, n a multiple of 16,")
	flushDenormals()
	s.each(func(at []Mem) {
		a := s.vec()
		VMOVUPS(at[0], a)
		VADDPS(at[1], a, a)
		VMOVUPS(a, at[0])
	}, "dst", "src")
}

// Transposition moves numbers and computes none; AVX2 does for both sets.
