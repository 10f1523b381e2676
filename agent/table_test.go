package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/testkit"
)

// Both sides of every bound of a configuration.
func TestCheckBothSides(t *testing.T) {
	set := func(f func(*Config)) Config { return testConfig(t, f) }
	for _, c := range []struct {
		field  string
		accept []func(*Config)
		refuse []func(*Config)
	}{
		{"hidden", []func(*Config){func(c *Config) { c.Hidden = nil }, func(c *Config) { c.Hidden = []int{1, 1 << 14} }},
			[]func(*Config){func(c *Config) { c.Hidden = []int{1, 0} }, func(c *Config) { c.Hidden = []int{1<<14 + 1, 1} }}},
		{"normalise", []func(*Config){func(c *Config) { c.Normalise = "fit" }}, []func(*Config){func(c *Config) { c.Normalise = "" }}},
		{"epsilon_start", []func(*Config){func(c *Config) { c.EpsilonStart = 0 }, func(c *Config) { c.EpsilonStart = 1 }},
			[]func(*Config){func(c *Config) { c.EpsilonStart = -1e-9 }, func(c *Config) { c.EpsilonStart = 1 + 1e-9 }}},
		{"epsilon_end", []func(*Config){func(c *Config) { c.EpsilonEnd = 0 }, func(c *Config) { c.EpsilonEnd = 1 }},
			[]func(*Config){func(c *Config) { c.EpsilonEnd = -1e-9 }, func(c *Config) { c.EpsilonEnd = 1 + 1e-9 }}},
		{"epsilon_steps", []func(*Config){func(c *Config) { c.EpsilonSteps = 0 }}, []func(*Config){func(c *Config) { c.EpsilonSteps = -1 }}},
		{"epsilon_decay", []func(*Config){func(c *Config) { c.EpsilonDecay = 1e-9 }, func(c *Config) { c.EpsilonDecay = 1 }},
			[]func(*Config){func(c *Config) { c.EpsilonDecay = 0 }, func(c *Config) { c.EpsilonDecay = 1 + 1e-9 }}},
		{"replay", []func(*Config){func(c *Config) { c.Replay, c.Minimum = 1, 1 }, func(c *Config) { c.Replay = 100_000_000 }},
			[]func(*Config){func(c *Config) { c.Replay = 0 }, func(c *Config) { c.Replay = 100_000_001 }}},
		{"minimum", []func(*Config){func(c *Config) { c.Minimum = 1 }, func(c *Config) { c.Minimum = c.Replay }},
			[]func(*Config){func(c *Config) { c.Minimum = 0 }, func(c *Config) { c.Minimum = c.Replay + 1 }}},
		{"n_step", []func(*Config){func(c *Config) { c.NStep = 1 }, func(c *Config) { c.NStep = 1 << 20 }},
			[]func(*Config){func(c *Config) { c.NStep = 0 }, func(c *Config) { c.NStep = 1<<20 + 1 }}},
		{"alpha", []func(*Config){func(c *Config) { c.Prioritised, c.Alpha = true, 0 }, func(c *Config) { c.Prioritised, c.Alpha = true, 1 }, func(c *Config) { c.Alpha = -7 }},
			[]func(*Config){func(c *Config) { c.Prioritised, c.Alpha = true, -1e-9 }, func(c *Config) { c.Prioritised, c.Alpha = true, 1+1e-9 }}},
		{"beta", []func(*Config){func(c *Config) { c.Prioritised, c.Beta = true, 0 }, func(c *Config) { c.Prioritised, c.Beta = true, 1 }, func(c *Config) { c.Beta = -7 }},
			[]func(*Config){func(c *Config) { c.Prioritised, c.Beta = true, -1e-9 }, func(c *Config) { c.Prioritised, c.Beta = true, 1+1e-9 }}},
		{"gamma", []func(*Config){func(c *Config) { c.Gamma = 0 }, func(c *Config) { c.Gamma = 1 }},
			[]func(*Config){func(c *Config) { c.Gamma = -1e-9 }, func(c *Config) { c.Gamma = 1 + 1e-9 }}},
		{"loss", []func(*Config){func(c *Config) { c.Loss = "mse" }, func(c *Config) { c.Loss = "huber" }}, []func(*Config){func(c *Config) { c.Loss = "l1" }}},
		{"batch", []func(*Config){func(c *Config) { c.Batch = 1 }, func(c *Config) { c.Batch = 1 << 20 }},
			[]func(*Config){func(c *Config) { c.Batch = 0 }, func(c *Config) { c.Batch = 1<<20 + 1 }}},
		{"steps", []func(*Config){func(c *Config) { c.Steps = 1 }}, []func(*Config){func(c *Config) { c.Steps = 0 }}},
		{"train_every", []func(*Config){func(c *Config) { c.TrainEvery = 1 }}, []func(*Config){func(c *Config) { c.TrainEvery = 0 }}},
		{"updates", []func(*Config){func(c *Config) { c.Updates = 1 }}, []func(*Config){func(c *Config) { c.Updates = 0 }}},
		{"target", []func(*Config){func(c *Config) { c.Target = 1 }}, []func(*Config){func(c *Config) { c.Target = 0 }}},
		{"optimiser", []func(*Config){func(c *Config) { c.Optimiser = "adam" }, func(c *Config) { c.Optimiser = "nesterov" }}, []func(*Config){func(c *Config) { c.Optimiser = "sgd" }}},
		{"learning_rate", []func(*Config){func(c *Config) { c.LearningRate = 1e-12 }},
			[]func(*Config){func(c *Config) { c.LearningRate = 0 }, func(c *Config) { c.LearningRate = math.Inf(1) }, func(c *Config) { c.LearningRate = math.NaN() }}},
		{"final_rate", []func(*Config){func(c *Config) { c.FinalRate = 0 }, func(c *Config) { c.FinalRate = 1e-12 }},
			[]func(*Config){func(c *Config) { c.FinalRate = -1e-12 }, func(c *Config) { c.FinalRate = math.Inf(1) }}},
		{"momentum", []func(*Config){func(c *Config) { c.Momentum = 0 }, func(c *Config) { c.Momentum = .999 }},
			[]func(*Config){func(c *Config) { c.Momentum = -1e-9 }, func(c *Config) { c.Momentum = 1 }}},
		{"clip_norm", []func(*Config){func(c *Config) { c.ClipNorm = 0 }, func(c *Config) { c.ClipNorm = 1e-12 }},
			[]func(*Config){func(c *Config) { c.ClipNorm = -1 }, func(c *Config) { c.ClipNorm = math.Inf(1) }}},
		{"cql", []func(*Config){func(c *Config) { c.CQL = 0 }, func(c *Config) { c.CQL = 7 }},
			[]func(*Config){func(c *Config) { c.CQL = -1e-9 }, func(c *Config) { c.CQL = math.Inf(1) }, func(c *Config) { c.CQL = math.NaN() }}},
	} {
		testkit.BothSides(t, "agent: "+c.field+": ", c.accept, c.refuse, func(edit func(*Config)) error { return set(edit).Check() })
	}
	if err := set(func(c *Config) { c.Hidden, c.Minimum = []int{0}, 0 }).Check(); err == nil || err.Error() != "agent: hidden: [0]: expected 1…16384 units in each layer" {
		t.Errorf("got %v", err)
	}
	if err := set(func(c *Config) { c.Replay = 0 }).Check(); err == nil || err.Error() != "agent: replay: 0: expected 1…100000000" {
		t.Errorf("got %v", err)
	}
}

