// Package packet encodes and decodes headers of IPv4, IPv6, TCP, UDP and ICMP, with
// checksums.
package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Protocol numbers (IANA).
const (
	ICMPv4 = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Flags of TCP.
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Packet is an IP packet of one of the four protocols. Which fields hold
// depends on Proto; the others are ignored, and zero after Decode.
type Packet struct {
	Src, Dst netip.Addr // both IPv4 or both IPv6
	TTL      uint8      // hop limit of IPv6
	TOS      uint8      // traffic class of IPv6
	ID       uint16     // IPv4
	Flow     uint32     // IPv6's flow label, 20 bits
	DF       bool       // IPv4: don't fragment
	Options  []byte     // IPv4, a multiple of 4 up to 40 bytes
	Proto    uint8

	SrcPort, DstPort uint16 // TCP, UDP
	Seq, Ack         uint32 // TCP
	Flags            uint8
	Window           uint16
	Urgent           uint16
	TCPOptions       []byte // a multiple of 4 up to 40 bytes

	Type, Code uint8  // ICMP
	Rest       uint32 // ICMP: identifier and sequence number of an echo

	Payload []byte

	// Set by Decode, ignored by Append.
	Length  int  // payload bytes by the headers; more than len(Payload) where the capture cut it
	L3, L4  Sum  // of the checksums
	HeaderN int  // bytes of IP and transport header
	Extra   bool // IPv6 had extension headers
}

// Sum says what Decode found of a checksum.
type Sum uint8

// The states of a checksum.
const (
	Unknown Sum = iota // the capture cut the packet, or a UDP sender left it out
	Good
	Bad
)

// The errors of Decode, for callers that count.
var (
	ErrShort     = errors.New("the headers are cut")
	ErrVersion   = errors.New("neither IPv4 nor IPv6")
	ErrFragment  = errors.New("a fragment")
	ErrProtocol  = errors.New("neither TCP, UDP nor ICMP")
	ErrMalformed = errors.New("lengths in the headers contradict each other")
)

// Append appends p's bytes, lengths and checksums filled in, to dst. p's
// addresses must be of one version, options of a length that headers can say,
// and the whole at most 65,535 bytes.
func (p *Packet) Append(dst []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	from := len(dst)
	l4 := p.transportLength()
	if p.Src.Is4() {
		head := 20 + len(p.Options)
		dst = append(dst, 0x40|byte(head/4), p.TOS)
		dst = binary.BigEndian.AppendUint16(dst, uint16(head+l4))
		dst = binary.BigEndian.AppendUint16(dst, p.ID)
		fragment := uint16(0)
		if p.DF {
			fragment = 0x4000
		}
		dst = binary.BigEndian.AppendUint16(dst, fragment)
		dst = append(dst, p.TTL, p.Proto, 0, 0)
		src, to := p.Src.As4(), p.Dst.As4()
		dst = append(dst, src[:]...)
		dst = append(dst, to[:]...)
		dst = append(dst, p.Options...)
		binary.BigEndian.PutUint16(dst[from+10:], ^fold(sum(0, dst[from:])))
	} else {
		dst = binary.BigEndian.AppendUint32(dst, 6<<28|uint32(p.TOS)<<20|p.Flow&0xfffff)
		dst = binary.BigEndian.AppendUint16(dst, uint16(l4))
		dst = append(dst, p.Proto, p.TTL)
		src, to := p.Src.As16(), p.Dst.As16()
		dst = append(dst, src[:]...)
		dst = append(dst, to[:]...)
	}
	at := len(dst)
	checksum := at
	switch p.Proto {
	case TCP:
		dst = binary.BigEndian.AppendUint16(dst, p.SrcPort)
		dst = binary.BigEndian.AppendUint16(dst, p.DstPort)
		dst = binary.BigEndian.AppendUint32(dst, p.Seq)
		dst = binary.BigEndian.AppendUint32(dst, p.Ack)
		dst = append(dst, byte(5+len(p.TCPOptions)/4)<<4, p.Flags)
		dst = binary.BigEndian.AppendUint16(dst, p.Window)
		dst = append(dst, 0, 0)
		dst = binary.BigEndian.AppendUint16(dst, p.Urgent)
		dst = append(dst, p.TCPOptions...)
		checksum += 16
	case UDP:
		dst = binary.BigEndian.AppendUint16(dst, p.SrcPort)
		dst = binary.BigEndian.AppendUint16(dst, p.DstPort)
		dst = binary.BigEndian.AppendUint16(dst, uint16(l4))
		dst = append(dst, 0, 0)
		checksum += 6
	default:
		dst = append(dst, p.Type, p.Code, 0, 0)
		dst = binary.BigEndian.AppendUint32(dst, p.Rest)
		checksum += 2
	}
	dst = append(dst, p.Payload...)
	c := ^fold(sum(p.pseudo(l4), dst[at:]))
	if c == 0 && p.Proto == UDP {
		c = 0xffff // RFC 768: 0 says that there is none
	}
	binary.BigEndian.PutUint16(dst[checksum:], c)
	return dst, nil
}

func (p *Packet) check() error {
	switch {
	case !p.Src.IsValid() || !p.Dst.IsValid() || p.Src.Is4() != p.Dst.Is4():
		return fmt.Errorf("packet: addresses %v and %v are not of one IP version", p.Src, p.Dst)
	case p.Src.Is4In6() || p.Dst.Is4In6():
		return fmt.Errorf("packet: addresses %v and %v: unmap them", p.Src, p.Dst)
	case len(p.Options)%4 != 0 || len(p.Options) > 40 || len(p.Options) > 0 && !p.Src.Is4():
		return fmt.Errorf("packet: %d bytes of IP options", len(p.Options))
	case len(p.TCPOptions)%4 != 0 || len(p.TCPOptions) > 40:
		return fmt.Errorf("packet: %d bytes of TCP options are not a multiple of 4 up to 40", len(p.TCPOptions))
	}
	switch p.Proto {
	case TCP, UDP:
	case ICMPv4:
		if !p.Src.Is4() {
			return errors.New("packet: ICMP of version 4 between IPv6 addresses")
		}
	case ICMPv6:
		if p.Src.Is4() {
			return errors.New("packet: ICMP of version 6 between IPv4 addresses")
		}
	default:
		return fmt.Errorf("packet: protocol %d: %w", p.Proto, ErrProtocol)
	}
	most := 65535 // of IPv6: without the header
	if p.Src.Is4() {
		most -= 20 + len(p.Options)
	}
	if l4 := p.transportLength(); l4 > most {
		return fmt.Errorf("packet: %d bytes after the IP header are more than %d", l4, most)
	}
	return nil
}

// transportLength is the bytes after the IP header.
func (p *Packet) transportLength() int {
	switch p.Proto {
	case TCP:
		return 20 + len(p.TCPOptions) + len(p.Payload)
	}
	return 8 + len(p.Payload)
}

// pseudo is the sum of the pseudo header (RFC 9293 section 3.1, RFC 8200
// section 8.1); ICMP of version 4 has none.
func (p *Packet) pseudo(l4 int) uint64 {
	if p.Proto == ICMPv4 {
		return 0
	}
	var s uint64
	if p.Src.Is4() {
		src, to := p.Src.As4(), p.Dst.As4()
		s = sum(sum(0, src[:]), to[:])
	} else {
		src, to := p.Src.As16(), p.Dst.As16()
		s = sum(sum(0, src[:]), to[:])
	}
	return s + uint64(p.Proto) + uint64(l4)
}

// sum adds the 16-bit words of b, the last padded by 0, to s (RFC 1071).
func sum(s uint64, b []byte) uint64 {
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		s += v>>48 + v>>32&0xffff + v>>16&0xffff + v&0xffff
		b = b[8:]
	}
	for len(b) >= 2 {
		s += uint64(b[0])<<8 | uint64(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// Decode reads an IP packet. Its Payload and options are parts of b. Bytes
// after the packet's own end, an Ethernet frame's padding, are left out. An
// error wraps one of Err….
func (p *Packet) Decode(b []byte) error {
	*p = Packet{}
	if len(b) < 1 {
		return ErrShort
	}
	var rest []byte
	var l4 int
	var err error
	switch b[0] >> 4 {
	case 4:
		rest, l4, err = p.ipv4(b)
	case 6:
		rest, l4, err = p.ipv6(b)
	default:
		return ErrVersion
	}
	if err != nil {
		return err
	}
	return p.transport(rest, l4)
}

// ipv4 reads the header and gives what follows it, and the bytes that should.
func (p *Packet) ipv4(b []byte) (rest []byte, l4 int, err error) {
	if len(b) < 20 {
		return nil, 0, ErrShort
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 && len(b) >= head {
		total = len(b) // a frame that the network card was to segment
	}
	if head < 20 || total < head {
		return nil, 0, fmt.Errorf("%w: a header of %d bytes in a packet of %d", ErrMalformed, head, total)
	}
	if len(b) < head {
		return nil, 0, ErrShort
	}
	p.TOS, p.ID, p.TTL, p.Proto = b[1], binary.BigEndian.Uint16(b[4:]), b[8], b[9]
	p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	fragment := binary.BigEndian.Uint16(b[6:])
	p.DF = fragment&0x4000 != 0
	if head > 20 {
		p.Options = b[20:head]
	}
	p.L3 = Bad
	if fold(sum(0, b[:head])) == 0xffff {
		p.L3 = Good
	}
	p.HeaderN = head
	if fragment&0x3fff != 0 {
		return nil, 0, ErrFragment
	}
	return b[head:min(total, len(b))], total - head, nil
}

func (p *Packet) ipv6(b []byte) (rest []byte, l4 int, err error) {
	if len(b) < 40 {
		return nil, 0, ErrShort
	}
	first := binary.BigEndian.Uint32(b)
	p.TOS, p.Flow, p.TTL = uint8(first>>20), first&0xfffff, b[7]
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	if p.Src.Is4In6() || p.Dst.Is4In6() {
		return nil, 0, fmt.Errorf("%w: an IPv4 address in an IPv6 header", ErrMalformed)
	}
	l4 = int(binary.BigEndian.Uint16(b[4:]))
	p.HeaderN, p.L3 = 40, Good // it has none
	if l4 == 0 {
		l4 = len(b) - 40
	}
	next := b[6]
	b = b[40:min(40+l4, len(b))]
	for {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < 8 {
				return nil, 0, ErrShort
			}
			n := 8 + 8*int(b[1])
			if n > l4 {
				return nil, 0, fmt.Errorf("%w: an extension header of %d bytes, %d left", ErrMalformed, n, l4)
			}
			if n > len(b) {
				return nil, 0, ErrShort
			}
			next, b, l4 = b[0], b[n:], l4-n
			p.HeaderN += n
			p.Extra = true
		case 44:
			return nil, 0, ErrFragment
		default:
			p.Proto = next
			return b, l4, nil
		}
	}
}

// transport reads TCP, UDP or ICMP of l4 bytes, of which b were captured.
func (p *Packet) transport(b []byte, l4 int) error {
	whole := len(b) >= l4
	head := 8
	switch {
	case p.Proto == TCP:
		head = 20
		if len(b) >= 20 {
			if head = int(b[12]>>4) * 4; head < 20 {
				return fmt.Errorf("%w: a TCP header of %d bytes", ErrMalformed, head)
			}
		}
	case p.Proto == UDP || p.Proto == ICMPv4 && p.Src.Is4() || p.Proto == ICMPv6 && !p.Src.Is4():
	default:
		return fmt.Errorf("protocol %d: %w", p.Proto, ErrProtocol)
	}
	if l4 < head {
		return fmt.Errorf("%w: %d bytes for a header of %d", ErrMalformed, l4, head)
	}
	if len(b) < head {
		return ErrShort
	}
	switch p.Proto {
	case TCP:
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		p.Seq, p.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		p.Flags, p.Window, p.Urgent = b[13], binary.BigEndian.Uint16(b[14:]), binary.BigEndian.Uint16(b[18:])
		if head > 20 {
			p.TCPOptions = b[20:head]
		}
	case UDP:
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		n := int(binary.BigEndian.Uint16(b[4:]))
		switch {
		case n == 0 && l4 > 65535-8: // a jumbogram
		case n < 8 || n > l4:
			return fmt.Errorf("%w: a datagram of %d bytes in %d", ErrMalformed, n, l4)
		default:
			l4 = n
		}
		b = b[:min(l4, len(b))]
		whole = len(b) == l4
	default:
		p.Type, p.Code, p.Rest = b[0], b[1], binary.BigEndian.Uint32(b[4:])
	}
	if whole {
		b = b[:l4]
		switch {
		case p.Proto == UDP && b[6] == 0 && b[7] == 0:
		case fold(sum(p.pseudo(l4), b)) == 0xffff:
			p.L4 = Good
		default:
			p.L4 = Bad
		}
	}
	p.Payload, p.Length = b[head:], l4-head
	p.HeaderN += head
	return nil
}
