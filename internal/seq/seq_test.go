package seq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
)

func backend(tb testing.TB, k compute.Kernels) *compute.Backend {
	be := compute.NewBackend(k, 1)
	tb.Cleanup(be.Close)
	return be
}

func fastest() compute.Kernels { k := compute.Available(); return k[len(k)-1] }

func model(tb testing.TB, c Config) *Model {
	m, err := New(c, 5)
	if err != nil {
		tb.Fatal(err)
	}
	for i, t := range m.tables { // no table may be 0, or its gradient would be tested nowhere
		nn.InitUniform(rng.Key{Seed: uint64(i), Purpose: rng.Start}, t.data, .7)
	}
	return m
}

var sizes = Config{
	Embeddings: []Embedding{{"size", 7, 5}, {"label", 3, 2}}, Dense: 2, Hidden: 10, Layers: 2,
	Heads: []Head{{"a", 4, nil}, {"b", 6, []int{0}}, {"c", 3, []int{0, 1}}},
}

// batch is one with absent tokens, unknown values, weights and lengths.
func batch(m *Model, steps, rows int, seed uint64) *Batch {
	b := &Batch{Steps: steps, Rows: rows}
	k := rng.Key{Seed: seed, Purpose: rng.Start}
	at := uint32(0)
	draw := func(n int) int { at++; return k.Intn(at, n) }
	for range rows {
		b.Length = append(b.Length, int32(steps-draw(3)))
	}
	for i := range steps * rows {
		for _, e := range m.Embeddings {
			b.Tokens = append(b.Tokens, int32(draw(e.Size+1)-1))
		}
		for range m.Dense {
			b.Dense = append(b.Dense, float32(draw(100))/50-1)
		}
		for _, h := range m.Heads {
			v := int32(draw(h.Size+1) - 1)
			b.Values = append(b.Values, v)
			w := float32(draw(3))
			if int32(i/rows) >= b.Length[i%rows] {
				w = 0
			}
			b.Weight = append(b.Weight, w)
		}
	}
	return b
}

// The gradient of every tensor is that of central differences of the loss, for
// all forms of the model; and every kernel set gives the reference's.
func TestGradient(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"causal":        func(*Config) {},
		"bidirectional": func(c *Config) { c.Bidirectional = true },
		"head hidden":   func(c *Config) { c.HeadHidden = 9 },
		"tokens only":   func(c *Config) { c.Dense = 0 },
		"numbers only":  func(c *Config) { c.Embeddings = nil; c.Layers = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := sizes
			change(&c)
			m := model(t, c)
			b := batch(m, 5, 3, 1)
			run := m.NewRun(backend(t, compute.Reference), 5, 3)
			total := func() (sum float64) {
				run.Forward(b)
				for _, l := range run.Backward(1) {
					sum += l
				}
				return sum
			}
			total()
			var want [][]float32
			for _, g := range run.Gradients() {
				want = append(want, slices.Clone(g))
			}
			for i, g := range m.groups() {
				for _, j := range []int{0, len(g.data) / 3, len(g.data) / 2, len(g.data) - 1} {
					const h = 1e-2
					old := g.data[j]
					g.data[j] = old + h
					up := total()
					g.data[j] = old - h
					slope := (up - total()) / float64((old+h)-(old-h))
					g.data[j] = old
					if d := math.Abs(slope - float64(want[i][j])); d > 2e-4+2e-3*math.Abs(slope) {
						t.Errorf("%s[%d]: gradient %v, differences give %v", g.name, j, want[i][j], slope)
					}
				}
			}
			for _, k := range compute.Available()[1:] {
				r := m.NewRun(backend(t, k), 5, 3)
				r.Forward(b)
				r.Backward(1)
				for i, g := range r.Gradients() {
					for j := range g {
						if math.Abs(float64(g[j]-want[i][j])) > 2e-6 {
							t.Fatalf("%v: %s[%d] is %v, the reference's %v", k, m.groups()[i].name, j, g[j], want[i][j])
						}
					}
				}
			}
		})
	}
}

