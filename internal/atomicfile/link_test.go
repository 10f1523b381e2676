package atomicfile_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/internal/atomicfile"
)

// TestLinks: a symbolic link keeps leading to the file that is written, one of
// links to links and one to a file that does not exist yet too.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(in("store"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"one": "store/file", "two": "one", "far": in("store/other"), "self": "self"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	for k, c := range []struct{ name, file string }{{"one", "store/file"}, {"two", "store/file"}, {"far", "store/other"}} {
		text := fmt.Sprint("text ", k)
		err := atomicfile.Write(in(c.name), func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(in(c.file))
		if info, err2 := os.Lstat(in(c.name)); err != nil || err2 != nil || string(got) != text || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("%s: %q %v, %v", c.name, got, err, err2)
		}
	}
	if err := atomicfile.Write(in("self"), func(io.Writer) error { return nil }); err == nil {
		t.Error("a link to itself was written to")
	}
}
