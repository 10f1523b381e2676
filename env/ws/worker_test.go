package ws

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
)

// TestWorkerKeepsTheContract: Gymnasium's CartPole in Python, behind
// planegym.worker, is an env.Vector like those in Go, in every reset mode.
// PLANEGYM_PYTHON names a Python that has gymnasium; .ci/python sets it.
func TestWorkerKeepsTheContract(t *testing.T) {
	python := os.Getenv("PLANEGYM_PYTHON")
	if python == "" || exec.Command(python, "-c", "import gymnasium").Run() != nil {
		t.Skip("PLANEGYM_PYTHON names no interpreter with gymnasium")
	}
	dir, err := os.MkdirTemp("", "worker") // a test's own folder may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	cmd := exec.Command(python, "-W", "ignore", "-m", "planegym.worker", "CartPole-v1", "--name", "pole", "--unix", path)
	cmd.Env = append(os.Environ(), "PYTHONPATH=../../python")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal("it says not where it listens: ", err)
	}
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			envtest.Check(t, func(t *testing.T) env.Vector {
				c := dial(t, "unix://"+path, DialOptions{Scenario: "pole", NumEnvs: 3, Autoreset: env.Disabled, Info: true, Resume: -1})
				return env.WithAutoreset(c, mode)
			})
		})
	}
}
