package run_test

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/agent/run"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/episodes"
)

// with is a trainer of steps transitions whose configuration edit has changed.
func with(t *testing.T, steps int64, edit func(*agent.Config)) *agent.Trainer {
	t.Helper()
	v, err := cartpole.New(2, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	c, err := agent.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	c.Hidden, c.Minimum, c.Steps = []int{8}, 100, steps
	if edit != nil {
		edit(&c)
	}
	tr, err := agent.NewTrainer(c, v, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// logged are the rows of a log, header first.
func logged(t *testing.T, dir string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(string(read(t, filepath.Join(dir, "scalars.csv"))))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// at are the steps of a log. Two rows step at once, so that a multiple of two may be
// passed by one: it counts as that multiple.
func at(t *testing.T, dir string) (steps []int64) {
	t.Helper()
	for _, row := range logged(t, dir)[1:] {
		n, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, n&^1)
	}
	return steps
}

// Checkpoints are written each time that a multiple of every is passed, also in a run
// that goes on, and at the end.
func TestCheckpointsAreDue(t *testing.T) {
	dir := t.TempDir()
	saves := func(r *run.Run, tr *agent.Trainer) (at []int64) {
		was := r.Saved
		r.Report = func(agent.Progress) error {
			if r.Saved != was {
				at, was = append(at, r.Saved&^1), r.Saved
			}
			return nil
		}
		if err := r.Train(t.Context(), tr, nil); err != nil {
			t.Fatal(err)
		}
		if r.Saved != was {
			at = append(at, r.Saved&^1)
		}
		return at
	}
	if got := saves(run.New(dir, 300), with(t, 400, nil)); !slices.Equal(got, []int64{300, 400}) {
		t.Errorf("checkpoints at %v", got)
	}
	again := run.New(dir, 300)
	if _, err := again.Resume(); err != nil {
		t.Fatal(err)
	}
	tr, v, err := trainer(800, again.Checkpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got := saves(again, tr); !slices.Equal(got, []int64{600, 800}) {
		t.Errorf("checkpoints of the run that goes on at %v", got)
	}
	if got, want := at(t, dir), []int64{100, 200, 300, 400, 500, 600, 700, 800}; !slices.Equal(got, want) {
		t.Errorf("logged at %v, want %v", got, want)
	}
}

// What ends a training before it has learnt anything writes no checkpoint; after its
// first update it writes one. Where that fails, the error says both.
func TestInterrupted(t *testing.T) {
	begun, cancel := context.WithCancel(t.Context())
	cancel()
	r := run.New(filepath.Join(t.TempDir(), "run"), 500)
	if err := r.Train(begun, with(t, 1000, nil), nil); !errors.Is(err, context.Canceled) || r.Saved != -1 || r.Exists() != "" || r.Last.Steps != 0 {
		t.Errorf("saved at %d (%s), last %+v: %v", r.Saved, r.Exists(), r.Last, err)
	}
	for _, blocked := range []bool{false, true} {
		r := run.New(filepath.Join(t.TempDir(), "run"), 500)
		ctx, cancel := context.WithCancel(t.Context())
		r.Report = func(agent.Progress) error {
			cancel()
			if blocked {
				return os.MkdirAll(filepath.Join(r.Checkpoint(), "in the way"), 0o755)
			}
			return nil
		}
		tr := with(t, 1000, func(c *agent.Config) { c.Minimum, c.TrainEvery, c.Updates = 50, 40, 1 })
		err := r.Train(ctx, tr, nil)
		if tr.Agent.Updates() != 1 {
			t.Fatalf("%d updates", tr.Agent.Updates())
		}
		switch {
		case !errors.Is(err, context.Canceled):
			t.Errorf("blocked %v: %v", blocked, err)
		case blocked && (!strings.Contains(err.Error(), "agent: save: ") || r.Saved != -1):
			t.Errorf("saved at %d: %v", r.Saved, err)
		case !blocked && (r.Saved&^1 != 100 || r.Exists() != r.Checkpoint()):
			t.Errorf("saved at %d", r.Saved)
		}
	}
}

// A policy beside the checkpoint that is another agent's, though whole, gives way to
// the checkpoint's.
func TestPolicyIsTheCheckpoints(t *testing.T) {
	dir := t.TempDir()
	if err := run.New(dir, 500).Train(t.Context(), with(t, 300, nil), nil); err != nil {
		t.Fatal(err)
	}
	r := run.New(dir, 500)
	want := read(t, r.Policy())
	if err := with(t, 300, nil).Agent.SavePolicy(r.Policy()); err != nil {
		t.Fatal(err)
	}
	if string(read(t, r.Policy())) == string(want) {
		t.Fatal("the two policies are the same")
	}
	if _, err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := train(t, t.Context(), r, 0); err != nil {
		t.Fatal(err)
	}
	if string(read(t, r.Policy())) != string(want) {
		t.Error("the policy is not the checkpoint's")
	}
}

// A log without the reward, as older versions began it, goes on without; one of other
// columns is an error that names them.
func TestOlderLog(t *testing.T) {
	for header, goesOn := range map[string]bool{
		"step,return,loss,target,epsilon,episodes,updates": true,
		"step,return,loss": false,
	} {
		dir := t.TempDir()
		if err := run.New(dir, 500).Train(t.Context(), with(t, 200, nil), nil); err != nil {
			t.Fatal(err)
		}
		old := header + "\n200" + strings.Repeat(",1", strings.Count(header, ",")) + "\n"
		if err := os.WriteFile(filepath.Join(dir, "scalars.csv"), []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		r := run.New(dir, 500)
		if _, err := r.Resume(); err != nil {
			t.Fatal(err)
		}
		err := train(t, t.Context(), r, 300)
		if !goesOn {
			if err == nil || !strings.Contains(err.Error(), `"loss"]`) || !strings.Contains(err.Error(), `"reward"]`) {
				t.Errorf("%s: %v", header, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rows := logged(t, dir)
		if last := rows[len(rows)-1]; len(rows) != 3 || last[0] != fmt.Sprint(r.Last.Steps) || len(last) != 7 || last[6] != fmt.Sprint(r.Last.Updates) {
			t.Errorf("%q after %+v", rows, r.Last)
		}
	}
}

// Offline training writes the policy and the log, and no checkpoint.
func TestTrainOffline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.parquet")
	tr := with(t, 250, nil)
	w, err := episodes.Create(path, tr.Agent.Spaces, "some", "")
	if err != nil {
		t.Fatal(err)
	}
	err = w.Begin(0, 1, make([]float32, 4))
	for i := range 20 {
		err = errors.Join(err, w.Step(0, []int32{int32(i % 2)}, 1, i == 19, false, []float32{float32(i), 0, 1, 2}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	c := tr.Agent.Config
	c.TrainEvery, c.Updates = 1, 1
	began := time.Now()
	o, err := offline.New(c, path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := run.New(filepath.Join(t.TempDir(), "run"), 100)
	if err := r.TrainOffline(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got, err := agent.Load(r.Policy(), nil); err != nil || got.Hash() != o.Agent.Hash() || got.Updates() != 250 {
		t.Errorf("the policy is not what was trained: %v", err)
	}
	if r.Exists() != r.Policy() || r.Last.Steps != 250 || !slices.Equal(at(t, r.Dir), []int64{100, 200, 250}) {
		t.Errorf("%s, last %+v, logged at %v", r.Exists(), r.Last, at(t, r.Dir))
	}
	// TensorBoard shows each number at the time when it was logged.
	files, err := filepath.Glob(filepath.Join(r.Dir, "events.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	for b := read(t, files[0]); len(b) > 0; {
		// A record is a length, its checksum, an Event that begins with wall_time as a double, its checksum.
		wall := math.Float64frombits(binary.LittleEndian.Uint64(b[13:]))
		if ago := float64(time.Now().UnixMilli())/1000 - wall; b[12] != 1<<3|1 || ago < -1 || ago > time.Since(began).Seconds()+1 {
			t.Fatalf("an event %v s ago", ago)
		}
		b = b[binary.LittleEndian.Uint64(b)+16:]
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"offline": run.New(file, 100).TrainOffline(t.Context(), o), "train": run.New(file, 100).Train(t.Context(), tr, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s into a file: %v", name, err)
		}
	}
}

// Done is for a training of which nothing is left to do.
func TestDone(t *testing.T) {
	for _, k := range []struct{ steps, total, want int64 }{{10, 20, 0}, {20, 20, 20}, {21, 20, 21}} {
		r := run.New(t.TempDir(), 100)
		r.Done(agent.Info{Steps: k.steps, Updates: 7}, k.total)
		if r.Last.Steps != k.want || (k.want > 0) != (r.Last.Updates == 7) {
			t.Errorf("%d of %d: %+v", k.steps, k.total, r.Last)
		}
	}
}
