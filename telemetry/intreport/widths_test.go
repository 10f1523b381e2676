package intreport_test

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// sent is a report of a switch, read again: by Frame if it is a probe.
func sent(t *testing.T, cfg intreport.Config, r *intreport.Report) ([]intreport.Report, error) {
	t.Helper()
	d := decoder(t, cfg)
	if r.Format == intreport.Probe {
		b, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), r)
		if err != nil {
			return nil, err
		}
		return all(d, d.Frame, b)
	}
	b, err := intreport.Append(nil, cfg, r)
	if err != nil {
		return nil, err
	}
	return all(d, d.Report, b)
}

// Every field holds the greatest value of its bits and no greater one: the widths
// are those of the specifications' tables.
func TestWidths(t *testing.T) {
	type hop = intreport.Hop
	type set struct {
		name string
		max  uint64 // what round trips; max+1 does not fit
		on   func(r *intreport.Report, h *hop, v uint64)
	}
	const us = 1000
	hardware := set{"hw_id", 63, func(r *intreport.Report, h *hop, v uint64) { r.Hardware = uint8(v) }}
	in16 := set{"ingress", 1<<16 - 1, func(r *intreport.Report, h *hop, v uint64) { h.Ingress = uint32(v) }}
	out16 := set{"egress", 1<<16 - 1, func(r *intreport.Report, h *hop, v uint64) { h.Egress = uint32(v) }}
	depth24 := set{"depth", 1<<24 - 1, func(r *intreport.Report, h *hop, v uint64) { h.Depth = uint32(v) }}
	in32 := set{"ingress_time", 1<<32 - 1, func(r *intreport.Report, h *hop, v uint64) { h.IngressTime = v * us }}
	for _, c := range []struct {
		what string
		base int // of reports
		sets []set
	}{
		{"probe", 0, []set{
			{"swid", 1<<31 - 1, func(r *intreport.Report, h *hop, v uint64) { h.Switch = uint32(v) }},
			{"ingress_port", 511, func(r *intreport.Report, h *hop, v uint64) { h.Ingress = uint32(v) }},
			{"egress_port", 511, func(r *intreport.Report, h *hop, v uint64) { h.Egress = uint32(v) }},
			{"egress_spec", 511, func(r *intreport.Report, h *hop, v uint64) { h.EgressSpec = uint16(v) }},
			{"ingress_ts", 1<<48 - 1, func(r *intreport.Report, h *hop, v uint64) { h.IngressTime = v * us }},
			{"egress_ts", 1<<48 - 1, func(r *intreport.Report, h *hop, v uint64) { h.EgressTime = v * us }},
			{"enq_ts", 1<<32 - 1, func(r *intreport.Report, h *hop, v uint64) { h.EnqTime = v * us }},
			{"enq_qdepth", 1<<19 - 1, func(r *intreport.Report, h *hop, v uint64) { h.Depth = uint32(v) }},
			{"deq_timedelta", 1<<32 - 1, func(r *intreport.Report, h *hop, v uint64) { h.Wait = v * us }},
			{"deq_qdepth", 1<<19 - 1, func(r *intreport.Report, h *hop, v uint64) { h.DeqDepth = uint32(v) }},
		}},
		{"v0.5", 1, []set{hardware, in16, out16, depth24, in32}},
		{"v1.0", 3, []set{hardware, in16, out16, depth24, in32}},
		{"v2.0", 5, []set{
			hardware, in16, out16, depth24,
			{"seq", 1<<22 - 1, func(r *intreport.Report, h *hop, v uint64) { r.Seq = uint32(v) }},
			{"buffer", 1<<24 - 1, func(r *intreport.Report, h *hop, v uint64) { h.BufferUse = uint32(v) }},
			// The upper bit is for latencies below 0, which are not known.
			{"latency", 1<<31 - 1, func(r *intreport.Report, h *hop, v uint64) {
				h.Has |= intreport.HasLatency
				h.Latency = v * us
			}},
		}},
	} {
		for _, s := range c.sets {
			for _, more := range []uint64{0, 1} {
				r := reports()[c.base]
				r.Hops = slices.Clone(r.Hops)
				s.on(&r, &r.Hops[len(r.Hops)-1], s.max+more)
				if c.base == 1 || c.base == 3 {
					r.Node = r.Hops[0].Switch
				}
				got, err := sent(t, intreport.Config{Tick: time.Microsecond}, &r)
				switch {
				case more == 0 && (err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r)):
					t.Errorf("%s: %s of %d: %+v, %v\nwant %+v", c.what, s.name, s.max, got, err, r)
				case more == 1 && (err == nil || !strings.Contains(err.Error(), s.name+": ") || !strings.Contains(err.Error(), "does not fit")):
					t.Errorf("%s: %s of %d: %v", c.what, s.name, s.max+1, err)
				}
			}
		}
	}
}

