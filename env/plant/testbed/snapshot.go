package testbed

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
	"math"
	"reflect"
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
const snapshotVersion = 2

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
	fixed(t, s.replays)
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
		s = newSim(t.plan, 0, slices.Repeat([]p4.Limit{1}, t.plan.switches), 1, -1)
	}
	t.rows[row] = nil // until it is known to be one
	tp := tape{b: src[16:n], reading: true}
	known := s.settings()
	s.walk(&tp)
	if tp.bad || len(tp.b) > 0 || !s.finite() || !s.sound(known) {
		return ErrBadSnapshot
	}
	s.foreign = true
	t.rows[row] = s
	return nil
}

// A checksum keeps out accidents, not intent, and a server takes snapshots
// from its clients. sound refuses what could make a run hang or reach outside
// of its slices; should something get past it, the row is given up (see each)
// and no other.

// finite reports whether all of the run's state is numbers, and what is shown of
// it finite ones: some thresholds begin at infinity.
func (s *sim) finite() bool {
	ok := true
	for i := range s.ports {
		ok = ok && numbers(reflect.ValueOf(&s.ports[i].portState).Elem(), false)
	}
	for i := range s.flows {
		ok = ok && numbers(reflect.ValueOf(&s.flows[i].state).Elem(), false)
	}
	return ok && numbers(reflect.ValueOf(s.groups), true) && numbers(reflect.ValueOf(s.players), true) && numbers(reflect.ValueOf(&s.int).Elem(), true)
}

// numbers reports whether no float that v holds is NaN, or, where finite is set,
// infinite.
func numbers(v reflect.Value, finite bool) bool {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		x := v.Float()
		return !math.IsNaN(x) && !(finite && math.IsInf(x, 0))
	case reflect.Struct:
		for i := range v.NumField() {
			if !numbers(v.Field(i), finite) {
				return false
			}
		}
	case reflect.Array, reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.Struct, reflect.Array, reflect.Float32, reflect.Float64:
			for i := range v.Len() {
				if !numbers(v.Index(i), finite) {
					return false
				}
			}
		}
	}
	return true
}

// settings is what a configuration says of ports, flows, sources and players: no
// snapshot changes it.
type settings struct {
	ports   []portState
	flows   []flowState
	sources []source
	groups  []group
	players []player
}

func (s *sim) settings() (f settings) {
	for i := range s.ports {
		f.ports = append(f.ports, s.ports[i].portState)
	}
	for i := range s.flows {
		f.flows = append(f.flows, s.flows[i].state)
	}
	f.sources, f.groups, f.players = slices.Clone(s.sources), slices.Clone(s.groups), slices.Clone(s.players)
	return f
}

// sound reports whether s could be a run of its configuration.
func (s *sim) sound(f settings) bool {
	ok := s.now >= 0 && s.now < never && (len(s.cfg.Phases) == 0 || int(s.stage.current) < len(s.cfg.Phases)) && s.int.next >= s.now &&
		int(s.int.n) >= 0 && s.stage.spared >= 0 && s.stage.spared <= 1
	for i := range s.entries {
		at := s.calendar.at(i)
		ok = ok && at >= s.now && s.calendar.node[i+len(s.calendar.node)/2]&(1<<leafBits-1) == uint64(i)
		s.calendar.set(i, at) // the inner nodes follow from the leaves
	}
	for _, id := range s.sacks.free {
		ok = ok && id > 0 && int(id) <= len(s.sacks.items)
	}
	for _, id := range s.probes.free {
		ok = ok && id > 0 && int(id) <= len(s.probes.items)
	}
	for i := range s.sacks.items {
		ok = ok && s.sacks.items[i].n <= 3
	}
	for i := range s.ports {
		q, c := &s.ports[i], &f.ports[i]
		ok = ok && q.limit >= 1 && q.gap == c.gap && q.perByte == c.perByte && q.prop == c.prop && q.jitter == c.jitter && q.loss == c.loss && q.late == c.late && q.spread == c.spread && q.service == c.service &&
			q.aqm.fixed() == c.aqm.fixed() && q.aqm.p >= 0 && q.aqm.p <= 1 && q.aqm.updated >= 0 && q.aqm.updated <= s.now && int(q.queue-q.slots.head) <= q.slots.len() && s.within(q.next) && s.within(q.lastArr) && s.within(q.woken)
		last := s.now
		for j := q.slots.head; ok && j != q.slots.tail; j++ {
			e := q.slots.at(j)
			ok = s.traveller(&e.packet) && int(s.route[e.path][e.hop]) == i && e.enq >= 0 && e.enq <= s.now
			if known := q.aqm.kind != codel || int32(j-q.queue) < 0; ok && known {
				ok, last = e.arr >= last && s.within(e.arr) && s.within(e.rel), e.arr
			}
		}
		empty := q.slots.head == q.tailOfWire()
		ok = ok && (s.calendar.at(i) == never) == empty && (q.aqm.kind != codel || (s.calendar.at(s.codelSource(i)) == never) == (q.queue == q.slots.tail))
	}
	for i := range s.flows {
		ok = ok && s.soundFlow(i, &f.flows[i])
	}
	for i := range s.sources {
		u, c := s.sources[i], f.sources[i]
		ok = ok && (u.burst == 0 || u.left > 0 && u.left <= u.burst || !u.on)
		u.on, u.left, u.seq, u.draw = c.on, c.left, c.seq, c.draw
		ok = ok && u == c
	}
	for i := range s.groups {
		g, c := s.groups[i], f.groups[i]
		ok = ok && g.active <= g.n && !math.IsNaN(g.walk)
		ok = ok && g.sessions == c.sessions && s.soundSessions(&s.groups[i])
		ok = ok && g.load == c.load && g.plan == c.plan && g.first == c.first && g.n == c.n && g.firstPlayer == c.firstPlayer && g.udp == c.udp
	}
	for i := range s.players {
		p := &s.players[i]
		ok = ok && p.flow == f.players[i].flow && p.level >= 0 && int(p.level) < len(s.video[s.planOf(i)].ladder) && p.queued <= 32 && p.head < 1<<31 &&
			p.buffer >= 0 && p.buffer < never && p.left >= 0 && (p.left > 0 || p.queued == 0) && p.last >= 0 && p.last <= s.now && p.asked <= s.now && p.finished <= s.now
	}
	return ok
}

