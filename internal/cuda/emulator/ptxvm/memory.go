package ptxvm

import (
	"fmt"
	"slices"
	"sort"
	"sync"
)

// Memory is a device's global memory. Addresses are never used twice, and
// allocations lie apart, so that what misses one hits none.
type Memory struct {
	mu     sync.Mutex
	allocs []*alloc // by address
	next   uint64
	used   int64
	stamp  uint32 // the last barrier interval given to a block
	vars   map[moduleVar]*alloc
}

// alloc is one allocation. Of each byte it knows whether it was written.
type alloc struct {
	base     uint64
	data     []byte
	known    []byte // 1: written
	cells    []cell // of each 4 bytes who touched it; made by the first launch that checks
	readOnly bool   // .const
	variable bool   // of a module
}

const (
	globalBase = 0x7000_0000_0000
	sharedBase = 0x0100_0000_0000 // generic addresses of shared memory
	localBase  = 0x0200_0000_0000
	paramBase  = 0x0300_0000_0000
	windowSize = 1 << 32
	guard      = 4096
)

// Alloc returns n unwritten bytes, 256-byte aligned.
func (m *Memory) Alloc(n int) (uint64, error) {
	if n < 1 || n > 1<<36 {
		return 0, fmt.Errorf("ptxvm: alloc: %d bytes", n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(n).base, nil
}

// add appends an allocation; the caller holds mu.
func (m *Memory) add(n int) *alloc {
	if m.next == 0 {
		m.next = globalBase
	}
	a := &alloc{base: m.next, data: make([]byte, n), known: make([]byte, n)}
	m.next = (m.next + uint64(n) + guard + 255) &^ 255
	m.allocs = append(m.allocs, a)
	m.used += int64(n)
	return a
}

// Free gives an allocation back; addr is what Alloc returned.
func (m *Memory) Free(addr uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, a := range m.allocs {
		if a.base == addr && !a.variable {
			m.allocs = slices.Delete(m.allocs, i, i+1)
			m.used -= int64(len(a.data))
			return nil
		}
	}
	return fmt.Errorf("ptxvm: free: %#x is no allocation", addr)
}

// Used returns the bytes allocated now.
func (m *Memory) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// find returns the allocation that holds addr, or nil.
func (m *Memory) find(addr uint64) *alloc {
	i := sort.Search(len(m.allocs), func(i int) bool { return m.allocs[i].base > addr }) - 1
	if i < 0 || addr-m.allocs[i].base >= uint64(len(m.allocs[i].data)) {
		return nil
	}
	return m.allocs[i]
}

// where describes an address that an access of n bytes at it does not get.
func (m *Memory) where(addr uint64, n int) string {
	i := sort.Search(len(m.allocs), func(i int) bool { return m.allocs[i].base > addr }) - 1
	if i >= 0 {
		a := m.allocs[i]
		if off := addr - a.base; off < uint64(len(a.data))+guard {
			return fmt.Sprintf("%d bytes at %#x: offset %d of an allocation of %d bytes", n, addr, off, len(a.data))
		}
	}
	if i+1 < len(m.allocs) {
		if a := m.allocs[i+1]; a.base-addr < guard {
			return fmt.Sprintf("%d bytes at %#x: %d before an allocation of %d bytes", n, addr, a.base-addr, len(a.data))
		}
	}
	return fmt.Sprintf("%d bytes at %#x: in no allocation", n, addr)
}

func (m *Memory) span(op string, addr uint64, n int) (*alloc, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.find(addr)
	if n < 0 || a == nil || addr-a.base+uint64(n) > uint64(len(a.data)) {
		return nil, 0, fmt.Errorf("ptxvm: %s: %s", op, m.where(addr, n))
	}
	return a, addr - a.base, nil
}

// Holds errors where no allocation holds n bytes at addr.
func (m *Memory) Holds(addr uint64, n int) error {
	_, _, err := m.span("copy", addr, n)
	return err
}

// Write copies b to the device.
func (m *Memory) Write(addr uint64, b []byte) error {
	a, off, err := m.span("write", addr, len(b))
	if err != nil {
		return err
	}
	copy(a.data[off:], b)
	fill(a.known[off:off+uint64(len(b))], 1)
	return nil
}

// Read copies from the device to b. It errors where b covers
// unwritten bytes.
func (m *Memory) Read(b []byte, addr uint64) error {
	a, off, err := m.span("read", addr, len(b))
	if err != nil {
		return err
	}
	if i := slices.Index(a.known[off:off+uint64(len(b))], 0); i >= 0 {
		return fmt.Errorf("ptxvm: read: byte %d of %d at %#x was never written", i, len(b), addr)
	}
	copy(b, a.data[off:])
	return nil
}

// Copy copies n bytes within the device; what was unknown stays so.
func (m *Memory) Copy(dst, src uint64, n int) error {
	d, do, err := m.span("copy to", dst, n)
	if err != nil {
		return err
	}
	s, so, err := m.span("copy from", src, n)
	if err != nil {
		return err
	}
	copy(d.data[do:do+uint64(n)], s.data[so:])
	copy(d.known[do:do+uint64(n)], s.known[so:])
	return nil
}

// Zero writes n zero bytes.
func (m *Memory) Zero(addr uint64, n int) error {
	a, off, err := m.span("zero", addr, n)
	if err != nil {
		return err
	}
	clear(a.data[off : off+uint64(n)])
	fill(a.known[off:off+uint64(n)], 1)
	return nil
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// A stamp says who touched a cell: the barrier interval of a block, the thread,
// how many warp barriers that thread's warp had passed, and whether it was
// atomic. Intervals are numbered through, so that one number tells the launch
// and the block too.
//
//	interval 32 | kind 2 | atomic 1 | thread 10 | warp barriers 19
type stamp uint64

// Kinds of readers in a stamp.
const (
	oneThread  = iota // the thread of the stamp
	oneWarp           // several threads of its warp
	manyWarps         // of its block
	manyBlocks        // of the launch
)

const warpEpochs = 1<<19 - 1

func newStamp(interval uint32, thread int, warpEpoch uint32, atomic bool) stamp {
	s := stamp(interval)<<32 | stamp(thread)<<19 | stamp(min(warpEpoch, warpEpochs))
	if atomic {
		s |= 1 << 29
	}
	return s
}

func (s stamp) interval() uint32  { return uint32(s >> 32) }
func (s stamp) kind() int         { return int(s >> 30 & 3) }
func (s stamp) atomic() bool      { return s>>29&1 != 0 }
func (s stamp) thread() int       { return int(s >> 19 & 1023) }
func (s stamp) warpEpoch() uint32 { return uint32(s & warpEpochs) }

// cell is who wrote and who read a few bytes of memory last.
type cell struct{ w, r stamp }

// How an earlier access relates to a new one.
const (
	past      = iota // another launch, or an ordered access of this block
	same             // the same thread
	inWarp           // unordered, same warp
	inBlock          // unordered, same block
	inLaunch         // another block
	notOrders = inWarp
)

// relation says how the access stamped s relates to a new one stamped n, by a
// block whose first interval is block in a launch whose first is launch.
func (s stamp) relation(n stamp, launch, block uint32) int {
	switch i := s.interval(); {
	case s == 0 || i < launch:
		return past
	case i < block || i > n.interval():
		return inLaunch
	case i != n.interval():
		return past
	case s.thread() == n.thread() && s.kind() == oneThread:
		return same
	case s.kind() == manyWarps || s.thread()>>5 != n.thread()>>5:
		return inBlock
	case s.warpEpoch() < n.warpEpoch():
		return past
	}
	return inWarp
}

// read notes a read and returns the write that it races with, or 0. acquired
// says that this block waited for others by an atomic and a fence.
func (c *cell) read(n stamp, launch, block uint32, acquired bool) stamp {
	now := n.interval()
	if w := c.w.interval(); w < now && (w >= block || w < launch) && !n.atomic() { // as nearly always
		switch r := c.r.interval(); {
		case c.r == n, r == now && c.r.kind() == manyWarps:
			return 0
		case r < now && (r >= block && c.r.kind() != manyBlocks || r < launch):
			c.r = n
			return 0
		}
	}
	var race stamp
	if rel := c.w.relation(n, launch, block); rel >= notOrders && !(c.w.atomic() && n.atomic()) && !(rel == inLaunch && acquired) {
		race = c.w
	}
	if n.atomic() {
		return race
	}
	if c.r.kind() == manyBlocks && c.r.interval() >= launch {
		return race
	}
	switch c.r.relation(n, launch, block) {
	case past, same:
		c.r = n
	case inWarp:
		c.r = n&^(3<<30) | oneWarp<<30
	case inBlock:
		c.r = n&^(3<<30) | manyWarps<<30
	case inLaunch:
		c.r = n | manyBlocks<<30
	}
	return race
}

// write notes a write and returns the access that it races with, or 0.
func (c *cell) write(n stamp, launch, block uint32, acquired bool) stamp {
	var race stamp
	if rel := c.w.relation(n, launch, block); rel >= notOrders && !(c.w.atomic() && n.atomic()) && !(rel == inLaunch && acquired) {
		race = c.w
	}
	if c.r.kind() == manyBlocks && c.r.interval() >= launch && !acquired {
		race = c.r
	} else if rel := c.r.relation(n, launch, block); rel >= notOrders && !(rel == inLaunch && acquired) {
		race = c.r
	}
	c.w = n
	return race
}
