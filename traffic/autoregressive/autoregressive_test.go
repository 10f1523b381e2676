package autoregressive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/traffictest"
)

// toy is sessions of a process that is known: label "a" alternates up and down,
// "b" repeats its first direction; sizes are 100 up and 1400 down, rarely
// another; a step follows its opposite after 1 ms, its like after 20 ms.
func toy(n int, seed uint64) *traffic.Set {
	s := &traffic.Set{Of: traffic.Schema{
		Labels: []string{"a", "b"},
		Meta:   []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}, {Name: "port", Kind: traffic.Port}},
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
			{Name: "size", Kind: traffic.Size}, {Name: "flags", Kind: traffic.Symbol, Levels: []string{"data", "push"}}, {Name: "gap", Kind: traffic.Gap}},
	}}
	for i := range n {
		key := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}
		x := traffic.Session{Label: i % 2, Start: float64(i) * .5, Meta: []float64{float64(i / 2 % 2), float64(40000 + i)}}
		if i/2%2 == 0 {
			x.Meta[1] = 443
		}
		d := float64(key.Intn(0, 2))
		for t := range 3 + 3*(i/4%2) {
			gap := 0.
			if t > 0 {
				if gap = .02; x.Label == 0 {
					d, gap = 1-d, .001
				}
			}
			size := 100 + 1300*d
			if key.Float64(uint32(10+t)) < .02 {
				size = 3000 + 7*float64(i) // rare: no two alike
			}
			push := 0.
			if d == 1 {
				push = 1
			}
			x.Steps = append(x.Steps, d, size, push, gap)
		}
		s.Sessions = append(s.Sessions, x)
	}
	return s
}

var quick = Config{Hidden: 32, Updates: 700, Rows: 32, Rate: 1e-2}

var fitted = sync.OnceValues(func() (*Model, error) {
	return Fit(context.Background(), toy(400, 1), quick, traffic.FitOptions{Seed: 3})
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

// What is sampled follows the process, whose likelihood is known.
func TestLearnsProcess(t *testing.T) {
	m := model(t)
	s, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 600, Seed: 1}))
	if err != nil {
		t.Fatal(err)
	}
	steps, good, lengths := 0., 0., map[int]float64{}
	for i := range s.Sessions {
		x := &s.Sessions[i]
		n := s.Of.Len(x)
		lengths[n]++
		for k := 1; k < n; k++ {
			was, is := s.Of.Step(x, k-1), s.Of.Step(x, k)
			steps++
			if (is[0] != was[0]) == (x.Label == 0) && is[2] == is[0] && math.Abs(is[3]-map[int]float64{0: .001, 1: .02}[x.Label]) < 1e-9 {
				good++
			}
		}
	}
	if good/steps < .97 {
		t.Errorf("%.3f of the steps follow the process", good/steps)
	}
	if a, b := lengths[3]/600, lengths[6]/600; math.Abs(a-.5) > .08 || math.Abs(b-.5) > .08 {
		t.Errorf("sessions of 3 and 6 steps have shares %.2f and %.2f of .5 each", a, b)
	}
	held := toy(200, 2)
	sum, n := make([]float64, len(m.Parts())), 0
	for i := range held.Sessions {
		k, err := m.LogProb(&held.Sessions[i], sum)
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	// A session: its first direction ln 2, whether 3 or 6 steps ln 2; a step:
	// rare or not, and then one of about 4,000 sizes.
	want := (2*200*math.Ln2 + float64(n)*(-.02*math.Log(.02)-.98*math.Log(.98)+.02*math.Log(4000))) / float64(n)
	if got := -sum[0] / float64(n); math.Abs(got-want) > .12 {
		t.Errorf("%.3f nats a step, the process has about %.3f", got, want)
	}
}

