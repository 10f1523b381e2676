package agent

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

func testSpaces(dim int, actions ...int) Spaces {
	s := Spaces{Actions: env.MultiDiscrete(actions)}
	for i := range dim {
		s.Elements = append(s.Elements, telemetry.Field{Name: fmt.Sprint("x", i)})
	}
	return s
}

func testConfig(t testing.TB, edit func(*Config)) Config {
	t.Helper()
	c, err := Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	c.Hidden, c.Batch, c.Replay, c.Minimum, c.Normalise, c.NStep, c.FinalRate = []int{16}, 8, 500, 20, "none", 1, 0
	if edit != nil {
		edit(&c)
	}
	return c
}

func testAgent(t testing.TB, c Config, s Spaces, k compute.Kernels) *DDQN {
	t.Helper()
	d, err := NewDDQN(c, s, 1, compute.NewBackend(k, 1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// filled is a replay of drawn transitions, a quarter of them terminal.
func filled(d *DDQN, n int) *replay {
	r := newReplay(n, d.dim, d.s, d.Config.Prioritised)
	obs, next, actions := make([]float32, d.dim), make([]float32, d.dim), make([]int32, d.s)
	for i := range n {
		k := rng.Key{Seed: 3, A: uint32(i), Purpose: rng.Start}
		for j := range obs {
			a, b := k.Normal(uint32(j))
			obs[j], next[j] = float32(a), float32(b)
		}
		for s, n := range d.Spaces.Actions {
			actions[s] = int32(k.Intn(uint32(100+s), n))
		}
		discount := float32(.9)
		if i%4 == 0 {
			discount = 0
		}
		r.add(obs, actions, float32(3*k.Float64(200)), discount, next)
	}
	return r
}

// The gradient of every form of the loss agrees with central differences.
func TestGradients(t *testing.T) {
	for _, c := range []struct {
		name    string
		actions []int
		edit    func(*Config)
	}{
		{"mse", []int{3}, func(c *Config) { c.Loss = "mse" }},
		{"huber", []int{3}, nil},
		{"dueling, three switches", []int{2, 3, 2}, func(c *Config) { c.Dueling = true }},
		{"cql", []int{2, 3}, func(c *Config) { c.CQL, c.Dueling = 2, true }},
		{"prioritised", []int{3}, func(c *Config) { c.Prioritised = true }},
	} {
		d := testAgent(t, testConfig(t, c.edit), testSpaces(4, c.actions...), compute.Reference)
		r := filled(d, 50)
		d.batch = d.newBatch()
		b := &d.batch
		if d.Config.Prioritised {
			for i := range 50 {
				r.prioritise([]int{i}, []float32{float32(i)}, .6)
			}
		}
		r.sample(rng.Key{Seed: 4, Purpose: rng.Transition}, .5, b.at, b.weights)
		for i, j := range b.at {
			copy(b.obs[i*d.dim:(i+1)*d.dim], r.obs[j*d.dim:])
			copy(b.next[i*d.dim:(i+1)*d.dim], r.next[j*d.dim:])
			copy(b.actions[i*d.s:(i+1)*d.s], r.actions[j*d.s:])
			b.reward[i], b.discount[i] = r.reward[j], r.discount[j]
		}
		d.targets(b)
		d.loss(b)
		d.backValues(b.dq, b.dout)
		b.here.run.Backward(b.dout, nil, b.grad)
		theta := d.online.Params().Data
		const h = 1. / 2048
		for _, i := range []int{0, 7, 33, len(theta) / 2, len(theta) - 20, len(theta) - 1} {
			was := theta[i]
			theta[i] = was + h
			up := d.loss(b)
			theta[i] = was - h
			down := d.loss(b)
			theta[i] = was
			if want := (up - down) / (2 * h); math.Abs(want-float64(b.grad[i])) > 2e-3*max(math.Abs(want), .1) {
				t.Errorf("%s: parameter %d: gradient %v, difference %v", c.name, i, b.grad[i], want)
			}
		}
	}
}

// Equation 4 of the paper by hand: θ picks the action, θ⁻ tells its value;
// where an episode terminated there is none.
func TestDoubleTarget(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Hidden, c.Batch = nil, 2 }), testSpaces(1, 2, 2), compute.Go)
	// Without hidden layers Q = w·x + b: four outputs, switch by switch.
	copy(d.online.Params().Data, []float32{0, 0, 0, 0, 1, 2, 4, 3}) // picks 1, 0
	copy(d.target.Params().Data, []float32{0, 0, 0, 0, 100, 10, 30, 100})
	d.batch = d.newBatch()
	b := &d.batch
	copy(b.reward, []float32{5, 5})
	copy(b.discount, []float32{.5, 0})
	d.targets(b)
	if b.y[0] != 5+.5*(10+30)/2 || b.y[1] != 5 {
		t.Errorf("y = %v, want [15 5]", b.y)
	}
}

// The distance from the target that priorities go by is the mean, over switches, of its
// size.
func TestDistances(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Hidden, c.Batch = nil, 2 }), testSpaces(1, 2, 2), compute.Go)
	copy(d.online.Params().Data, []float32{0, 0, 0, 0, 1, 2, 4, 3}) // Q of switch 0, then of switch 1
	d.batch = d.newBatch()
	b := &d.batch
	copy(b.weights, []float32{1, 1})
	copy(b.y, []float32{2, 10})
	copy(b.actions, []int32{0, 1, 1, 0}) // Q: 1 and 3; 2 and 4
	if d.loss(b); b.delta[0] != 1 || b.delta[1] != 7 {
		t.Errorf("distances %v, want [1 7]", b.delta)
	}
}

