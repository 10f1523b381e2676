package offline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// mostly pushes the way the pole leans, but for a share of random pushes: a
// mediocre player of CartPole to learn from.
type mostly struct{ step uint32 }

func (m *mostly) Begin([]int, []uint64) {}
func (m *mostly) Act(_ []int, obs []float32, actions []int32) {
	m.step++
	for i := range actions {
		k := rng.Key{Seed: 8, A: m.step, B: uint32(i), Purpose: rng.Action}
		actions[i] = 0
		if obs[4*i+2] > 0 {
			actions[i] = 1
		}
		if k.Float64(0) < .3 {
			actions[i] = int32(k.Intn(1, 2))
		}
	}
}

// recordCartPole writes n episodes of mostly and gives their mean return.
func recordCartPole(t *testing.T, path string, seed uint64, n int) float64 {
	t.Helper()
	v := cartPole(t, 8, env.NextStep)
	w, err := episodes.Create(path, episodes.SpacesOf(v.Spec()), "cartpole", "")
	if err != nil {
		t.Fatal(err)
	}
	e, err := eval.Evaluate(context.Background(), v, &mostly{}, eval.HeldOut(seed, n), w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return e.Return.Mean
}

func offlineConfig(t *testing.T, cql float64, updates int64) agent.Config {
	t.Helper()
	c, err := agent.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	c.Hidden, c.CQL, c.Steps, c.TrainEvery, c.Updates, c.Batch, c.FinalRate = []int{32}, cql, updates, 1, 1, 32, 0
	return c
}

func trainOffline(t *testing.T, c agent.Config, path string) *offline.Trainer {
	t.Helper()
	o, err := offline.New(c, path, 3, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	reports := 0
	if err := o.Train(context.Background(), o.Total/4, func(p agent.Progress) error {
		reports++
		if p.Loss <= 0 || p.Episodes != int64(o.Episodes) {
			t.Errorf("%+v", p)
		}
		return nil
	}); err != nil || reports < 4 {
		t.Fatalf("%d reports: %v", reports, err)
	}
	return o
}

// From episodes of a mediocre player, in two files of a folder, conservative
// Q-learning plays better than it did. Plain DDQN trusts values of actions
// that the player never took there, which nothing corrects, and plays worse.
func TestOfflineLearnsFromRecordings(t *testing.T) {
	dir := t.TempDir()
	recorded := (recordCartPole(t, filepath.Join(dir, "a.parquet"), 1, 100) + recordCartPole(t, filepath.Join(dir, "b.parquet"), 2, 100)) / 2
	returns := map[float64]float64{}
	for _, cql := range []float64{0, .3} {
		c := offlineConfig(t, cql, 3000)
		o := trainOffline(t, c, dir)
		if o.Episodes != 200 || o.Agent.Updates() != 3000 {
			t.Fatalf("%d episodes, %d updates", o.Episodes, o.Agent.Updates())
		}
		e, err := eval.Evaluate(context.Background(), cartPole(t, 10, env.NextStep), o.Agent, eval.HeldOut(9, 30), nil)
		if err != nil {
			t.Fatal(err)
		}
		returns[cql] = e.Return.Mean
		c.Steps = 200
		if a, b := trainOffline(t, c, dir).Agent.Hash(), trainOffline(t, c, dir).Agent.Hash(); a != b {
			t.Errorf("cql %v: equal seeds give %s and %s", cql, a, b)
		}
	}
	if returns[.3] <= recorded || returns[.3] <= returns[0] {
		t.Errorf("returns: recorded %.1f, plain %.1f, conservative %.1f", recorded, returns[0], returns[.3])
	}
}

// An action without recordings is worth what the network happens to say of
// it: plain DDQN may take it, the conservative one does not.
func TestConservativeAvoidsTheUnseen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.parquet")
	spaces := episodes.Spaces{Elements: []telemetry.Field{{Name: "x"}, {Name: "y"}}, Actions: env.MultiDiscrete{4}}
	w, err := episodes.Create(path, spaces, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	point := func(i int) []float32 {
		a, b := rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Start}.Normal(0)
		return []float32{float32(a), float32(b)}
	}
	for i := range n { // rewards are bad, and action 2 is never taken
		action := []int32{0, 1, 3}[i%3]
		if err := errors.Join(w.Begin(0, uint64(i), point(i)), w.Step(0, []int32{action}, -1-float32(action)/10, true, false, point(i+n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	unseen := func(cql float64) (taken int) {
		o := trainOffline(t, offlineConfig(t, cql, 1500), path)
		for i := range n {
			got := []int32{0}
			o.Agent.Act(nil, point(i), got)
			if got[0] == 2 {
				taken++
			}
		}
		return taken
	}
	if plain, cql := unseen(0), unseen(1); plain < n/2 || cql != 0 {
		t.Errorf("the unseen action is taken %d times of %d by plain DDQN, %d times by CQL", plain, n, cql)
	}
}

func TestOfflineRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, s episodes.Spaces, steps int) string {
		t.Helper()
		path := filepath.Join(dir, name, "e.parquet")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		w, err := episodes.Create(path, s, name, "")
		if err != nil {
			t.Fatal(err)
		}
		obs := make([]float32, len(s.Elements))
		err = w.Begin(0, 1, obs)
		for range steps {
			err = errors.Join(err, w.Step(0, make([]int32, len(s.Actions)), 1, false, false, obs))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return filepath.Dir(path)
	}
	one := episodes.Spaces{Elements: []telemetry.Field{{Name: "x"}}, Actions: env.MultiDiscrete{2}}
	two := episodes.Spaces{Elements: []telemetry.Field{{Name: "x"}, {Name: "y"}}, Actions: env.MultiDiscrete{2}}
	mixed := write("mixed", one, 3)
	if err := os.Rename(filepath.Join(write("other", two, 3), "e.parquet"), filepath.Join(mixed, "f.parquet")); err != nil {
		t.Fatal(err)
	}
	none, zero := filepath.Join(dir, "none"), filepath.Join(dir, "zero.parquet")
	if err := errors.Join(os.Mkdir(none, 0o755), os.WriteFile(zero, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		none:                            "no .parquet file in it: record some with play --record",
		zero:                            "zero.parquet: no steps are recorded: record some with play --record",
		write("empty", one, 0):          "e.parquet: no steps are recorded: record some",
		mixed:                           "f.parquet: row 4: 2 elements (x, y), actions [2], limits [] are not the spaces of",
		filepath.Join(dir, "x.parquet"): "no such file",
	} {
		_, err := offline.New(offlineConfig(t, 0, 10), path, 1, compute.NewBackend(compute.Go, 1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", fmt.Sprint(path), err, want)
		}
	}
}

func cartPole(t testing.TB, n int, mode env.Autoreset) env.Vector {
	t.Helper()
	v, err := cartpole.New(n, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}
