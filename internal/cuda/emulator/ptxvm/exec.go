package ptxvm

import (
	"math"
	"math/bits"
)

// warp is 32 threads that execute in step where they are at one place. Of
// diverged ones the group that is furthest behind goes first, so they meet
// again where their ways join.
type warp struct {
	id      int
	r32     [][32]uint32
	r64     [][32]uint64
	p       []uint32
	pc      int32
	mask    uint32 // of the current group; 0: none
	next    int32  // the smallest pc of the other groups that can run
	live    uint32
	ready   []group
	barred  group   // lanes that wait at a barrier of the block
	stalled []group // that wait for lanes of their warp
	epoch   uint32  // warp barriers since the block's last
	lanes   []uint8 // of mask
	buf     [32]uint8
	guarded [32]uint8
	addr    [32]uint64
}

// run executes up to n instructions of a warp, until its lanes have ended or
// wait for the block. It leaves mask 0 in these cases.
func (m *machine) run(w *warp, n int) {
	k := m.k
	code := k.code
	var count, laneCount int64
	defer func() {
		m.stats.WarpInstructions += count
		m.stats.Instructions += laneCount
		m.left -= count
		if m.left < 0 && m.fault == nil {
			m.fail(w, bits.TrailingZeros32(w.live), "the block runs longer than %d warp instructions", m.o.Limit)
		}
	}()
	for ; n > 0 && m.fault == nil; n-- {
		if w.mask == 0 {
			if len(w.stalled) == 0 {
				return
			}
			m.unstall(w)
			continue
		}
		if w.pc >= w.next {
			w.pick()
		}
		in := &code[w.pc]
		lanes, mask := w.lanes, w.mask
		if in.guard >= 0 {
			p := w.p[in.guard]
			if in.negate {
				p = ^p
			}
			if p&mask != mask {
				mask &= p
				if mask == 0 {
					w.pc++
					continue
				}
				lanes = list(mask, &w.guarded)
			}
		}
		count++
		laneCount += int64(len(lanes))
		op := in.op
		if k.slow && op > opUnpack {
			op = opCompute
		}
		switch op {
		case opBra:
			rest := w.mask &^ mask
			if rest == 0 {
				w.pc = in.target
				continue
			}
			w.ready = append(w.ready, group{in.target, mask})
			w.set(rest)
			w.pc++
			w.pick()
			continue
		case opExit:
			w.live &^= mask
			w.set(w.mask &^ mask)
			w.pc++
			if w.mask == 0 {
				w.pick()
			}
			continue
		case opTrap:
			m.fail(w, int(lanes[0]), "trap")
			continue
		case opBar:
			if mask != w.mask { // the others pass it by
				w.ready = append(w.ready, group{w.pc + 1, w.mask &^ mask})
				w.set(mask)
			}
			g := w.park()
			if w.barred.mask != 0 && w.barred.pc != g.pc {
				w.pc = g.pc
				m.fail(w, bits.TrailingZeros32(g.mask), "divergent barrier: thread %v waits at another, PTX line %d",
					m.thread(w, bits.TrailingZeros32(w.barred.mask)), k.source[w.barred.pc].line)
				continue
			}
			w.barred = group{g.pc, w.barred.mask | g.mask}
			continue
		case opWarpBar, opShfl, opVote, opRedux:
			if mask != w.mask {
				w.ready = append(w.ready, group{w.pc + 1, w.mask &^ mask})
				w.next = min(w.next, w.pc+1)
				w.set(mask)
			}
			if !m.meet(w, in) {
				continue
			}
			m.warpWide(w, in)
		case opActive:
			for _, l := range lanes {
				w.r32[in.d.row][l&31] = mask
			}
		case opFence:
			if in.fence {
				m.fenced = true
			}
		case opNop:
		case opLoad:
			m.load(w, in, lanes)
		case opStore:
			m.store(w, in, lanes)
		case opAtom:
			m.atom(w, in, lanes)
		case opUnpack:
			m.unpack(w, in, lanes)
		case opMov32:
			d, a := &w.r32[in.d.row], &w.r32[in.a.row]
			for _, l := range lanes {
				d[l&31] = a[l&31]
			}
		case opMov64:
			d, a := &w.r64[in.d.row], &w.r64[in.a.row]
			for _, l := range lanes {
				d[l&31] = a[l&31]
			}
		case opAdd32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] + b[l&31]
			}
		case opSub32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] - b[l&31]
			}
		case opMul32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] * b[l&31]
			}
		case opMad32:
			d, a, b, c := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row], &w.r32[in.c.row]
			for _, l := range lanes {
				d[l&31] = a[l&31]*b[l&31] + c[l&31]
			}
		case opAnd32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] & b[l&31]
			}
		case opXor32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] ^ b[l&31]
			}
		case opShl32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] << b[l&31]
			}
		case opShr32:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] >> b[l&31]
			}
		case opAdd64:
			d, a, b := &w.r64[in.d.row], &w.r64[in.a.row], &w.r64[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] + b[l&31]
			}
		case opShl64:
			d, a, b := &w.r64[in.d.row], &w.r64[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = a[l&31] << b[l&31]
			}
		case opWideU32:
			d, a, b := &w.r64[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = uint64(a[l&31]) * uint64(b[l&31])
			}
		case opWideS32:
			d, a, b := &w.r64[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = uint64(int64(int32(a[l&31])) * int64(int32(b[l&31])))
			}
		case opExtU32:
			d, a := &w.r64[in.d.row], &w.r32[in.a.row]
			for _, l := range lanes {
				d[l&31] = uint64(a[l&31])
			}
		case opExtS32:
			d, a := &w.r64[in.d.row], &w.r32[in.a.row]
			for _, l := range lanes {
				d[l&31] = uint64(int64(int32(a[l&31])))
			}
		case opLow32:
			d, a := &w.r32[in.d.row], &w.r64[in.a.row]
			for _, l := range lanes {
				d[l&31] = uint32(a[l&31])
			}
		case opAddF:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = math.Float32bits(math.Float32frombits(a[l&31]) + math.Float32frombits(b[l&31]))
			}
		case opSubF:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = math.Float32bits(math.Float32frombits(a[l&31]) - math.Float32frombits(b[l&31]))
			}
		case opMulF:
			d, a, b := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row]
			for _, l := range lanes {
				d[l&31] = math.Float32bits(math.Float32frombits(a[l&31]) * math.Float32frombits(b[l&31]))
			}
		case opFmaF:
			d, a, b, c := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row], &w.r32[in.c.row]
			for _, l := range lanes {
				x, y, z := math.Float32frombits(a[l&31]), math.Float32frombits(b[l&31]), math.Float32frombits(c[l&31])
				s := float64(x)*float64(y) + float64(z) // the product is exact
				if u := math.Float64bits(s); u&0x1fffffff != 0x10000000 && u>>52&0x7ff > 897 || s == 0 {
					d[l&31] = math.Float32bits(float32(s))
				} else {
					d[l&31] = math.Float32bits(fma32(x, y, z))
				}
			}
		case opCmpS32:
			a, b := &w.r32[in.a.row], &w.r32[in.b.row]
			var p uint32
			for _, l := range lanes {
				x, y := int32(a[l&31]), int32(b[l&31])
				p |= uint32(in.mode>>order(x < y, x == y, true)&1) << (l & 31)
			}
			w.p[in.d.row] = w.p[in.d.row]&^mask | p
		case opCmpU32:
			a, b := &w.r32[in.a.row], &w.r32[in.b.row]
			var p uint32
			for _, l := range lanes {
				x, y := a[l&31], b[l&31]
				p |= uint32(in.mode>>order(x < y, x == y, true)&1) << (l & 31)
			}
			w.p[in.d.row] = w.p[in.d.row]&^mask | p
		case opCmpF32:
			a, b := &w.r32[in.a.row], &w.r32[in.b.row]
			var p uint32
			for _, l := range lanes {
				x, y := math.Float32frombits(a[l&31]), math.Float32frombits(b[l&31])
				p |= uint32(in.mode>>order(x < y, x == y, x > y)&1) << (l & 31)
			}
			w.p[in.d.row] = w.p[in.d.row]&^mask | p
		case opSelp32:
			d, a, b, p := &w.r32[in.d.row], &w.r32[in.a.row], &w.r32[in.b.row], w.p[in.c.row]
			for _, l := range lanes {
				if p>>(l&31)&1 != 0 {
					d[l&31] = a[l&31]
				} else {
					d[l&31] = b[l&31]
				}
			}
		default:
			m.compute(w, in, lanes)
		}
		if m.fault == nil {
			w.pc++
		}
	}
}

