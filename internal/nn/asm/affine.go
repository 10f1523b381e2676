package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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
	s.text("backData", "func(dx, d, w *float32, out, in, cols int, add bool)", "kernels.backData")
	flushDenormals()
	dx, w := load("dx"), load("w")
	stride := load("in")
	SHLQ(Imm(2), stride)
	blocks(load("cols"), s.backBlocks, func(u int) {
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
