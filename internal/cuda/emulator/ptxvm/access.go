package ptxvm

import (
	"encoding/binary"
	"fmt"
)

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
		case kind == writing: // others may be reading what is known
			known[i] = written
		}
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

// quick is a load of words where nothing is wrong, which is what touch finds
// nearly always; it returns false where touch has to look.
func (m *machine) quick(w *warp, in *instr, a *alloc, l uint8, addr uint64, n int, s stamp) bool {
	switch {
	case in.space == shared && m.shift == 2 && addr < uint64(len(m.shared)) && addr+uint64(n) <= uint64(len(m.shared)):
		for i := range n / 4 {
			at := addr + uint64(4*i)
			if binary.LittleEndian.Uint32(m.sharedKnown[at:]) != 0x01010101 || m.sharedCells[at>>2].read(s, m.first, m.first, m.acquired) != 0 {
				return false
			}
			w.r32[in.v[i&3].row][l&31] = binary.LittleEndian.Uint32(m.shared[at:])
		}
		return true
	case in.space == global && a != nil && addr >= a.base && addr-a.base+uint64(n) <= uint64(len(a.data)) && (!m.races || a.cells != nil):
		for i := range n / 4 {
			at := addr - a.base + uint64(4*i)
			if binary.LittleEndian.Uint32(a.known[at:]) != 0x01010101 || m.races && a.cells[at>>2].read(s, m.launch, m.first, m.acquired) != 0 {
				return false
			}
			w.r32[in.v[i&3].row][l&31] = binary.LittleEndian.Uint32(a.data[at:])
		}
		return true
	}
	return false
}

func (m *machine) load(w *warp, in *instr, lanes []uint8) {
	w.fetch(&w.addr, in.a, lanes)
	size := int(in.size)
	n := size * int(in.vec)
	base := newStamp(m.now, 32*w.id, w.epoch, in.relaxed)
	a := m.cache[w.pc]
	for _, l := range lanes {
		addr := w.addr[l&31] + in.off
		if in.words && addr&uint64(n-1) == 0 && m.quick(w, in, a, l, addr, n, base+stamp(l)<<19) {
			continue
		}
		data, race := m.touch(w, in, l, addr, n, reading)
		if m.fault != nil {
			return
		}
		if race != 0 {
			m.raced(w, l, "reads what was written", race)
			return
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
