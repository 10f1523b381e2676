package agent

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// Of what a memory stores the normalisation is fitted to the observations that were
// acted on: mean 0 and standard deviation 1, once; an element that never changes is
// shifted alone.
func TestMemoryFitsNormalisation(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Normalise = "fit" }), testSpaces(3, 2), compute.Go)
	m := NewMemory(d, 100)
	obs := [][]float32{{1, 10, 5}, {2, -10, 5}, {3, 10, 5}, {6, -10, 5}}
	for i, o := range obs {
		next := []float32{1000, 1000, 1000}
		if i+1 < len(obs) {
			next = obs[i+1]
		}
		m.Add(o, []int32{1}, 1, next, i+1 == len(obs), false)
	}
	m.FitNormalisation()
	sd := math.Sqrt((4 + 1 + 0 + 9) / 4.)
	for j, want := range [][2]float64{{3, 1 / sd}, {0, .1}, {5, 1}} {
		if math.Abs(float64(d.shift[j])-want[0]) > 1e-6 || math.Abs(float64(d.scale[j])-want[1]) > 1e-6 {
			t.Errorf("element %d: shift %v, scale %v, want %v", j, d.shift[j], d.scale[j], want)
		}
	}
	m.Add([]float32{50, 50, 50}, []int32{0}, 0, []float32{0, 0, 0}, true, false)
	m.FitNormalisation()
	if d.shift[0] != 3 {
		t.Errorf("fitted again: shift %v", d.shift[0])
	}
}

// broken is an environment whose state cannot be had.
type broken struct {
	env.Vector
	err error
}

func (b broken) Snapshot(int, []byte) ([]byte, error) { return nil, b.err }
func (b broken) Restore(int, []byte) error            { return b.err }

// A checkpoint of an environment that fails to give its state is an error; of one
// that says it has none to give, a checkpoint without it.
func TestSaveOfABrokenEnvironment(t *testing.T) {
	for _, c := range []struct {
		err error
		ok  bool
	}{{errors.New("disk on fire"), false}, {env.ErrBadSnapshot, true}} {
		v, err := cartpole.New(1, env.NextStep)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := NewTrainer(testConfig(t, func(c *Config) { c.Steps = 30 }), broken{v, c.err}, 1, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Train(context.Background(), 30, func(Progress) error { return nil }); err != nil {
			t.Fatal(err)
		}
		err = tr.Save(context.Background(), filepath.Join(t.TempDir(), "a.safetensors"))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
