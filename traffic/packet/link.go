package packet

import (
	"encoding/binary"
	"errors"
)

// Ethernet types.
const (
	TypeIPv4 = 0x0800
	TypeIPv6 = 0x86dd
)

// Frame is what stood before an IP packet.
type Frame struct {
	VLANs int // tags of 802.1Q and 802.1ad
	Type  uint16
}

// ErrLink is Strip's error of a link type that it does not know.
var ErrLink = errors.New("link type")

// Strip gives the IP packet of what a capture of a link type (pcap's numbers)
// holds: StripEthernet and its siblings, raw IP, the loopback of BSDs.
func Strip(link uint16, b []byte) (ip []byte, f Frame, err error) {
	switch link {
	case 1:
		return StripEthernet(b)
	case 113:
		return StripCooked(b)
	case 276:
		return StripCooked2(b)
	case 101, 228, 229, 12, 14: // 12 and 14: raw IP of BSDs
		return b, f, nil
	case 0, 108: // 4 bytes of address family
		if len(b) < 4 {
			return nil, f, ErrShort
		}
		return b[4:], f, nil
	}
	return nil, f, ErrLink
}

// StripEthernet gives the IP packet of an Ethernet frame, past VLAN tags and
// PPPoE session headers. Where there is none, ip is nil and Type says what
// there is instead, an Ethernet type, or below 1536 a length of 802.3.
func StripEthernet(b []byte) (ip []byte, f Frame, err error) {
	if len(b) < 14 {
		return nil, f, ErrShort
	}
	return strip(b[12:])
}

// StripCooked is StripEthernet of Linux's cooked capture, version 1.
func StripCooked(b []byte) (ip []byte, f Frame, err error) {
	if len(b) < 16 {
		return nil, f, ErrShort
	}
	return strip(b[14:])
}

// StripCooked2 is StripEthernet of Linux's cooked capture, version 2.
func StripCooked2(b []byte) (ip []byte, f Frame, err error) {
	if len(b) < 20 {
		return nil, f, ErrShort
	}
	if t := binary.BigEndian.Uint16(b); t == TypeIPv4 || t == TypeIPv6 {
		return b[20:], Frame{Type: t}, nil
	}
	return nil, Frame{Type: binary.BigEndian.Uint16(b)}, nil
}

// strip reads from an Ethernet type on.
func strip(b []byte) (ip []byte, f Frame, err error) {
	for {
		if len(b) < 2 {
			return nil, f, ErrShort
		}
		f.Type = binary.BigEndian.Uint16(b)
		b = b[2:]
		switch f.Type {
		case TypeIPv4, TypeIPv6:
			return b, f, nil
		case 0x8100, 0x88a8, 0x9100:
			f.VLANs++
			if len(b) < 2 {
				return nil, f, ErrShort
			}
			b = b[2:]
		case 0x8864: // PPPoE session: 6 bytes, then PPP's protocol
			if len(b) < 8 {
				return nil, f, ErrShort
			}
			switch binary.BigEndian.Uint16(b[6:]) {
			case 0x21, 0x57:
				return b[8:], f, nil
			}
			return nil, f, nil
		default:
			return nil, f, nil
		}
	}
}

// AppendEthernet appends an Ethernet header for an IP packet of a version.
func AppendEthernet(dst []byte, src, to [6]byte, v4 bool) []byte {
	dst = append(append(dst, to[:]...), src[:]...)
	if v4 {
		return binary.BigEndian.AppendUint16(dst, TypeIPv4)
	}
	return binary.BigEndian.AppendUint16(dst, TypeIPv6)
}
