package kernels

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPTXIsCurrent makes the PTX again, as go generate does, and compares.
func TestPTXIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("clang++-19"); err != nil {
		t.Skipf("clang++-19 is not here: %v", err)
	}
	src, err := os.ReadFile("kernels.go")
	if err != nil {
		t.Fatal(err)
	}
	_, command, ok := strings.Cut(string(src), "//go:generate ")
	if !ok {
		t.Fatal("kernels.go generates nothing")
	}
	command, _, _ = strings.Cut(command, "\n")
	args := strings.Fields(command)
	out := filepath.Join(t.TempDir(), "kernels.ptx")
	args[len(args)-1] = out
	if b, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, PTX) {
		t.Error("kernels.ptx is not what clang makes of kernels.cu: run go generate ./internal/cuda/kernels")
	}
}