func TestSchedules(t *testing.T) {
	c := Config{EpsilonStart: .9, EpsilonEnd: .1, EpsilonSteps: 8, EpsilonDecay: .5, LearningRate: 8, FinalRate: 4}
	for at, want := range map[int64]float64{0: .9, 1: .8, 7: .2, 8: .1, 9: .05, 11: .0125} {
		if got := c.epsilon(at); math.Abs(got-want) > 1e-12 {
			t.Errorf("ε at %d is %v, want %v", at, got, want)
		}
	}
	c.EpsilonDecay = 1
	if c.epsilon(8) != .1 || c.epsilon(1000) != .1 {
		t.Error("ε does not stay")
	}
	for share, want := range map[float64]float64{0: 8, .25: 7, 1: 4, 2: 4} {
		if got := c.rate(share); got != want {
			t.Errorf("the rate after %v of training is %v, want %v", share, got, want)
		}
	}
	if c.FinalRate = 0; c.rate(.7) != 8 {
		t.Error("without a final rate it changes")
	}
}

// An engine is given what the updates by hand are given, and its loss and
// gradient take the place of theirs.
func TestUseAnEngine(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Dueling, c.Normalise, c.Target = true, "fit", 3 })
	by := func(e Learning) *DDQN {
		d := testAgent(t, c, testSpaces(3, 2, 3), compute.Go)
		r := filled(d, 60)
		d.fit(r.obs)
		if err := d.Use(e); err != nil {
			t.Fatal(err)
		}
		for u := range 5 {
			if _, _, err := d.update(r, 1, .2*float64(u)); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	hand := by(nil)
	calls := 0
	engine := by(func(u *Minibatch) (Learner, error) {
		if u.Config.Gamma != c.Gamma || len(u.Spaces.Actions) != 2 || u.Backend == nil || len(u.Actions) != 2*c.Batch || len(u.Weights) != c.Batch || len(u.Reward) != c.Batch || len(u.Discount) != c.Batch {
			t.Errorf("%+v", u)
		}
		by := u.Fused()
		return learning(func() (float64, error) {
			calls++
			for i, x := range u.X { // what a network sees is of mean 0 and deviation 1
				if math.Abs(float64(x)) > 5 || math.Abs(float64(u.Next[i])) > 5 {
					t.Errorf("sees %v, %v", x, u.Next[i])
				}
			}
			for i, x := range u.X {
				a, j := u.agent, i%u.agent.dim
				if x != (a.batch.obs[i]-a.shift[j])*a.scale[j] || u.Next[i] != (a.batch.next[i]-a.shift[j])*a.scale[j] {
					t.Fatalf("value %d: sees %v and %v of %v and %v", i, x, u.Next[i], a.batch.obs[i], a.batch.next[i])
				}
			}
			if slices.ContainsFunc(u.Grad, func(g float32) bool { return g != 0 }) {
				t.Error("the gradient does not begin as 0")
			}
			if u.Online.Params == u.Target.Params {
				t.Error("one network for both")
			}
			loss, err := by.Learn()
			clear(u.X) // its own memory
			clear(u.Next)
			return loss, err
		}), nil
	})
	if calls != 5 || engine.Hash() != hand.Hash() {
		t.Errorf("%d calls; %s by the engine, %s by hand", calls, engine.Hash(), hand.Hash())
	}
	if fmt.Sprint(engine.batch.y, engine.batch.delta) != fmt.Sprint(hand.batch.y, hand.batch.delta) {
		t.Error("targets or errors differ")
	}
	if engine.Updates() != 5 {
		t.Errorf("%d updates", engine.Updates())
	}
	gone := errors.New("no such engine")
	if err := hand.Use(func(*Minibatch) (Learner, error) { return nil, gone }); !errors.Is(err, gone) || !strings.HasPrefix(err.Error(), "agent: engine: ") {
		t.Errorf("got %v", err)
	}
	if err := hand.Use(func(*Minibatch) (Learner, error) { return learning(func() (float64, error) { return 0, gone }), nil }); err != nil {
		t.Fatal(err)
	}
	before := hand.Hash()
	if _, _, err := hand.update(filled(hand, 60), 1, 0); !errors.Is(err, gone) || !strings.HasPrefix(err.Error(), "agent: update 5: ") || hand.Hash() != before || hand.Updates() != 5 {
		t.Errorf("got %v", err)
	}
	if err := hand.Use(nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := hand.update(filled(hand, 60), 1, 0); err != nil {
		t.Error(err)
	}
}

type learning func() (float64, error)

func (f learning) Learn() (float64, error) { return f() }

// What an agent was trained on and what it meets, in words.
func TestFits(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(6, 2, 3), compute.Go)
	if err := d.Fits(testSpaces(6, 2, 3)); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		edit func(*Spaces)
		want string
	}{
		{func(s *Spaces) { s.Elements = s.Elements[:5] }, "observations of 6 elements (x0, x1, x2, x3, …), the environment has 5 (x0, x1, x2, x3, …)"},
		{func(s *Spaces) { s.Elements = s.Elements[:4] }, "the environment has 4 (x0, x1, x2, x3): "},
		{func(s *Spaces) { s.Elements[5].Name = "y" }, `observation element 5 was "x5" [] in training and is "y" [] here`},
		{func(s *Spaces) { s.Elements[1].Unit = "s" }, `observation element 1 was "x1" [] in training and is "x1" [s] here`},
		{func(s *Spaces) { s.Actions = env.MultiDiscrete{3, 2} }, "actions [2 3] on limits [], the environment has [3 2] on []"},
		{func(s *Spaces) { s.Limits = append(s.Limits, 32) }, "on limits [], the environment has [2 3] on [32]"},
	} {
		s := testSpaces(6, 2, 3)
		c.edit(&s)
		if err := d.Fits(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
	for _, s := range []Spaces{testSpaces(0, 2), testSpaces(2), testSpaces(2, 2, 0)} {
		if _, err := NewDDQN(testConfig(t, nil), s, 1, nil); err == nil || !strings.Contains(err.Error(), "an environment of") {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := NewDDQN(testConfig(t, nil), testSpaces(1, 1), 1, nil); err != nil {
		t.Errorf("one element, one action: %v", err)
	}
}

// The mean return is of the last hundred episodes; losses are since the last
// report.
func TestProgress(t *testing.T) {
	tr := &Trainer{Agent: testAgent(t, testConfig(t, nil), testSpaces(3, 2), compute.Go), returns: make([]float64, 2)}
	if p := tr.progress(); !math.IsNaN(p.Return) || !math.IsNaN(p.Loss) || !math.IsNaN(p.Target) || p.Episodes != 0 {
		t.Errorf("%+v", p)
	}
	for i := range 250 {
		tr.returns[i%2] = float64(i)
		tr.finished(i % 2)
		if tr.returns[i%2] != 0 {
			t.Fatal("the next return does not begin as 0")
		}
		if i == 2 {
			if p := tr.progress(); p.Return != 1 || p.Episodes != 3 {
				t.Errorf("after three: %+v", p)
			}
		}
	}
	tr.loss.add(2)
	tr.loss.add(4)
	tr.target.add(-5)
	tr.steps = 7
	p := tr.progress()
	if p.Return != 199.5 || p.Episodes != 250 || p.Loss != 3 || p.Target != -5 || p.Steps != 7 || p.Total != tr.Agent.Config.Steps || p.Epsilon != tr.Agent.Config.epsilon(7) {
		t.Errorf("%+v", p)
	}
	if p := tr.progress(); !math.IsNaN(p.Loss) || !math.IsNaN(p.Target) {
		t.Errorf("%+v", p)
	}
}

// Updates are done where they are due: as many as the transitions bring, none
// of those before the memory holds enough.
func TestUpdatesAreDue(t *testing.T) {
	for _, c := range []struct {
		rows, minimum, every, updates int
		steps, want                   int64
	}{
		{2, 20, 2, 1, 18, 0}, {2, 20, 2, 1, 20, 1}, {2, 20, 2, 1, 22, 2}, {2, 20, 2, 1, 40, 11}, {2, 20, 7, 3, 40, 9}, {3, 1, 1, 2, 30, 60}, {1, 10, 5, 1, 15, 1}, {1, 10, 5, 1, 13, 0},
	} {
		_, v := newCounting(c.rows, env.SameStep)
		tr, err := NewTrainer(testConfig(t, func(k *Config) {
			k.Minimum, k.TrainEvery, k.Updates, k.Steps = c.minimum, c.every, c.updates, c.steps
		}), v, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		train(t, tr, 0, nil)
		if got := tr.Agent.Updates(); got != c.want || tr.steps != c.steps {
			t.Errorf("%+v: %d updates, %d steps", c, got, tr.steps)
		}
	}
}

// rewrite copies a checkpoint with another header, or other tensors.
func rewrite(t *testing.T, from string, edit func(h *header, tensors []safetensors.Tensor)) string {
	t.Helper()
	f, h, err := open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []safetensors.Tensor
	for _, name := range f.Names() {
		i, _ := f.Info(name)
		n := 1
		for _, s := range i.Shape {
			n *= s
		}
		var data any
		switch i.Type {
		case "F32":
			x := make([]float32, n)
			err, data = safetensors.Read(f, name, x, i.Shape...), x
		case "F64":
			x := make([]float64, n)
			err, data = safetensors.Read(f, name, x, i.Shape...), x
		case "I32":
			x := make([]int32, n)
			err, data = safetensors.Read(f, name, x, i.Shape...), x
		default:
			x := make([]uint8, n)
			err, data = safetensors.Read(f, name, x, i.Shape...), x
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, safetensors.Tensor{Name: name, Shape: i.Shape, Data: data})
	}
	edit(&h, all)
	to := filepath.Join(t.TempDir(), "rewritten")
	if err := write(to, h, all); err != nil {
		t.Fatal(err)
	}
	return to
}

// A checkpoint whose numbers contradict each other is refused, with why.
func TestCheckpointsThatContradictThemselves(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Steps, c.NStep, c.Replay = 60, 3, 40 })
	tr := cartTrainer(t, c, 2, 1, env.NextStep)
	train(t, tr, 0, nil)
	path := filepath.Join(t.TempDir(), "whole")
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	resume := func(path string) error {
		v, err := cartpole.New(2, env.NextStep)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Resume(context.Background(), path, v, 0, compute.NewBackend(compute.Go, 1))
		return err
	}
	if err := resume(rewrite(t, path, func(*header, []safetensors.Tensor) {})); err != nil {
		t.Fatal(err)
	}
	tensor := func(all []safetensors.Tensor, name string) any {
		for _, x := range all {
			if x.Name == name {
				return x.Data
			}
		}
		t.Fatalf("no tensor %s", name)
		return nil
	}
	counts := "its counts contradict each other"
	for name, k := range map[string]struct {
		edit func(h *header, all []safetensors.Tensor)
		want string
	}{
		"steps":        {func(h *header, _ []safetensors.Tensor) { h.Steps = -1 }, counts},
		"ticks":        {func(h *header, _ []safetensors.Tensor) { h.Training.Ticks = -1 }, counts},
		"due":          {func(h *header, _ []safetensors.Tensor) { h.Training.Due = -1 }, counts},
		"episodes":     {func(h *header, _ []safetensors.Tensor) { h.Training.Episodes = -1 }, counts},
		"saves":        {func(h *header, _ []safetensors.Tensor) { h.Training.Saves = -1 }, counts},
		"size below":   {func(h *header, _ []safetensors.Tensor) { h.Training.Size = -1 }, counts},
		"size above":   {func(h *header, _ []safetensors.Tensor) { h.Training.Size = 41 }, counts},
		"at below":     {func(h *header, _ []safetensors.Tensor) { h.Training.At = -1 }, counts},
		"at above":     {func(h *header, _ []safetensors.Tensor) { h.Training.At = 40 }, counts},
		"another size": {func(h *header, _ []safetensors.Tensor) { h.Training.Size = 39 }, "replay.obs"},
		"config":       {func(h *header, _ []safetensors.Tensor) { h.Config.Gamma = 2 }, "gamma"},
		"frozen below": {func(h *header, _ []safetensors.Tensor) { h.Frozen = -1 }, "-1 frozen parameters"},
		"frozen above": {func(h *header, _ []safetensors.Tensor) { h.Frozen = 4*16 + 16 + 16*2 + 2 }, "114 frozen parameters of 114"},
		"a NaN weight": {func(_ *header, all []safetensors.Tensor) {
			tensor(all, "online.0.weight").([]float32)[3] = float32(math.NaN())
		}, "a weight is NaN"},
		"an Inf weight": {func(_ *header, all []safetensors.Tensor) {
			tensor(all, "online.1.bias").([]float32)[1] = float32(math.Inf(-1))
		}, "a weight is -Inf"},
		"action below": {func(_ *header, all []safetensors.Tensor) { tensor(all, "replay.actions").([]int32)[5] = -1 }, "transition 5 has action -1"},
		"action above": {func(_ *header, all []safetensors.Tensor) { tensor(all, "replay.actions").([]int32)[5] = 2 }, "transition 5 has action 2"},
		"count below":  {func(_ *header, all []safetensors.Tensor) { tensor(all, "steps.count").([]int32)[1] = -1 }, "row 1 has -1 steps of 3"},
		"count above":  {func(_ *header, all []safetensors.Tensor) { tensor(all, "steps.count").([]int32)[1] = 3 }, "row 1 has 3 steps of 3"},
		"a snapshot": {func(_ *header, all []safetensors.Tensor) {
			for i, b := 0, tensor(all, "env.1").([]uint8); i < len(b); i++ {
				b[i] = 255
			}
		}, "snapshot"},
		"none": {func(h *header, _ []safetensors.Tensor) { h.Training = nil }, "a policy only"},
	} {
		if err := resume(rewrite(t, path, k.edit)); err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, k.want)
		}
	}
	// The last parameter but one may be frozen, the whole memory full.
	for name, edit := range map[string]func(h *header, all []safetensors.Tensor){
		"frozen": func(h *header, all []safetensors.Tensor) {
			h.Frozen = 113
			for i := range all {
				if n := all[i].Name; n == "adam.m" || n == "adam.v" {
					all[i].Shape, all[i].Data = []int{1}, all[i].Data.([]float32)[:1]
				}
			}
		},
		"at 0": func(h *header, _ []safetensors.Tensor) { h.Training.At = 0 },
	} {
		if err := resume(rewrite(t, path, edit)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if i, err := Inspect(path); err != nil || i.Rows != 2 || i.Seed != 5 || i.Updates != tr.Agent.Updates() || i.Steps != 60 || i.Kernels != "go" {
		t.Errorf("%+v %v", i, err)
	}
	garbled := filepath.Join(t.TempDir(), "garbled")
	if err := safetensors.WriteFile(garbled, map[string]string{checkpointKey: "{"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(string) error{
		func(p string) error { _, err := Inspect(p); return err }, func(p string) error { _, err := Load(p, nil); return err }, resume,
	} {
		if err := read(garbled); !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), garbled) {
			t.Errorf("got %v", err)
		}
	}
}

// A resumed training may be given more steps; the rest stays.
func TestResumeWithMoreSteps(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps = 40 }), 2, 1, env.NextStep)
	tr.Agent.Scenario = "carts"
	train(t, tr, 0, nil)
	path := filepath.Join(t.TempDir(), "c")
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	for steps, want := range map[int64]int64{0: 40, 90: 90} {
		v, err := cartpole.New(2, env.NextStep)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Resume(context.Background(), path, v, steps, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		if again.Agent.Config.Steps != want || again.steps != 40 || again.Agent.Scenario != "carts" {
			t.Errorf("%d steps: %+v", steps, again.progress())
		}
		train(t, again, 0, nil)
		if again.steps < want || again.steps > want+1 {
			t.Errorf("%d steps taken, want %d", again.steps, want)
		}
	}
}

// The presets are those that DESIGN.md says.
func TestPresets(t *testing.T) {
	for name, want := range map[string]string{
		"default": `{"hidden":[64,64],"dueling":false,"normalise":"fit","epsilon_start":1,"epsilon_end":0.04,"epsilon_steps":8000,"epsilon_decay":1,` +
			`"replay":50000,"minimum":1000,"n_step":5,"prioritised":false,"alpha":0.6,"beta":0.4,"gamma":0.99,"loss":"huber","batch":64,"steps":60000,` +
			`"train_every":8,"updates":8,"target":250,"optimiser":"adam","learning_rate":0.001,"final_rate":0.00001,"clip_norm":10}`,
		"tutorial": `{"hidden":[24,24],"dueling":false,"normalise":"none","epsilon_start":1,"epsilon_end":0.01,"epsilon_steps":250,"epsilon_decay":0.99,` +
			`"replay":1000000,"minimum":100,"n_step":1,"prioritised":false,"alpha":0,"beta":0,"gamma":0.99,"loss":"mse","batch":32,"steps":1800,` +
			`"train_every":1,"updates":1,"target":10000,"optimiser":"nesterov","learning_rate":0.001,"momentum":0.9}`,
	} {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(c); err != nil || string(got) != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// A policy file has the policy and no more; its bytes do not depend on when it
// is written.
func TestSavePolicyTwice(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(3, 2), compute.Go)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(d.SavePolicy(a), d.SavePolicy(b)); err != nil {
		t.Fatal(err)
	}
	x, _ := os.ReadFile(a)
	if y, _ := os.ReadFile(b); len(x) == 0 || !bytes.Equal(x, y) {
		t.Error("two files of one policy differ")
	}
	f, err := safetensors.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := fmt.Sprint(f.Names()); got != "[normalise.scale normalise.shift online.0.bias online.0.weight online.1.bias online.1.weight]" {
		t.Errorf("holds %s", got)
	}
	if err := d.SavePolicy(filepath.Join(dir, "none", "a")); err == nil || !strings.HasPrefix(err.Error(), "agent: save: ") {
		t.Errorf("got %v", err)
	}
	if len(d.Hash()) != 32 {
		t.Errorf("hash %s", d.Hash())
	}
	other := testAgent(t, testConfig(t, nil), testSpaces(3, 2), compute.Go)
	other.shift[1] = 1
	if other.Hash() == d.Hash() {
		t.Error("the normalisation is not in the hash")
	}
}

// Exploring draws whether, and then at each switch which, from streams of their
// own; equal keys draw equally, and other rows otherwise.
func TestExploreByHand(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(2, 4, 4, 4), compute.Go)
	k := rng.Key{Seed: 3, A: 5, Purpose: rng.Explore}
	actions := slices.Repeat([]int32{-1}, 3*400)
	d.explore(k, .25, actions)
	explored := 0
	var same, counts [4]int
	for i := range 400 {
		row := actions[3*i : 3*i+3]
		if (row[0] < 0) != (row[1] < 0) || (row[0] < 0) != (row[2] < 0) {
			t.Fatalf("row %d: %v", i, row)
		}
		b := k
		b.B = uint32(i)
		if (row[0] >= 0) != (b.Float64(0) < .25) {
			t.Fatalf("row %d explores: %v", i, row[0] >= 0)
		}
		if row[0] < 0 {
			continue
		}
		explored++
		for s := range row {
			if row[s] != int32(b.Intn(uint32(1+s), 4)) {
				t.Fatalf("row %d: %v", i, row)
			}
			counts[row[s]]++
			if row[s] == row[(s+1)%3] {
				same[s]++
			}
		}
	}
	if explored < 70 || explored > 130 {
		t.Errorf("%d of 400 rows explore at ε .25", explored)
	}
	for s := range 3 {
		if same[s] > explored/2 || same[s] == 0 {
			t.Errorf("switches %d and %d draw alike in %d of %d", s, (s+1)%3, same[s], explored)
		}
	}
	for a, n := range counts {
		if n == 0 {
			t.Errorf("action %d is never drawn", a)
		}
	}
	d.explore(k, 0, actions)
	before := slices.Clone(actions)
	if d.explore(k, 0, actions); !slices.Equal(actions, before) {
		t.Error("at ε 0 it explores")
	}
}

// A resumed training reports what the unbroken one does: the mean of the last
// episodes, and losses since the last report.
func TestResumeKeepsTheReport(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps = 400 }), 2, 1, env.NextStep)
	path := filepath.Join(t.TempDir(), "c")
	if err := tr.Train(context.Background(), 100, func(p Progress) error {
		if p.Steps >= 200 {
			return errors.New("stop")
		}
		return nil
	}); err == nil {
		t.Fatal("was not stopped")
	}
	tr.loss.add(3)
	tr.target.add(5)
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	v, err := cartpole.New(2, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Resume(context.Background(), path, v, 0, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.progress(), tr.progress(); fmt.Sprint(got) != fmt.Sprint(want) || want.Episodes == 0 || math.IsNaN(want.Return) || want.Loss != 3 {
		t.Errorf("%+v, unbroken %+v", got, want)
	}
}

// A policy that is read trains on against itself: its target network is the one that was read.
func TestTargetOfALoadedPolicy(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(3, 2), compute.Go)
	for i := range d.online.Params().Data {
		d.online.Params().Data[i] = float32(i) / 7
	}
	path := filepath.Join(t.TempDir(), "p")
	if err := d.SavePolicy(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, net := range map[string][]float32{"online": got.online.Params().Data, "target": got.target.Params().Data} {
		if fmt.Sprint(net) != fmt.Sprint(d.online.Params().Data) {
			t.Errorf("%s: %v, want %v", name, net, d.online.Params().Data)
		}
	}
}