func TestDuelingValues(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Hidden, c.Dueling = nil, true }), testSpaces(1, 2, 3), compute.Go)
	p := d.newPass(d.online, 1)
	copy(d.online.Params().Data[6:], []float32{10, 1, 3, 6, 0, 0}) // V; A of two; A of three
	if got := fmt.Sprint(d.values(&p, []float32{0})); got != "[9 11 14 8 8]" {
		t.Errorf("Q = %v", got)
	}
}

// The target network moves when τ updates are done and only then; the
// tutorial's τ = 10,000 outlives its training of 1,800 steps, so that its
// targets are those of initial weights throughout.
func TestTargetUpdates(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Target = 5 }), testSpaces(3, 2), compute.Go)
	r := filled(d, 100)
	before := fmt.Sprint(d.target.Params().Data)
	for i := range 5 {
		if fmt.Sprint(d.target.Params().Data) != before {
			t.Fatalf("moved after %d updates", i)
		}
		if _, _, err := d.update(r, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(d.target.Params().Data) != fmt.Sprint(d.online.Params().Data) {
		t.Error("did not move after 5 updates")
	}
	c, err := Preset("tutorial")
	if err != nil {
		t.Fatal(err)
	}
	if c.Steps*int64(c.Updates)/int64(c.TrainEvery) >= c.Target {
		t.Error("the tutorial's target network moves")
	}
}

func TestUpdateAndActAllocateNothing(t *testing.T) {
	for _, edit := range []func(*Config){nil, func(c *Config) { c.Prioritised, c.Dueling, c.CQL, c.Optimiser = true, true, 1, "nesterov" }} {
		c := testConfig(t, edit)
		c.Batch = 32
		d := testAgent(t, c, testSpaces(9, 2), compute.Go)
		r := filled(d, 200)
		update := func() {
			if _, _, err := d.update(r, 1, .5); err != nil {
				t.Fatal(err)
			}
		}
		update()
		if n := testing.AllocsPerRun(20, update); n != 0 {
			t.Errorf("an update allocates %v times", n)
		}
		obs, actions := make([]float32, 256*9), make([]int32, 256)
		act := func() {
			d.Act(nil, obs, actions)
			d.explore(rng.Key{Purpose: rng.Explore}, .5, actions)
		}
		act()
		if n := testing.AllocsPerRun(20, act); n != 0 {
			t.Errorf("acting allocates %v times", n)
		}
	}
}

// Batch 1 and batch n give the same actions.
func TestActDoesNotDependOnTheBatch(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(4, 3, 3), compute.Go)
	r := filled(d, 100)
	all := make([]int32, 200)
	d.Act(nil, r.obs, all)
	for i := range 100 {
		one := make([]int32, 2)
		d.Act([]int{i}, r.obs[4*i:4*i+4], one)
		if one[0] != all[2*i] || one[1] != all[2*i+1] {
			t.Fatalf("row %d: %v alone, %v among others", i, one, all[2*i:2*i+2])
		}
	}
}

func TestFit(t *testing.T) {
	d := testAgent(t, testConfig(t, nil), testSpaces(2, 2), compute.Go)
	d.fit([]float32{1, 7, 3, 7, 5, 7})
	if d.shift[0] != 3 || math.Abs(float64(d.scale[0])-1/math.Sqrt(8./3)) > 1e-6 || d.shift[1] != 7 || d.scale[1] != 1 {
		t.Errorf("shift %v scale %v", d.shift, d.scale)
	}
	// A deviation of a thousandth is scaled as any other; of less than a millionth there is none.
	if d.fit([]float32{.001, 2e-7, -.001, -2e-7}); math.Abs(float64(d.scale[0])-1000) > .01 || d.scale[1] != 1 {
		t.Errorf("scale %v", d.scale)
	}
}

func TestDivergenceIsAnError(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Loss, c.ClipNorm, c.Optimiser = "mse", 0, "nesterov" }), testSpaces(2, 2), compute.Go)
	r := filled(d, 100)
	for i := range r.reward {
		r.reward[i] = math.MaxFloat32
	}
	var err error
	for range 3 {
		if _, _, err = d.update(r, 1, 0); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "diverged; lower learning_rate") {
		t.Errorf("got %v", err)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, name := range PresetNames {
		c, err := Preset(name)
		if err == nil {
			err = c.Check()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Preset("best"); err == nil || !strings.Contains(err.Error(), "one of default, tutorial") {
		t.Errorf("unknown preset: %v", err)
	}
	for field, edit := range map[string]func(*Config){
		"hidden": func(c *Config) { c.Hidden = []int{0} }, "normalise": func(c *Config) { c.Normalise = "l2" },
		"epsilon_start": func(c *Config) { c.EpsilonStart = 2 }, "epsilon_end": func(c *Config) { c.EpsilonEnd = math.NaN() },
		"epsilon_decay": func(c *Config) { c.EpsilonDecay = 0 }, "minimum": func(c *Config) { c.Minimum = c.Replay + 1 },
		"n_step": func(c *Config) { c.NStep = 0 }, "gamma": func(c *Config) { c.Gamma = 1.1 }, "loss": func(c *Config) { c.Loss = "" },
		"target": func(c *Config) { c.Target = 0 }, "optimiser": func(c *Config) { c.Optimiser = "sgd" },
		"learning_rate": func(c *Config) { c.LearningRate = math.Inf(1) }, "replay": func(c *Config) { c.Replay = 1e12 },
		"alpha": func(c *Config) { c.Prioritised, c.Alpha = true, -1 }, "cql": func(c *Config) { c.CQL = -1 },
	} {
		c := testConfig(t, edit)
		if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), "agent: "+field+": ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
