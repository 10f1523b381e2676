package eval

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/ngram"
)

// Scores are Carlini et al.'s (2022, algorithm 1), by gonum's densities of lists of
// what shadows said: with many shadows by each session's own variances, with few by
// variances that all sessions share.
func TestLira(t *testing.T) {
	for _, shadows := range []int{8, perSession} {
		const sessions = 5
		key := rng.Key{Seed: 7, Purpose: rng.Start}
		n := uint32(0)
		normal := func() float64 { n++; a, _ := key.Normal(n); return a }
		said, in := make([][]float64, shadows), make([][]bool, shadows)
		a := &audited{sessions: make([]traffic.Session, sessions)}
		for k := range shadows {
			in[k] = a.half(3, k)
			for i := range sessions {
				x := -float64(i) + normal()
				if in[k][i] {
					x += 2
				}
				said[k] = append(said[k], x)
			}
		}
		target := []float64{2, 0, -2, -1.5, -9}
		lists := [2][sessions][]float64{}
		for k := range shadows {
			for i := range sessions {
				side := 0
				if in[k][i] {
					side = 1
				}
				lists[side][i] = append(lists[side][i], said[k][i])
			}
		}
		for i, got := range lira(target, said, in) {
			var density [2]float64
			for side := range lists {
				deviation := stat.StdDev(lists[side][i], nil)
				if shadows < perSession {
					var all, weights []float64
					for _, l := range lists[side] {
						all, weights = append(all, stat.Variance(l, nil)), append(weights, float64(len(l)-1))
					}
					deviation = math.Sqrt(stat.Mean(all, weights))
				}
				density[side] = distuv.Normal{Mu: stat.Mean(lists[side][i], nil), Sigma: deviation}.LogProb(target[i])
			}
			if want := density[1] - density[0]; math.Abs(got-want) > 1e-9*(1+math.Abs(want)) {
				t.Errorf("%d shadows, session %d: %v, by densities %v", shadows, i, got, want)
			}
		}
	}
}

// Each audited session is in half of the shadows, and each shadow has as many
// sessions as the model was fitted to, whichever set is larger.
func TestShadowHalves(t *testing.T) {
	set := func(from, n int) *traffic.Set {
		s := &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "size", Kind: traffic.Size}}}}
		for i := range n {
			s.Sessions = append(s.Sessions, traffic.Session{Label: -1, Start: float64(from + i), Steps: []float64{1}})
		}
		return s
	}
	for _, n := range [][2]int{{20, 6}, {7, 7}, {6, 20}} {
		j := &judge{Options: Options{Seed: 2}, train: set(0, n[0]), held: set(1000, n[1])}
		a := j.audited()
		if a.members != min(n[0], n[1]) || len(a.sessions) != 2*a.members {
			t.Fatalf("%v: %d of %d audited are members", n, a.members, len(a.sessions))
		}
		for i, x := range a.sessions {
			if member := x.Start < 1000; member != (i < a.members) {
				t.Errorf("%v: audited session %d is a member: %v", n, i, member)
			}
		}
		count := map[float64]int{}
		var halves [][]bool
		for k := range 6 {
			in := a.half(j.Seed, k)
			halves = append(halves, in)
			s := a.with(in)
			if s.Len() != n[0] {
				t.Errorf("%v: shadow %d has %d sessions", n, k, s.Len())
			}
			for _, x := range s.Sessions {
				count[x.Start]++
			}
		}
		for i, x := range a.sessions {
			if count[x.Start] != 3 {
				t.Errorf("%v: session %d is in %d of 6 shadows", n, i, count[x.Start])
			}
		}
		for _, x := range a.others {
			if count[x.Start] != 6 {
				t.Errorf("%v: a session that is not audited is in %d of 6", n, count[x.Start])
			}
		}
		if slices.Equal(halves[0], halves[2]) {
			t.Errorf("%v: pairs of shadows have the same halves", n)
		}
	}
}

