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
