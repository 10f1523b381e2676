// Package ptxvm executes PTX, the assembly of NVIDIA GPUs, on the CPU, and checks
// every access on the way: data races, misaligned addresses, reads of unwritten
// memory and kernels that do not end are errors that name the PTX line.
package ptxvm

import (
	"fmt"
	"math"
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
