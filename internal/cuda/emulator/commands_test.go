package emulator_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/cli"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
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
	dir, data := t.TempDir(), recordings(t)
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := cli.Main(ctx, args, nil, &out, &out); code != 0 {
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
	loop := []string{"fit", "--data", data, "--device", "cuda"} // the default mode
	for _, s := range []string{"window=5", "hidden=4", "updates=4", "batch=3", "bins=4", "regimes=2"} {
		loop = append(loop, "--set", s)
	}
	if out := run(append(loop, "-o", in("loop.safetensors"))...); !strings.Contains(out, "4 updates on cuda-sm90-12.4/") {
		t.Error(out)
	}
	run(append(loop, "-o", in("again.safetensors"), "--every", "1")...)
	if a, err = os.ReadFile(in("loop.safetensors")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(in("again.safetensors")); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same closed loop with checkpoints gives other bytes, %v", err)
	}
	run("sample", in("loop.safetensors"), "--seconds", "3", "--rollouts", "2", "--device", "cuda:0", "-o", in("loops"))
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

// recordings writes 400 s under each of two limits, with the columns that
// models are chosen by.
func recordings(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var fields []telemetry.Field
	for _, name := range selection.Columns {
		f, _ := telemetry.Canonical(name)
		if f.Name == "calc_cum" { // a recording has the rate, the table its sum
			f, _ = telemetry.Canonical("calc_rate")
		}
		fields = append(fields, f)
	}
	for _, limit := range []int{32, 64} {
		var values []float32
		for s := range 400 {
			for i, f := range fields {
				wave := float32((s*(i+3) + limit) % 31)
				values = append(values, map[string]float32{"fps": 24, "width": 854, "height": 480, "rep_kbps": 1867}[f.Name])
				if v := &values[len(values)-1]; *v == 0 {
					*v = 1 + wave
				}
			}
		}
		d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, slices.Repeat([]bool{true}, len(values)))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.WriteCSV(filepath.Join(dir, fmt.Sprintf("grid_%d.csv", limit))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
