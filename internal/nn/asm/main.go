// Command asm generates the amd64 kernels of internal/nn (kernels.go says what
// each computes): every kernel once with AVX2 and FMA, once with AVX-512.
//
// A panel holds 32 rows per feature: 4 registers of AVX2 or 2 of AVX-512.
// Matrix kernels keep a block of outputs in registers (12 with AVX2, up to 24
// with AVX-512) and run through the features of the input, so that loads are
// fewer than multiply-adds.
package main

import (
	"fmt"
	"math"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	lanes = 32
	panel = 4 * lanes // bytes of one feature
)

// isa is an instruction set and how much of a problem fits its registers.
type isa struct {
	name  string
	width int // bytes of a register
	v     int // registers of one feature of a panel
	vec   func() VecVirtual

	constantsInRegisters bool
	gruUnits             int   // hidden units at a time
	affineBlocks         []int // outputs at a time, descending to 1
	backBlocks           []int
	weightRows           []int // of d at a time
	weightCols           []int // of x at a time
}

var isas = []isa{
	{name: "AVX2", width: 32, v: 4, vec: YMM,
		gruUnits: 1, affineBlocks: []int{3, 2, 1}, backBlocks: []int{3, 2, 1},
		weightRows: []int{3, 1}, weightCols: []int{4, 2, 1}},
	{name: "AVX512", width: 64, v: 2, vec: ZMM, constantsInRegisters: true,
		gruUnits: 3, affineBlocks: []int{6, 3, 2, 1}, backBlocks: []int{12, 8, 4, 2, 1},
		weightRows: []int{4, 1}, weightCols: []int{6, 2, 1}},
}

func main() {
	makeTailMasks()
	panelIn()
	panelOut()
	for _, s := range isas {
		s.gruForward()
		s.gruGates()
		s.affine()
		s.backData()
		s.backWeights()
		s.backBias()
		s.exp()
		s.sigmoid()
		s.tanh()
		s.relu()
		s.activateBack()
		s.adam()
		s.sum()
	}
	Generate()
}

func (s isa) text(name, signature, doc string) {
	TEXT(name+s.name, NOSPLIT, signature)
	Doc(name + s.name + " is " + doc + " on " + s.name + ".")
	Pragma("noescape")
}

func (s isa) vecs(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = s.vec()
	}
	return v
}

func load(name string) Register { return Load(Param(name), GP64()) }

// flushDenormals makes the rest of the function take and give 0 for numbers
// below 1.2e-38, which cost the processor a hundred cycles each: moments and
// gradients of units that are dead decay to them and stay there.
func flushDenormals() {
	m := AllocLocal(8)
	mode := GP32()
	VSTMXCSR(m)
	MOVL(m, mode)
	ORL(U32(1<<15|1<<6), mode)
	MOVL(mode, m.Offset(4))
	VLDMXCSR(m.Offset(4))
	modeWas = &m
}

var modeWas *Mem // what end restores, unless nil

// end closes a function; upper halves are cleared for the SSE code of Go.
func end() {
	if modeWas != nil {
		VLDMXCSR(*modeWas)
		modeWas = nil
	}
	VZEROUPPER()
	RET()
}

var labels int

func label(what string) string {
	labels++
	return fmt.Sprintf("%s%d", what, labels)
}

// countdown runs body n times, n > 0, and leaves n at 0.
func countdown(n Register, body func()) {
	l := label("loop")
	Label(l)
	body()
	DECQ(n)
	JNZ(LabelRef(l))
}

// blocks runs body with each size while at least that much of n is left; n
// ends at 0. body must not change n. Sizes descend to 1.
func blocks(n Register, sizes []int, body func(size int)) {
	done := label("done")
	for _, size := range sizes {
		again, next := label("block"), label("smaller")
		Label(again)
		CMPQ(n, I32(int32(size)))
		JLT(LabelRef(next))
		body(size)
		SUBQ(I32(int32(size)), n)
		JMP(LabelRef(again))
		Label(next)
	}
	Label(done)
}

