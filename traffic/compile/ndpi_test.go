package compile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic/flows"
)

// ndpi is nDPI's small test captures by name.
func ndpi(t testing.TB) map[string][]byte {
	t.Helper()
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no captures of nDPI")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "ndpi_small.tar.gz"))
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
		if strings.Contains(h.Name, "pcap") && !strings.HasSuffix(h.Name, ".out") {
			if files[filepath.Base(h.Name)], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// sorted is a map's entries by name.
func sorted(files map[string][]byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if !yield(name, files[name]) {
				return
			}
		}
	}
}

// A capture that is read, compiled and read again has the same actions, where
// the compiler changed none. Those that it changed are named with the reason.
func TestNDPIRoundTrip(t *testing.T) {
	files := ndpi(t)
	same, changed, refused, apart := 0, 0, 0, 0
	var total Report
	total.Why = map[string]int{}
	var counts flows.Counts
	for name, capture := range sorted(files) {
		// Many are several captures, of different years, in one file. By default
		// they are refused; their actions are as good as others'.
		if _, _, err := flows.Read(bytes.NewReader(capture), name, flows.Options{}); errors.Is(err, flows.ErrSpan) {
			apart++
		}
		s, c, err := flows.Read(bytes.NewReader(capture), name, flows.Options{Span: math.MaxInt64})
		if err != nil {
			refused++
			t.Logf("refused: %v", err)
			continue
		}
		counts.Add(c)
		b, r := compiled(t, s, Options{})
		total.Actions += r.Actions
		total.Changed += r.Changed
		for k, n := range r.Why {
			total.Why[k] += n
		}
		if r.Changed > 0 {
			changed++
			t.Logf("%s: %d of %d actions changed: %v", name, r.Changed, r.Actions, r.Why)
			continue
		}
		same++
		if err := sameActions(s, again(t, b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("%d captures give the same actions again, of %d actions in all were changed %d in %d captures: %v; refused: %d; refused by default, their times lying more than a day apart: %d", same, total.Actions, total.Changed, changed, total.Why, refused, apart)
	t.Logf("%d packets, %d actions; left out: %v; details lost: %v; bad checksums: %d", counts.Packets, counts.Actions, counts.Left, counts.Lost, counts.Bad)
	if same < 417 {
		t.Errorf("%d captures of %d are expressible, 417 expected", same, len(files))
	}
}
