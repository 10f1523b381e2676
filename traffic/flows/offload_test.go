package flows

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/planegym/planegym/traffic/packet"
)

func mssOption(mss int) []byte { return []byte{2, 4, byte(mss >> 8), byte(mss)} }

var stamp = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}

// A transfer as a link carries it and as a host with segmentation offload captures
// it, whole runs of segments as one frame, are the same session.
func TestOffloadedFramesAreSegments(t *testing.T) {
	const isn, sent = 1000, 1460 - 12 // a segment's bytes
	open := func(c *capture) uint32 {
		syn, answer := seg(true, packet.SYN, isn, 0), seg(false, packet.SYN|packet.ACK, 9, 0)
		syn.TCPOptions, answer.TCPOptions = mssOption(1460), mssOption(8960) // the smaller one holds
		for i, p := range []packet.Packet{syn, answer, seg(true, packet.ACK, isn+1, 0)} {
			if err := c.add(i, p); err != nil {
				t.Fatal(err)
			}
		}
		return isn + 1
	}
	data := func(flags uint8, seq uint32, n int) packet.Packet {
		p := seg(true, flags, seq, n)
		p.TCPOptions = stamp
		return p
	}
	link, host := newCapture(t, Options{}), newCapture(t, Options{})
	add := func(c *capture, ms int, p packet.Packet) {
		t.Helper()
		if err := c.add(ms, p); err != nil {
			t.Fatal(err)
		}
	}
	seq := open(link)
	open(host)
	frames := []struct {
		flags uint8
		sizes []int
		again bool
	}{
		{packet.ACK | packet.PSH, []int{sent, sent, 300}, false},
		{packet.ACK, []int{sent, sent}, false},
		{packet.ACK | packet.PSH, []int{sent, sent}, true}, // sent again
		{packet.ACK, []int{sent}, false},                   // fits: stays
		{packet.ACK | packet.PSH | packet.FIN, []int{sent, 7}, false},
	}
	for i, f := range frames {
		total := 0
		for _, n := range f.sizes {
			total += n
		}
		if f.again {
			seq -= uint32(total)
		}
		add(host, 10+i, data(f.flags, seq, total))
		for k, n := range f.sizes {
			flags := f.flags
			if k+1 < len(f.sizes) {
				flags = packet.ACK
			}
			add(link, 10+i, data(flags, seq, n))
			seq += uint32(n)
		}
	}
	a, b := link.b.Set(), host.b.Set()
	if !slices.Equal(a.Sessions[0].Steps, b.Sessions[0].Steps) {
		t.Errorf("as the host captures it:\n%v\nas a link carries it:\n%v", b.Sessions[0].Steps, a.Sessions[0].Steps)
	}
	if c := link.b.Counts(); c.Cut != 0 || c.Added != 0 {
		t.Errorf("segments of a link were cut: %+v", c)
	}
	if c := host.b.Counts(); c.Cut != 4 || c.Added != 5 || c.Actions != c.Packets {
		t.Errorf("%d frames cut, %d segments more, %d of %d packets; want 4 and 5, all", c.Cut, c.Added, c.Actions, c.Packets)
	}
}

// What a connection announces is what a frame may hold; without, what Ethernet
// takes. Whole leaves frames as they are.
func TestWhatIsOffloaded(t *testing.T) {
	v6 := func(p packet.Packet) packet.Packet {
		to := func(a netip.Addr) netip.Addr {
			if a == hostA {
				return netip.MustParseAddr("2001:db8::1")
			}
			return netip.MustParseAddr("2001:db8::2")
		}
		p.Src, p.Dst = to(p.Src), to(p.Dst)
		return p
	}
	same := func(p packet.Packet) packet.Packet { return p }
	for _, x := range []struct {
		name  string
		mss   [2]int // announced by client and server; 0: no handshake
		size  int
		as    func(packet.Packet) packet.Packet
		whole bool
		want  []float64
	}{
		{"no handshake", [2]int{}, 3000, same, false, []float64{1460, 1460, 80}},
		{"no handshake, fits", [2]int{}, 1460, same, false, []float64{1460}},
		{"no handshake, one byte more", [2]int{}, 1461, same, false, []float64{1460, 1}},
		{"IPv6", [2]int{}, 3000, v6, false, []float64{1440, 1440, 120}},
		{"jumbo frames", [2]int{8960, 8960}, 8000, same, false, []float64{8000}},
		{"offload of jumbo frames", [2]int{8960, 8960}, 10000, same, false, []float64{8960, 1040}},
		{"loopback", [2]int{65495, 65495}, 16384, same, false, []float64{16384}},
		{"above the MSS, below the link's MTU", [2]int{1460, 1300}, 1400, same, false, []float64{1400}},
		{"an MSS that is not believed", [2]int{1, 1}, 1500, same, false, []float64{1460, 40}},
		{"whole", [2]int{1460, 1460}, 3000, same, true, []float64{3000}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCapture(t, Options{Whole: x.whole})
			if x.mss[0] > 0 {
				for up, mss := range map[bool]int{true: x.mss[0], false: x.mss[1]} {
					p := x.as(seg(up, packet.SYN, 0, 0))
					if !up {
						p.Flags |= packet.ACK
					}
					p.TCPOptions = mssOption(mss)
					if err := c.add(0, p); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := c.add(1, x.as(seg(true, packet.ACK|packet.PSH, 1, x.size))); err != nil {
				t.Fatal(err)
			}
			var got []float64
			s := c.b.Set().Sessions[0]
			for i := Size; i < len(s.Steps); i += StepFields {
				if s.Steps[i] > 0 {
					got = append(got, s.Steps[i])
				}
			}
			if !slices.Equal(got, x.want) {
				t.Errorf("sizes %v, want %v", got, x.want)
			}
		})
	}
}

// The segments of a frame are views of its payload, also where the capture cut it.
func TestSegmentsOfACutCapture(t *testing.T) {
	sizes, bytes := []int{}, []byte{}
	b := NewBuilder(Options{Each: func(_, _ int, _ bool, p *packet.Packet) {
		sizes = append(sizes, len(p.Payload))
		bytes = append(bytes, p.Payload...)
	}})
	p := seg(true, packet.ACK, 1, 4000)
	for i := range p.Payload {
		p.Payload[i] = byte(i % 251)
	}
	raw, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(b.first, 101, raw[:40+2000]); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sizes, []int{1460, 540, 0}) || !slices.Equal(bytes, p.Payload[:2000]) {
		t.Errorf("%d bytes in pieces of %v", len(bytes), sizes)
	}
}