// const32 is a vector of 16 equal numbers in memory.
var consts = map[string]Mem{}

func (s isa) memConst(bits uint32) Mem {
	name := fmt.Sprintf("c%08x", bits)
	m, ok := consts[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(bits))
		}
		consts[name] = m
	}
	return m
}

// c is a constant vector: a register where there are enough of them.
func (s isa) c(v float32) Op { return s.cBits(math.Float32bits(v)) }

func (s isa) cBits(bits uint32) Op {
	m := s.memConst(bits)
	if !s.constantsInRegisters {
		return m
	}
	r := s.vec()
	VMOVUPS(m, r)
	return r
}

// expConsts are the constants of expPlus: 2ⁿ·eʳ with n = round(-x/ln 2),
// |r| ≤ ln(2)/2, the polynomial 1 + q(r) fitted to eʳ with relative error
// 9.2e-8, its odd coefficients negated because it gets -r.
type expConsts struct {
	lo, hi, log2e, magic, ln2 Op
	q                         []Op
	one                       Op
}

func (s isa) expConsts(lo, hi float32) expConsts {
	k := expConsts{
		lo: s.c(lo), hi: s.c(hi), log2e: s.c(math.Log2E), magic: s.c(3<<22 + 127), ln2: s.c(math.Ln2), one: s.c(1),
	}
	for _, c := range []float32{-0.008290271912514802, 0.0418981620947164, -0.1666763814583471, 0.4999914782217945, -0.9999997063037744} {
		k.q = append(k.q, s.c(c))
	}
	return k
}

// expPlus1 is 1 + e⁻ˣ for x clamped to [lo,hi]; it destroys x. A NaN stays.
func (s isa) expPlus1(k expConsts, x VecVirtual) VecVirtual {
	VMAXPS(x, s.reg(k.lo), x) // of two operands, the first here stays if it is a NaN
	VMINPS(x, s.reg(k.hi), x)
	m, n, p := s.vec(), s.vec(), s.vec()
	VMOVUPS(k.magic, m)
	VFNMADD231PS(k.log2e, x, m)
	VSUBPS(k.magic, m, n)
	VFMADD231PS(k.ln2, n, x) // -r
	VPSLLD(Imm(23), m, m)    // 2ⁿ: 0 for n = -127, Inf for 128
	VMOVUPS(k.q[0], p)
	for _, c := range append(k.q[1:], k.one) {
		VFMADD213PS(c, x, p)
	}
	VFMADD213PS(k.one, m, p)
	return p
}

// reg is o in a register.
func (s isa) reg(o Op) Op {
	if m, ok := o.(Mem); ok {
		r := s.vec()
		VMOVUPS(m, r)
		return r
	}
	return o
}

// multiplyAdd adds weights[i] times the panel feature at p to acc[i], whose
// registers cover the feature. Either the feature or the weights (at most 3)
// stay in registers, whichever are fewer.
func (s isa) multiplyAdd(p Register, weights []Mem, acc [][]VecVirtual) {
	if s.v == 2 {
		x := s.vecs(2)
		VMOVUPS(Mem{Base: p}, x[0])
		VMOVUPS(Mem{Base: p, Disp: s.width}, x[1])
		for i, m := range weights {
			w := s.vec()
			VBROADCASTSS(m, w)
			VFMADD231PS(x[0], w, acc[i][0])
			VFMADD231PS(x[1], w, acc[i][1])
		}
		return
	}
	w := s.vecs(len(weights))
	for i, m := range weights {
		VBROADCASTSS(m, w[i])
	}
	for v := range s.v {
		x := s.vec()
		VMOVUPS(Mem{Base: p, Disp: v * s.width}, x)
		for i := range weights {
			VFMADD231PS(x, w[i], acc[i][v])
		}
	}
}

