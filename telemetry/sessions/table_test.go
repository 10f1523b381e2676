package sessions_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
)

// write is rows of any type as a Parquet table.
func write[T any](t *testing.T, rows ...T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A table needs each of session, t, a limit and something measured, in any
// order, and names what it cannot take.
func TestColumns(t *testing.T) {
	const missing = "no recorded sessions: expected columns session, t, limit1 and what was measured"
	for want, b := range map[string][]byte{
		missing: write(t, struct {
			T      int32   `parquet:"t"`
			Limit1 int32   `parquet:"limit1"`
			LBO    float32 `parquet:"lbo_s"`
		}{}),
		missing + " ": write(t, struct {
			Session int32   `parquet:"session"`
			Limit1  int32   `parquet:"limit1"`
			LBO     float32 `parquet:"lbo_s"`
		}{}),
		missing + "  ": write(t, struct {
			Session int32   `parquet:"session"`
			T       int32   `parquet:"t"`
			LBO     float32 `parquet:"lbo_s"`
		}{}),
		missing + "   ": write(t, struct {
			Session int32 `parquet:"session"`
			T       int32 `parquet:"t"`
			Limit1  int32 `parquet:"limit1"`
		}{}),
		`column "t" holds INT64, expected INT32`: write(t, struct {
			Session int32   `parquet:"session"`
			T       int64   `parquet:"t"`
			Limit1  int32   `parquet:"limit1"`
			LBO     float32 `parquet:"lbo_s"`
		}{}),
		`column "lbo_s" holds DOUBLE, expected FLOAT`: write(t, struct {
			Session int32   `parquet:"session"`
			T       int32   `parquet:"t"`
			Limit1  int32   `parquet:"limit1"`
			LBO     float64 `parquet:"lbo_s"`
		}{}),
		`column "calc_cum" is none that is measured`: write(t, struct {
			Session int32   `parquet:"session"`
			T       int32   `parquet:"t"`
			Limit1  int32   `parquet:"limit1"`
			Cum     float32 `parquet:"calc_cum"`
		}{}),
	} {
		if _, err := sessions.Decode(b); err == nil || err.Error() != strings.TrimSpace(want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	type backwards struct {
		LBO    float32 `parquet:"lbo_s"`
		Limit  int32   `parquet:"limit1"`
		T      int32   `parquet:"t"`
		Sessio int32   `parquet:"session"`
	}
	type tFirst struct {
		T      int32   `parquet:"t"`
		Sessio int32   `parquet:"session"`
		Limit  int32   `parquet:"limit1"`
		LBO    float32 `parquet:"lbo_s"`
	}
	for name, b := range map[string][]byte{
		"backwards": write(t, backwards{3, 1, 0, 5}, backwards{4, 1, 1, 5}),
		"t first":   write(t, tFirst{0, 5, 1, 3}, tFirst{1, 5, 1, 4}),
	} {
		all, err := sessions.Decode(b)
		if err != nil || len(all) != 1 || all[0].Limit != 1 || all[0].Limits != nil || all[0].Data.Len() != 2 {
			t.Fatalf("%s: %+v, %v", name, all, err)
		}
		if v, ok := all[0].Data.At(1, 0); v != 4 || !ok {
			t.Errorf("%s: %v, %v", name, v, ok)
		}
		if at := all[0].Data.Start(); !at.Equal(time.Unix(0, 0)) {
			t.Errorf("%s: it began at %v", name, at)
		}
	}
}

// Sessions of one second, a constant limit beside limits by switch, and rows
// beyond one read of the decoder.
func TestSessionsApart(t *testing.T) {
	rows := []second{
		{0, 1, 0, 8, 8, f(1), f(1), f(1)},
		{1, 1, 0, 64, 64, f(1), f(1), f(1)}, {1, 1, 1, 64, 16, f(1), f(1), f(1)}, {1, 1, 2, 32, 32, f(1), f(1), f(1)},
		{2, 1, 0, 16, 16, f(1), f(1), f(1)}, {2, 1, 1, 16, 16, f(1), f(1), f(1)},
	}
	for i := range int32(600) {
		rows = append(rows, second{3, 1, i, 1 + i, 1 + i, f(float32(i)), f(1), f(1)})
	}
	all, err := sessions.Decode(table(t, rows))
	if err != nil || len(all) != 4 {
		t.Fatalf("%d recordings, %v", len(all), err)
	}
	var got []string
	for _, r := range all[:3] {
		got = append(got, fmt.Sprint(r.Limit, r.Limits, r.PerSwitch, r.Data.Len()))
	}
	if want := []string{"8 [] [] 1", "0 [] [64 64 64 16 32 32] 3", "16 [] [] 2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	last := all[3]
	if len(last.Limits) != 600 || last.Data.Len() != 600 {
		t.Fatalf("%d limits of %d seconds", len(last.Limits), last.Data.Len())
	}
	c := last.Data.Column("lbo_s")
	for i := range 600 {
		if v, ok := last.Data.At(i, c); last.LimitAt(i) != 1+i || v != float32(i) || !ok {
			t.Fatalf("second %d: limit %d, %v, %v", i, last.LimitAt(i), v, ok)
		}
	}
}

// A value that cannot be a measurement is a gap, counted in its own session,
// with its row in the file.
func TestRefusedValues(t *testing.T) {
	rows := good()
	rows[1].Wait, rows[1].LBO = f(-5), f(1e9)
	rows[4].LBO = f(-1)
	all, err := sessions.Decode(table(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"deq_timedelta1 2 1 of 3", "lbo_s 2 1 of 3"}, {"lbo_s 5 1 of 2"}} {
		var got []string
		for _, r := range all[i].Data.Reading().Refused {
			got = append(got, fmt.Sprintf("%s %d %d of %d", r.Column, r.First.Line, r.Count, r.Of))
		}
		if !slices.Equal(got, want) {
			t.Errorf("session %d: refused %q, want %q", i, got, want)
		}
	}
	if v, ok := all[0].Data.At(1, all[0].Data.Column("lbo_s")); v != 10 || ok {
		t.Errorf("a refused value is %v, %v", v, ok)
	}
}

// No damage of a byte is more than an error, and none costs memory: the
// footer's length is its own word, of up to 4 GB.
func TestDamage(t *testing.T) {
	b := table(t, good())
	panics := 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0xff
		all, err := sessions.Decode(bad)
		if err == nil && len(all) == 0 || err != nil && all != nil {
			t.Fatalf("byte %d: %d recordings, %v", i, len(all), err)
		}
		if err != nil && strings.Contains(err.Error(), "damaged Parquet file: ") {
			panics++
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<30 {
		t.Errorf("%d MB were allocated for %d files of %d bytes", (after.TotalAlloc-before.TotalAlloc)>>20, len(b), len(b))
	}
	if panics == 0 {
		t.Error("none of the damages makes parquet-go panic: is the recover still needed?")
	}
	if _, err := sessions.Open(t.TempDir()); err == nil {
		t.Error("an empty folder was read")
	}
	var none []telemetry.Recording
	if all, err := sessions.ReadFile(t.TempDir()); err == nil || !slices.EqualFunc(all, none, func(a, b telemetry.Recording) bool { return false }) {
		t.Errorf("a folder was read as a file: %v", all)
	}
}
