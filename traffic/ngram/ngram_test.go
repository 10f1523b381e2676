package ngram

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/traffictest"
)

// toy is sessions whose steps are known: "a" is up, down, up, down…; "b" up
// throughout, sizes and gaps by position.
func toy() *traffic.Set {
	s := &traffic.Set{Of: traffic.Schema{
		Labels: []string{"a", "b"},
		Meta:   []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}, {Name: "port", Kind: traffic.Port}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
			{Name: "size", Kind: traffic.Size}, {Name: "gap", Kind: traffic.Gap}},
	}}
	for i := range 60 {
		x := traffic.Session{Label: i % 2, Start: float64(i) * .5, Meta: []float64{float64(i / 3 % 2), float64(1000 + i)}}
		for t := range 3 + i%5 {
			d := 0.
			if i%2 == 0 {
				d = float64(t % 2)
			}
			x.Steps = append(x.Steps, d, float64(100+t*(i%3)), .001*float64(t*(1+i%7)))
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

func fit(t *testing.T, cfg Config) *Model {
	t.Helper()
	m, err := Fit(context.Background(), toy(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestContract(t *testing.T) {
	for _, mode := range Modes {
		t.Run(mode, func(t *testing.T) {
			traffictest.Check(t, func(t *testing.T) traffic.Model { return fit(t, Config{Mode: mode}) })
		})
	}
}

// Saved and opened is the same model.
func TestFile(t *testing.T) {
	for _, mode := range Modes {
		m := fit(t, Config{Mode: mode, MaxSteps: 6})
		var b bytes.Buffer
		if err := m.Write(&b, map[string]string{"data": "toy"}); err != nil {
			t.Fatal(err)
		}
		o, err := Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		r := traffic.Request{N: 50, Seed: 3}
		hash := func(m *Model) string {
			s, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), r))
			if err != nil {
				t.Fatal(err)
			}
			h, _ := traffic.Hash(s)
			return h
		}
		if hash(m) != hash(o) {
			t.Errorf("%s: the opened model samples other sessions", mode)
		}
		var again bytes.Buffer
		if err := o.Write(&again, map[string]string{"data": "toy"}); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
			t.Errorf("%s: written again it is other bytes: %v", mode, err)
		}
		for i := range b.Len() {
			if _, err := Parse(b.Bytes()[:i]); err == nil {
				t.Fatalf("%d of %d bytes were read without an error", i, b.Len())
			}
		}
	}
}

// The probabilities of all that may follow a context sum to 1, and are what
// Witten and Bell's formula gives by hand.
func TestWittenBell(t *testing.T) {
	tab := newTable(4)
	for _, x := range []int32{1, 1, 2} {
		tab.add([]int32{7, 9}, x)
	}
	tab.add([]int32{7, 8}, 3)
	tab.done()
	// Empty context: 1 twice, 2, 3 once; c=4, T=3.
	empty := func(c float64) float64 { return (c + 3*.25) / (4 + 3) }
	// Context 7: the same counts.
	seven := func(c, p float64) float64 { return (c + 3*p) / 7 }
	// Context 7, 9: 1 twice, 2 once; c=3, T=2.
	want := []float64{2 * seven(0, empty(0)) / 5, (2 + 2*seven(2, empty(2))) / 5, (1 + 2*seven(1, empty(1))) / 5, 2 * seven(1, empty(1)) / 5}
	nodes := tab.walk([]int32{7, 9}, nil)
	sum := 0.
	for x, w := range want {
		p := tab.prob(nodes, int32(x))
		sum += p
		if math.Abs(p-w) > 1e-15 {
			t.Errorf("P(%d) = %v, by hand %v", x, p, w)
		}
	}
	if math.Abs(sum-1) > 1e-15 {
		t.Errorf("the probabilities sum to %v", sum)
	}
	// Draws come as often as they are probable.
	n, got, k := 200000, make([]float64, 4), uint32(0)
	for range n {
		got[tab.draw(nodes, true, func() float64 { k++; return rng.Key{Seed: 1}.Float64(k) })] += 1 / float64(n)
	}
	for x, w := range want {
		if math.Abs(got[x]-w) > .01 {
			t.Errorf("%d was drawn in a share of %v, its probability is %v", x, got[x], w)
		}
	}
}

// A model knows what it was fitted to: class "a" turns at every step, and the
// likelihood of its own data beats that of another class's.
func TestLearns(t *testing.T) {
	m := fit(t, Config{})
	s, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 200, Labels: []int{0}, Seed: 1}))
	if err != nil {
		t.Fatal(err)
	}
	turns, steps := 0, 0
	for i := range s.Sessions {
		for j := 1; j < s.Of.Len(&s.Sessions[i]); j++ {
			steps++
			if s.Of.Step(&s.Sessions[i], j)[0] != s.Of.Step(&s.Sessions[i], j-1)[0] {
				turns++
			}
		}
	}
	if float64(turns) < .9*float64(steps) {
		t.Errorf("%d of %d steps turn; in training all did", turns, steps)
	}
	own, other := make([]float64, 2), make([]float64, 2)
	x := toy().Sessions[0]
	if _, err := m.LogProb(&x, own); err != nil {
		t.Fatal(err)
	}
	x.Label = 1
	if _, err := m.LogProb(&x, other); err != nil {
		t.Fatal(err)
	}
	if own[0] <= other[0] {
		t.Errorf("ln P is %v as the class it is of, %v as the other", own[0], other[0])
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Mode: "x"}, {Order: 99}, {MaxSteps: -2}, {Condition: []string{"port"}}, {Condition: []string{"x"}}} {
		if _, err := Fit(context.Background(), toy(), c); err == nil {
			t.Errorf("%+v was fitted", c)
		}
	}
	if _, err := Fit(context.Background(), &traffic.Set{Of: toy().Of}, Config{}); err == nil {
		t.Error("nothing was fitted")
	}
}

