package ptxvm

import (
	"fmt"
	"math"
	"math/bits"
)

type group struct {
	pc   int32
	mask uint32
}

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

// machine runs blocks, one after another.
type machine struct {
	k       *Kernel
	mem     *Memory
	grid    [3]int
	dim     [3]int
	threads int
	args    []byte
	o       Options
	vars    []uint64
	launch  uint32 // the launch's first interval
	first   uint32 // the block's
	now     uint32
	races   bool // look for races between blocks
	locked  bool // other machines run
	at      [3]int
	index   int

	shared, sharedKnown []byte
	sharedCells         []cell
	shift               uint // bytes of a shared cell, log2
	local, localKnown   []byte
	warps               []*warp
	cache               []*alloc // per instruction
	stats               Stats
	fenced, acquired    bool
	left                int64
	fault               error
	a, b, c             [32]uint64
}

const (
	unwritten = iota
	written
	gap
)

func newMachine(k *Kernel, mem *Memory, grid, dim [3]int, dynamic int, args []byte, o Options, vars []uint64) *machine {
	m := &machine{k: k, mem: mem, grid: grid, dim: dim, threads: dim[0] * dim[1] * dim[2], args: args, o: o, vars: vars, shift: 2}
	if k.fine {
		m.shift = 0
	}
	m.shared = make([]byte, k.arena+dynamic)
	m.sharedKnown = make([]byte, len(m.shared))
	m.sharedCells = make([]cell, len(m.shared)>>m.shift+1)
	m.local = make([]byte, k.Local*m.threads)
	m.localKnown = make([]byte, len(m.local))
	m.cache = make([]*alloc, len(k.code))
	for id := range (m.threads + 31) / 32 {
		m.warps = append(m.warps, &warp{id: id, r32: make([][32]uint32, k.rows32), r64: make([][32]uint64, k.rows64), p: make([]uint32, k.preds)})
	}
	return m
}

func (m *machine) interval() uint32 {
	m.mem.mu.Lock()
	defer m.mem.mu.Unlock()
	m.mem.stamp++
	return m.mem.stamp
}

// block runs block number b to its end.
func (m *machine) block(b int) error {
	m.index = b
	m.at = [3]int{b % m.grid[0], b / m.grid[0] % m.grid[1], b / m.grid[0] / m.grid[1]}
	clear(m.sharedKnown)
	for _, g := range m.k.gaps {
		fill(m.sharedKnown[g.off:g.end], gap)
	}
	clear(m.localKnown)
	m.first = m.interval()
	m.now = m.first
	m.fenced, m.acquired = false, false
	m.left = m.o.Limit
	for _, w := range m.warps {
		m.start(w)
	}
	for {
		running := false
		for i := range m.warps {
			w := m.warps[i]
			if m.o.Reverse {
				w = m.warps[len(m.warps)-1-i]
			}
			if w.mask == 0 {
				continue
			}
			m.run(w, 1<<14)
			if m.fault != nil {
				return m.fault
			}
			running = running || w.mask != 0
		}
		if running {
			continue
		}
		if done, err := m.barrier(); done || err != nil {
			return err
		}
	}
}

// start puts a warp at the kernel's first instruction.
func (m *machine) start(w *warp) {
	clear(w.r32)
	clear(w.r64)
	clear(w.p)
	for _, c := range m.k.constants {
		v := c.value
		if c.global > 0 {
			v += m.vars[c.global-1]
		}
		switch c.reg.class {
		case 'p':
			w.p[c.reg.row] = -uint32(v)
		case 'd':
			for l := range 32 {
				w.r64[c.reg.row][l] = v
			}
		default:
			for l := range 32 {
				w.r32[c.reg.row][l] = uint32(v)
			}
		}
	}
	for _, s := range m.k.specials {
		for l := range 32 {
			w.r32[s.reg.row][l] = m.special(s.name, w, l)
		}
	}
	w.live = uint32(uint64(1)<<min(m.threads-32*w.id, 32) - 1)
	w.ready, w.stalled, w.barred, w.epoch = w.ready[:0], w.stalled[:0], group{}, 0
	w.pc, w.next = 0, math.MaxInt32
	w.set(w.live)
}

// thread returns the coordinates of a lane.
func (m *machine) thread(w *warp, lane int) [3]int {
	t := 32*w.id + lane
	return [3]int{t % m.dim[0], t / m.dim[0] % m.dim[1], t / m.dim[0] / m.dim[1]}
}

