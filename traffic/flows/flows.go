package flows

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/packet"
)

// Options say how packets become sessions. Zero values are the defaults in the
// comments.
type Options struct {
	Label string        // of all sessions; "": none
	Idle  time.Duration // of silence after which a five-tuple is another session; 1 h
	Span  time.Duration // that a capture may cover; 24 h
	// Whole leaves TCP frames that segmentation offload put together one step. By
	// default they are cut into segments of the connection's MSS, which is what a
	// link carries; the segments after the first have gap 0.
	Whole bool
	// Each, where it is not nil, is called for every packet that became a step of
	// a session (its index among those of Set), up or down, and for every segment of
	// one that was cut. The packet is the caller's until it returns.
	Each func(session, step int, down bool, p *packet.Packet)
}

// ErrSpan is wrapped by the error of a capture whose times lie further apart
// than Options.Span: it is several captures in one file, and gaps and starts
// would say nothing.
var ErrSpan = errors.New("flows: the capture covers too long a time")

// Counts says what became of packets.
type Counts struct {
	Packets int            // of the capture
	Actions int            // that became a step of a session; a cut one counts once
	Cut     int            // of them: frames of segmentation offload, cut into segments
	Added   int            // steps of such segments, beyond one a frame
	Left    map[string]int // that did not, by reason
	Lost    map[string]int // actions that do not say all of their packet, by what is lost
	Bad     int            // checksums, of headers and transport: NICs that compute them leave many
}

func newCounts() Counts { return Counts{Left: map[string]int{}, Lost: map[string]int{}} }

// Add adds another capture's counts.
func (c *Counts) Add(o Counts) {
	c.Packets, c.Actions, c.Bad = c.Packets+o.Packets, c.Actions+o.Actions, c.Bad+o.Bad
	c.Cut, c.Added = c.Cut+o.Cut, c.Added+o.Added
	if c.Left == nil {
		c.Left, c.Lost = map[string]int{}, map[string]int{}
	}
	for k, n := range o.Left {
		c.Left[k] += n
	}
	for k, n := range o.Lost {
		c.Lost[k] += n
	}
}

// ReadFile reads a capture, pcap or pcapng.
func ReadFile(path string, o Options) (*traffic.Set, Counts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Counts{}, err
	}
	defer f.Close()
	return Read(f, path, o)
}

// Read reads a capture whose name is used in errors.
func Read(in io.Reader, name string, o Options) (*traffic.Set, Counts, error) {
	r, err := pcap.NewReader(in, name)
	if err != nil {
		return nil, Counts{}, err
	}
	b := NewBuilder(o)
	for p := (pcap.Packet{}); ; {
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			return b.Set(), b.counts, nil
		} else if err != nil {
			return nil, Counts{}, err
		}
		if err := b.Add(p.Time, uint16(p.Link), p.Data); err != nil {
			return nil, Counts{}, fmt.Errorf("%s: packet %d: %w", name, b.counts.Packets, err)
		}
	}
}

// key is a five-tuple, the smaller end first.
type key struct {
	a, b   netip.AddrPort
	proto  uint8
	detail uint16 // ICMP: type and code, of an echo its identifier
}

// flow is a five-tuple that is going on.
type flow struct {
	session int // index in Builder.sessions
	client  netip.AddrPort
	last    time.Time
	half    [2]half // of up, down
	ended   bool    // a FIN or RST was seen
	bytes   bool    // data was seen
}

// half is one direction of a TCP connection.
type half struct {
	known bool
	next  uint32 // sequence number after the last byte sent
	isn   uint32
	syn   bool
	mss   int // announced; 0: not seen
}

// open is a session while it grows.
type open struct {
	traffic.Session
	client, server netip.Addr
	ttl            [2]bool
	start          time.Time
}

// Builder makes sessions of packets as they come.
type Builder struct {
	o        Options
	counts   Counts
	flows    map[key]*flow
	sessions []*open
	first    time.Time
	last     time.Time
}

// NewBuilder begins a capture.
func NewBuilder(o Options) *Builder {
	if o.Idle == 0 {
		o.Idle = time.Hour
	}
	if o.Span == 0 {
		o.Span = 24 * time.Hour
	}
	return &Builder{o: o, counts: newCounts(), flows: map[key]*flow{}}
}

// Counts says what became of the packets so far.
func (b *Builder) Counts() Counts { return b.counts }