// sizes are sessions of labelled steps, some of which hold few sizes and some many:
// how likely a session is says more of its label than of training.
func sizes(seed uint64, n int) *traffic.Set {
	s := &traffic.Set{Of: traffic.Schema{Labels: []string{"plain", "rich"}, Steps: []traffic.Field{{Name: "size", Kind: traffic.Size}}}}
	for i := range n {
		key := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2, Start: float64(i)}
		for k := range 6 {
			choices := 3
			if x.Label == 1 {
				choices = 300
			}
			x.Steps = append(x.Steps, float64(100+key.Intn(uint32(k), choices)))
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

func attack(t *testing.T, train, held *traffic.Set, shadows int, fit func(ctx context.Context, src traffic.Source, seed uint64) (traffic.Model, error)) *Row {
	t.Helper()
	m, err := fit(t.Context(), train, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{NoFloors: true, NoForest: true, Seeds: 1, Shadow: shadows}
	done := 0
	o.Progress = func() { done++ }
	c := []Candidate{{Name: "target", Model: m, Refit: fit}}
	r, err := Compare(t.Context(), train, held, c, o)
	if err != nil {
		t.Fatal(err)
	}
	if done != o.Work(c) {
		t.Errorf("%d parts are reported, %d announced", done, o.Work(c))
	}
	return &r.Rows[1]
}

func refitted(c ngram.Config) func(context.Context, traffic.Source, uint64) (traffic.Model, error) {
	return func(ctx context.Context, src traffic.Source, _ uint64) (traffic.Model, error) {
		return ngram.Fit(ctx, src, c)
	}
}

// A model that counts long contexts of exact sizes keeps its sessions, and the
// attack finds them, better than a threshold on likelihood.
func TestShadowFindsMemory(t *testing.T) {
	r := attack(t, sizes(1, 400), sizes(2, 400), 8, refitted(ngram.Config{Order: 5, Often: 1, MaxSteps: -1}))
	shadow, plain := r.Figures["shadow_auc"], r.Figures["member_auc"]
	if shadow.Mean < .7 || shadow.Low <= .5 {
		t.Errorf("AUC %v of a model that keeps its sessions", shadow)
	}
	if shadow.Low <= plain.High {
		t.Errorf("by shadows AUC %v, by likelihood %v", shadow, plain)
	}
	if a, b := r.Figures["shadow_tpr"], r.Figures["member_tpr"]; a.Mean < .2 || a.Mean <= b.Mean {
		t.Errorf("TPR at 1 %% by shadows %v, by likelihood %v", a, b)
	}
}

// Behind public classes and much noise it finds none. The noise is new in every fit:
// the bound is 5.5 standard deviations of the rank sum of 400 and 400 sessions.
func TestShadowOfNoise(t *testing.T) {
	r := attack(t, sizes(1, 400), sizes(2, 400), 4, refitted(ngram.Config{Order: 1, Epsilon: .5, Delta: 1e-4, MaxSteps: 6}))
	if e := r.Figures["shadow_auc"]; math.Abs(float64(e.Mean)-.5) > 5.5*math.Sqrt(800./12/400/400) {
		t.Errorf("AUC %v behind noise", e)
	}
}

// copier is a model without a likelihood that samples what it was fitted to.
type copier struct{ of *traffic.Set }

func (c copier) Schema() *traffic.Schema { return &c.of.Of }

func (c copier) Sample(_ context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		for i := range r.N {
			if !yield(c.of.Sessions[i%c.of.Len()], nil) {
				return
			}
		}
	}
}

// Without a likelihood the nearest sample says who was in training.
func TestShadowOfSamples(t *testing.T) {
	r := attack(t, sizes(1, 60), sizes(2, 60), 4, func(_ context.Context, src traffic.Source, _ uint64) (traffic.Model, error) {
		return copier{src.(*traffic.Set)}, nil
	})
	if e := r.Figures["shadow_auc"]; e.Mean < .7 {
		t.Errorf("AUC %v of a model that copies", e)
	}
	if _, ok := r.Figures["member_auc"]; ok {
		t.Error("a model without a likelihood has a threshold on it")
	}
}

// Distances to the nearest are those of the definition, without a way out of a sum:
// 0 to itself, the same both ways, at most 1.
func TestGower(t *testing.T) {
	set := sizes(5, 40)
	set.Of.Steps = append(set.Of.Steps, traffic.Field{Name: "gap", Kind: traffic.Gap})
	set.Of.Meta = []traffic.Field{{Name: "port", Kind: traffic.Port}, {Name: "hops", Kind: traffic.Number}}
	for i := range set.Sessions {
		s := &set.Sessions[i]
		key := rng.Key{Seed: 9, A: uint32(i), Purpose: rng.Start}
		var steps []float64
		for t := range s.Steps[:1+key.Intn(0, 6)] {
			steps = append(steps, s.Steps[t], key.Float64(uint32(10+t)))
		}
		s.Steps = steps
		s.Meta = []float64{float64(key.Intn(1, 3)), -5 + 10*key.Float64(2)}
	}
	g := newGower(set, 4)
	plain := func(a, b *traffic.Session) float64 {
		var terms []float64
		differ := func(x bool) {
			if x {
				terms = append(terms, 1)
			} else {
				terms = append(terms, 0)
			}
		}
		number := func(of func(s *traffic.Session) []float64, scale func(float64) float64, x, y float64) {
			var all []float64
			for i := range set.Sessions {
				for _, v := range of(&set.Sessions[i]) {
					all = append(all, scale(v))
				}
			}
			terms = append(terms, math.Abs(scale(x)-scale(y))/(slices.Max(all)-slices.Min(all)))
		}
		column := func(f int) func(s *traffic.Session) []float64 {
			return func(s *traffic.Session) (v []float64) {
				for i := f; i < len(s.Steps); i += 2 {
					v = append(v, s.Steps[i])
				}
				return v
			}
		}
		size := func(x float64) float64 { return math.Log(1 + x) }
		gap := func(x float64) float64 { return math.Log(1 + 1e6*x) }
		signed := func(x float64) float64 {
			if x < 0 {
				return -math.Log(1 - x)
			}
			return math.Log(1 + x)
		}
		differ(a.Label != b.Label)
		differ(a.Meta[0] != b.Meta[0])
		number(func(s *traffic.Session) []float64 { return s.Meta[1:] }, signed, a.Meta[1], b.Meta[1])
		for t := range min(4, max(len(a.Steps), len(b.Steps))/2) {
			if 2*t >= len(a.Steps) || 2*t >= len(b.Steps) {
				terms = append(terms, 1, 1)
				continue
			}
			number(column(0), size, a.Steps[2*t], b.Steps[2*t])
			number(column(1), gap, a.Steps[2*t+1], b.Steps[2*t+1])
		}
		return stat.Mean(terms, nil)
	}
	a, b := set.Sessions[:20], set.Sessions[20:]
	for i, got := range g.nearest(a, b) {
		want := math.Inf(1)
		for k := range b {
			want = min(want, plain(&a[i], &b[k]))
		}
		if math.Abs(-got-want) > 1e-12 {
			t.Errorf("session %d: %v from the nearest, by the definition %v", i, -got, want)
		}
	}
	for _, d := range g.nearest(a, a) {
		if d != 0 {
			t.Errorf("a session is %v from itself", -d)
		}
	}
}

// What cannot be attacked is refused by name.
func TestShadowRefusals(t *testing.T) {
	for _, n := range []int{-2, 2, 5} {
		if _, err := Compare(t.Context(), sizes(1, 20), sizes(2, 20), nil, Options{Shadow: n}); err == nil {
			t.Errorf("%d shadow models are taken", n)
		}
	}
	fails := errors.New("no space")
	fit := refitted(ngram.Config{})
	m, err := fit(t.Context(), sizes(1, 20), 0)
	if err != nil {
		t.Fatal(err)
	}
	c := Candidate{Name: "it", Model: m, Refit: func(context.Context, traffic.Source, uint64) (traffic.Model, error) { return nil, fails }}
	_, err = Compare(t.Context(), sizes(1, 20), sizes(2, 20), []Candidate{c}, Options{NoFloors: true, NoForest: true, Seeds: 1, Shadow: 4})
	if !errors.Is(err, ErrShadow) || !errors.Is(err, fails) {
		t.Errorf("a shadow that cannot be fitted: %v", err)
	}
}
