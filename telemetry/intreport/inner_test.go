package intreport_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// What a truncated packet may be made of; heads as their RFCs draw them.

func inUDP(port uint16, body []byte) []byte {
	return slices.Concat(words(0xc0000000|uint32(port), uint32(8+len(body))<<16), body)
}

func inTCP(options int, body []byte) []byte { // words of options, which begin body
	return slices.Concat(words(0x12340050, 1, 2, uint32(5+options)<<28|0x0010ffff, 0), body)
}

func inIP4(dscp, proto byte, body []byte) []byte {
	return slices.Concat(words(0x45000000|uint32(dscp)<<18|uint32(20+len(body)), 0, 0x40000000|uint32(proto)<<16, 0x0a000001, 0x0a000002), body)
}

func inIP6(dscp, proto byte, body []byte) []byte {
	return slices.Concat(words(0x60000000|uint32(dscp)<<22|0xfffff, uint32(len(body))<<16|uint32(proto)<<8|64, 1, 2, 3, 4, 5, 6, 7, 8), body)
}

func inFrame(etype uint16, tags int, body []byte) []byte {
	b := slices.Concat(make([]byte, 12))
	for i := range tags {
		b = append(b, [][]byte{{0x81, 0, 0, 5}, {0x88, 0xa8, 0, 6}}[i]...)
	}
	return slices.Concat(binary.BigEndian.AppendUint16(b, etype), body)
}

