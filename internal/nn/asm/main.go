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
		s.expTop()
		s.softmax()
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

func (s isa) expConsts(lo, hi float32) expConsts {
	k := expConsts{
		lo: s.c(lo), hi: s.c(hi), log2e: s.c(math.Log2E), magic: s.c(3<<22 + 127), ln2: s.c(math.Ln2), one: s.c(1),
	}
	for _, c := range []float32{-0.008290271912514802, 0.0418981620947164, -0.1666763814583471, 0.4999914782217945, -0.9999997063037744} {
		k.q = append(k.q, s.c(c))
	}
	return k
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