// Of switches without clocks, nothing that a clock gives is left; what a probe waited
// was counted by the queue.
func TestNoTimes(t *testing.T) {
	for i, r := range reports() {
		got, err := sent(t, intreport.Config{Tick: time.Microsecond, NoTimes: true}, &r)
		want := r
		want.Hops = slices.Clone(r.Hops)
		for k := range want.Hops {
			h := &want.Hops[k]
			h.Has &= intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasPorts2 |
				intreport.HasUtil | intreport.HasBuffer | intreport.HasWait | intreport.HasDrop
			h.IngressTime, h.EgressTime, h.Latency, h.Wrap = 0, 0, 0, 0
		}
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("report %d: %+v, %v\nwant %+v", i, got, err, want)
		}
	}
}

// Telemetry Report v2.0, "Report Length": words after the first, up to 254; 255 goes to the
// end of the datagram. Another report may follow any but the last kind.
func TestReportLengths(t *testing.T) {
	const heads = 5 + 2 + 1 + 3 // IPv4, UDP, shim, INT
	for _, size := range []int{heads + 1, 253, 254, 255, 256, heads + 252} {
		r := intreport.Report{Format: intreport.V20, Node: 1 << 20, Seq: 1, SeqBits: 22, Hops: []intreport.Hop{}}
		for i := range size - heads {
			r.Hops = append(r.Hops, intreport.Hop{Has: intreport.HasSwitch, Switch: uint32(i)})
		}
		b, err := intreport.Append(nil, intreport.Config{}, &r)
		if err != nil || len(b) != 8+4+4*size || int(b[9]) != min(size, 255) {
			t.Fatalf("%d words: % x, %v", size, b[:min(len(b), 12)], err)
		}
		d := decoder(t, intreport.Config{})
		if got, err := all(d, d.Report, b); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
			t.Errorf("%d words: %+v, %v", size, got, err)
		}
		if size > 254 {
			continue
		}
		second := r
		second.Part = 1
		if got, err := all(d, d.Report, slices.Concat(b, b[8:])); err != nil || !reflect.DeepEqual(got, []intreport.Report{r, second}) {
			t.Errorf("%d words, twice: %+v, %v", size, got, err)
		}
	}
	// Of one word: a TLV without data. It has a length, so that what follows is the next.
	d := decoder(t, intreport.Config{})
	b := words(0x20000001, 7, 0x01010000, 0xf0000000, 0x10030120, 0x20000000, 0, 33)
	got, err := all(d, d.Report, b)
	if err != nil || len(got) != 2 || len(got[0].Hops) != 0 || got[0].Quirks != 0 ||
		len(got[1].Hops) != 1 || got[1].Hops[0].Latency != 33 || got[1].Part != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What the truncated packet of a report is made of, byte for byte: RFC 791 and 768, INT
// v2.1 and v1.0.
func TestTruncatedPacket(t *testing.T) {
	r := intreport.Report{Format: intreport.V20, Node: 9, Seq: 3, SeqBits: 22, Tracked: true, Hops: []intreport.Hop{
		{Has: intreport.HasSwitch, Switch: 1}, {Has: intreport.HasSwitch, Switch: 2}}}
	v10 := intreport.Report{Format: intreport.V10, Node: 3, Seq: 2, SeqBits: 32, Hops: []intreport.Hop{
		{Has: intreport.HasSwitch, Switch: 1},
		{Has: intreport.HasSwitch | intreport.HasIngressTime | intreport.HasUtil, Switch: 3, IngressTime: 7, Util: 5}}}
	for _, c := range []struct {
		cfg  intreport.Config
		r    *intreport.Report
		want string
	}{
		{intreport.Config{DSCP: 0x17, INTPort: 5000, Marker: 0x0102030405060708}, &r,
			"20000003 00000009 040f0020" + // group header; Inner Only, IPv4, 15 words, tracked
				"455c003c 00004000 40112653 0a000001 0a000002" + // DSCP 0x17, 60 bytes, do not fragment, UDP
				"00001388 00280000 0102030405060708" + // to port 5000, 40 bytes
				"14050000 20000100 80000000 00000000 00000002 00000001"}, // MD, another header follows; a word a hop
		{intreport.Config{}, &r,
			"20000003 00000009 040d0020" +
				"45000034 00004000 401126b7 0a000001 0a000002" +
				"00000000 00200000" +
				"10050000 20000100 80000000 00000000 00000002 00000001"}, // no header follows
		{intreport.Config{}, &v10,
			"15208000 00000003 00000002 00000007 00000005" + // 5 words, IPv4, utilisation
				"4500002c 00004000 401126bf 0a000001 0a000002" +
				"00000000 00180000" +
				"01000400 10000100 80000000 00000001"},
	} {
		b, err := intreport.Append(nil, c.cfg, c.r)
		if want := strings.ReplaceAll(c.want, " ", ""); err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%+v: %v\n%x\n%s", c.cfg, err, b, want)
		}
	}
}

