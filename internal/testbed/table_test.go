package testbed_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/internal/testbed"
)

// What Table writes is what ReadTable reads.
func TestReadTable(t *testing.T) {
	p, l := logged(t)
	var b bytes.Buffer
	table := p.NewTable(&b)
	for range 2 {
		if err := table.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "recording.parquet")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	fields, switches, sessions, err := testbed.ReadTable(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(fields, p.Columns()) || switches != 3 || len(sessions) != 2 {
		t.Fatalf("%v, %d switches, %d sessions", fields, switches, len(sessions))
	}
	for _, s := range sessions {
		if s.Seed != l.Seed || !slices.Equal(s.Limits, l.Limits) || !slices.Equal(s.Valid, l.Valid) {
			t.Error("seed, limits or validity differ")
		}
		for i, valid := range s.Valid {
			if valid && s.Values[i] != l.Values[i] {
				t.Fatalf("cell %d: %v, want %v", i, s.Values[i], l.Values[i])
			}
			if f := len(fields); !valid && i >= f && s.Values[i] != s.Values[i-f] {
				t.Fatalf("cell %d was not measured: %v, before it %v", i, s.Values[i], s.Values[i-f])
			}
		}
	}
	if err := os.WriteFile(path, b.Bytes()[:b.Len()/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := testbed.ReadTable(path); err == nil || !strings.Contains(err.Error(), "no Parquet file") {
		t.Errorf("half a file: %v", err)
	}
}

func TestReadTableErrors(t *testing.T) {
	type row struct {
		Session int32 `parquet:"session"`
		Seed    int64 `parquet:"seed"`
		T       int32 `parquet:"t"`
		Limit1  int32 `parquet:"limit1"`

		Enq   *float32 `parquet:"enq_qdepth1,optional"`
		Delay *float32 `parquet:"deq_timedelta1,optional"`
		Deq   *float32 `parquet:"deq_qdepth1,optional"`
		LBO   *float32 `parquet:"lbo_s,optional"`
		FPS   *float32 `parquet:"fps,optional"`
		Kbps  *float32 `parquet:"rep_kbps,optional"`
		Rate  *float32 `parquet:"calc_rate,optional"`
		Stall *float32 `parquet:"stall_s,optional"`
	}
	for want, rows := range map[string][]row{
		"row 1: session: 1 at second 0, expected 0": {{Session: 1, Limit1: 8}},
		"row 1: session: 0 at second 4, expected 0": {{T: 4, Limit1: 8}},
		"row 2: t: 2, expected 1":                   {{Limit1: 8}, {T: 2, Limit1: 8}},
		"row 3: session: 0 at second 0, expected 1": {{Limit1: 8}, {Session: 1, Limit1: 8}, {Limit1: 8}},
		"row 1: limit1: ":                           {{Limit1: -1}},
		"no sessions are recorded":                  {},
	} {
		path := filepath.Join(t.TempDir(), "t.parquet")
		if err := parquet.WriteFile(path, rows); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := testbed.ReadTable(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "t.parquet")
	if err := parquet.WriteFile(path, []struct{ A int32 }{{1}}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := testbed.ReadTable(path); err == nil || !strings.Contains(err.Error(), "there is no column session") {
		t.Errorf("another table: %v", err)
	}
}

// Whatever a file holds, it is refused or gives whole sessions of finite values.
func FuzzDecodeTable(f *testing.F) {
	p, l := logged(f)
	var b bytes.Buffer
	table := p.NewTable(&b)
	if err := errors.Join(table.Add(l), table.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/3])
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, file []byte) {
		fields, switches, sessions, err := testbed.DecodeTable(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		for _, s := range sessions {
			n := len(s.Limits) / switches
			if n == 0 || len(s.Values) != n*len(fields) || len(s.Valid) != len(s.Values) {
				t.Fatalf("%d limits of %d switches, %d values of %d fields", len(s.Limits), switches, len(s.Values), len(fields))
			}
			for _, x := range s.Values {
				if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
					t.Fatal(x)
				}
			}
		}
	})
}
