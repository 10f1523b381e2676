package agent_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
)

func quick(t *testing.T) agent.Config {
	t.Helper()
	c, err := agent.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	c.Hidden, c.Steps, c.Minimum, c.Replay, c.Batch = []int{4}, 60, 10, 100, 4
	return c
}

// A nil backend is one of this machine's, wherever a backend is taken: the type
// of a backend is internal, so that nil is all that a program outside can give.
func TestNilBackend(t *testing.T) {
	ctx := context.Background()
	v := cartPole(t, 2, env.NextStep)
	tr, err := agent.NewTrainer(quick(t), v, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Train(ctx, 0, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole, policy := filepath.Join(dir, "whole"), filepath.Join(dir, "policy")
	if err := errors.Join(tr.Save(ctx, whole), tr.Agent.SavePolicy(policy)); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Load(policy, nil); err != nil {
		t.Error(err)
	}
	again, err := agent.Resume(ctx, whole, cartPole(t, 2, env.NextStep), 120, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Train(ctx, 0, nil); err != nil {
		t.Error(err)
	}
	if tr, err = agent.Transfer(policy, quick(t), v, 1, true, nil); err != nil {
		t.Error(err)
	} else if err := tr.Train(ctx, 0, nil); err != nil {
		t.Error(err)
	}
	e := filepath.Join(dir, "e.parquet")
	w, err := episodes.Create(e, episodes.SpacesOf(v.Spec()), "cartpole", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eval.Evaluate(ctx, v, tr.Agent, []uint64{1, 2}, w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o, err := offline.New(quick(t), e, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Train(ctx, 0, nil); err != nil || o.Agent.Updates() != o.Total {
		t.Errorf("%v after %d of %d updates", err, o.Agent.Updates(), o.Total)
	}
}

func TestNilVector(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	tr, err := agent.NewTrainer(quick(t), cartPole(t, 1, env.NextStep), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"trainer":  func() error { _, err := agent.NewTrainer(quick(t), nil, 1, nil); return err },
		"resume":   func() error { _, err := agent.Resume(context.Background(), path, nil, 0, nil); return err },
		"transfer": func() error { _, err := agent.Transfer(path, quick(t), nil, 1, false, nil); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "no environments to train in") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Reports come when a multiple of every is passed and at the end: at the end
// alone where every is below 1.
func TestReports(t *testing.T) {
	for every, want := range map[int64][]int64{
		25: {26, 50, 60}, 60: {60}, 59: {60}, 1000: {60}, 0: {60}, -3: {60}, 1 << 62: {60},
	} {
		tr, err := agent.NewTrainer(quick(t), cartPole(t, 2, env.SameStep), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		if err := tr.Train(context.Background(), every, func(p agent.Progress) error { got = append(got, p.Steps); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("every %d: reports at %v, want %v", every, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("every %d: reports at %v, want %v", every, got, want)
			}
		}
	}
}
