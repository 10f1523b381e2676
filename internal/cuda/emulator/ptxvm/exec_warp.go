package ptxvm

import (
	"math/bits"
)

// warpWide executes an instruction over all lanes of the current group, whose
// members are all here.
func (m *machine) warpWide(w *warp, in *instr) {
	members := &w.r32[in.c.row]
	switch in.op {
	case opWarpBar:
		w.epoch++
	case opShfl:
		m.shuffle(w, in)
	case opVote:
		p := w.p[in.a.row]
		if in.signed {
			p = ^p
		}
		for _, l := range w.lanes {
			all := members[l] & w.mask
			switch in.mode {
			case voteAll:
				w.put(in.d, l, bit(p&all == all))
			case voteAny:
				w.put(in.d, l, bit(p&all != 0))
			case voteUni:
				w.put(in.d, l, bit(p&all == 0 || p&all == all))
			case voteBallot:
				w.r32[in.d.row][l] = p & all
			}
		}
	case opRedux:
		w.fetch(&m.a, in.a, w.lanes)
		for _, l := range w.lanes {
			var v uint64
			started := false
			for rest := members[l] & w.mask; rest != 0; rest &= rest - 1 {
				x := m.a[bits.TrailingZeros32(rest)]
				if started {
					x = in.f(v, x, 0)
				}
				v, started = uint64(uint32(x)), true
			}
			w.put(in.d, l, v)
		}
	}
}

// shuffle is shfl.sync (PTX ISA, "Data Movement: shfl.sync"): c[4:0] bounds the
// lane that is read, c[12:8] cuts the warp into segments.
func (m *machine) shuffle(w *warp, in *instr) {
	w.fetch(&m.a, in.a, list(^uint32(0), &w.guarded))
	members, bs, cs := &w.r32[in.c.row], &w.r32[in.b.row], &w.r32[in.v[0].row]
	var out [32]uint32
	var valid uint32
	for _, l := range w.lanes {
		lane, b, cval := int(l), int(bs[l]&31), cs[l]
		segment := int(cval >> 8 & 31)
		limit := lane&segment | int(cval&31)&^segment
		low := lane & segment
		from, ok := 0, false
		switch in.mode {
		case shflUp:
			from = lane - b
			ok = from >= limit
		case shflDown:
			from = lane + b
			ok = from <= limit
		case shflBfly:
			from = lane ^ b
			ok = from <= limit
		default:
			from = low | b&^segment
			ok = from <= limit
		}
		if !ok {
			from = lane
		} else {
			valid |= 1 << lane
		}
		if members[l]&w.mask>>from&1 == 0 {
			m.fail(w, lane, "reads lane %d, which takes no part (member mask %#x, lanes here %#x)", from, members[l], w.mask)
			return
		}
		out[l] = uint32(m.a[from])
	}
	for _, l := range w.lanes {
		w.r32[in.d.row][l] = out[l]
	}
	if in.e.class != 0 {
		w.p[in.e.row] = w.p[in.e.row]&^w.mask | valid
	}
}