func (b *Builder) left(why string)  { b.counts.Left[why]++ }
func (b *Builder) lost(what string) { b.counts.Lost[what]++ }

// Add takes a packet in that begins with a header of a link type
// (https://www.tcpdump.org/linktypes.html). Its only error wraps ErrSpan.
func (b *Builder) Add(at time.Time, link uint16, data []byte) error {
	b.counts.Packets++
	if b.counts.Packets == 1 {
		b.first, b.last = at, at
	}
	if d := at.Sub(b.first); d > b.o.Span || d < -b.o.Span {
		return fmt.Errorf("%w: a packet at %v, the first at %v; at most %v apart", ErrSpan, at.UTC(), b.first.UTC(), b.o.Span)
	}
	ip, frame, err := packet.Strip(link, data)
	if errors.Is(err, packet.ErrLink) {
		b.left(fmt.Sprintf("link type %d", link))
		return nil
	}
	if err != nil {
		b.left(err.Error())
		return nil
	}
	if ip == nil {
		if frame.Type < 1536 {
			b.left("not IP: a frame of 802.3")
		} else {
			b.left(fmt.Sprintf("not IP: type %#04x", frame.Type))
		}
		return nil
	}
	if frame.VLANs > 0 {
		b.lost("VLAN tag")
	}
	var q packet.Packet
	if err := q.Decode(ip); err != nil {
		switch {
		case errors.Is(err, packet.ErrProtocol):
			b.left(fmt.Sprintf("IP protocol %d", q.Proto))
		case errors.Is(err, packet.ErrMalformed):
			b.left(packet.ErrMalformed.Error())
		default:
			b.left(err.Error())
		}
		return nil
	}
	for _, s := range []packet.Sum{q.L3, q.L4} {
		if s == packet.Bad {
			b.counts.Bad++
		}
	}
	if q.Length > len(q.Payload) {
		b.lost("payload cut by the capture")
	}
	b.take(at, &q)
	return nil
}

// end is both ends of a packet and what tells its flow from others'.
func ends(q *packet.Packet) (from, to netip.AddrPort, detail uint16, ok bool) {
	from, to = netip.AddrPortFrom(q.Src, q.SrcPort), netip.AddrPortFrom(q.Dst, q.DstPort)
	switch q.Proto {
	case packet.ICMPv4, packet.ICMPv6:
		switch {
		case isEcho(q):
			return from, to, uint16(q.Rest >> 16), true
		case isICMPError(q.Proto, q.Type):
			return from, to, uint16(q.Type)<<8 | uint16(q.Code), true
		}
		return from, to, 0, false
	}
	return from, to, 0, true
}

func isEcho(q *packet.Packet) bool {
	return q.Code == 0 && (q.Proto == packet.ICMPv4 && (q.Type == 8 || q.Type == 0) || q.Proto == packet.ICMPv6 && (q.Type == 128 || q.Type == 129))
}

// isICMPError reports whether a message quotes the packet that it is about:
// unreachable, time exceeded, and of version 6 too big and parameter problem.
func isICMPError(proto, kind uint8) bool {
	if proto == packet.ICMPv4 {
		return kind == 3 || kind == 11
	}
	return kind >= 1 && kind <= 4
}

func (b *Builder) take(at time.Time, q *packet.Packet) {
	from, to, detail, ok := ends(q)
	if !ok {
		b.left(fmt.Sprintf("ICMP type %d", q.Type))
		return
	}
	if q.Proto == packet.TCP && q.Flags&(packet.SYN|packet.FIN|packet.RST|packet.ACK) == 0 {
		b.left("TCP without a flag of SYN, ACK, FIN, RST")
		return
	}
	k := key{from, to, q.Proto, detail}
	if c := from.Compare(to); c > 0 {
		k.a, k.b = to, from
	}
	f := b.flows[k]
	if f == nil || b.another(f, at, q, from) {
		f = b.begin(k, from, to, at, q)
	}
	dir := 0
	if from != f.client {
		dir = 1
	} else if from == to { // an address that talks to itself: ICMP of one host
		if isEcho(q) && (q.Type == 0 || q.Type == 129) {
			dir = 1
		}
	}
	s := b.sessions[f.session]
	gap := at.Sub(f.last)
	if gap < 0 {
		b.lost("a time before the packet before")
		gap = 0
	} else {
		f.last = at
	}
	b.last = at
	if q.Proto == packet.TCP && q.Flags&packet.SYN != 0 {
		if mss := announced(q.TCPOptions); mss > 0 {
			f.half[dir].mss = mss
		}
	}
	if b.o.Whole || !f.offloaded(q) {
		b.step(f, s, dir, q, gap)
	} else {
		b.counts.Cut++
		b.counts.Added--
		f.segments(q, func(p *packet.Packet) {
			b.counts.Added++
			b.step(f, s, dir, p, gap)
			gap = 0
		})
	}
	b.counts.Actions++
	b.describe(s, dir, q)
}

