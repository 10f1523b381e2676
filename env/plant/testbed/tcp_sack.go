package testbed

// What selective acknowledgements say of the segments under way (RFC 2018, RFC 6675,
// RFC 8985).

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
