package testbed

import "math"

const maxHops = 16

// probe is what a probe collects on its way.
type probe struct {
	sent int64
	hops [maxHops]hopRecord
}

func (p *probe) hop(h uint8) *hopRecord { return &p.hops[h] }

// hopRecord is BMv2's queueing metadata at one port.
type hopRecord struct {
	enq                int64 // ns, enqueued
	wait               int64 // ns from there to dequeue
	enqDepth, deqDepth int32 // packets waiting before the push, after the pop
}

// hopValues is a hop as the INT CSV has it.
type hopValues struct{ enqDepth, deqTimedelta, deqDepth float64 } // packets, µs, packets

// intState gathers the probes of a second.
type intState struct {
	draw  draw
	next  int64
	n     uint32 // probes that arrived in this second
	sent  uint32
	hops  [maxHops]hopValues // by switch: aggregated
	last  [maxHops]hopValues // of the last second that had a probe
	worst float64
	_     [0]uint64
}

func (m *intState) clear() { m.n, m.hops, m.worst = 0, [maxHops]hopValues{}, -1 }

func (s *sim) sendProbe() {
	m := &s.int
	id, r := s.probes.get()
	*r = probe{sent: s.now}
	m.next += int64(1e9 / s.cfg.Probe.PerSecond)
	s.calendar.set(s.probeAt, m.next)
	s.arrive(int(s.route[s.probePath()][0]), packet{seq: m.sent, aux: id, size: uint16(s.cfg.Probe.Bytes), path: s.probePath(), kind: probePacket})
	m.sent++
}

func (s *sim) probePath() uint8 { return s.cfg.Video.path }

// onProbe takes a probe's record in.
func (s *sim) onProbe(p *packet) {
	m := &s.int
	r := s.probes.at(p.aux)
	var hops [maxHops]hopValues
	for n := range s.switches {
		h := &r.hops[s.hopOf[n]]
		c := &s.cfg.Ports[s.route[s.probePath()][s.hopOf[n]]]
		us := float64(h.wait) / 1e3
		if c.WakeUS > 0 {
			us += c.WakeUS * math.Exp(c.WakeSigma*m.draw.normal())
		}
		hops[n] = hopValues{float64(h.enqDepth), math.Round(us), float64(h.deqDepth)}
	}
	s.log.probe(s, r, &hops)
	s.probes.put(p.aux)
	m.n++
	switch s.cfg.Probe.Aggregate {
	case "mean":
		for n := range s.switches {
			a, b, k := &m.hops[n], &hops[n], float64(m.n)
			a.enqDepth += (b.enqDepth - a.enqDepth) / k
			a.deqTimedelta += (b.deqTimedelta - a.deqTimedelta) / k
			a.deqDepth += (b.deqDepth - a.deqDepth) / k
		}
	case "last":
		m.hops = hops
	default: // max-timedelta1, as the tutorial
		if hops[0].deqTimedelta > m.worst {
			m.worst, m.hops = hops[0].deqTimedelta, hops
		}
	}
	m.last = m.hops
}

// measure writes the second that ends now.
func (s *sim) measure(values []float32, valid []bool) {
	m := &s.int
	k := 0
	put := func(x float64, ok bool) {
		values[k], valid[k] = float32(x), ok
		k++
	}
	for n := range s.switches {
		h := &m.last[n]
		put(h.enqDepth, m.n > 0)
		put(h.deqTimedelta, m.n > 0)
		put(h.deqDepth, m.n > 0)
	}
	p := &s.players[0]
	p.advance(s.now, &s.video[0])
	l := s.video[0].ladder[p.level]
	put(float64(p.buffer)/1e9, true)
	put(float64(l.FPS), true)
	put(float64(l.Kbps), true)
	put(p.decoded/1000*s.cfg.Video.DecodedScale, true)
	put(float64(p.stalled)/1e9, true)
}
