// Package compile turns sessions into legal packets, and logs every action that it
// had to change.
//
// A session says direction, size, flags and gap of each packet. Addresses,
// ports, sequence and acknowledgement numbers, options, lengths, checksums and
// payload are computed: addresses are private ones by popularity rank
// (10/8 for clients, 172.16/12 for servers, 2001:db8::/32), acknowledgements
// are cumulative, payload is what the dissector of the port accepts. Series of
// rates and flow records become packets by the rule of Actions.
package compile

import (
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/packet"
)

// Options say how packets are made. Zero values are the defaults in the
// comments.
type Options struct {
	MTU  int       // bytes of an IP packet; 1500
	Seed uint64    // of ports, sequence numbers and payload
	Base time.Time // when the trace begins; 2025-01-01 UTC
	// Complete adds handshake, acknowledgements and close to connections
	// without. Sessions whose schema has no flags always get them.
	Complete bool
	Raw      bool // IP packets without Ethernet headers
	// Neutral fills all payload with one byte and leaves every port as it is:
	// no dissector is pleased.
	Neutral bool
}

// Report says what became of actions.
type Report struct {
	Sessions int            `json:"sessions"`
	Actions  int            `json:"actions"`
	Packets  int            `json:"packets"`
	Bytes    int64          `json:"bytes"`   // of IP packets
	Changed  int            `json:"changed"` // actions that could not be said as they are
	Added    int            `json:"added"`   // packets that no action asked for
	Why      map[string]int `json:"why"`     // of changes; of meta fields too, which Changed leaves out
	Resets   int            `json:"resets"`
	Whole    int            `json:"whole"` // sessions of which no action was changed
}

// RepairRate is the share of actions that were changed.
func (r *Report) RepairRate() float64 {
	if r.Actions == 0 {
		return 0
	}
	return float64(r.Changed) / float64(r.Actions)
}

// Reasons are Why's keys, the most frequent first.
func (r *Report) Reasons() []string {
	return slices.SortedFunc(maps.Keys(r.Why), func(a, b string) int {
		if d := r.Why[b] - r.Why[a]; d != 0 {
			return d
		}
		if a < b {
			return -1
		}
		return 1
	})
}

func (o *Options) complete() error {
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.Base.IsZero() {
		o.Base = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.MTU < 576 || o.MTU > 65535 {
		return fmt.Errorf("compile: mtu: %d is outside 576…65535", o.MTU)
	}
	return nil
}

// Packets compiles sessions, which come in the order of their starts, and
// calls emit with each packet in the order of time. Memory is that of sessions
// that overlap. frame is overwritten by the next.
func Packets(ctx context.Context, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], o Options, emit func(at time.Time, frame []byte) error) (*Report, error) {
	c, sessions, err := asActions(c, sessions)
	if err != nil {
		return nil, err
	}
	m, err := newCompiler(c, o)
	if err != nil {
		return nil, err
	}
	r := &m.report
	var going queue
	out := func(until int64) error {
		for len(going) > 0 && going[0].at < until {
			x := going[0]
			m.frame, err = x.render(m, m.frame[:0])
			if err != nil {
				return fmt.Errorf("session %d: %w", x.number, err)
			}
			if err := emit(o.base().Add(time.Duration(x.at)), m.frame); err != nil {
				return err
			}
			if x.advance() {
				heap.Fix(&going, 0)
			} else {
				heap.Pop(&going)
				m.free = append(m.free, x)
			}
		}
		return nil
	}
	last := int64(0)
	for s, err := range sessions {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return r, err
		}
		if err := c.Valid(&s); err != nil {
			return r, fmt.Errorf("session %d: %w", r.Sessions, err)
		}
		changed := r.Changed
		x, err := m.plan(&s, r.Sessions)
		if err != nil {
			return r, fmt.Errorf("session %d: %w", r.Sessions, err)
		}
		if r.Sessions++; r.Changed == changed {
			r.Whole++
		}
		if x == nil {
			continue
		}
		if x.at < last {
			x.shift(last - x.at)
			r.Why["sessions out of order: start moved"]++
		}
		last = x.at
		if err := out(x.at); err != nil {
			return r, err
		}
		heap.Push(&going, x)
	}
	return r, out(math.MaxInt64)
}

func (o *Options) base() time.Time {
	if o.Base.IsZero() {
		return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return o.Base
}

// Write is Packets into a pcap file with times in nanoseconds.
func Write(ctx context.Context, w io.Writer, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], o Options) (*Report, error) {
	link := pcap.Ethernet
	if o.Raw {
		link = pcap.Raw
	}
	f, err := pcap.NewWriter(w, link)
	if err != nil {
		return nil, err
	}
	r, err := Packets(ctx, c, sessions, o, f.Write)
	if err != nil {
		return r, err
	}
	return r, f.Flush()
}

