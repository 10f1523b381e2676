package testbed

import "math"

// A flow is a TCP connection in whole segments: its sender sits at the
// first port of its path; the rest of its round trip is the wire on which
// acknowledgements come back.
//
//	congestion control   RFC 5681 (Reno), RFC 9438 (CUBIC), window counted by
//	                     acknowledged segments (RFC 3465), growth only while
//	                     the window is what limits
//	loss recovery        RFC 6675 (SACK), RFC 6582 (without), PRR (RFC 6937),
//	                     lost retransmissions by order of transmission
//	timers               RFC 6298, tail loss probe (RFC 8985 section 7),
//	                     spurious timeouts undone by timestamps (RFC 3522, 4015)
//	                     restart after idle (RFC 5681 section 4.1)
//	receiver             delayed acknowledgements, every second segment; a
//	                     finite window; SACK blocks as in RFC 2018
type flow struct {
	segs  ring[seg]    // [una, nxt): index = sequence number
	wire  ring[echo]   // acknowledgements on their way back
	rtx   ring[resent] // retransmissions in flight, in the order sent
	ooo   []gapEnd     // the receiver's blocks past rcvNxt, ascending
	state flowState
}

// flowState is a flow without its queues: plain data.
type flowState struct {
	una, nxt, end uint32 // oldest unacknowledged, next new, what the application has written up to
	lastSize      uint16 // bytes of the packet before end
	group         uint16
	gen           uint8
	path, back    uint8 // back 0: acknowledgements meet no queue
	cc            cc
	on            bool
	sack          bool
	phase         tcpPhase
	limited       bool // the window is what keeps the flow from sending

	// round trip
	delay, jitter     int64 // ns, of the wire back
	lastArr           int64
	srtt, rttvar      float64 // ns; srtt 0: no sample yet
	minRTT            float64
	rto               int64
	backoff           uint32
	rwnd              uint32 // segments
	rtoAt, probeAt    int64  // never: not armed
	wakeAt            int64  // the application's: next object, or start
	lastSend          int64
	cwnd, ssthresh    float64 // segments
	pipe              int32   // segments believed to be on the way
	sacked            int32   // segments the receiver holds past una; without SACK, duplicate acknowledgements
	lost              int32   // segments marked lost and not sacked
	topSack           uint32  // one past the highest sacked
	lossMark, hole    uint32  // below lossMark all is sacked or lost; below hole none waits for retransmission
	recover           uint32
	order, delivered  uint32 // transmissions made; the latest of them known delivered
	prrDelivered      int32
	prrOut, prrFlight int32
	seen              [3]gapEnd // SACK blocks taken in already
	nseen             uint32
	probeOut          bool // a tail loss probe is in flight
	probeAgain        bool // and is a repetition
	undo              bool // a timeout may yet prove spurious
	_                 byte
	probeTS, undoTS   uint32
	probeOrder, _     uint32
	undoCwnd          float64
	undoThresh        float64
	cubic             cubicState

	// receiver
	rcvNxt   uint32
	tsRecent uint32 // µs
	pending  uint32 // segments not acknowledged yet
	delackAt int64
	stamp    uint32
	player   uint32 // whose connection it is, plus 1; 0: no player's

	draw  draw
	count flowCount
}

type flowCount struct {
	Sent, Retransmitted, Timeouts, Undone, Recoveries, Acked, Acks uint64
}

type seg struct {
	order uint32
	flags uint32
}

const (
	segSacked uint32 = 1 << iota
	segLost
	segResent // its retransmission is on the way
)

type resent struct{ seq, order uint32 }

// echo is an acknowledgement on its way to the sender.
type echo struct {
	arr          int64
	seq, ts, aux uint32
	_            uint32
}

// gapEnd is a run of segments [from, to); stamp tells the recent ones.
type gapEnd struct{ from, to, stamp uint32 }

// sackBlocks is what an acknowledgement says of blocks, the latest first.
type sackBlocks struct {
	n uint32
	b [3]gapEnd
}

type cc uint8

const (
	reno cc = iota
	cubic
)

type tcpPhase uint8

const (
	open     tcpPhase = iota
	recovery          // fast recovery
	timedOut          // after a timeout, until recover is acknowledged
)

