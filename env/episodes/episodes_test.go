package episodes_test

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

var spaces = episodes.Spaces{
	Elements: []telemetry.Field{{Name: "lbo_s", Unit: "s"}, {Name: "age"}},
	Actions:  env.MultiDiscrete{2}, Limits: []p4.Limit{32, 64},
}

// record writes two rows of a vector: row 0 terminates after two steps and
// begins again, row 1 is open at the end.
func record(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "e.parquet")
	w, err := episodes.Create(path, spaces, "test", "cafe")
	if err != nil {
		t.Fatal(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	obs := []float32{1, 2} // reused: what is recorded is a copy
	ok(w.Begin(0, 7, obs))
	ok(w.Begin(1, math.MaxUint64, []float32{10, 20}))
	obs[0] = 3
	ok(w.Step(0, []int32{1}, .5, false, false, obs))
	ok(w.Step(1, []int32{0}, 9, false, false, []float32{11, 21}))
	ok(w.Step(0, []int32{0}, -2, true, false, []float32{4, 5}))
	ok(w.Begin(0, 8, []float32{6, 7}))
	ok(w.Step(1, []int32{1}, 8, false, false, []float32{12, 22}))
	if files, _ := filepath.Glob(path); len(files) != 0 {
		t.Error("the file has its name before it is whole")
	}
	ok(w.Close())
	return path
}

func read(path string) (all []episodes.Episode, err error) {
	err = episodes.Read(path, func(_ episodes.Spaces, e *episodes.Episode) error {
		c := *e
		c.Obs, c.Actions, c.Reward, c.Info = slices.Clone(e.Obs), slices.Clone(e.Actions), slices.Clone(e.Reward), slices.Clone(e.Info)
		all = append(all, c)
		return nil
	})
	return all, err
}

func TestRoundTrip(t *testing.T) {
	got, err := read(record(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []episodes.Episode{
		{Env: "test", ModelHash: "cafe", Number: 0, Seed: 7, Obs: []float32{1, 2, 3, 2, 4, 5}, Actions: []int32{1, 0}, Reward: []float32{.5, -2}, Terminated: true},
		{Env: "test", ModelHash: "cafe", Number: 1, Seed: math.MaxUint64, Obs: []float32{10, 20, 11, 21, 12, 22}, Actions: []int32{0, 1}, Reward: []float32{9, 8}, Cut: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// first.parquet was written by the first release, with these calls: it has
// neither infos nor a mark for what the recording cut.
func TestReadsFilesOfTheFirstRelease(t *testing.T) {
	got, err := read("testdata/first.parquet")
	if err != nil {
		t.Fatal(err)
	}
	want := []episodes.Episode{
		{Env: "test", ModelHash: "cafe", Number: 0, Seed: 7, Obs: []float32{1, 2, 3, 2, 4, 5}, Actions: []int32{1, 0}, Reward: []float32{.5, -2}, Terminated: true},
		{Env: "test", ModelHash: "cafe", Number: 1, Seed: math.MaxUint64, Obs: []float32{10, 20, 11, 21, 12, 22}, Actions: []int32{0, 1}, Reward: []float32{9, 8}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestInfos(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.parquet")
	infos := []telemetry.Field{{Name: "stall_s", Unit: "s"}, {Name: "fps"}}
	w, err := episodes.Create(path, spaces, "test", "", infos...)
	if err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	err = errors.Join(
		w.Begin(0, 7, []float32{1, 2}, 0, 30),
		w.Step(0, []int32{1}, .5, false, false, []float32{3, 2}, 4, 24),
		w.Step(0, []int32{0}, 1, false, true, []float32{4, 2}), // not known
		w.Begin(0, 8, []float32{1, 2}, 1, 18),
		w.Step(0, []int32{0}, 1, false, false, []float32{4, 2}, 2, 18),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Begin(0, 7, []float32{1, 2}, 5); err == nil || !strings.Contains(err.Error(), "info: 1 values, expected 2") {
		t.Errorf("one info of two: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := read(path)
	if err != nil || len(got) != 2 {
		t.Fatal(len(got), err)
	}
	same := func(a, b float32) bool { return a == b || a != a && b != b }
	for i, want := range [][]float32{{0, 30, 4, 24, nan, nan}, {1, 18, 2, 18}} {
		if e := got[i]; !slices.EqualFunc(e.Info, want, same) || !slices.Equal(e.Infos, infos) || e.Cut != (i == 1) {
			t.Errorf("episode %d: %v of %v, cut %v", i, e.Info, e.Infos, e.Cut)
		}
	}
}

func TestReadErrors(t *testing.T) {
	file := func(write func(path string) error) string {
		path := filepath.Join(t.TempDir(), "bad.parquet")
		if err := write(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const meta = `{"elements":[{"Name":"lbo_s"},{"Name":"age"}],"actions":[2]}`
	rows := func(meta string, rows ...episodes.Row) string {
		return file(func(path string) error {
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			w := parquet.NewGenericWriter[episodes.Row](f, parquet.KeyValueMetadata("planegym.episodes.v1", meta))
			if _, err := w.Write(rows); err != nil {
				return err
			}
			return errors.Join(w.Close(), f.Close())
		})
	}
	nan := float32(math.NaN())
	step := episodes.Row{Obs: []float32{1, 2}, Action: []int32{1}, Truncated: true}
	last := episodes.Row{Step: 1, Obs: []float32{1, 2}}
	edit := func(r episodes.Row, f func(*episodes.Row)) episodes.Row { f(&r); return r }
	whole, err := os.ReadFile(record(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, want string }{
		{"no bytes", file(func(p string) error { return os.WriteFile(p, nil, 0o600) }), "no steps are recorded"},
		{"CSV", file(func(p string) error { return os.WriteFile(p, []byte("a,b,c\n1,2,3\n4,5,6\n"), 0o600) }), "no Parquet file"},
		{"cut", file(func(p string) error { return os.WriteFile(p, whole[:len(whole)/2], 0o600) }), "no Parquet file"},
		{"other table", file(func(p string) error { return parquet.WriteFile(p, []struct{ A int }{{1}}) }), "no planegym.episodes.v1"},
		{"no rows", rows(meta), "no steps are recorded"},
		{"spaces", rows(`{"elements":[],"actions":[2]}`), "0 elements"},
		{"obs", rows(meta, edit(step, func(r *episodes.Row) { r.Obs = r.Obs[:1] })), "row 1: obs: 1 elements, expected 2"},
		{"NaN", rows(meta, step, edit(last, func(r *episodes.Row) { r.Obs = []float32{0, nan} })), "row 2: obs: element 1 (age) is NaN"},
		{"reward", rows(meta, edit(step, func(r *episodes.Row) { r.Reward = nan }), last), "row 1: reward: is NaN"},
		{"action", rows(meta, edit(step, func(r *episodes.Row) { r.Action = []int32{2} }), last), "row 1: action: 2 is not in [0, 2)"},
		{"actions", rows(meta, edit(step, func(r *episodes.Row) { r.Action = []int32{0, 0} }), last), "row 1: action: 2 numbers"},
		{"step", rows(meta, edit(step, func(r *episodes.Row) { r.Step = 3 }), last), "row 1: step: 3, expected 0"},
		{"open", rows(meta, step), "row 1: episode 0 has no closing row"},
		{"closed early", rows(meta, edit(step, func(r *episodes.Row) { r.Truncated = false }), last), "row 2: action: is empty"},
		{"two", rows(meta, step, edit(last, func(r *episodes.Row) { r.Episode = 5 })), "row 2: episode: 5 begins before"},
	} {
		if _, err := read(c.path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: got %v, want it to say %q", c.name, err, c.want)
		}
	}
	if _, err := read(rows(meta)); !errors.Is(err, episodes.ErrEmpty) {
		t.Errorf("empty file: %v", err)
	}
}

func TestPyArrowReadsIt(t *testing.T) {
	python := os.Getenv("PLANEGYM_PYTHON")
	if python == "" || exec.Command(python, "-c", "import pyarrow.parquet").Run() != nil {
		t.Skip("PLANEGYM_PYTHON names no interpreter with pyarrow")
	}
	out, err := exec.Command(python, "-c", `
import sys, pyarrow.parquet
for r in pyarrow.parquet.read_table(sys.argv[1]).to_pylist(): print(*list(r.values())[:-1])
`, record(t)).CombinedOutput()
	const want = `test 0 0 [1.0, 2.0] [1] 0.5 False False 7 cafe False
test 0 1 [3.0, 2.0] [0] -2.0 True False 7 cafe False
test 0 2 [4.0, 5.0] [] 0.0 False False 7 cafe False
test 1 0 [10.0, 20.0] [0] 9.0 False False 18446744073709551615 cafe False
test 1 1 [11.0, 21.0] [1] 8.0 False True 18446744073709551615 cafe True
test 1 2 [12.0, 22.0] [] 0.0 False False 18446744073709551615 cafe False`
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PAR1PAR1"))
	dir := f.TempDir()
	path := filepath.Join(dir, "seed.parquet")
	w, err := episodes.Create(path, spaces, "fuzz", "")
	if err == nil {
		err = errors.Join(w.Begin(0, 1, []float32{1, 2}), w.Step(0, []int32{1}, 1, true, false, []float32{3, 4}), w.Close())
	}
	if err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "f.parquet")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = episodes.Read(path, func(s episodes.Spaces, e *episodes.Episode) error {
			if len(e.Obs) != (len(e.Reward)+1)*len(s.Elements) || len(e.Actions) != len(e.Reward)*len(s.Actions) || len(e.Reward) == 0 {
				t.Errorf("%d observations, %d actions, %d rewards", len(e.Obs), len(e.Actions), len(e.Reward))
			}
			return nil
		})
	})
}