// compiler holds what sessions share.
type compiler struct {
	Options
	schema *traffic.Schema
	reader flows.Reader
	meta   [flows.MetaFields]int // index of each field in the schema, -1
	ports  map[endpoints]uint16  // last given
	report Report
	frame  []byte
	free   []*session

	differs bool // the action that is planned is not sent as it is
}

type endpoints struct {
	client, server netip.Addr
	port           uint16
	proto          uint8
}

func newCompiler(c *traffic.Schema, o Options) (*compiler, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	reader, err := flows.NewReader(c)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	m := &compiler{Options: o, schema: c, reader: reader, ports: map[endpoints]uint16{}, report: Report{Why: map[string]int{}}}
	known := flows.Schema(nil)
	for i, f := range known.Meta {
		m.meta[i] = c.MetaIndex(f.Name)
		if k := m.meta[i]; k >= 0 && f.Kind == traffic.Symbol && !slices.Equal(c.Meta[k].Levels, f.Levels) {
			return nil, fmt.Errorf("compile: %s has the levels %q, not %q", f.Name, c.Meta[k].Levels, f.Levels)
		}
	}
	return m, nil
}

// metaOf is a meta field of a session, or its default where the schema has none.
func (m *compiler) metaOf(s *traffic.Session, field int) int {
	if k := m.meta[field]; k >= 0 {
		return int(s.Meta[k])
	}
	switch field {
	case flows.ServerPort:
		return 443
	case flows.OptionProfile:
		return slices.Index(flows.Profiles, "mss,sack,ws,ts")
	case flows.TTLUp, flows.TTLDown:
		return 1 // 64
	}
	return 0
}

// session is one session's packets, planned, rendered one after another.
type session struct {
	number  int
	at      int64 // ns since the trace's beginning, of packet next
	next    int
	packets []planned
	proto   uint8
	v4      bool
	addr    [2]netip.Addr // client, server
	mac     [2][6]byte
	port    [2]uint16
	ttl     [2]uint8
	id      [2]uint16
	profile int
	isn     [2]uint32
	clock   [2]uint32 // of timestamps, ms at time 0
	echo    [2]uint32 // the latest value of the other's clock
	icmp    uint16    // type<<8 | code
	fill    filler
	key     rng.Key
}

// planned is a packet before its bytes. seq and ack count from the initial
// sequence numbers.
type planned struct {
	at       int64
	seq, ack uint32
	size     uint32
	stream   uint32 // TCP: of the payload's first byte in its direction's stream; UDP, ICMP: which of its direction
	flags    uint8
	window   uint16
	down     bool
	again    bool // bytes that were sent already
}

func (x *session) advance() bool {
	x.next++
	if x.next == len(x.packets) {
		return false
	}
	x.at = x.packets[x.next].at
	return true
}

func (x *session) shift(d int64) {
	for i := range x.packets {
		x.packets[i].at = min(x.packets[i].at+d, maxTime)
	}
	x.at = min(x.at+d, maxTime)
}

