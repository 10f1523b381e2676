package episodes_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/telemetry"
)

// steps records n steps of an episode that does not end, with an info of which the
// first is not known.
func steps(t *testing.T, w *episodes.Writer, n int) {
	t.Helper()
	if err := w.Begin(0, 9, []float32{0, .1}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := w.Step(0, []int32{int32(i % 2)}, float32(i), false, false, []float32{float32(i + 1), .1}, float32(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func kept(t *testing.T, path string) (w *episodes.Writer, recovered string) {
	t.Helper()
	s := episodes.Spaces{Elements: []telemetry.Field{{Name: "a"}, {Name: "b"}}, Actions: []int{2}}
	w, recovered, err := episodes.CreateKept(path, s, "lab", "", telemetry.Field{Name: "qoe"})
	if err != nil {
		t.Fatal(err)
	}
	return w, recovered
}

// show is a file's episodes, as the steps and what the first and last info are.
func show(t *testing.T, path string) string {
	t.Helper()
	var out []string
	err := episodes.Read(path, func(s episodes.Spaces, e *episodes.Episode) error {
		n := len(e.Reward)
		if !math.IsNaN(float64(e.Info[0])) || e.Obs[len(e.Obs)-2] != float32(n) || e.Info[n] != float32(n-1) || e.Seed != 9 || e.Env != "lab" {
			t.Errorf("%s: %+v", path, e)
		}
		out = append(out, fmt.Sprint(n, " cut ", e.Cut))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, ", ")
}

// Every step of a kept file is on disk before the next: what a killed process
// recorded becomes a file of its own at the next start, a torn line left out, and
// neither it nor a file of a run that ended is ever replaced.
func TestKeptSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "episodes [lab].parquet")
	names := func() (all []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") { // of the killed Parquet file
				all = append(all, e.Name())
			}
		}
		return all
	}
	// kill leaves what a killed process would: a copy of its log.
	kill := func(w *episodes.Writer, torn string) {
		b, err := os.ReadFile(w.Path() + ".rows")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Discard(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.Path()+".rows", append(b, torn...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, _ := kept(t, path)
	steps(t, w, 3)
	if _, _, err := episodes.CreateKept(path, episodes.Spaces{}, "", ""); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
		t.Errorf("two writers of one file: %v", err)
	}
	kill(w, `{"row":0,"action":[1],"rew`)

	w, recovered := kept(t, path)
	if recovered != path || show(t, path) != "3 cut true" {
		t.Fatalf("recovered %s: %s", recovered, show(t, path))
	}
	steps(t, w, 2)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(dir, "episodes [lab]-2.parquet")
	if w.Path() != second || show(t, second) != "2 cut true" || show(t, path) != "3 cut true" {
		t.Errorf("the next run's: %s, %s", w.Path(), show(t, w.Path()))
	}

	w, recovered = kept(t, path)
	if recovered != "" {
		t.Errorf("recovered %s of runs that ended", recovered)
	}
	steps(t, w, 5)
	steps(t, w, 1)
	kill(w, "")
	third := filepath.Join(dir, "episodes [lab]-3.parquet")
	if got, err := episodes.Recover(path); err != nil || got != third || show(t, third) != "5 cut true, 1 cut true" {
		t.Errorf("recovered %s, %v", got, err)
	}
	if got := names(); !slices.Equal(got, []string{"episodes [lab]-2.parquet", "episodes [lab]-3.parquet", "episodes [lab].parquet"}) {
		t.Errorf("left: %q", got)
	}

	// A run that was killed before its first step left nothing to recover.
	w, _ = kept(t, path)
	kill(w, "")
	if got, err := episodes.Recover(path); err != nil || got != "" {
		t.Errorf("recovered %q of no step, %v", got, err)
	}
	// What is no log of rows is not touched.
	if err := os.WriteFile(path+".rows", []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := episodes.Recover(path); err == nil || !strings.Contains(err.Error(), "line 1: not a log of rows") {
		t.Errorf("another file: %v", err)
	}
	if _, err := os.Stat(path + ".rows"); errors.Is(err, os.ErrNotExist) {
		t.Error("another file is removed")
	}
}