// step appends a packet as a session's next step.
func (b *Builder) step(f *flow, s *open, dir int, q *packet.Packet, gap time.Duration) {
	a := Action{Down: dir == 1, Size: q.Length, Gap: gap.Seconds()}
	if q.Proto == packet.TCP {
		a.Flags = b.classify(f, dir, q)
	}
	s.Steps = a.Append(s.Steps)
	if b.o.Each != nil {
		b.o.Each(f.session, len(s.Steps)/StepFields-1, dir == 1, q)
	}
}

// another reports whether a packet begins a new session on a known five-tuple.
func (b *Builder) another(f *flow, at time.Time, q *packet.Packet, from netip.AddrPort) bool {
	if at.Sub(f.last) > b.o.Idle {
		return true
	}
	if q.Proto != packet.TCP || q.Flags&(packet.SYN|packet.ACK|packet.RST) != packet.SYN {
		return false
	}
	dir := 0
	if from != f.client {
		dir = 1
	}
	h := f.half[dir]
	return !h.syn && (f.ended || f.bytes || h.known) || h.syn && h.isn != q.Seq
}

// begin opens a session, the client being who sent the SYN, or asked; else who
// is on an ephemeral port where the other is on a lower one; else who sends
// first.
func (b *Builder) begin(k key, from, to netip.AddrPort, at time.Time, q *packet.Packet) *flow {
	client, server := from, to
	const ephemeral = 32768
	switch {
	case q.Proto == packet.TCP && q.Flags&packet.SYN != 0:
		if q.Flags&packet.ACK != 0 {
			client, server = to, from
		}
	case q.Proto == packet.ICMPv4 || q.Proto == packet.ICMPv6:
		if isEcho(q) && (q.Type == 0 || q.Type == 129) {
			client, server = to, from
		}
	case from.Port() < ephemeral && to.Port() >= ephemeral:
		client, server = to, from
	}
	f := &flow{session: len(b.sessions), client: client, last: at}
	b.flows[k] = f
	s := &open{client: client.Addr(), server: server.Addr(), start: at}
	s.Label = -1
	s.Meta = make([]float64, MetaFields)
	switch q.Proto {
	case packet.TCP:
		s.Meta[Protocol] = TCP
		s.Meta[OptionProfile] = defaultProfile
	case packet.UDP:
		s.Meta[Protocol] = UDP
	default:
		s.Meta[Protocol] = ICMP
	}
	s.Meta[ServerPort] = float64(server.Port())
	if q.Proto == packet.ICMPv4 || q.Proto == packet.ICMPv6 {
		kind := q.Type
		switch kind {
		case 0:
			kind = 8
		case 129:
			kind = 128
		}
		s.Meta[ServerPort] = float64(int(kind)<<8 | int(q.Code))
	}
	if !q.Src.Is4() {
		s.Meta[Version] = 1
	}
	s.Meta[TTLUp], s.Meta[TTLDown] = 1, 1
	b.sessions = append(b.sessions, s)
	return f
}

