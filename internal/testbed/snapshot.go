package testbed

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
	"slices"
	"unsafe"

	"github.com/planegym/planegym/p4"
)

// ErrBadSnapshot is the error of a snapshot that is cut, altered, or of
// another configuration.
var ErrBadSnapshot = errors.New("testbed: snapshot does not fit this testbed")

// A snapshot is the run's memory: the plain data of sim in one order, queues
// without their empty slots, a checksum at the end. It holds within a version
// on machines of one byte order.
const snapshotVersion = 1

var crcTable = crc64.MakeTable(crc64.ECMA)

// tape writes a snapshot, or reads one: the same walk over sim does both.
type tape struct {
	b       []byte
	reading bool
	bad     bool
}

func bytesOf[T any](p *T, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), n*int(unsafe.Sizeof(*p)))
}

// raw copies n values that hold no pointer.
func raw[T any](t *tape, p *T, n int) {
	if n == 0 {
		return
	}
	b := bytesOf(p, n)
	switch {
	case !t.reading:
		t.b = append(t.b, b...)
	case len(t.b) < len(b):
		t.bad = true
	default:
		copy(b, t.b)
		t.b = t.b[len(b):]
	}
}

// length copies a slice's length, no more than what is left can fill.
func length[T any](t *tape, n int) int {
	var zero T
	k := uint32(n)
	raw(t, &k, 1)
	if t.reading && int64(k)*int64(unsafe.Sizeof(zero)) > int64(len(t.b)) {
		t.bad = true
		return 0
	}
	return int(k)
}

func list[T any](t *tape, s *[]T) {
	n := length[T](t, len(*s))
	if t.reading {
		if cap(*s) < n {
			*s = make([]T, n)
		}
		*s = (*s)[:n]
	}
	if n > 0 {
		raw(t, &(*s)[0], n)
	}
}

// fixed is list where the configuration says how long s is.
func fixed[T any](t *tape, s []T) {
	if length[T](t, len(s)) != len(s) {
		t.bad = true
		return
	}
	if len(s) > 0 {
		raw(t, &s[0], len(s))
	}
}

func queue[T any](t *tape, r *ring[T]) {
	n := length[T](t, r.len())
	raw(t, &r.head, 1)
	if t.reading {
		r.tail = r.head
		if len(r.buf) < n {
			r.buf = make([]T, ceilPow2(n))
		}
		r.tail += uint32(n)
	}
	for i := r.head; i != r.tail && !t.bad; i++ {
		raw(t, r.at(i), 1)
	}
}

func ceilPow2(n int) int {
	k := 16
	for k < n {
		k *= 2
	}
	return k
}

// walk copies all that a run is.
func (s *sim) walk(t *tape) {
	raw(t, &s.now, 1)
	raw(t, &s.hops, 1)
	raw(t, &s.ended, 1)
	fixed(t, s.calendar.node)
	for i := range s.ports {
		raw(t, &s.ports[i].portState, 1)
		queue(t, &s.ports[i].slots)
	}
	for i := range s.flows {
		f := &s.flows[i]
		raw(t, &f.state, 1)
		queue(t, &f.segs)
		queue(t, &f.wire)
		queue(t, &f.rtx)
		list(t, &f.ooo)
	}
	fixed(t, s.sources)
	fixed(t, s.groups)
	fixed(t, s.players)
	fixed(t, s.slots)
	list(t, &s.sacks.items)
	list(t, &s.sacks.free)
	list(t, &s.probes.items)
	list(t, &s.probes.free)
	raw(t, &s.int, 1)
	raw(t, &s.stage, 1)
}

// Snapshot appends the whole state of row's run to dst.
func (t *Testbed) Snapshot(row int, dst []byte) ([]byte, error) {
	if row < 0 || row >= len(t.rows) || t.rows[row] == nil {
		return binary.LittleEndian.AppendUint64(dst, 0), nil // never reset: there is nothing to save
	}
	from := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, snapshotVersion)
	dst = binary.LittleEndian.AppendUint64(dst, t.plan.hash)
	tp := tape{b: dst}
	t.rows[row].walk(&tp)
	return binary.LittleEndian.AppendUint64(tp.b, crc64.Checksum(tp.b[from:], crcTable)), nil
}

// Restore puts back what Snapshot gave, of any row of an equal Testbed.
func (t *Testbed) Restore(row int, src []byte) error {
	for row >= len(t.rows) {
		t.rows = append(t.rows, nil)
	}
	if len(src) == 8 && binary.LittleEndian.Uint64(src) == 0 {
		t.rows[row] = nil
		return nil
	}
	n := len(src) - 8
	if n < 16 || binary.LittleEndian.Uint64(src) != snapshotVersion ||
		binary.LittleEndian.Uint64(src[8:]) != t.plan.hash ||
		binary.LittleEndian.Uint64(src[n:]) != crc64.Checksum(src[:n], crcTable) {
		return ErrBadSnapshot
	}
	s := t.rows[row]
	if s == nil {
		s = newSim(t.plan, 0, slices.Repeat([]p4.Limit{1}, t.plan.switches))
	}
	tp := tape{b: src[16:n], reading: true}
	s.walk(&tp)
	if tp.bad || len(tp.b) > 0 { // the checksum held, so this is a bug of ours
		t.rows[row] = nil
		return ErrBadSnapshot
	}
	t.rows[row] = s
	return nil
}
