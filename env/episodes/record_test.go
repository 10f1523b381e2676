package episodes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/telemetry"
)

var modes = []env.Autoreset{env.NextStep, env.SameStep, env.Disabled}

// recorded is a cartpole whose episodes go to dir.
func recorded(t *testing.T, dir string, n int, mode env.Autoreset) env.Vector {
	t.Helper()
	v, err := cartpole.New(n, mode)
	if err != nil {
		t.Fatal(err)
	}
	r, err := episodes.Record(v, func(file int) (*episodes.Writer, error) {
		return episodes.Create(filepath.Join(dir, fmt.Sprintf("%d.parquet", file)), episodes.SpacesOf(v.Spec()), "cartpole", "")
	}, func(err error) { t.Errorf("recording failed: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordKeepsTheContract(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			envtest.Check(t, func(t *testing.T) env.Vector { return recorded(t, t.TempDir(), 3, mode) })
		})
	}
}

// What is recorded is what a cartpole alone does from the same seed.
func TestRecordedEpisodes(t *testing.T) {
	ctx := context.Background()
	for _, mode := range modes {
		dir := t.TempDir()
		v := recorded(t, dir, 2, mode)
		var b env.Batch
		if err := v.Reset(ctx, nil, []uint64{5, 6}, &b); err != nil {
			t.Fatal(err)
		}
		ended := 0
		for range 100 {
			if err := v.Step(ctx, nil, []int32{1, 0}, &b); err != nil {
				t.Fatal(err)
			}
			for row := range 2 {
				if b.Terminated[row] {
					ended++
					if mode == env.Disabled {
						if err := v.Reset(ctx, []int{row}, nil, new(env.Batch)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		all, err := read(filepath.Join(dir, "0.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		terminated := 0
		for _, e := range all {
			if e.Terminated {
				terminated++
			}
			if len(e.Obs) != 4*(len(e.Reward)+1) || len(e.Actions) != len(e.Reward) {
				t.Fatalf("%v: episode %d: %d observations of %d steps", mode, e.Number, len(e.Obs)/4, len(e.Reward))
			}
		}
		if terminated != ended || ended < 5 || len(all) > ended+2 {
			t.Errorf("%v: %d of %d recorded episodes terminated, %d did", mode, terminated, len(all), ended)
		}
		// The first episode of each row, from its seed.
		for _, e := range all[:2] {
			one, _ := cartpole.New(1, env.Disabled)
			var b env.Batch
			if err := one.Reset(ctx, nil, []uint64{e.Seed}, &b); err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(b.Obs)
			for _, a := range e.Actions {
				if err := one.Step(ctx, nil, []int32{a}, &b); err != nil {
					t.Fatal(err)
				}
				want = append(want, b.Obs...)
			}
			if !slices.Equal(e.Obs, want) || !b.Terminated[0] {
				t.Errorf("%v: the episode of seed %d is another", mode, e.Seed)
			}
		}
	}
}

// counting is a cartpole whose info counts the steps of a row's episode.
type counting struct {
	env.Vector
	steps, final []float32
	over         []bool // NextStep: the next step begins an episode
}

func (c *counting) InfoFields() []telemetry.Field { return []telemetry.Field{{Name: "steps"}} }

func (c *counting) Info(row int, dst []float32) []float32 { return append(dst, c.steps[row]) }

func (c *counting) FinalInfo(row int, dst []float32) ([]float32, bool) {
	return append(dst, c.final[row]), true
}

func (c *counting) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	for i := range c.Num() {
		if rows == nil || slices.Contains(rows, i) {
			c.steps[i] = 0
		}
	}
	return c.Vector.Reset(ctx, rows, seeds, out)
}

func (c *counting) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if err := c.Vector.Step(ctx, rows, actions, out); err != nil {
		return err
	}
	for i := range c.steps {
		if c.steps[i]++; c.over[i] {
			c.steps[i] = 0
		}
		c.final[i] = c.steps[i]
		over := out.Terminated[i] || out.Truncated[i]
		c.over[i] = over && c.Spec().Autoreset == env.NextStep
		if over && c.Spec().Autoreset == env.SameStep {
			c.steps[i] = 0
		}
	}
	return nil
}

// Every observation has its own infos, the last one of an episode too, whatever
// the reset mode.
func TestRecordsInfos(t *testing.T) {
	ctx := context.Background()
	for _, mode := range modes {
		inner, err := cartpole.New(2, mode)
		if err != nil {
			t.Fatal(err)
		}
		c := &counting{inner, make([]float32, 2), make([]float32, 2), make([]bool, 2)}
		path := filepath.Join(t.TempDir(), "e.parquet")
		v, err := episodes.Record(c, func(int) (*episodes.Writer, error) {
			return episodes.Create(path, episodes.SpacesOf(c.Spec()), "cartpole", "", episodes.InfosOf(c)...)
		}, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		var b env.Batch
		if err := v.Reset(ctx, nil, []uint64{5, 6}, &b); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			if err := v.Step(ctx, nil, []int32{1, 0}, &b); err != nil {
				t.Fatal(err)
			}
			for row := range 2 {
				if b.Terminated[row] && mode == env.Disabled {
					if err := v.Reset(ctx, []int{row}, nil, new(env.Batch)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		all, err := read(path)
		if err != nil || len(all) < 8 {
			t.Fatal(len(all), err)
		}
		cut := 0
		for _, e := range all {
			if e.Cut {
				cut++
			}
			if e.Cut == e.Terminated {
				t.Errorf("%v: episode %d: cut %v, terminated %v", mode, e.Number, e.Cut, e.Terminated)
			}
			for i, n := range e.Info {
				if int(n) != i {
					t.Fatalf("%v: episode %d: observation %d has infos %v", mode, e.Number, i, n)
				}
			}
			if len(e.Info) != len(e.Reward)+1 {
				t.Errorf("%v: %d infos of %d steps", mode, len(e.Info), len(e.Reward))
			}
		}
		if cut > 2 {
			t.Errorf("%v: %d episodes of 2 rows were cut", mode, cut)
		}
	}
}

func TestRecordWithoutSteps(t *testing.T) {
	dir := t.TempDir()
	v := recorded(t, dir, 2, env.NextStep)
	if err := v.Reset(context.Background(), nil, nil, new(env.Batch)); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left %v", files)
	}
}

// A recording that cannot go on is reported once, and the steps go on.
func TestRecordFails(t *testing.T) {
	ctx := context.Background()
	v, _ := cartpole.New(1, env.NextStep)
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var told []error
	r, err := episodes.Record(v, func(int) (*episodes.Writer, error) {
		return episodes.Create(filepath.Join(dir, "e.parquet"), episodes.SpacesOf(v.Spec()), "cartpole", "")
	}, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	var b env.Batch
	if err := r.Reset(ctx, nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := r.Step(ctx, nil, []int32{1}, &b); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !errors.Is(told[0], os.ErrNotExist) {
		t.Errorf("told %v", told)
	}
}
