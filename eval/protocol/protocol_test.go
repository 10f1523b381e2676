package protocol

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval/posthoc"
	"github.com/planegym/planegym/internal/rng"
)

// noise is n windows of 8 rows and 3 columns, the second column ρ times the
// first and independent noise otherwise, all moved by shift.
func noise(n int, seed uint64, rho, shift float64) posthoc.Set {
	s := posthoc.Set{Length: 8, Features: 3}
	for i := range n * 8 {
		key := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}
		a, _ := key.Normal(0)
		b, _ := key.Normal(1)
		c, _ := key.Normal(2)
		for _, v := range []float64{a, rho*a + math.Sqrt(1-rho*rho)*b, c} {
			s.X = append(s.X, float32(.5+.1*v+shift))
		}
	}
	return s
}

// Two columns that go together by .8 in one set and not in the other are .08
// apart: a tenth of one pair's difference.
func TestCorrelational(t *testing.T) {
	a, b := noise(4000, 1, .8, 0), noise(4000, 2, 0, 0)
	if got := Correlational(a, b); math.Abs(got-.08) > .005 {
		t.Errorf("%v, want .08", got)
	}
	if got := Correlational(a, noise(4000, 3, .8, .2)); got > .005 {
		t.Errorf("%v of two draws of one process, one moved: correlations do not see it", got)
	}
}

// The distance is 0 of a set to itself, small of two draws of one process, and
// grows with the square of a small move, as the definition's first term does.
func TestFrechet(t *testing.T) {
	d := func(a, b posthoc.Set) float64 {
		x, err := Frechet(a, b)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	a := noise(2000, 1, .5, 0)
	if x := d(a, a); x > 1e-6 {
		t.Errorf("to itself %v", x)
	}
	floor := d(a, noise(2000, 2, .5, 0))
	one, two := d(a, noise(2000, 2, .5, .05)), d(a, noise(2000, 2, .5, .1))
	if floor > .05 || one < 3*floor || two/one < 3 || two/one > 5 {
		t.Errorf("floor %v, moved by half a deviation %v, by one %v", floor, one, two)
	}
	shuffledRows := shuffled(a, 1)
	if x := d(a, shuffledRows); x > 2*floor+.02 {
		t.Errorf("rows of this process are independent: shuffled ones are %v from it, the floor is %v", x, floor)
	}
}

func walk(n int) [][]float64 {
	var rows [][]float64
	x := 10.
	for t := range n {
		key := rng.Key{Seed: 3, A: uint32(t), Purpose: rng.Start}
		a, _ := key.Normal(0)
		b, _ := key.Normal(1)
		x += .1*a - .05*(x-10)
		rows = append(rows, []float64{x, 2*x + .01*b, b})
	}
	return rows
}

func TestRun(t *testing.T) {
	seen := map[string]int{}
	got, err := Run(context.Background(), Config{Window: 8, Trainings: 2, Updates: 4, Likely: 60, Judges: 200}, walk(300), func(p Progress) { seen[p.Form] = max(seen[p.Form], p.Training) })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(Forms) || seen["timegan"] != 2 || seen["closed-loop"] != 2 {
		t.Fatalf("%d rows, progress %v", len(got), seen)
	}
	by := map[string]Row{}
	for _, r := range got {
		by[r.Form] = r
		if len(r.Discriminative.Each) != 2 || len(r.Frechet.Each) != 2 || r.Discriminative.Mean > .5 {
			t.Errorf("%+v", r)
		}
	}
	if !(by["real"].Frechet.Mean < by["closed-loop"].Frechet.Mean && by["closed-loop"].Frechet.Mean < by["timegan"].Frechet.Mean) {
		t.Errorf("Fréchet distances: real %v, closed loop of 60 updates %v, TimeGAN of 4 %v", by["real"].Frechet, by["closed-loop"].Frechet, by["timegan"].Frechet)
	}
	if by["shuffled"].Frechet.Mean < 10*by["real"].Frechet.Mean {
		t.Errorf("shuffled rows of a slow walk pass for it: %v", by["shuffled"].Frechet)
	}
}

func TestRunRefuses(t *testing.T) {
	rows := walk(40)
	for want, c := range map[string]struct {
		Config
		rows [][]float64
	}{
		"need 48":       {Config{}, rows},
		"none of":       {Config{Window: 4, Forms: []string{"gan"}}, rows},
		"trainings -1":  {Config{Window: 4, Trainings: -1}, rows},
		"column 1":      {Config{Window: 2}, [][]float64{{1}, {2}, {3}, {math.NaN()}}},
		"finite number": {Config{Window: 2}, [][]float64{{1}, {2}, {3}, {1, 2}}},
	} {
		if _, err := Run(context.Background(), c.Config, c.rows, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