// accumulators are n outputs of a panel.
func (s isa) accumulators(n int) [][]VecVirtual {
	acc := make([][]VecVirtual, n)
	for i := range acc {
		acc[i] = s.vecs(s.v)
	}
	return acc
}

// rowOf is the current weight of row i, at most 2, from base.
func rowOf(base, stride Register, i int) Mem {
	m := Mem{Base: base}
	if i > 0 {
		m = m.Idx(stride, uint8(i))
	}
	return m
}

// broadcast fills all of acc with the number at m.
func broadcast(m Mem, acc []VecVirtual) {
	VBROADCASTSS(m, acc[0])
	for _, a := range acc[1:] {
		VMOVAPS(acc[0], a)
	}
}

// store puts acc, one output after another, at m.
func (s isa) store(acc [][]VecVirtual, m Mem) {
	for _, out := range acc {
		for _, a := range out {
			VMOVUPS(a, m)
			m = m.Offset(s.width)
		}
	}
}

func (s isa) gruForward() {
	s.text("gruForward", "func(x, h, wi, wh, bi, bh, out, saved *float32, in, hid int)", "kernels.gruForward")
	flushDenormals()
	// Sums of the gates' arguments, saved as they are.
	units := load("hid")
	sizes := []int{}
	for u := s.gruUnits; u > 0; u-- {
		sizes = append(sizes, u)
	}
	wi, wh, bi, bh, saved := load("wi"), load("wh"), load("bi"), load("bh"), load("saved")
	blocks(units, sizes, func(u int) {
		// product adds rows of w, three gates of u units, times the panel src.
		product := func(src, size string, w Register, r, z, n [][]VecVirtual) {
			p, cnt := load(src), load(size)
			stride, gate := GP64(), load("hid") // bytes of a row, of a gate
			MOVQ(cnt, stride)
			SHLQ(Imm(2), stride)
			IMULQ(stride, gate)
			rows := []Register{GP64(), GP64(), GP64()}
			MOVQ(w, rows[0])
			LEAQ(Mem{Base: w, Index: gate, Scale: 1}, rows[1])
			LEAQ(Mem{Base: w, Index: gate, Scale: 2}, rows[2])
			var weights []Mem
			var acc [][]VecVirtual
			for i := range u {
				for g, gate := range [][][]VecVirtual{r, z, n} {
					weights = append(weights, rowOf(rows[g], stride, i))
					acc = append(acc, gate[i])
				}
			}
			countdown(cnt, func() {
				s.multiplyAdd(p, weights, acc)
				ADDQ(Imm(panel), p)
				for _, r := range rows {
					ADDQ(Imm(4), r)
				}
			})
			IMUL3Q(Imm(uint64(u)), stride, stride)
			ADDQ(stride, w) // to the next unit
		}
		r, z, n, c := s.accumulators(u), s.accumulators(u), s.accumulators(u), s.accumulators(u)
		hid, gate, two := load("hid"), load("hid"), GP64()
		SHLQ(Imm(7), gate) // bytes of a gate's panel
		LEAQ(Mem{Base: saved, Index: gate, Scale: 2}, two)
		for i := range u {
			b := s.vec()
			broadcast(Mem{Base: bi, Disp: 4 * i, Index: hid, Scale: 8}, n[i])
			for g, acc := range [][]VecVirtual{r[i], z[i]} {
				m := Mem{Base: bi, Disp: 4 * i}
				mh := Mem{Base: bh, Disp: 4 * i}
				if g > 0 {
					m, mh = m.Idx(hid, 4), mh.Idx(hid, 4)
				}
				VBROADCASTSS(m, acc[0])
				VBROADCASTSS(mh, b)
				VADDPS(b, acc[0], acc[0])
				for _, a := range acc[1:] {
					VMOVAPS(acc[0], a)
				}
			}
		}
		product("x", "in", wi, r, z, n)
		s.store(n, Mem{Base: two}) // frees its registers for c
		for i := range u {
			broadcast(Mem{Base: bh, Disp: 4 * i, Index: hid, Scale: 8}, c[i])
		}
		product("h", "hid", wh, r, z, c)
		s.store(r, Mem{Base: saved})
		s.store(z, Mem{Base: saved, Index: gate, Scale: 1})
		s.store(c, Mem{Base: two, Index: gate, Scale: 1})
		ADDQ(I32(int32(u*panel)), saved)
		ADDQ(Imm(uint64(4*u)), bi)
		ADDQ(Imm(uint64(4*u)), bh)
	})

	// The gates in two passes, because one long chain of dependent steps would
	// leave the processor waiting: r and z, which share a division, then n.
	Comment("r and z")
	k := s.expConsts(-40, 40) // the product of two is finite
	count, gate := load("hid"), load("hid")
	SHLQ(Imm(uint64(bits.Len(uint(s.v))-1)), count)
	SHLQ(Imm(7), gate)
	left, r := GP64(), load("saved")
	MOVQ(count, left)
	countdown(left, func() {
		a, b, inv := s.vec(), s.vec(), s.vec()
		VMOVUPS(Mem{Base: r}, a)
		VMOVUPS(Mem{Base: r, Index: gate, Scale: 1}, b)
		dr, dz, one := s.expPlus1(k, a), s.expPlus1(k, b), s.reg(k.one)
		VMULPS(dr, dz, inv)
		VDIVPS(inv, one, inv)
		VMULPS(inv, dr, dr)
		VMULPS(inv, dz, dz)
		VMOVUPS(dz, Mem{Base: r})
		VMOVUPS(dr, Mem{Base: r, Index: gate, Scale: 1})
		ADDQ(Imm(uint64(s.width)), r)
	})
	Comment("n and the next state")
	two, minusOne := s.c(2), s.c(-1)
	r = load("saved")
	h, out, g := load("h"), load("out"), GP64()
	LEAQ(Mem{Base: r, Index: gate, Scale: 2}, g)
	countdown(count, func() {
		n, d := s.vec(), s.vec()
		VMOVUPS(Mem{Base: r}, n)
		VMULPS(Mem{Base: g, Index: gate, Scale: 1}, n, n)
		VADDPS(Mem{Base: g}, n, n)
		VADDPS(n, n, n)
		n, one := s.expPlus1(k, n), s.reg(k.one)
		VDIVPS(n, one, n)
		VFMADD213PS(minusOne, s.reg(two), n) // tanh(y) = 2/(1+e^-2y) - 1
		VMOVUPS(n, Mem{Base: g})
		VMOVUPS(Mem{Base: h}, d)
		VSUBPS(n, d, d)
		VFMADD231PS(Mem{Base: r, Index: gate, Scale: 1}, d, n)
		VMOVUPS(n, Mem{Base: out})
		for _, p := range []Register{r, g, h, out} {
			ADDQ(Imm(uint64(s.width)), p)
		}
	})
	end()
}

