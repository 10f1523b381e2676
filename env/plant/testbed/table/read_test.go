package table_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// What a Writer writes is what Read reads.
func TestRead(t *testing.T) {
	p, l := logged(t)
	var b bytes.Buffer
	w := table.NewWriter(&b, p)
	for range 2 {
		if err := w.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "recording.parquet")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	fields, switches, sessions, err := table.Read(path)
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
	if _, _, _, err := table.Read(path); err == nil || !strings.Contains(err.Error(), "no Parquet file") {
		t.Errorf("half a file: %v", err)
	}
}

func TestReadErrors(t *testing.T) {
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
		if _, _, _, err := table.Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "t.parquet")
	if err := parquet.WriteFile(path, []struct {
		Session int32 `parquet:"session"`
		Seed    int64 `parquet:"seed"`
		T       int32 `parquet:"t"`
	}{{}}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := table.Read(path); err == nil || !strings.Contains(err.Error(), "there is no column limit1") {
		t.Errorf("a table without limits: %v", err)
	}
	if err := parquet.WriteFile(path, []struct{ A int32 }{{1}}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := table.Read(path); err == nil || !strings.Contains(err.Error(), "there is no column session") {
		t.Errorf("another table: %v", err)
	}
}

// Whatever a file holds, it is refused or gives whole sessions of finite values.
func FuzzDecode(f *testing.F) {
	p, l := logged(f)
	var b bytes.Buffer
	w := table.NewWriter(&b, p)
	if err := errors.Join(w.Add(l), w.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/3])
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, file []byte) {
		fields, switches, sessions, err := table.Decode(bytes.NewReader(file), int64(len(file)))
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

// logged is a minute of which the limit changes after the half, with gaps.
func logged(t testing.TB) (*testbed.Testbed, *testbed.Log) {
	t.Helper()
	p, err := testbed.New(testbed.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l := p.Keep(1)
	var w telemetry.Window
	w.Size(1, 30, len(p.Columns()))
	ctx := context.Background()
	if err := p.Reset(ctx, []int{1}, []uint64{4}, []p4.Limit{64, 64, 64}, &w); err != nil {
		t.Fatal(err)
	}
	first := slices.Clone(w.Values)
	if err := p.Advance(ctx, []int{1}, []p4.Limit{32, 64, 16}, &w); err != nil {
		t.Fatal(err)
	}
	if l.Seconds() != 60 || !slices.Equal(l.Values, append(first, w.Values...)) || l.Limits[29*3] != 64 || l.Limits[30*3] != 32 || l.Limit() != 0 {
		t.Fatalf("%d seconds, limits %v, one limit %d", l.Seconds(), l.Limits, l.Limit())
	}
	for i := range l.Valid { // some of it was not measured, in each column
		l.Valid[i] = i%9 != 4
	}
	return p, l
}
