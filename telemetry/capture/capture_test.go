package capture_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/capture"
	"github.com/planegym/planegym/telemetry/intreport"
)

var start = time.Unix(1704067200, 0)

// emulate is the log of ten seconds of the emulated testbed.
func emulate() (*testbed.Log, error) {
	warmup := 0
	plant, err := testbed.New(testbed.Config{WarmupS: &warmup})
	if err != nil {
		return nil, err
	}
	l := plant.Keep(0)
	var w telemetry.Window
	w.Size(1, 10, len(plant.Columns()))
	return l, plant.Reset(context.Background(), []int{0}, []uint64{7}, []p4.Limit{32, 32, 64}, &w)
}

// write writes the log's probes as a capture.
func write(dir string, l *testbed.Log) (string, error) {
	var b bytes.Buffer
	if err := l.WritePcap(&b, start); err != nil {
		return "", err
	}
	name := filepath.Join(dir, "probes.pcap")
	return name, os.WriteFile(name, b.Bytes(), 0o600)
}

// Summarise the probes of ten emulated seconds.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	l, err := emulate()
	if err != nil {
		panic(err)
	}
	name, err := write(dir, l)
	if err != nil {
		panic(err)
	}
	f, err := capture.Open(name, intreport.Config{Tick: time.Microsecond})
	if err != nil {
		panic(err)
	}
	ids, once := f.Switches()
	fmt.Println("switches", ids, "seen once", once, "warnings", f.Warnings())
	// Output:
	// switches [1 2 3] seen once [] warnings []
}

// The log of a capture is the log that the testbed wrote of the same probes.
func TestLogIsTheTestbeds(t *testing.T) {
	l, err := emulate()
	if err != nil {
		t.Fatal(err)
	}
	name, err := write(t.TempDir(), l)
	if err != nil {
		t.Fatal(err)
	}
	f, err := capture.Open(name, intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var got, want bytes.Buffer
	notes, err := f.WriteLog(&got, []uint32{1, 2, 3})
	if err != nil {
		t.Fatal(notes, err)
	}
	if err := l.WriteINT(&want, start); err != nil {
		t.Fatal(err)
	}
	a, b := columns(t, got.String()), columns(t, want.String())
	if len(a["enq_qdepth1"]) != len(l.Probes) {
		t.Errorf("%d lines of %d probes", len(a["enq_qdepth1"]), len(l.Probes))
	}
	for _, c := range []string{"enq_qdepth1", "deq_timedelta2", "deq_qdepth3"} {
		if !reflect.DeepEqual(a[c], b[c]) {
			t.Errorf("%s: %v, want %v", c, a[c], b[c])
		}
	}
	if notes, err := f.WriteLog(&got, []uint32{9}); err == nil || !strings.Contains(err.Error(), "says anything of a queue") {
		t.Errorf("switch 9 is in none: %v %v", notes, err)
	}
}

// columns reads CSV by name.
func columns(t *testing.T, text string) map[string][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for k, name := range rows[0] {
		for _, r := range rows[1:] {
			out[strings.TrimSpace(name)] = append(out[strings.TrimSpace(name)], r[k])
		}
	}
	return out
}

// A summary counts each report once; a file that was cut is read up to there.
func TestSummary(t *testing.T) {
	l, err := emulate()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name, err := write(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, whole[:len(whole)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := capture.Open(name, intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Summarise([]uint32{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(len(l.Probes) - 1)
	if j := s.JSON(); fmt.Sprint(j["reports"]) != fmt.Sprint(n) || fmt.Sprint(j["foreign"]) != "0" {
		t.Errorf("%v, want %d reports", j, n)
	}
	var b strings.Builder
	if err := s.WriteText(&b); err != nil || !strings.Contains(b.String(), fmt.Sprintf("%d reports in ", n)) || !strings.Contains(b.String(), fmt.Sprintf("  switch 3: %d hops\n", n)) {
		t.Errorf("%v\n%s", err, b.String())
	}
	if w := f.Warnings(); len(w) == 0 || !strings.Contains(strings.Join(w, "\n"), "cut") {
		t.Errorf("a cut file is not warned of: %q", w)
	}
	if err := os.WriteFile(name, whole[:24], 0o600); err != nil { // a header alone
		t.Fatal(err)
	}
	if _, err := capture.Open(name, intreport.Config{Port: 9555}); err == nil || !strings.Contains(err.Error(), "none of 0 packets") {
		t.Error(err)
	}
}