func (s isa) gruGates() {
	s.text("gruGates", "func(saved, h, dy, dh *float32, hid int)", "kernels.gruGates")
	flushDenormals()
	one := s.c(1)
	n, gate := load("hid"), load("hid")
	SHLQ(Imm(uint64(bits.Len(uint(s.v))-1)), n)
	SHLQ(Imm(7), gate)
	r, h, dy, dh := load("saved"), load("h"), load("dy"), load("dh")
	g := GP64()
	LEAQ(Mem{Base: r, Index: gate, Scale: 2}, g)
	countdown(n, func() {
		d, z, nn, t := s.vec(), s.vec(), s.vec(), s.vec()
		VMOVUPS(Mem{Base: dh}, d)
		VADDPS(Mem{Base: dy}, d, d)
		VMOVUPS(Mem{Base: r, Index: gate, Scale: 1}, z)
		VMOVUPS(Mem{Base: g}, nn)
		VMULPS(z, d, t)
		VMOVUPS(t, Mem{Base: dh}) // d·z
		dn := s.vec()
		VSUBPS(t, d, dn) // d·(1-z)
		// dz = (d·z)·(1-z)·(h-n)
		VMOVUPS(Mem{Base: h}, d)
		VSUBPS(nn, d, d)
		VMULPS(t, d, d)
		VFNMADD231PS(d, z, d)
		VMOVUPS(d, Mem{Base: r, Index: gate, Scale: 1})
		// dn = d·(1-z)·(1-n²)
		VMOVUPS(one, t)
		VFNMADD231PS(nn, nn, t)
		VMULPS(t, dn, dn)
		VMOVUPS(dn, Mem{Base: g})
		// dc = dn·r; dr = dc·c·(1-r)
		rr := s.vec()
		VMOVUPS(Mem{Base: r}, rr)
		VMULPS(dn, rr, t)
		c := s.vec()
		VMULPS(Mem{Base: g, Index: gate, Scale: 1}, t, c)
		VMOVUPS(t, Mem{Base: g, Index: gate, Scale: 1})
		VFNMADD231PS(c, rr, c)
		VMOVUPS(c, Mem{Base: r})
		for _, p := range []Register{r, g, h, dy, dh} {
			ADDQ(Imm(uint64(s.width)), p)
		}
	})
	end()
}

