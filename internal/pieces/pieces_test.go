package pieces_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/pieces"
)

func TestDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	f := pieces.Folder(dir)
	broken := errors.New("broken")
	if _, err := pieces.Do(f, "a 1", func() (map[string]float64, error) { return nil, broken }); !errors.Is(err, broken) || !strings.Contains(err.Error(), "a 1") {
		t.Errorf("error %v", err)
	}
	computed := 0
	for range 2 {
		got, err := pieces.Do(f, "a 1", func() (map[string]float64, error) { computed++; return map[string]float64{"x": 1.25}, nil })
		if err != nil || got["x"] != 1.25 {
			t.Fatal(got, err)
		}
	}
	if computed != 1 {
		t.Errorf("computed %d times, a failure is not kept and a result is", computed)
	}
	if _, ok, err := pieces.Get[int](f, "b"); ok || err != nil {
		t.Error(ok, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.json"), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pieces.Get[int](f, "b"); err == nil || !strings.Contains(err.Error(), "b.json") {
		t.Errorf("error %v names no file", err)
	}
	// What is not wanted is read, where it is there.
	two := func() (int, error) { return 2, nil }
	for i, want := range []struct {
		wanted bool
		x      int
		ok     bool
	}{{false, 0, false}, {true, 2, true}, {false, 2, true}} {
		if x, ok, err := pieces.DoIf(f, "d", want.wanted, two); x != want.x || ok != want.ok || err != nil {
			t.Error(i, x, ok, err)
		}
	}
	// Without a folder every piece is computed.
	for range 2 {
		if _, err := pieces.Do(pieces.Folder(""), "c", func() (int, error) { computed++; return 0, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if computed != 3 {
		t.Error(computed)
	}
}
