package agent

import (
	"bytes"
	"context"
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
)

// counting is an environment whose observation tells where it comes from:
// row, episode, step. Row i's episodes last 3+i steps; those of even number
// terminate, the others are truncated.
type counting struct {
	n             int
	episode, step []int
	seeded        []uint64
	spaces        Spaces
	nan           int // the step, counted over all calls, whose reward is NaN
	fail          int // … that fails
	short         int // … that gives an observation too few
	steps         int
}

func newCounting(n int, mode env.Autoreset) (*counting, env.Vector) {
	c := &counting{n: n, episode: make([]int, n), step: make([]int, n), seeded: make([]uint64, n), spaces: testSpaces(3, 2), nan: -1, fail: -1, short: -1}
	return c, env.WithAutoreset(c, mode)
}

func (c *counting) Spec() env.Spec {
	d := len(c.spaces.Elements)
	return env.Spec{Observation: env.Box{Low: make([]float32, d), High: make([]float32, d), Elements: c.spaces.Elements}, Action: c.spaces.Actions, Autoreset: env.Disabled}
}
func (c *counting) Num() int     { return c.n }
func (c *counting) Close() error { return nil }
func (c *counting) obs(out *env.Batch, i, r int) {
	copy(out.Obs[3*i:], []float32{float32(r), float32(c.episode[r]), float32(c.step[r])})
}
func (c *counting) Reset(_ context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	n := c.n
	if rows != nil {
		n = len(rows)
	}
	out.Size(n, 3, false)
	for i := range n {
		r := env.RowAt(rows, i)
		c.episode[r]++
		if seeds != nil {
			c.episode[r], c.seeded[r] = 1, seeds[i]
		}
		c.step[r] = 0
		c.obs(out, i, r)
		out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
	}
	return nil
}

var errGone = errors.New("connection refused")

func (c *counting) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	if c.steps == c.fail {
		return errGone
	}
	n := c.n
	if rows != nil {
		n = len(rows)
	}
	out.Size(n, 3, false)
	for i := range n {
		r := env.RowAt(rows, i)
		c.step[r]++
		c.obs(out, i, r)
		out.Reward[i] = float32(actions[i])
		if c.steps == c.nan {
			out.Reward[i] = float32(math.NaN())
		}
		over := c.step[r] == 3+r
		out.Terminated[i], out.Truncated[i] = over && c.episode[r]%2 == 0, over && c.episode[r]%2 == 1
	}
	if c.steps == c.short {
		out.Obs = out.Obs[:3*(n-1)]
	}
	c.steps++
	return nil
}

var modes = []env.Autoreset{env.NextStep, env.SameStep, env.Disabled}