// What lies behind a masked cell of a head that nothing else is given changes
// no loss, and what comes later changes nothing before it.
func TestMasks(t *testing.T) {
	m := model(t, sizes)
	run := m.NewRun(backend(t, fastest()), 6, 2)
	b := batch(m, 6, 2, 3)
	loss := func() float64 {
		run.Forward(b)
		l := run.Backward(1)
		return l[0] + l[1] + l[2]
	}
	last := len(m.Heads) - 1
	b.Weight[last] = 0
	b.Values[last] = 0
	want := loss()
	b.Values[last] = 2
	if got := loss(); got != want {
		t.Errorf("a masked cell's value changes the loss from %v to %v", want, got)
	}
	before := slices.Clone(run.Forward(b)[:4*2*m.Width()])
	b.Tokens[4*2*len(m.Embeddings)] = 6
	b.Dense[4*2*m.Dense] = 9
	if !slices.Equal(before, run.Forward(b)[:4*2*m.Width()]) {
		t.Error("a causal model sees what comes later")
	}
	c := sizes
	c.Bidirectional = true
	both := model(t, c)
	r := both.NewRun(backend(t, fastest()), 6, 2)
	b.Length = []int32{4, 6}
	at := func() []float32 { return slices.Clone(r.Forward(b)[:both.Width()]) } // step 0 of row 0
	first := at()
	b.Tokens[5*2*len(m.Embeddings)] = 2 // beyond row 0's length
	if !slices.Equal(first, at()) {
		t.Error("what lies beyond a row's length is seen")
	}
	b.Tokens[3*2*len(m.Embeddings)] = (b.Tokens[3*2*len(m.Embeddings)] + 2) % 6
	if slices.Equal(first, at()) {
		t.Error("a bidirectional model does not see the end of the row")
	}
}

// A row sampled among others, step by step, has the distribution that the
// training pass computes, whatever its neighbours are.
func TestSamplerIsRun(t *testing.T) {
	m := model(t, sizes)
	const steps, rows = 6, 37
	b := batch(m, steps, rows, 7)
	be := backend(t, fastest())
	logits := m.NewRun(be, steps, rows).Forward(b)
	all, alone := m.NewSampler(be, rows), m.NewSampler(be, 3)
	e, d, heads := len(m.Embeddings), m.Dense, len(m.Heads)
	for s := range steps {
		all.Step(nil, b.Tokens[s*rows*e:][:rows*e], b.Dense[s*rows*d:][:rows*d])
		const row = 33
		at := s*rows + row
		alone.Step([]int{1}, b.Tokens[at*e:][:e], b.Dense[at*d:][:d])
		values := b.Values[at*heads:][:heads]
		begin := 0
		for h, end := range m.ends {
			p := slices.Clone(logits[at*m.Width()+begin : at*m.Width()+end])
			begin = end
			Softmax(p)
			w := slices.Clone(all.Weights(row, h, values))
			if !slices.Equal(w, alone.Weights(0, h, values)) {
				t.Fatalf("step %d, head %d: neighbours matter", s, h)
			}
			sum := float32(0)
			for _, v := range w {
				sum += v
			}
			for c := range p {
				if math.Abs(float64(p[c]-w[c]/sum)) > 1e-5 {
					t.Fatalf("step %d, head %d: class %d has probability %v sampled, %v in training", s, h, c, w[c]/sum, p[c])
				}
			}
		}
	}
	state := make([]float32, all.Size())
	all.State(33, state)
	alone.Reset([]int{1})
	alone.SetState(1, state)
	at := rows * 2
	all.Step([]int{33}, b.Tokens[at*e:][:e], b.Dense[at*d:][:d])
	want := slices.Clone(all.Weights(0, 0, []int32{-1, -1, -1}))
	alone.Step([]int{1}, b.Tokens[at*e:][:e], b.Dense[at*d:][:d])
	if !slices.Equal(want, alone.Weights(0, 0, []int32{-1, -1, -1})) {
		t.Error("a state that was put back goes on differently")
	}
}

