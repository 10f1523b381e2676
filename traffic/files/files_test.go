package files_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/bundled"
	"github.com/planegym/planegym/traffic/files"
	"github.com/planegym/planegym/traffic/store"
)

func sampled(t *testing.T, n int) *traffic.Set {
	t.Helper()
	m, err := bundled.Open()
	if err != nil {
		t.Fatal(err)
	}
	s, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: n, Seed: 1}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Sessions {
		s.Sessions[i].Start = float64(i) / 20
	}
	return s
}

// What is written in each kind says so as text and as JSON, and packets and
// tables are read back as as many sessions.
func TestRoundTrip(t *testing.T) {
	s := sampled(t, 40)
	for _, c := range []struct{ ending, key, text string }{
		{".parquet", "seed", "40 sessions, seed 3"},
		{".csv", "sessions", "40 sessions, seed 3"},
		{".pcap", "repair_rate", "every checksum is right"},
		{".nprint", "repair_rate", "Repair rate"},
		{".png", "tick_s", "ticks of 0.1 s"},
	} {
		path := filepath.Join(t.TempDir(), "s"+c.ending)
		o := files.Writing{Seed: 3}
		r, err := o.Write(t.Context(), path, &s.Of, store.All(s))
		if err != nil {
			t.Fatal(c.ending, err)
		}
		var text bytes.Buffer
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), c.text) {
			t.Errorf("%s: %q, %v", c.ending, text.String(), err)
		}
		var keys map[string]any
		b, err := json.Marshal(r)
		if err == nil {
			err = json.Unmarshal(b, &keys)
		}
		if _, ok := keys[c.key]; err != nil || !ok || keys["output"] != path {
			t.Errorf("%s: %s, %v", c.ending, b, err)
		}
		if c.ending == ".png" || c.ending == ".csv" {
			continue
		}
		var in files.Converter
		back, told, err := in.Read(t.Context(), []string{path}, func() {})
		if err != nil {
			t.Fatal(c.ending, err)
		}
		if back.Len() < 35 || back.Len() > 40 || told.Sessions != back.Len() || told.Bad != 0 {
			t.Errorf("%s: %d sessions came back, %+v", c.ending, back.Len(), told)
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.pcap")
	if err := os.WriteFile(none, []byte("no capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c files.Converter
	if _, _, err := c.Read(t.Context(), []string{none}, func() {}); err == nil || !strings.Contains(err.Error(), "none.pcap") {
		t.Errorf("error %v does not name the file", err)
	}
	empty := filepath.Join(dir, "empty.csv")
	if err := os.WriteFile(empty, []byte("srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context(), []string{empty}, func() {}); err == nil || !strings.Contains(err.Error(), "empty.csv: there is no flow record") {
		t.Errorf("error %v of a file without a record", err)
	}
	if err := files.CheckEnding("a.txt", files.Endings...); err == nil || !strings.Contains(err.Error(), ".nprint") {
		t.Errorf("error %v names no ending", err)
	}
	s := &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "x"}}}}
	var o files.Writing
	if _, err := o.Write(t.Context(), filepath.Join(dir, "s.png"), &s.Of, store.All(s)); err == nil || !strings.Contains(err.Error(), "no size and gap") {
		t.Errorf("error %v", err)
	}
}

// Read a table of nPrint, a capture or flow records: what the file is, it says.
func ExampleConverter_Read() {
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "flows.csv")
	rows := "srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt\n192.0.2.1,192.0.2.2,5000,443,TCP,1000000,0.5,10,900\n192.0.2.3,192.0.2.2,5001,53,UDP,2000000,0,1,80\n"
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		panic(err)
	}
	var c files.Converter
	set, _, err := c.Read(context.Background(), []string{path}, func() {})
	if err != nil {
		panic(err)
	}
	fmt.Println(set.Len(), "sessions, the second starts at", set.Sessions[1].Start, "s")
	// Output: 2 sessions, the second starts at 1 s
}

// The halves of a file are every second session of it, each once.
func TestHalf(t *testing.T) {
	s := sampled(t, 41)
	path := filepath.Join(t.TempDir(), "s.parquet")
	if _, err := files.Sessions(path, &s.Of, store.All(s)); err != nil {
		t.Fatal(err)
	}
	for half, want := range map[int]int{1: 21, 2: 20} {
		c := files.Converter{Half: half}
		got, r, err := c.Read(t.Context(), []string{path}, func() {})
		if err != nil || got.Len() != want || r.Sessions != want {
			t.Fatalf("half %d: %d sessions of 41, %v", half, got.Len(), err)
		}
		for i, x := range got.Sessions {
			if x.Start != s.Sessions[2*i+half-1].Start {
				t.Fatalf("half %d: session %d begins at %v s", half, i, x.Start)
			}
		}
	}
}

// The header bits of a capture are those of the packets that it was written
// from, whatever stands before them; what is no IP packet is counted.
func TestBits(t *testing.T) {
	s := sampled(t, 40)
	dir := t.TempDir()
	var o files.Writing
	for _, name := range []string{"s.pcap", "s.nprint"} {
		if _, err := o.Write(t.Context(), filepath.Join(dir, name), &s.Of, store.All(s)); err != nil {
			t.Fatal(err)
		}
	}
	capture, err := os.ReadFile(filepath.Join(dir, "s.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "s.nprint"))
	if err != nil {
		t.Fatal(err)
	}
	// An ARP request behind the last packet.
	frame := append(make([]byte, 12), 0x08, 0x06, 0, 1)
	head := append(bytes.Clone(capture[24:32]), byte(len(frame)), 0, 0, 0, byte(len(frame)), 0, 0, 0)
	path := filepath.Join(dir, "arp.pcap")
	if err := os.WriteFile(path, append(append(capture, head...), frame...), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := 0
	r, err := files.Bits(t.Context(), filepath.Join(dir, "bits.nprint"), []string{path}, func() { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "bits.nprint"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of header bits, compile gives %d of the same packets", len(got), len(want))
	}
	if r.Left["not IP: type 0x0806"] != 1 || r.Packets != r.Rows+1 || calls != 1 {
		t.Errorf("%+v", r)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "header bits of") || !strings.Contains(text.String(), "0x0806") {
		t.Errorf("%q, %v", text.String(), err)
	}
	none := filepath.Join(dir, "none.nprint")
	if _, err := files.Bits(t.Context(), none, []string{filepath.Join(dir, "s.nprint")}, func() {}); err == nil || !strings.Contains(err.Error(), "s.nprint") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a table of nothing was written")
	}
}
