package closedloop

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/seq/seqtest"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// What an update adds to the likelihood is the gradient of the expected reward,
// as central differences of that expectation give it: of a network small enough
// for every sequence that it can draw to be listed, with its probability. A
// sequence's logits are any function of it.
func TestAdvantagesAreAPolicyGradient(t *testing.T) {
	c := seq.Config{
		Embeddings: []seq.Embedding{{Name: "a", Size: 3, Dim: 2}, {Name: "b", Size: 2, Dim: 2}}, Hidden: 5,
		Heads: []seq.Head{{Name: "a", Size: 3}, {Name: "b", Size: 2, Given: []int{0}}},
	}
	const steps, classes, n = 3, 6, 6 * 6 * 6
	m := seqtest.Model(t, c)
	b := &seq.Batch{Steps: steps, Rows: n, Tokens: make([]int32, steps*n*2), Values: make([]int32, steps*n*2), Weight: make([]float32, steps*n*2)}
	l := make([]float64, steps*2*n) // of pairs: the recorded half is not used
	for row := range n {
		for s, code := 0, row; s < steps; s, code = s+1, code/classes {
			i := s*n + row
			b.Values[2*i], b.Values[2*i+1] = int32(code%classes/2), int32(code%2)
			b.Tokens[2*i], b.Tokens[2*i+1] = -1, -1
			if s > 0 { // closed loop
				copy(b.Tokens[2*i:][:2], b.Values[2*(i-n):])
			}
			prefix := row % int(math.Pow(classes, float64(s+1)))
			l[s*2*n+n+row] = 2*rng.Key{Seed: 1, A: uint32(s), B: uint32(prefix), Purpose: rng.Start}.Float64(0) - 1
		}
	}
	for _, kernels := range []compute.Kernels{compute.Reference, backend(t).Kernels} {
		be := compute.NewBackend(kernels, 1)
		defer be.Close()
		run := m.NewRun(be, steps, n)
		// probabilities are those of the sequences, and expected is of the reward
		// Σ_t l_t - l_{t-1} = l_T.
		probabilities := func() []float64 {
			y := run.Forward(b)
			p := make([]float64, n)
			for row := range n {
				p[row] = 1
				for s := range steps {
					i := s*n + row
					for h, of := range [][]float32{y[5*i:][:3], y[5*i+3:][:2]} {
						sum := 0.
						for _, v := range of {
							sum += math.Exp(float64(v))
						}
						p[row] *= math.Exp(float64(of[b.Values[2*i+h]])) / sum
					}
				}
			}
			return p
		}
		expected := func() (sum float64) {
			for row, p := range probabilities() {
				sum += p * l[(steps-1)*2*n+n+row]
			}
			return sum
		}
		a := advantages(l, steps, n, 1)
		total := 0.
		for row, p := range probabilities() {
			total += p
			for s := range steps {
				w := float32(p) * a[s*n+row]
				b.Weight[2*(s*n+row)], b.Weight[2*(s*n+row)+1] = w, w
			}
		}
		if math.Abs(total-1) > 1e-5 {
			t.Fatalf("the probabilities of all sequences sum to %v", total)
		}
		if _, err := run.Losses(b); err != nil {
			t.Fatal(err)
		}
		var got [][]float64 // per sequence, not per second that counts; of what goes down
		for _, g := range run.Gradients() {
			var x []float64
			for _, v := range g {
				x = append(x, -float64(v)*float64(b.Counted(2)))
			}
			got = append(got, x)
		}
		for i, g := range m.Parts().Groups {
			for _, j := range []int{0, len(g.Data) / 3, len(g.Data) / 2, len(g.Data) - 1} {
				const h = 1e-2
				old := g.Data[j]
				g.Data[j] = old + h
				up := expected()
				g.Data[j] = old - h
				slope := (up - expected()) / float64((old+h)-(old-h))
				g.Data[j] = old
				if d := math.Abs(slope - got[i][j]); d > 1e-4+2e-3*math.Abs(slope) {
					t.Errorf("%v: %s[%d]: %v, differences of the expected reward give %v", kernels, g.Name, j, got[i][j], slope)
				}
			}
		}
	}
}

