package testbed

import "math"

// kind says what a packet is.
type kind uint8

const (
	dataPacket  kind = iota
	ackPacket        // seq is the acknowledgement, ts the echoed time, aux a sackBlocks or 0
	udpPacket        // counted and forgotten
	probePacket      // aux is its probe
	noPacket         // dropped by its queue's head, never arrives
)

// packet is what travels. Its times are on the slot that it sits in.
type packet struct {
	seq  uint32 // segments
	ts   uint32 // µs, wraps
	aux  uint32
	flow uint16
	size uint16 // bytes
	path uint8
	hop  uint8
	kind kind
	gen  uint8 // of the flow: what an earlier session left behind is stale
}

// slot is a packet at a port: in its queue until rel, on its wire until arr.
type slot struct {
	enq, rel, arr int64
	packet
	_ uint32
}

// port is an egress port: a FIFO of at most limit packets, then a wire.
//
// Service follows BMv2: a packet is refused where the queue holds limit
// packets; it is released at max(now, last release + gap). The release is
// therefore known at arrival and a hop costs one event, its end. A smaller
// limit drops nothing: what waits is served, and arrivals are refused until
// there is room.
//
// With late, the thread that sleeps until a release wakes some time after it,
// and lets go what else was due by then; the rule's own clock does not slip.
type port struct {
	slots ring[slot]
	portState
}

type portState struct {
	queue   uint32 // the first slot that may still wait; older ones are on the wire
	limit   int32  // packets
	next    int64  // no release before
	lastArr int64
	gap     int64   // ns between releases, by packets/s
	perByte float64 // ns, by bit/s
	prop    int64   // ns
	jitter  int64   // ns, uniform, order kept
	loss    float64
	late    float64 // ns, median
	spread  float64 // of late's logarithm
	woken   int64   // when the thread wakes from the latest sleep
	service service
	aqm     aqm
	draw    draw
	count   portCount
}

// portCount is what a port did since the run began.
type portCount struct {
	Arrived, Refused, Dropped, Lost, Delivered uint64 // packets: refused by the limit, dropped by the AQM, lost on the wire
	DepthSum, DepthMax                         uint64 // enq_qdepth over accepted packets
	WaitSum                                    uint64 // ns in queue over accepted packets
}

// service is how the gap between releases is distributed.
type service uint8

const (
	fixedService service = iota
	exponentialService
)

// arrive is packet p reaching port i at s.now.
func (s *sim) arrive(i int, p packet) {
	q := &s.ports[i]
	now := s.now
	q.count.Arrived++
	r := &q.slots
	if q.aqm.kind != codel {
		for q.queue != r.tail && r.at(q.queue).rel <= now {
			q.queue++
		}
	}
	size := int32(r.tail - q.queue)
	if size >= q.limit {
		q.count.Refused++
		s.discard(&p)
		return
	}
	if q.aqm.kind != dropTail && q.aqm.refuse(q, now, size) {
		q.count.Dropped++
		s.discard(&p)
		return
	}
	q.count.DepthSum += uint64(size)
	q.count.DepthMax = max(q.count.DepthMax, uint64(size))
	if p.kind == probePacket {
		h := s.probes.at(p.aux).hop(p.hop)
		h.enq, h.enqDepth = now, size
	}
	first := r.head == r.tail
	if q.aqm.kind == codel {
		waits := q.queue != r.tail
		*r.push() = slot{enq: now, packet: p}
		if !waits {
			s.calendar.set(s.codelSource(i), max(now, q.next))
		}
		return
	}
	due := max(now, q.next)
	rel := due
	if q.late > 0 {
		if q.woken <= due {
			q.woken = due + int64(q.late*math.Exp(q.spread*q.draw.normal()))
		}
		rel = q.woken
	}
	q.count.WaitSum += uint64(rel - now)
	*r.push() = slot{enq: now, rel: rel, arr: q.release(due, rel, &p), packet: p}
	if first {
		s.calendar.set(i, q.lastArr)
	}
}

// release occupies the server with p from due on and gives the arrival of p,
// which leaves the queue at rel.
func (q *port) release(due, rel int64, p *packet) int64 {
	gap := q.gap
	if q.service == exponentialService {
		gap = int64(float64(gap) * q.draw.exponential())
	}
	arr := rel + q.prop
	if q.perByte > 0 {
		tx := int64(q.perByte * float64(p.size))
		gap = max(gap, tx)
		arr += tx
	}
	q.next = due + gap
	if q.jitter > 0 {
		arr += q.draw.below(q.jitter)
	}
	q.lastArr = max(arr, q.lastArr)
	return q.lastArr
}

// landed is the oldest packet on port i's wire reaching the wire's end.
func (s *sim) landed(i int) {
	q := &s.ports[i]
	r := &q.slots
	at := r.head
	e := r.at(at)
	p := e.packet
	if p.kind == probePacket {
		h := s.probes.at(p.aux).hop(p.hop)
		h.wait = e.rel - e.enq
		if q.aqm.kind != codel { // what joined the queue while the probe waited
			h.deqDepth = 0
			for j := at + 1; j != r.tail && r.at(j).enq <= e.rel; j++ {
				h.deqDepth++
			}
		}
	}
	r.head++
	if int32(q.queue-r.head) < 0 {
		q.queue = r.head
	}
	if r.head == q.tailOfWire() {
		s.calendar.set(i, never)
	} else {
		s.calendar.set(i, r.at(r.head).arr)
	}
	if p.kind == noPacket {
		return
	}
	if q.loss > 0 && q.draw.uniform() < q.loss {
		q.count.Lost++
		s.discard(&p)
		return
	}
	q.count.Delivered++
	s.hops++
	p.hop++
	if next := s.route[p.path][p.hop]; next >= 0 {
		s.arrive(int(next), p)
		return
	}
	s.deliver(p)
}

// tailOfWire is one past the last slot whose arrival is known.
func (q *port) tailOfWire() uint32 {
	if q.aqm.kind == codel {
		return q.queue
	}
	return q.slots.tail
}

// discard gives back what a packet that ends here holds.
func (s *sim) discard(p *packet) {
	switch p.kind {
	case ackPacket:
		s.sacks.put(p.aux)
	case probePacket:
		s.probes.put(p.aux)
	}
}

// nanoseconds of a rate per second.
func perSecond(rate float64) int64 {
	if rate <= 0 {
		return 0
	}
	return int64(math.Round(1e9 / rate))
}
