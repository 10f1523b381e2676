package intreport_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry/intreport"
)

// A report ends with its datagram, and that with its packet, whatever comes behind: bytes that UDP's
// length does not count, and where UDP has none, those that IP's does not.
func TestLengthsOfCarriers(t *testing.T) {
	for i, r := range reports() {
		if r.Format != intreport.V20 {
			continue
		}
		payload, err := intreport.Append(nil, intreport.Config{}, &r)
		if err != nil {
			t.Fatal(err)
		}
		for name, packet := range carriers(payload) {
			udp := len(packet) - len(payload) - 8
			for _, counted := range []bool{true, false} { // by UDP's length
				b := slices.Concat(packet, []byte{0xff, 0xff, 0xff, 0xff})
				if counted { // IP's length counts them
					at := 2
					if b[0]>>4 == 6 {
						at = 4
					}
					binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+4)
				} else {
					copy(b[udp+4:], []byte{0, 0})
				}
				for _, cfg := range []intreport.Config{{}, {Port: 9555}} {
					d := decoder(t, cfg)
					if got, err := all(d, d.Packet, b); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
						t.Errorf("report %d in %s, counted by UDP %v, port %d: %+v, %v", i, name, counted, cfg.Port, got, err)
					}
				}
			}
		}
	}
}

// A probe needs its two bytes of count, also in the shortest packet there is.
func TestBareProbe(t *testing.T) {
	for name, b := range map[string][]byte{"IPv4": inIP4(0, 253, nil), "IPv6": inIP6(0, 253, nil)} {
		for n := range 3 {
			d := decoder(t, intreport.Config{})
			packet := slices.Concat(b, make([]byte, n))
			at := 3
			if name == "IPv6" {
				at = 5
			}
			packet[at] += byte(n)
			_, err := all(d, d.Packet, packet)
			want := fmt.Sprintf("probe: byte %d: count: %d: want 2 bytes", len(b), n)
			if n == 2 && err != nil || n < 2 && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s with %d bytes: %v", name, n, err)
			}
			if _, err := all(d, d.Packet, b[:len(b)-1]); !errors.Is(err, intreport.ErrForeign) {
				t.Errorf("%s without its last byte: %v", name, err)
			}
		}
	}
}

