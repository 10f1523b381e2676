package flows

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic/packet"
)

// capture is a file of packets, at ms since the first.
type capture struct {
	t *testing.T
	b *Builder
}

func newCapture(t *testing.T, o Options) *capture { return &capture{t, NewBuilder(o)} }

func (c *capture) add(ms int, p packet.Packet) error {
	c.t.Helper()
	raw, err := p.Append(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.b.Add(time.Unix(1000, int64(ms)*1e6), uint16(pcap.Raw), raw)
}

var hostA, hostB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func seg(up bool, flags uint8, seq uint32, n int) packet.Packet {
	p := packet.Packet{Src: hostA, Dst: hostB, TTL: 60, Proto: packet.TCP, SrcPort: 50000, DstPort: 443, Flags: flags, Seq: seq, Window: 9, Payload: make([]byte, n)}
	if !up {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	return p
}

// Every flag of an action, sequence numbers that wrap, a second connection on
// the same ports, and the client by its SYN.
func TestActions(t *testing.T) {
	const s, a, f, r, p = packet.SYN, packet.ACK, packet.FIN, packet.RST, packet.PSH
	c := newCapture(t, Options{Label: "x"})
	isn := uint32(0xfffffff0)
	for i, x := range []struct {
		packet packet.Packet
		want   Action
	}{
		{seg(true, s, isn, 0), Action{Flags: Syn}},
		{seg(true, s, isn, 0), Action{Flags: Syn}},
		{seg(false, s|a, 7, 0), Action{Down: true, Flags: Syn}},
		{seg(true, a, isn+1, 0), Action{Flags: Ack}},
		{seg(true, a|p, isn+1, 30), Action{Size: 30, Flags: Push}},
		{seg(true, a, isn+31, 100), Action{Size: 100, Flags: Data}},
		{seg(true, a, isn+31, 100), Action{Size: 100, Flags: Retransmission}},
		{seg(true, a, isn+130, 1), Action{Size: 1, Flags: KeepAlive}},
		{seg(true, a, isn+130, 0), Action{Flags: KeepAlive}},
		{seg(false, a, 8, 0), Action{Down: true, Flags: Ack}},
		{seg(false, a|f, 8, 5), Action{Down: true, Size: 5, Flags: Fin}},
		{seg(false, a|f, 8, 5), Action{Down: true, Size: 5, Flags: Fin}},
		{seg(true, a|r, isn+131, 0), Action{Flags: Reset}},
	} {
		if err := c.add(i, x.packet); err != nil {
			t.Fatal(err)
		}
		set := c.b.Set()
		rd, _ := NewReader(&set.Of)
		if got := rd.At(&set.Sessions[0], i); got.Down != x.want.Down || got.Size != x.want.Size || got.Flags != x.want.Flags {
			t.Errorf("packet %d is %+v, want %+v", i, got, x.want)
		}
	}
	_ = c.add(50, seg(true, s, 1, 0))
	_ = c.add(51, packet.Packet{Src: hostA, Dst: hostB, Proto: packet.TCP, SrcPort: 50001, DstPort: 443, Payload: nil})                      // no flag
	_ = c.add(52, packet.Packet{Src: hostB, Dst: hostA, Proto: packet.UDP, SrcPort: 53, DstPort: 50001, TTL: 200, Payload: make([]byte, 9)}) // the answer first
	_ = c.add(53, packet.Packet{Src: hostB, Dst: hostA, Proto: packet.ICMPv4, Type: 0, Rest: 5 << 16, TTL: 200})                             // the reply first
	_ = c.add(54, packet.Packet{Src: hostA, Dst: hostB, Proto: packet.ICMPv4, Type: 8, Rest: 5 << 16, TTL: 200, Payload: make([]byte, 56)})  //
	_ = c.add(55, packet.Packet{Src: hostA, Dst: hostB, Proto: packet.ICMPv4, Type: 13, TTL: 200})                                           // a timestamp
	_ = c.b.Add(time.Unix(1000, 56e6), 1, append(make([]byte, 12), 8, 6, 0, 1))                                                              // ARP
	set := c.b.Set()
	if err := set.Valid(); err != nil {
		t.Fatal(err)
	}
	if set.Len() != 4 {
		t.Fatalf("%d sessions, want 4: two connections, a datagram, an echo", set.Len())
	}
	udp, echo := set.Sessions[2], set.Sessions[3]
	if udp.Meta[ServerPort] != 53 || udp.Steps[Direction] != 1 || udp.Meta[TTLDown] != 3 || udp.Meta[Server] != 1 {
		t.Errorf("datagram: %+v", udp)
	}
	if echo.Meta[ServerPort] != 8<<8 || echo.Steps[Direction] != 1 || echo.Steps[StepFields+Direction] != 0 || echo.Steps[StepFields+Size] != 56 {
		t.Errorf("echo: %+v", echo)
	}
	counts := c.b.Counts()
	for _, why := range []string{"TCP without a flag of SYN, ACK, FIN, RST", "ICMP type 13", "not IP: type 0x0806"} {
		if counts.Left[why] != 1 {
			t.Errorf("left out: %v, want one %q", counts.Left, why)
		}
	}
	if counts.Packets != counts.Actions+3 {
		t.Errorf("%d packets, %d actions, 3 left out", counts.Packets, counts.Actions)
	}
}

func TestTimes(t *testing.T) {
	c := newCapture(t, Options{Idle: time.Second})
	for _, ms := range []int{0, 500, 400, 600, 2000} {
		if err := c.add(ms, seg(true, packet.ACK, 1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	set := c.b.Set()
	if set.Len() != 2 || c.b.Counts().Lost["a time before the packet before"] != 1 {
		t.Fatalf("%d sessions, lost %v", set.Len(), c.b.Counts().Lost)
	}
	for i, want := range []float64{0, .5, 0, .1} {
		if got := set.Sessions[0].Steps[i*StepFields+Gap]; got != want {
			t.Errorf("gap %d is %v, want %v", i, got, want)
		}
	}
	if err := c.add(86400001, seg(true, packet.ACK, 1, 0)); !errors.Is(err, ErrSpan) {
		t.Errorf("a day later: %v", err)
	}
}

func FuzzBuilder(f *testing.F) {
	raw, _ := (&packet.Packet{Src: hostA, Dst: hostB, Proto: packet.TCP, Flags: packet.SYN}).Append(nil)
	f.Add(uint16(101), raw)
	f.Add(uint16(1), append(append(make([]byte, 12), 8, 0), raw...))
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		b := NewBuilder(Options{})
		for i := range 3 {
			_ = b.Add(time.Unix(int64(i), 0), link, data)
		}
		if err := b.Set().Valid(); err != nil {
			t.Error(err)
		}
		c := b.Counts()
		left := 0
		for _, n := range c.Left {
			left += n
		}
		if c.Packets != c.Actions+left {
			t.Errorf("%d packets, %d actions, %d left out", c.Packets, c.Actions, left)
		}
	})
}

// FuzzRead reads captures of any bytes.
func FuzzRead(f *testing.F) {
	if dir := os.Getenv("PLANEGYM_DATA"); dir != "" {
		if b, err := os.ReadFile(filepath.Join(dir, "traffic", "captures", "youtube.pcap")); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, _, err := Read(bytes.NewReader(b), "mem", Options{}); err == nil {
			if err := s.Valid(); err != nil {
				t.Error(err)
			}
		}
	})
}