// Whatever the reset mode, what is stored is the same: within an episode each
// step once, its last observation included; nothing of a reset.
func TestNoTransitionSpansAReset(t *testing.T) {
	var first []string
	for _, mode := range modes {
		_, v := newCounting(3, mode)
		tr, err := NewTrainer(testConfig(t, func(c *Config) { c.Steps, c.Gamma = 200, .5 }), v, 1, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Train(context.Background(), 1000, func(Progress) error { return nil }); err != nil {
			t.Fatal(err)
		}
		r := tr.replay
		var got []string
		for i := range r.size {
			o, n := r.obs[3*i:3*i+3], r.next[3*i:3*i+3]
			if n[0] != o[0] || n[1] != o[1] || n[2] != o[2]+1 {
				t.Fatalf("%v: transition from %v to %v", mode, o, n)
			}
			last := int(n[2]) == 3+int(o[0])
			if want := map[bool]float32{true: 0, false: .5}[last && int(o[1])%2 == 0]; r.discount[i] != want {
				t.Errorf("%v: transition from %v has discount %v, want %v", mode, o, r.discount[i], want)
			}
			if o[1] <= 10 {
				got = append(got, fmt.Sprint(o))
			}
		}
		slices.Sort(got)
		if want := 10 * (3 + 4 + 5); len(got) != want || len(slices.Compact(slices.Clone(got))) != want {
			t.Errorf("%v: %d transitions of the first ten episodes, want %d, each once", mode, len(got), want)
		}
		if first == nil {
			first = got
		} else if !slices.Equal(got, first) {
			t.Errorf("%v stores other transitions than %v", mode, modes[0])
		}
	}
}

func train(t *testing.T, tr *Trainer, every int64, report func(Progress) error) {
	t.Helper()
	if report == nil {
		report = func(Progress) error { return nil }
	}
	if err := tr.Train(context.Background(), every, report); err != nil {
		t.Fatal(err)
	}
}

func cartTrainer(t *testing.T, c Config, n, threads int, mode env.Autoreset) *Trainer {
	t.Helper()
	v, err := cartpole.New(n, mode)
	if err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(compute.Go, threads)
	t.Cleanup(func() { be.Close() })
	tr, err := NewTrainer(c, v, 5, be)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestEqualSeedsEqualWeights(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Steps, c.TrainEvery, c.Updates, c.Batch = 1500, 8, 2, 100 })
	hash := func(threads int, seed uint64) string {
		tr := cartTrainer(t, c, 6, threads, env.NextStep)
		tr.Seed = seed
		train(t, tr, 1000, nil)
		return tr.Agent.Hash()
	}
	one := hash(1, 5)
	if four := hash(4, 5); four != one {
		t.Errorf("4 threads give %s, 1 gives %s", four, one)
	}
	if other := hash(1, 6); other == one {
		t.Error("another seed gives the same weights")
	}
}

// A run that was killed and resumed from its checkpoint ends with the bytes
// of one that was not.
func TestResumeIsExact(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"plain":    nil,
		"all on":   func(c *Config) { c.Prioritised, c.Dueling, c.NStep, c.Normalise = true, true, 3, "fit" },
		"nesterov": func(c *Config) { c.Optimiser, c.Momentum, c.NStep, c.FinalRate = "nesterov", .9, 5, 1e-5 },
		"ring":     func(c *Config) { c.Replay = 150 },
	} {
		for _, mode := range modes {
			c := testConfig(t, func(c *Config) {
				c.Steps, c.TrainEvery, c.Updates, c.Target = 600, 7, 3, 10
				if edit != nil {
					edit(c)
				}
			})
			dir := t.TempDir()
			mid, end, again := filepath.Join(dir, "mid"), filepath.Join(dir, "end"), filepath.Join(dir, "again")
			whole := cartTrainer(t, c, 3, 1, mode)
			train(t, whole, 250, func(p Progress) error {
				if p.Steps < 400 {
					return whole.Save(context.Background(), mid)
				}
				return nil
			})
			if err := whole.Save(context.Background(), end); err != nil {
				t.Fatal(err)
			}
			v, err := cartpole.New(3, mode)
			if err != nil {
				t.Fatal(err)
			}
			be := compute.NewBackend(compute.Go, 2)
			tr, err := Resume(context.Background(), mid, v, 0, be)
			if err != nil {
				t.Fatal(err)
			}
			train(t, tr, 250, nil)
			if err := tr.Save(context.Background(), again); err != nil {
				t.Fatal(err)
			}
			be.Close()
			a, err := os.ReadFile(end)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(again); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s, %v: resumed %s, unbroken %s (%v)", name, mode, tr.Agent.Hash(), whole.Agent.Hash(), err)
			}
		}
	}
}