// A report that calls itself version 1 and whose Length is not its bitmap's is of v2.0 where its third
// word can begin an individual report, and of v1.0 with a wrong Length where it cannot.
func TestVersionOneOrWrongLength(t *testing.T) {
	const length = "v1.0: byte 0: Length: "
	for _, c := range []struct {
		words []uint32
		more  int // bytes
		want  string
	}{
		{[]uint32{0x15000001, 9, 0x10030120, 0x20000000, 0, 33}, 0, ""},
		{[]uint32{0x15000001, 9, 0x1003012f, 0x20000000, 0, 33}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9, 0x10030121, 0x20000000, 0, 33}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9, 0x10030128, 0x20000000, 0, 33}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9, 0x20000020}, 0, "v2.0: byte 8: RepType: 2: want 0 or 1"},
		{[]uint32{0x15000001, 9, 0x30000020}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9, 0x80000020}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9, 0x05000020}, 0, ""},
		{[]uint32{0x15000001, 9, 0x06000020}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9, 0x0f000020}, 0, length + "5: want 4"},
		{[]uint32{0x15000001, 9}, 3, "v2.0: byte 0: Telemetry Report Group Header: 11: want 12 bytes"},
		{[]uint32{0x13000001, 9, 0x30000020}, 0, "v2.0: byte 8: RepType: 3: want 0 or 1"}, // a Length below that of the head
		{[]uint32{0x15400001, 9, 0x30000020}, 0, length + "5: want 4"},
		{[]uint32{0x15600001, 9, 0x30000020}, 0, "v2.0: byte 8: RepType: 3: want 0 or 1"}, // NProt 3
		{[]uint32{0x14008001, 9, 0x30000020}, 0, length + "4: want 5"},
	} {
		d := decoder(t, intreport.Config{})
		got, err := all(d, d.Report, append(words(c.words...), make([]byte, c.more)...))
		if c.want == "" {
			if err != nil || len(got) != 1 || got[0].Format != intreport.V20 || got[0].Quirks&intreport.VersionOne == 0 {
				t.Errorf("%x: %+v, %v", c.words, got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%x: %v, want %s", c.words, err, c.want)
		}
		here := decoder(t, intreport.Config{Port: 9555}) // the same in a frame, where it ends with the bytes
		framed, err := all(here, here.Frame, udpFrame(9555, append(words(c.words...), make([]byte, c.more)...)))
		if len(framed) != len(got) || (err == nil) != (c.want == "") {
			t.Errorf("%x in a frame: %+v, %v", c.words, framed, err)
		}
	}
	here := decoder(t, intreport.Config{Port: 9555})
	if got, err := all(here, here.Frame, udpFrame(9555, make([]byte, 12))); err != nil || len(got) != 1 || got[0].Format != intreport.V05 {
		t.Errorf("a postcard of twelve bytes: %+v, %v", got, err)
	}
	if _, err := all(here, here.Frame, udpFrame(9555, nil)); err == nil || !strings.Contains(err.Error(), "byte 42: Telemetry Report header: 0: want 4 bytes") {
		t.Errorf("an empty datagram: %v", err)
	}
}

// Of a report without its length all that follows is its contents, whether that is metadata, a packet or both.
func TestNoLength(t *testing.T) {
	packet := inIP4(0, 17, inUDP(9, words(0x10040000, 0x20000100, 0x80000000, 0, 7)))
	for _, c := range []struct {
		name  string
		b     []byte
		quirk bool
		want  string // switches
	}{
		{"metadata", words(0x20000001, 9, 0x10000120, 0x20000000, 0, 33), true, "[9]"},
		{"a packet", slices.Concat(words(0x20000001, 9, 0x04000020), packet), true, "[7]"},
		{"both", slices.Concat(words(0x20000001, 9, 0x14000120, 0x20000000, 0, 33), packet), true, "[7 9]"},
		{"a TLV", slices.Concat(words(0x20000001, 9, 0x01000020, 2<<28|uint32(len(packet)/4)<<16), packet), true, "[7]"},
		{"to the end", slices.Concat(words(0x20000001, 9, 0x04ff0020), packet), false, "[7]"},
		{"neither", words(0x20000001, 9, 0x00000020), false, "[]"},
	} {
		d := decoder(t, intreport.Config{})
		got, err := all(d, d.Report, c.b)
		if err != nil || len(got) != 1 || (got[0].Quirks == intreport.NoLength) != c.quirk || !c.quirk && got[0].Quirks != 0 {
			t.Errorf("%s: %+v, %v", c.name, got, err)
			continue
		}
		ids := []uint32{}
		for _, h := range got[0].Hops {
			ids = append(ids, h.Switch)
		}
		if fmt.Sprint(ids) != c.want {
			t.Errorf("%s: switches %v, want %s", c.name, ids, c.want)
		}
	}
}

// A frame that is announced as an IP packet is a departure that is read, and so is what it holds.
func TestFrameAsIP(t *testing.T) {
	stack := inUDP(9, words(0x10050000, 0x20000100, 0x80000000, 0, 2, 1))
	for kind, packet := range map[uint32][]byte{4: inFrame(0x0800, 0, inIP4(0, 17, stack)), 5: inFrame(0x86dd, 1, inIP6(0, 17, stack))} {
		d := decoder(t, intreport.Config{})
		got, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, kind<<24|0xff0020), packet))
		if err != nil || len(got) != 1 || got[0].Quirks != intreport.EtherAsIP || len(got[0].Hops) != 2 {
			t.Errorf("InType %d: %+v, %v", kind, got, err)
		}
	}
}

// What is not set marks nothing: neither a DSCP of 0 nor a port of 0 nor eight bytes of 0.
func TestUnsetMarks(t *testing.T) {
	stack := words(0x10050000, 0x20000100, 0x80000000, 0, 2, 1)
	for name, cfg := range map[string]intreport.Config{"DSCP": {DSCP: 5}, "port": {INTPort: 5}, "marker": {Marker: 5}} {
		for what, body := range map[string][]byte{"UDP": inIP4(0, 17, inUDP(0, stack)), "TCP": inIP4(0, 6, inTCP(0, stack)), "zeros": inIP4(0, 17, inUDP(0, slices.Concat(make([]byte, 8), stack)))} {
			d := decoder(t, cfg)
			got, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x04ff0020), body))
			if err != nil || len(got) != 1 || len(got[0].Hops) != 0 {
				t.Errorf("%s alone is set: %s: %+v, %v", name, what, got, err)
			}
		}
	}
	for cfg, body := range map[intreport.Config][]byte{
		{DSCP: 1}:    inIP4(1, 17, inUDP(0, stack)),
		{INTPort: 1}: inIP4(0, 17, inUDP(1, stack)),
		{Marker: 1}:  inIP4(0, 17, inUDP(0, slices.Concat([]byte{0, 0, 0, 0, 0, 0, 0, 1}, stack))),
	} {
		d := decoder(t, cfg)
		got, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x04ff0020), body))
		if err != nil || len(got) != 1 || len(got[0].Hops) != 2 {
			t.Errorf("%+v: %+v, %v", cfg, got, err)
		}
	}
}

