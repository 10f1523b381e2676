package intreport_test

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// INT v2.1, section "INT-MD Metadata Header": each instruction bit stands for
// metadata of a fixed length, which a hop adds in the order of the bits. All 511
// bitmaps of the nine standard bits, laid out here from the specification's list.
func TestPaperInstructionBitmap(t *testing.T) {
	standard := []struct {
		words []uint32
		set   func(h *intreport.Hop)
	}{
		{[]uint32{0x0a0b0c0d}, func(h *intreport.Hop) { h.Switch = 0x0a0b0c0d }},                            // 0: node id
		{[]uint32{0x00110022}, func(h *intreport.Hop) { h.Ingress, h.Egress = 0x11, 0x22 }},                 // 1: level 1 ports
		{[]uint32{33}, func(h *intreport.Hop) { h.Latency = 33_000 }},                                       // 2: hop latency
		{[]uint32{0x04000005}, func(h *intreport.Hop) { h.Queue, h.Depth = 4, 5 }},                          // 3: queue id, occupancy
		{[]uint32{1, 6}, func(h *intreport.Hop) { h.IngressTime = (1<<32 + 6) * 1000 }},                     // 4: ingress timestamp
		{[]uint32{2, 7}, func(h *intreport.Hop) { h.EgressTime = (2<<32 + 7) * 1000 }},                      // 5: egress timestamp
		{[]uint32{0x100008, 0x200009}, func(h *intreport.Hop) { h.Ingress2, h.Egress2 = 1<<20|8, 2<<20|9 }}, // 6: level 2 ports
		{[]uint32{0x0a}, func(h *intreport.Hop) { h.Util = 10 }},                                            // 7: egress utilisation
		{[]uint32{0x0b00000c}, func(h *intreport.Hop) { h.Buffer, h.BufferUse = 11, 12 }},                   // 8: buffer id, occupancy
	}
	for bitmap := 1; bitmap < 1<<len(standard); bitmap++ {
		var metadata []uint32
		var want intreport.Hop
		for bit, s := range standard {
			if bitmap>>bit&1 == 1 {
				metadata = append(metadata, s.words...)
				want.Has |= 1 << (15 - bit)
				s.set(&want)
			}
		}
		n := len(metadata)
		b := words(0x20000004, 3, // Telemetry Report v2.0: node 4, number 3
			0x04000020|uint32(9+9+1+n)<<16, // Inner Only, IPv4, its length in words, tracked
			0x455c0000|uint32(4*(5+5+4+n)), 0x00010000, 0x40060000, 0x0a000101, 0x0a000202,
			0x12340050, 1, 2, 0x5010ffff, 0, // TCP
			0x10000000|uint32(3+n)<<16|0x5c, // shim: Type 1, the words behind it, DSCP
			0x20000006|uint32(n)<<8,         // version 2, metadata words a hop, hops left
			0, 0)
		var instructions uint16
		for bit := range standard {
			instructions |= uint16(bitmap>>bit&1) << (15 - bit)
		}
		binary.BigEndian.PutUint16(b[len(b)-8:], instructions)
		b = append(b, words(metadata...)...)
		binary.BigEndian.PutUint32(b[8:], 0x04000020|uint32(len(b)/4-3)<<16)
		d := decoder(t, intreport.Config{Tick: time.Microsecond, DSCP: 0x17})
		got, err := all(d, d.Report, b)
		if err != nil || len(got) != 1 || len(got[0].Hops) != 1 || got[0].Hops[0] != want {
			t.Fatalf("bitmap %016b: %+v, %v\nwant %+v\n%x", instructions, got, err, want, b)
		}
	}
}

func words(w ...uint32) []byte {
	var b []byte
	for _, x := range w {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

// The P4 tutorial's probe as Tavares et al. extend it: every switch of the path
// prepends its 32 bytes, so that the newest hop is first on the wire; a recording
// numbers switches along the path. The bits are laid out here from the header's
// definition: 31, 9, 9, 9, 48, 48, 32, 19, 32 and 19 bits, 256 in all.
func TestPaperProbe(t *testing.T) {
	widths := []int{31, 9, 9, 9, 48, 48, 32, 19, 32, 19}
	hop := func(values ...uint64) string {
		var bits strings.Builder
		for i, w := range widths {
			for b := w - 1; b >= 0; b-- {
				bits.WriteByte('0' + byte(values[i]>>b&1))
			}
		}
		var out strings.Builder
		for i := 0; i < bits.Len(); i += 8 {
			var x byte
			for _, c := range bits.String()[i : i+8] {
				x = x<<1 | byte(c-'0')
			}
			out.WriteString(hex.EncodeToString([]byte{x}))
		}
		return out.String()
	}
	probe, err := hex.DecodeString("0002" +
		hop(2, 1, 3, 3, 1000, 1700, 900, 5, 600, 4) + // the second switch
		hop(1, 2, 3, 4, 100, 250, 99, 1<<19-1, 1<<32-1, 1<<18))
	if err != nil || len(probe) != 66 {
		t.Fatal(len(probe), err)
	}
	d := decoder(t, intreport.Config{})
	got, err := all(d, d.Frame, probeFrame(probe))
	if err != nil || len(got) != 1 || len(got[0].Hops) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []struct {
		id                         uint32
		depth, waitMicros, atLeave float64
	}{{1, 1<<19 - 1, 1<<32 - 1, 1 << 18}, {2, 5, 600, 4}} {
		h := got[0].Hops[i]
		values, valid := h.Queueing()
		if h.Switch != want.id || values != [3]float64{want.depth, want.waitMicros, want.atLeave} || valid != [3]bool{true, true, true} {
			t.Errorf("hop %d: %+v, %v %v, want %+v", i, h, values, valid, want)
		}
	}
}
