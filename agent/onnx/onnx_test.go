package onnx_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/onnx"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

var update = flag.Bool("update", false, "rewrite golden files")

// exported are the policies whose models are golden files.
func exported(t *testing.T) map[string]*agent.DDQN {
	t.Helper()
	open := func(dim int, actions env.MultiDiscrete, edit func(*agent.Config)) *agent.DDQN {
		c, err := agent.Preset("default")
		if err != nil {
			t.Fatal(err)
		}
		c.Hidden, c.Batch, c.Replay, c.Minimum, c.Normalise, c.NStep, c.FinalRate = []int{16}, 8, 500, 20, "none", 1, 0
		edit(&c)
		s := agent.Spaces{Actions: actions}
		for i := range dim {
			s.Elements = append(s.Elements, telemetry.Field{Name: fmt.Sprint("x", i)})
		}
		d, err := agent.NewDDQN(c, s, 1, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		d.FitNormalisation([]float32{1, 2, 3, 3, 2, 5, 1, -1, 7, 0, 0, 1})
		return d
	}
	return map[string]*agent.DDQN{
		"plain":     open(3, env.MultiDiscrete{2}, func(*agent.Config) {}),
		"branching": open(2, env.MultiDiscrete{2, 3}, func(c *agent.Config) { c.Hidden, c.Dueling = []int{5, 4}, true }),
	}
}

func TestGolden(t *testing.T) {
	for name, d := range exported(t) {
		path, golden := filepath.Join(t.TempDir(), "m.onnx"), filepath.Join("testdata", name+".onnx")
		if err := onnx.Export(d, path); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s (%v); if that is meant, run the tests with -update and PLANEGYM_PYTHON", name, golden, err)
		}
	}
}

// python is an interpreter that has module; without one the test is skipped.
func python(t *testing.T, module string) string {
	t.Helper()
	p := os.Getenv("PLANEGYM_PYTHON")
	if p == "" || exec.Command(p, "-c", "import "+module).Run() != nil {
		t.Skip("PLANEGYM_PYTHON names no interpreter with " + module)
	}
	return p
}

// onnxruntime computes what we do from the golden files.
func TestRuntimeAgrees(t *testing.T) {
	interpreter := python(t, "onnxruntime")
	for name, d := range exported(t) {
		dim := len(d.Spaces.Elements)
		var obs [][]float32
		var flat []float32
		for i := range 200 {
			k := rng.Key{Seed: 3, A: uint32(i), Purpose: rng.Start}
			for j := range dim {
				a, _ := k.Normal(uint32(j))
				flat = append(flat, float32(a))
			}
			obs = append(obs, flat[i*dim:(i+1)*dim:(i+1)*dim])
		}
		in, err := json.Marshal(obs)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(interpreter, "testdata/onnx.py", filepath.Join("testdata", name+".onnx"))
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Q       [][]float32
			Actions [][]int32
			Spaces  agent.Spaces
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Spaces, d.Spaces) {
			t.Errorf("%s: spaces %+v", name, got.Spaces)
		}
		q := d.Values(flat)
		total, s := len(q)/200, len(d.Spaces.Actions)
		actions := make([]int32, 200*s)
		d.Act(nil, flat, actions)
		for i := range 200 {
			for j, x := range got.Q[i] {
				if want := q[i*total+j]; math.Abs(float64(x-want)) > 1e-5*max(1, math.Abs(float64(want))) {
					t.Fatalf("%s: row %d: q %v, want %v", name, i, got.Q[i], q[i*total:(i+1)*total])
				}
			}
			for n, a := range got.Actions[i] {
				if a != actions[i*s+n] {
					t.Errorf("%s: row %d: actions %v, want %v", name, i, got.Actions[i], actions[i*s:(i+1)*s])
				}
			}
		}
	}
}
