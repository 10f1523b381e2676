package sessions_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
)

// second is a row of a table.
type second struct {
	Session int32    `parquet:"session"`
	Seed    uint64   `parquet:"seed"`
	T       int32    `parquet:"t"`
	Limit1  int32    `parquet:"limit1"`
	Limit2  int32    `parquet:"limit2"`
	LBO     *float32 `parquet:"lbo_s,optional"`
	Wait    *float32 `parquet:"deq_timedelta1,optional"`
	Depth   *float32 `parquet:"enq_qdepth1,optional"`
}

func f(x float32) *float32 { return &x }

func table(t testing.TB, rows []second) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[second](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func good() []second {
	return []second{
		{0, 7, 0, 64, 64, f(10), f(100), f(1)}, {0, 7, 1, 32, 32, f(9), nil, nil}, {0, 7, 2, 32, 32, f(12), f(300), f(3)},
		{1, 8, 0, 64, 64, f(5), f(50), f(0)}, {1, 8, 1, 64, 64, f(4), f(60), f(2)},
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recording.parquet")
	if err := os.WriteFile(path, table(t, good()), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := sessions.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Limit != 0 || !slices.Equal(all[0].Limits, []int{64, 32, 32}) || all[1].Limit != 64 || all[1].Limits != nil || all[1].LimitAt(1) != 64 {
		t.Fatalf("%+v", all)
	}
	var names []string
	for _, f := range all[0].Data.Fields() {
		names = append(names, f.Name+" "+f.Unit)
	}
	if want := []string{"enq_qdepth1 packets", "deq_timedelta1 us", "lbo_s s"}; !slices.Equal(names, want) {
		t.Errorf("fields %q, want %q", names, want)
	}
	if v, ok := all[0].Data.At(1, 1); ok || v != 100 {
		t.Errorf("what was not measured is %v, %v", v, ok)
	}
	if v, ok := all[0].Data.At(2, 0); !ok || v != 3 {
		t.Errorf("depth %v, %v", v, ok)
	}
}

// Open finds a table by its name and in its folder, and leaves other folders to
// telemetry.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "recording.parquet")
	if err := os.WriteFile(path, table(t, good()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, dir} {
		if all, err := sessions.Open(name); err != nil || len(all) != 2 {
			t.Errorf("%s: %d recordings, %v", name, len(all), err)
		}
	}
	grid := t.TempDir()
	if err := all(t)[0].Data.WriteCSV(filepath.Join(grid, "grid_32.csv")); err != nil {
		t.Fatal(err)
	}
	if got, err := sessions.Open(grid); err != nil || len(got) != 1 || got[0].Limit != 32 {
		t.Errorf("%+v %v", got, err)
	}
}

func all(t *testing.T) []telemetry.Recording {
	t.Helper()
	got, err := sessions.Decode(table(t, good()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDecodeErrorsNameTheRow(t *testing.T) {
	change := func(i int, do func(*second)) []byte {
		rows := good()
		do(&rows[i])
		return table(t, rows)
	}
	for want, b := range map[string][]byte{
		"row 3: t: 5, expected second 2 of session 0":      change(2, func(r *second) { r.T = 5 }),
		"row 4: limit1: 0":                                 change(3, func(r *second) { r.Limit1, r.Limit2 = 0, 0 }),
		"row 5: session: 0 follows 1":                      change(4, func(r *second) { r.Session = 0 }),
		"no sessions are recorded":                         table(t, nil),
		"no Parquet file":                                  []byte("session,t\n"),
		`column "other" is none that is measured`:          other(t),
		"expected columns session, t, limit1 and what was": bare(t),
	} {
		if _, err := sessions.Decode(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if _, err := sessions.ReadFile(filepath.Join(t.TempDir(), "none.parquet")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// Where switches have limits of their own in a second, the session has them in all.
func TestDecodePerSwitch(t *testing.T) {
	rows := good()
	rows[1].Limit2 = 16
	all, err := sessions.Decode(table(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	r := all[0]
	if r.Switches() != 2 || r.Limits != nil || r.LimitAt(1) != int(rows[1].Limit1) {
		t.Fatalf("%+v", r)
	}
	got := make([]int32, 2)
	for i, want := range [][]int32{{rows[0].Limit1, rows[0].Limit2}, {rows[1].Limit1, 16}} {
		if r.LimitsAt(i, got); !slices.Equal(got, want) {
			t.Errorf("second %d: limits %v, want %v", i, got, want)
		}
	}
	if all[1].Switches() != 1 || all[1].PerSwitch != nil {
		t.Errorf("%+v", all[1])
	}
}

func other(t *testing.T) []byte {
	var b bytes.Buffer
	if err := parquet.Write(&b, []struct {
		Session int32 `parquet:"session"`
		Other   int32 `parquet:"other"`
	}{{1, 2}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bare(t *testing.T) []byte {
	var b bytes.Buffer
	if err := parquet.Write(&b, []struct {
		Session int32 `parquet:"session"`
		T       int32 `parquet:"t"`
	}{{1, 0}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzDecode(f *testing.F) {
	f.Add(table(f, good()))
	f.Add([]byte("PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		all, err := sessions.Decode(b)
		if err == nil && len(all) == 0 {
			t.Error("neither recordings nor an error")
		}
	})
}
