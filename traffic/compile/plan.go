package compile

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/packet"
)

// Reasons of changes.
const (
	whyMTU        = "larger than the MTU: cut into several packets"
	whySoon       = "retransmission of other than the last bytes before an answer: with FIN again, or one byte more"
	whyAgain      = "retransmission of more bytes than were sent: sent as new ones"
	whyKeepAlive  = "keep-alive of more than a byte, or before anything was sent: sent as data or acknowledgement"
	whyFin        = "FIN before the last data of its side: sent without FIN"
	whyFinAgain   = "FIN again with more bytes than were sent: sent with none"
	whyReset      = "reset with bytes before the last packet of its side: sent without bytes"
	whySyn        = "SYN after data of its side: sent without SYN"
	whyNewSyn     = "a client's first SYN after data or an end, as of another connection: sent without SYN"
	whyPure       = "data without a byte: sent as acknowledgement"
	whyAckBytes   = "acknowledgement with bytes: sent as data"
	whyNoTCP      = "flags of TCP without TCP: sent as data"
	whyDNS        = "fewer bytes than a DNS message has: lengthened"
	whyQuote      = "an ICMP error too short to quote a packet: lengthened"
	whyNoTime     = "the trace is longer than pcap's time: gap cut"
	whyLate       = "the session starts after pcap's time: start cut"
	whyMoved      = "port moved: its dissector refuses neutral bytes"
	whyMovedICMP  = "ICMP type moved: its dissector refuses neutral bytes"
	whyTimestamps = "options: no room for timestamps beside full-sized segments"
)

// windowScale is the exponent in the option of profiles with "ws".
const windowScale = 7

// maxTime is the latest time of a packet, ns: 60 years after the base.
const maxTime = int64(60 * 365 * 86400 * 1e9)

// state is one side of a connection while it is planned.
type state struct {
	begun   bool   // something was sent
	syn     bool   // its SYN was sent
	opened  uint32 // the sequence number after its SYN
	fin     bool   // its FIN was sent
	next    uint32 // the next sequence number
	stream  uint32 // bytes sent
	free    bool   // no SYN: bytes before the first one may be sent again
	lastNew int    // index of the last action that sends new bytes, plus 1
	last    int    // index of its last action, plus 1
	latest  int    // index of its latest packet, plus 1
}

// plan turns a session's actions into packets. nil: it has none.
func (m *compiler) plan(s *traffic.Session, number int) (*session, error) {
	n := m.reader.Len(s)
	if n == 0 {
		return nil, nil
	}
	if err := m.bounded(s); err != nil {
		return nil, err
	}
	x := m.open(s, number)
	m.report.Actions += n
	at := nanoseconds(s.Start)
	if s.Start*1e9 > float64(maxTime) {
		m.report.Why[whyLate]++
	}
	switch x.proto {
	case packet.TCP:
		m.planTCP(x, s, at)
	default:
		m.planDatagrams(x, s, at)
	}
	if len(x.packets) == 0 {
		return nil, nil
	}
	x.at = x.packets[0].at
	x.fill.layout(x)
	return x, nil
}

func nanoseconds(s float64) int64 { return int64(min(math.Round(s*1e9), float64(maxTime))) }

// bounded reports a session whose actions are cut into too many packets.
func (m *compiler) bounded(s *traffic.Session) error {
	more := 0
	for i := range m.reader.Len(s) {
		size := m.reader.At(s, i).Size
		if more += size / m.MTU; more > maxPackets {
			return fmt.Errorf("compile: step %d: size: %d: actions are cut into more than %d packets", i, size, maxPackets)
		}
	}
	return nil
}

// changed notes a reason why the action that is planned is not sent as it is.
func (m *compiler) changed(why string) {
	m.report.Why[why]++
	m.differs = true
}

// said counts an action as changed once, however many reasons changed it.
func (m *compiler) said() {
	if m.differs {
		m.report.Changed++
		m.differs = false
	}
}

// after is the time a gap later.
func (m *compiler) after(at int64, gap float64) int64 {
	if math.Round(gap*1e9) > float64(maxTime-at) {
		m.changed(whyNoTime)
		return maxTime
	}
	return at + nanoseconds(gap)
}