// A stack of INT-MD v2.1 is found in whatever the reported packet is, marked by its DSCP
// or by nothing; where it cannot be, there are no hops and no error.
func TestInnerPackets(t *testing.T) {
	stack := words(0x10050000, 0x20000100, 0x80000000, 0, 2, 1)
	const dscp = 0x2b
	vxlan := func(flags, next byte) []byte { return slices.Concat([]byte{flags, 0, 0, next, 0, 0, 42, 0}, stack) }
	option := slices.Concat(words(0x01020001, 7), words(0x01030105), stack[4:]) // another's, then INT's
	geneve := slices.Concat(words(8<<24|0x6558, 0x2a00), option)
	tcpBefore := inTCP(3, slices.Concat(stack, words(0x01010101, 0x01010101, 0x01010100)))
	tcpBehind := inTCP(3, slices.Concat(words(0x01010101, 0x01010101, 0x01010100), stack))
	udp := inUDP(5000, stack)
	tlv := func(kind, n uint32, data []byte) []byte { return slices.Concat(words(kind<<28|n<<16), data) }
	whole := func(kind uint32, p []byte) []byte { return tlv(kind, uint32(len(p)/4), p) }
	const ether, ip4, ip6, tlvs = 3, 4, 5, 1 // InType
	for _, c := range []struct {
		name   string
		inType uint32
		packet []byte
		want   int
	}{
		{"UDP", ip4, inIP4(dscp, 17, udp), 2},
		{"UDP in IPv6", ip6, inIP6(dscp, 17, udp), 2},
		{"UDP in IPv6 behind a destination header", ip6, inIP6(dscp, 60, slices.Concat([]byte{17, 0}, make([]byte, 6), udp)), 2},
		{"TCP", ip4, inIP4(dscp, 6, inTCP(0, stack)), 2},
		{"TCP in IPv6", ip6, inIP6(dscp, 6, inTCP(0, stack)), 2},
		{"TCP, behind its options", ip4, inIP4(dscp, 6, tcpBehind), 2},
		{"TCP, before its options", ip4, inIP4(dscp, 6, tcpBefore), 2},
		{"in a frame", ether, inFrame(0x0800, 0, inIP4(dscp, 17, udp)), 2},
		{"IPv6 in a frame", ether, inFrame(0x86dd, 0, inIP6(dscp, 17, udp)), 2},
		{"in a tagged frame", ether, inFrame(0x0800, 1, inIP4(dscp, 17, udp)), 2},
		{"in a frame with two tags", ether, inFrame(0x0800, 2, inIP4(dscp, 17, udp)), 2},
		{"in a frame of another type", ether, inFrame(0x0801, 0, inIP4(dscp, 17, udp)), 0},
		{"VXLAN-GPE", ip4, inIP4(dscp, 17, inUDP(4790, vxlan(0x0c, 0x82))), 2},
		{"VXLAN-GPE, INT as 8", ip4, inIP4(dscp, 17, inUDP(4790, vxlan(0x0c, 8))), 2},
		{"VXLAN's port", ip4, inIP4(dscp, 17, inUDP(4789, vxlan(0x04, 0x82))), 2},
		{"VXLAN-GPE, Ethernet", ip4, inIP4(dscp, 17, inUDP(4790, vxlan(0x0c, 3))), 0},
		{"VXLAN without a next protocol", ip4, inIP4(dscp, 17, inUDP(4789, vxlan(0x08, 0x82))), 0},
		{"VXLAN-GPE, cut", ip4, inIP4(dscp, 17, inUDP(4790, vxlan(0x0c, 0x82)[:7])), 0},
		{"Geneve", ip4, inIP4(dscp, 17, inUDP(6081, geneve)), 2},
		{"Geneve whose options end before", ip4, inIP4(dscp, 17, inUDP(6081, slices.Concat(words(2<<24|0x6558, 0x2a00), option))), 0},
		{"Geneve, INT behind its options", ip4, inIP4(dscp, 17, inUDP(6081, slices.Concat(words(4<<24|0x6558, 0x2a00), words(0x01020003, 7, 7, 7), words(0x01030105), stack[4:]))), 0},
		{"VXLAN with the O bit alone", ip4, inIP4(dscp, 17, inUDP(4790, vxlan(0x09, 0x82))), 0},
		{"Geneve, nothing of it", ip4, inIP4(dscp, 17, inUDP(6081, nil)), 0},
		{"VXLAN, nothing of it", ip4, inIP4(dscp, 17, inUDP(4790, nil)), 0},
		{"VXLAN, cut", ip4, inIP4(dscp, 17, inUDP(4790, vxlan(0x0c, 0x82)[:7])), 0},
		{"Geneve, cut", ip4, inIP4(dscp, 17, inUDP(6081, geneve[:7])), 0},
		{"TCP, cut", ip4, inIP4(dscp, 6, inTCP(0, nil)[:19]), 0},
		{"UDP, cut", ip4, inIP4(dscp, 17, udp[:7]), 0},
		{"ICMP", ip4, inIP4(dscp, 1, udp), 0},
		{"ICMP in IPv6", ip6, inIP6(dscp, 58, udp), 0},
		{"TLV, Ethernet", tlvs, whole(1, append(inFrame(0x0800, 0, inIP4(dscp, 17, udp)), 0, 0)), 2},
		{"TLV, IPv4", tlvs, whole(2, inIP4(dscp, 17, udp)), 2},
		{"TLV, IPv6", tlvs, whole(3, inIP6(dscp, 17, udp)), 2},
		{"TLV, 0", tlvs, whole(0, inFrame(0x0800, 0, inIP4(dscp, 17, udp))[:68]), 0},
		{"TLV, 4", tlvs, whole(4, inIP4(dscp, 17, udp)), 0},
		{"TLVs before it", tlvs, slices.Concat(tlv(4, 0, nil), tlv(15, 1, words(5)), whole(2, inIP4(dscp, 17, udp))), 2},
	} {
		for _, cfg := range []intreport.Config{{DSCP: dscp}, {}} {
			d := decoder(t, cfg)
			b := slices.Concat(words(0x20000001, 9, c.inType<<24|0xff0020), c.packet)
			got, err := all(d, d.Report, b)
			if strings.HasPrefix(c.name, "TLV, Ethernet") && cfg.DSCP == 0 && err == nil && len(got) == 1 && len(got[0].Hops) == 0 {
				continue // a stack with bytes behind it is not guessed
			}
			if err != nil || len(got) != 1 || len(got[0].Hops) != c.want || got[0].Quirks != 0 ||
				c.want == 2 && (got[0].Hops[0].Switch != 1 || got[0].Hops[1].Switch != 2) {
				t.Errorf("%s, %+v: %+v, %v; want %d hops", c.name, cfg, got, err, c.want)
			}
		}
	}
	d := decoder(t, intreport.Config{DSCP: dscp})
	long := slices.Clone(geneve)
	long[19] = 6 // words, and 5 are there
	_, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x04ff0020), inIP4(dscp, 17, inUDP(6081, long))))
	if err == nil || !strings.Contains(err.Error(), "Geneve option Length: 24: want 24 bytes") {
		t.Errorf("%v", err)
	}
}

