package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneProcessWritesAnOutput(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "m.safetensors")
	release, err := lockOutput("--output", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockOutput("--output", path); err == nil || !strings.Contains(err.Error(), "another process is writing "+path) {
		t.Fatalf("a second writer: %v", err)
	}
	if other, err := lockOutput("--output", filepath.Join(dir, "new", "other.safetensors")); err != nil {
		t.Fatal(err)
	} else {
		other()
	}
	release()
	for _, name := range []string{".m.safetensors123", ".m.safetensors.keep", "m.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, "new", name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if release, err = lockOutput("--output", path); err != nil {
		t.Fatal(err)
	}
	release()
	entries, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != ".m.safetensors.keep m.safetensors" {
		t.Errorf("left: %s", got)
	}
}
