package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval/selection"
)

// A copy of the real recording is at no distance, and what lies beyond the noise floor
// is marked.
func TestRecordings(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, shift float64) string {
		var b strings.Builder
		fmt.Fprintln(&b, "Buffer,other")
		for i := range 300 {
			fmt.Fprintf(&b, "%.3f,%d\n", 10*math.Sin(float64(i)/9)+shift, i%7)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	calls := 0
	sets := []File{{"copy", write("copy.csv", 0)}, {"far", write("far.csv", 40)}}
	sections, got, err := Recordings(write("real.csv", 0), sets, selection.Options{}, func() error { calls++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if calls != 2 || len(got) != 3 || got[0].Floor == nil || got[1].Score.Mean.W1 != 0 || !(got[2].Score.Mean.W1 > 1) {
		t.Fatalf("%d calls, %+v", calls, got)
	}
	rows := sections[0].Tables[0].Rows
	if sections[0].Title != "Metrics" || len(rows) != 5 || strings.Contains(strings.Join(rows[0], " "), "▲") || !strings.Contains(rows[1][2], "▲") {
		t.Errorf("%q", rows)
	}
	sets[1].Path = filepath.Join(dir, "none.csv")
	if _, _, err := Recordings(sets[0].Path, sets, selection.Options{}, func() error { return nil }); err == nil {
		t.Error("a file that is not there")
	}
}

// What is neither a folder of train nor recorded episodes is an error that names it.
func TestFilesThatAreNot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.parquet")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(dir, "none")} {
		if _, err := AgentFiles([]File{{"a", path}}, func() error { return nil }); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := ComparisonFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