func (m *machine) special(name string, w *warp, lane int) uint32 {
	t := m.thread(w, lane)
	axis := int(name[len(name)-1] - 'x')
	switch name {
	case "%tid.x", "%tid.y", "%tid.z":
		return uint32(t[axis])
	case "%ntid.x", "%ntid.y", "%ntid.z":
		return uint32(m.dim[axis])
	case "%ctaid.x", "%ctaid.y", "%ctaid.z":
		return uint32(m.at[axis])
	case "%nctaid.x", "%nctaid.y", "%nctaid.z":
		return uint32(m.grid[axis])
	case "%laneid":
		return uint32(lane)
	case "%warpid":
		return uint32(w.id)
	case "%nwarpid":
		return uint32(len(m.warps))
	case "%lanemask_eq":
		return 1 << lane
	case "%lanemask_le":
		return 2<<lane - 1
	case "%lanemask_lt":
		return 1<<lane - 1
	case "%lanemask_ge":
		return -(1 << lane)
	case "%lanemask_gt":
		return -(2 << lane)
	case "%dynamic_smem_size":
		return uint32(len(m.shared) - m.k.arena)
	case "%total_smem_size":
		return uint32(len(m.shared) - m.k.arena + m.k.Shared)
	}
	panic("ptxvm: special register " + name)
}

// barrier is where no warp can run on: the block is done, all its threads
// wait at one barrier, or they never will.
func (m *machine) barrier() (done bool, err error) {
	var at *warp
	for _, w := range m.warps {
		if w.barred.mask != 0 {
			at = w
		}
	}
	if at == nil {
		return true, nil
	}
	pc := at.barred.pc
	for _, w := range m.warps {
		all := uint32(uint64(1)<<min(m.threads-32*w.id, 32) - 1)
		var lost uint32
		why := ""
		switch {
		case w.barred.mask != 0 && w.barred.pc != pc:
			lost, why = w.barred.mask, fmt.Sprintf("waits at another, PTX line %d", m.k.source[w.barred.pc].line)
		case w.barred.mask != all:
			lost, why = all&^w.barred.mask, "has ended"
		default:
			continue
		}
		return false, m.failure(at, bits.TrailingZeros32(at.barred.mask), pc,
			"divergent barrier: thread %v %s", m.thread(w, bits.TrailingZeros32(lost)), why)
	}
	m.stats.Barriers++
	m.now = m.interval()
	for _, w := range m.warps {
		w.pc, w.epoch, w.next = w.barred.pc+1, 0, math.MaxInt32
		w.set(w.barred.mask)
		w.barred = group{}
	}
	return false, nil
}

func (m *machine) failure(w *warp, lane int, pc int32, format string, args ...any) error {
	s := &m.k.source[pc]
	return &Fault{Kernel: m.k.Name, Line: s.line, Text: s.text(), Block: m.at, Thread: m.thread(w, lane), Msg: fmt.Sprintf(format, args...)}
}

func (m *machine) fail(w *warp, lane int, format string, args ...any) {
	if m.fault == nil {
		m.fault = m.failure(w, lane, w.pc, format, args...)
	}
}

// set makes mask the current group.
func (w *warp) set(mask uint32) {
	w.mask = mask
	w.lanes = list(mask, &w.buf)
}

func list(mask uint32, buf *[32]uint8) []uint8 {
	n := 0
	for ; mask != 0; mask &= mask - 1 {
		buf[n&31] = uint8(bits.TrailingZeros32(mask))
		n++
	}
	return buf[:n]
}

// pick makes the group that is furthest behind the current one, together with
// others at the same place. Without any, mask becomes 0.
func (w *warp) pick() {
	if w.mask != 0 {
		w.ready = append(w.ready, group{w.pc, w.mask})
	}
	if len(w.ready) == 0 {
		w.next = math.MaxInt32
		w.set(0)
		return
	}
	pc := int32(math.MaxInt32)
	for _, g := range w.ready {
		pc = min(pc, g.pc)
	}
	var mask uint32
	next := int32(math.MaxInt32)
	rest := w.ready[:0]
	for _, g := range w.ready {
		if g.pc == pc {
			mask |= g.mask
			continue
		}
		rest = append(rest, g)
		next = min(next, g.pc)
	}
	w.ready, w.pc, w.next = rest, pc, next
	w.set(mask)
}

// park takes the current group out of those that run.
func (w *warp) park() group {
	g := group{w.pc, w.mask}
	w.mask = 0
	w.pick()
	return g
}