func (s isa) affine() {
	s.text("affine", "func(y, x, w, b *float32, out, in int)", "kernels.affine")
	flushDenormals()
	y, w, b := load("y"), load("w"), load("b")
	stride := load("in")
	SHLQ(Imm(2), stride)
	blocks(load("out"), s.affineBlocks, func(u int) {
		acc := s.accumulators(u)
		for i := range u {
			broadcast(Mem{Base: b, Disp: 4 * i}, acc[i])
		}
		rows := []Register{GP64()}
		MOVQ(w, rows[0])
		if u > 3 {
			rows = append(rows, GP64())
			LEAQ(Mem{Base: w, Index: stride, Scale: 2}, rows[1])
			ADDQ(stride, rows[1])
		}
		var weights []Mem
		for i := range u {
			weights = append(weights, rowOf(rows[i/3], stride, i%3))
		}
		x := load("x")
		countdown(load("in"), func() {
			s.multiplyAdd(x, weights, acc)
			ADDQ(Imm(panel), x)
			for _, r := range rows {
				ADDQ(Imm(4), r)
			}
		})
		s.store(acc, Mem{Base: y})
		ADDQ(I32(int32(u*panel)), y)
		ADDQ(Imm(uint64(4*u)), b)
		next := GP64()
		IMUL3Q(Imm(uint64(u)), stride, next)
		ADDQ(next, w)
	})
	end()
}

func (s isa) backData() {
	s.text("backData", "func(dx, d, w *float32, out, in int, add bool)", "kernels.backData")
	flushDenormals()
	dx, w := load("dx"), load("w")
	stride := load("in")
	SHLQ(Imm(2), stride)
	blocks(load("in"), s.backBlocks, func(u int) {
		acc := s.accumulators(u)
		sum, start := label("sum"), label("start")
		add := Load(Param("add"), GP8())
		TESTB(add, add)
		JNZ(LabelRef(sum))
		for _, out := range acc {
			for _, a := range out {
				s.zero(a)
			}
		}
		JMP(LabelRef(start))
		Label(sum)
		for i, out := range acc {
			for v, a := range out {
				VMOVUPS(Mem{Base: dx, Disp: i*panel + v*s.width}, a)
			}
		}
		Label(start)
		row := GP64()
		MOVQ(w, row)
		var weights []Mem
		for i := range u {
			weights = append(weights, Mem{Base: row, Disp: 4 * i})
		}
		d := load("d")
		countdown(load("out"), func() {
			s.multiplyAdd(d, weights, acc)
			ADDQ(Imm(panel), d)
			ADDQ(stride, row)
		})
		s.store(acc, Mem{Base: dx})
		ADDQ(I32(int32(u*panel)), dx)
		ADDQ(Imm(uint64(4*u)), w)
	})
	end()
}