// A filler's distributions are those of the training pass, whatever the
// neighbours are; guided ones are further from what was read without the
// condition.
func TestFillerIsRun(t *testing.T) {
	c := sizes
	c.Bidirectional = true
	m := model(t, c)
	const steps, rows = 7, 37
	b := batch(m, steps, rows, 7)
	be := backend(t, fastest())
	logits := slices.Clone(m.NewRun(be, steps, rows).Forward(b))
	f := m.NewFiller(be, steps, rows)
	f.Read(b)
	cells := []int{33, 5, 2*rows + 7, 3*rows + 33}
	f.Heads(cells, 0)
	heads := len(m.Heads)
	one := &Batch{Steps: steps, Rows: 1, Length: b.Length[33:34]} // row 33 alone
	for step := range steps {
		at := step*rows + 33
		one.Tokens = append(one.Tokens, b.Tokens[at*len(m.Embeddings):][:len(m.Embeddings)]...)
		one.Dense = append(one.Dense, b.Dense[at*m.Dense:][:m.Dense]...)
	}
	alone := m.NewFiller(be, steps, 1)
	alone.Read(one)
	alone.Heads([]int{0, 3}, 0)
	for i, at := range cells {
		values := b.Values[at*heads:][:heads]
		begin := 0
		for h, end := range m.ends {
			p := slices.Clone(logits[at*m.Width()+begin : at*m.Width()+end])
			begin = end
			Softmax(p)
			w := slices.Clone(f.Weights(i, h, values))
			if i == 0 && !slices.Equal(w, alone.Weights(0, h, values)) || i == 3 && !slices.Equal(w, alone.Weights(1, h, values)) {
				t.Fatalf("cell %d, head %d: neighbours matter", at, h)
			}
			sum := float32(0)
			for _, v := range w {
				sum += v
			}
			for c := range p {
				if math.Abs(float64(p[c]-w[c]/sum)) > 1e-5 {
					t.Fatalf("cell %d, head %d: class %d has probability %v, %v in training", at, h, c, w[c]/sum, p[c])
				}
			}
		}
	}
	free := *b
	free.Tokens = slices.Clone(b.Tokens)
	for i := range steps * rows {
		free.Tokens[i*len(m.Embeddings)+1] = -1
	}
	without := m.NewRun(be, steps, rows)
	base := slices.Clone(without.Forward(&free))
	f.ReadFree(&free)
	f.Heads(cells, 1.5)
	for i, at := range cells {
		want := make([]float32, m.Heads[0].Size)
		for c := range want {
			want[c] = logits[at*m.Width()+c] + 1.5*(logits[at*m.Width()+c]-base[at*m.Width()+c])
		}
		Softmax(want)
		w := slices.Clone(f.Weights(i, 0, nil))
		normalise(w)
		for c := range want {
			if math.Abs(float64(want[c]-w[c])) > 1e-5 {
				t.Fatalf("cell %d: guided probability %v, want %v", at, w[c], want[c])
			}
		}
	}
}

// normalise scales weights to sum to 1.
func normalise(w []float32) {
	sum := float32(0)
	for _, v := range w {
		sum += v
	}
	for i := range w {
		w[i] /= sum
	}
}

// chain is a Markov chain whose entropy is known: the next of 5 symbols is the
// one after with probability .7, else one of all at random; a second head is
// the first's parity with probability .9.
func chain(key rng.Key, steps int) (symbol, parity []int32) {
	s := int32(key.Intn(0, 5))
	for t := range steps {
		if i := uint32(4 * t); key.Float64(i+1) < .7 {
			s = (s + 1) % 5
		} else {
			s = int32(key.Intn(i+2, 5))
		}
		p := s % 2
		if key.Float64(uint32(4*t+3)) > .9 {
			p = 1 - p
		}
		symbol, parity = append(symbol, s), append(parity, p)
	}
	return symbol, parity
}

var chainConfig = Config{
	Embeddings: []Embedding{{"symbol", 5, 4}}, Hidden: 16,
	Heads: []Head{{"symbol", 5, nil}, {"parity", 2, []int{0}}},
}

func fillChain(update int, b *Batch) error {
	for r := range b.Rows {
		s, p := chain(rng.Key{Seed: 11, A: uint32(update), B: uint32(r), Purpose: rng.BatchOrder}, b.Steps)
		for t := range b.Steps {
			at := t*b.Rows + r
			b.Tokens[at] = -1
			if t > 0 {
				b.Tokens[at] = s[t-1]
			}
			b.Values[2*at], b.Values[2*at+1] = s[t], p[t]
		}
	}
	return nil
}

func chainBatch() *Batch {
	const steps, rows = 24, 32
	return &Batch{Steps: steps, Rows: rows, Tokens: make([]int32, steps*rows), Values: make([]int32, 2*steps*rows)}
}

