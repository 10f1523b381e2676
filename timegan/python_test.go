package timegan_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/timegan"
)

// Python's safetensors opens a checkpoint and finds our numbers.
func TestPythonReadsCheckpoint(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	if out, err := exec.Command(python, "-c", "import safetensors.numpy").CombinedOutput(); err != nil {
		t.Skipf("python3 has no safetensors with numpy: %s", lastLine(out))
	}
	c := tiny()
	c.Embed, c.Super, c.Joint = 1, 1, 1
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := fit(t, c, timegan.FitOptions{Path: path})
	const script = `
import json, sys, safetensors
with safetensors.safe_open(sys.argv[1], "numpy") as f:
    meta = f.metadata()
    model = json.loads(meta["model"])
    print(meta["format"], model["config"]["hidden"], model["codec"]["columns"][0]["name"], len(list(f.keys())))
    for name in sys.argv[2:]:
        x = f.get_tensor(name)
        print(name, x.dtype, *x.shape, "%.9g" % x.ravel()[-1])
`
	names := []string{"embedder.weight_ih_l0", "discriminator.head.bias", "state.supervisor.v"}
	out, err := exec.Command(python, append([]string{"-c", script, path}, names...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := fmt.Sprintf("%s 6 enq_qdepth1 %d\n", timegan.Format, len(m.Params)+len(m.State))
	for _, name := range names {
		for _, x := range append(m.Params, m.State...) {
			if x.Name == name {
				shape := strings.Trim(fmt.Sprint(x.Shape), "[]")
				want += fmt.Sprintf("%s float32 %s %.9g\n", name, shape, x.Data[len(x.Data)-1])
			}
		}
	}
	if got := string(out); got != want {
		t.Errorf("python reads\n%swant\n%s", got, want)
	}
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
