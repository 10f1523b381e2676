package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/planegym/planegym/internal/pcap"
)

var (
	v4a, v4b = netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.9")
	v6a, v6b = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ff:2")
)

func examples() map[string]Packet {
	return map[string]Packet{
		"tcp4": {Src: v4a, Dst: v4b, TTL: 64, TOS: 0x10, ID: 77, DF: true, Proto: TCP, SrcPort: 40000, DstPort: 443, Seq: 1 << 31, Ack: 9, Flags: SYN | ACK,
			Window: 64240, TCPOptions: []byte{2, 4, 5, 180, 1, 3, 3, 7}, Payload: []byte("odd")},
		"tcp6":      {Src: v6a, Dst: v6b, TTL: 255, TOS: 3, Flow: 0xabcde, Proto: TCP, SrcPort: 1, DstPort: 65535, Flags: RST},
		"udp4":      {Src: v4a, Dst: v4b, TTL: 1, Proto: UDP, SrcPort: 53, DstPort: 53, Options: []byte{1, 1, 1, 0}, Payload: []byte{0}},
		"udp6":      {Src: v6a, Dst: v6b, TTL: 1, Proto: UDP, SrcPort: 53, DstPort: 5353, Payload: bytes.Repeat([]byte{255}, 1472)},
		"ping4":     {Src: v4a, Dst: v4b, TTL: 9, Proto: ICMPv4, Type: 8, Rest: 7<<16 | 1, Payload: []byte("ping")},
		"ping6":     {Src: v6a, Dst: v6b, TTL: 9, Proto: ICMPv6, Type: 128, Rest: 7<<16 | 1},
		"udp4large": {Src: v4a, Dst: v4b, Proto: UDP, Payload: make([]byte, 65535-28)},
	}
}

