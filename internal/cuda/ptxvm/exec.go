package ptxvm

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Fault is what a kernel did that a GPU would not survive, or would answer
// differently from run to run.
type Fault struct {
	Kernel string
	Line   int    // of the PTX
	Text   string // the instruction
	Block  [3]int
	Thread [3]int
	Msg    string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("kernel %s, PTX line %d (%s), block %v, thread %v: %s", f.Kernel, f.Line, f.Text, f.Block, f.Thread, f.Msg)
}

// Options say how a launch runs. The zero value is one worker and all checks.
type Options struct {
	// Workers is how many blocks run at once; 0 is 1. With more, races between
	// blocks are not looked for.
	Workers int
	// Limit is how many warp instructions a block may execute before it is
	// taken for endless; 0 is 1e9.
	Limit int64
	// Perturb, where it is not 0, seeds errors of approximate instructions:
	// each result moves by a hash of its operand, at most by the PTX ISA's
	// bound. Without it they are correctly rounded.
	Perturb uint64
	// Reverse runs the warps of a block, and so their atomics, last to first.
	Reverse bool
}

// Stats counts what a launch did.
type Stats struct {
	WarpInstructions int64
	Instructions     int64 // of lanes
	Barriers         int64 // that blocks passed
	FloatAtomics     int64 // of lanes: their order, so their sum, differs from run to run on a device
}

// Add adds another launch's.
func (s *Stats) Add(o Stats) {
	s.WarpInstructions += o.WarpInstructions
	s.Instructions += o.Instructions
	s.Barriers += o.Barriers
	s.FloatAtomics += o.FloatAtomics
}

// Threads is how many threads a block may have.
func (k *Kernel) Threads() int {
	if k.MaxThreads[0] > 0 {
		return k.MaxThreads[0] * k.MaxThreads[1] * k.MaxThreads[2]
	}
	return 1024
}

// Check says what is wrong with a launch of such sizes, if anything.
func (k *Kernel) Check(grid, block [3]int, dynamic, args int) error {
	threads, blocks := 1, 1
	for i, n := range block {
		if n < 1 || n > [3]int{1024, 1024, 64}[i] {
			return fmt.Errorf("ptxvm: %s: block %v", k.Name, block)
		}
		threads *= n
	}
	for i, n := range grid {
		if n < 1 || n > [3]int{math.MaxInt32, 65535, 65535}[i] || blocks > math.MaxInt32/n {
			return fmt.Errorf("ptxvm: %s: grid %v", k.Name, grid)
		}
		blocks *= n
	}
	switch {
	case threads > k.Threads() || k.exact && block != k.MaxThreads:
		return fmt.Errorf("ptxvm: %s: block of %v threads, its bounds say %v", k.Name, block, k.MaxThreads)
	case args != k.ParamSize:
		return fmt.Errorf("ptxvm: %s: %d bytes of arguments, want %d", k.Name, args, k.ParamSize)
	case dynamic < 0 || k.Shared+dynamic > 227<<10:
		return fmt.Errorf("ptxvm: %s: %d bytes of shared memory, at most %d", k.Name, k.Shared+dynamic, 227<<10)
	case dynamic > 0 && !k.dynamic:
		return fmt.Errorf("ptxvm: %s: %d bytes of dynamic shared memory, but it declares none", k.Name, dynamic)
	}
	return nil
}