// The likelihood of a session is the product that sampling draws from: the
// share of a session among samples is its probability.
func TestLikelihoodIsSampling(t *testing.T) {
	m := model(t)
	s, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 8000, Labels: []int{0}, Seed: 5}))
	if err != nil {
		t.Fatal(err)
	}
	// Of the sessions with one and the same meta, those with the commonest steps.
	counts, of, total := map[string]int{}, map[string]*traffic.Session{}, 0
	for i := range s.Sessions {
		x := &s.Sessions[i]
		if x.Meta[0] != 0 || x.Meta[1] != 443 {
			continue
		}
		total++
		key := fmt.Sprint(m.codec.Classes(x, nil))
		counts[key]++
		of[key] = x
	}
	checked := 0
	for key, n := range counts {
		if n < 100 {
			continue
		}
		checked++
		sum := make([]float64, len(m.Parts()))
		if _, err := m.LogProb(of[key], sum); err != nil {
			t.Fatal(err)
		}
		lp := 0.
		for _, x := range sum {
			lp += x
		}
		p, got := math.Exp(lp), float64(n)/float64(total)
		if sd := math.Sqrt(p * (1 - p) / float64(total)); math.Abs(got-p) > 5*sd {
			t.Errorf("%q has share %.4f of samples, probability %.4f ± %.4f", key, got, p, sd)
		}
	}
	if checked < 2 {
		t.Errorf("only %d sessions came often enough", checked)
	}
}

// A run that was interrupted, saved and opened ends with the bytes of one that
// was not; for any number of threads. Other data or settings are refused.
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
	stop := func(c Config, at int) {
		t.Helper()
		stopped, cancel := context.WithCancel(ctx)
		defer cancel()
		if m, err := Fit(stopped, data, c, traffic.FitOptions{Path: path, Threads: 1, Report: func(p traffic.Progress) {
			if p.Done == at {
				cancel()
			}
		}}); !errors.Is(err, context.Canceled) || m == nil || m.Updates != at {
			t.Fatalf("stopped after %d: %v", at, err)
		}
	}
	stop(c, 17)
	half, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if half.Done() || half.Updates != 17 {
		t.Fatalf("the checkpoint is of update %d", half.Updates)
	}
	for _, err := range half.Sample(ctx, traffic.Request{N: 1}) {
		if !errors.Is(err, traffic.ErrRequest) {
			t.Errorf("sampling a model in training gives %v", err)
		}
	}
	other := c
	other.Hidden++
	resume := traffic.FitOptions{Path: path, Resume: true, Threads: 2}
	for name, fit := range map[string]func() error{
		"config": func() error { _, err := Fit(ctx, data, other, resume); return err },
		"seed": func() error {
			o := resume
			o.Seed = 9
			_, err := Fit(ctx, data, c, o)
			return err
		},
		"data": func() error { _, err := Fit(ctx, toy(100, 9), c, resume); return err },
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
	if _, err := Fit(ctx, data, c, resume); !errors.Is(err, ErrResume) {
		t.Errorf("a model whose training has ended: %v", err)
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
	hash := func(m *Model) string {
		s, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 50, Seed: 3}))
		if err != nil {
			t.Fatal(err)
		}
		h, _ := traffic.Hash(s)
		return h
	}
	if hash(m) != hash(o) {
		t.Error("the opened model samples other sessions")
	}
	for i := 0; i < b.Len(); i += 97 {
		if _, err := Parse(b.Bytes()[:i]); err == nil {
			t.Fatalf("%d of %d bytes were read without an error", i, b.Len())
		}
	}
}

