package agent

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/planegym/planegym/compute"
)

var update = flag.Bool("update", false, "rewrite golden files")

// exported are the policies whose models are golden files.
func exported(t *testing.T) map[string]*DDQN {
	all := map[string]*DDQN{
		"plain":     testAgent(t, testConfig(t, nil), testSpaces(3, 2), compute.Go),
		"branching": testAgent(t, testConfig(t, func(c *Config) { c.Hidden, c.Dueling = []int{5, 4}, true }), testSpaces(2, 2, 3), compute.Go),
	}
	for _, d := range all {
		d.fit([]float32{1, 2, 3, 3, 2, 5, 1, -1, 7, 0, 0, 1})
	}
	return all
}

func TestONNXGolden(t *testing.T) {
	for name, d := range exported(t) {
		path, golden := filepath.Join(t.TempDir(), "m.onnx"), filepath.Join("testdata", name+".onnx")
		if err := d.ExportONNX(path); err != nil {
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
func TestONNXRuntimeAgrees(t *testing.T) {
	interpreter := python(t, "onnxruntime")
	for name, d := range exported(t) {
		r := filled(d, 200)
		var obs [][]float32
		for i := range 200 {
			obs = append(obs, r.obs[i*d.dim:(i+1)*d.dim])
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
			Spaces  Spaces
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Spaces, d.Spaces) {
			t.Errorf("%s: spaces %+v", name, got.Spaces)
		}
		p := d.newPass(d.online, 200)
		q := d.values(&p, r.obs)
		actions := make([]int32, 200*d.s)
		d.Act(nil, r.obs, actions)
		for i := range 200 {
			for j, x := range got.Q[i] {
				if want := q[i*d.total+j]; math.Abs(float64(x-want)) > 1e-5*max(1, math.Abs(float64(want))) {
					t.Fatalf("%s: row %d: q %v, want %v", name, i, got.Q[i], q[i*d.total:(i+1)*d.total])
				}
			}
			for s, a := range got.Actions[i] {
				if a != actions[i*d.s+s] {
					t.Errorf("%s: row %d: actions %v, want %v", name, i, got.Actions[i], actions[i*d.s:(i+1)*d.s])
				}
			}
		}
	}
}