// classify says what a segment is for, and follows its direction.
func (b *Builder) classify(f *flow, dir int, q *packet.Packet) Flag {
	h := &f.half[dir]
	n := uint32(q.Length)
	behind := h.known && int32(q.Seq-h.next) < 0
	if q.Flags&packet.RST != 0 {
		f.ended = true
		return Reset
	}
	if q.Flags&packet.SYN != 0 {
		if q.Flags&packet.FIN != 0 {
			b.lost("SYN and FIN in one segment")
		}
		if !h.syn {
			h.isn, h.syn = q.Seq, true
		}
		h.follow(q.Seq + n + 1)
		return Syn
	}
	if h.known && int32(q.Seq-h.next) > 0 {
		b.lost("bytes that the capture does not have")
	}
	if q.Flags&packet.URG != 0 {
		b.lost("urgent pointer")
	}
	if q.Flags&packet.FIN != 0 {
		f.ended = true
		h.follow(q.Seq + n + 1)
		return Fin
	}
	switch {
	case behind && n <= 1 && q.Seq == h.next-1:
		return KeepAlive
	case n == 0:
		if q.Window == 0 {
			b.lost("a window of zero")
		}
		if !behind {
			h.follow(q.Seq)
		}
		return Ack
	}
	f.bytes = true
	h.follow(q.Seq + n)
	switch {
	case behind:
		return Retransmission
	case q.Flags&packet.PSH != 0:
		return Push
	}
	return Data
}

// follow moves next to a sequence number, unless that lies behind.
func (h *half) follow(seq uint32) {
	if !h.known || int32(seq-h.next) > 0 {
		h.next = seq
	}
	h.known = true
}

// defaultProfile is what a connection whose handshake was not seen is given.
const defaultProfile = 5 // mss,sack,ws

// describe takes in what of a packet belongs to the session.
func (b *Builder) describe(s *open, dir int, q *packet.Packet) {
	if !s.ttl[dir] {
		s.ttl[dir] = true
		s.Meta[TTLUp+dir] = float64(ttlClass(q.TTL))
	}
	if q.Proto == packet.TCP && q.Flags&packet.SYN != 0 {
		p, odd := profile(q.TCPOptions)
		if odd {
			b.lost("TCP options of the handshake that no profile has")
		}
		if dir == 0 || s.Meta[OptionProfile] == defaultProfile {
			s.Meta[OptionProfile] = float64(p)
		}
	}
}

func ttlClass(ttl uint8) int {
	switch {
	case ttl <= 32:
		return 0
	case ttl <= 64:
		return 1
	case ttl <= 128:
		return 2
	}
	return 3
}

// profile is the index in Profiles of a SYN's options.
func profile(o []byte) (p int, odd bool) {
	var has [4]bool // mss, sack, ws, ts
	for kind := range packet.Options(o) {
		switch kind {
		case packet.MSS:
			has[0] = true
		case packet.SACKPermitted:
			has[1] = true
		case packet.WindowScale:
			has[2] = true
		case packet.Timestamps:
			has[3] = true
		default:
			odd = true
		}
	}
	if !has[0] {
		return 0, odd || has[1] || has[2] || has[3]
	}
	name := "mss"
	for i, n := range []string{"sack", "ws", "ts"} {
		if has[i+1] {
			name += "," + n
		}
	}
	return slices.Index(Profiles, name), odd
}

// Set is the sessions so far, in the order of their first packets. Addresses
// become ranks: 0 for the one in most sessions.
func (b *Builder) Set() *traffic.Set {
	set := &traffic.Set{}
	if b.o.Label != "" {
		set.Of = Schema([]string{b.o.Label})
	} else {
		set.Of = Schema(nil)
	}
	type host struct {
		addr  netip.Addr
		n, at int
	}
	hosts := map[netip.Addr]*host{}
	for i, s := range b.sessions {
		for _, a := range []netip.Addr{s.client, s.server} {
			if hosts[a] == nil {
				hosts[a] = &host{addr: a, at: i}
			}
			hosts[a].n++
		}
	}
	order := make([]*host, 0, len(hosts))
	for _, h := range hosts {
		order = append(order, h)
	}
	slices.SortFunc(order, func(x, y *host) int {
		return cmp.Or(cmp.Compare(y.n, x.n), cmp.Compare(x.at, y.at), x.addr.Compare(y.addr))
	})
	rank := map[netip.Addr]float64{}
	for i, h := range order {
		rank[h.addr] = float64(i)
	}
	base := b.first
	for _, s := range b.sessions {
		if s.start.Before(base) {
			base = s.start
		}
	}
	for _, s := range b.sessions {
		x := s.Session
		x.Start = s.start.Sub(base).Seconds()
		x.Meta[Client], x.Meta[Server] = rank[s.client], rank[s.server]
		if b.o.Label != "" {
			x.Label = 0
		}
		set.Sessions = append(set.Sessions, x)
	}
	slices.SortStableFunc(set.Sessions, func(x, y traffic.Session) int { return cmp.Compare(x.Start, y.Start) })
	return set
}
