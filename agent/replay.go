package agent

import (
	"math"

	"github.com/planegym/planegym/internal/rng"
)

// replay is the memory of transitions (Lin 1992), a ring: the newest one
// takes the place of the oldest.
//
// A transition is stored whole, with its next observation, so that nothing
// depends on which transition was stored beside it. What bootstraps is said by
// discount: γⁿ, also where the episode was truncated after it, and 0 where it
// terminated.
type replay struct {
	dim, s, capacity int
	size, at         int // transitions held, where the next one goes

	obs, next        []float32 // [capacity,D]
	actions          []int32   // [capacity,S]
	reward, discount []float32 // [capacity]; Σ γᵏ·r over n steps

	tree *sumTree // priorities; nil: sampled uniformly
	top  float64  // the largest priority so far
}

func newReplay(capacity, dim, s int, prioritised bool) *replay {
	r := &replay{
		dim: dim, s: s, capacity: capacity, top: 1,
		obs: make([]float32, capacity*dim), next: make([]float32, capacity*dim),
		actions: make([]int32, capacity*s), reward: make([]float32, capacity), discount: make([]float32, capacity),
	}
	if prioritised {
		r.tree = newSumTree(capacity)
	}
	return r
}

// add stores one transition, at the largest priority so far.
func (r *replay) add(obs []float32, actions []int32, reward, discount float32, next []float32) {
	i := r.at
	copy(r.obs[i*r.dim:(i+1)*r.dim], obs)
	copy(r.next[i*r.dim:(i+1)*r.dim], next)
	copy(r.actions[i*r.s:(i+1)*r.s], actions)
	r.reward[i], r.discount[i] = reward, discount
	if r.tree != nil {
		r.tree.set(i, r.top)
	}
	r.at = (r.at + 1) % r.capacity
	r.size = min(r.size+1, r.capacity)
}

// sample draws len(at) transitions, with replacement. With priorities they
// are drawn in proportion, stratified, and weights are the importance weights
// (N·P(i))^-β over their maximum (Schaul et al. 2016, section 3.4); without
// they are 1.
func (r *replay) sample(k rng.Key, beta float64, at []int, weights []float32) {
	if r.tree == nil {
		for i := range at {
			at[i], weights[i] = k.Intn(uint32(i), r.size), 1
		}
		return
	}
	total, stratum := r.tree.total(), r.tree.total()/float64(len(at))
	var top float64
	for i := range at {
		at[i] = min(r.tree.find((float64(i)+k.Float64(uint32(i)))*stratum), r.size-1)
		w := math.Pow(float64(r.size)*r.tree.get(at[i])/total, -beta)
		weights[i] = float32(w)
		top = max(top, w)
	}
	for i := range weights {
		weights[i] = float32(float64(weights[i]) / top)
	}
}

// prioritise sets the priorities (|δ|+ε)^α of transitions from their
// temporal-difference errors (Schaul et al. 2016, equation 1).
func (r *replay) prioritise(at []int, delta []float32, alpha float64) {
	if r.tree == nil {
		return
	}
	const epsilon = 1e-6
	for i, j := range at {
		p := math.Pow(math.Abs(float64(delta[i]))+epsilon, alpha)
		r.tree.set(j, p)
		r.top = max(r.top, p)
	}
}

// sumTree holds a priority per leaf and, in each node, the sum below it.
type sumTree struct {
	leaves int       // a power of two
	sums   []float64 // [2·leaves]; the children of i are 2i and 2i+1
}

func newSumTree(n int) *sumTree {
	leaves := 1
	for leaves < n {
		leaves *= 2
	}
	return &sumTree{leaves, make([]float64, 2*leaves)}
}

func (t *sumTree) total() float64    { return t.sums[1] }
func (t *sumTree) get(i int) float64 { return t.sums[t.leaves+i] }

// set changes one priority. The sums above are added anew, never adjusted by
// a difference, so that they depend on the leaves alone.
func (t *sumTree) set(i int, p float64) {
	i += t.leaves
	t.sums[i] = p
	for i /= 2; i >= 1; i /= 2 {
		t.sums[i] = t.sums[2*i] + t.sums[2*i+1]
	}
}

// rebuild adds up the sums above the priorities.
func (r *replay) rebuild() {
	if r.tree == nil {
		return
	}
	for i := r.tree.leaves - 1; i >= 1; i-- {
		r.tree.sums[i] = r.tree.sums[2*i] + r.tree.sums[2*i+1]
	}
}

// find is the leaf at which the running sum of priorities passes x.
func (t *sumTree) find(x float64) int {
	i := 1
	for i < t.leaves {
		i *= 2
		if x >= t.sums[i] && t.sums[i+1] > 0 {
			x -= t.sums[i]
			i++
		}
	}
	return i - t.leaves
}

// collector turns the steps of N rows into n-step transitions (Sutton 1988;
// n = 1 is the paper's): the return of n rewards, then the value of the
// observation after them. Near an episode's end n is what is left of it.
type collector struct {
	n, dim, s int
	gamma     float64

	// of each row the steps whose transitions are not complete, oldest first
	count   []int32   // [N], at most n-1 between two steps
	obs     []float32 // [N,n,D]
	actions []int32   // [N,n,S]
	reward  []float32 // [N,n]
}

func newCollector(rows, n, dim, s int, gamma float64) *collector {
	return &collector{
		n: n, dim: dim, s: s, gamma: gamma, count: make([]int32, rows),
		obs: make([]float32, rows*n*dim), actions: make([]int32, rows*n*s), reward: make([]float32, rows*n),
	}
}

// step takes what happened in a row: actions at obs gave reward and next,
// which is the last observation of the episode where a flag is set, never the
// first of the one after. Complete transitions go to out.
func (c *collector) step(row int, obs []float32, actions []int32, reward float32, next []float32, terminated, truncated bool, out *replay) {
	n := int(c.count[row])
	o, a, r := c.obs[row*c.n*c.dim:][:c.n*c.dim], c.actions[row*c.n*c.s:][:c.n*c.s], c.reward[row*c.n:][:c.n]
	copy(o[n*c.dim:], obs)
	copy(a[n*c.s:], actions)
	r[n] = reward
	n++
	over := terminated || truncated
	for n == c.n || over && n > 0 {
		var sum float64
		discount := 1.0
		for _, x := range r[:n] {
			sum += discount * float64(x)
			discount *= c.gamma
		}
		if terminated {
			discount = 0
		}
		out.add(o[:c.dim], a[:c.s], float32(sum), float32(discount), next)
		n--
		copy(o, o[c.dim:(n+1)*c.dim])
		copy(a, a[c.s:(n+1)*c.s])
		copy(r, r[1:n+1])
	}
	c.count[row] = int32(n)
}

// forget drops the incomplete transitions of a row that is reset from
// outside.
func (c *collector) forget(row int) { c.count[row] = 0 }

// epsilonAt is ε at step t: linear from start to end in so many steps, then
// times decay at each.
func epsilonAt(start, end float64, steps int64, decay float64, t int64) float64 {
	if t < steps {
		return start + (end-start)*float64(t)/float64(steps)
	}
	if decay == 1 {
		return end
	}
	return end * math.Pow(decay, float64(t-steps))
}