// soundSessions reports whether what a group of sessions plays is in its library.
func (s *sim) soundSessions(g *group) bool {
	if !g.sessions {
		return true
	}
	p := s.part(g)
	n := int32(p.sessions())
	ok := g.cursor.next >= 0 && g.cursor.next <= n && g.cursor.base > -never && g.cursor.base < never
	for j := uint32(0); ok && j < g.n; j++ {
		if s.slot(g, j).at == 0 {
			continue
		}
		r := s.replayOf(g, j)
		ok = r.session >= 0 && r.session < n && r.at >= p.first[r.session] && r.at <= p.first[r.session+1]
		if g.udp && ok && s.sources[g.first+j].on {
			ok = r.at < p.first[r.session+1]
		}
	}
	return ok
}

// within is a time that a run may hold.
func (s *sim) within(at int64) bool { return at >= 0 && at < never }

// traveller reports whether a packet may be under way.
func (s *sim) traveller(p *packet) bool {
	if int(p.path) >= len(s.route) || int(p.hop) >= len(s.route[p.path])-1 || p.kind > noPacket {
		return false
	}
	switch p.kind {
	case probePacket:
		return p.path == s.probePath() && p.aux > 0 && int(p.aux) <= len(s.probes.items)
	case dataPacket, ackPacket:
		if int(p.flow) >= len(s.flows) || p.kind == ackPacket && int(p.aux) > len(s.sacks.items) {
			return false
		}
		t := &s.flows[p.flow].state
		return !t.on || p.gen != t.gen || !after(p.seq, t.nxt)
	}
	return true
}

func (s *sim) soundFlow(i int, c *flowState) bool {
	f := &s.flows[i]
	t := &f.state
	ok := t.path == c.path && t.back == c.back && t.group == c.group && t.cc == c.cc && t.sack == c.sack && t.jitter == c.jitter && t.rwnd == c.rwnd && t.player == c.player &&
		t.delay >= 0 && t.delay < 120e9 && s.within(t.lastArr) && t.rto > 0 && t.rto <= maxRTO || !t.on
	last := s.now
	for j := f.wire.head; ok && j != f.wire.tail; j++ {
		e := f.wire.at(j)
		ok, last = e.arr >= last && s.within(e.arr) && int(e.aux) <= len(s.sacks.items) && !after(e.seq, t.nxt), e.arr
	}
	if !ok || !t.on {
		return ok
	}
	ok = f.segs.head == t.una && f.segs.tail == t.nxt && t.nxt-t.una <= t.rwnd && !after(t.nxt, t.end) && !after(t.una, t.rcvNxt) && !after(t.rcvNxt, t.nxt) &&
		!after(t.topSack, t.nxt) && !after(t.lossMark, t.nxt) && !after(t.hole, t.nxt) && t.cwnd >= 0 && t.ssthresh >= 0 && t.srtt >= 0 && t.nseen <= 3 && t.phase <= timedOut &&
		(s.calendar.at(s.wireSource(i)) == never) == (f.wire.head == f.wire.tail)
	for j := f.rtx.head; ok && j != f.rtx.tail; j++ {
		ok = after(t.nxt, f.rtx.at(j).seq)
	}
	for k := 0; ok && k < len(f.ooo); k++ {
		b := f.ooo[k]
		ok = after(b.to, b.from) && after(b.from, t.rcvNxt) && !after(b.to, t.nxt)
	}
	return ok
}

// fixed is the part of a that the configuration says.
func (a aqm) fixed() aqm {
	return aqm{kind: a.kind, target: a.target, interval: a.interval, low: a.low, high: a.high, maxP: a.maxP, weight: a.weight}
}
