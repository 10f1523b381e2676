package masked

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/traffictest"
)

// toy is sessions of 6 or 9 steps of a process that is known: label "a"
// alternates up and down, sizes 100 and 1400; "b" repeats its first direction,
// sizes 200 and 900; flags say the direction again.
func toy(n int, seed uint64) *traffic.Set {
	s := &traffic.Set{Of: traffic.Schema{
		Labels: []string{"a", "b"},
		Meta:   []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
			{Name: "size", Kind: traffic.Size}, {Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "push"}}, {Name: "gap", Kind: traffic.Gap}},
	}}
	sizes := [2][2]float64{{100, 1400}, {200, 900}}
	for i := range n {
		key := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2, Start: float64(i) * .5, Meta: []float64{float64(i / 2 % 2)}}
		d := key.Intn(0, 2)
		for t := range 6 + 3*(i/4%2) {
			gap := 0.
			if t > 0 {
				if gap = .02; x.Label == 0 {
					d, gap = 1-d, .001
				}
			}
			x.Steps = append(x.Steps, float64(d), sizes[x.Label][d], float64(d), gap)
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

var quick = Config{Hidden: 24, Updates: 400, Rows: 32, Rate: 1e-2, Free: .1, Passes: 12}

var fitted = sync.OnceValues(func() (*Model, error) {
	return Fit(context.Background(), toy(300, 1), quick, traffic.FitOptions{Seed: 3})
})

func model(tb testing.TB) *Model {
	tb.Helper()
	m, err := fitted()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestContract(t *testing.T) {
	traffictest.Check(t, func(t *testing.T) traffic.Model { return model(t) })
}

// share of steps after the first that follow the process.
func share(s *traffic.Set) float64 {
	steps, good := 0., 0.
	for i := range s.Sessions {
		x := &s.Sessions[i]
		for k := 1; k < s.Of.Len(x); k++ {
			was, is := s.Of.Step(x, k-1), s.Of.Step(x, k)
			steps++
			if (is[0] != was[0]) == (x.Label == 0) && is[2] == is[0] {
				good++
			}
		}
	}
	return good / steps
}

// What is sampled follows the process, with guidance and without; the lengths
// are training's; a class of the other label is never drawn. The bound is near
// the process's entropy and not below it.
func TestLearnsProcess(t *testing.T) {
	m := model(t)
	for _, guidance := range []float64{0, 1} {
		g := &Model{Config: m.Config, codec: m.codec, net: m.net, census: m.census, lengths: m.lengths, allowed: m.allowed}
		g.Config.Guidance = guidance
		s, err := traffic.Collect(m.Schema(), g.Sample(context.Background(), traffic.Request{N: 400, Seed: 1}))
		if err != nil {
			t.Fatal(err)
		}
		if got := share(s); got < .9 {
			t.Errorf("guidance %v: %.3f of the steps follow the process", guidance, got)
		}
		six := 0.
		for i := range s.Sessions {
			x := &s.Sessions[i]
			if s.Of.Len(x) == 6 {
				six += 1. / 400
			} else if s.Of.Len(x) != 9 {
				t.Fatalf("a session of %d steps", s.Of.Len(x))
			}
			for k := range s.Of.Len(x) {
				if size := s.Of.Step(x, k)[1]; (size == 100 || size == 1400) != (x.Label == 0) {
					t.Fatalf("label %d has a step of %v bytes", x.Label, size)
				}
			}
		}
		if math.Abs(six-.5) > .1 {
			t.Errorf("%.2f of the sessions have 6 steps, want .5", six)
		}
	}
	held := toy(100, 2)
	sum, n := make([]float64, len(m.Parts())), 0
	for i := range held.Sessions {
		k, err := m.LogProb(&held.Sessions[i], sum)
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	want := 2 * math.Ln2 * 100 / float64(n) // a session: its first direction, and whether it has 6 or 9 steps
	if got := -sum[0] / float64(n); got < want*.95 || got > want+.25 {
		t.Errorf("at most %.3f nats a step, the process has %.3f", got, want)
	}
}

// More passes than one matter: in one, steps know nothing of each other.
func TestPassesMatter(t *testing.T) {
	m := model(t)
	one := &Model{Config: m.Config, codec: m.codec, net: m.net, census: m.census, lengths: m.lengths, allowed: m.allowed}
	one.Config.Passes = 1
	s, err := traffic.Collect(m.Schema(), one.Sample(context.Background(), traffic.Request{N: 200, Seed: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if got := share(s); got > .75 {
		t.Errorf("%.3f of the steps of one pass follow the process; at random it is about a half", got)
	}
}

func TestResume(t *testing.T) {
	ctx := context.Background()
	c := quick
	c.Updates = 40
	data := toy(100, 1)
	bytesOf := func(m *Model) []byte {
		var b bytes.Buffer
		if err := m.Write(&b, nil); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	whole, err := Fit(ctx, data, c, traffic.FitOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/m.safetensors"
	stopped, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := Fit(stopped, data, c, traffic.FitOptions{Path: path, Threads: 1, Report: func(p traffic.Progress) {
		if p.Done == 17 {
			cancel()
		}
	}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	half, err := Open(path)
	if err != nil || half.Done() || half.Updates != 17 {
		t.Fatal(err)
	}
	for _, err := range half.Sample(ctx, traffic.Request{N: 1}) {
		if !errors.Is(err, traffic.ErrRequest) {
			t.Errorf("sampling a model in training gives %v", err)
		}
	}
	resume := traffic.FitOptions{Path: path, Resume: true, Threads: 2}
	other := c
	other.Passes++
	for name, fit := range map[string]func() error{
		"config": func() error { _, err := Fit(ctx, data, other, resume); return err },
		"data":   func() error { _, err := Fit(ctx, toy(100, 9), c, resume); return err },
	} {
		if err := fit(); !errors.Is(err, ErrResume) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again, err := Fit(ctx, data, c, resume)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(whole), bytesOf(again)) {
		t.Error("resumed and uninterrupted training differ")
	}
}

// Saved and opened is the same model, and a file that was cut anywhere is refused.
func TestFile(t *testing.T) {
	m := model(t)
	var b bytes.Buffer
	if err := m.Write(&b, map[string]string{"data": "toy"}); err != nil {
		t.Fatal(err)
	}
	o, err := Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r := traffic.Request{N: 50, Seed: 3}
	x, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), r))
	y, err2 := traffic.Collect(o.Schema(), o.Sample(context.Background(), r))
	if err != nil || err2 != nil || !slices.EqualFunc(x.Sessions, y.Sessions, func(a, b traffic.Session) bool { return slices.Equal(a.Steps, b.Steps) }) {
		t.Error("the opened model samples other sessions")
	}
	for i := 0; i < b.Len(); i += 97 {
		if _, err := Parse(b.Bytes()[:i]); err == nil {
			t.Fatalf("%d of %d bytes were read without an error", i, b.Len())
		}
	}
}

// Long sessions are learnt in pieces and sampled whole, up to 1,024 steps.
func TestLongSessions(t *testing.T) {
	s := toy(4, 1)
	for i := range s.Sessions {
		x := &s.Sessions[i]
		one := slices.Clone(x.Steps)
		for len(x.Steps) < 4*1500 {
			x.Steps = append(x.Steps, one...)
		}
	}
	m, err := Fit(context.Background(), s, Config{Hidden: 8, Updates: 2, Window: 32, Rows: 4, Passes: 4}, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 3}))
	if err != nil || x.Valid() != nil {
		t.Fatal(err, x.Valid())
	}
	for i := range x.Sessions {
		if n := x.Of.Len(&x.Sessions[i]); n != 1024 {
			t.Errorf("session %d has %d steps", i, n)
		}
	}
}

// What a session may begin with, and what a direction may have, is counted, not
// learnt: a network that has learnt nothing begins no session with a gap and
// draws no flag of the other direction, and neither does its file.
func TestMasks(t *testing.T) {
	m, err := Fit(context.Background(), toy(40, 1), Config{Hidden: 8, Updates: 1, Rows: 4, Passes: 4}, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := m.Write(&file, nil); err != nil {
		t.Fatal(err)
	}
	again, err := Parse(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Model{m, again} {
		x, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 200}))
		if err != nil {
			t.Fatal(err)
		}
		none := 0
		for i := range x.Sessions {
			for k := range x.Of.Len(&x.Sessions[i]) {
				step := x.Of.Step(&x.Sessions[i], k)
				gap := step[3]
				if step[2] != step[0] { // flags say the direction again
					t.Fatalf("session %d has flag %v in direction %v, which training has not", i, step[2], step[0])
				}
				if k == 0 && gap != 0 {
					t.Fatalf("session %d begins with a gap of %v s", i, gap)
				}
				if k > 0 && gap == 0 {
					none++
				}
			}
		}
		if none == 0 {
			t.Error("no later gap is 0: the network knows where, so this tests nothing")
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"hidden": {Hidden: -1}, "window": {Window: 1}, "often": {Often: 1}, "rate": {Rate: 2}, "free": {Free: 1}, "rows": {Rows: -3},
		"updates": {Updates: -1}, "max_steps": {MaxSteps: 2000}, "passes": {Passes: -1}, "guidance": {Guidance: 1},
	} {
		if _, err := Fit(context.Background(), toy(4, 1), c, traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