type cubicState struct {
	wMax, k, origin, wEst, prior float64
	epoch                        int64 // 0: none
}

const (
	initialWindow = 10 // segments, RFC 6928
	cubicC        = 0.4
	cubicBeta     = 0.7
	payload       = 1448 // bytes of a full segment
	segmentBytes  = 1500 // on the wire
	ackBytes      = 64   //
	delackTime    = 40e6 // ns
	maxRTO        = int64(60e9)
)

func after(a, b uint32) bool { return int32(a-b) > 0 }

func (s *sim) micros() uint32 { return uint32(s.now / 1000) }

// start opens flow i as a new connection: a round trip for its handshake,
// then what the application wrote.
func (s *sim) start(i int, wait int64) {
	f := &s.flows[i]
	t := &f.state
	s.stop(i)
	*t = flowState{
		gen: t.gen + 1, path: t.path, back: t.back, group: t.group, cc: t.cc, sack: t.sack, draw: t.draw, count: t.count,
		delay: t.delay, jitter: t.jitter, rwnd: t.rwnd, lastSize: segmentBytes,
		player: t.player, on: true, cwnd: initialWindow, ssthresh: math.Inf(1), rto: 1e9,
		rtoAt: never, probeAt: never, wakeAt: never, delackAt: never, lastSend: s.now,
		lastArr: s.now,
	}
	f.segs.head, f.segs.tail = 0, 0
	t.wakeAt = s.now + wait + s.baseRTT(t)
	s.arm(i, t.wakeAt)
}

// baseRTT is the flow's round trip through empty queues.
func (s *sim) baseRTT(t *flowState) int64 {
	return s.pathDelay[t.path] + s.pathDelay[t.back] + t.delay
}

// stop ends flow i at once; what it has in flight is stale.
func (s *sim) stop(i int) {
	f := &s.flows[i]
	t := &f.state
	for ; f.wire.head != f.wire.tail; f.wire.head++ {
		s.sacks.put(f.wire.at(f.wire.head).aux)
	}
	f.rtx.head = f.rtx.tail
	f.ooo = f.ooo[:0]
	f.segs.head = f.segs.tail
	t.on = false
	t.gen++
	s.calendar.set(s.timerSource(i), never)
	s.calendar.set(s.wireSource(i), never)
}

// write gives flow i n more segments to send, the last of size bytes.
func (s *sim) write(i int, n uint32, size uint16) {
	t := &s.flows[i].state
	t.end += n
	t.lastSize = size
	s.push(i)
}

// arm makes sure that flow i's timers are looked at by then.
func (s *sim) arm(i int, at int64) {
	if src := s.timerSource(i); at < s.calendar.at(src) {
		s.calendar.set(src, at)
	}
}

// timer looks at flow i's timers. They are moved far more often than they
// expire, so only the earliest is in the calendar, and may prove early.
func (s *sim) timer(i int) {
	f := &s.flows[i]
	t := &f.state
	s.calendar.set(s.timerSource(i), never)
	if t.delackAt <= s.now {
		s.acknowledge(i)
	}
	if t.wakeAt <= s.now {
		t.wakeAt = never
		s.wake(i)
	}
	switch {
	case t.rtoAt <= s.now:
		s.timeout(i)
	case t.probeAt <= s.now:
		s.tailProbe(i)
	}
	if at := min(t.delackAt, t.wakeAt, t.rtoAt, t.probeAt); at < never {
		s.arm(i, at)
	}
}

// transmit sends segment q.
func (s *sim) transmit(i int, q uint32) {
	f := &s.flows[i]
	t := &f.state
	t.order++
	f.segs.at(q).order = t.order
	t.pipe++
	t.count.Sent++
	t.lastSend = s.now
	if t.phase == recovery {
		t.prrOut++
	}
	size := uint16(segmentBytes)
	if q+1 == t.end {
		size = t.lastSize
	}
	s.arrive(int(s.route[t.path][0]), packet{seq: q, ts: s.micros(), flow: uint16(i), size: size, path: t.path, kind: dataPacket, gen: t.gen})
}

