package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/internal/safetensors"
)

// saved is the checkpoint that save writes, as bytes.
func saved(t *testing.T, save func(path string) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c")
	if err := save(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func whole(t *testing.T, tr *Trainer) []byte {
	t.Helper()
	return saved(t, func(path string) error { return tr.Save(context.Background(), path) })
}

// resumed is the training of a checkpoint in two carts.
func resumed(t *testing.T, checkpoint []byte, mode env.Autoreset) *Trainer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(path, checkpoint, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := cartpole.New(2, mode)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Resume(context.Background(), path, v, 0, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// A training that is saved before its first step is resumed as one that begins.
func TestSavedBeforeItBegan(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Steps = 100 })
	unbroken := cartTrainer(t, c, 2, 1, env.NextStep)
	again := resumed(t, whole(t, unbroken), env.NextStep)
	train(t, unbroken, 0, nil)
	train(t, again, 0, nil)
	if string(whole(t, unbroken)) != string(whole(t, again)) {
		t.Error("the two end differently")
	}
}

// Wherever in an episode a training is saved, also between its last step and the one that
// only resets it, its resumption ends with the same bytes.
func TestSavedAtEveryStep(t *testing.T) {
	for _, mode := range modes {
		c := testConfig(t, func(c *Config) { c.Steps, c.NStep = 160, 3 })
		tr := cartTrainer(t, c, 2, 1, mode)
		var at [][]byte
		waits, ends := 0, 0
		train(t, tr, 1, func(p Progress) error {
			if ends += len(tr.over); len(tr.over) > 0 && len(at) < 6 {
				waits += int(tr.fresh[0] + tr.fresh[1])
				at = append(at, whole(t, tr))
			}
			return nil
		})
		if ends < 4 || (waits > 0) != (mode == env.NextStep) {
			t.Fatalf("%v: %d episodes ended, %d rows were saved before the step that resets them", mode, ends, waits)
		}
		end := string(whole(t, tr))
		for i, b := range at {
			again := resumed(t, b, mode)
			train(t, again, 1, func(Progress) error { return nil })
			if string(whole(t, again)) != end {
				t.Errorf("%v: resumed from the end of episode %d it ends differently", mode, i)
			}
		}
	}
}

// Priorities come back with their sums: the next draw goes by them.
func TestResumedPriorities(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps, c.Prioritised, c.Replay = 100, true, 50 }), 2, 1, env.NextStep)
	train(t, tr, 0, nil)
	again := resumed(t, whole(t, tr), env.NextStep)
	if got, want := again.replay.tree.sums, tr.replay.tree.sums; !slices.Equal(got[1:], want[1:]) || want[1] == 0 {
		t.Errorf("sums %v, saved %v", got, want)
	}
}