// No rare size and no port that few sessions have is in a model: the file is
// the same, byte by byte but for the weights that learnt from it, and no tensor
// or setting holds one.
func TestNothingRareInFile(t *testing.T) {
	data := toy(400, 1)
	rare := map[int64]bool{}
	for i := range data.Sessions {
		for k := range data.Of.Len(&data.Sessions[i]) {
			if x := int64(data.Of.Step(&data.Sessions[i], k)[1]); x >= 3000 {
				rare[x] = true
			}
		}
		if p := int64(data.Sessions[i].Meta[1]); p != 443 {
			rare[p] = true
		}
	}
	if len(rare) < 200 {
		t.Fatalf("only %d rare values", len(rare))
	}
	m := model(t)
	meta, tensors, err := m.tensors(nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(where string, x float64) {
		if rare[int64(x)] || rare[int64(-x)] || rare[int64(x)-1] || rare[-int64(x)-1] { // a size is stored as ±(x+1)
			t.Errorf("%s holds %v", where, x)
		}
	}
	for k, text := range meta {
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
			if len(word) < 3 || len(word) > 6 {
				continue
			}
			x := 0.
			for _, c := range word {
				x = 10*x + float64(c-'0')
			}
			if !slices.Contains(m.codec.Steps[0].Vocabulary.Cells, int64(x)) && !slices.Contains(m.codec.Steps[0].Vocabulary.Cells, -int64(x)) &&
				!slices.Contains(m.codec.Meta[1].Vocabulary.Cells, int64(x)) && !strings.Contains(m.Data, word) {
				check("metadata "+k, x)
			}
		}
	}
	for _, x := range tensors {
		switch d := x.Data.(type) {
		case []int32:
			for _, v := range d {
				check(x.Name, float64(v))
			}
		case []float64:
			for _, v := range d {
				check(x.Name, v)
			}
		case []float32:
			for _, v := range d {
				if v > 50 || v < -50 {
					check(x.Name, float64(v))
				}
			}
		}
	}
	// Cells say nothing of what was seen: they follow from the largest power of two.
	other := toy(400, 1)
	for i := range other.Sessions {
		for k := range other.Of.Len(&other.Sessions[i]) {
			if step := other.Of.Step(&other.Sessions[i], k); step[1] >= 3000 {
				step[1]++
			}
		}
	}
	c := quick
	c.Updates = 1
	o, err := Fit(context.Background(), other, c, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := m.codec.Steps[0].Vocabulary, o.codec.Steps[0].Vocabulary
	if !slices.Equal(a.Exact, b.Exact) || !slices.Equal(a.Cells, b.Cells) {
		t.Error("the vocabulary depends on rare sizes")
	}
}

// Sessions longer than the window are learnt in pieces, all steps of which are
// learnt once, and sampled whole.
func TestLongSessions(t *testing.T) {
	s := toy(2, 1)
	long := s.Sessions[0]
	for len(long.Steps) < 4*150 {
		long.Steps = append(long.Steps, s.Sessions[0].Steps...)
	}
	s.Sessions[0] = long
	c := Config{Hidden: 16, Updates: 3, Window: 32, Rows: 4, MaxSteps: -1}
	m, err := Fit(context.Background(), s, c, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := newBatches(m, s)
	seen := map[tokens.Piece]int{}
	for u := range b.schedule.Batches() {
		var batch seq.Batch
		k := b.fill(u, &batch)
		_, piece := b.schedule.Batch(u)
		done := map[tokens.Piece]bool{} // a batch may be larger than all there is
		for row := range b.schedule.Shapes[k].Rows {
			x := piece(row)
			if done[x] {
				break
			}
			done[x] = true
			for step := range batch.Steps {
				if batch.Values[(step*batch.Rows+row)*len(m.codec.Steps)] >= 0 {
					seen[tokens.Piece{Session: x.Session, From: x.From + int32(step)}]++
				}
			}
		}
	}
	for i := range s.Sessions {
		for k := range b.targets(i) {
			if seen[tokens.Piece{Session: int32(i), From: int32(k)}] != 1 {
				t.Fatalf("session %d, step %d of %d is learnt %d times", i, k, b.targets(i), seen[tokens.Piece{Session: int32(i), From: int32(k)}])
			}
		}
	}
	x, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 3, MaxSteps: 200}))
	if err != nil || x.Valid() != nil {
		t.Fatal(err, x.Valid())
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"hidden": {Hidden: -1}, "window": {Window: 1}, "often": {Often: 1}, "rate": {Rate: 2}, "dropout": {Dropout: 1}, "rows": {Rows: -3},
		"updates": {Updates: -1}, "max_steps": {MaxSteps: -2},
	} {
		if _, err := Fit(context.Background(), toy(4, 1), c, traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := toy(0, 1)
	if _, err := Fit(context.Background(), empty, quick, traffic.FitOptions{}); err == nil {
		t.Error("no session is learnt from")
	}
}
