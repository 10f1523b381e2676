package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/drivertest"
	"github.com/planegym/planegym/telemetry"
)

// TestCommandsOnGPU trains, resumes, sweeps and samples on an interpreted GPU:
// an interrupted run gives the bytes of a whole one, models of a sweep train
// beside each other, and nothing stays open.
func TestCommandsOnGPU(t *testing.T) {
	if testing.Short() {
		t.Skip("long, interpreted")
	}
	var mu sync.Mutex
	var used []*drivertest.Driver
	ctx := driver.With(context.Background(), func() driver.Driver {
		d := &drivertest.Driver{Device: driver.Info{Major: 9, SMs: 2}}
		mu.Lock()
		defer mu.Unlock()
		used = append(used, d)
		return d
	})
	columns := slices.Clone(selection.Columns[:])
	for i, c := range columns {
		if f, _ := telemetry.Canonical(c); f.Name == "calc_cum" {
			columns[i] = "calc_rate" // a recording has it, the table its sum
		}
	}
	dir, data := t.TempDir(), folderOf(t, columns...)
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := Main(ctx, args, nil, &out, &out); code != 0 {
			t.Fatalf("%v: exit %d\n%s", args, code, out.String())
		}
		for _, d := range used {
			d.Check(t)
		}
		used = nil
		return out.String()
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	tiny := []string{"--data", data, "--device", "cuda"}
	for _, s := range []string{"window=4", "hidden=3", "layers=1", "noise=1", "batch=3", "embed=3", "super=2", "joint=2"} {
		tiny = append(tiny, "--set", s)
	}
	if out := run(append([]string{"fit", "--mode", "timegan", "-o", in("a.safetensors")}, tiny...)...); !strings.Contains(out, "7 updates on cuda-sm90-12.4") {
		t.Error(out)
	}
	run(append([]string{"fit", "--mode", "timegan", "-o", in("b.safetensors"), "--every", "1"}, tiny...)...)
	a, err := os.ReadFile(in("a.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(in("b.safetensors")); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same run with checkpoints gives other bytes, %v", err)
	}
	run("sample", in("a.safetensors"), "--seconds", "3", "--rollouts", "2", "--device", "cuda:0", "-o", in("samples"))
	grid := append([]string{"sweep", "-o", in("sweep")}, tiny[:4]...)
	for _, s := range tiny[4:] {
		if s != "--set" {
			s = "base." + s
		}
		grid = append(grid, s)
	}
	out := run(append(grid, "--set", "seeds=[1,2]", "--set", "rollouts=1")...)
	if strings.Count(out, "done") != 2 {
		t.Error(out)
	}
}
