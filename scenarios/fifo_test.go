//go:build unix

package scenarios_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/planegym/planegym/scenarios"
)

// TestOnlyRegularFilesAreRead: a pipe, which never ends, and a folder are
// refused at once, by name.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pipe.toml", "pipe.safetensors"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skip("no pipes here:", err)
		}
	}
	for _, name := range []string{"dir.toml", "dir.safetensors"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"pipe", "dir"} {
		path := filepath.Join(dir, name)
		if _, err := scenarios.Load(path + ".toml"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("scenario %s: %v", name, err)
		}
		if _, err := scenarios.OpenModel(path + ".safetensors"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("model %s: %v", name, err)
		}
	}
	long := filepath.Join(dir, "long.toml")
	if err := os.WriteFile(long, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(long, 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := scenarios.Load(long); err == nil || !strings.Contains(err.Error(), "the most is") {
		t.Errorf("a long scenario: %v", err)
	}
}