// resend sends segment q again.
func (s *sim) resend(i int, q uint32) {
	f := &s.flows[i]
	t := &f.state
	f.segs.at(q).flags |= segResent
	*f.rtx.push() = resent{q, t.order + 1}
	t.count.Retransmitted++
	s.transmit(i, q)
}

// push sends what the windows allow.
func (s *sim) push(i int) {
	f := &s.flows[i]
	t := &f.state
	if !t.on {
		return
	}
	if t.una == t.nxt && t.nxt != t.end && s.now-t.lastSend > t.rto {
		t.cwnd = min(t.cwnd, initialWindow)
		t.cubic.epoch = 0
	}
	sent := false
	t.limited = false
	for {
		lost := t.lost > 0 && s.nextHole(f)
		if !lost && (t.nxt == t.end || t.nxt-t.una >= t.rwnd) {
			break
		}
		if float64(t.pipe+s.dupSacked(t))+1 > t.cwnd {
			t.limited = true
			break
		}
		if lost {
			s.resend(i, t.hole)
			t.hole++
		} else {
			*f.segs.push() = seg{}
			t.nxt++
			s.transmit(i, t.nxt-1)
		}
		sent = true
	}
	if sent {
		if t.rtoAt == never {
			t.rtoAt = s.now + t.rto
		}
		s.armProbe(t)
		s.arm(i, min(t.rtoAt, t.probeAt))
	}
}

// dupSacked corrects pipe where duplicate acknowledgements stand for SACK.
func (s *sim) dupSacked(t *flowState) int32 {
	if t.sack {
		return 0
	}
	return -min(t.sacked, t.pipe)
}

// nextHole moves hole to the next segment to retransmit, if there is one.
func (s *sim) nextHole(f *flow) bool {
	t := &f.state
	if after(t.una, t.hole) {
		t.hole = t.una
	}
	for ; after(t.lossMark, t.hole); t.hole++ {
		if g := f.segs.at(t.hole); g.flags&(segSacked|segLost|segResent) == segLost {
			return true
		}
	}
	return false
}

// armProbe sets the tail loss probe (RFC 8985 section 7.2).
func (s *sim) armProbe(t *flowState) {
	t.probeAt = never
	if !t.sack || t.phase != open || t.probeOut || t.sacked > 0 || t.srtt == 0 || t.nxt == t.una {
		return
	}
	pto := int64(2 * t.srtt)
	if t.nxt-t.una == 1 {
		pto += delackTime
	}
	if at := s.now + pto; at < t.rtoAt {
		t.probeAt = at
	}
}

// tailProbe sends a new segment, or the last one again.
func (s *sim) tailProbe(i int) {
	f := &s.flows[i]
	t := &f.state
	t.probeAt = never
	if f.segs.at(t.nxt-1).flags != 0 {
		return
	}
	t.probeOut, t.probeTS, t.probeAgain = true, s.micros(), false
	if t.nxt != t.end && t.nxt-t.una < t.rwnd {
		*f.segs.push() = seg{}
		t.nxt++
		s.transmit(i, t.nxt-1)
	} else {
		t.probeAgain = true
		s.resend(i, t.nxt-1)
	}
	t.probeOrder = t.order
	t.rtoAt = s.now + t.rto
}

// timeout is the retransmission timer (RFC 6298 section 5; RFC 5681 eq. 4).
func (s *sim) timeout(i int) {
	f := &s.flows[i]
	t := &f.state
	if t.una == t.nxt {
		t.rtoAt, t.probeAt = never, never
		return
	}
	t.count.Timeouts++
	if t.phase != timedOut {
		t.undo, t.undoTS, t.undoCwnd, t.undoThresh = true, s.micros(), t.cwnd, t.ssthresh
		s.reduce(f)
	}
	t.phase = timedOut
	t.recover = t.nxt
	t.cwnd = 1
	t.pipe, t.lost = 0, 0
	if !t.sack {
		t.sacked = 0
	}
	for q := t.una; q != t.nxt; q++ {
		g := f.segs.at(q)
		if g.flags &= segSacked; g.flags == 0 {
			g.flags = segLost
			t.lost++
		}
	}
	f.rtx.head = f.rtx.tail
	t.lossMark, t.hole = t.nxt, t.una
	t.probeOut, t.probeAt = false, never
	t.backoff = min(t.backoff+1, 10)
	t.rto = min(2*t.rto, maxRTO)
	t.rtoAt = s.now + t.rto
	s.push(i)
}