// backWeights holds a few rows of the weights, takes a few columns at a time
// and runs through all steps; the columns' x stay in the first-level cache.
func (s isa) backWeights() {
	s.text("backWeights", "func(dw, d, x *float32, out, in, steps, dStep, xStep int)", "kernels.backWeights")
	flushDenormals()
	dw, x := load("dw"), load("x")
	dStep, xStep, stride := load("dStep"), load("xStep"), load("in")
	for _, r := range []Register{dStep, xStep, stride} {
		SHLQ(Imm(2), r)
	}
	blocks(load("in"), s.weightCols, func(cols int) {
		d, w := load("d"), GP64()
		MOVQ(dw, w)
		blocks(load("out"), s.weightRows, func(rows int) {
			acc := make([][]VecVirtual, rows)
			for j := range acc {
				acc[j] = s.vecs(cols)
				for _, a := range acc[j] {
					s.zero(a)
				}
			}
			dt, xt := GP64(), GP64()
			MOVQ(d, dt)
			MOVQ(x, xt)
			countdown(load("steps"), func() {
				for v := range s.v {
					ds := s.vecs(rows)
					for j := range ds {
						VMOVUPS(Mem{Base: dt, Disp: j*panel + v*s.width}, ds[j])
					}
					for k := range cols {
						x := s.vec()
						VMOVUPS(Mem{Base: xt, Disp: k*panel + v*s.width}, x)
						for j := range ds {
							VFMADD231PS(x, ds[j], acc[j][k])
						}
					}
				}
				ADDQ(dStep, dt)
				ADDQ(xStep, xt)
			})
			for j := range rows {
				for k := 0; k < cols; {
					n := s.addSums(acc[j][k:], Mem{Base: w, Disp: 4 * k})
					k += n
				}
				ADDQ(stride, w)
			}
			ADDQ(I32(int32(rows*panel)), d)
		})
		ADDQ(I32(int32(cols*panel)), x)
		ADDQ(Imm(uint64(4*cols)), dw)
	})
	end()
}

func (s isa) zero(a VecVirtual) { VXORPS(a, a, a) }

// halve adds the upper half of an AVX-512 register to its lower one.
func (s isa) halve(a VecVirtual) VecVirtual {
	if s.width == 32 {
		return a
	}
	h := YMM()
	VEXTRACTF64X4(Imm(1), a, h)
	VADDPS(a.AsY(), h, h)
	return h
}

// addSums adds the sums of the elements of 4, 2 or 1 of acc to the numbers at
// m and says how many it took.
func (s isa) addSums(acc []VecVirtual, m Mem) int {
	n := 1
	for n < 4 && 2*n <= len(acc) {
		n *= 2
	}
	y := make([]VecVirtual, n)
	for i := range y {
		y[i] = s.halve(acc[i])
	}
	// Not VHADDPS: it has no AVX-512 encoding, which the upper 16 registers need.
	for i := 0; i < n; i += 2 { // a₀+a₂ b₀+b₂ a₁+a₃ b₁+b₃, of each half
		a, b, hi := y[i], y[min(i+1, n-1)], YMM()
		VUNPCKHPS(b, a, hi)
		VUNPCKLPS(b, a, a)
		VADDPS(hi, a, a)
	}
	a, b, hi := y[0], y[n/4*2], YMM() // n/4*2: the second pair, where there is one
	VUNPCKHPD(b, a, hi)
	VUNPCKLPD(b, a, a)
	VADDPS(hi, a, a)
	h, x := XMM(), a.AsX()
	if s.width == 64 {
		VEXTRACTF32X4(Imm(1), a, h)
	} else {
		VEXTRACTF128(Imm(1), a, h)
	}
	VADDPS(x, h, h)
	switch n {
	case 4:
		VADDPS(m, h, h)
		VMOVUPS(h, m)
	case 2:
		VMOVSD(m, x)
		VADDPS(x, h, h)
		VMOVLPS(h, m)
	default:
		VADDSS(m, h, h)
		VMOVSS(h, m)
	}
	return n
}

