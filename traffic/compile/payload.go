package compile

import (
	"encoding/binary"
	"slices"

	"github.com/planegym/planegym/traffic/packet"
)

// content is what a payload looks like.
type content uint8

const (
	neutral content = iota
	tls
	http
	dns
)

// neutralByte fills payload that no template is for.
const neutralByte = 'x'

// filler makes a session's payload. Bytes of a TCP stream depend on their
// place in it, so that what is sent again is the same.
type filler struct {
	kind  content
	units [2][]unit // by side: of its stream, in order
	names []uint16  // DNS: the length of each query's name, encoded
}

// unit is a record, a request or an answer: it begins at a place of a stream.
type unit struct{ from, size uint32 }

func (f filler) empty() filler {
	return filler{units: [2][]unit{f.units[0][:0], f.units[1][:0]}, names: f.names[:0]}
}

func (f *filler) choose(proto uint8, port uint16, plain bool) {
	f.kind = neutral
	if plain {
		return
	}
	switch {
	case proto == packet.TCP && slices.Contains(tlsPorts, port):
		f.kind = tls
	case proto == packet.TCP && slices.Contains(httpPorts, port):
		f.kind = http
	case proto == packet.UDP && slices.Contains(dnsPorts, port):
		f.kind = dns
	}
}

var (
	tlsPorts  = []uint16{443, 465, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 8443}
	httpPorts = []uint16{80, 8000, 8008, 8080, 8088, 3128}
	dnsPorts  = []uint16{53, 5353, 5355}
)

// least is the fewest bytes that a datagram of x may have, and why.
func (x *session) least() (int, string) {
	switch {
	case x.proto == packet.UDP && x.fill.kind == dns:
		return dnsHeader, whyDNS
	case x.proto == packet.ICMPv4 && isError(x):
		return 28, whyQuote
	case x.proto == packet.ICMPv6 && isError(x):
		return 48, whyQuote
	}
	return 0, ""
}

// smallest unit of a stream's content: a TLS record of one byte, and what an
// HTTP message needs.
func (f *filler) smallest(side int) uint32 {
	switch {
	case f.kind == tls:
		return 6
	case side == 0:
		return uint32(len("GET / HTTP/1.1\r\n\r\n"))
	}
	return uint32(len(httpAnswer(99)))
}

const largestRecord = 5 + 1<<14

// layout cuts streams into units: messages, which end where the other side
// sends next, are records or requests of their own where they are long enough.
func (f *filler) layout(x *session) {
	if x.proto != packet.TCP || f.kind != tls && f.kind != http {
		return
	}
	var from, at [2]uint32
	last := 0
	end := func(side int) {
		least := f.smallest(side)
		for at[side]-from[side] >= least {
			n := at[side] - from[side]
			if f.kind == tls && n > largestRecord {
				if n = largestRecord; at[side]-from[side]-n < least {
					n -= least
				}
			}
			f.units[side] = append(f.units[side], unit{from[side], n})
			from[side] += n
		}
	}
	for i := range x.packets {
		p := &x.packets[i]
		if p.size == 0 || p.again {
			continue
		}
		d := 0
		if p.down {
			d = 1
		}
		if d != last {
			end(last)
			last = d
		}
		at[d] += p.size
	}
	end(0)
	end(1)
}

// append appends the payload of p, which side sends.
func (f *filler) append(dst []byte, x *session, p *planned, side int) []byte {
	n := int(p.size)
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	body := dst[at:]
	switch {
	case x.proto == packet.ICMPv4 || x.proto == packet.ICMPv6:
		if isError(x) {
			quote(body, x, side)
			return dst
		}
		for i := range body {
			body[i] = byte(i)
		}
	case f.kind == dns:
		f.dns(body, p, side)
	case f.kind == tls || f.kind == http:
		f.stream(body, p.stream, side)
	default:
		for i := range body {
			body[i] = neutralByte
		}
	}
	return dst
}

// stream fills body with the bytes of a side's stream from a place on.
func (f *filler) stream(body []byte, from uint32, side int) {
	for i := range body {
		body[i] = neutralByte
	}
	units := f.units[side]
	k, found := slices.BinarySearchFunc(units, from, func(u unit, at uint32) int { return int(int64(u.from) - int64(at)) })
	if !found && k > 0 {
		k--
	}
	for ; k < len(units) && int64(units[k].from) < int64(from)+int64(len(body)); k++ {
		var head []byte
		var buf [96]byte
		u := units[k]
		if f.kind == tls {
			head = append(buf[:0], 0x17, 3, 3)
			head = binary.BigEndian.AppendUint16(head, uint16(u.size-5))
		} else {
			head = httpHead(buf[:0], side, u.size)
		}
		copyAt(body, head, int64(u.from)-int64(from))
		if f.kind == http && side == 0 {
			copyAt(body, []byte("\r\n\r\n"), int64(u.from)+int64(u.size)-4-int64(from))
		}
	}
}

// copyAt copies src into dst from a place on, which may lie outside of it.
func copyAt(dst, src []byte, at int64) {
	if at < 0 {
		if -at >= int64(len(src)) {
			return
		}
		src, at = src[-at:], 0
	}
	if at < int64(len(dst)) {
		copy(dst[at:], src)
	}
}

