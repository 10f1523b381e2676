package nn

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
)

// The assembly is what its generator writes.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	dir := t.TempDir()
	names := []string{"kernels_amd64.s", "kernels_asm_amd64.go"}
	cmd := exec.Command("go", "run", ".", "-out", filepath.Join(dir, names[0]), "-stubs", filepath.Join(dir, names[1]), "-pkg", "nn")
	cmd.Dir = "asm"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ = bytes.Cut(got, []byte("\n")) // the first line names the files
		_, want, _ = bytes.Cut(want, []byte("\n"))
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: go generate", name)
		}
	}
}

// Moments that decay below what float32 has in full become 0: they would slow
// every later update down.
func TestFlushDenormals(t *testing.T) {
	for _, k := range fast()[1:] {
		a := NewAdam(32, 1e-3)
		for i := range a.M {
			a.M[i], a.V[i] = 1e-39, 1e-39
		}
		p := draw(1, 32, 1)
		want := slices.Clone(p)
		a.Step(compute.NewBackend(k, 1), p, make([]float32, 32))
		if slices.Max(a.M) != 0 || slices.Max(a.V) != 0 || !slices.Equal(p, want) {
			t.Errorf("%v: moments %v, %v and a change of parameters", k, a.M[0], a.V[0])
		}
	}
	if x := float32(1e-39); x*.5 == 0 {
		t.Error("Go's own arithmetic flushes too")
	}
}
