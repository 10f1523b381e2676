package flows

import (
	"encoding/binary"

	"github.com/planegym/planegym/traffic/packet"
)

// A network card with segmentation offload (TSO, GSO) takes frames of up to 64 kB
// from its host and sends segments, one with receive offload (GRO, LRO) puts
// segments together; a capture on such a host has frames that no link carried.

const (
	linkMTU  = 1500 // bytes of an IP packet on Ethernet
	leastMSS = 48   // a smaller MSS is not believed (Linux's net.ipv4.tcp_min_snd_mss)
)

// segment is how many bytes a segment of a flow's direction holds at most: the
// smaller of the MSS options seen of both sides, or what Ethernet takes, less
// the options of q (RFC 9293, section 3.7.1; RFC 6691).
func (f *flow) segment(q *packet.Packet) int {
	most := 0
	for _, h := range f.half {
		if h.mss > 0 && (most == 0 || h.mss < most) {
			most = h.mss
		}
	}
	if most == 0 {
		most = linkMTU - leastHeaders(q)
	}
	return max(most-len(q.TCPOptions), leastMSS)
}

// leastHeaders is the bytes of a packet's headers without options.
func leastHeaders(q *packet.Packet) int {
	if q.Src.Is4() {
		return 40
	}
	return 60
}

// offloaded reports whether q is a frame that offload made: one that neither
// Ethernet nor its own connection allows. Jumbo frames and those of a loopback
// interface, whose connections announce a larger MSS, are packets as they are.
func (f *flow) offloaded(q *packet.Packet) bool {
	return q.Proto == packet.TCP && q.Flags&(packet.SYN|packet.RST|packet.URG) == 0 &&
		leastHeaders(q)+len(q.TCPOptions)+q.Length > linkMTU && q.Length > f.segment(q)
}

// segments yields the segments of a frame that offload made, in order. PSH and
// FIN are those of the last.
func (f *flow) segments(q *packet.Packet, yield func(piece *packet.Packet)) {
	most := f.segment(q)
	for at := 0; at < q.Length; at += most {
		p := *q
		p.Seq += uint32(at)
		p.Length = min(most, q.Length-at)
		p.Payload = q.Payload[min(at, len(q.Payload)):min(at+most, len(q.Payload))]
		if at+most < q.Length {
			p.Flags &^= packet.PSH | packet.FIN
		}
		yield(&p)
	}
}

// announced is the MSS option of a SYN, 0 without one that is believed.
func announced(o []byte) int {
	for kind, value := range packet.Options(o) {
		if kind == packet.MSS && len(value) == 2 {
			if mss := int(binary.BigEndian.Uint16(value)); mss >= leastMSS {
				return mss
			}
			return 0
		}
	}
	return 0
}
