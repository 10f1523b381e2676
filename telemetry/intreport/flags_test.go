package intreport_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// Each flag of a report is its own bit, in every format that has it.
func TestFlags(t *testing.T) {
	for i, r := range reports() {
		if r.Format == intreport.Probe {
			continue
		}
		stack := len(r.Hops) > 1
		for bits := range 64 {
			on := func(i int) bool { return bits>>i&1 == 1 }
			if on(3) && r.Format != intreport.V20 || (on(4) || on(5)) && !stack {
				continue
			}
			r.Dropped, r.Congested, r.Tracked, r.Intermediate, r.HopsExceeded, r.MTUExceeded = on(0), on(1), on(2), on(3), on(4), on(5)
			got, err := sent(t, intreport.Config{Tick: time.Microsecond}, &r)
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
				t.Errorf("report %d, flags %06b: %+v, %v\nwant %+v", i, bits, got, err, r)
			}
		}
	}
	// v1.0 and v0.5 by their specifications' words; v2.0's and INT's by theirs.
	inner := inIP4(0, 17, inUDP(9, nil))
	for bit, want := range map[int]string{8: "true false false", 7: "false true false", 6: "false false true"} {
		d := decoder(t, intreport.Config{})
		got, err := all(d, d.Report, slices.Concat(words(0x15208000|1<<bit, 3, 2, 7, 5), inner))
		if err != nil || len(got) != 1 || fmt.Sprint(got[0].Dropped, got[0].Congested, got[0].Tracked) != want {
			t.Errorf("v1.0, bit %d: %+v, %v", bit, got, err)
		}
		got, err = all(d, d.Report, slices.Concat(words(0x00000007|1<<(bit+15), 1, 2), inFrame(0x0800, 0, inner)))
		if err != nil || len(got) != 1 || fmt.Sprint(got[0].Dropped, got[0].Congested, got[0].Tracked) != want {
			t.Errorf("v0.5, bit %d: %+v, %v", bit+15, got, err)
		}
		got, err = all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x14ff0100|1<<(bit-1), 0x20000000, 0, 33), inner))
		if err != nil || len(got) != 1 || fmt.Sprint(got[0].Dropped, got[0].Congested, got[0].Tracked) != want || got[0].Intermediate {
			t.Errorf("v2.0, bit %d: %+v, %v", bit-1, got, err)
		}
	}
}

