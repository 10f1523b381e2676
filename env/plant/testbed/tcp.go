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