func (m *compiler) planTCP(x *session, s *traffic.Session, at int64) {
	n := m.reader.Len(s)
	add := !m.reader.HasFlags() || m.Complete
	var side [2]state
	largest := 0
	for i := range n {
		a := m.reader.At(s, i)
		if a.Flags == flows.Syn {
			add = add && !m.reader.HasFlags()
		}
		if newBytes(a) {
			side[dirOf(a)].lastNew = i + 1
		}
		side[dirOf(a)].last = i + 1
		largest = max(largest, a.Size)
	}
	head := 40
	if !x.v4 {
		head = 60
	}
	most := m.MTU - head
	if profileHas[x.profile]["ts"] && largest > most-12 && largest <= most {
		// Real ones of this size had none.
		x.profile = withoutTimestamps(x.profile)
		m.report.Why[whyTimestamps]++
	}
	if profileHas[x.profile]["ts"] {
		most -= 12
	}
	c := connection{m: m, x: x, side: &side, most: most, at: at}
	if add {
		c.rtt = roundTrip(m, s)
		c.handshake()
	} else if a := m.reader.At(s, 0); a.Flags != flows.Syn || a.Down {
		// The capture begins in the middle, or with the answer to a SYN.
		side[0].free = true
		if a.Flags == flows.Syn {
			side[0].next, side[0].begun = 1, true
		}
	}
	for i := range n {
		a := m.reader.At(s, i)
		c.at = m.after(c.at, a.Gap)
		c.action(a, i)
		m.said()
		if add {
			c.acknowledge(a, i+1 < n && m.reader.At(s, i+1).Down == a.Down)
		}
	}
	if add {
		c.close()
	}
}

func dirOf(a flows.Action) int {
	if a.Down {
		return 1
	}
	return 0
}

// newBytes reports whether an action sends bytes for the first time.
func newBytes(a flows.Action) bool {
	return a.Size > 0 && (a.Flags == flows.Data || a.Flags == flows.Push || a.Flags == flows.Ack || a.Flags == flows.KeepAlive && a.Size > 1)
}

func withoutTimestamps(profile int) int {
	for i := range profileHas {
		same := !profileHas[i]["ts"]
		for _, o := range []string{"mss", "sack", "ws"} {
			same = same && profileHas[i][o] == profileHas[profile][o]
		}
		if same {
			return i
		}
	}
	return profile
}

// roundTrip guesses a connection's round trip: the smallest gap before an
// answer, from 1 ms to 200 ms.
func roundTrip(m *compiler, s *traffic.Session) int64 {
	best := int64(200e6)
	for i := 1; i < m.reader.Len(s); i++ {
		if a := m.reader.At(s, i); a.Down != m.reader.At(s, i-1).Down && a.Gap > 0 {
			best = min(best, nanoseconds(a.Gap))
		}
	}
	return max(best, 1e6)
}

// connection plans the segments of one session.
type connection struct {
	m      *compiler
	x      *session
	side   *[2]state
	most   int // payload bytes of a segment
	at     int64
	rtt    int64
	over   bool   // a side has sent data, or an end
	unsaid [2]int // segments received and not acknowledged, where acknowledgements are added
}

// segment appends a packet of side d.
func (c *connection) segment(d int, flags uint8, seq uint32, size int, stream uint32, again bool) {
	other := &c.side[1-d]
	if flags&packet.SYN == 0 || d == 1 {
		flags |= packet.ACK
	}
	if flags&packet.RST != 0 && !other.begun && c.side[d].begun {
		flags &^= packet.ACK // nothing to acknowledge
	}
	if k := other.latest; k > 0 && size > 0 {
		// A window that is filled to the byte says that the receiver is at its
		// limit, which no action means.
		p := &c.x.packets[k-1]
		window := uint32(p.window)
		if profileHas[c.x.profile]["ws"] && p.flags&packet.SYN == 0 {
			window <<= windowScale
		}
		if seq+uint32(size) == p.ack+window {
			p.window--
		}
	}
	c.x.packets = append(c.x.packets, planned{at: c.at, seq: seq, ack: other.next, size: uint32(size), stream: stream, flags: flags, window: 65535, down: d == 1, again: again})
	c.side[d].latest = len(c.x.packets)
	c.side[d].begun = true
	c.unsaid[d] = 0
}