// Whatever is too short or of a wrong length is named with its place, its value and what is wanted.
func TestShortParts(t *testing.T) {
	const dscp = 0x2b
	v20 := func(inner []byte) []byte { return slices.Concat(words(0x20000001, 9, 0x04ff0020), inner) }
	geneve := func(options ...uint32) []byte {
		return inIP4(dscp, 17, inUDP(6081, slices.Concat(words(uint32(len(options))<<24|0x6558, 0x2a00), words(options...))))
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"v2.0 group header", words(0x20000001, 9), "report v2.0: byte 0: Telemetry Report Group Header: 8: want 12 bytes"},
		{"v2.0 second report", slices.Concat(words(0x20000001, 9, 0x10020020, 0, 0), []byte{0, 0}), "byte 20: Individual Report Header: 2: want 4 bytes"},
		{"v2.0 main contents", words(0x20000001, 9, 0x10010020, 0), "byte 12: Individual Report Main Contents: 4: want 8 bytes"},
		{"v2.0 TLV", slices.Concat(words(0x20000001, 9, 0x01ff0020), []byte{1, 2, 3}), "byte 12: TLV: 3: want 4 bytes"},
		{"v1.0, length 4 of 5", slices.Concat(words(0x14208000, 3, 0xf0000002, 7, 5), inIP4(0, 17, inUDP(9, nil))), "report v1.0: byte 0: Length: 4: want 5, as RepMdBits say"},
		{"v1.0, length 5 of 6", slices.Concat(words(0x15308000, 3, 0xf0000002, 7, 5), inIP4(0, 17, inUDP(9, nil))), "report v1.0: byte 0: Length: 5: want 6, as RepMdBits say"},
		{"v1.0, NProt 3", slices.Concat(words(0x15608000, 3, 2, 7, 5), inIP4(0, 17, inUDP(9, nil))), "byte 0: NProt: 3: want 0, 1 or 2"},
		{"nothing behind UDP", v20(inIP4(dscp, 17, inUDP(9, nil))), "byte 40: INT shim header: 0: want 8 bytes"},
		{"nothing behind TCP", v20(inIP4(dscp, 6, inTCP(0, nil))), "byte 52: INT shim header: 0: want 8 bytes"},
		{"nothing behind VXLAN", v20(inIP4(dscp, 17, inUDP(4790, words(0x0c000082, 0x2a00)))), "byte 48: INT shim header: 0: want 8 bytes"},
		{"7 bytes of a shim", v20(inIP4(dscp, 17, inUDP(9, words(0x10010000, 0x20000100)[:7]))), "byte 40: INT shim header: 7: want 8 bytes"},
		{"a shim, half of a header", v20(inIP4(dscp, 17, inUDP(9, words(0x10010000, 0x20000100)))), "byte 44: INT metadata header: 4: want 8 bytes"},
		{"a header of v1.0's length", v20(inIP4(dscp, 17, inUDP(9, words(0x10020000, 0x20000100, 0x80000000)))), "byte 44: INT metadata header: 8: want 12 bytes"},
		{"hops without a word", v20(inIP4(dscp, 17, inUDP(9, words(0x10030000, 0x20000000, 0, 0)))), "byte 44: Hop ML: 0: want 0, as the Instruction Bitmap says"},
		{"Geneve's INT without a word", v20(geneve(0x01030100)), "INT metadata header: 0: want 8 bytes"},
		{"Geneve's INT of another version", v20(geneve(0x01030103, 0x30000100, 0x80000000, 0)), "Ver: 3: want 1 or 2"},
	} {
		d := decoder(t, intreport.Config{DSCP: dscp})
		if _, err := all(d, d.Report, c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	for tick, ok := range map[time.Duration]bool{-1: false, 0: true, 1: true, time.Second: true, time.Second + 1: false} {
		if _, err := intreport.NewDecoder(intreport.Config{Tick: tick}); (err == nil) != ok {
			t.Errorf("tick %v: %v", tick, err)
		}
	}
}

// A switch that says only that the packet was there is a hop none the less; and what a
// domain adds to hops is passed over, also where the source's own is longer.
func TestBareAndDomainHops(t *testing.T) {
	const dscp = 0x2b
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"main contents without metadata", words(0x20000001, 9, 0x10020020, 0, 0), "[9]"},
		{"with an ingress alone", words(0x20000001, 9, 0x10040220, 0x08000000, 0, 0, 5), "[9]"},
		{"inner only, without INT", slices.Concat(words(0x20000001, 9, 0x04ff0020), inIP4(0, 17, inUDP(9, nil))), "[]"},
		{"a domain's two words", slices.Concat(words(0x20000001, 9, 0x04ff0020),
			inIP4(dscp, 17, inUDP(9, words(0x10090000, 0x20000300, 0x80000005, 0xc0000000, 2, 77, 78, 1, 79, 80)))), "[1 2]"},
		{"the source's is longer", slices.Concat(words(0x20000001, 9, 0x04ff0020),
			inIP4(dscp, 17, inUDP(9, words(0x100b0000, 0x20000300, 0x80000005, 0xc0000000, 2, 77, 78, 1, 79, 80, 81, 82)))), "[1 2]"},
	} {
		d := decoder(t, intreport.Config{DSCP: dscp})
		got, err := all(d, d.Report, c.b)
		var ids []uint32
		if len(got) == 1 {
			for _, h := range got[0].Hops {
				ids = append(ids, h.Switch)
			}
		}
		if err != nil || len(got) != 1 || fmt.Sprint(ids) != c.want {
			t.Errorf("%s: %+v, %v; want %s", c.name, got, err, c.want)
		}
	}
	// No domain, no more words than the bitmap says.
	d := decoder(t, intreport.Config{DSCP: dscp})
	_, err := all(d, d.Report, slices.Concat(words(0x20000001, 9, 0x04ff0020),
		inIP4(dscp, 17, inUDP(9, words(0x10090000, 0x20000300, 0x80000000, 0, 2, 77, 78, 1, 79, 80)))))
	if err == nil || !strings.Contains(err.Error(), "Hop ML: 3: want 1, as the Instruction Bitmap says") {
		t.Errorf("%v", err)
	}
}