// queue is sessions by the time of their next packet, then by number.
type queue []*session

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*session)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// address is the one of a rank.
func address(rank int, server, v4 bool) netip.Addr {
	n := uint32(rank) + 1
	switch {
	case v4 && server:
		return netip.AddrFrom4([4]byte{172, byte(16 + n>>16&15), byte(n >> 8), byte(n)})
	case v4:
		return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	if server {
		a[5] = 1
	}
	binary.BigEndian.PutUint32(a[12:], n)
	return netip.AddrFrom16(a)
}

// open fills what holds for all packets of a session.
func (m *compiler) open(s *traffic.Session, number int) *session {
	x := &session{}
	if n := len(m.free); n > 0 {
		x = m.free[n-1]
		m.free = m.free[:n-1]
	}
	*x = session{number: number, packets: x.packets[:0], fill: x.fill.empty(),
		key: rng.Key{Seed: m.Seed, A: uint32(number), Purpose: rng.Headers}}
	x.v4 = m.metaOf(s, flows.Version) == 0
	port := uint16(m.metaOf(s, flows.ServerPort))
	switch m.metaOf(s, flows.Protocol) {
	case flows.TCP:
		x.proto = packet.TCP
	case flows.UDP:
		x.proto = packet.UDP
	default:
		x.proto = packet.ICMPv4
		if !x.v4 {
			x.proto = packet.ICMPv6
		}
		x.icmp, port = port, 0
	}
	client, server := m.metaOf(s, flows.Client), m.metaOf(s, flows.Server)
	x.addr = [2]netip.Addr{address(client, false, x.v4), address(server, true, x.v4)}
	b := x.key.Block(0)
	for side := range 2 {
		a := x.addr[side].AsSlice()
		x.mac[side] = [6]byte{2, byte(side)}
		copy(x.mac[side][2:], a[len(a)-4:])
		x.isn[side], x.clock[side] = b[side], b[2+side]>>1
		x.ttl[side] = []uint8{32, 64, 128, 255}[m.metaOf(s, flows.TTLUp+side)]
	}
	b = x.key.Block(1)
	x.id = [2]uint16{uint16(b[0]), uint16(b[1])}
	x.ttl[1] -= 4 + uint8(server%12) // hops to the server; the client is beside the capture
	x.profile = m.metaOf(s, flows.OptionProfile)
	switch {
	case m.Neutral:
	case x.proto == packet.ICMPv4 || x.proto == packet.ICMPv6:
		if to, strict := movedICMP(x.v4, x.icmp); strict {
			m.report.Why[whyMovedICMP]++
			x.icmp = to
		}
	default:
		if to, strict := moved(x.proto, port); strict {
			m.report.Why[whyMoved]++
			port = to
		}
	}
	x.port = [2]uint16{m.ephemeral(x, port, b[2]), port}
	x.fill.choose(x.proto, port, m.Neutral)
	return x
}

// ephemeral is the next port of a client towards a server.
func (m *compiler) ephemeral(x *session, port uint16, draw uint32) uint16 {
	const low, high = 32768, 60999
	k := endpoints{x.addr[0], x.addr[1], port, x.proto}
	p, ok := m.ports[k]
	if !ok {
		p = uint16(low + draw%(high-low+1))
	} else if p++; p > high {
		p = low
	}
	for p == port || avoided(p) {
		if p++; p > high {
			p = low
		}
	}
	m.ports[k] = p
	return p
}

// render appends the next packet's bytes to dst.
func (x *session) render(m *compiler, dst []byte) ([]byte, error) {
	p := &x.packets[x.next]
	from, to := 0, 1
	if p.down {
		from, to = 1, 0
	}
	if !m.Raw {
		dst = packet.AppendEthernet(dst, x.mac[from], x.mac[to], x.v4)
	}
	q := packet.Packet{Src: x.addr[from], Dst: x.addr[to], TTL: x.ttl[from], ID: x.id[from], Proto: x.proto, SrcPort: x.port[from], DstPort: x.port[to]}
	x.id[from]++
	var options [40]byte
	switch x.proto {
	case packet.TCP:
		q.DF, q.Flags, q.Seq = true, p.flags, x.isn[from]+p.seq
		if p.flags&packet.ACK != 0 {
			q.Ack = x.isn[to] + p.ack
		}
		q.Window = p.window
		q.TCPOptions = x.options(options[:0], p, from, to, m.MTU)
	case packet.UDP:
	default:
		x.message(&q, p, from)
	}
	at := len(dst)
	dst, err := q.Append(dst) // headers, with a checksum of no payload
	if err != nil {
		return dst, err
	}
	if p.size > 0 {
		// The payload is written behind the headers, then the packet again over
		// itself, so that it is summed once and never copied.
		body := len(dst)
		dst = x.fill.append(dst, x, p, from)
		q.Payload = dst[body:]
		if _, err := q.Append(dst[at:at]); err != nil {
			return dst, err
		}
	}
	m.report.Packets++
	m.report.Bytes += int64(len(dst) - at)
	if p.flags&packet.RST != 0 && x.proto == packet.TCP {
		m.report.Resets++
	}
	return dst, nil
}

// options are a segment's TCP options.
func (x *session) options(b []byte, p *planned, from, to, mtu int) []byte {
	has := func(what string) bool { return profileHas[x.profile][what] }
	syn := p.flags&packet.SYN != 0
	var now uint32
	if has("ts") {
		now = x.clock[from] + uint32(p.at/1e6)
	}
	if syn && has("mss") {
		head := 40
		if !x.v4 {
			head = 60
		}
		b = append(b, 2, 4)
		b = binary.BigEndian.AppendUint16(b, uint16(mtu-head))
	}
	if syn && has("sack") {
		if has("ts") {
			b = append(b, 4, 2)
		} else {
			b = append(b, 1, 1, 4, 2)
		}
	}
	if has("ts") {
		if !syn || !has("sack") {
			b = append(b, 1, 1)
		}
		b = append(b, 8, 10)
		b = binary.BigEndian.AppendUint32(b, now)
		e := x.echo[from]
		if p.flags&packet.ACK == 0 {
			e = 0
		}
		b = binary.BigEndian.AppendUint32(b, e)
		x.echo[to] = now
	}
	if syn && has("ws") {
		b = append(b, 1, 3, 3, windowScale)
	}
	return b
}

var profileHas = func() []map[string]bool {
	all := make([]map[string]bool, len(flows.Profiles))
	for i, name := range flows.Profiles {
		all[i] = map[string]bool{}
		for _, o := range []string{"mss", "sack", "ws", "ts"} {
			all[i][o] = contains(name, o)
		}
	}
	return all
}()

func contains(list, item string) bool {
	for list != "" {
		var one string
		if i := slices.Index([]byte(list), ','); i >= 0 {
			one, list = list[:i], list[i+1:]
		} else {
			one, list = list, ""
		}
		if one == item {
			return true
		}
	}
	return false
}