// reduce sets ssthresh after a loss.
func (s *sim) reduce(f *flow) {
	t := &f.state
	flight := min(float64(t.nxt-t.una), t.cwnd)
	if t.cc == reno {
		t.ssthresh = max(flight/2, 2)
		return
	}
	c := &t.cubic
	c.prior = t.cwnd
	if t.cwnd < c.wMax { // fast convergence, RFC 9438 section 4.7
		c.wMax = t.cwnd * (1 + cubicBeta) / 2
	} else {
		c.wMax = t.cwnd
	}
	c.epoch = 0
	t.ssthresh = max(flight*cubicBeta, 2)
}

// enterRecovery starts fast recovery.
func (s *sim) enterRecovery(f *flow) {
	t := &f.state
	t.count.Recoveries++
	t.phase = recovery
	t.recover = t.nxt
	t.prrFlight = int32(t.nxt - t.una)
	t.prrDelivered, t.prrOut = 0, 0
	s.reduce(f)
	t.probeAt, t.probeOut = never, false
}

// sampleRTT takes a measurement in (RFC 6298 section 2).
func (t *flowState) sampleRTT(r float64, minRTO int64) {
	r = max(r, 1e3)
	if t.srtt == 0 {
		t.srtt, t.rttvar, t.minRTT = r, r/2, r
	} else {
		t.rttvar += (math.Abs(t.srtt-r) - t.rttvar) / 4
		t.srtt += (r - t.srtt) / 8
		t.minRTT = min(t.minRTT, r)
	}
	t.backoff = 0
	t.rto = min(max(int64(t.srtt+max(1e6, 4*t.rttvar)), minRTO), maxRTO)
}

// takeSack marks the segments of an acknowledgement's blocks and counts those
// that are new.
func (s *sim) takeSack(f *flow, b *sackBlocks, ack uint32) (fresh int32) {
	t := &f.state
	for k := range b.n {
		from, to := b.b[k].from, b.b[k].to
		for _, o := range t.seen[:t.nseen] {
			if o.from == from && !after(o.to, to) {
				from = o.to
				break
			}
		}
		if after(ack, from) {
			from = ack
		}
		if after(to, t.nxt) {
			to = t.nxt
		}
		for q := from; after(to, q); q++ {
			g := f.segs.at(q)
			if g.flags&segSacked != 0 {
				continue
			}
			t.forget(g)
			g.flags = segSacked
			t.sacked++
			fresh++
			if after(g.order, t.delivered) {
				t.delivered = g.order
			}
		}
		if after(to, t.topSack) {
			t.topSack = to
		}
	}
	t.nseen = b.n
	copy(t.seen[:], b.b[:b.n])
	return fresh
}

// forget takes a segment that is no longer on the way off the counts.
func (t *flowState) forget(g *seg) {
	if g.flags&segLost != 0 {
		t.lost--
	} else {
		t.pipe--
	}
	if g.flags&segResent != 0 {
		t.pipe--
	}
}

// markLost is RFC 6675's IsLost for every segment at once: lost is what has
// three sacked segments above it.
func (s *sim) markLost(f *flow) {
	t := &f.state
	if t.sacked < 3 {
		return
	}
	if after(t.una, t.lossMark) {
		t.lossMark = t.una
	}
	n, q := 0, t.topSack
	for n < 3 && after(q, t.lossMark) {
		q--
		if f.segs.at(q).flags&segSacked != 0 {
			n++
		}
	}
	if n < 3 {
		return
	}
	for ; after(q, t.lossMark); t.lossMark++ {
		if g := f.segs.at(t.lossMark); g.flags&(segSacked|segLost) == 0 {
			g.flags |= segLost
			t.lost++
			t.pipe--
		}
	}
}