// What is encoded is decoded, and has good checksums.
func TestRoundTrip(t *testing.T) {
	for name, p := range examples() {
		b, err := p.Append([]byte("before"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b = b[len("before"):]
		var q Packet
		if err := q.Decode(append(bytes.Clone(b), 0, 0, 0)); err != nil { // an Ethernet frame's padding
			t.Fatalf("%s: %v", name, err)
		}
		if q.L3 != Good || q.L4 != Good || q.Length != len(p.Payload) || q.HeaderN != len(b)-len(p.Payload) {
			t.Errorf("%s: checksums %d and %d, %d bytes of payload, %d of headers", name, q.L3, q.L4, q.Length, q.HeaderN)
		}
		q.L3, q.L4, q.Length, q.HeaderN = 0, 0, 0, 0
		if len(q.Payload) == 0 {
			q.Payload = p.Payload
		}
		if !reflect.DeepEqual(p, q) {
			t.Errorf("%s: decoded\n%+v\nencoded\n%+v", name, q, p)
		}
		for i := range min(len(b), 2000) { // any flipped byte is noticed, but what no checksum covers
			c := bytes.Clone(b)
			c[i] ^= 0x55
			if err := q.Decode(c); err == nil && q.L3 == Good && q.L4 == Good && p.Src.Is4() {
				t.Errorf("%s: byte %d changed, and both checksums are good", name, i)
			}
			if err := q.Decode(b[:i]); err == nil && q.Length <= len(q.Payload) {
				t.Errorf("%s: cut to %d of %d bytes: no error, and the payload is whole", name, i, len(b))
			}
		}
	}
}

func TestAppendBad(t *testing.T) {
	for name, change := range map[string]func(*Packet){
		"versions":     func(p *Packet) { p.Dst = v6b },
		"no address":   func(p *Packet) { p.Src = netip.Addr{} },
		"mapped":       func(p *Packet) { p.Src, p.Dst = netip.MustParseAddr("::ffff:1.2.3.4"), v6b },
		"options":      func(p *Packet) { p.TCPOptions = []byte{1, 1, 1} },
		"long options": func(p *Packet) { p.TCPOptions = make([]byte, 44) },
		"too large":    func(p *Packet) { p.Payload = make([]byte, 65536-28) },
		"protocol":     func(p *Packet) { p.Proto = 47 },
		"ICMP version": func(p *Packet) { p.Proto = ICMPv6 },
	} {
		p := examples()["tcp4"]
		change(&p)
		if b, err := p.Append(nil); err == nil || len(b) > 0 {
			t.Errorf("%s: %d bytes, error %v", name, len(b), err)
		}
	}
}

func TestDecodeBad(t *testing.T) {
	good, _ := (&Packet{Src: v4a, Dst: v4b, Proto: TCP, Flags: ACK}).Append(nil)
	change := func(i int, b ...byte) []byte { c := bytes.Clone(good); copy(c[i:], b); return c }
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrShort},
		{"version", []byte{0x50}, ErrVersion},
		{"header length", change(0, 0x44), ErrMalformed},
		{"total length", change(2, 0, 19), ErrMalformed},
		{"fragment", change(6, 0x20, 0), ErrFragment},
		{"last fragment", change(6, 0, 1), ErrFragment},
		{"protocol", change(9, 47), ErrProtocol},
		{"data offset", change(32, 0x40), ErrMalformed},
		{"data offset past the end", change(32, 0xf0), ErrMalformed},
		{"cut", good[:30], ErrShort},
	} {
		var p Packet
		if err := p.Decode(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

// A UDP datagram without a checksum is legal over IPv4.
func TestNoChecksum(t *testing.T) {
	b, _ := (&Packet{Src: v4a, Dst: v4b, Proto: UDP, Payload: []byte("x")}).Append(nil)
	b[26], b[27] = 0, 0
	var p Packet
	if err := p.Decode(b); err != nil || p.L4 != Unknown {
		t.Errorf("%v, checksum %d", err, p.L4)
	}
}

func TestLinks(t *testing.T) {
	ip := []byte{0x45, 1, 2, 3, 4, 5, 6, 7, 8}
	ether := func(types ...uint16) []byte {
		b := make([]byte, 12)
		for _, t := range types {
			b = binary.BigEndian.AppendUint16(b, t)
		}
		return append(b, ip...)
	}
	for name, c := range map[string]struct {
		f    func([]byte) ([]byte, Frame, error)
		b    []byte
		ip   bool
		want Frame
	}{
		"plain":    {StripEthernet, ether(0x0800), true, Frame{0, 0x0800}},
		"vlan":     {StripEthernet, ether(0x8100, 5, 0x86dd), true, Frame{1, 0x86dd}},
		"qinq":     {StripEthernet, ether(0x88a8, 5, 0x8100, 6, 0x0800), true, Frame{2, 0x0800}},
		"pppoe":    {StripEthernet, ether(0x8864, 0x1100, 1, 40, 0x21), true, Frame{0, 0x8864}},
		"arp":      {StripEthernet, ether(0x0806), false, Frame{0, 0x0806}},
		"llc":      {StripEthernet, ether(38), false, Frame{0, 38}},
		"cooked":   {StripCooked, append(make([]byte, 2), ether(0x0800)...), true, Frame{0, 0x0800}},
		"cooked 2": {StripCooked2, append(binary.BigEndian.AppendUint16(nil, 0x86dd), append(make([]byte, 18), ip...)...), true, Frame{0, 0x86dd}},
	} {
		got, f, err := c.f(c.b)
		if err != nil || f != c.want || c.ip != bytes.Equal(got, ip) {
			t.Errorf("%s: %x %+v %v", name, got, f, err)
		}
		for i := range c.b {
			_, _, _ = c.f(c.b[:i])
		}
	}
	if b := AppendEthernet(nil, [6]byte{1}, [6]byte{2}, false); !bytes.Equal(b, []byte{2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x86, 0xdd}) {
		t.Errorf("%x", b)
	}
}

// Every packet of a real capture is decoded, its checksums agree with what
// tshark 4.0 says of the same file (all good), and encoded again it is the same.
func TestRealCapture(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no captures")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "captures", "imap.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcap.NewReader(f, f.Name())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := (pcap.Packet{}); r.Next(&p) == nil; {
		ip, _, err := StripEthernet(p.Data)
		if err != nil || ip == nil {
			t.Fatal(err)
		}
		var q Packet
		if err := q.Decode(ip); err != nil {
			continue
		}
		n++
		if q.Proto == TCP && (q.L3 != Good || q.L4 != Good) {
			t.Errorf("packet %d: checksums %d %d", n, q.L3, q.L4)
		}
		b, err := q.Append(nil)
		if err != nil || q.Proto == TCP && !bytes.Equal(b, ip[:len(b)]) {
			t.Errorf("packet %d encoded again is\n%x, not\n%x: %v", n, b, ip, err)
		}
	}
	if n != 124 {
		t.Errorf("%d packets, the capture has 124", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range examples() {
		if b, err := p.Append(nil); err == nil && len(b) < 2000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if p.Decode(b) != nil || p.Length != len(p.Payload) || p.Extra {
			return
		}
		c, err := p.Append(nil)
		if err != nil {
			t.Fatalf("decoded, but: %v", err)
		}
		var q Packet
		if err := q.Decode(c); err != nil || q.L3 != Good || q.L4 != Good {
			t.Fatalf("encoded again: %v, checksums %d %d", err, q.L3, q.L4)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	p := examples()["tcp4"]
	p.Payload = make([]byte, 1400)
	buf := make([]byte, 0, 2000)
	b.ReportAllocs()
	b.SetBytes(1440)
	for b.Loop() {
		buf, _ = p.Append(buf[:0])
	}
}

// Options by hand: a SYN of Linux, padding, the end of the list, and options that are cut.
func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"a SYN":        {[]byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}, "2:05b4 4: 8:0000000100000000 3:07 "},
		"padding":      {[]byte{1, 1, 1, 1}, ""},
		"the end":      {[]byte{3, 3, 2, 0, 2, 4, 5, 180}, "3:02 "},
		"a cut one":    {[]byte{3, 3, 2, 2, 4, 5}, "3:02 "},
		"no length":    {[]byte{3, 3, 2, 2}, "3:02 "},
		"a length < 2": {[]byte{3, 1, 2, 4, 5, 180}, ""},
		"none":         {nil, ""},
	} {
		got := ""
		for kind, value := range Options(c.in) {
			got += fmt.Sprintf("%d:%x ", kind, value)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for kind := range Options([]byte{4, 2, 3, 3, 7}) {
		if kind != SACKPermitted {
			t.Errorf("after the loop's end: %d", kind)
		}
		break
	}
}