// action plans action a, the i-th.
func (c *connection) action(a flows.Action, i int) {
	d := dirOf(a)
	t := &c.side[d]
	switch {
	case a.Flags == flows.Ack && a.Size > 0:
		c.m.changed(whyAckBytes)
		a.Flags = flows.Data
	case (a.Flags == flows.Data || a.Flags == flows.Push) && a.Size == 0:
		c.m.changed(whyPure)
		a.Flags = flows.Ack
	case a.Flags == flows.Syn && !t.syn && (t.stream > 0 || t.fin || t.free && t.begun && d == 0),
		a.Flags == flows.Syn && t.syn && t.next != t.opened:
		// A SYN again, after data of its side, looks like packets in another order.
		c.m.changed(whySyn)
		a.Flags = plain(a.Size)
	case a.Flags == flows.Syn && !t.syn && d == 0 && c.over:
		c.m.changed(whyNewSyn)
		a.Flags = plain(a.Size)
	case a.Flags == flows.KeepAlive && (a.Size > 1 || !t.begun):
		c.m.changed(whyKeepAlive)
		a.Flags = plain(a.Size)
	case a.Flags == flows.Fin && !t.fin && t.lastNew > i+1:
		c.m.changed(whyFin)
		a.Flags = plain(a.Size)
	case a.Flags == flows.Reset && a.Size > 0 && t.last > i+1:
		// A reset's bytes count in the sequence numbers but not in the stream: what
		// its side sends next would lie before them or leave a hole.
		c.m.changed(whyReset)
		a.Size = 0
	case a.Flags == flows.Fin && t.fin && uint32(a.Size) > t.stream:
		c.m.changed(whyFinAgain)
		a.Size = 0
	case a.Flags == flows.Retransmission && c.soon(d) && t.fin && a.Size > 0 && c.canRepeat(t, a.Size):
		c.m.changed(whySoon)
		a.Flags = flows.Fin
	case a.Flags == flows.Retransmission && c.soon(d) && a.Size == 1 && c.canRepeat(t, 2):
		c.m.changed(whySoon)
		a.Size = 2
	case a.Flags == flows.Retransmission && (a.Size == 0 || !c.canRepeat(t, a.Size)):
		c.m.changed(whyAgain)
		a.Flags = plain(a.Size)
		if t.fin && a.Size > 0 {
			a.Flags, a.Size = flows.Ack, 0
		}
	}
	if t.fin && (a.Flags == flows.Data || a.Flags == flows.Push) {
		// Only where an action was changed into one: nothing new follows a FIN.
		a.Flags, a.Size = flows.Ack, 0
	}
	switch a.Flags {
	case flows.Fin, flows.Reset:
		c.over = true
	case flows.Data, flows.Push, flows.Retransmission:
		c.over = c.over || a.Size > 0
	}
	switch a.Flags {
	case flows.Syn:
		seq := uint32(0)
		if !t.syn {
			t.syn = true
			if c.cut(a, d, packet.SYN) {
				return
			}
			c.segment(d, packet.SYN, seq, a.Size, 0, false)
			t.stream += uint32(a.Size)
			t.next = seq + uint32(a.Size) + 1
			t.opened = t.next
			return
		}
		size := min(a.Size, int(t.stream))
		c.segment(d, packet.SYN, seq, min(size, c.most), 0, true)
	case flows.Ack:
		c.segment(d, 0, t.next, 0, t.stream, false)
	case flows.Data, flows.Push:
		flags := uint8(0)
		if a.Flags == flows.Push {
			flags = packet.PSH
		}
		if !c.cut(a, d, flags) {
			c.fresh(d, flags, a.Size)
		}
	case flows.Fin:
		if t.fin {
			if a.Size > c.most {
				c.m.changed(whyMTU)
				a.Size = c.most
			}
			c.segment(d, packet.FIN, t.next-1-uint32(a.Size), a.Size, t.stream-uint32(a.Size), true)
			return
		}
		if !c.cut(a, d, packet.FIN) {
			c.fresh(d, packet.FIN, a.Size)
		}
		t.fin = true
		t.next++
	case flows.Reset:
		size := a.Size
		if size > c.most {
			c.m.changed(whyMTU)
			size = c.most
		}
		c.segment(d, packet.RST, t.next, size, t.stream, true)
	case flows.KeepAlive:
		if a.Size > 0 {
			// A dissector that puts messages together would take the byte for a
			// second one in the same place.
			c.x.fill.kind = neutral
		}
		c.segment(d, 0, t.next-1, a.Size, max(t.stream, 1)-1, true)
	case flows.Retransmission:
		size := a.Size
		if size > c.most {
			c.m.changed(whyMTU)
			size = c.most
		}
		back := uint32(size)
		if size == 1 {
			back = 2 // the last byte alone would be a keep-alive
		}
		seq := t.next - back
		if t.fin {
			seq--
		}
		c.segment(d, packet.PSH, seq, size, t.stream-back, true)
	}
}