// INT-MX with metadata in the packet is a departure that is read; where a domain has instructions, what
// follows is the domain's.
func TestStackInMX(t *testing.T) {
	const dscp = 0x2b
	report := func(stack ...uint32) []byte {
		return slices.Concat(words(0x20000001, 9, 0x04ff0020), inIP4(dscp, 17, inUDP(9, words(stack...))))
	}
	for _, c := range []struct {
		name  string
		stack []uint32
		hops  int
	}{
		{"of a word", []uint32{0x30040000, 0x20000000, 0x80000000, 0, 7}, 1},
		{"of three words", []uint32{0x30060000, 0x20000000, 0x88000000, 0, 7, 1, 2}, 1},
		{"nothing", []uint32{0x30030000, 0x20000000, 0x80000000, 0}, 0},
		{"too few words", []uint32{0x30050000, 0x20000000, 0x88000000, 0, 7, 1}, 0},
		{"too many words", []uint32{0x30050000, 0x20000000, 0x80000000, 0, 7, 1}, 0},
		{"a domain's first instruction", []uint32{0x30040000, 0x20000000, 0x80000005, 0x80000000, 7}, 0},
		{"a domain's last instruction", []uint32{0x30040000, 0x20000000, 0x80000005, 0x00010000, 7}, 0},
		{"a domain's flags alone", []uint32{0x30040000, 0x20000000, 0x80000005, 0x0000ffff, 7}, 1},
	} {
		d := decoder(t, intreport.Config{DSCP: dscp})
		got, err := all(d, d.Report, report(c.stack...))
		if err != nil || len(got) != 1 || len(got[0].Hops) != c.hops || (got[0].Quirks&intreport.StackInMX != 0) != (c.hops > 0) || c.hops > 0 && got[0].Hops[0].Switch != 7 {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// The frame of a probe, byte for byte: RFC 791.
func TestProbeFrame(t *testing.T) {
	b, err := intreport.AppendProbeFrame([]byte{9}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), &intreport.Report{Format: intreport.Probe})
	const want = "09" + "000000000000" + "000000000000" + "0800" + "45000016" + "00004000" + "40fd25e9" + "0a000001" + "0a000002" + "0000"
	if got := hex.EncodeToString(b); err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// What is wrong in a TLV, or in the length of a v1.0 report of IPv6, is named.
func TestWrongInside(t *testing.T) {
	const dscp = 0x2b
	bad := inIP4(dscp, 17, inUDP(9, words(0x40030000, 0x20000100, 0x80000000, 0)))
	tlv := slices.Concat(words(0x20000001, 9, 0x01ff0020, 2<<28|uint32(len(bad)/4)<<16), bad)
	v10 := slices.Concat(words(0x14408000, 3, 0xf0000002, 7, 5), inIP6(0, 17, inUDP(9, nil)))
	for want, b := range map[string][]byte{"Type: 4: want 1 (MD) or 3 (MX)": tlv, "report v1.0: byte 0: Length: 4: want 5, as RepMdBits say": v10} {
		d := decoder(t, intreport.Config{DSCP: dscp})
		if _, err := all(d, d.Report, b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
