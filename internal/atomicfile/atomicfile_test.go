package atomicfile_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/planegym/planegym/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			fmt.Fprint(w, s)
			return err
		}
	}
	late := errors.New("late")
	for _, c := range []struct {
		write func(io.Writer) error
		err   error
		want  string
	}{{text("first", nil), nil, "first"}, {text("sec", late), late, "first"}, {text("second", nil), nil, "second"}} {
		if err := atomicfile.Write(path, c.write); !errors.Is(err, c.err) {
			t.Errorf("%v, want %v", err, c.err)
		}
		got, err := os.ReadFile(path)
		entries, _ := os.ReadDir(dir)
		if err != nil || string(got) != c.want || len(entries) != 1 {
			t.Errorf("%q, %v, %v; want %q alone", got, err, entries, c.want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o644 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Where no file can be, the error comes before the work, and names the path.
	for at, want := range map[string]error{filepath.Join(dir, "no", "file"): os.ErrNotExist, dir: syscall.EISDIR} {
		err := atomicfile.Write(at, func(io.Writer) error { t.Errorf("%s is written to", at); return nil })
		if named := (*fs.PathError)(nil); !errors.Is(err, want) || !errors.As(err, &named) || named.Path != at {
			t.Errorf("%s: %v", at, err)
		}
	}
}
