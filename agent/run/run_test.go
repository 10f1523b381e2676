package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/run"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// trainer is a small agent on CartPole: new, or gone on with from a checkpoint.
func trainer(steps int64, checkpoint string) (*agent.Trainer, env.Vector, error) {
	v, err := cartpole.New(2, env.NextStep)
	if err != nil {
		return nil, nil, err
	}
	if checkpoint != "" {
		tr, err := agent.Resume(context.Background(), checkpoint, v, steps, nil)
		return tr, v, err
	}
	c, err := agent.Preset("default")
	if err != nil {
		return nil, nil, err
	}
	c.Hidden, c.Minimum, c.Steps = []int{16}, 200, steps
	tr, err := agent.NewTrainer(c, v, 1, nil)
	return tr, v, err
}

// Train into a folder, which then has an agent, a checkpoint and a log.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	tr, v, err := trainer(1000, "")
	if err != nil {
		panic(err)
	}
	defer v.Close()
	r := run.New(filepath.Join(dir, "run"), 500)
	if err := r.Train(context.Background(), tr, nil); err != nil {
		panic(err)
	}
	log, err := os.ReadFile(filepath.Join(r.Dir, "scalars.csv"))
	if err != nil {
		panic(err)
	}
	fmt.Println("steps", r.Last.Steps, "saved at", r.Saved)
	fmt.Println(strings.SplitN(string(log), "\n", 2)[0])
	fmt.Println(bytes.Count(log, []byte("\n"))-1, "lines")
	// Output:
	// steps 1000 saved at 1000
	// step,return,loss,target,epsilon,episodes,updates,reward
	// 10 lines
}

func train(t *testing.T, ctx context.Context, r *run.Run, steps int64) error {
	t.Helper()
	checkpoint := ""
	if r.Resumed {
		checkpoint = r.Checkpoint()
	}
	tr, v, err := trainer(steps, checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return r.Train(ctx, tr, nil)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A run that was cut off and goes on ends with the bytes of one that was not, and with
// its log, but for the times.
func TestResume(t *testing.T) {
	whole, cut := run.New(filepath.Join(t.TempDir(), "whole"), 500), run.New(filepath.Join(t.TempDir(), "cut"), 500)
	if err := train(t, t.Context(), whole, 2000); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cut.Report = func(p agent.Progress) error {
		if p.Steps >= 700 {
			cancel()
		}
		return nil
	}
	if err := train(t, ctx, cut, 2000); !errors.Is(err, context.Canceled) || cut.Saved < 700 || cut.Saved >= 1000 {
		t.Fatalf("saved at %d: %v", cut.Saved, err)
	}
	if f := run.New(cut.Dir, 500).Exists(); f != cut.Checkpoint() {
		t.Errorf("a new run would replace %q", f)
	}
	again := run.New(cut.Dir, 500)
	info, err := again.Resume()
	if err != nil || info.Steps != cut.Saved || again.Exists() != "" {
		t.Fatalf("%+v %v", info, err)
	}
	if err := os.WriteFile(again.Policy(), []byte("what a kill left"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := train(t, t.Context(), again, 2000); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, whole.Policy()), read(t, again.Policy())) {
		t.Error("the policies differ")
	}
	a, b := read(t, filepath.Join(whole.Dir, "scalars.csv")), read(t, filepath.Join(again.Dir, "scalars.csv"))
	if bytes.Count(a, []byte("\n")) != bytes.Count(b, []byte("\n")) {
		t.Errorf("the logs differ in length:\n%s\n%s", a, b)
	}
	// Nothing is left to do: the policy is the checkpoint's again.
	if err := os.Remove(again.Policy()); err != nil {
		t.Fatal(err)
	}
	done := run.New(cut.Dir, 500)
	if info, err = done.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := train(t, t.Context(), done, 0); err != nil {
		t.Fatal(err)
	}
	done.Done(info, 2000)
	if !bytes.Equal(read(t, whole.Policy()), read(t, done.Policy())) || done.Last.Steps < 2000 || !math.IsNaN(done.Last.Return) {
		t.Errorf("%+v", done.Last)
	}
}

// An error of the report ends the training with the last checkpoint in place, and a
// policy alone is not gone on with.
func TestFailures(t *testing.T) {
	r := run.New(filepath.Join(t.TempDir(), "run"), 500)
	full := errors.New("disk full")
	r.Report = func(p agent.Progress) error {
		if p.Steps > 800 {
			return full
		}
		return nil
	}
	if err := train(t, t.Context(), r, 2000); !errors.Is(err, full) || r.Saved < 500 || r.Saved > 510 {
		t.Errorf("saved at %d: %v", r.Saved, err)
	}
	if err := os.Rename(r.Policy(), r.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	if _, err := run.New(r.Dir, 500).Resume(); err == nil || !strings.Contains(err.Error(), "holds a policy only") {
		t.Error(err)
	}
}