// Without a mark INT is taken for INT only where every reserved bit is 0; behind a mark they are passed over,
// as the specification says of them.
func TestReservedBits(t *testing.T) {
	const dscp = 0x2b
	for _, c := range []struct {
		name     string
		v20      bool
		stack    []uint32
		reserved []uint32 // bits, one word of the stack after another
	}{
		{"v2.1", true, []uint32{0x10040000, 0x20000100, 0x80000000, 0, 1}, []uint32{0x03000000}},
		{"v1.0", false, []uint32{0x01000400, 0x10000100, 0x80000000, 1}, []uint32{0x00ff0000}},
		{"MX", true, []uint32{0x30040000, 0x20000000, 0x80000000, 0, 1}, []uint32{0x03000000, 0x07ffffff}},
	} {
		for word, mask := range append([]uint32{0}, c.reserved...) {
			for bit := range 32 {
				if word > 0 && mask>>bit&1 == 0 || word == 0 && bit > 0 {
					continue
				}
				s := slices.Clone(c.stack)
				if word > 0 {
					s[word-1] ^= 1 << bit
				}
				for _, cfg := range []intreport.Config{{DSCP: dscp}, {}} {
					d := decoder(t, cfg)
					head := words(0x20000001, 9, 0x04ff0020)
					if !c.v20 {
						head = words(0x14200000, 9, 1, 7)
					}
					got, err := all(d, d.Report, slices.Concat(head, inIP4(dscp, 17, inUDP(5000, words(s...)))))
					want := uint32(1)
					if word > 0 && cfg.DSCP == 0 {
						want = 0
					}
					if c.name == "v1.0" && want == 0 {
						want = 9 // the report's own hop
					}
					if err != nil || len(got) != 1 || want == 0 && len(got[0].Hops) != 0 || want > 0 && (len(got[0].Hops) != 1 || got[0].Hops[0].Switch != want) {
						t.Errorf("%s, bit %d of word %d, %+v: %+v, %v", c.name, bit, word, cfg, got, err)
					}
				}
			}
		}
	}
}

// A datagram to any port with a bit set that its specification reserves is not a report;
// to the port of reports it is.
func TestStrictBits(t *testing.T) {
	inner := inIP4(0, 17, inUDP(9, nil))
	frame := inFrame(0x0800, 0, inner)
	for _, c := range []struct {
		name     string
		b        []byte
		reserved map[int]uint32 // word: bits
	}{
		{"v0.5", slices.Concat(words(0x02000007, 1, 2, 3, 0x00010002, 0x04000005, 9), frame), map[int]uint32{0: 0x001fffc0}},
		{"v0.5 without a head", slices.Concat(words(0x00000007, 1, 2), frame), map[int]uint32{0: 0x001fffc0}},
		{"v0.5, drop", slices.Concat(words(0x01000007, 1, 2, 3, 0x00010002, 0x04190000), frame), map[int]uint32{0: 0x001fffc0, 5: 0xffff}},
		{"v1.0", slices.Concat(words(0x15208007, 3, 2, 7, 5), inner), map[int]uint32{0: 0x7e00}},
		{"v2.0", slices.Concat(words(0x20000001, 9, 0x140a0120, 0x20000000, 0, 33), inner), map[int]uint32{2: 0xf, 3: 0x807e0000}},
		{"v2.0, metadata alone", words(0x20000001, 9, 0x10030120, 0x20000000, 0, 33), map[int]uint32{2: 0xf, 3: 0x807e0000}},
	} {
		any, here := decoder(t, intreport.Config{}), decoder(t, intreport.Config{Port: 4242})
		if got, err := all(any, any.Frame, udpFrame(4242, c.b)); err != nil || len(got) != 1 {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		for word, mask := range c.reserved {
			for bit := range 32 {
				if mask>>bit&1 == 0 {
					continue
				}
				b := slices.Clone(c.b)
				b[4*word+3-bit/8] ^= 1 << (bit % 8)
				if got, err := all(any, any.Frame, udpFrame(4242, b)); !errors.Is(err, intreport.ErrForeign) || got != nil {
					t.Errorf("%s: bit %d of word %d: %+v, %v", c.name, bit, word, got, err)
				}
				// Bits of a bitmap that are reserved have lengths of their own: not those.
				if _, err := all(here, here.Frame, udpFrame(4242, b)); word != 3 && err != nil {
					t.Errorf("%s: bit %d of word %d, to the port of reports: %v", c.name, bit, word, err)
				}
			}
		}
	}
}

// Telemetry Report v1.0, "RepMdBits": each of the six bits stands for a word, in the order of
// the bits. All 64 bitmaps, with numbers that differ.
func TestPaperReportMetadata(t *testing.T) {
	fields := []struct {
		has  intreport.Field
		word uint32
		set  func(h *intreport.Hop)
	}{
		{intreport.HasPorts, 0x00110022, func(h *intreport.Hop) { h.Ingress, h.Egress = 0x11, 0x22 }},
		{intreport.HasLatency, 33, func(h *intreport.Hop) { h.Latency = 33_000 }},
		{intreport.HasQueue, 0x04000005, func(h *intreport.Hop) { h.Queue, h.Depth = 4, 5 }},
		{intreport.HasEgressTime, 66, func(h *intreport.Hop) { h.EgressTime = 66_000 }},
		{intreport.HasDrop, 0x04190000, func(h *intreport.Hop) { h.Queue, h.Drop = 4, 25 }},
		{intreport.HasUtil, 10, func(h *intreport.Hop) { h.Util = 10 }},
	}
	for bitmap := range uint32(64) {
		w := []uint32{0x10200041 | uint32(4+bits.OnesCount32(bitmap))<<24 | bitmap<<15, 9, 1, 7}
		want := intreport.Hop{Has: intreport.HasSwitch | intreport.HasIngressTime, Switch: 9, IngressTime: 7000, Wrap: 1 << 32 * 1000}
		for i, f := range fields {
			if bitmap&(0x20>>i) != 0 {
				w = append(w, f.word)
				want.Has |= f.has
				f.set(&want)
			}
		}
		d := decoder(t, intreport.Config{Tick: time.Microsecond})
		got, err := all(d, d.Report, slices.Concat(words(w...), inIP4(0, 17, inUDP(9, nil))))
		r := intreport.Report{Format: intreport.V10, Node: 9, Hardware: 1, Seq: 1, SeqBits: 32, Tracked: true, Hops: []intreport.Hop{want}}
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
			t.Errorf("%06b: %+v, %v\nwant %+v", bitmap, got, err, r)
		}
		if wire, err := intreport.Append(nil, intreport.Config{Tick: time.Microsecond}, &r); err != nil || !slices.Equal(wire, words(w...)) {
			t.Errorf("%06b: % x, %v\nwant % x", bitmap, wire, err, words(w...))
		}
	}
}

