package nprint

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic/packet"
)

// anchors is the files of NetDiffusion's fork: tables that nPrint and the
// published system wrote.
func anchors(t *testing.T) map[string][]byte {
	t.Helper()
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no tables of nPrint")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "netdiffusion_anchors.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[filepath.Base(h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// A table that nPrint wrote of a real trace: its columns are ours, each packet
// decodes, its IPv4 checksum holds, and encoded again it is the same row.
func TestRealTable(t *testing.T) {
	for _, name := range []string{"netflix_01.nprint", "correct_format.nprint"} {
		b := anchors(t)[name]
		head, _, _ := strings.Cut(string(b), "\n")
		if want := "src_ip," + strings.Join(Columns(), ","); name == "netflix_01.nprint" && strings.TrimSpace(head) != want {
			t.Errorf("%s: other columns", name)
		}
		n, good := 0, 0
		err := Read(bytes.NewReader(b), name, func(r *Row) error {
			raw, err := r.Decode()
			if err != nil {
				return err
			}
			var again Row
			if err := again.Encode(raw); err != nil {
				return err
			}
			if again != *r {
				for i := range again {
					if again[i] != r[i] {
						t.Fatalf("%s: packet %d: %s is %d, not %d", name, n, Columns()[i], again[i], r[i])
					}
				}
			}
			var p packet.Packet
			if err := p.Decode(raw); err != nil {
				return err
			}
			if p.L3 == packet.Good {
				good++
			}
			n++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s: %d packets, %d of their IPv4 checksums hold", name, n, good)
		if n != 1024 {
			t.Errorf("%s: %d packets, want 1024", name, n)
		}
	}
}

// The published system's generated trace as a table and as the capture that
// nPrint made of it: the same packets but for the IPv4 checksum, which was
// computed after.
func TestGeneratedTrace(t *testing.T) {
	files := anchors(t)
	var rows []Row
	if err := Read(bytes.NewReader(files["netflix_5_postprocessed.nprint"]), "table", func(r *Row) error { rows = append(rows, *r); return nil }); err != nil {
		t.Fatal(err)
	}
	r, err := pcap.NewReader(bytes.NewReader(files["netflix_5.pcap"]), "netflix_5.pcap")
	if err != nil {
		t.Fatal(err)
	}
	columns := Columns()
	differ := map[string]int{}
	n, tcpGood := 0, 0
	for p := (pcap.Packet{}); r.Next(&p) == nil; n++ {
		ip := p.Data
		if p.Link == pcap.Ethernet {
			if ip, _, err = packet.StripEthernet(p.Data); err != nil {
				t.Fatal(err)
			}
		}
		var row Row
		if err := row.Encode(ip); err != nil {
			t.Fatal(err)
		}
		for i := range row {
			if row[i] != rows[n][i] {
				differ[columns[i][:strings.LastIndexByte(columns[i], '_')]]++
			}
		}
		var q packet.Packet
		if q.Decode(ip) == nil && q.L4 == packet.Good {
			tcpGood++
		}
	}
	t.Logf("%d packets; bits that differ, by field: %v; transport checksums that hold: %d", n, differ, tcpGood)
	if n != len(rows) || n != 1024 {
		t.Errorf("%d packets, %d rows", n, len(rows))
	}
	if tcpGood != 0 {
		t.Errorf("%d transport checksums hold; published: none", tcpGood)
	}
}

var testAddr = netip.MustParseAddr("192.0.2.1")

func TestBad(t *testing.T) {
	var r Row
	if _, err := r.Decode(); !errors.Is(err, ErrRow) { // all 0: two transport headers
		t.Error(err)
	}
	for i := range r {
		r[i] = -1
	}
	if _, err := r.Decode(); !errors.Is(err, ErrRow) {
		t.Error(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", "no nPrint table"}, {"a,b\n1,2\n", "no column is"}, {"ipv4_ver_0,tcp_sprt_0\n0,7\n", `line 2: column tcp_sprt_0: "7"`},
		{"ipv4_ver_0,tcp_sprt_0\n0\n", "line 2"},
	} {
		if err := Read(strings.NewReader(c.text), "x", func(*Row) error { return nil }); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	raw, _ := (&packet.Packet{Src: testAddr, Dst: testAddr, Proto: packet.TCP, Flags: packet.SYN, TCPOptions: []byte{2, 4, 5, 180}}).Append(nil)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Row
		if r.Encode(b) != nil {
			return
		}
		h, err := r.Decode()
		if err != nil {
			return // options that lengths in the header deny
		}
		if len(h) <= len(b) && !bytes.Equal(h, b[:len(h)]) {
			t.Errorf("%x became %x", b, h)
		}
	})
}

// FuzzRead reads tables of any bytes; what is read can be written and read.
func FuzzRead(f *testing.F) {
	f.Add([]byte("src_ip,ipv4_ver_0,ipv4_ver_1\n1.2.3.4,0,1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var rows []Row
		if Read(bytes.NewReader(b), "x", func(r *Row) error { rows = append(rows, *r); return nil }) != nil {
			return
		}
		var out bytes.Buffer
		w, _ := NewWriter(&out)
		for i := range rows {
			_ = w.Write(&rows[i])
		}
		_ = w.Flush()
		n := 0
		if err := Read(&out, "again", func(r *Row) error {
			if *r != rows[n] {
				t.Errorf("row %d changed", n)
			}
			n++
			return nil
		}); err != nil || n != len(rows) {
			t.Errorf("%d of %d rows: %v", n, len(rows), err)
		}
	})
}