// A checkpoint in memory is the one of the file; what is wrong with it is said with its name.
func TestLoadBytes(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(3, 2), compute.Go)
	b := saved(t, d.SavePolicy)
	got, err := LoadBytes("bundled", b, nil)
	if err != nil || got.Hash() != d.Hash() {
		t.Errorf("%v", err)
	}
	foreign := saved(t, func(path string) error { return safetensors.WriteFile(path, nil, nil) })
	for want, b := range map[string][]byte{"truncated": b[:len(b)-1], "not a checkpoint": foreign} {
		if _, err := LoadBytes("bundled", b, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bundled") {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

// Every tensor of a checkpoint is needed, whatever its type.
func TestMissingTensors(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"adam": func(c *Config) { c.Prioritised = true }, "nesterov": func(c *Config) { c.Optimiser = "nesterov" },
	} {
		c := testConfig(t, func(c *Config) { c.Steps, c.NStep = 60, 3; edit(c) })
		tr := cartTrainer(t, c, 2, 1, env.NextStep)
		train(t, tr, 0, nil)
		path := filepath.Join(t.TempDir(), "c")
		if err := tr.Save(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		names := f.Names()
		f.Close()
		v, err := cartpole.New(2, env.NextStep)
		if err != nil {
			t.Fatal(err)
		}
		for _, missing := range names {
			if name == "nesterov" && !strings.HasPrefix(missing, "sgd.") {
				continue // as of the other optimiser
			}
			without := rewrite(t, path, func(_ *header, all []safetensors.Tensor) {
				for i := range all {
					if all[i].Name == missing {
						all[i].Name = "other"
					}
				}
			})
			if _, err := Resume(context.Background(), without, v, 0, compute.NewBackend(compute.Go, 1)); err == nil || !strings.Contains(err.Error(), missing) && !strings.HasPrefix(missing, "env.") {
				t.Errorf("%s without %s: %v", name, missing, err)
			}
		}
	}
}

// What is paid counts once: the returns of the episodes that ended and of those under way
// add up to the steps of a cart, each of which pays 1, also where Save begins them anew.
func TestReturnsAddUp(t *testing.T) {
	for _, mode := range modes {
		v, err := cartpole.New(2, mode)
		if err != nil {
			t.Fatal(err)
		}
		inner := env.Vector(struct{ env.Vector }{v}) // takes no snapshots
		tr, err := NewTrainer(testConfig(t, func(c *Config) { c.Steps, c.NStep = 300, 3 }), inner, 1, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		var lost float64
		train(t, tr, 100, func(p Progress) error {
			if p.Reward != 1 || !(p.Loss > 0) || !(p.Target > 0) || p.Updates == 0 {
				t.Errorf("%v: a step pays %v; after %d updates the loss is %v, the target %v", mode, p.Reward, p.Updates, p.Loss, p.Target)
			}
			sum := lost
			for _, x := range slices.Concat(tr.recent, tr.returns) {
				sum += x
			}
			if sum != float64(p.Steps) || p.Episodes != int64(len(tr.recent)) {
				t.Errorf("%v: after %d steps returns of %d episodes add up to %v", mode, p.Steps, p.Episodes, sum)
			}
			for _, x := range tr.returns {
				lost += x
			}
			whole(t, tr)
			for i, x := range tr.returns {
				if x != 0 || tr.fresh[i] != 0 || tr.collector.count[i] != 0 {
					t.Errorf("%v: an episode that Save began has %v, waits %d, holds %d steps", mode, x, tr.fresh[i], tr.collector.count[i])
				}
			}
			return nil
		})
	}
}

// A transferred agent has the trunk that was learnt, in both networks, and a last layer as
// a new one draws it; with freeze the last layer learns, all of it, and nothing else. Its
// normalisation stays in training.
func TestTransferredWeights(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps, c.Normalise, c.Dueling = 200, "fit", true }), 2, 1, env.NextStep)
	train(t, tr, 0, nil)
	path := filepath.Join(t.TempDir(), "p")
	if err := tr.Agent.SavePolicy(path); err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(compute.Go, 1)
	for _, freeze := range []bool{true, false} {
		v, err := cartpole.New(2, env.NextStep)
		if err != nil {
			t.Fatal(err)
		}
		c := testConfig(t, func(c *Config) { c.Steps, c.Dueling = 100, true })
		got, err := Transfer(path, c, v, 9, freeze, be)
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := NewTrainer(c, v, 9, be)
		if err != nil {
			t.Fatal(err)
		}
		const trunk = 4*16 + 16
		learnt, fresh := tr.Agent.online.Params().Data, drawn.Agent.online.Params().Data
		want := slices.Concat(learnt[:trunk], fresh[trunk:])
		for name, net := range map[string][]float32{"online": got.Agent.online.Params().Data, "target": got.Agent.target.Params().Data} {
			if !slices.Equal(net, want) {
				t.Errorf("freeze %v: the %s network is not the trunk that was learnt and a new layer", freeze, name)
			}
		}
		before := slices.Clone(got.Agent.online.Params().Data)
		train(t, got, 0, nil)
		after := got.Agent.online.Params().Data
		if same := slices.Equal(before[:trunk], after[:trunk]); same != freeze {
			t.Errorf("freeze %v: the trunk is as it was: %v", freeze, same)
		}
		for i := trunk; i < len(after); i++ {
			if after[i] == before[i] {
				t.Errorf("freeze %v: parameter %d of the last layer, from %d on, did not learn", freeze, i, trunk)
			}
		}
		if !slices.Equal(got.Agent.shift, tr.Agent.shift) || !slices.Equal(got.Agent.scale, tr.Agent.scale) {
			t.Errorf("freeze %v: training fitted the normalisation again", freeze)
		}
	}
}

// A snapshot that cannot be had, and one that cannot be put back, are errors that say what
// failed; without one of its rows a checkpoint is none.
func TestRestoreFails(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps = 30 }), 2, 1, env.NextStep)
	train(t, tr, 0, nil)
	path := filepath.Join(t.TempDir(), "c")
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	v, err := cartpole.New(2, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	without := rewrite(t, path, func(_ *header, all []safetensors.Tensor) {
		for i := range all {
			if all[i].Name == "env.1" {
				all[i].Name = "env.7"
			}
		}
	})
	fire := errors.New("disk on fire")
	for _, k := range []struct {
		path string
		v    env.Vector
		want string
	}{
		{path, broken{v, fire}, "disk on fire"},
		{path, struct{ env.Vector }{v}, "its environments could be saved, these cannot"},
		{without, v, "no state of environment 1"},
	} {
		if _, err := Resume(context.Background(), k.path, k.v, 0, compute.NewBackend(compute.Go, 1)); err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("got %v, want it to say %q", err, k.want)
		}
	}
}
