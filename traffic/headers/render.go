package headers

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/packet"
)

// Rows calls emit with nPrint's row of every step of s, as the fields say it and
// nothing repaired: a model's impossible flags, windows and lengths stay. What
// fields leave out is computed (lengths, checksums over zero payload) or drawn,
// for session number of a seed (the client's port, the first sequence numbers
// and timestamps). An error names the step that headers cannot hold at all.
func Rows(c *traffic.Schema, s *traffic.Session, seed uint64, number int, emit func(*nprint.Row) error) error {
	if len(c.Steps) != Fields || c.Steps[Options].Name != "options" {
		return fmt.Errorf("headers: steps have no header fields")
	}
	key := rng.Key{Seed: seed, A: uint32(number), B: 1, Purpose: rng.Headers}
	b := builder{c: c, s: s, port: uint16(32768 + key.Intn(0, 28232)), profiles: c.Steps[Options].Levels}
	for d := range b.side {
		b.side[d].next, b.side[d].time = uint32(key.Uint64(uint32(1+d))), uint32(key.Uint64(uint32(3+d)))
	}
	var row nprint.Row
	var ip []byte
	for t := range c.Len(s) {
		p := b.packet(c.Step(s, t))
		var err error
		if ip, err = p.Append(ip[:0]); err != nil {
			return fmt.Errorf("headers: step %d: %w", t, err)
		}
		if err := row.Encode(ip); err != nil {
			return fmt.Errorf("headers: step %d: %w", t, err)
		}
		if err := emit(&row); err != nil {
			return err
		}
	}
	return nil
}

// builder makes packets of a session's steps.
type builder struct {
	c        *traffic.Schema
	s        *traffic.Session
	port     uint16
	side     [2]side
	profiles []string
	payload  []byte
}

func (b *builder) packet(x []float64) *packet.Packet {
	d := int(x[flows.Direction])
	own, other := &b.side[d], &b.side[1-d]
	meta := b.s.Meta
	p := &packet.Packet{TOS: uint8(x[TOS]), TTL: uint8(min(x[TTL], 255)), DF: x[DF] == 1}
	ends := [2]netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 1}), netip.AddrFrom4([4]byte{172, 16, 0, 1})}
	if meta[flows.Version] == 1 {
		ends = [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	}
	p.Src, p.Dst = ends[d], ends[1-d]
	if meta[flows.Version] != 1 {
		p.ID = own.id + uint16(unfold(x[IDStep]))
		own.expect(p.ID)
	}
	size := int(min(x[flows.Size], 65535-20-60))
	if size > len(b.payload) {
		b.payload = make([]byte, size)
	}
	p.Payload = b.payload[:size]
	ports := [2]uint16{b.port, uint16(meta[flows.ServerPort])}
	p.SrcPort, p.DstPort = ports[d], ports[1-d]
	switch int(meta[flows.Protocol]) {
	case flows.UDP:
		p.Proto = packet.UDP
	case flows.ICMP:
		p.Proto = packet.ICMPv4
		if meta[flows.Version] == 1 {
			p.Proto = packet.ICMPv6
		}
		p.Type, p.Code = uint8(int(meta[flows.ServerPort])>>8), uint8(int(meta[flows.ServerPort]))
	default:
		p.Proto = packet.TCP
		p.Flags, p.Window = uint8(x[TCPFlags]), uint16(min(x[Window], 65535))
		p.Seq = own.next + uint32(int32(x[SeqStep]))
		if p.Flags&packet.ACK != 0 {
			p.Ack = other.next - uint32(int32(x[AckLag]))
		}
		after := p.Seq + uint32(size)
		if p.Flags&packet.SYN != 0 {
			after++
		}
		if p.Flags&packet.FIN != 0 {
			after++
		}
		if int32(after-own.next) > 0 {
			own.next = after
		}
		own.time += uint32(int32(x[TimeStep]))
		p.TCPOptions = encode(b.profiles[int(x[Options])], own.time, other.time, p.Ack)
	}
	return p
}

// encode is the bytes of a layout of TCP options; what it does not say, the
// edges of SACK's blocks, lies above the acknowledgement.
func encode(name string, now, echo, ack uint32) []byte {
	name, ok := strings.CutPrefix(name, "options:")
	if !ok || name == "" {
		return nil
	}
	put := func(b []byte, v uint32) []byte { return append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v)) }
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	var b []byte
	for part := range strings.SplitSeq(name, ",") {
		switch {
		case part == "end":
			b = append(b, 0)
		case part == "nop":
			b = append(b, 1)
		case part == "sackok":
			b = append(b, 4, 2)
		case part == "ts":
			b = put(put(append(b, 8, 10), now), echo)
		case strings.HasPrefix(part, "mss"):
			n := number(part[3:])
			b = append(b, 2, 4, byte(n>>8), byte(n))
		case strings.HasPrefix(part, "ws"):
			b = append(b, 3, 3, byte(number(part[2:])))
		case strings.HasPrefix(part, "sack"):
			n := number(part[4:])
			b = append(b, 5, byte(2+8*n))
			for k := range 2 * n {
				b = put(b, ack+uint32(1460*(k+1)))
			}
		case strings.HasPrefix(part, "k"):
			kind, length, _ := strings.Cut(part[1:], "/")
			b = append(append(b, byte(number(kind)), byte(number(length))), make([]byte, max(number(length)-2, 0))...)
		}
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b[:min(len(b), 40)]
}