func trainChain(tb testing.TB, m *Model, c Training, o FitOptions) *Trainer {
	be := backend(tb, fastest())
	tr, err := NewTrainer(m, be, c)
	if err != nil {
		tb.Fatal(err)
	}
	b := chainBatch()
	if err := tr.Fit(context.Background(), m.NewRun(be, b.Steps, b.Rows), b, fillChain, o); err != nil {
		tb.Fatal(err)
	}
	return tr
}

// Training comes to the entropy of a chain that is known, and what is sampled
// has its transitions.
func TestLearnsChain(t *testing.T) {
	m, err := New(chainConfig, 1)
	if err != nil {
		t.Fatal(err)
	}
	var last []float64
	n := 0.
	tr := trainChain(t, m, Training{Updates: 400, Rate: 1e-2}, FitOptions{Report: func(u int, l []float64) {
		if u > 350 {
			if last == nil {
				last = make([]float64, 2)
			}
			n++
			for i := range l {
				last[i] += l[i]
			}
		}
	}})
	h := func(p ...float64) (sum float64) {
		for _, p := range p {
			sum -= p * math.Log(p)
		}
		return sum
	}
	want := []float64{(23*h(.76, .06, .06, .06, .06) + math.Log(5)) / 24, h(.9, .1)} // the first symbol is uniform
	for i := range want {
		if got := last[i] / n; math.Abs(got-want[i]) > .02 {
			t.Errorf("head %d: %.3f nats a step, the chain's entropy is %.3f", i, got, want[i])
		}
	}
	s := tr.Averaged().NewSampler(backend(t, fastest()), 64)
	tokens, values := make([]int32, 64), make([]int32, 2)
	for i := range tokens {
		tokens[i] = -1
	}
	next, even, count := 0., 0., 0.
	for step := range 60 {
		s.Step(nil, tokens, nil)
		for i := range tokens {
			k := rng.Key{Seed: uint64(i), B: uint32(step), Purpose: rng.SampleNoise}
			v := s.Draw(i, 0, values, k.Float64(0))
			p := s.Draw(i, 1, values, k.Float64(1))
			if step > 0 {
				count++
				if v == (tokens[i]+1)%5 {
					next++
				}
				if p == v%2 {
					even++
				}
			}
			tokens[i] = v
		}
	}
	if next /= count; math.Abs(next-.76) > .03 {
		t.Errorf("the symbol after follows with %.3f, want .76", next)
	}
	if even /= count; math.Abs(even-.9) > .03 {
		t.Errorf("the parity agrees with %.3f, want .9", even)
	}
}