// A probe that no switch has added to is one, also in a frame that is filled to 60 bytes;
// what claims no hops and has more in its packet is of another experiment.
func TestEmptyProbe(t *testing.T) {
	for more := range 3 {
		d := decoder(t, intreport.Config{})
		b := probeFrame(append([]byte{0, 0}, make([]byte, more)...))
		for _, padding := range []int{0, 1, 24} {
			got, err := all(d, d.Frame, slices.Concat(b, make([]byte, padding)))
			if more == 0 && (err != nil || len(got) != 1 || got[0].Format != intreport.Probe || len(got[0].Hops) != 0) ||
				more > 0 && (!errors.Is(err, intreport.ErrForeign) || got != nil) {
				t.Errorf("%d bytes, %d of padding: %+v, %v", more, padding, got, err)
			}
		}
	}
}

// Half a turn of a clock is a time in the queue, more is one below 0.
func TestHalfATurn(t *testing.T) {
	const wrap = 1 << 32
	for _, c := range []struct {
		in, out uint64
		want    float64 // µs; -1: not known
	}{{0, 0, 0}, {0, wrap / 2, wrap / 2 / 1000.}, {0, wrap/2 + 1, -1}, {wrap - 1, wrap/2 - 1, wrap / 2 / 1000.}, {wrap - 1, wrap / 2, -1}, {1, 0, -1}} {
		h := intreport.Hop{Has: intreport.HasIngressTime | intreport.HasEgressTime, IngressTime: c.in, EgressTime: c.out, Wrap: wrap}
		v, ok := h.Queueing()
		if ok != [3]bool{false, c.want >= 0, false} || ok[1] && v[1] != c.want {
			t.Errorf("%d to %d: %v %v, want %v", c.in, c.out, v, ok, c.want)
		}
	}
}

// Names of fields in recordings' errors and JSON.
func TestNames(t *testing.T) {
	for f, want := range map[intreport.Field]string{
		0: "", intreport.HasSwitch: "switch", intreport.HasDrop | intreport.HasBuffer: "buffer+drop",
		intreport.HasWait | intreport.HasUtil | intreport.HasPorts2:                                                         "ports2+util+wait",
		intreport.HasPorts | intreport.HasLatency | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime: "ports+latency+queue+ingress_time+egress_time",
	} {
		if got := fmt.Sprint(f); got != want {
			t.Errorf("%d: %q, want %q", f, got, want)
		}
	}
	for f, want := range map[intreport.Format]string{0: "frame", intreport.Probe: "probe", intreport.V05: "report v0.5", intreport.V10: "report v1.0", intreport.V20: "report v2.0", 5: "frame"} {
		if got := fmt.Sprint(f); got != want {
			t.Errorf("%d: %q, want %q", f, got, want)
		}
	}
}
