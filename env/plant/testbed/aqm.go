package testbed

import "math"

// aqmKind is a port's queue management.
type aqmKind uint8

const (
	dropTail aqmKind = iota
	codel
	pi2
	red
)

// aqm is the state and parameters of a port's queue management.
//
// CoDel follows RFC 8289 (sections 5.4-5.6), decides at the queue's head and
// costs an event per release more. PI2 (De Schepper et al., CoNEXT 2016; gains
// of RFC 9332, appendix A) and RED (Floyd and Jacobson 1993, gentle) decide at
// arrival. All drop: there is no ECN here.
type aqm struct {
	kind     aqmKind
	dropping bool
	_        [6]byte

	target, interval int64 // ns: codel, pi2

	// CoDel
	above, dropNext  int64 // first_above_time, drop_next
	count, lastCount uint32

	// PI2
	p       float64
	updated int64
	delay   int64

	// RED
	low, high, maxP, weight float64
	avg                     float64
	since                   int64
}

const (
	pi2Alpha  = 0.16 // 1/s: RFC 9332, appendix A, for an RTT of at most 100 ms
	pi2Beta   = 3.2  // 1/s: likewise
	pi2Update = 16e6 // ns
)

// refuse decides on a packet that arrives where size packets wait.
func (a *aqm) refuse(q *port, now int64, size int32) bool {
	switch a.kind {
	case pi2:
		// No packet came since the last update, so the delay at each update
		// that is due is known: the queue drains to q.next.
		for ; a.updated+pi2Update <= now; a.updated += pi2Update {
			delay := max(q.next-(a.updated+pi2Update), 0)
			a.p += float64(pi2Alpha*float64(delay-a.target)*1e-9) + float64(pi2Beta*float64(delay-a.delay)*1e-9)
			a.p = min(max(a.p, 0), 1)
			a.delay = delay
			if a.p == 0 && delay == 0 {
				a.updated += (now - a.updated) / pi2Update * pi2Update
				break
			}
		}
		return size > 1 && q.draw.uniform() < a.p*a.p
	case red:
		if size == 0 { // while idle the average decays as if small packets had come
			gaps := float64(max(now-q.next, 0)) / float64(max(q.gap, 1))
			a.avg *= math.Pow(1-a.weight, gaps)
		}
		a.avg += a.weight * (float64(size) - a.avg)
		var p float64
		switch {
		case a.avg < a.low:
			a.since = 0
			return false
		case a.avg < a.high:
			p = a.maxP * (a.avg - a.low) / (a.high - a.low)
		case a.avg < 2*a.high:
			p = a.maxP + (1-a.maxP)*(a.avg-a.high)/a.high
		default:
			return true
		}
		p /= max(1-float64(a.since)*p, p) // spreads the drops evenly
		a.since++
		if q.draw.uniform() < p {
			a.since = 0
			return true
		}
	}
	return false
}

// codelSource is the calendar entry of port i's releases.
func (s *sim) codelSource(i int) int { return s.firstCodel + i }

// codelRelease is the moment that port i's server is free and packets wait.
func (s *sim) codelRelease(i int) {
	q := &s.ports[i]
	a := &q.aqm
	r := &q.slots
	now := s.now
	first := r.head == q.queue // nothing is on the wire
	// head drops the packet at the queue's head, or reports whether it should go.
	late := func() bool {
		if q.queue == r.tail {
			a.above = 0
			return false
		}
		if now-r.at(q.queue).enq < a.target || r.tail-q.queue <= 1 {
			a.above = 0
			return false
		}
		if a.above == 0 {
			a.above = now + a.interval
			return false
		}
		return now >= a.above
	}
	drop := func() {
		e := r.at(q.queue)
		s.discard(&e.packet)
		e.kind, e.rel, e.arr = noPacket, now, q.lastArr
		q.queue++
		q.count.Dropped++
	}
	law := func(t int64) int64 { return t + int64(float64(a.interval)/math.Sqrt(float64(a.count))) }
	ok := late()
	if a.dropping {
		if !ok {
			a.dropping = false
		}
		for a.dropping && now >= a.dropNext {
			drop()
			a.count++
			if !late() {
				a.dropping = false
			} else {
				a.dropNext = law(a.dropNext)
			}
		}
	} else if ok {
		drop()
		late()
		a.dropping = true
		delta := a.count - a.lastCount
		a.count = 1
		if delta > 1 && now-a.dropNext < 16*a.interval {
			a.count = delta
		}
		a.dropNext = law(now)
		a.lastCount = a.count
	}
	if q.queue != r.tail {
		e := r.at(q.queue)
		e.rel = now
		e.arr = q.release(now, now, &e.packet)
		q.count.WaitSum += uint64(now - e.enq)
		q.queue++
		if e.kind == probePacket {
			s.probes.at(e.aux).hop(e.hop).deqDepth = int32(r.tail - q.queue)
		}
	}
	if first && r.head != q.queue {
		s.calendar.set(i, r.at(r.head).arr)
	}
	if q.queue != r.tail {
		s.calendar.set(s.codelSource(i), q.next)
	} else {
		s.calendar.set(s.codelSource(i), never)
	}
}