// order is the index into comparison.want.
func order(less, equal, greater bool) uint {
	switch {
	case less:
		return 0
	case equal:
		return 1
	case greater:
		return 2
	}
	return 3
}

// fetch reads a register's lanes.
func (w *warp) fetch(to *[32]uint64, r reg, lanes []uint8) {
	switch r.class {
	case 0:
	case 'p':
		p := w.p[r.row]
		for _, l := range lanes {
			to[l&31] = uint64(p >> (l & 31) & 1)
		}
	case 'd':
		a := &w.r64[r.row]
		for _, l := range lanes {
			to[l&31] = a[l&31]
		}
	default:
		a := &w.r32[r.row]
		for _, l := range lanes {
			to[l&31] = uint64(a[l&31])
		}
	}
}

// put writes one lane of a register.
func (w *warp) put(r reg, l uint8, v uint64) {
	switch r.class {
	case 0:
	case 'p':
		w.p[r.row] = w.p[r.row]&^(1<<(l&31)) | uint32(v&1)<<(l&31)
	case 'd':
		w.r64[r.row][l&31] = v
	case 'h':
		w.r32[r.row][l&31] = uint32(v) & 0xffff
	default:
		w.r32[r.row][l&31] = uint32(v)
	}
}

func (m *machine) compute(w *warp, in *instr, lanes []uint8) {
	w.fetch(&m.a, in.a, lanes)
	w.fetch(&m.b, in.b, lanes)
	w.fetch(&m.c, in.c, lanes)
	for _, l := range lanes {
		l &= 31
		if in.nonZero && m.b[l] == 0 {
			m.fail(w, int(l), "division by zero")
			return
		}
		v := in.f(m.a[l], m.b[l], m.c[l])
		if m.o.Perturb != 0 && in.ulps+in.abs > 0 {
			v = perturb(v, in, m.o.Perturb^m.a[l]<<32^m.b[l])
		}
		w.put(in.d, l, v)
		if in.e.class != 0 {
			w.put(in.e, l, v^1)
		}
	}
}

// perturb moves a float32 within the bound of its instruction.
func perturb(v uint64, in *instr, key uint64) uint64 {
	x := f32(v)
	if x == 0 || x-x != 0 { // 0, NaN and Inf are exact
		return v
	}
	key = (key ^ key>>31) * 0x9e3779b97f4a7c15 // splitmix64's finisher
	key = (key ^ key>>29) * 0xbf58476d1ce4e5b9
	u := float64(int64(key^key>>32)) / (1 << 63) // [-1,1)
	ulp := float64(math.Nextafter32(float32(math.Abs(float64(x))), math.MaxFloat32)) - math.Abs(float64(x))
	return b32(float32(float64(x) + u*(in.ulps*ulp+in.abs)))
}

func (m *machine) unpack(w *warp, in *instr, lanes []uint8) {
	w.fetch(&m.a, in.a, lanes)
	half := classBits(in.a.class) / 2
	for _, l := range lanes {
		w.put(in.d, l, m.a[l&31])
		w.put(in.e, l, m.a[l&31]>>half)
	}
}