// Run executes the kernel over grid blocks of block threads, each with that
// much dynamic shared memory. args are the bytes of its parameters. The error
// is a *Fault where the kernel is at fault; memory is then as the fault left it.
func (k *Kernel) Run(mem *Memory, grid, block [3]int, dynamic int, args []byte, o Options) (Stats, error) {
	if err := k.Check(grid, block, dynamic, len(args)); err != nil {
		return Stats{}, err
	}
	blocks := grid[0] * grid[1] * grid[2]
	if o.Limit == 0 {
		o.Limit = 1e9
	}
	workers := min(max(o.Workers, 1), blocks)
	mem.mu.Lock()
	vars := make([]uint64, len(k.module.vars))
	for i := range k.module.vars {
		vars[i] = mem.variable(k.module, i).base
	}
	if mem.stamp > 1<<30 { // new stamps would be taken for old ones
		for _, a := range mem.allocs {
			a.cells = nil
		}
		mem.stamp = 0
	}
	launch := mem.stamp + 1
	mem.mu.Unlock()

	var (
		next  atomic.Int64
		stop  atomic.Bool
		wg    sync.WaitGroup
		mu    sync.Mutex
		total Stats
		first error
		at    = blocks
	)
	work := func() {
		m := newMachine(k, mem, grid, block, dynamic, args, o, vars)
		m.launch, m.races, m.locked = launch, workers == 1, workers > 1
		for !stop.Load() {
			b := int(next.Add(1)) - 1
			if b >= blocks {
				break
			}
			if err := m.block(b); err != nil {
				stop.Store(true)
				mu.Lock()
				if b < at {
					first, at = err, b
				}
				mu.Unlock()
			}
		}
		mu.Lock()
		total.Add(m.stats)
		mu.Unlock()
	}
	if workers == 1 {
		work()
		return total, first
	}
	for range workers {
		wg.Go(work)
	}
	wg.Wait()
	return total, first
}

// moduleVar is a module's variable that has memory.
type moduleVar struct {
	m *Module
	i int
}

// variable returns the memory of a module's variable; the caller holds mu.
func (m *Memory) variable(mod *Module, i int) *alloc {
	key := moduleVar{mod, i}
	if a := m.vars[key]; a != nil {
		return a
	}
	v := mod.vars[i]
	a := m.add(max(v.size, 1))
	m.used -= int64(max(v.size, 1))
	if v.init != nil {
		copy(a.data, v.init)
	}
	fill(a.known, 1) // variables without an initial value are 0
	a.readOnly = v.space == ".const"
	a.variable = true
	if m.vars == nil {
		m.vars = map[moduleVar]*alloc{}
	}
	m.vars[key] = a
	return a
}

