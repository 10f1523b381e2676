package legal_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic/legal"
	"github.com/planegym/planegym/traffic/packet"
)

var a, b = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

var when = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// segment is a segment from a (or back) to b's port 443.
func segment(back bool, flags uint8, seq, ack uint32, payload int) []byte {
	p := packet.Packet{Src: a, Dst: b, SrcPort: 5000, DstPort: 443, TTL: 64, Proto: packet.TCP, Flags: flags, Seq: seq, Ack: ack, Payload: make([]byte, payload)}
	if back {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	raw, err := p.Append(nil)
	if err != nil {
		panic(err)
	}
	return raw
}

const (
	syn, ack, fin, rst, psh = packet.SYN, packet.ACK, packet.FIN, packet.RST, packet.PSH
)

// open is a handshake: a's first byte is 101, b's 501.
var open = [][]byte{segment(false, syn, 100, 0, 0), segment(true, syn|ack, 500, 101, 0), segment(false, ack, 101, 501, 0)}

// Both sides of every rule, after a handshake.
func TestRules(t *testing.T) {
	broken := segment(false, psh|ack, 101, 501, 10)
	broken[len(broken)-1] ^= 1
	header := segment(false, psh|ack, 101, 501, 10)
	header[8]++
	short := segment(false, psh|ack, 101, 501, 10)[:30]
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   string // of the last frame; the others are legal
	}{
		{"data", [][]byte{segment(false, psh|ack, 101, 501, 10), segment(true, ack, 501, 111, 0)}, ""},
		{"data again", [][]byte{segment(false, psh|ack, 101, 501, 10), segment(false, psh|ack, 101, 501, 10)}, ""},
		{"keep-alive", [][]byte{segment(false, psh|ack, 101, 501, 10), segment(false, ack, 110, 501, 0)}, ""},
		{"close", [][]byte{segment(false, fin|ack, 101, 501, 0), segment(true, fin|ack, 501, 102, 0), segment(false, ack, 102, 502, 0)}, ""},
		{"half close", [][]byte{segment(false, fin|ack, 101, 501, 0), segment(true, psh|ack, 501, 102, 9)}, ""},
		{"ports used again", [][]byte{segment(false, psh|ack, 101, 501, 10), segment(true, rst, 501, 0, 0), segment(false, syn, 9000, 0, 0), segment(true, syn|ack, 3, 9001, 0)}, ""},
		{"SYN again", [][]byte{segment(false, syn, 100, 0, 0)}, ""},
		{"transport checksum", [][]byte{broken}, legal.Checksum},
		{"IP checksum", [][]byte{header}, legal.Checksum},
		{"cut", [][]byte{short}, legal.Malformed},
		{"no flags", [][]byte{segment(false, 0, 101, 501, 10)}, legal.Flags},
		{"data without ACK", [][]byte{segment(false, psh, 101, 501, 10)}, legal.Flags},
		{"SYN and FIN", [][]byte{segment(false, syn|fin, 100, 0, 0)}, legal.Flags},
		{"SYN inside", [][]byte{segment(false, psh|ack, 101, 501, 10), segment(false, syn, 111, 0, 0)}, legal.SecondOpen},
		{"after FIN", [][]byte{segment(false, fin|ack, 101, 501, 0), segment(false, psh|ack, 102, 501, 5)}, legal.AfterClose},
		{"missing", [][]byte{segment(false, psh|ack, 102, 501, 5)}, legal.Missing},
		{"unsent", [][]byte{segment(false, ack, 101, 502, 0)}, legal.Unsent},
	} {
		var k legal.Checker
		for _, f := range open {
			if why := k.Add(uint16(pcap.Raw), f); why != "" {
				t.Fatalf("handshake: %s", why)
			}
		}
		for i, f := range c.frames {
			want := ""
			if i == len(c.frames)-1 {
				want = c.want
			}
			if why := k.Add(uint16(pcap.Raw), f); why != want {
				t.Errorf("%s: frame %d: %q, want %q", c.name, i, why, want)
			}
		}
	}
}

// What comes first in a capture may be the middle of a connection.
func TestMiddle(t *testing.T) {
	var k legal.Checker
	for i, f := range [][]byte{segment(true, psh|ack, 7000, 80, 50), segment(false, ack, 80, 7050, 0), segment(true, psh|ack, 7050, 80, 50)} {
		if why := k.Add(uint16(pcap.Raw), f); why != "" {
			t.Errorf("frame %d: %s", i, why)
		}
	}
	if k.Counts.Share() != 1 {
		t.Errorf("%+v", k.Counts)
	}
}

func data(t *testing.T, name ...string) string {
	t.Helper()
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no captures")
	}
	return filepath.Join(append([]string{dir, "traffic"}, name...)...)
}

// tshark's own analysis finds as many missing segments and wrong checksums as the
// rules do. It also complains of the first acknowledgement after a hole, of which
// the rules say nothing more.
func TestTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	for _, name := range []string{"imap", "port443", "port80"} {
		path := data(t, "captures", name+".pcap")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := legal.Read(f, name)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		count := func(filter string) int {
			out, err := exec.CommandContext(t.Context(), "tshark", "-n", "-r", path, "-o", "tcp.check_checksum:TRUE", "-Y", filter).Output()
			if err != nil {
				t.Fatal(err)
			}
			return strings.Count(string(out), "\n")
		}
		t.Logf("%s: %+v", name, *got)
		for why, filter := range map[string]string{legal.Missing: "tcp.analysis.lost_segment", legal.Unsent: "tcp.analysis.ack_lost_segment", legal.Checksum: "tcp.checksum.status == 0 or ip.checksum.status == 0"} {
			if n := count(filter); n != got.Why[why] && !(why == legal.Unsent && got.Why[why] < n && got.Why[legal.Missing] > 0) {
				t.Errorf("%s: %s: %d packets, tshark says %d", name, why, got.Why[why], n)
			}
		}
	}
}

// The capture that NetDiffusion publishes: 0 of 1,024 transport checksums hold.
func TestNetDiffusion(t *testing.T) {
	f, err := os.Open(data(t, "netdiffusion_anchors.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("there is no capture")
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".pcap") {
			continue
		}
		got, err := legal.Read(r, h.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.Packets != 1024 || got.Legal != 0 || got.Why[legal.Checksum] != 1024 {
			t.Errorf("%s: %+v", h.Name, *got)
		}
		return
	}
}

func FuzzChecker(f *testing.F) {
	for _, s := range open {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var k legal.Checker
		for _, link := range []pcap.Link{pcap.Raw, pcap.Ethernet, pcap.Cooked, pcap.Cooked2} {
			k.Add(uint16(link), one)
			k.Add(uint16(link), two)
		}
		if k.Counts.Packets+k.Counts.Others != 8 || k.Counts.Legal > k.Counts.Packets {
			t.Errorf("%+v", k.Counts)
		}
	})
}

// Check the packets of a capture by the rules of TCP.
func ExampleRead() {
	var file bytes.Buffer
	w, err := pcap.NewWriter(&file, pcap.Raw)
	if err != nil {
		panic(err)
	}
	for _, f := range append(open, segment(false, psh|ack, 5000, 501, 10)) {
		if err := w.Write(when, f); err != nil {
			panic(err)
		}
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	c, err := legal.Read(&file, "example.pcap")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d of %d packets are legal: %v\n", c.Legal, c.Packets, c.Why)
	// Output: 3 of 4 packets are legal: map[a segment before it is missing:1]
}
