package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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