// Unload frees the variables of a module.
func (m *Memory) Unload(mod *Module) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.allocs[:0]
	for _, a := range m.allocs {
		mine := false
		for i := range mod.vars {
			mine = mine || m.vars[moduleVar{mod, i}] == a
		}
		if !mine {
			kept = append(kept, a)
		}
	}
	clear(m.allocs[len(kept):])
	m.allocs = kept
	for i := range mod.vars {
		delete(m.vars, moduleVar{mod, i})
	}
}

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
		case opLtS32:
			a, b := &w.r32[in.a.row], &w.r32[in.b.row]
			var p uint32
			for _, l := range lanes {
				if int32(a[l&31]) < int32(b[l&31]) {
					p |= 1 << (l & 31)
				}
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

// Kinds of access.
const (
	reading = iota
	writing
	updating // atomically
)

// touch checks an access of n bytes at addr by a lane and returns the bytes.
// race is an access that it races with, or 0: for a write the caller decides,
// since two that write the same value do no harm.
func (m *machine) touch(w *warp, in *instr, l uint8, addr uint64, n int, kind int) (data []byte, race stamp) {
	if addr&uint64(n-1) != 0 {
		m.fail(w, int(l), "misaligned access of %d bytes at %#x", n, addr)
		return nil, 0
	}
	sp := in.space
	if sp == generic {
		switch addr >> 40 {
		case sharedBase >> 40:
			sp, addr = shared, addr-sharedBase
		case localBase >> 40:
			sp, addr = local, addr-localBase
		case paramBase >> 40:
			sp, addr = param, addr-paramBase
		default:
			sp = global
		}
	}
	var known []byte
	switch sp {
	case global:
		a := m.cache[w.pc]
		if a == nil || addr-a.base > uint64(len(a.data)-n) || len(a.data) < n {
			a = m.mem.find(addr)
			if a == nil || addr-a.base > uint64(len(a.data)-n) || len(a.data) < n {
				m.fail(w, int(l), "outside of global memory: %s", m.mem.where(addr, n))
				return nil, 0
			}
			m.cache[w.pc] = a
		}
		if a.readOnly && kind != reading {
			m.fail(w, int(l), "write to constant memory at %#x", addr)
			return nil, 0
		}
		off := int(addr - a.base)
		data, known = a.data[off:off+n:off+n], a.known[off:off+n]
		if m.races && !a.readOnly {
			if a.cells == nil {
				a.cells = make([]cell, len(a.data)>>2+1)
			}
			// Neighbours within 4 bytes belong to different threads often enough.
			if n >= 4 {
				race = m.mark(w, in, l, a.cells[off>>2:(off+n)>>2], kind, m.launch)
			}
		}
	case shared:
		if addr > uint64(len(m.shared)) || int(addr)+n > len(m.shared) {
			m.fail(w, int(l), "outside of shared memory: %d bytes at %d of %d", n, int64(addr), len(m.shared))
			return nil, 0
		}
		off := int(addr)
		data, known = m.shared[off:off+n:off+n], m.sharedKnown[off:off+n]
		race = m.mark(w, in, l, m.sharedCells[off>>m.shift:(off+n)>>m.shift], kind, m.first)
	case local:
		if addr > uint64(m.k.Local) || int(addr)+n > m.k.Local {
			m.fail(w, int(l), "outside of local memory: %d bytes at %d of %d", n, int64(addr), m.k.Local)
			return nil, 0
		}
		off := (32*w.id+int(l))*m.k.Local + int(addr)
		data, known = m.local[off:off+n:off+n], m.localKnown[off:off+n]
	default:
		if addr > uint64(len(m.args)) || int(addr)+n > len(m.args) || kind != reading {
			m.fail(w, int(l), "outside of the parameters: %d bytes at %d of %d", n, int64(addr), len(m.args))
			return nil, 0
		}
		return m.args[addr : int(addr)+n], 0
	}
	if n == 4 && kind == reading && binary.LittleEndian.Uint32(known) == 0x01010101 {
		return data, race
	}
	for i, k := range known {
		switch {
		case k == gap:
			m.fail(w, int(l), "outside of a variable in shared memory: byte %d of %d", i, n)
			return nil, 0
		case k == unwritten && kind != writing:
			m.fail(w, int(l), "reads %s memory that nobody wrote: byte %d of %d at %#x", spaceNames[sp], i, n, addr)
			return nil, 0
		}
		known[i] = written
	}
	return data, race
}

// mark notes an access in its cells and returns one that it races with, or 0.
func (m *machine) mark(w *warp, in *instr, l uint8, cells []cell, kind int, launch uint32) stamp {
	var race stamp
	s := newStamp(m.now, 32*w.id+int(l), w.epoch, in.relaxed)
	if len(cells) == 1 && kind == reading {
		return cells[0].read(s, launch, m.first, m.acquired)
	}
	for i := range cells {
		var r stamp
		if kind == reading {
			r = cells[i].read(s, launch, m.first, m.acquired)
		} else {
			r = cells[i].write(s, launch, m.first, m.acquired)
		}
		if r != 0 {
			race = r
		}
	}
	return race
}

// raced reports a race.
func (m *machine) raced(w *warp, l uint8, what string, s stamp) {
	who := "another block"
	if s.interval() >= m.first && s.interval() <= m.now && s.kind() != manyBlocks {
		who = fmt.Sprintf("thread %v", m.thread(m.warps[s.thread()/32], s.thread()%32))
	}
	m.fail(w, int(l), "race: %s with %s since the last barrier", what, who)
}

func (m *machine) load(w *warp, in *instr, lanes []uint8) {
	w.fetch(&w.addr, in.a, lanes)
	size := int(in.size)
	n := size * int(in.vec)
	base := newStamp(m.now, 32*w.id, w.epoch, in.relaxed)
	a := m.cache[w.pc]
	for _, l := range lanes {
		// The same as touch does, for what most loads are.
		addr := w.addr[l&31] + in.off
		if n == 4 && addr&3 == 0 && in.v[0].class == 'w' {
			row := &w.r32[in.v[0].row]
			switch {
			case in.space == shared && addr < uint64(len(m.shared)) && addr+4 <= uint64(len(m.shared)) && m.shift == 2 && binary.LittleEndian.Uint32(m.sharedKnown[addr:]) == 0x01010101 &&
				m.sharedCells[addr>>2].read(base+stamp(l)<<19, m.first, m.first, m.acquired) == 0:
				row[l&31] = binary.LittleEndian.Uint32(m.shared[addr:])
				continue
			case in.space == global && a != nil && addr >= a.base && addr-a.base+4 <= uint64(len(a.data)) && binary.LittleEndian.Uint32(a.known[addr-a.base:]) == 0x01010101 &&
				(!m.races || a.cells != nil && a.cells[(addr-a.base)>>2].read(base+stamp(l)<<19, m.launch, m.first, m.acquired) == 0):
				row[l&31] = binary.LittleEndian.Uint32(a.data[addr-a.base:])
				continue
			}
		}
		data, race := m.touch(w, in, l, addr, n, reading)
		if m.fault != nil {
			return
		}
		if race != 0 {
			m.raced(w, l, "reads what was written", race)
			return
		}
		if size == 4 && in.v[0].class == 'w' {
			for i := range int(in.vec) {
				w.r32[in.v[i&3].row][l&31] = binary.LittleEndian.Uint32(data[4*i:])
			}
			continue
		}
		for i := range int(in.vec) {
			v := word(data[i*size:], size)
			if in.signed {
				s := 64 - 8*size
				v = uint64(int64(v<<s) >> s)
			}
			w.put(in.v[i&3], l, v)
		}
	}
}

func word(b []byte, size int) uint64 {
	switch size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func putWord(b []byte, size int, v uint64) {
	switch size {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

func (w *warp) get(r reg, l uint8) uint64 {
	if r.class == 'd' {
		return w.r64[r.row][l&31]
	}
	return uint64(w.r32[r.row][l&31])
}

func (m *machine) store(w *warp, in *instr, lanes []uint8) {
	w.fetch(&w.addr, in.a, lanes)
	size := int(in.size)
	n := size * int(in.vec)
	for _, l := range lanes {
		data, race := m.touch(w, in, l, w.addr[l&31]+in.off, n, writing)
		if m.fault != nil {
			return
		}
		var old [16]byte
		if race != 0 {
			copy(old[:], data)
		}
		for i := range int(in.vec) {
			putWord(data[i*size:], size, w.get(in.v[i&3], l))
		}
		if race != 0 && string(old[:n]) != string(data) {
			m.raced(w, l, "writes what was read or written", race)
			return
		}
	}
}

func (m *machine) atom(w *warp, in *instr, lanes []uint8) {
	w.fetch(&w.addr, in.a, lanes)
	w.fetch(&m.b, in.b, lanes)
	w.fetch(&m.c, in.c, lanes)
	if m.locked {
		m.mem.mu.Lock()
		defer m.mem.mu.Unlock()
	}
	size := int(in.size)
	for _, l := range lanes {
		l &= 31
		data, race := m.touch(w, in, l, w.addr[l]+in.off, size, updating)
		if m.fault != nil {
			return
		}
		if race != 0 {
			m.raced(w, l, "updates what was read or written", race)
			return
		}
		old := word(data, size)
		putWord(data, size, in.f(old, m.b[l], m.c[l]))
		w.put(in.d, l, old)
	}
	if m.fenced || in.fence {
		m.acquired = true
	}
	if in.float {
		m.stats.FloatAtomics += int64(len(lanes))
	}
}
