package netflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
)

const table = `srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt,type
167772161,192.0.2.1,1000,53,udp,2000000.0,0.5,1,60,background
167772161,192.0.2.1,1000,53,UDP,1000000.0,0,2,120,background
10.0.0.2,192.0.2.1,1001,80,TCP,1500000.0,3.25,10,9000,attack
`

func TestCSV(t *testing.T) {
	if !Is([]byte(table)) || Is([]byte("a,b\n")) {
		t.Error("not recognised")
	}
	r, err := ReadCSV(strings.NewReader(table), "mem", Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := Sessions(r)
	if err := s.Valid(); err != nil {
		t.Fatal(err)
	}
	if s.Len() != 2 {
		t.Fatalf("%d sessions, want 2", s.Len())
	}
	a := s.Sessions[0]
	if a.Start != 0 || a.Meta[2] != 0 || a.Meta[4] != 53 || math.Abs(a.Steps[5]-1) > 1e-9 || a.Steps[8] != 60 {
		t.Errorf("%+v", a)
	}
	if s.Sessions[1].Start != .5 {
		t.Errorf("%+v", s.Sessions[1])
	}
	var b bytes.Buffer
	n, err := WriteCSV(&b, &s.Of, func(yield func(traffic.Session, error) bool) {
		for _, x := range s.Sessions {
			if !yield(x, nil) {
				return
			}
		}
	})
	if err != nil || n != 3 {
		t.Fatal(n, err)
	}
	again, err := ReadCSV(&b, "again", Options{})
	if err != nil {
		t.Fatal(err)
	}
	x, _ := traffic.Hash(s)
	y, _ := traffic.Hash(Sessions(again))
	if x != y {
		t.Errorf("read, written and read: %+v became %+v", s, Sessions(again))
	}
	for _, c := range []struct{ from, to, want string }{
		{"byt,", "bytes,", `no column "byt"`}, {"10.0.0.2", "x", `line 4: srcip: "x"`}, {",1001,", ",70000,", "line 4: srcport"},
		{"3.25", "-1", "line 4: td"}, {"9000", "NaN", "line 4: byt"}, {"background\n10", "\n10", "1"},
	} {
		if _, err := ReadCSV(strings.NewReader(strings.Replace(table, c.from, c.to, 1)), "mem", Options{}); c.want != "1" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.to, err, c.want)
		}
	}
}

// Records of one set by another's schema and ranks; what it lacks is an error that
// names the record.
func TestSessionsOf(t *testing.T) {
	records, err := ReadCSV(strings.NewReader(table), "mem", Options{})
	if err != nil {
		t.Fatal(err)
	}
	of := Sessions(records).Of
	popular := Popular(records)
	if len(popular) != 3 || popular[0].String() != "192.0.2.1" || popular[1].String() != "10.0.0.1" {
		t.Fatalf("%v", popular)
	}
	if g := Group(records); len(g) != 2 || len(g[0]) != 2 || g[0][0] != 1 || g[0][1] != 0 || g[1][0] != 2 {
		t.Fatalf("%v: the first session has the second record, then the first", g)
	}
	rank := map[netip.Addr]float64{popular[0]: 7, popular[1]: 5, popular[2]: 3}
	set, err := SessionsOf(records[2:], of, rank)
	if err != nil || set.Len() != 1 || set.Sessions[0].Meta[1] != 3 || set.Sessions[0].Meta[2] != 7 || set.Sessions[0].Steps[2] != 10 {
		t.Errorf("%+v, %v", set, err)
	}
	for _, c := range []struct {
		change func(r *Record)
		want   string
	}{
		{func(r *Record) { r.Proto = "GRE" }, `record 3: protocol "GRE"`},
		{func(r *Record) { r.Type = "scan" }, `record 3: type "scan"`},
		{func(r *Record) { r.Src = netip.MustParseAddr("10.7.0.1") }, "record 3: address 10.7.0.1"},
		{func(r *Record) { r.Dst = netip.MustParseAddr("10.7.0.2") }, "record 3: address 10.7.0.2"},
	} {
		changed := append([]Record{}, records...)
		c.change(&changed[2])
		if _, err := SessionsOf(changed, of, rank); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func v5(records int) []byte {
	b := make([]byte, 24+48*records)
	binary.BigEndian.PutUint16(b, 5)
	binary.BigEndian.PutUint16(b[2:], uint16(records))
	binary.BigEndian.PutUint32(b[4:], 10000)
	binary.BigEndian.PutUint32(b[8:], 1000)
	for i := range records {
		r := b[24+48*i:]
		copy(r, []byte{10, 0, 0, byte(i), 192, 0, 2, 1})
		binary.BigEndian.PutUint32(r[16:], 7)
		binary.BigEndian.PutUint32(r[20:], 700)
		binary.BigEndian.PutUint32(r[24:], 9000)
		binary.BigEndian.PutUint32(r[28:], 9500)
		binary.BigEndian.PutUint16(r[32:], 1024)
		binary.BigEndian.PutUint16(r[34:], 443)
		r[38] = 6
	}
	return b
}

func TestV5(t *testing.T) {
	r, err := ReadV5(bytes.NewReader(append(v5(2), v5(1)...)))
	if err != nil || len(r) != 3 {
		t.Fatal(len(r), err)
	}
	want := Record{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("192.0.2.1"), SrcPort: 1024, DstPort: 443, Proto: "TCP", Start: 999, Duration: .5, Packets: 7, Bytes: 700}
	if r[1] != want {
		t.Errorf("%+v, want %+v", r[1], want)
	}
	for i, b := range [][]byte{v5(2)[:50], v5(1)[:10], append(v5(1), 0, 9)} {
		if _, err := ReadV5(bytes.NewReader(b)); !errors.Is(err, ErrV5) {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func TestUGR16(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no records of UGR16")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "ugr16_small.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ReadCSV(f, "ugr16_small.csv", Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := Sessions(r)
	if len(r) != 1000 || s.Len() != 989 || len(s.Of.Meta[0].Levels) != 7 {
		t.Errorf("%d records, %d flows, %d protocols; the file has 1000, 989, 7", len(r), s.Len(), len(s.Of.Meta[0].Levels))
	}
	if err := s.Valid(); err != nil {
		t.Error(err)
	}
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte(table))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadCSV(bytes.NewReader(b), "mem", Options{})
		if err == nil {
			if err := Sessions(r).Valid(); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzV5(f *testing.F) {
	f.Add(v5(2))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ReadV5(bytes.NewReader(b)); err == nil {
			if err := Sessions(r).Valid(); err != nil {
				t.Error(err)
			}
		}
	})
}