// markResent marks retransmissions lost that three later transmissions have
// overtaken: the network keeps order.
func (s *sim) markResent(f *flow) {
	t := &f.state
	for f.rtx.head != f.rtx.tail {
		e := f.rtx.at(f.rtx.head)
		if live := !after(t.una, e.seq) && f.segs.at(e.seq).order == e.order && f.segs.at(e.seq).flags&segResent != 0; live {
			if int32(t.delivered-e.order) < 3 {
				return
			}
			f.segs.at(e.seq).flags &^= segResent
			t.pipe--
			if after(t.hole, e.seq) {
				t.hole = e.seq
			}
		}
		f.rtx.head++
	}
}

// onAck is the oldest acknowledgement on flow i's wire reaching its sender.
func (s *sim) onAck(i int) {
	f := &s.flows[i]
	t := &f.state
	e := *f.wire.at(f.wire.head)
	f.wire.head++
	if f.wire.head == f.wire.tail {
		s.calendar.set(s.wireSource(i), never)
	} else {
		s.calendar.set(s.wireSource(i), f.wire.at(f.wire.head).arr)
	}
	ack := e.seq
	if after(t.una, ack) {
		s.sacks.put(e.aux)
		return
	}
	var fresh int32 // delivered by this acknowledgement
	for q := t.una; q != ack; q++ {
		g := f.segs.at(q)
		if g.flags&segSacked != 0 {
			t.sacked--
			continue
		}
		if after(g.order, t.delivered) {
			t.delivered = g.order
		}
		t.forget(g)
		fresh++
	}
	acked := ack - t.una
	t.una, f.segs.head = ack, ack
	t.count.Acked += uint64(acked)
	if after(ack, t.lossMark) {
		t.lossMark = ack
	}
	if acked > 0 {
		t.sampleRTT(float64(s.micros()-e.ts)*1e3, s.minRTO)
		t.rtoAt = s.now + t.rto
	}
	if e.aux != 0 {
		fresh += s.takeSack(f, s.sacks.at(e.aux), ack)
		s.sacks.put(e.aux)
	}
	if t.sack {
		s.markLost(f)
		s.markResent(f)
	} else {
		fresh = s.dupAck(f, acked)
	}
	if t.probeOut && int32(t.delivered-t.probeOrder) >= 0 {
		t.probeOut = false
		switch {
		case t.sacked > 0: // the probe went past a hole: what it passed is lost
			for ; after(t.topSack, t.lossMark); t.lossMark++ {
				if g := f.segs.at(t.lossMark); g.flags&(segSacked|segLost) == 0 {
					g.flags |= segLost
					t.lost++
					t.pipe--
				}
			}
		case t.probeAgain && t.phase == open && acked > 0 && e.ts == t.probeTS:
			// The repetition, not the original, was acknowledged: one loss.
			s.reduce(f)
			t.cwnd = t.ssthresh
		}
	}
	if t.undo && acked > 0 {
		t.undo = false
		if t.phase == timedOut && int32(e.ts-t.undoTS) < 0 {
			s.undoTimeout(f)
		}
	}
	switch t.phase {
	case open:
		if t.lost > 0 {
			s.enterRecovery(f)
			s.prr(t, fresh, acked)
		} else if acked > 0 && t.limited {
			s.grow(t, float64(acked))
		}
	case recovery:
		if !after(t.recover, ack) {
			t.phase, t.cwnd = open, t.ssthresh
			if !t.sack {
				t.sacked = 0
			}
		} else {
			s.prr(t, fresh, acked)
		}
	case timedOut:
		if !after(t.recover, ack) {
			t.phase = open
		}
		if acked > 0 {
			s.grow(t, float64(acked))
		}
	}
	if t.una == t.nxt {
		t.rtoAt, t.probeAt = never, never
		t.probeOut = false
	} else {
		s.armProbe(t)
	}
	s.push(i)
	if at := min(t.rtoAt, t.probeAt); at < never {
		s.arm(i, at)
	}
	if t.una == t.end {
		s.drained(i)
	}
}

