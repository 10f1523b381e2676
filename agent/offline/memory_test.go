package offline_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// episode is what happened in one: observations [T+1][D], actions [T][S], rewards [T].
type episode struct {
	obs        [][]float32
	actions    [][]int32
	rewards    []float32
	terminated bool
}

// someEpisodes are of two elements and two switches: one of a single step, one that
// terminates, one that is cut off.
func someEpisodes() (spaces episodes.Spaces, all []episode) {
	spaces = episodes.Spaces{Elements: []telemetry.Field{{Name: "x"}, {Name: "y"}}, Actions: env.MultiDiscrete{2, 3}}
	for n, steps := range []int{1, 5, 4} {
		e := episode{terminated: n != 2}
		for i := range steps + 1 {
			k := rng.Key{Seed: 4, A: uint32(n), B: uint32(i), Purpose: rng.Start}
			a, b := k.Normal(0)
			e.obs = append(e.obs, []float32{float32(3 + 2*a), float32(b)})
			if i < steps {
				e.actions = append(e.actions, []int32{int32(k.Intn(10, 2)), int32(k.Intn(11, 3))})
				e.rewards = append(e.rewards, float32(k.Float64(12)))
			}
		}
		all = append(all, e)
	}
	return spaces, all
}

func write(t *testing.T, spaces episodes.Spaces, all []episode) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "e.parquet")
	w, err := episodes.Create(path, spaces, "some", "")
	if err != nil {
		t.Fatal(err)
	}
	for n, e := range all {
		err = errors.Join(err, w.Begin(0, uint64(n), e.obs[0]))
		for i, r := range e.rewards {
			last := i+1 == len(e.rewards)
			err = errors.Join(err, w.Step(0, e.actions[i], r, last && e.terminated, last && !e.terminated, e.obs[i+1]))
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is read from a file teaches what the same steps teach that are added to a
// memory one by one; reports carry the means of losses and targets since the last one.
func TestOfflineLearnsWhatAMemoryDoes(t *testing.T) {
	spaces, all := someEpisodes()
	path := write(t, spaces, all)
	for _, steps := range []int{1, 3} {
		c := offlineConfig(t, 0, 6)
		c.Normalise, c.NStep, c.Batch, c.Beta, c.Prioritised = "fit", steps, 4, .4, true
		d, err := agent.NewDDQN(c, spaces, 3, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		m := agent.NewMemory(d, 10)
		for _, e := range all {
			for i, r := range e.rewards {
				last := i+1 == len(e.rewards)
				m.Add(e.obs[i], e.actions[i], r, e.obs[i+1], last && e.terminated, last && !e.terminated)
			}
		}
		m.FitNormalisation()
		type report struct{ steps, total, updates, episodes, loss, target string }
		var want, got []report
		var losses, targets []float64
		mean := func(x []float64) string {
			var sum float64
			for _, v := range x {
				sum += v
			}
			return fmt.Sprintf("%.9g", sum/float64(len(x)))
		}
		for i := range 6 {
			loss, target, err := m.Learn(3, float64(i)/6)
			if err != nil {
				t.Fatal(err)
			}
			losses, targets = append(losses, loss), append(targets, target)
			if n := fmt.Sprint(i + 1); i == 3 || i == 5 {
				want = append(want, report{n, "6", n, "3", mean(losses), mean(targets)})
				losses, targets = nil, nil
			}
		}
		o, err := offline.New(c, path, 3, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		if o.Episodes != 3 || o.Steps != 10 || o.Total != 6 || o.Env != "some" || o.Seed != 3 {
			t.Errorf("%+v", o)
		}
		err = o.Train(context.Background(), 4, func(p agent.Progress) error {
			got = append(got, report{fmt.Sprint(p.Steps), fmt.Sprint(p.Total), fmt.Sprint(p.Updates), fmt.Sprint(p.Episodes), mean([]float64{p.Loss}), mean([]float64{p.Target})})
			if !math.IsNaN(p.Return) || !math.IsNaN(p.Reward) {
				t.Errorf("return %v and reward %v of nothing that was played", p.Return, p.Reward)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("n_step %d: reports %v, want %v", steps, got, want)
		}
		if o.Agent.Hash() != d.Hash() {
			t.Errorf("n_step %d: from the file it learns %s, from the steps %s", steps, o.Agent.Hash(), d.Hash())
		}
	}
}

// Reports come after every so many updates and at the end; as many updates are done
// as the steps of the configuration bring, one at least. What ends training leaves
// the updates that were done.
func TestOfflineReports(t *testing.T) {
	spaces, all := someEpisodes()
	path := write(t, spaces, all)
	train := func(ctx context.Context, edit func(*agent.Config), every, stop int64) (got []int64, err error) {
		c := offlineConfig(t, 0, 5)
		c.Batch = 2
		edit(&c)
		o, err := offline.New(c, path, 1, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		err = o.Train(ctx, every, func(p agent.Progress) error {
			got = append(got, p.Updates)
			if p.Updates == stop {
				return context.DeadlineExceeded
			}
			return nil
		})
		return got, err
	}
	for _, k := range []struct {
		steps, every    int64
		between, update int
		want            []int64
	}{
		{5, 1, 1, 1, []int64{1, 2, 3, 4, 5}}, {5, 2, 1, 1, []int64{2, 4, 5}}, {5, 5, 1, 1, []int64{5}}, {5, 9, 1, 1, []int64{5}}, {5, 0, 1, 1, []int64{5}}, {5, -2, 1, 1, []int64{5}},
		{7, 0, 3, 2, []int64{4}}, {2, 0, 3, 2, []int64{1}}, {1, 1, 1, 1, []int64{1}},
	} {
		got, err := train(t.Context(), func(c *agent.Config) { c.Steps, c.TrainEvery, c.Updates = k.steps, k.between, k.update }, k.every, -1)
		if err != nil || !slices.Equal(got, k.want) {
			t.Errorf("%+v: reports after %v updates, %v", k, got, err)
		}
	}
	if got, err := train(t.Context(), func(*agent.Config) {}, 1, 2); !errors.Is(err, context.DeadlineExceeded) || len(got) != 2 {
		t.Errorf("a report's error ends training after %v: %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := train(ctx, func(*agent.Config) {}, 1, -1); !errors.Is(err, context.Canceled) || got != nil {
		t.Errorf("cancelled before it began: %v after %v", err, got)
	}
	if _, err := train(t.Context(), func(c *agent.Config) { c.Loss, c.LearningRate, c.ClipNorm, c.Gamma, c.Steps = "mse", 1e30, 0, 1, 40 }, 0, -1); err == nil {
		t.Error("diverged without an error")
	}
}