// With Often, a value that is rare shares its cell's probability with all that
// are in it: the probabilities of all first steps sum to 1, less what tokens
// that training had not share.
func TestRareValuesShareCells(t *testing.T) {
	s := toy()
	for i := range s.Sessions {
		s.Sessions[i].Steps[1] = float64(2000 + 7*i) // a size of its own each
	}
	m, err := Fit(context.Background(), s, Config{Often: 3, Order: 1, MaxSteps: 1})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.
	prob := func(direction, size float64) float64 {
		into := make([]float64, 2)
		x := traffic.Session{Label: 0, Meta: []float64{0, 1000}, Steps: []float64{direction, size, 0}}
		if _, err := m.LogProb(&x, into); err != nil {
			t.Fatal(err)
		}
		return math.Exp(into[0])
	}
	for size := range 4096 {
		sum += prob(0, float64(size)) + prob(1, float64(size))
	}
	if end := prob(0, 2007) / prob(0, 2008); math.Abs(end-1) > 1e-9 {
		t.Errorf("of a cell, a size that training had is %v times as probable as one that it had not", end)
	}
	// The end of a session, which has a step at least here, and the 48 tokens or so
	// that were not seen, have the rest.
	if sum < .95 || sum > 1 {
		t.Errorf("probabilities of all first steps sum to %v", sum)
	}
}

// A model with classes keeps the contract and comes back from a file; classes
// that the vocabulary lacks are refused.
func TestClassesInFile(t *testing.T) {
	traffictest.Check(t, func(t *testing.T) traffic.Model { return fit(t, Config{Often: 20}) })
	m := fit(t, Config{Often: 20})
	if m.of[1] == nil || m.words[1] == nil || len(m.of[1].Exact) > 0 {
		t.Fatal("ports that one session has are no classes")
	}
	m.vocab[len(m.exact)+1] = 1e6
	var b bytes.Buffer
	if err := m.Write(&b, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(b.Bytes()); err == nil {
		t.Error("a class beyond the vocabulary was read without an error")
	}
}
