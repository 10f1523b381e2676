package headers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/packet"
)

// connection is a TCP connection with options of every kind, a UDP exchange and
// an echo.
func connection() []packet.Packet {
	c, s := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.9")
	ts := func(v, e uint32) []byte {
		return []byte{1, 1, 8, 10, byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v), byte(e >> 24), byte(e >> 16), byte(e >> 8), byte(e)}
	}
	syn := append([]byte{2, 4, 5, 180, 4, 2}, append(ts(1000, 0)[2:], 1, 3, 3, 7)...)
	up := packet.Packet{Src: c, Dst: s, TTL: 64, TOS: 16, ID: 7000, DF: true, Proto: packet.TCP, SrcPort: 50000, DstPort: 443, Flags: packet.SYN, Window: 64240, Seq: 1 << 31, TCPOptions: syn}
	down := packet.Packet{Src: s, Dst: c, TTL: 57, ID: 0, DF: true, Proto: packet.TCP, SrcPort: 443, DstPort: 50000, Flags: packet.SYN | packet.ACK, Window: 65160, Seq: 99, Ack: 1<<31 + 1, TCPOptions: syn}
	all := []packet.Packet{up, down}
	up.Flags, up.Seq, up.Ack, up.ID, up.TCPOptions, up.Window = packet.ACK, 1<<31+1, 100, 7001, ts(1010, 1000), 502
	all = append(all, up)
	up.Flags, up.Payload, up.ID = packet.ACK|packet.PSH, make([]byte, 517), 7002
	all = append(all, up)
	again := up
	again.ID = 7003 // a retransmission
	all = append(all, again)
	down.Flags, down.Seq, down.Ack, down.Payload, down.TCPOptions = packet.ACK, 100, 1<<31+518, make([]byte, 1400), ts(2020, 1010)
	all = append(all, down)
	up.Flags, up.Seq, up.Ack, up.Payload, up.ID = packet.ACK|packet.FIN, 1<<31+518, 1500, nil, 7004
	all = append(all, up)
	all = append(all, packet.Packet{Src: c, Dst: s, TTL: 64, ID: 3, Proto: packet.UDP, SrcPort: 40000, DstPort: 53, Payload: make([]byte, 30)},
		packet.Packet{Src: s, Dst: c, TTL: 60, ID: 4, Proto: packet.UDP, SrcPort: 53, DstPort: 40000, Payload: make([]byte, 90)},
		packet.Packet{Src: c, Dst: s, TTL: 64, ID: 5, Proto: packet.ICMPv4, Type: 8, Rest: 1 << 16, Payload: make([]byte, 56)})
	return all
}

func build(t *testing.T, packets []packet.Packet, times int) (*traffic.Set, []nprint.Row) {
	t.Helper()
	b := NewBuilder(flows.Options{Label: "x"})
	at := time.Unix(1, 0)
	var rows []nprint.Row
	for range times {
		for i := range packets {
			ip, err := packets[i].Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Millisecond)
			if err := b.Add(at, uint16(pcap.Raw), ip); err != nil {
				t.Fatal(err)
			}
			var r nprint.Row
			if err := r.Encode(ip); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, r)
		}
		at = at.Add(2 * time.Hour)
	}
	return b.Set(), rows
}

