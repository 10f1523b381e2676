package ngram

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/privacy"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
)

// calls are sessions of packets of two labels: queries and transfers.
func calls(n int) *traffic.Set {
	s := &traffic.Set{Of: flows.Schema([]string{"query", "transfer"})}
	for i := range n {
		x := traffic.Session{Label: i % 2, Start: float64(i), Meta: make([]float64, flows.MetaFields)}
		x.Meta[flows.Protocol], x.Meta[flows.ServerPort], x.Meta[flows.Client] = float64(1-i%2), []float64{53, 443}[i%2], float64(i%7)
		if i%2 == 0 {
			x.Steps = flows.Action{Size: 30 + i%5, Flags: flows.Data}.Append(x.Steps)
			x.Steps = flows.Action{Down: true, Size: 90 + i%30, Flags: flows.Data, Gap: .02}.Append(x.Steps)
		} else {
			x.Steps = flows.Action{Flags: flows.Syn}.Append(x.Steps)
			for range 3 {
				x.Steps = flows.Action{Down: true, Size: 1460, Flags: flows.Data, Gap: 1e-4}.Append(x.Steps)
				x.Steps = flows.Action{Flags: flows.Ack, Gap: 1e-3}.Append(x.Steps)
			}
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

func private(epsilon, delta float64) Config {
	c := Defaults(WittenBell)()
	if err := c.SetPrivacy(epsilon, delta); err != nil {
		panic(err)
	}
	return c
}

func source(seed uint64) rand.Source { return rand.NewPCG(seed, 1) }

// With next to no noise what a private model says is what counting says.
func TestPrivateWithoutNoise(t *testing.T) {
	set := calls(400)
	c := private(1e6, 1e-9)
	c.Condition, c.Clip = []string{"protocol"}, 30
	m, err := fitPrivate(t.Context(), set, c, source(1))
	if err != nil {
		t.Fatal(err)
	}
	// The second road: of the 200 queries each begins with up, 30 to 34 bytes.
	h := m.begin(0, set.Sessions[0].Meta)
	total, first := 0., 0.
	for v := range m.tokens() {
		nodes := m.steps.walk(h.step(), nil)
		p := m.steps.prob(nodes, int32(v))
		total += p
		row := m.vocab[v*len(m.exact):][:len(m.exact)]
		if v != end && row[0] == 0 && row[2] == float64(flows.Data) {
			if lo, hi := value(m.words[1], row[1], func() float64 { return 0 }), value(m.words[1], row[1], func() float64 { return .999999 }); lo <= 34 && hi >= 30 {
				first += p
			}
		}
	}
	if math.Abs(total-1) > 1e-6 || first < .97 {
		t.Errorf("probabilities sum to %v; a query begins with up, 30 to 34 bytes with probability %v", total, first)
	}
	var sizes, gaps []float64
	labels := map[int]int{}
	for s, err := range m.Sample(t.Context(), traffic.Request{N: 2000, Seed: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		labels[s.Label]++
		if s.Label == 0 && s.Meta[flows.Protocol] != flows.UDP {
			t.Fatal("a query of TCP")
		}
		for k := range m.Schema().Len(&s) {
			x := m.Schema().Step(&s, k)
			if s.Label == 1 && x[flows.Direction] == 1 {
				sizes, gaps = append(sizes, x[flows.Size]), append(gaps, x[flows.Gap])
			}
		}
	}
	slices.Sort(sizes)
	slices.Sort(gaps)
	if n := len(sizes); sizes[n/10] != 1460 || sizes[9*n/10] != 1460 || gaps[n/2] < 4e-5 || gaps[n/2] > 2.5e-4 {
		t.Errorf("transfers have sizes %v to %v and gaps about %v", sizes[n/10], sizes[9*n/10], gaps[n/2])
	}
	if math.Abs(float64(labels[0])-1000) > 150 {
		t.Errorf("labels %v, half of each in training", labels)
	}
}

// No session adds more than Clip to all counts together, whatever it is.
func TestPrivateSensitivity(t *testing.T) {
	set := calls(10)
	m, err := newPrivate(set.Of, private(1, 1e-5))
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.newLedger()
	if err != nil {
		t.Fatal(err)
	}
	long := set.Sessions[1]
	for range 2000 {
		long.Steps = flows.Action{Down: true, Size: 1460, Flags: flows.Data, Gap: 1e-4}.Append(long.Steps)
	}
	for _, s := range append(set.Sessions, long, traffic.Session{Label: -1, Meta: make([]float64, flows.MetaFields), Steps: flows.Action{Size: 1 << 40, Gap: 1e9}.Append(nil)}) {
		counts := map[int64]float64{}
		l.add(&s, counts)
		before := len(counts)
		clip(counts, 3)
		var sum float64
		for cell, v := range counts {
			sum += v * v
			if cell < 0 || cell >= l.cells || v <= 0 {
				t.Fatalf("cell %d of %d has %v", cell, l.cells, v)
			}
		}
		if before == 0 || sum > 9 {
			t.Errorf("%d counts, norm %v", before, math.Sqrt(sum))
		}
	}
}

// Every cell gets noise of the deviation that the budget asks for, empty ones too,
// and only those above a threshold are released; the threshold does not depend on
// the sessions.
func TestPrivateNoise(t *testing.T) {
	b := block{from: 7, contexts: 40, symbols: 500}
	counts := map[int64]float64{7: 1000, 8: 1000, 100: 1e6}
	var kept, falsely, sum, squares float64
	for seed := range uint64(60) {
		b.noisy(counts, 20, rand.New(source(seed)), func(context, symbol int, x float64) {
			switch cell := b.at(context, symbol); cell {
			case 7, 8:
				kept++
				sum, squares = sum+x-1000, squares+(x-1000)*(x-1000)
			case 100:
			default:
				falsely++
			}
		})
	}
	if kept != 120 || math.Abs(sum/kept) > 6 || math.Abs(math.Sqrt(squares/kept)-20) > 5 {
		t.Errorf("%v kept; noise of mean %.1f and deviation %.1f, wanted 120, 0 and 20", kept, sum/kept, math.Sqrt(squares/kept))
	}
	if falsely < 20 || falsely > 120 {
		t.Errorf("%v counts of nothing were kept in 60 releases, wanted one in each", falsely)
	}
}

// An attacker who knows all sessions but one, and looks at the count that the one
// alone could have, does not find out more than ε and δ allow; without noise he
// does.
func TestPrivateAttack(t *testing.T) {
	const epsilon, delta, fits = 1., 1e-4, 400
	without, with := calls(100), calls(100)
	odd := traffic.Session{Label: 0, Meta: slices.Clone(without.Sessions[0].Meta)}
	for range 40 { // as loud as it can be
		odd.Steps = flows.Action{Down: true, Size: 9000, Flags: flows.Push, Gap: 100}.Append(odd.Steps)
	}
	with.Sessions = append(with.Sessions, odd)
	c := private(epsilon, delta)
	c.Condition = []string{"protocol"}
	sigma, err := privacy.Sigma(epsilon, delta)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newPrivate(with.Of, c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.newLedger()
	if err != nil {
		t.Fatal(err)
	}
	// The sum of all that the session adds, along its own direction: the best test.
	own := map[int64]float64{}
	l.add(&odd, own)
	clip(own, defaultClip)
	var norm float64
	for _, v := range own {
		norm += v * v
	}
	r := rand.New(source(3))
	score := func(in bool) (x float64) {
		for _, v := range own {
			x += v * sigma * defaultClip * r.NormFloat64()
			if in {
				x += v * v
			}
		}
		return x
	}
	for _, threshold := range []float64{.5, 1, 2} {
		var hits, alarms float64
		for range fits {
			if score(true) > threshold*norm {
				hits += 1. / fits
			}
			if score(false) > threshold*norm {
				alarms += 1. / fits
			}
		}
		noise := 3 * math.Sqrt((hits*(1-hits)+math.Exp(2*epsilon)*alarms*(1-alarms))/fits)
		if hits > math.Exp(epsilon)*alarms+delta+noise {
			t.Errorf("above %v: %.3f of fits with the session, %.3f without: more than ε %v allows", threshold, hits, alarms, epsilon)
		}
	}
	if math.Sqrt(norm) > defaultClip || math.Sqrt(norm) < .99*defaultClip {
		t.Errorf("the session adds %v, clipped at %v", math.Sqrt(norm), float64(defaultClip))
	}
}

// A file says how private the model is, and is read as it was written; two fits of
// the same sessions have other noise.
func TestPrivateFile(t *testing.T) {
	set := calls(4000)
	write := func() ([]byte, *Model) {
		m, err := Fit(t.Context(), set, private(4, 1e-5))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := m.Write(&b, nil); err != nil {
			t.Fatal(err)
		}
		return b.Bytes(), m
	}
	a, m := write()
	b, _ := write()
	if bytes.Equal(a, b) {
		t.Error("two private fits are equal: their noise is known")
	}
	again, err := Parse(a)
	if err != nil {
		t.Fatal(err)
	}
	if p := again.Private(); p == nil || p.Epsilon != 4 || p.Delta != 1e-5 || p.Clip != defaultClip || p.Sigma <= 0 {
		t.Errorf("the file says %+v", p)
	}
	x, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 50, Seed: 2}))
	if err != nil {
		t.Fatal(err)
	}
	y, err := traffic.Collect(again.Schema(), again.Sample(t.Context(), traffic.Request{N: 50, Seed: 2}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(x.Sessions, y.Sessions, func(a, b traffic.Session) bool { return slices.Equal(a.Steps, b.Steps) && slices.Equal(a.Meta, b.Meta) }) {
		t.Error("what was written samples other sessions")
	}
	plain, err := Fit(t.Context(), set, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Private() != nil {
		t.Error("a fit without noise says that it is private")
	}
}

func TestPrivateRefusals(t *testing.T) {
	set := calls(100)
	number := &traffic.Set{Of: traffic.Schema{Meta: []traffic.Field{{Name: "x", Kind: traffic.Number}}, Steps: []traffic.Field{{Name: "size", Kind: traffic.Size}}},
		Sessions: slices.Repeat([]traffic.Session{{Label: -1, Meta: []float64{1}, Steps: []float64{1}}}, 100)}
	for name, x := range map[string]struct {
		set  *traffic.Set
		c    func(*Config) error
		want string
	}{
		"mode":      {set, func(c *Config) error { c.Mode = Markov; return c.SetPrivacy(1, 1e-5) }, "markov has no private fit"},
		"epsilon":   {set, func(c *Config) error { return c.SetPrivacy(-1, 1e-5) }, "epsilon is -1"},
		"no delta":  {set, func(c *Config) error { return c.SetPrivacy(1, 0) }, "delta is 0"},
		"large":     {set, func(c *Config) error { return c.SetPrivacy(1, .01) }, "below 1/sessions"},
		"order":     {set, func(c *Config) error { defer func() { c.Order = 4 }(); return c.SetPrivacy(1, 1e-5) }, "has order 1 at most"},
		"numbers":   {number, func(c *Config) error { return c.SetPrivacy(1, 1e-5) }, "no public classes for fields of kind number"},
		"too noisy": {set, func(c *Config) error { return c.SetPrivacy(.001, 1e-9) }, "nothing is left to learn"},
		"clip":      {set, func(c *Config) error { c.Clip = 3; return nil }, "clip: 3; it is of private fits"},
	} {
		c := Defaults(WittenBell)()
		err := x.c(&c)
		if err == nil {
			_, err = Fit(context.Background(), x.set, c)
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if (name == "epsilon" || name == "no delta" || name == "large" || name == "too noisy") && !errors.Is(err, privacy.ErrBudget) {
			t.Errorf("%s: %v does not wrap ErrBudget", name, err)
		}
	}
}

// Numbers of steps, such as durations of flows, have public ranges: what is drawn of
// many sessions of one duration is of its range.
func TestPrivateNumbers(t *testing.T) {
	set := &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "size", Kind: traffic.Size}, {Name: "duration", Kind: traffic.Number}}}}
	for range 2000 {
		set.Sessions = append(set.Sessions, traffic.Session{Label: -1, Steps: []float64{40, 2.5}})
	}
	c := Defaults(WittenBell)()
	if err := c.SetPrivacy(8, 1e-6); err != nil {
		t.Fatal(err)
	}
	m, err := Fit(t.Context(), set, c)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 200}))
	if err != nil {
		t.Fatal(err)
	}
	right, all := 0, 0
	for _, s := range drawn.Sessions {
		for i := 1; i < len(s.Steps); i += 2 {
			all++
			if x := s.Steps[i]; x >= 1 && x <= math.Sqrt(10) {
				right++
			}
		}
	}
	if right < all*8/10 {
		t.Errorf("%d of %d durations are in the range of the only one", right, all)
	}
}