// plain is the flag of a packet that is left without its own.
func plain(size int) flows.Flag {
	if size > 0 {
		return flows.Push
	}
	return flows.Ack
}

// soon reports whether the other side has not sent anything since side d did: a
// receiver that then finds bytes again which are not the last ones must think
// that packets were reordered.
func (c *connection) soon(d int) bool {
	return c.side[d].latest > c.side[1-d].latest && c.at-c.x.packets[c.side[d].latest-1].at < 1e9
}

// canRepeat reports whether size bytes lie behind what side t will send next.
func (c *connection) canRepeat(t *state, size int) bool {
	if size == 1 {
		size = 2
	}
	return uint32(size) <= t.stream || !t.syn && t.begun && size < 1<<20
}

// fresh sends size new bytes.
func (c *connection) fresh(d int, flags uint8, size int) {
	t := &c.side[d]
	c.segment(d, flags, t.next, size, t.stream, false)
	t.next += uint32(size)
	t.stream += uint32(size)
}

// cut sends an action of more than a segment as several, the last with flags.
func (c *connection) cut(a flows.Action, d int, flags uint8) bool {
	if a.Size <= c.most {
		return false
	}
	c.m.changed(whyMTU)
	left := a.Size
	if flags == packet.SYN {
		c.segment(d, packet.SYN, 0, c.most, 0, false)
		c.side[d].stream += uint32(c.most)
		c.side[d].next = uint32(c.most) + 1
		left -= c.most
		flags = 0
	}
	for left > c.most {
		c.fresh(d, 0, c.most)
		left -= c.most
	}
	c.fresh(d, flags, left)
	return true
}

// handshake adds SYN, its answer and the acknowledgement.
func (c *connection) handshake() {
	c.segment(0, packet.SYN, 0, 0, 0, false)
	c.side[0].syn, c.side[0].next, c.side[0].opened = true, 1, 1
	c.at += c.rtt / 2
	c.segment(1, packet.SYN, 0, 0, 0, false)
	c.side[1].syn, c.side[1].next, c.side[1].opened = true, 1, 1
	c.at += c.rtt / 2
	c.segment(0, 0, 1, 0, 0, false)
	c.m.report.Added += 3
}

// acknowledge adds the receiver's acknowledgement after every second segment,
// and where the sender turns silent.
func (c *connection) acknowledge(a flows.Action, more bool) {
	if a.Size == 0 {
		return
	}
	d := dirOf(a)
	if c.unsaid[1-d]++; more && c.unsaid[1-d] < 2 {
		return
	}
	now := c.at
	c.segment(1-d, 0, c.side[1-d].next, 0, c.side[1-d].stream, false)
	c.at = now
	c.m.report.Added++
}

// close adds what is missing of both sides' FIN and their acknowledgements.
func (c *connection) close() {
	for _, p := range c.x.packets {
		if p.flags&packet.RST != 0 {
			return
		}
	}
	for d := range 2 {
		if t := &c.side[d]; !t.fin {
			c.at += c.rtt / 2
			c.segment(d, packet.FIN, t.next, 0, t.stream, false)
			t.fin = true
			t.next++
			c.m.report.Added++
		}
	}
	c.at += c.rtt / 2
	c.segment(0, 0, c.side[0].next, 0, c.side[0].stream, false)
	c.m.report.Added++
}

// planDatagrams plans UDP and ICMP: each action is a packet.
func (m *compiler) planDatagrams(x *session, s *traffic.Session, at int64) {
	most := m.MTU - 28
	if !x.v4 {
		most = m.MTU - 48
	}
	var count [2]uint32
	for i := range m.reader.Len(s) {
		a := m.reader.At(s, i)
		at = m.after(at, a.Gap)
		if m.reader.HasFlags() && a.Flags != flows.Data {
			m.changed(whyNoTCP)
		}
		size := a.Size
		if least, why := x.least(); size < least {
			m.changed(why)
			size = least
		}
		if size > most {
			m.changed(whyMTU)
			if x.proto != packet.UDP {
				size = most
			}
		}
		d := dirOf(a)
		for {
			n := min(size, most)
			if least, _ := x.least(); size-n > 0 && size-n < least {
				n -= least
			}
			x.packets = append(x.packets, planned{at: at, size: uint32(n), stream: count[d], down: a.Down})
			count[d]++
			if size -= n; size <= 0 {
				break
			}
		}
		m.said()
	}
}