// dupAck counts duplicate acknowledgements in place of SACK: three mean that
// the oldest segment is lost, as does a partial acknowledgement in recovery
// (RFC 6582). It gives how many segments were delivered, each counted once.
func (s *sim) dupAck(f *flow, acked uint32) (fresh int32) {
	t := &f.state
	fresh = int32(acked)
	switch {
	case t.phase == timedOut || t.una == t.nxt:
		t.sacked = 0
	case acked == 0:
		t.sacked = min(t.sacked+1, int32(t.nxt-t.una)-1)
		fresh = 1
	case t.phase == recovery:
		known := min(t.sacked, int32(acked)-1)
		t.sacked -= known
		fresh -= known
	default:
		t.sacked = 0
	}
	lost := t.phase == recovery && acked > 0 && after(t.recover, t.una) ||
		t.phase == open && t.sacked >= 3 && !after(t.recover, t.una)
	if lost && t.una != t.nxt {
		if g := f.segs.at(t.una); g.flags&segLost == 0 {
			g.flags |= segLost
			t.lost++
			t.pipe--
			t.lossMark, t.hole = t.una+1, t.una
		}
	}
	return fresh
}

// undoTimeout restores the window after a timeout that was too early.
func (s *sim) undoTimeout(f *flow) {
	t := &f.state
	t.count.Undone++
	t.phase, t.cwnd, t.ssthresh = open, t.undoCwnd, t.undoThresh
	for q := t.una; q != t.nxt; q++ {
		if g := f.segs.at(q); g.flags&segLost != 0 {
			if g.flags&segResent == 0 {
				t.pipe++
			}
			t.lost--
			g.flags = 0
		}
	}
	f.rtx.head = f.rtx.tail
	t.lossMark = t.una
	t.cubic.epoch = 0
}

// prr is proportional rate reduction (RFC 6937 section 3, slow start part
// where the window advanced, conservative part else).
func (s *sim) prr(t *flowState, fresh int32, acked uint32) {
	t.prrDelivered += fresh
	pipe := t.pipe + s.dupSacked(t)
	var send int32
	if float64(pipe) > t.ssthresh {
		send = int32(math.Ceil(float64(t.prrDelivered)*t.ssthresh/float64(max(t.prrFlight, 1)))) - t.prrOut
	} else {
		bound := t.prrDelivered - t.prrOut
		if acked > 0 {
			bound = max(bound, fresh) + 1
		}
		send = min(int32(t.ssthresh)-pipe, bound)
	}
	if t.prrOut == 0 {
		send = max(send, 1) // the fast retransmission itself
	}
	t.cwnd = float64(pipe + max(send, 0))
}

// grow opens the window by acked segments' worth.
func (s *sim) grow(t *flowState, acked float64) {
	if t.cwnd < t.ssthresh {
		n := min(acked, 2) // L of RFC 3465: 2 segments, 1 after a timeout
		if t.phase == timedOut {
			n = 1
		}
		t.cwnd = min(t.cwnd+n, max(t.ssthresh, t.cwnd))
		return
	}
	acked = min(acked, t.cwnd)
	if t.cc == reno {
		t.cwnd += acked / t.cwnd
		return
	}
	// RFC 9438 section 4: W(t) = C(t-K)³ + W_max, never below Reno's estimate.
	c := &t.cubic
	if c.epoch == 0 {
		c.epoch = s.now
		c.wEst = t.cwnd
		if t.cwnd < c.wMax {
			c.k, c.origin = math.Cbrt((c.wMax-t.cwnd)/cubicC), c.wMax
		} else {
			c.k, c.origin = 0, t.cwnd
		}
	}
	d := (float64(s.now-c.epoch)+t.srtt)*1e-9 - c.k
	target := c.origin + float64(cubicC*d*d*d)
	target = min(max(target, t.cwnd), 1.5*t.cwnd)
	alpha := 1.0
	if c.wEst < c.prior {
		alpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
	}
	c.wEst += alpha * acked / t.cwnd
	if d0 := float64(s.now-c.epoch)*1e-9 - c.k; c.origin+float64(cubicC*d0*d0*d0) < c.wEst {
		t.cwnd = max(t.cwnd, c.wEst)
		return
	}
	t.cwnd += (target - t.cwnd) / t.cwnd * acked
}

