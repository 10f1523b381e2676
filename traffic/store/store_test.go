package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
)

func example() *traffic.Set {
	return &traffic.Set{
		Of: traffic.Schema{
			Meta:   []traffic.Field{{Name: "proto", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}, {Name: "port", Kind: traffic.Port}, {Name: "client", Kind: traffic.Address}},
			Steps:  []traffic.Field{{Name: "dir", Kind: traffic.Symbol, Levels: []string{"up", "down"}}, {Name: "size", Kind: traffic.Size}, {Name: "gap", Unit: "s", Kind: traffic.Gap}, {Name: "x", Kind: traffic.Number}},
			Labels: []string{"a", "b"},
		},
		Sessions: []traffic.Session{
			{Label: 1, Start: .5, Meta: []float64{1, 443, 0}, Steps: []float64{0, 100, 0, -1.5, 1, 1460, 1e-9, 7}},
			{Label: -1, Start: 1, Meta: []float64{0, 65535, 1 << 31}, Steps: []float64{}},
			{Label: 0, Start: 2e9, Meta: []float64{0, 0, 3}, Steps: []float64{1, 0, 3600, 0}},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	want := example()
	path := filepath.Join(t.TempDir(), "s.parquet")
	if n, err := WriteFile(path, &want.Of, All(want)); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := traffic.Hash(want)
	b, _ := traffic.Hash(got)
	if a != b {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
}

// What cannot be stored leaves no file; a damaged file is an error.
func TestBad(t *testing.T) {
	s := example()
	s.Sessions[2].Steps[0] = 2
	path := filepath.Join(t.TempDir(), "s.parquet")
	if _, err := WriteFile(path, &s.Of, All(s)); err == nil || !strings.Contains(err.Error(), "session 2") || !strings.Contains(err.Error(), "dir") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was left")
	}
	var b bytes.Buffer
	s = example()
	if _, err := Write(&b, &s.Of, All(s)); err != nil {
		t.Fatal(err)
	}
	for i := range b.Len() {
		damaged := bytes.Clone(b.Bytes())
		damaged[i] ^= 0xff
		_, _ = Read(damaged)
		if _, err := Read(b.Bytes()[:i]); err == nil {
			t.Fatalf("%d of %d bytes were read without an error", i, b.Len())
		}
	}
}

func TestMIRAGE(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no MIRAGE flows")
	}
	s, err := ReadFile(filepath.Join(dir, "traffic", "mirage_train.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 13043 || len(s.Of.Labels) != 14 {
		t.Errorf("%d flows of %d applications, want 13043 of 14", s.Len(), len(s.Of.Labels))
	}
	// The first flow, read from the file by the library's own rows.
	first := []float64{0, 517, 0, 1, 137, .04394888877868652}
	for i, x := range first {
		if d := s.Sessions[0].Steps[i] - x; d > 1e-12 || d < -1e-12 {
			t.Errorf("value %d is %v, want %v", i, s.Sessions[0].Steps[i], x)
		}
	}
	if n := s.Of.Len(&s.Sessions[0]); n != 6 || s.Of.LabelName(s.Sessions[0].Label) != "Twitch" {
		t.Errorf("the first flow: %d packets, %s", n, s.Of.LabelName(s.Sessions[0].Label))
	}
	if _, err := ReadFile(filepath.Join(dir, "traffic", "ugr16_small.csv")); err == nil || errors.Is(err, ErrFormat) {
		t.Errorf("a CSV: error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	s := example()
	var b bytes.Buffer
	if _, err := Write(&b, &s.Of, All(s)); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Read(b)
		if err == nil {
			if err := s.Valid(); err != nil {
				t.Error(err)
			}
		}
	})
}
