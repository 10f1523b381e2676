package intreport_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry/intreport"
)

// udpFrame puts a datagram to a port into a frame.
func udpFrame(port uint16, b []byte) []byte {
	head, _ := hex.DecodeString("020000000002" + "020000000001" + "0800" + "4500000000000000" + "4011" + "0000" + "0a000001" + "0a000002" + "c000000000000000")
	f := append(head, b...)
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	binary.BigEndian.PutUint16(f[36:], port)
	binary.BigEndian.PutUint16(f[38:], uint16(len(f)-34))
	return f
}

// TestCertain: without a port every report of the goldens is still found, and
// with anything after it that its lengths do not count, or before it, none.
func TestCertain(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		if name == "probe" {
			continue
		}
		b := readHex(t, file)
		any, here := decoder(t, intreport.Config{}), decoder(t, intreport.Config{Port: 9555})
		want, err := all(here, here.Frame, udpFrame(9555, b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := all(any, any.Frame, udpFrame(4242, b))
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d reports of %d, %v", name, len(got), len(want), err)
		}
		if _, err := all(here, here.Frame, udpFrame(4242, b)); !errors.Is(err, intreport.ErrForeign) {
			t.Errorf("%s: to another port: %v", name, err)
		}
		for what, b := range map[string][]byte{"bytes after": append(b[:len(b):len(b)], 0, 0, 0), "bytes before": append([]byte{0, 0, 0, 0}, b...)} {
			if got, err := all(any, any.Frame, udpFrame(4242, b)); strings.HasPrefix(name, "v20") && len(got) > 0 {
				t.Errorf("%s: %s: %d reports, %v", name, what, len(got), err)
			}
		}
	}
}

// TestForeign: what other protocols send is no report.
func TestForeign(t *testing.T) {
	d := decoder(t, intreport.Config{})
	for name, text := range map[string]string{
		"DNS query 0x0137":     "0137 0100 0001 0000 0000 0000 07 6578616d706c65 036f7267 00 0001 0001",
		"DNS query 0x0000":     "0000 0100 0001 0000 0000 0000 07 6578616d706c65 036f7267 00 0001 0001",
		"DNS query 0x2037":     "2037 0100 0001 0000 0000 0000 07 6578616d706c65 036f7267 00 0001 0001",
		"DNS query 0x1100":     "1100 0100 0001 0000 0000 0000 07 6578616d706c65 036f7267 00 0001 0001",
		"multicast DNS":        "0000 0000 0001 0000 0000 0000 055f68747470 045f746370 056c6f63616c 00 000c 0001",
		"NTP, version 4":       "23 02 06 ec 00000019 00000023 c0a80001 e0000000 00000000 e0000000 00000000 e0000000 00000000 e0000000 00000000",
		"NTP, version 2":       "13 00 00 00 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000",
		"STUN":                 "0001 0000 2112a442 000000000000000000000001",
		"RTP":                  "8060 0001 00000001 00000001 6162636465666768",
		"zeros":                strings.Repeat("00", 64),
		"DHCP":                 "01010600 00000001 00000000" + strings.Repeat("00", 232) + "63825363 350101ff",
		"TFTP":                 "0001 66696c65 00 6f63746574 00",
		"QUIC":                 "c300000001 08 0001020304050607 00 00 4012" + strings.Repeat("5a", 64),
		"SNMP":                 "3026020100040670 75626c6963 a019020101020100020100300e300c06082b060102010101000500",
		"a v2.0 header alone":  "20000000 00000001",
		"v2.0, says nothing":   "20000000 00000001 00000000",
		"v2.0, half":           "20000000 00000001 10080620 5c000000 00000000 00010002 00000001",
		"VXLAN":                "08000000 00002a00 020000000002 020000000001 0800" + strings.Repeat("00", 20),
		"keep-alive of a byte": "00",
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := all(d, d.Frame, udpFrame(53, b)); !errors.Is(err, intreport.ErrForeign) || len(got) > 0 {
			t.Errorf("%s: %d reports, %v", name, len(got), err)
		}
	}
	// Of random datagrams, whose first bytes are those of reports, none is one.
	found := 0
	for i := range uint32(200_000) {
		key := rng.Key{Seed: 17, A: i}
		b := make([]byte, 12+key.Intn(0, 120))
		for k := range b {
			b[k] = byte(key.Intn(uint32(k+1), 256))
		}
		b[0] &= 0x2f
		if got, _ := all(d, d.Frame, udpFrame(53, b)); len(got) > 0 {
			found++
		}
	}
	if found > 2 {
		t.Errorf("%d of 200,000 random datagrams are taken for reports", found)
	}
}

// TestBackwards: an egress before its ingress is not a time in the queue, however
// wide the stamps are.
func TestBackwards(t *testing.T) {
	times := intreport.HasIngressTime | intreport.HasEgressTime
	const us = 1000
	for _, c := range []struct {
		name string
		hop  intreport.Hop
		want float64 // µs; -1: not known
	}{
		{"64 bits", intreport.Hop{Has: times, IngressTime: 50 * us, EgressTime: 45 * us}, -1},
		{"64 bits, forwards", intreport.Hop{Has: times, IngressTime: 45 * us, EgressTime: 50 * us}, 5},
		{"32 bits of ns", intreport.Hop{Has: times, IngressTime: 50 * us, EgressTime: 45 * us, Wrap: 1 << 32}, -1},
		{"32 bits of ns, over the turn", intreport.Hop{Has: times, IngressTime: 1<<32 - 2*us, EgressTime: 3 * us, Wrap: 1 << 32}, 5},
		{"32 bits of us", intreport.Hop{Has: times, IngressTime: 50 * us, EgressTime: 45 * us, Wrap: 1 << 32 * us}, -1},
	} {
		v, ok := c.hop.Queueing()
		if ok[1] != (c.want >= 0) || ok[1] && v[1] != c.want {
			t.Errorf("%s: %v %v, want %v", c.name, v[1], ok[1], c.want)
		}
	}
	// A latency of the switch's own making, -5 µs in 32 bits of ns.
	b, _ := hex.DecodeString("2000000000000001" + "10040220" + "6000000000000000" + "00010002" + "ffffec78")
	d := decoder(t, intreport.Config{})
	got, err := all(d, d.Report, b)
	if err != nil || len(got) != 1 || got[0].Hops[0].Has&intreport.HasLatency != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCutStack: the hops before the cut are returned, and the report says that it was cut.
func TestCutStack(t *testing.T) {
	const stack = "20000001 00000009 04000020 45000088 00010000 40110000 0a000001 0a000002 9c401389 00740000" +
		"10181234 20000700 dc000000 00000000"
	const hop = "0000000%d 00010002 00000007 00000000000003e8 00000000000005dc"
	for cut, want := range map[int]int{0: 0, 12: 0, 28: 1, 40: 1, 56: 2, 83: 2} {
		text := stack
		for i := 3; i > 0; i-- {
			text += strings.Replace(hop, "%d", string(rune('0'+i)), 1)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = b[:len(b)-84+cut]
		if len(b)%4 != 0 {
			b = b[:len(b)-len(b)%4]
		}
		b[9] = byte((len(b) - 12) / 4)
		d := decoder(t, intreport.Config{})
		got, err := all(d, d.Frame, udpFrame(32766, b))
		if err != nil || len(got) != 1 || len(got[0].Hops) != want || !got[0].Cut || got[0].Hops == nil {
			t.Errorf("%d bytes of the stack: %+v, %v; want %d hops", cut, got, err, want)
		}
	}
}