// A run that was interrupted, written and read back ends with the bytes of one
// that was not.
func TestResume(t *testing.T) {
	c := Training{Updates: 30, Rate: 1e-2}
	whole, err := New(chainConfig, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := trainChain(t, whole, c, FitOptions{})
	half, _ := New(chainConfig, 2)
	be := backend(t, fastest())
	tr, err := NewTrainer(half, be, c)
	if err != nil {
		t.Fatal(err)
	}
	b := chainBatch()
	run := half.NewRun(be, b.Steps, b.Rows)
	var file bytes.Buffer
	err = tr.Fit(context.Background(), run, b, fillChain, FitOptions{Every: 13, Checkpoint: func() error {
		file.Reset()
		if err := safetensors.Write(&file, nil, append(half.Tensors("w."), tr.State("s.")...)); err != nil {
			return err
		}
		return ErrStop
	}})
	if err != nil || tr.Update != 13 {
		t.Fatalf("stopped after %d updates: %v", tr.Update, err)
	}
	f, err := safetensors.New(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := New(chainConfig, 99)
	if err := again.Load(f, "w."); err != nil {
		t.Fatal(err)
	}
	tr, err = NewTrainer(again, be, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Restore(f, "s."); err != nil {
		t.Fatal(err)
	}
	if err := tr.Fit(context.Background(), again.NewRun(be, b.Steps, b.Rows), chainBatch(), fillChain, FitOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, g := range again.groups() {
		if !slices.Equal(g.data, whole.groups()[i].data) || !slices.Equal(tr.average[i], want.average[i]) {
			t.Errorf("%s: resumed and uninterrupted training differ", g.name)
		}
	}
	if err := again.Load(f, "x."); err == nil || !errors.Is(err, safetensors.ErrFormat) {
		t.Errorf("a missing tensor gives %v", err)
	}
}

// An infinite gradient updates nothing and is named.
func TestDiverged(t *testing.T) {
	m := model(t, sizes)
	be := backend(t, fastest())
	tr, err := NewTrainer(m, be, Training{})
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(m.groups()[0].data)
	run := m.NewRun(be, 2, 2)
	run.Gradients()[1][0] = float32(math.Inf(1))
	var d *DivergedError
	if err := tr.Apply(run.Gradients()); !errors.As(err, &d) || d.Tensor != "head." {
		t.Errorf("an infinite gradient gives %v", err)
	}
	if !slices.Equal(before, m.groups()[0].data) || tr.Update != 0 {
		t.Error("it was learnt from")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"input":           func(c *Config) { c.Dense, c.Embeddings = 0, nil },
		"hidden":          func(c *Config) { c.Hidden = 0 },
		"embedding label": func(c *Config) { c.Embeddings = []Embedding{{"label", 0, 2}} },
		"head a":          func(c *Config) { c.Heads = []Head{{"a", 0, nil}} },
		"given":           func(c *Config) { c.Heads = []Head{{"a", 2, []int{0}}} },
		"no head":         func(c *Config) { c.Heads = nil },
	} {
		c := sizes
		change(&c)
		if _, err := New(c, 1); err == nil {
			t.Errorf("%s: %+v is accepted", name, c)
		}
	}
}

func TestAllocations(t *testing.T) {
	m := model(t, sizes)
	be := backend(t, fastest())
	b := batch(m, 4, 40, 1)
	run := m.NewRun(be, 4, 40)
	tr, err := NewTrainer(m, be, Training{})
	if err != nil {
		t.Fatal(err)
	}
	s := m.NewSampler(be, 40)
	values := make([]int32, len(m.Heads))
	step := func() {
		if _, err := run.Losses(b); err != nil {
			t.Fatal(err)
		}
		if err := tr.Apply(run.Gradients()); err != nil {
			t.Fatal(err)
		}
		s.Step(nil, b.Tokens[:40*2], b.Dense[:40*2])
		for i := range 40 {
			for h := range m.Heads {
				s.Draw(i, h, values, .5)
			}
		}
	}
	step()
	if n := testing.AllocsPerRun(3, step); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// Pick gives each class its share of [0, 1), its edges to the one above, and
// never one of weight 0.
func TestPick(t *testing.T) {
	w := []float32{0, 1, 0, 2, 1, 0}
	for _, c := range []struct {
		u    float64
		want int32
	}{{0, 1}, {.2499, 1}, {.25, 3}, {.7499, 3}, {.75, 4}, {.99999999, 4}} {
		if got := Pick(w, c.u); got != c.want {
			t.Errorf("u %v: class %d, want %d", c.u, got, c.want)
		}
	}
}

func ExampleModel() {
	m, _ := New(Config{
		Embeddings: []Embedding{{"size", 100, 16}},
		Hidden:     32,
		Heads:      []Head{{"size", 101, nil}, {"gap", 48, []int{0}}}, // 100 is END
	}, 1)
	fmt.Println(m.In(), m.Width(), m.Parameters())
	// Output: 16 149 16165
}

func BenchmarkUpdate(b *testing.B) {
	for _, h := range []int{64, 128} {
		for _, k := range compute.Available()[2:] {
			b.Run(fmt.Sprintf("hidden=%d/%v", h, k), func(b *testing.B) {
				m, _ := New(Config{Embeddings: []Embedding{{"x", 100, 32}}, Dense: 64, Hidden: h, Heads: []Head{{"y", 384, nil}}}, 1)
				be := backend(b, k)
				bt := batch(m, 11, 128, 1)
				run := m.NewRun(be, 11, 128)
				tr, err := NewTrainer(m, be, Training{})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := run.Losses(bt); err != nil {
						b.Fatal(err)
					}
					if err := tr.Apply(run.Gradients()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSampler(b *testing.B) {
	for _, h := range []int{64, 96, 128} {
		for _, k := range compute.Available()[2:] {
			b.Run(fmt.Sprintf("hidden=%d/%v", h, k), func(b *testing.B) {
				m, _ := New(Config{Dense: 48, Hidden: h, Heads: []Head{{"x", 128, nil}}}, 1)
				s := m.NewSampler(backend(b, k), 1024)
				x := make([]float32, 48*1024)
				for b.Loop() {
					s.Step(nil, nil, x)
				}
				b.ReportMetric(float64(b.N)*1024/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