// httpHead is how a message of size bytes begins. A request's last four bytes
// are its empty line.
func httpHead(b []byte, side int, size uint32) []byte {
	if side == 1 {
		for body := int(size); body >= 0; body-- {
			if h := httpAnswer(body); len(h)+body == int(size) {
				return append(b, h...)
			} else if len(h)+body < int(size) { // the length has a digit less: a space makes up for it
				return append(append(b, h[:len(h)-4]...), " \r\n\r\n"...)
			}
		}
	}
	const short, long = "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: example.org\r\nX: "
	if int(size) >= len(long)+1+4 {
		return append(b, long...)
	}
	// GET /xxxx HTTP/1.1, the path as long as it must be.
	b = append(b, "GET /"...)
	for range int(size) - len(short) {
		b = append(b, 'x')
	}
	return append(b, " HTTP/1.1"...)
}

func httpAnswer(body int) string {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Length: ")
	var digits [10]byte
	k := len(digits)
	for {
		k--
		digits[k] = byte('0' + body%10)
		if body /= 10; body == 0 {
			break
		}
	}
	return string(append(append(b, digits[k:]...), "\r\n\r\n"...))
}

const dnsHeader = 12

// dns writes the i-th message of a side: query i, or the answer to it.
func (f *filler) dns(b []byte, p *planned, side int) {
	for i := range b {
		b[i] = 0
	}
	binary.BigEndian.PutUint16(b, uint16(p.stream+1))
	if side == 1 {
		b[2], b[3] = 0x84, 0
	} else {
		b[2] = 1
	}
	left := len(b) - dnsHeader
	if side == 0 {
		// Names of 1 byte (the root), or of 3 to 255.
		name := left - 4
		if name < 1 || name == 2 {
			return // a header alone
		}
		b[5] = 1
		rest := 0
		if name > 255 {
			rest = name - 255
			if rest < 11 {
				rest = 11
			}
			name -= rest
		}
		at := question(b, dnsHeader, name)
		if rest > 0 {
			b[11] = 1 // an OPT record of that many bytes (RFC 6891), padding in it (RFC 7830)
			o := b[at:]
			binary.BigEndian.PutUint16(o[1:], 41)
			binary.BigEndian.PutUint16(o[3:], 1232)
			if rest >= 15 {
				binary.BigEndian.PutUint16(o[9:], uint16(rest-11))
				binary.BigEndian.PutUint16(o[11:], 12)
				binary.BigEndian.PutUint16(o[13:], uint16(rest-15))
			} else {
				binary.BigEndian.PutUint16(o[9:], 0)
			}
		}
		return
	}
	if left < 5 || left == 6 {
		return
	}
	b[5] = 1
	name := 1
	if answer := left - 5; answer > 0 && answer < 13 {
		name += answer
		if name == 2 {
			return
		}
	}
	at := question(b, dnsHeader, name)
	if n := len(b) - at; n >= 13 {
		b[7] = 1 // TXT, strings of up to 255 bytes
		o := b[at:]
		o[0], o[1] = 0xc0, dnsHeader
		o[3], o[5] = 16, 1
		o[9] = 60
		binary.BigEndian.PutUint16(o[10:], uint16(n-12))
		for o = o[12:]; len(o) > 0; {
			k := min(len(o)-1, 255)
			o[0] = byte(k)
			for i := range k {
				o[1+i] = neutralByte
			}
			o = o[1+k:]
		}
	}
}

// question writes a question whose name takes n bytes, and gives its end.
func question(b []byte, at, n int) int {
	for n > 1 {
		k := min(n-2, 63)
		if n-1-k == 2 { // what is left would be a label of no byte
			k--
		}
		b[at] = byte(k)
		for i := range k {
			b[at+1+i] = neutralByte
		}
		at += 1 + k
		n -= 1 + k
	}
	b[at] = 0
	b[at+2], b[at+4] = 16, 1 // TXT, IN
	return at + 5
}

// isError reports whether x's ICMP messages quote a packet.
func isError(x *session) bool {
	kind := uint8(x.icmp >> 8)
	if x.proto == packet.ICMPv4 {
		return kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12 // RFC 792
	}
	return x.proto == packet.ICMPv6 && kind >= 1 && kind <= 4
}

// message fills the header of an ICMP message.
func (x *session) message(q *packet.Packet, p *planned, from int) {
	q.Type, q.Code = uint8(x.icmp>>8), uint8(x.icmp)
	if x.proto == packet.ICMPv4 && q.Type == 8 || x.proto == packet.ICMPv6 && q.Type == 128 {
		q.Rest = uint32(x.port[0])<<16 | (p.stream+1)&0xffff
		if from == 1 {
			if q.Type++; x.proto == packet.ICMPv4 {
				q.Type = 0
			}
		}
	}
}

// quote fills b with the packet that an ICMP error is about: a UDP datagram
// from who receives the error.
func quote(b []byte, x *session, side int) {
	for i := range b {
		b[i] = 0
	}
	inner := packet.Packet{Src: x.addr[1-side], Dst: x.addr[side], TTL: 1, Proto: packet.UDP, SrcPort: 40000, DstPort: 33434}
	head := 28
	if !x.v4 {
		head = 48
	}
	inner.Payload = b[head:]
	if _, err := inner.Append(b[:0]); err != nil {
		return
	}
}
