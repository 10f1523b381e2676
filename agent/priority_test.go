package agent

import (
	"math"
	"testing"
)

// A transition that was never learned from has the largest priority that any
// ever had (Schaul et al. 2016, algorithm 1, line 6), also after those that had
// it have a smaller one.
func TestNewTransitionsComeFirst(t *testing.T) {
	const alpha = .6
	r := newReplay(4, 1, 1, true)
	add := func(i int, want float64) {
		t.Helper()
		r.add([]float32{0}, []int32{0}, 0, 0, []float32{0})
		if got := r.tree.get(i); got != want {
			t.Errorf("transition %d begins with %v, want %v", i, got, want)
		}
	}
	add(0, 1)
	add(1, 1)
	p := func(delta float64) float64 { return math.Pow(math.Abs(delta)+1e-6, alpha) }
	r.prioritise([]int{0, 1}, []float32{.5, -.25}, alpha)
	for i, want := range []float64{p(.5), p(.25)} {
		if got := r.tree.get(i); got != want {
			t.Errorf("priority %d is %v, want %v", i, got, want)
		}
	}
	add(2, 1) // none was above 1
	r.prioritise([]int{1}, []float32{-8}, alpha)
	add(3, p(8))
	r.prioritise([]int{1, 3}, []float32{0, 2}, alpha)
	add(0, p(8))
	if got, want := r.tree.total(), p(8)+p(0)+1+p(2); math.Abs(got-want) > 1e-12 {
		t.Errorf("priorities sum up to %v, want %v", got, want)
	}
	none := newReplay(4, 1, 1, false)
	none.prioritise([]int{0}, []float32{1}, alpha) // without priorities there are none to set
	if none.tree != nil || none.top != 1 {
		t.Errorf("%+v", none)
	}
}
