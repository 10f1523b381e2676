package testbed

// The receiving side: what arrived, and what is acknowledged of it.

// echo is an acknowledgement on its way to the sender.
type echo struct {
	arr          int64
	seq, ts, aux uint32
	_            uint32
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