// onData is a segment of flow i reaching its receiver.
func (s *sim) onData(i int, p *packet) {
	f := &s.flows[i]
	t := &f.state
	if !t.on || p.gen != t.gen {
		return
	}
	if d := int32(p.seq - t.rcvNxt); d != 0 || len(f.ooo) > 0 {
		s.onGap(i, p, d)
		return
	}
	t.rcvNxt++
	if t.pending++; t.pending == 1 {
		t.tsRecent = p.ts
	}
	if t.pending >= 2 {
		s.acknowledge(i)
	} else {
		t.delackAt = s.now + delackTime
		s.arm(i, t.delackAt)
	}
	if t.player > 0 {
		s.progress(int(t.player - 1))
	}
}

// onGap is onData where something is out of order: acknowledged at once.
func (s *sim) onGap(i int, p *packet, d int32) {
	f := &s.flows[i]
	t := &f.state
	switch {
	case d == 0:
		t.rcvNxt++
		if t.pending == 0 {
			t.tsRecent = p.ts
		}
		if f.ooo[0].from == t.rcvNxt {
			t.rcvNxt = f.ooo[0].to
			f.ooo = append(f.ooo[:0], f.ooo[1:]...)
		}
		s.acknowledge(i)
		if t.player > 0 {
			s.progress(int(t.player - 1))
		}
		return
	case d > 0:
		t.stamp++
		f.insert(p.seq, t.stamp)
	}
	s.acknowledge(i)
}

// insert adds a segment to the receiver's blocks.
func (f *flow) insert(q, stamp uint32) {
	k := len(f.ooo)
	for k > 0 && !after(q, f.ooo[k-1].from) {
		k--
	}
	// Block k-1 begins before q, block k at q or after it.
	switch {
	case k < len(f.ooo) && f.ooo[k].from == q, k > 0 && after(f.ooo[k-1].to, q): // held already
	case k > 0 && f.ooo[k-1].to == q:
		f.ooo[k-1].to++
		f.ooo[k-1].stamp = stamp
		if k < len(f.ooo) && f.ooo[k].from == q+1 {
			f.ooo[k-1].to = f.ooo[k].to
			f.ooo = append(f.ooo[:k], f.ooo[k+1:]...)
		}
	case k < len(f.ooo) && f.ooo[k].from == q+1:
		f.ooo[k].from = q
		f.ooo[k].stamp = stamp
	default:
		f.ooo = append(f.ooo, gapEnd{})
		copy(f.ooo[k+1:], f.ooo[k:])
		f.ooo[k] = gapEnd{q, q + 1, stamp}
	}
}

// acknowledge sends what flow i's receiver knows.
func (s *sim) acknowledge(i int) {
	f := &s.flows[i]
	t := &f.state
	t.pending, t.delackAt = 0, never
	p := packet{seq: t.rcvNxt, ts: t.tsRecent, flow: uint16(i), size: ackBytes, path: t.back, kind: ackPacket, gen: t.gen}
	if t.sack && len(f.ooo) > 0 {
		id, b := s.sacks.get()
		b.n = 0
		for b.n < 3 { // the latest three, the latest first
			best := -1
			for k := range f.ooo {
				if (b.n == 0 || f.ooo[k].stamp < b.b[b.n-1].stamp) && (best < 0 || f.ooo[k].stamp > f.ooo[best].stamp) {
					best = k
				}
			}
			if best < 0 {
				break
			}
			b.b[b.n] = f.ooo[best]
			b.n++
		}
		p.aux = id
	}
	if next := s.route[t.back][0]; next >= 0 {
		t.count.Acks++
		s.arrive(int(next), p)
		return
	}
	s.echo(&p)
}

// echo puts an acknowledgement on its flow's wire.
func (s *sim) echo(p *packet) {
	i := int(p.flow)
	f := &s.flows[i]
	t := &f.state
	if !t.on || p.gen != t.gen {
		s.discard(p)
		return
	}
	arr := s.now + t.delay
	if t.jitter > 0 {
		arr += t.draw.below(t.jitter)
	}
	arr = max(arr, t.lastArr)
	t.lastArr = arr
	if f.wire.head == f.wire.tail {
		s.calendar.set(s.wireSource(i), arr)
	}
	*f.wire.push() = echo{arr: arr, seq: p.seq, ts: p.ts, aux: p.aux}
}
