package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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