// meet says whether all lanes that mask c names for the warp-wide instruction
// at pc are here; it stalls the group where they are not.
func (m *machine) meet(w *warp, in *instr) bool {
	for i, g := range w.stalled { // those that came before
		if g.pc == w.pc {
			w.stalled = append(w.stalled[:i], w.stalled[i+1:]...)
			w.set(w.mask | g.mask)
			break
		}
	}
	if m.complete(w, in, w.mask) {
		return true
	}
	if m.fault == nil {
		w.stalled = append(w.stalled, w.park())
	}
	return false
}

func (m *machine) complete(w *warp, in *instr, mask uint32) bool {
	members := &w.r32[in.c.row]
	for rest := mask; rest != 0; rest &= rest - 1 {
		l := bits.TrailingZeros32(rest)
		if members[l]>>l&1 == 0 {
			m.fail(w, l, "lane %d is not in its own member mask %#x", l, members[l])
			return false
		}
		if members[l]&w.live&^mask != 0 {
			return false
		}
	}
	return true
}

// unstall is where every group of the warp waits: one of those that wait for
// lanes may go on since these have ended.
func (m *machine) unstall(w *warp) {
	for i, g := range w.stalled {
		in := &m.k.code[g.pc]
		w.pc = g.pc
		if m.complete(w, in, g.mask) {
			w.stalled = append(w.stalled[:i], w.stalled[i+1:]...)
			w.set(g.mask)
			return
		}
		if m.fault != nil {
			return
		}
	}
	g := w.stalled[0]
	l := bits.TrailingZeros32(g.mask)
	missing := w.r32[m.k.code[g.pc].c.row][l] & w.live &^ g.mask
	where := "elsewhere"
	if w.barred.mask&missing != 0 {
		where = fmt.Sprintf("at the barrier of PTX line %d", m.k.source[w.barred.pc].line)
	}
	m.fail(w, l, "waits for lanes %#x of its member mask, which wait %s", missing, where)
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

// warpWide executes an instruction over all lanes of the current group, whose
// members are all here.
func (m *machine) warpWide(w *warp, in *instr) {
	members := &w.r32[in.c.row]
	switch in.op {
	case opWarpBar:
		w.epoch++
	case opShfl:
		m.shuffle(w, in)
	case opVote:
		p := w.p[in.a.row]
		if in.signed {
			p = ^p
		}
		for _, l := range w.lanes {
			all := members[l] & w.mask
			switch in.mode {
			case voteAll:
				w.put(in.d, l, bit(p&all == all))
			case voteAny:
				w.put(in.d, l, bit(p&all != 0))
			case voteUni:
				w.put(in.d, l, bit(p&all == 0 || p&all == all))
			case voteBallot:
				w.r32[in.d.row][l] = p & all
			}
		}
	case opRedux:
		w.fetch(&m.a, in.a, w.lanes)
		for _, l := range w.lanes {
			var v uint64
			started := false
			for rest := members[l] & w.mask; rest != 0; rest &= rest - 1 {
				x := m.a[bits.TrailingZeros32(rest)]
				if started {
					x = in.f(v, x, 0)
				}
				v, started = uint64(uint32(x)), true
			}
			w.put(in.d, l, v)
		}
	}
}

// shuffle is shfl.sync (PTX ISA, "Data Movement: shfl.sync"): c[4:0] bounds the
// lane that is read, c[12:8] cuts the warp into segments.
func (m *machine) shuffle(w *warp, in *instr) {
	w.fetch(&m.a, in.a, list(^uint32(0), &w.guarded))
	members, bs, cs := &w.r32[in.c.row], &w.r32[in.b.row], &w.r32[in.v[0].row]
	var out [32]uint32
	var valid uint32
	for _, l := range w.lanes {
		lane, b, cval := int(l), int(bs[l]&31), cs[l]
		segment := int(cval >> 8 & 31)
		limit := lane&segment | int(cval&31)&^segment
		low := lane & segment
		from, ok := 0, false
		switch in.mode {
		case shflUp:
			from = lane - b
			ok = from >= limit
		case shflDown:
			from = lane + b
			ok = from <= limit
		case shflBfly:
			from = lane ^ b
			ok = from <= limit
		default:
			from = low | b&^segment
			ok = from <= limit
		}
		if !ok {
			from = lane
		} else {
			valid |= 1 << lane
		}
		if members[l]&w.mask>>from&1 == 0 {
			m.fail(w, lane, "reads lane %d, which takes no part (member mask %#x, lanes here %#x)", from, members[l], w.mask)
			return
		}
		out[l] = uint32(m.a[from])
	}
	for _, l := range w.lanes {
		w.r32[in.d.row][l] = out[l]
	}
	if in.e.class != 0 {
		w.p[in.e.row] = w.p[in.e.row]&^w.mask | valid
	}
}