func (s isa) backBias() {
	s.text("backBias", "func(db, d *float32, out, steps, dStep int)", "kernels.backBias")
	flushDenormals()
	db, d, dStep := load("db"), load("d"), load("dStep")
	SHLQ(Imm(2), dStep)
	countdown(load("out"), func() {
		acc := s.vecs(s.v)
		for _, a := range acc {
			s.zero(a)
		}
		t := GP64()
		MOVQ(d, t)
		countdown(load("steps"), func() {
			for v, a := range acc {
				VADDPS(Mem{Base: t, Disp: v * s.width}, a, a)
			}
			ADDQ(dStep, t)
		})
		for n := s.v / 2; n > 0; n /= 2 {
			for i := range n {
				VADDPS(acc[i+n], acc[i], acc[i])
			}
		}
		s.addSums(acc[:1], Mem{Base: db})
		ADDQ(Imm(4), db)
		ADDQ(Imm(panel), d)
	})
	end()
}

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

func (s isa) exp() {
	s.text("exp", "func(dst, src *float32, n int)", "kernels.exp, n a multiple of 16,")
	lo, hi, log2e := s.c(-104), s.c(89), s.c(math.Log2E)
	// ln 2 in two parts, the first short enough for exact multiples.
	ln2, ln2lo := s.c(0.693359375), s.c(-2.12194440e-4)
	q := []Op{}
	for _, c := range []float32{0.0013843606876209114, 0.00837419601107682, 0.041668004744610264, 0.16666430795601644, 0.49999994191481606, 1, 1} {
		q = append(q, s.c(c))
	}
	bias := s.cBits(127)
	s.each(func(at []Mem) {
		x, n, p, k, l := s.vec(), s.vec(), s.vec(), s.vec(), s.vec()
		VMOVUPS(at[1], x)
		VMAXPS(x, s.reg(lo), x)
		VMINPS(x, s.reg(hi), x)
		VMULPS(log2e, x, n)
		VCVTPS2DQ(n, k)
		VCVTDQ2PS(k, n)
		VFNMADD231PS(ln2, n, x)
		VFNMADD231PS(ln2lo, n, x)
		VMOVUPS(q[0], p)
		for _, c := range q[1:] {
			VFMADD213PS(c, x, p)
		}
		// 2ⁿ in two factors: it may be no normal float32 itself.
		VPSRAD(Imm(1), k, l)
		s.subInt(l, k, k)
		for _, k := range []VecVirtual{k, l} {
			s.addInt(bias, k, k)
			VPSLLD(Imm(23), k, k)
			VMULPS(k, p, p)
		}
		VMOVUPS(p, at[0])
	}, "dst", "src")
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

// transpose8 exchanges rows and columns of 8 registers of 8 floats.
func transpose8(r []VecVirtual) []VecVirtual {
	t := make([]VecVirtual, 8)
	for i := range t {
		t[i] = YMM()
	}
	for i := 0; i < 8; i += 2 { // pairs of rows, interleaved
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 8; i += 4 { // fours
		VUNPCKLPD(t[i+2], t[i], r[i])
		VUNPCKHPD(t[i+2], t[i], r[i+1])
		VUNPCKLPD(t[i+3], t[i+1], r[i+2])
		VUNPCKHPD(t[i+3], t[i+1], r[i+3])
	}
	for i := range 4 {
		VPERM2F128(Imm(0x20), r[i+4], r[i], t[i])
		VPERM2F128(Imm(0x31), r[i+4], r[i], t[i+4])
	}
	return t
}

// tailMasks is a window of 8 int32 onto 8 times -1, 8 times 0: 4·(8-n) bytes
// in, the first n are set.
var tailMasks Mem

func makeTailMasks() {
	m := GLOBL("tailMasks", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(0xFFFFFFFF))
	}
	for i := range 8 {
		DATA(32+4*i, U32(0))
	}
	tailMasks = m
}

// transposition runs body for blocks of 8 rows by 8 features, the last of
// the features fewer: rows and panels are where they lie, mask covers the
// features there are, and last(i, l) jumps to l where feature i is none.
func transposition(name, rowsParam, panelParam, signature string, body func(mask VecVirtual, rows, panels []Mem, last func(i int, l string))) {
	TEXT(name+"AVX2", NOSPLIT, signature)
	Doc(name + "AVX2 is kernels." + name + " of 32 rows on AVX2.")
	Pragma("noescape")
	src, panels, left, stride := load(rowsParam), load(panelParam), load("f"), load("f")
	SHLQ(Imm(2), stride)
	masks, mask := GP64(), YMM()
	LEAQ(tailMasks, masks)
	again := label("features")
	Label(again)
	n := GP64()
	MOVQ(U32(8), n)
	CMPQ(left, n)
	CMOVQLT(left, n)
	at := GP64()
	MOVQ(n, at)
	NEGQ(at)
	VMOVUPS(Mem{Base: masks, Index: at, Scale: 4, Disp: 32}, mask)
	bases := []Register{GP64(), GP64(), GP64()}
	MOVQ(src, bases[0])
	panel8, blocks := GP64(), GP64()
	MOVQ(panels, panel8)
	MOVQ(U32(lanes/8), blocks)
	countdown(blocks, func() {
		var rows, panels []Mem
		for i := range 2 {
			LEAQ(Mem{Base: bases[i], Index: stride, Scale: 2}, bases[i+1])
			ADDQ(stride, bases[i+1])
		}
		for i := range 8 {
			rows = append(rows, rowOf(bases[i/3], stride, i%3))
			panels = append(panels, Mem{Base: panel8, Disp: i * panel})
		}
		body(mask, rows, panels, func(i int, l string) {
			CMPQ(n, Imm(uint64(i)))
			JLE(LabelRef(l))
		})
		LEAQ(Mem{Base: bases[0], Index: stride, Scale: 8}, bases[0])
		ADDQ(Imm(32), panel8)
	})
	ADDQ(Imm(32), src)
	ADDQ(I32(8*panel), panels)
	SUBQ(Imm(8), left)
	JG(LabelRef(again))
	end()
}

func panelIn() {
	transposition("panelIn", "src", "panel", "func(panel, src *float32, f int)", func(mask VecVirtual, rows, panels []Mem, last func(int, string)) {
		r := make([]VecVirtual, 8)
		for i := range r {
			r[i] = YMM()
			VMASKMOVPS(rows[i], mask, r[i])
		}
		done := label("stored")
		for i, t := range transpose8(r) {
			last(i, done)
			VMOVUPS(t, panels[i])
		}
		Label(done)
	})
}

func panelOut() {
	transposition("panelOut", "dst", "panel", "func(dst, panel *float32, f int)", func(mask VecVirtual, rows, panels []Mem, last func(int, string)) {
		r := make([]VecVirtual, 8)
		for i := range r {
			r[i] = YMM()
			VXORPS(r[i], r[i], r[i])
		}
		done := label("loaded")
		for i := range r {
			last(i, done)
			VMOVUPS(panels[i], r[i])
		}
		Label(done)
		for i, t := range transpose8(r) {
			VMASKMOVPS(t, mask, rows[i])
		}
	})
}