// A datagram to any port is a report only if the packet that it holds can be one.
func TestHeldPackets(t *testing.T) {
	ip4 := "45000028 00000000 40060000 0a000001 0a000002"
	edit := func(at int, with string) string {
		s := strings.ReplaceAll(ip4, " ", "")
		return s[:2*at] + with + s[2*at+len(with):]
	}
	ip6 := "60000000 00000640" + strings.Repeat("20", 32)
	mac := "020000000002 020000000001 "
	for name, c := range map[string]struct {
		kind  int // NProt of v1.0: Ethernet, IPv4, IPv6
		text  string
		valid bool
	}{
		"IPv4":                            {1, ip4, true},
		"IPv4 of 20 bytes":                {1, edit(2, "0014"), true},
		"IPv4 of 19 bytes":                {1, edit(2, "0013"), false},
		"IPv4 with the reserved flag":     {1, edit(6, "80"), false},
		"IPv4, not to be fragmented":      {1, edit(6, "40"), true},
		"IPv4, a later fragment":          {1, edit(6, "01"), true},
		"IPv4 whose time to live is over": {1, edit(8, "00"), false},
		"IPv4, last hop":                  {1, edit(8, "01"), true},
		"IPv4 of version 5":               {1, edit(0, "55"), false},
		"IPv4 with a head of 16 bytes":    {1, edit(0, "44"), false},
		"IPv4 with options":               {1, edit(0, "46"), true},
		"IPv4, cut at its first byte":     {1, "45", true},
		"IPv4, cut within its head":       {1, "4500 0013", true},
		"IPv4, nothing of it":             {1, "", true},
		"IPv6":                            {2, ip6, true},
		"IPv6, nothing of it":             {2, "", true},
		"IPv6 of version 4":               {2, ip4, false},
		"IPv6 announced as IPv4":          {1, ip6, false},
		"a frame":                         {0, mac + "0800" + ip4, true},
		"a frame of IPv6":                 {0, mac + "86dd" + ip6, true},
		"a frame of ARP":                  {0, mac + "0806 0001", true},
		"a frame of MPLS":                 {0, mac + "8847 00010140", true},
		"a frame of LLDP":                 {0, mac + "88cc 0207", false},
		"a frame without its type":        {0, mac, false},
		"a frame's head":                  {0, mac + "0800", true},
		"a frame announced as IPv4":       {1, mac + "0800" + ip4, true},
		"ARP announced as IPv4":           {1, mac + "0806 0001", false},
		"a frame's head, as IPv4":         {1, mac + "0800", false},
	} {
		packet, err := hex.DecodeString(strings.ReplaceAll(c.text, " ", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		for format, head := range map[string][]byte{
			"v1.0": words(0x15000000|uint32(c.kind)<<21|1<<15, 3, 2, 7, 5),
			"v2.0": words(0x20000001, 9, 0x10ff0120|uint32(3+c.kind)<<24, 0x20000000, 0, 33),
		} {
			d := decoder(t, intreport.Config{})
			got, err := all(d, d.Frame, udpFrame(4242, slices.Concat(head, packet)))
			if c.valid != (err == nil && len(got) == 1) || !c.valid && !errors.Is(err, intreport.ErrForeign) {
				t.Errorf("%s: %s: %+v, %v", format, name, got, err)
			}
		}
	}
}

// A marker of 64 bits says that INT follows, and what follows must be INT; fewer bits are no marker.
func TestMarkerAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		left int // bytes after the UDP header
		want string
	}{{0, ""}, {7, ""}, {8, "INT shim header: 0: want 8 bytes"}, {15, "INT shim header: 7: want 8 bytes"}} {
		inner := slices.Concat(words(0x45000028, 0, 0x40110000, 0x0a000001, 0x0a000002, 9, 0), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9}[:c.left])
		d := decoder(t, intreport.Config{Marker: 0x0102030405060708})
		got, err := all(d, d.Report, slices.Concat(words(0x15208000, 3, 2, 7, 5), inner))
		if c.want == "" && (err != nil || len(got) != 1 || len(got[0].Hops) != 1) ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d bytes: %+v, %v", c.left, got, err)
		}
	}
}
