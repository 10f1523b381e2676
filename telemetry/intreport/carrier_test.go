package intreport_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// carriers puts a datagram to port 9555 into what may come on a wire. Nothing
// here is of the package: heads are written out as their RFCs draw them.
func carriers(payload []byte) map[string][]byte {
	size := func(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
	udp := slices.Concat([]byte{0xc0, 0, 0x25, 0x53}, size(8+len(payload)), []byte{0, 0}, payload) // 0x2553: 9555
	ip4 := func(options []byte, next byte, body []byte) []byte {                                   // RFC 791
		return slices.Concat([]byte{0x45 + byte(len(options)/4), 0}, size(20+len(options)+len(body)), []byte{0, 0, 0x40, 0, 64, next, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, options, body)
	}
	ip6 := func(next byte, body []byte) []byte { // RFC 8200
		return slices.Concat([]byte{0x60, 0, 0, 0}, size(len(body)), []byte{next, 64}, make([]byte, 15), []byte{1}, make([]byte, 15), []byte{2}, body)
	}
	option := func(next byte, words int, body []byte) []byte { // a hop-by-hop, routing or destination header
		return slices.Concat([]byte{next, byte(words)}, make([]byte, 6+8*words), body)
	}
	return map[string][]byte{
		"IPv4":                        ip4(nil, 17, udp),
		"IPv4 with options":           ip4([]byte{1, 1, 1, 0, 1, 1, 1, 0}, 17, udp),
		"IPv6":                        ip6(17, udp),
		"IPv6, hop-by-hop":            ip6(0, option(17, 0, udp)),
		"IPv6, routing, of two words": ip6(43, option(17, 1, udp)),
		"IPv6, destination, twice":    ip6(60, option(60, 2, option(17, 0, udp))),
		"IPv6, three extensions":      ip6(0, option(43, 0, option(60, 0, udpAfter(udp)))),
	}
}

// udpAfter is a last extension header before UDP.
func udpAfter(udp []byte) []byte { return slices.Concat([]byte{17, 0}, make([]byte, 6), udp) }

// ether is a frame around a packet, with a VLAN tag or two where asked.
func ether(packet []byte, tags int) []byte {
	b := slices.Concat([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1})
	for range tags {
		b = append(b, 0x81, 0, 0, 5)
	}
	if packet[0]>>4 == 6 {
		return slices.Concat(b, []byte{0x86, 0xdd}, packet)
	}
	return slices.Concat(b, []byte{8, 0}, packet)
}

// A report is the same in whatever it travels. Cut at any byte, it gives no hop
// that it does not hold, and says at which byte it was cut; bytes behind its
// lengths are not read.
func TestCarriersAndCuts(t *testing.T) {
	cfg := intreport.Config{Tick: time.Microsecond, Port: 9555}
	d := decoder(t, cfg)
	for i, r := range reports() {
		if r.Format == intreport.Probe {
			continue
		}
		payload, err := intreport.Append(nil, cfg, &r)
		if err != nil {
			t.Fatal(err)
		}
		for name, packet := range carriers(payload) {
			decoders := map[string]func([]byte, func(*intreport.Report)) error{"": d.Packet}
			inputs := map[string][]byte{"": packet}
			for tags := range 2 {
				key := fmt.Sprintf(" in Ethernet with %d tags", tags)
				decoders[key], inputs[key] = d.Frame, ether(packet, tags)
			}
			for how, b := range inputs {
				name := fmt.Sprintf("report %d in %s%s", i, name, how)
				for _, padding := range []int{0, 1, 30} {
					padded := slices.Concat(b, make([]byte, padding))
					if got, err := all(d, decoders[how], padded); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
						t.Fatalf("%s, %d bytes more: %+v, %v; want %+v", name, padding, got, err, r)
					}
				}
				for n := range len(b) {
					got, err := all(d, decoders[how], b[:n:n])
					var wrong *intreport.Error
					switch {
					case err == nil && len(got) == 1 && len(got[0].Hops) < len(r.Hops): // its own hop and those of the stack that are whole
					case errors.Is(err, intreport.ErrForeign) && len(got) == 0:
					case errors.As(err, &wrong) && wrong.Offset >= 0 && wrong.Offset <= n && len(got) == 0:
					default:
						t.Fatalf("%s, cut at byte %d of %d: %+v, %v", name, n, len(b), got, err)
					}
					for _, g := range got {
						for _, h := range g.Hops {
							if !slices.Contains(r.Hops, h) {
								t.Fatalf("%s, cut at byte %d of %d: hop %+v is none of %+v", name, n, len(b), h, r.Hops)
							}
						}
					}
				}
			}
		}
	}
}

// What carries no report of ours is foreign: fragments, more extensions than
// are followed, other protocols and ports, and nothing at all.
func TestForeignCarriers(t *testing.T) {
	cfg := intreport.Config{Port: 9555}
	d := decoder(t, cfg)
	r := reports()[3]
	payload, err := intreport.Append(nil, cfg, &r)
	if err != nil {
		t.Fatal(err)
	}
	c := carriers(payload)
	edit := func(name string, do func(b []byte)) []byte {
		b := slices.Clone(c[name])
		do(b)
		return b
	}
	four := slices.Clone(c["IPv6, three extensions"])
	four = slices.Concat(four[:40], append([]byte{four[6], 0}, make([]byte, 6)...), four[40:])
	four[6] = 60
	five := slices.Clone(c["IPv6, three extensions"])
	for range 2 {
		five = slices.Concat(five[:40], append([]byte{five[6], 0}, make([]byte, 6)...), five[40:])
		five[6] = 60
	}
	for name, b := range map[string][]byte{
		"nothing":                nil,
		"a later fragment":       edit("IPv4", func(b []byte) { b[7] = 1 }),
		"a header of 16 bytes":   edit("IPv4", func(b []byte) { b[0] = 0x44 }),
		"version 5":              edit("IPv4", func(b []byte) { b[0] = 0x55 }),
		"TCP":                    edit("IPv4", func(b []byte) { b[9] = 6 }),
		"another port":           edit("IPv4", func(b []byte) { b[23]++ }),
		"TCP in IPv6":            edit("IPv6", func(b []byte) { b[6] = 6 }),
		"another port, in IPv6":  edit("IPv6", func(b []byte) { b[43]++ }),
		"four extensions":        four,
		"five extensions":        five,
		"an extension too long":  edit("IPv6, hop-by-hop", func(b []byte) { b[41] = 255 }),
		"a datagram of 7 bytes":  c["IPv4"][:27],
		"an IPv6 header cut off": c["IPv6"][:39],
	} {
		if got, err := all(d, d.Packet, b); !errors.Is(err, intreport.ErrForeign) || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