// Environments that cannot be saved begin anew at each save, in the unbroken
// run as in the resumed one.
func TestResumeWithoutSnapshots(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Steps, c.NStep = 300, 2 })
	mid := filepath.Join(t.TempDir(), "mid")
	inner, v := newCounting(2, env.NextStep)
	whole, err := NewTrainer(c, v, 1, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	saved := false
	train(t, whole, 101, func(Progress) error {
		if saved {
			return nil
		}
		saved = true
		return whole.Save(context.Background(), mid)
	})
	if want := []uint64{1 + 1<<32, 2 + 1<<32}; !slices.Equal(inner.seeded, want) {
		t.Errorf("seeded %v, want %v", inner.seeded, want)
	}
	_, v = newCounting(2, env.NextStep)
	tr, err := Resume(context.Background(), mid, v, 0, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	train(t, tr, 101, nil)
	if tr.Agent.Hash() != whole.Agent.Hash() || tr.steps != whole.steps {
		t.Errorf("resumed %s, unbroken %s", tr.Agent.Hash(), whole.Agent.Hash())
	}
}

func TestPolicyFile(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps, c.Normalise, c.Dueling = 300, "fit", true }), 2, 1, env.NextStep)
	train(t, tr, 1000, nil)
	dir := t.TempDir()
	whole, policy := filepath.Join(dir, "whole"), filepath.Join(dir, "policy")
	if err := errors.Join(tr.Save(context.Background(), whole), tr.Agent.SavePolicy(policy)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{whole, policy} {
		d, err := Load(path, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		if d.Hash() != tr.Agent.Hash() || d.Updates() != tr.Agent.Updates() {
			t.Errorf("%s: loaded %s after %d updates, saved %s", path, d.Hash(), d.Updates(), tr.Agent.Hash())
		}
	}
	_, v := newCounting(2, env.NextStep)
	if _, err := Resume(context.Background(), policy, v, 0, compute.NewBackend(compute.Go, 1)); err == nil || !strings.Contains(err.Error(), "holds a policy only") {
		t.Errorf("resuming a policy: %v", err)
	}
}

func TestRefusedCheckpoints(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	c := testConfig(t, func(c *Config) { c.Steps = 60 })
	tr := cartTrainer(t, c, 2, 1, env.NextStep)
	train(t, tr, 1000, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.safetensors")
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign")
	if err := safetensors.WriteFile(foreign, nil, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut")
	if err := os.WriteFile(cut, data[:len(data)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{foreign, "not a checkpoint of an agent: its metadata has no planegym.agent.v1"},
		{cut, "truncated"},
		{filepath.Join(dir, "none"), "no such file"},
	} {
		if _, err := Load(c.path, be); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
	cart := func(n int, mode env.Autoreset) env.Vector {
		v, err := cartpole.New(n, mode)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	_, other := newCounting(2, env.NextStep)
	for _, c := range []struct {
		v    env.Vector
		k    compute.Kernels
		want string
	}{
		{cart(3, env.NextStep), compute.Go, "trained in 2 environments, here are 3"},
		{cart(2, env.SameStep), compute.Go, "trained with autoreset next_step, here it is same_step"},
		{cart(2, env.NextStep), compute.Reference, `give --kernels go`},
		{other, compute.Go, "observations of 4 elements (cart_position, cart_velocity, pole_angle, pole_angular_velocity), the environment has 3 (x0, x1, x2)"},
	} {
		if _, err := Resume(context.Background(), path, c.v, 0, compute.NewBackend(c.k, 1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}

func TestTransfer(t *testing.T) {
	tr := cartTrainer(t, testConfig(t, func(c *Config) { c.Steps, c.Normalise = 200, "fit" }), 2, 1, env.NextStep)
	train(t, tr, 1000, nil)
	path := filepath.Join(t.TempDir(), "p")
	if err := tr.Agent.SavePolicy(path); err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(compute.Go, 1)
	wide, v := newCounting(2, env.NextStep)
	wide.spaces = Spaces{Elements: tr.Agent.Spaces.Elements, Actions: env.MultiDiscrete{5}}
	for _, freeze := range []bool{true, false} {
		got, err := Transfer(path, testConfig(t, func(c *Config) { c.Hidden = []int{99} }), v, 9, freeze, be)
		if err != nil {
			t.Fatal(err)
		}
		d := got.Agent
		trunk := d.online.Params().View("1.weight").Shape
		if trunk[0] != 5 || trunk[1] != 16 {
			t.Fatalf("last layer %v, want [5 16]", trunk)
		}
		r := filled(d, 100)
		for range 3 {
			if _, _, err := d.update(r, 1, 0); err != nil {
				t.Fatal(err)
			}
		}
		same := slices.Equal(d.online.Params().View("0.weight").Data, tr.Agent.online.Params().View("0.weight").Data)
		if same != freeze {
			t.Errorf("freeze %v: the trunk is as it was: %v", freeze, same)
		}
		if !slices.Equal(d.shift, tr.Agent.shift) {
			t.Error("the normalisation was not kept")
		}
	}
	_, narrow := newCounting(2, env.NextStep)
	if _, err := Transfer(path, testConfig(t, nil), narrow, 9, true, be); err == nil || !strings.Contains(err.Error(), "4 elements") {
		t.Errorf("another observation: %v", err)
	}
}

// What ends training leaves the checkpoint before it as it was.
func TestTrainingEnds(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Steps, c.TrainEvery = 1000, 2 })
	for _, k := range []struct {
		name string
		set  func(*counting)
		want string
	}{
		{"NaN reward", func(c *counting) { c.nan = 30 }, "row 0: reward is NaN: the environment is at fault"},
		{"server gone", func(c *counting) { c.fail = 30 }, "connection refused"},
		{"wrong size", func(c *counting) { c.short = 30 }, "the environment gave 3 numbers for 2 observations of 3 elements: it does not keep to its own spec"},
	} {
		inner, v := newCounting(2, env.NextStep)
		k.set(inner)
		tr, err := NewTrainer(c, v, 1, compute.NewBackend(compute.Go, 1))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "c")
		err = tr.Train(context.Background(), 20, func(Progress) error { return tr.Save(context.Background(), path) })
		if err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: got %v, want it to say %q", k.name, err, k.want)
		}
		if d, err := Load(path, compute.NewBackend(compute.Go, 1)); err != nil || d.Updates() == 0 {
			t.Errorf("%s: the last checkpoint: %v", k.name, err)
		}
		for _, r := range tr.replay.reward {
			if math.IsNaN(float64(r)) {
				t.Fatalf("%s: NaN was stored", k.name)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, v := newCounting(2, env.NextStep)
	tr, err := NewTrainer(c, v, 1, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	err = tr.Train(ctx, 20, func(Progress) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || tr.steps < 20 || tr.steps > 22 {
		t.Errorf("cancelled: %v after %d steps", err, tr.steps)
	}
}

// lights shows a number per switch; doing what it shows pays.
type lights struct {
	n, step int
	shown   []int32
	actions env.MultiDiscrete
}

func (l *lights) Spec() env.Spec {
	s := testSpaces(2*len(l.actions), l.actions...)
	d := len(s.Elements)
	return env.Spec{Observation: env.Box{Low: make([]float32, d), High: make([]float32, d), Elements: s.Elements}, Action: l.actions, Autoreset: env.Disabled}
}
func (l *lights) Num() int     { return l.n }
func (l *lights) Close() error { return nil }
func (l *lights) show(n int, out *env.Batch) {
	s := len(l.actions)
	out.Size(n, 2*s, false)
	clear(out.Obs)
	for i := range l.shown {
		k := rng.Key{Seed: 1, A: uint32(l.step), B: uint32(i), Purpose: rng.Start}
		l.shown[i] = int32(k.Intn(0, l.actions[i%s]))
		out.Obs[2*i] = float32(l.shown[i])
		out.Obs[2*i+1] = 1
	}
}
func (l *lights) Reset(_ context.Context, rows []int, _ []uint64, out *env.Batch) error {
	l.shown = make([]int32, l.n*len(l.actions))
	l.show(l.n, out)
	clear(out.Reward)
	clear(out.Terminated)
	clear(out.Truncated)
	return nil
}
func (l *lights) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	s := len(l.actions)
	right := make([]float32, l.n)
	for i, a := range actions {
		if a == l.shown[i] {
			right[i/s] += 1 / float32(s)
		}
	}
	l.step++
	l.show(l.n, out)
	copy(out.Reward, right)
	clear(out.Terminated)
	clear(out.Truncated)
	return nil
}

// Every variant learns what one switch and what three should do.
func TestLearns(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"double":      func(*Config) {},
		"dueling":     func(c *Config) { c.Dueling = true },
		"prioritised": func(c *Config) { c.Prioritised = true },
		"nesterov":    func(c *Config) { c.Optimiser, c.LearningRate, c.Momentum = "nesterov", .05, .9 },
	} {
		for _, actions := range []env.MultiDiscrete{{3}, {2, 3, 2}} {
			if len(actions) == 1 && name != "double" {
				continue
			}
			l := &lights{n: 4, actions: actions}
			c := testConfig(t, func(c *Config) {
				c.Hidden, c.Gamma, c.Steps, c.Replay, c.EpsilonSteps, c.EpsilonEnd = []int{32}, 0, 4000, 4000, 3000, 0
				c.LearningRate, c.TrainEvery, c.Updates, c.Batch, c.Target = 3e-3, 4, 2, 32, 50
				edit(c)
			})
			tr, err := NewTrainer(c, l, 1, compute.NewBackend(compute.Go, 1))
			if err != nil {
				t.Fatal(err)
			}
			train(t, tr, 1000, nil)
			var out env.Batch
			var paid float32
			got := make([]int32, 4*len(actions))
			obs := tr.obs
			for range 25 {
				tr.Agent.Act(nil, obs, got)
				if err := l.Step(context.Background(), nil, got, &out); err != nil {
					t.Fatal(err)
				}
				for _, r := range out.Reward {
					paid += r / 100
				}
				obs = out.Obs
			}
			if paid < .97 {
				t.Errorf("%s, actions %v: %.2f of the best", name, actions, paid)
			}
		}
	}
}

// losing steps its carts and loses what came of it, once.
type losing struct {
	env.Vector
	left int
}

func (l *losing) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	err := l.Vector.Step(ctx, rows, actions, out)
	if l.left--; l.left == 0 {
		return errGone
	}
	return err
}
func (l *losing) Snapshot(row int, dst []byte) ([]byte, error) {
	return l.Vector.(env.Snapshotter).Snapshot(row, dst)
}
func (l *losing) Restore(row int, src []byte) error {
	return l.Vector.(env.Snapshotter).Restore(row, src)
}

// After a step whose result was lost the environments are ahead of what the
// agent saw: they are not saved but begun anew.
func TestSaveAfterALostStep(t *testing.T) {
	inner, err := cartpole.New(2, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewTrainer(testConfig(t, func(c *Config) { c.Steps = 300 }), &losing{inner, 30}, 1, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c")
	if err := tr.Train(context.Background(), 1000, func(Progress) error { return nil }); !errors.Is(err, errGone) {
		t.Fatal(err)
	}
	before := slices.Clone(tr.obs)
	if err := tr.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(before, tr.obs) {
		t.Error("the episodes went on")
	}
	v, err := cartpole.New(2, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Resume(context.Background(), path, v, 0, compute.NewBackend(compute.Go, 1))
	if err != nil {
		t.Fatal(err)
	}
	train(t, tr, 1000, nil)
	train(t, again, 1000, nil)
	if tr.Agent.Hash() != again.Agent.Hash() {
		t.Error("resumed and unbroken training differ")
	}
	if i, err := Inspect(path); err != nil || i.Rows != 2 || i.Config.Steps != 300 || i.Steps == 0 {
		t.Errorf("%+v %v", i, err)
	}
}
