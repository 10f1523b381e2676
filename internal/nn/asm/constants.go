package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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