// What is rendered of a session has the header bits of its packets, but for
// what a session leaves out: addresses, the client's port, where numbers begin,
// and what follows of these, checksums.
func TestRoundTrip(t *testing.T) {
	set, want := build(t, connection(), 3)
	if err := set.Valid(); err != nil {
		t.Fatal(err)
	}
	if len(set.Sessions) != 9 {
		t.Fatalf("%d sessions", len(set.Sessions))
	}
	names := nprint.Columns()
	at := 0
	for i := range set.Sessions[:3] { // of the first time, in the order of their packets
		err := Rows(&set.Of, &set.Sessions[i], 1, i, func(r *nprint.Row) error {
			for c, x := range r {
				if !free(names[c]) && x != want[at][c] {
					t.Errorf("packet %d: %s is %d, was %d", at, names[c], x, want[at][c])
				}
			}
			at++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if at != len(connection()) {
		t.Errorf("%d packets", at)
	}
}

// free reports whether a column is of what a session leaves out.
func free(name string) bool {
	for _, f := range []string{"ipv4_src", "ipv4_dst", "ipv4_cksum", "tcp_sprt", "tcp_dprt", "tcp_seq", "tcp_ackn", "tcp_cksum", "udp_sport", "udp_dport", "udp_cksum", "icmp_cksum", "icmp_roh"} {
		if len(name) > len(f) && name[:len(f)+1] == f+"_" {
			return true
		}
	}
	return strings.HasPrefix(name, "tcp_opt_") // timestamps begin anywhere: TestNumbers
}

// Sequence numbers go on as they were, wherever they begin; so do timestamps
// and acknowledgements.
func TestNumbers(t *testing.T) {
	set, _ := build(t, connection(), 3)
	want := connection()
	var got []packet.Packet
	if err := Rows(&set.Of, &set.Sessions[0], 5, 0, func(r *nprint.Row) error {
		ip, err := r.Decode()
		if err != nil {
			return err
		}
		var p packet.Packet
		if err := p.Decode(ip); err != nil {
			return err
		}
		p.TCPOptions = bytes.Clone(p.TCPOptions)
		got = append(got, p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, p := range got {
		w := want[i]
		base, from := got[0], want[0]
		if p.Src != base.Src {
			base, from = got[1], want[1]
		}
		if p.Seq-base.Seq != w.Seq-from.Seq {
			t.Errorf("packet %d: sequence number %d after its first, was %d", i, p.Seq-base.Seq, w.Seq-from.Seq)
		}
		peer, peerWas := got[1], want[1]
		if p.Src != got[0].Src {
			peer, peerWas = got[0], want[0]
		}
		if p.Flags&packet.ACK != 0 && p.Ack-peer.Seq != w.Ack-peerWas.Seq {
			t.Errorf("packet %d: acknowledges %d, was %d", i, p.Ack-peer.Seq, w.Ack-peerWas.Seq)
		}
		if layout(p.TCPOptions) != layout(w.TCPOptions) {
			t.Errorf("packet %d: options %s, were %s", i, layout(p.TCPOptions), layout(w.TCPOptions))
		}
		a, _, _ := timestamp(p.TCPOptions)
		b, _, _ := timestamp(base.TCPOptions)
		c, _, _ := timestamp(w.TCPOptions)
		d, _, _ := timestamp(from.TCPOptions)
		if a-b != c-d {
			t.Errorf("packet %d: timestamp %d after its first, was %d", i, a-b, c-d)
		}
	}
}

// Sets of several captures have one list of layouts afterwards, and the same
// packets.
func TestUnite(t *testing.T) {
	a, _ := build(t, connection(), 3)
	b, _ := build(t, connection()[2:], 3)
	name := func(s *traffic.Set, session, step int) string {
		return s.Of.Steps[Options].Levels[int(s.Of.Step(&s.Sessions[session], step)[Options])]
	}
	want := []string{name(a, 0, 0), name(a, 0, 3), name(b, 0, 1)}
	Unite(a, b)
	if got := []string{name(a, 0, 0), name(a, 0, 3), name(b, 0, 1)}; !slices.Equal(got, want) || want[0] == want[1] {
		t.Errorf("layouts %q, were %q", got, want)
	}
	all, err := traffic.Merge(1, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if w := Windows(all, 2); w.Valid() != nil || w.Of.Len(&w.Sessions[0]) != 2 {
		t.Errorf("windows of 2 steps: %v", w.Valid())
	}
}

// The published generator's capture and the real trace beside it come back from
// their sessions with marginals of bits that are those of their tables.
func TestAnchors(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: the anchors are not here")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "netdiffusion_anchors.tar.gz"))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("netflix_01.nprint is missing")
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(h.Name) != "netflix_01.nprint" {
			continue
		}
		path := filepath.Join(t.TempDir(), "netflix_01.nprint")
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		set, counts, err := ReadFile(path, flows.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if counts.Actions < 1000 {
			t.Fatalf("%d of %d packets are steps: %v", counts.Actions, counts.Packets, counts.Left)
		}
		var was, is nprint.Marginals
		if err := nprint.Read(bytes.NewReader(text), path, func(r *nprint.Row) error { was.Add(r); return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range set.Sessions {
			if err := Rows(&set.Of, &set.Sessions[i], 1, i, func(r *nprint.Row) error { is.Add(r); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range nprint.Compare(&was, &is) {
			t.Logf("%s, %d columns: %.4f", d.Group, d.Columns, d.JSD)
			if d.JSD > .055 { // .0501 of tcp: options that no profile has
				t.Errorf("%s: bits of the table and of its sessions are %.3f apart", d.Group, d.JSD)
			}
		}
		return
	}
}
