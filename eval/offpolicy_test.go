package eval_test

import (
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
)

// chain is an MDP of two states and two actions. Action 1 leads to state 1
// with chance .9, action 0 with chance .2; state 1 pays 1, state 0 nothing.
// The policy "always a" has, with p = .9 or .2 and whatever the state now,
//
//	V(s) = s + γ p/(1-γ)      from Vₖ = r + γ Vₖ₊₁ and r = p after the first step
const chainGamma = .8

func chainValue(a int, ones, gamma float64) float64 {
	p := [2]float64{.2, .9}[a]
	return (1-gamma)*ones + gamma*p
}

// chainLog plays a behaviour that draws an action every hold steps, action 1
// with chance one. observed says what of the state is shown.
func chainLog(episodes, steps, hold int, one float64, observed func(state int) float32) (logs []eval.Logged, ones float64) {
	starts := 0.
	for e := range episodes {
		k := rng.Key{Seed: 5, A: uint32(e), Purpose: rng.Traffic}
		n := uint32(0)
		draw := func() float64 { n++; return k.Float64(n) }
		var l eval.Logged
		state := 0
		if draw() < .5 {
			state = 1
		}
		action := int32(0)
		for t := range steps {
			l.Obs = append(l.Obs, observed(state))
			chance := 1.
			if t%hold == 0 {
				starts, ones = starts+1, ones+float64(state)
				action, chance = 0, 1-one
				if draw() < one {
					action, chance = 1, one
				}
			}
			l.Actions, l.Chance, l.Reward = append(l.Actions, action), append(l.Chance, chance), append(l.Reward, float32(state))
			p := .2
			if action == 1 {
				p = .9
			}
			state = 0
			if draw() < p {
				state = 1
			}
		}
		l.Obs = append(l.Obs, observed(state))
		logs = append(logs, l)
	}
	return logs, ones / starts
}

func always(logs []eval.Logged, a int) (target [][]float64) {
	for _, l := range logs {
		c := make([]float64, 2*(len(l.Reward)+1))
		for t := range len(l.Reward) + 1 {
			c[2*t+a] = 1
		}
		target = append(target, c)
	}
	return target
}

// Both estimates find the values that are known in closed form, where the
// state is seen and the chances are right; the interval is neither so wide as
// to say nothing, nor off.
func TestOffPolicyValues(t *testing.T) {
	seen := func(state int) float32 { return float32(state) }
	for _, hold := range []int{1, 5} {
		logs, ones := chainLog(40, 100, hold, .5, seen)
		o, err := eval.NewOffPolicy(logs, 1, 2, chainGamma, 0)
		if err != nil {
			t.Fatal(err)
		}
		for a := range 2 {
			v, err := o.Value(always(logs, a))
			if err != nil {
				t.Fatal(err)
			}
			want := chainValue(a, ones, chainGamma)
			for name, x := range map[string][]float64{"FQE": v.FQE, "DR": v.DR} {
				e := eval.EstimateOf(x)
				t.Logf("hold %d, always %d, %s: %.3f ± %.3f, true %.3f, followed %.2f", hold, a, name, e.Mean, e.CI, want, v.Followed)
				if !(math.Abs(e.Mean-want) < 1.5*e.CI) || !(e.CI < .06) {
					t.Errorf("hold %d, always %d, %s: %.3f ± %.3f, want %.3f", hold, a, name, e.Mean, e.CI, want)
				}
			}
		}
	}
}

