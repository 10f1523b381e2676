package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/cli"
	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
)

// TestDoctorGPU has doctor find an interpreted GPU: what it says, and that
// nothing stays open, whatever fails.
func TestDoctorGPU(t *testing.T) {
	var used []*drivertest.Driver
	run := func(failAt int, args ...string) (string, int) {
		used = nil
		ctx := driver.With(context.Background(), func() driver.Driver {
			d := &drivertest.Driver{Device: driver.Info{Name: "GPU of the test", Major: 9, SMs: 132, Memory: 80 << 30}}
			if len(used) == 1 { // the one that is opened
				d.FailAt(failAt)
			}
			used = append(used, d)
			return d
		})
		var out bytes.Buffer
		code := cli.Main(ctx, args, nil, &out, &out)
		for _, d := range used {
			d.Check(t)
		}
		return out.String(), code
	}
	out, code := run(0, "doctor")
	for _, want := range []string{"cuda:0: GPU of the test, sm_90, 132 multiprocessors, 81920 MiB", "driver for CUDA 12.4", "it compiled the kernels and computes", "forward "} {
		if !strings.Contains(out, want) || code != 0 {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	out, _ = run(0, "doctor", "--json")
	var m struct {
		GPUs   []cuda.Report `json:"gpus"`
		GPUErr string        `json:"gpu_error"`
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil || len(m.GPUs) != 1 || m.GPUs[0].SMs != 132 || len(m.GPUs[0].Kernels) == 0 || m.GPUErr != "" {
		t.Errorf("%v in\n%s", err, out)
	}
	calls := used[1].Calls()
	if calls < 30 {
		t.Errorf("doctor made %d calls", calls)
	}
	for n := 1; n <= calls; n++ {
		out, code := run(n, "doctor")
		if name := used[1].Failed(); code != 0 || name == "" || !strings.Contains(out, name) {
			t.Errorf("call %d, %s, failing: exit %d\n%s", n, name, code, out)
		}
	}
}
