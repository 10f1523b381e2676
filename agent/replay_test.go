package agent

import (
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/rng"
)

// held is what a replay holds, oldest first.
type held struct {
	obs, action, reward, discount, next float32
}

func contents(r *replay) (all []held) {
	for i := range r.size {
		j := (r.at - r.size + i + r.capacity) % r.capacity
		all = append(all, held{r.obs[j], float32(r.actions[j]), r.reward[j], r.discount[j], r.next[j]})
	}
	return all
}

func TestCollector(t *testing.T) {
	type step struct {
		obs                   float32
		action                int32
		reward, next          float32
		terminated, truncated bool
	}
	const g = .5
	for _, c := range []struct {
		name  string
		n     int
		steps []step
		want  []held
	}{
		{"one step, terminated", 1,
			[]step{{1, 0, 10, 2, false, false}, {2, 1, 20, 3, true, false}},
			[]held{{1, 0, 10, g, 2}, {2, 1, 20, 0, 3}}},
		{"one step, truncated bootstraps", 1,
			[]step{{1, 0, 10, 2, false, true}},
			[]held{{1, 0, 10, g, 2}}},
		{"both flags: terminated wins", 1,
			[]step{{1, 0, 10, 2, true, true}},
			[]held{{1, 0, 10, 0, 2}}},
		{"three steps", 3,
			[]step{{1, 0, 8, 2, false, false}, {2, 1, 4, 3, false, false}, {3, 0, 16, 4, false, false}, {4, 1, 0, 5, false, false}},
			[]held{{1, 0, 8 + 2 + 4, g * g * g, 4}, {2, 1, 4 + 8 + 0, g * g * g, 5}}},
		{"three steps, the episode ends after two", 3,
			[]step{{1, 0, 8, 2, false, false}, {2, 1, 4, 3, true, false}, {7, 0, 1, 8, false, false}},
			[]held{{1, 0, 10, 0, 3}, {2, 1, 4, 0, 3}}},
		{"three steps, cut after two", 3,
			[]step{{1, 0, 8, 2, false, false}, {2, 1, 4, 3, false, true}},
			[]held{{1, 0, 10, g * g, 3}, {2, 1, 4, g, 3}}},
	} {
		r := newReplay(8, 1, 1, false)
		col := newCollector(2, c.n, 1, 1, g)
		for _, s := range c.steps {
			// Row 0 is something else all the time and must not matter.
			col.step(0, []float32{-1}, []int32{0}, -1, []float32{-1}, false, false, newReplay(1, 1, 1, false))
			col.step(1, []float32{s.obs}, []int32{s.action}, s.reward, []float32{s.next}, s.terminated, s.truncated, r)
		}
		if got := contents(r); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReplayForgetsTheOldest(t *testing.T) {
	r := newReplay(3, 1, 1, true)
	for i := range 5 {
		r.add([]float32{float32(i)}, []int32{0}, 0, 0, []float32{0})
	}
	if got := contents(r); len(got) != 3 || got[0].obs != 2 || got[2].obs != 4 {
		t.Errorf("got %v", got)
	}
}

// Draws are in proportion to |δ|^α, and with β = 1 the weights undo it.
func TestPrioritisedSampling(t *testing.T) {
	const n, alpha, draws = 6, .5, 4000
	r := newReplay(8, 1, 1, true)
	at, delta := make([]int, n), make([]float32, n)
	for i := range n {
		r.add([]float32{float32(i)}, []int32{0}, 0, 0, []float32{0})
		at[i], delta[i] = i, float32((i+1)*(i+1))
	}
	delta[2] *= -1 // the size counts
	r.prioritise(at, delta, alpha)
	count := make([]float64, 8)
	idx, w := make([]int, 32), make([]float32, 32)
	for u := range uint32(draws) {
		r.sample(rng.Key{Seed: 3, A: u, Purpose: rng.Transition}, 1, idx, w)
		if slices.Max(w) != 1 {
			t.Fatalf("largest weight %v", slices.Max(w))
		}
		for _, j := range idx {
			count[j] += 1. / (draws * 32)
		}
	}
	for i := range n {
		if want := float64(i+1) / 21; math.Abs(count[i]-want) > .01 {
			t.Errorf("transition %d drawn %.3f of the time, want %.3f", i, count[i], want)
		}
	}
	if count[6] != 0 || count[7] != 0 {
		t.Errorf("drawn where nothing is: %v", count)
	}
	// Within a batch that draws both, w0/w5 = p5/p0.
	r.sample(rng.Key{Seed: 3, Purpose: rng.Transition}, 1, idx, w)
	i0, i5 := slices.Index(idx, 0), slices.Index(idx, 5)
	if i0 < 0 || i5 < 0 {
		t.Fatal("the batch lacks what is compared")
	}
	if got := w[i0] / w[i5]; math.Abs(float64(got)-6) > 1e-3 {
		t.Errorf("weights in the ratio %v, want 6", got)
	}
}

func TestSumTree(t *testing.T) {
	tree := newSumTree(5)
	for i, p := range []float64{1, 0, 2, 3, 4} {
		tree.set(i, p)
	}
	for _, c := range []struct {
		x    float64
		want int
	}{{0, 0}, {.99, 0}, {1, 2}, {2.99, 2}, {3, 3}, {5.99, 3}, {6, 4}, {9.99, 4}, {10, 4}} {
		if got := tree.find(c.x); got != c.want {
			t.Errorf("find(%v) = %d, want %d", c.x, got, c.want)
		}
	}
	tree.set(4, 0)
	if tree.total() != 6 || tree.find(6) != 3 {
		t.Errorf("total %v, end at %d", tree.total(), tree.find(6))
	}
}

func TestUniformSampling(t *testing.T) {
	r := newReplay(10, 1, 1, false)
	for i := range 4 {
		r.add([]float32{float32(i)}, []int32{0}, 0, 0, []float32{0})
	}
	at, w := make([]int, 4000), make([]float32, 4000)
	r.sample(rng.Key{Seed: 1, Purpose: rng.Transition}, 1, at, w)
	count := make([]int, 4)
	for i, j := range at {
		count[j]++
		if w[i] != 1 {
			t.Fatal("a weight without priorities")
		}
	}
	for i, c := range count {
		if c < 900 || c > 1100 {
			t.Errorf("transition %d drawn %d times of 4000", i, c)
		}
	}
}

func TestEpsilon(t *testing.T) {
	for _, c := range []struct {
		t    int64
		want float64
	}{{0, 1}, {125, .505}, {250, .01}, {251, .0099}, {350, .01 * math.Pow(.99, 100)}} {
		if got := epsilonAt(1, .01, 250, .99, c.t); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("ε(%d) = %v, want %v", c.t, got, c.want)
		}
	}
	if got := epsilonAt(1, .05, 100, 1, 1e9); got != .05 {
		t.Errorf("without decay: %v", got)
	}
}
