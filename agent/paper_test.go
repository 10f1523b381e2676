package agent

import (
	"math"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
)

// Van Hasselt et al. 2016, section "Double Q-learning": with θ⁻ = θ the target is
// Q-learning's, the largest value; with another θ⁻ it is never above the largest.
func TestPaperDoubleQ(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Batch = 20 }), testSpaces(3, 4), compute.Reference)
	d.batch = d.newBatch()
	b := &d.batch
	for i := range b.next {
		b.next[i] = float32(math.Sin(float64(i)))
	}
	for i := range b.reward {
		b.reward[i], b.discount[i] = float32(i), .9
	}
	largest := func(p pass) (all []float32) {
		q := d.values(&p, b.next)
		for i := range b.y {
			row := q[4*i : 4*i+4]
			all = append(all, b.reward[i]+.9*row[argmax(row)])
		}
		return all
	}
	d.targets(b)
	for i, want := range largest(d.newPass(d.online, 20)) {
		if math.Abs(float64(b.y[i]-want)) > 1e-6 {
			t.Errorf("target %d is %v, Q-learning's %v", i, b.y[i], want)
		}
	}
	below := 0
	for i := range d.target.Params().Data {
		d.target.Params().Data[i] += float32(rng.Key{Seed: 1, A: uint32(i), Purpose: rng.Init}.Float64(0) - .5)
	}
	d.targets(b)
	for i, most := range largest(d.newPass(d.target, 20)) {
		if b.y[i] > most+1e-6 {
			t.Errorf("target %d is %v, above %v", i, b.y[i], most)
		}
		if b.y[i] < most-1e-4 {
			below++
		}
	}
	if below == 0 {
		t.Error("θ chooses as θ⁻ does throughout: the test shows nothing")
	}
}

// Wang et al. 2016, equation 9: a constant in all advantages is no constant in Q,
// one in V is; the mean of a switch's values is V.
func TestPaperDuelingIsIdentified(t *testing.T) {
	d := testAgent(t, testConfig(t, func(c *Config) { c.Hidden, c.Dueling = nil, true }), testSpaces(1, 3, 2), compute.Go)
	p := d.newPass(d.online, 1)
	bias := d.online.Params().Data[6:] // V; three; two
	copy(bias, []float32{4, 1, 2, 6, -1, 1})
	before := append([]float32(nil), d.values(&p, []float32{0})...)
	for i := range 3 {
		bias[1+i] += 7
	}
	after := d.values(&p, []float32{0})
	for i := range before {
		if math.Abs(float64(after[i]-before[i])) > 1e-5 {
			t.Errorf("value %d moves from %v to %v with all advantages", i, before[i], after[i])
		}
	}
	if m := (before[0] + before[1] + before[2]) / 3; math.Abs(float64(m)-4) > 1e-5 {
		t.Errorf("the mean of a switch's values is %v, V is 4", m)
	}
	bias[0]++
	for i, v := range d.values(&p, []float32{0}) {
		if math.Abs(float64(v-before[i])-1) > 1e-5 {
			t.Errorf("value %d moves by %v with V", i, v-before[i])
		}
	}
}

// Schaul et al. 2016, section 3.3 and 3.4: with α 0 all are drawn alike; with β 1
// the weights make a mean over what is drawn one over all.
func TestPaperPrioritisedReplay(t *testing.T) {
	const n = 16
	r := newReplay(n, 1, 1, true)
	for i := range n {
		r.add([]float32{float32(i)}, []int32{0}, 0, 0, []float32{0})
	}
	at, w := make([]int, 64), make([]float32, 64)
	all := make([]int, n)
	delta := make([]float32, n)
	for i := range all {
		all[i], delta[i] = i, float32(i)
	}
	r.prioritise(all, delta, 0)
	for i := range n {
		if p := r.tree.get(i); math.Abs(p-1) > 1e-9 {
			t.Errorf("with α 0 transition %d has priority %v", i, p)
		}
	}
	r.prioritise(all, delta, 1)
	var sum, weights float64
	for k := range 2000 {
		r.sample(rng.Key{Seed: 2, A: uint32(k), Purpose: rng.Transition}, 1, at, w)
		// Weights are over the largest of a batch: undo that.
		top := 0.
		for _, j := range at {
			top = max(top, r.tree.total()/(n*r.tree.get(j)))
		}
		for i, j := range at {
			sum += float64(w[i]) * top * float64(j*j)
			weights++
		}
	}
	var want float64
	for i := 1; i < n; i++ { // 0 has a priority of 1e-6: it is never drawn, and adds 0
		want += float64(i*i) / n
	}
	if got := sum / weights; math.Abs(got-want) > .02*want {
		t.Errorf("the weighted mean is %v, over all %v", got, want)
	}
}
