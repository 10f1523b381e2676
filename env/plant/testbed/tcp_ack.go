package testbed

import "math"

// What an acknowledgement does to a flow: round-trip times, recovery and the window.

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