// Rewards later than the next second are discounted, a row's baseline is the mean
// of the others, and a steep one is cut off.
func TestAdvantages(t *testing.T) {
	l := []float64{
		9, 9, 1, 2, // of two recorded windows, two rollouts: second 1
		9, 9, 2, -2,
		9, 9, 2, 90,
	}
	// rewards 1, 1, 0 and 2, -4, 92; with γ = .5 discounted 1.5, 1, 0 and 23, 42, 92
	want := []float32{-5, 5, -5, 5, -5, 5}
	if got := advantages(l, 3, 2, .5); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	l[11] = -2
	// the second row's rewards are now 2, -4, 0: discounted 0, -4, 0
	want = []float32{1.5, -1.5, 5, -5, 0, 0}
	if got := advantages(l, 3, 2, .5); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What a discriminator sees of a rollout is what it would see of a recording that
// holds the seconds before it, then what was drawn, with the gaps of the
// recording that it takes the place of; and the classes that a generator is
// credited with are those that its distributions give for the numbers drawn.
func TestRolloutsAreSeenAsRecordings(t *testing.T) {
	for _, c := range []Config{{Regimes: 2}, {Regimes: 1}, {Regimes: 2, Open: true}, {Clock: 300}} {
		c.Hidden, c.Updates, c.Window, c.Batch = 8, 5, 16, 4
		data := toys(3, 300, 20, true)
		m := fit(t, c, data, FitOptions{})
		k := m.codec
		_, regimes := inferLoad(k, data, k.Load.K)
		const steps = 70
		s, err := newStage(k, data, regimes, steps)
		if err != nil {
			t.Fatal(err)
		}
		at := []windowStart{{0, 8}, {1, 104}, {1, 160}}
		seeds := []uint64{3, 4, 5}
		pairs, g := s.pairs(3), newBatch(m.Config, k, steps, 4)
		be := backend(t)
		if err := s.roll(m.net, be, at, seeds, pairs, g, 1); err != nil {
			t.Fatal(err)
		}
		s.recorded(at, pairs)
		turned := 0
		for i, w := range at {
			values, valid := make([]float32, 0, 4*300), make([]bool, 0, 4*300)
			one, ok := make([]float32, 4), make([]bool, 4)
			sim, err := NewSimulator(1, m, be)
			if err != nil {
				t.Fatal(err)
			}
			r, limits := &sim.rows[0], []int32{0}
			if err := k.restore(&r.moment, s.moments[w.recording][w.second/stride]); err != nil {
				t.Fatal(err)
			}
			r.seed, r.begun = seeds[i], true
			x, tokens := make([]float32, k.numbersIn()), make([]int32, len(k.heads))
			for sec := range 300 {
				data[w.recording].Data.Copy(sec, one, ok)
				if n := sec - w.second; n >= 0 && n < steps {
					k.enter(&r.moment, regimes[w.recording], sec)
					if k.Restart && n > 0 && regimes[w.recording][sec] != regimes[w.recording][sec-1] {
						turned++
						sim.sampler.Reset(nil)
					}
					limits[0] = int32(data[w.recording].LimitAt(sec))
					k.input(&r.moment, limits, sec, false, x, tokens)
					sim.sampler.Step(nil, tokens, x)
					sim.draw(0, r, limits)
					copy(one, sim.values)
				}
				for j := range one {
					if !ok[j] {
						one[j] = 0
					}
				}
				values, valid = append(values, one...), append(valid, ok...)
			}
			again := telemetry.Recording{Data: dataset(data[0].Data.Fields(), values, valid), Limits: data[w.recording].Limits}
			two, err := newStage(k, []telemetry.Recording{again}, regimes[w.recording:][:1], steps)
			if err != nil {
				t.Fatal(err)
			}
			for n := range steps {
				got := pairs.Dense[(n*6+3+i)*s.sight():][:s.sight()]
				if want := two.seen[0][(w.second+n+1)*s.sight():][:s.sight()]; !slices.Equal(got, want) {
					t.Fatalf("%+v: window %d, second %d: rollout seen as\n%v, as a recording\n%v", c, i, n, got, want)
				}
				e := len(s.eye.heads)
				if got, want := pairs.Tokens[(n*6+3+i)*e:][:e], two.tokens[0][(w.second+n+1)*e:][:e]; !slices.Equal(got, want) {
					t.Fatalf("%+v: window %d, second %d: tokens %v, want %v", c, i, n, got, want)
				}
				if got, want := pairs.Dense[(n*6+i)*s.sight():][:s.sight()], s.seen[w.recording][(w.second+n+1)*s.sight():][:s.sight()]; !slices.Equal(got, want) {
					t.Fatalf("window %d, second %d: what was recorded is seen otherwise", i, n)
				}
			}
		}
		if c.Regimes == 2 && turned == 0 {
			t.Error("no load turns within a window: nothing is tested of it")
		}
	}
}

// A rollout is credited to the generator as a sequence that it reads from its
// beginning: of every second that counts, the class is what the network's
// distribution, computed as in training, gives for the number that drew it.
func TestCreditIsOfWhatWasDrawn(t *testing.T) {
	c := Config{Hidden: 8, Updates: 60, Window: 16, Batch: 4, Regimes: 2, Rate: 1e-2}
	data := toys(3, 400, 20, true)
	m := fit(t, c, data, FitOptions{})
	k := m.codec
	_, regimes := inferLoad(k, data, k.Load.K)
	const steps, n = 90, 12
	s, err := newStage(k, data, regimes, steps)
	if err != nil {
		t.Fatal(err)
	}
	var at []windowStart
	var seeds []uint64
	for i := range n {
		at, seeds = append(at, s.train[i*len(s.train)/n]), append(seeds, uint64(i))
	}
	be := backend(t)
	pairs, g := s.pairs(n), newBatch(m.Config, k, steps, n)
	if err := s.roll(m.net, be, at, seeds, pairs, g, 0); err != nil {
		t.Fatal(err)
	}
	a := make([]float32, steps*n)
	for i := range a {
		a[i] = float32(1 + i/n) // the second that it is of, from 1
	}
	const weight = .5
	s.creditAll(at, a, weight, 1000, g, 0)
	heads := len(m.net.Heads)
	y := slices.Clone(m.net.NewRun(be, steps, n).Forward(g))
	ends := m.net.Parts().Ends
	counted, sum, drawn := 0, 0., 0
	for i, w := range at {
		from, end := s.undivided(w)
		for sec := range steps {
			row := sec*n + i
			values, weights := g.Values[row*heads:][:heads], g.Weight[row*heads:][:heads]
			if sec >= end-from {
				if slices.ContainsFunc(values, func(v int32) bool { return v >= 0 }) {
					t.Fatalf("window %d: second %d of %d counts", i, sec, end-from)
				}
				continue
			}
			if weights[1] == 0 {
				continue
			}
			counted++
			sum += float64(weights[1]) / float64(1+from+sec)
			key := rng.Key{Seed: seeds[i], A: uint32(from + sec), Purpose: rng.Generated}
			for h := 1; h < heads; h++ {
				logits := y[row*ends[heads-1]:][:ends[heads-1]][ends[h]-m.net.Heads[h].Size : ends[h]]
				seq.Softmax(logits)
				b := key.Block(uint32((h - 1) / 2))
				u := (float64(b[2*(h-1)%4]) + .5) * 0x1p-32
				switch got := seq.Pick(logits, u); {
				case got == values[h]:
					drawn++
				case k.Columns[k.Heads[h-1].Column].Kind == changeKind: // the buffer met its end
				default:
					t.Fatalf("window %d, second %d: %s is %d, its distribution gives %d", i, from+sec, m.net.Heads[h].Name, values[h], got)
				}
			}
		}
	}
	if counted < steps*n/2 || drawn < counted*(heads-1)*9/10 {
		t.Errorf("%d seconds of %d count, %d classes are those drawn", counted, steps*n, drawn)
	}
	if want := weight * 1000; math.Abs(sum-want) > 1e-3*want {
		t.Errorf("rollouts weigh %v together, want %v", sum, want)
	}
}

// adversarial is a small fit with fine-tuning.
var adversarial = Config{Hidden: 8, Updates: 9, Window: 16, Batch: 4, AdversarialWeight: 1, AdversarialUpdates: 9, AdversarialWindow: 24}

// Fine-tuning that was interrupted, before, in and after the discriminator's head
// start, and resumed from its file ends with the bytes of a run that was not, and
// so does one on other threads.
func TestAdversarialResume(t *testing.T) {
	data := toys(3, 150, 20, true)
	var want bytes.Buffer
	m := fit(t, adversarial, data, FitOptions{})
	if err := m.Write(&want); err != nil {
		t.Fatal(err)
	}
	if m.Adversary == nil || !m.Done() {
		t.Fatal("nothing was fine-tuned")
	}
	for _, at := range []int{0, 2, 7} {
		half := fit(t, adversarial, data, FitOptions{Every: 1, Checkpoint: func(m *Model) error {
			if m.tuning != nil && m.tuning.done == at {
				return timegan.ErrStop
			}
			return nil
		}})
		if half.Done() || half.tuning.done != at {
			t.Fatalf("not stopped after %d updates of fine-tuning", at)
		}
		var part, got bytes.Buffer
		if err := half.Write(&part); err != nil {
			t.Fatal(err)
		}
		again, err := Decode(bytes.NewReader(part.Bytes()), int64(part.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := fit(t, adversarial, data, FitOptions{Resume: again}).Write(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("resumed after %d updates of fine-tuning, a fit has other bytes", at)
		}
		other := adversarial
		other.AdversarialWeight = 2
		if _, err := Fit(context.Background(), other, backend(t), data, FitOptions{Resume: again}); err == nil {
			t.Error("resumed with another weight")
		}
	}
	be := compute.NewBackend(backend(t).Kernels, 3)
	defer be.Close()
	three, err := Fit(context.Background(), adversarial, be, data, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := three.Write(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("three threads give other bytes")
	}
}

// A context that ends while the discriminators judge leaves a checkpoint that
// judges again.
func TestAdversarialIsInterrupted(t *testing.T) {
	data := toys(3, 150, 20, true)
	ctx, cancel := context.WithCancel(context.Background())
	m, err := Fit(ctx, adversarial, backend(t), data, FitOptions{Report: func(p Progress) {
		if p.Update == p.Of {
			cancel()
		}
	}})
	if err == nil || m == nil || m.Done() || m.tuning.done != adversarial.tuningUpdates() {
		t.Fatalf("%v", err)
	}
	if m = fit(t, adversarial, data, FitOptions{Resume: m}); !m.Done() || m.Adversary == nil {
		t.Error("a resumed fit does not judge")
	}
}

// Fine-tuned weights are taken where rollouts are harder to tell from recordings by
// more than a standard error, and nothing else is lost.
func TestAdversaryHelps(t *testing.T) {
	good := Adversary{Before: Judgement{Drift: .1, Likelihood: 10}, After: Judgement{Drift: .119, Likelihood: 10.09}, Gain: .02, Error: .019}
	if !good.helps() {
		t.Errorf("%+v does not help", good)
	}
	for what, worse := range map[string]func(*Adversary){
		"a gain within its error": func(a *Adversary) { a.Error = .02 },
		"a loss":                  func(a *Adversary) { a.Gain, a.Error = -.02, 0 },
		"a likelihood":            func(a *Adversary) { a.After.Likelihood = 10.11 },
		"a drift":                 func(a *Adversary) { a.After.Drift = .121 },
		"no number":               func(a *Adversary) { a.Gain = math.NaN() },
	} {
		bad := good
		if worse(&bad); bad.helps() {
			t.Errorf("%s: %+v helps", what, bad)
		}
	}
}

// Weights that fine-tuning made worse are not taken: the model is then the
// likelihood's.
func TestAdversaryThatDoesNotHelp(t *testing.T) {
	if testing.Short() {
		t.Skip("a training")
	}
	data := toys(3, 400, 40, false)
	c := Config{Hidden: 16, Updates: 60, Window: 32, Batch: 8, Rate: 1e-2}
	plain := fit(t, c, data, FitOptions{})
	c.AdversarialWeight, c.AdversarialUpdates, c.AdversarialWindow = 1000, 120, 32 // the likelihood no longer counts
	m := fit(t, c, data, FitOptions{})
	t.Log(m.Adversary)
	if m.Adversary.Kept {
		t.Fatal("weights that a discriminator ruined were kept")
	}
	if !strings.Contains(m.Adversary.String(), "the likelihood's weights were kept") {
		t.Errorf("%v", m.Adversary)
	}
	want := plain.net.Tensors("")
	for i, got := range m.net.Tensors("") {
		if !slices.Equal(got.Data.([]float32), want[i].Data.([]float32)) {
			t.Fatalf("tensor %s is not that of the likelihood", got.Name)
		}
	}
}

// queueAndBuffer is toy without the wait and the quality.
func queueAndBuffer(seed uint64, seconds int) telemetry.Recording {
	r := toy(seed, seconds, 40, false)
	f, one := r.Data.Fields(), make([]float32, 4)
	var values []float32
	var valid []bool
	for t := range seconds {
		r.Data.Copy(t, one, nil)
		values, valid = append(values, one[0], one[2]), append(valid, true, true)
	}
	return telemetry.Recording{Data: dataset([]telemetry.Field{f[0], f[2]}, values, valid), Limits: r.Limits}
}

func dataset(fields []telemetry.Field, values []float32, valid []bool) *telemetry.Dataset {
	d, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	return d
}

// Against the discriminator alone, from random weights, a generator learns: what
// it draws is harder to tell from recordings than what random weights draw, by two
// standard errors, and recordings are likelier.
func TestAdversaryAloneLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("a training")
	}
	var data []telemetry.Recording
	for i := range 9 {
		data = append(data, queueAndBuffer(uint64(i+1), 1200))
	}
	m := fit(t, Config{Hidden: 16, Batch: 16, AdversarialOnly: true, AdversarialUpdates: 100, AdversarialWindow: 48, Rate: 4e-3, Bins: 6}, data, FitOptions{})
	a := m.Adversary
	t.Log(a)
	if !a.Kept || a.Gain < 2*a.Error || a.After.Likelihood >= a.Before.Likelihood {
		t.Errorf("%v", a)
	}
	if m.Loss != a.After.Likelihood || m.Updates != 0 {
		t.Errorf("%v nats after %d updates of the likelihood, want %v after none", m.Loss, m.Updates, a.After.Likelihood)
	}
}

func TestAdversarialConfigIsChecked(t *testing.T) {
	for want, c := range map[string]Config{
		"adversarial_weight: -1 is negative":         {AdversarialWeight: -1},
		"adversarial_weight: 2000 is above 1000":     {AdversarialWeight: 2000},
		"adversarial_updates: -3 is outside":         {AdversarialWeight: 1, AdversarialUpdates: -3},
		"adversarial_window: 9000 is outside 0…3600": {AdversarialWeight: 1, AdversarialWindow: 9000},
		"adversarial_weight: NaN is above":           {AdversarialWeight: math.NaN()},
		"adversarial_window: 5 is below 16":          {AdversarialWeight: 1, AdversarialWindow: 5},
		"adversarial_weight is 0":                    {AdversarialUpdates: 5},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	c := adversarial
	c.AdversarialWindow = 140
	if _, err := Fit(context.Background(), c, backend(t), toys(2, 150, 20, false), FitOptions{}); err == nil || !strings.Contains(err.Error(), "adversarial_window") {
		t.Errorf("recordings shorter than a rollout: %v", err)
	}
}