// Doubly robust: a Q that sees nothing of the state is put right by the
// weights, wrong chances are by a right Q; FQE alone is only as good as its Q.
func TestOffPolicyDoublyRobust(t *testing.T) {
	// Nothing is seen: FQE takes the behaviour's mean reward for either action's.
	const gamma = .4
	blind, ones := chainLog(200, 100, 1, .5, func(int) float32 { return 0 })
	o, err := eval.NewOffPolicy(blind, 1, 2, gamma, 0)
	if err != nil {
		t.Fatal(err)
	}
	v, err := o.Value(always(blind, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := chainValue(0, ones, gamma)
	if e := eval.EstimateOf(v.DR); !(math.Abs(e.Mean-want) < 1.5*e.CI) {
		t.Errorf("DR with a blind Q: %.3f ± %.3f, want %.3f", e.Mean, e.CI, want)
	}
	if e := eval.EstimateOf(v.FQE); math.Abs(e.Mean-want) < .1 {
		t.Errorf("FQE with a blind Q: %.3f is right, %.3f: the test shows nothing", e.Mean, want)
	}

	wrong, ones := chainLog(200, 100, 1, .5, func(state int) float32 { return float32(state) })
	for e := range wrong {
		for t := range wrong[e].Chance {
			wrong[e].Chance[t] = .8
		}
	}
	if o, err = eval.NewOffPolicy(wrong, 1, 2, chainGamma, 0); err != nil {
		t.Fatal(err)
	}
	if v, err = o.Value(always(wrong, 0)); err != nil {
		t.Fatal(err)
	}
	want = chainValue(0, ones, chainGamma)
	if e := eval.EstimateOf(v.DR); !(math.Abs(e.Mean-want) < .01) {
		t.Errorf("DR with wrong chances: %.3f ± %.3f, want %.3f", e.Mean, e.CI, want)
	}
}

// Where what happens does not depend on the action, no policy is better: of
// many logs, about one in twenty says so at 95 %.
func TestOffPolicyNull(t *testing.T) {
	wrong := [2]int{}
	const logs = 60
	for l := range logs {
		all, _ := chainLog(10, 60, 3, .5, func(state int) float32 { return float32(state) })
		for e := range all {
			k := rng.Key{Seed: uint64(l), A: uint32(e), Purpose: rng.Bootstrap}
			for t := range all[e].Actions {
				all[e].Actions[t] = int32(k.Intn(uint32(t/3), 2))
			}
		}
		o, err := eval.NewOffPolicy(all, 1, 2, chainGamma, 4)
		if err != nil {
			t.Fatal(err)
		}
		one, err := o.Value(always(all, 1))
		if err != nil {
			t.Fatal(err)
		}
		zero, err := o.Value(always(all, 0))
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range [2][2][]float64{{one.FQE, zero.FQE}, {one.DR, zero.DR}} {
			d := make([]float64, len(x[0]))
			for k := range d {
				d[k] = x[0][k] - x[1][k]
			}
			if e := eval.EstimateOf(d); math.Abs(e.Mean) > e.CI {
				wrong[i]++
			}
		}
	}
	t.Logf("of %d intervals without an effect, FQE's excluded 0 in %d, DR's in %d", logs, wrong[0], wrong[1])
	for i, n := range wrong {
		if n > logs/6 {
			t.Errorf("%s: %d of %d exclude 0", [2]string{"FQE", "DR"}[i], n, logs)
		}
	}
}

func TestOffPolicyErrors(t *testing.T) {
	logs, _ := chainLog(2, 4, 1, .5, func(int) float32 { return 0 })
	for _, c := range []struct {
		change func(l []eval.Logged) []eval.Logged
		gamma  float64
		want   string
	}{
		{func(l []eval.Logged) []eval.Logged { return l[:1] }, .9, "1 episodes give no interval"},
		{func(l []eval.Logged) []eval.Logged { return l }, 1, "gamma: 1"},
		{func(l []eval.Logged) []eval.Logged { l[1].Reward = l[1].Reward[1:]; return l }, .9, "episode 1: 3 rewards, 4 actions"},
		{func(l []eval.Logged) []eval.Logged { l[0].Actions = []int32{0, 0, 2, 0}; return l }, .9, "episode 0, step 2: action 2 of 2"},
		{func(l []eval.Logged) []eval.Logged { l[0].Chance = []float64{1, 0, 1, 1}; return l }, .9, "step 1: action 0 of 2, chance 0"},
	} {
		l := append([]eval.Logged(nil), logs...)
		l[0].Actions = []int32{0, 0, 1, 0}
		if _, err := eval.NewOffPolicy(c.change(l), 1, 2, c.gamma, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}