// A stack may be cut only where its packet goes on: one that is longer than its whole packet is wrong.
func TestCutOnlyWhereMore(t *testing.T) {
	stack := words(0x10080000, 0x20000100, 0x80000000, 0, 2, 1) // says 5 hops, 2 are there
	for more := range 3 {
		packet := inIP4(0x2b, 17, inUDP(9, stack))
		packet[3] += byte(more) // by its own length it goes on
		d := decoder(t, intreport.Config{DSCP: 0x2b})
		got, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x04ff0020), packet))
		if more == 0 && (err == nil || !strings.Contains(err.Error(), "Length: 20: want 32 bytes")) ||
			more > 0 && (err != nil || len(got) != 1 || !got[0].Cut || len(got[0].Hops) != 2) {
			t.Errorf("%d bytes more: %+v, %v", more, got, err)
		}
	}
}

// A packet that ends within INT's header says that it was cut where it is marked, and nothing where INT is only guessed.
func TestCutWithinTheHeader(t *testing.T) {
	stack := words(0x10080000, 0x20000100, 0x80000000, 0, 2, 1)
	for left := 8; left < 16; left += 4 {
		packet := inIP4(0x2b, 17, inUDP(9, stack))
		packet = packet[:20+8+left]
		for _, marked := range []bool{true, false} {
			cfg := intreport.Config{}
			if marked {
				cfg.DSCP = 0x2b
			}
			d := decoder(t, cfg)
			got, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x04ff0020), packet))
			if err != nil || len(got) != 1 || len(got[0].Hops) != 0 || got[0].Cut != marked {
				t.Errorf("%d bytes, marked %v: %+v, %v", left, marked, got, err)
			}
		}
	}
}

// All ones say that a field is not known, in every word of it; fewer do not.
func TestAllOnes(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		high, low uint32
		known     bool
	}{{ones, ones, false}, {ones, ones - 1, true}, {ones - 1, ones, true}, {ones, 0, true}, {0, ones, true}} {
		d := decoder(t, intreport.Config{})
		got, err := all(d, d.Report, words(0x20000001, 9, 0x10040220, 0x04000000, 0, c.high, c.low)) // an egress time
		if err != nil || len(got) != 1 || len(got[0].Hops) != 1 {
			t.Fatal(got, err)
		}
		h, want := got[0].Hops[0], uint64(c.high)<<32|uint64(c.low)
		if !c.known {
			want = 0
		}
		if (h.Has&intreport.HasEgressTime != 0) != c.known || h.EgressTime != want {
			t.Errorf("%x %x: %+v", c.high, c.low, h)
		}
	}
}

// The checksum of a probe's IPv4 header is of its header alone (RFC 791).
func TestProbeChecksum(t *testing.T) {
	b, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("192.168.255.254"), netip.MustParseAddr("239.255.255.250"), &reports()[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum != 0xffff {
		t.Errorf("the header's sum is %x", sum)
	}
}

// What a format has no place for is an error, and nothing is sent without a word.
func TestNothingIsLost(t *testing.T) {
	bare := intreport.Hop{}
	local := intreport.Hop{Has: intreport.HasSwitch | intreport.HasIngressTime, Switch: 3}
	full := intreport.Hop{Has: intreport.HasSwitch | intreport.HasIngressTime | intreport.HasUtil, Switch: 3}
	for _, c := range []struct {
		format intreport.Format
		hops   []intreport.Hop
		want   string
	}{
		{intreport.V20, []intreport.Hop{bare}, "hops: they tell nothing"},
		{intreport.V20, []intreport.Hop{bare, bare, full}, "hops: they tell nothing"},
		{intreport.V10, []intreport.Hop{bare, full}, "hops: they tell nothing"},
		{intreport.V10, []intreport.Hop{full, local}, "hops: the node tells nothing but its ingress time"},
		{intreport.V10, []intreport.Hop{local}, ""},
		{intreport.V20, []intreport.Hop{local}, ""},
		{intreport.V20, []intreport.Hop{{Has: intreport.HasSwitch | intreport.HasWait, Switch: 3}}, "hops: there is no place for wait"},
		{intreport.V20, []intreport.Hop{{Has: intreport.HasSwitch | intreport.HasDrop, Switch: 1}, full}, "hops: there is no place for drop"},
		{intreport.V10, []intreport.Hop{{Has: intreport.HasSwitch | intreport.HasIngressTime | intreport.HasBuffer, Switch: 3}}, "hops: there is no place for buffer"},
	} {
		_, err := intreport.Append(nil, intreport.Config{}, &intreport.Report{Format: c.format, Node: 3, Hops: c.hops})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v of %+v: %v, want %q", c.format, c.hops, err, c.want)
		}
	}
}
