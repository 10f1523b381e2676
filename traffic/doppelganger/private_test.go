package doppelganger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/privacy"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// calls are sessions with a field of every kind; seed changes every value.
func calls(seed uint64, n int) *traffic.Set {
	set := &traffic.Set{Of: traffic.Schema{
		Labels: []string{"a", "b"},
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"TCP", "UDP"}}, {Name: "server", Kind: traffic.Address},
			{Name: "server_port", Kind: traffic.Port}},
		Steps: []traffic.Field{{Name: "gap", Kind: traffic.Gap}, {Name: "duration", Kind: traffic.Number}, {Name: "size", Kind: traffic.Size},
			{Name: "type", Kind: traffic.Symbol, Levels: []string{"x", "y"}}},
	}}
	for i := range n {
		key := rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Start}
		s := traffic.Session{Label: key.Intn(0, 3) - 1, Start: 10 * key.Float64(1),
			Meta: []float64{float64(key.Intn(2, 2)), float64(key.Intn(3, 50)), float64(9000 + key.Intn(4, 5000))}}
		for t := range 1 + key.Intn(5, 14) {
			u := uint32(10 + 4*t)
			s.Steps = append(s.Steps, key.Float64(u), 3*key.Float64(u+1), float64(17+key.Intn(u+2, 70_000)), float64(key.Intn(u+3, 2)))
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

func small(epsilon float64) Config {
	c := Config{Width: 8, Hidden: 6, Critic: 8, Batch: 16, Updates: 3}
	if err := c.SetPrivacy(epsilon, 1e-4); err != nil {
		panic(err)
	}
	c.Updates = 3
	return c
}

// mechanised is a trainer of a private fit before its first update.
func mechanised(t *testing.T, set *traffic.Set, c Config, private Private, noise uint64) *trainer {
	t.Helper()
	labels := make([]int32, len(set.Of.Labels)+1)
	for i := range labels {
		labels[i] = 10
	}
	k, err := publicCodec(set.Of, labels)
	if err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(compute.Fastest(), 1)
	t.Cleanup(func() { be.Close() })
	r := newTrainer(c.withDefaults(), k, k.encode(set, c.Window), be)
	p := &mechanism{r: rand.New(rand.NewPCG(noise, 0))}
	p.begin(r, &private)
	return r
}

// Where no session has what a step asks for, a critic's gradient is noise: of mean 0
// and, over many steps, of the deviation that was paid for, in every part.
func TestNoiseOfSteps(t *testing.T) {
	c := small(8)
	r := mechanised(t, calls(1, 40), c, Private{Clip: 2, Sigma: 3, Rate: .5}, 1)
	r.sessions(0, 0)
	want := 3. * 2 / 16
	var n, sum, squares float64
	for range 50 {
		for critic, x := range [][]float32{r.x1, r.x2} {
			r.private.step(r, critic, x, 1, func([]float32, int) bool { return false })
			for _, g := range r.grads[2+critic] {
				n, sum, squares = n+1, sum+float64(g), squares+float64(g)*float64(g)
			}
		}
	}
	if mean := sum / n; math.Abs(mean) > 5*want/math.Sqrt(n) {
		t.Errorf("the mean of %v elements is %v", n, mean)
	}
	if got := math.Sqrt(squares / n); math.Abs(got/want-1) > 5/math.Sqrt(2*n) {
		t.Errorf("deviation %v, want %v", got, want)
	}
}

// One session more changes the sum of a step by no more than the clip, and all that
// the other sessions see is as before: the sum is over sessions that know nothing
// of each other. Without noise, so that it can be seen.
func TestOneSessionMore(t *testing.T) {
	c := small(8)
	sums := func(set *traffic.Set, clip float64) (all [2][]float32) {
		r := mechanised(t, set, c, Private{Clip: clip, Rate: 1}, 7)
		d := [2][]float32{slices.Clone(r.d1.Params().Data), slices.Clone(r.d2.Params().Data)}
		for critic, p := range []*nn.MLP{r.d1, r.d2} {
			r.sessions(0, streamAttributes)
			r.windows(0, streamWindows)
			see := func(row []float32, session int) bool {
				r.k.hot(row, r.t.attributes[session])
				return true
			}
			generated := r.x1[c.Batch*r.k.width:]
			if critic == 1 {
				generated = r.x2[len(r.live)*r.n.windowWidth():]
				see = func(row []float32, session int) bool {
					r.window(row, &r.t.windows[r.private.windows[session][0]])
					return true
				}
			}
			r.private.r = rand.New(rand.NewPCG(7, uint64(critic))) // the same draws for all but the last
			r.private.step(r, critic, generated, 1, see)
			all[critic] = slices.Clone(r.grads[2+critic])
			copy(p.Params().Data, d[critic])
		}
		return all
	}
	set, more := calls(3, 40), calls(3, 41)
	for _, clip := range []float64{1e-3, 1, 100} {
		a, b := sums(set, clip), sums(more, clip)
		for critic := range a {
			for i := range a[critic] {
				b[critic][i] -= a[critic][i]
			}
			// float32 sums of 40 sessions of that norm
			if d := nn.Norm(b[critic]) * float64(c.Batch); d == 0 || d > clip*(1+1e-4) {
				t.Errorf("clip %v, critic %d: one session more changes the sum by %v", clip, critic, d)
			}
		}
	}
}

// An attacker who sees the gradient of a step with a canary or without, and has taken
// away what the other sessions add, finds it no better than ε allows, at any threshold,
// and about as well as the mechanism says.
func TestCanary(t *testing.T) {
	c := small(8)
	set := calls(5, 20)
	const steps, delta = 1500, .01
	for _, sigma := range []float64{.02, 1, 3} {
		r := mechanised(t, set, c, Private{Clip: 1, Sigma: sigma, Rate: 1}, 11)
		r.sessions(0, streamAttributes)
		d := slices.Clone(r.d1.Params().Data)
		generated := r.x1[c.Batch*r.k.width:]
		// Steps of the same critic; the canary is session 0.
		step := func(with bool) []float32 {
			copy(r.d1.Params().Data, d)
			r.private.step(r, 0, generated, 1, func(row []float32, session int) bool {
				r.k.hot(row, r.t.attributes[session])
				return session == 0 && with
			})
			return r.grads[2]
		}
		// Its own gradient is what an attacker looks for.
		own := make([]float32, len(d))
		r.private.deviation = 0
		for range 50 { // in the mean of the rows between
			for i, g := range step(true) {
				own[i] += g
			}
			for i, g := range step(false) {
				own[i] -= g
			}
		}
		r.private.deviation = sigma
		norm := nn.Norm(own)
		seen := func(with bool) (all []float64) {
			for range steps {
				x := 0.
				for i, g := range step(with) {
					x += float64(g) * float64(own[i]) / norm
				}
				all = append(all, x)
			}
			slices.Sort(all)
			return all
		}
		in, out := seen(true), seen(false)
		epsilon := 0.
		for privacy.Delta(sigma, epsilon) > delta {
			epsilon += .01
		}
		above := func(x []float64, at float64) float64 {
			i, _ := slices.BinarySearch(x, at)
			return float64(len(x)-i) / float64(len(x))
		}
		best := 0.
		for _, at := range slices.Concat(in, out) {
			right, wrong := above(in, at), above(out, at)
			best = max(best, right-wrong)
			if most := math.Exp(epsilon)*wrong + delta; right > most+5*math.Sqrt(.25/steps)*(1+math.Exp(min(epsilon, 3))) && sigma >= 1 {
				t.Fatalf("sigma %v: %.3f of canaries are found at %.3f false alarms; epsilon %.2f allows %.3f", sigma, right, wrong, epsilon, most)
			}
		}
		// The advantage of the best test between N(0, σ²) and N(1, σ²), Delta(σ, 0), is
		// what the canary has at most, and nearly all of it.
		if most := privacy.Delta(sigma, 0); best > most+5/math.Sqrt(steps) || best < most*.6-5/math.Sqrt(steps) {
			t.Errorf("sigma %v: an advantage of %.3f; the mechanism allows %.3f", sigma, best, most)
		}
	}
}

// A private model's file says nothing of sessions but weights and noisy numbers of
// sessions: all else is the same for other sessions of the same schema.
func TestPrivateFile(t *testing.T) {
	c := small(8)
	var rest []map[string]any
	for seed := range uint64(2) {
		m, err := Fit(t.Context(), calls(seed, 300), c, traffic.FitOptions{Seed: 1, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := m.Write(&b, nil); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		p := again.Private()
		if p == nil || p.Epsilon != 8 || p.Sigma <= 0 || p.Steps != 2*3*2 {
			t.Fatalf("%+v", p)
		}
		drawn, err := traffic.Collect(again.Schema(), again.Sample(t.Context(), traffic.Request{N: 50, MaxSteps: 40}))
		if err != nil || drawn.Len() != 50 || drawn.Valid() != nil {
			t.Fatalf("%d sessions, %v, %v", drawn.Len(), err, drawn.Valid())
		}
		f, err := safetensors.New(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range f.Names() {
			if !strings.HasPrefix(name, "generator.") {
				t.Errorf("the file holds %s", name)
			}
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(f.Metadata["model"]), &v); err != nil {
			t.Fatal(err)
		}
		of := v["codec"].(map[string]any)
		total := 0.
		for _, n := range of["labels"].([]any) {
			total += n.(float64)
		}
		if math.Abs(total-300) > 8*p.Counts {
			t.Errorf("about %v sessions of 300", total)
		}
		// What follows from the noisy numbers.
		delete(of, "labels")
		starts := len(of["starts"].([]any))
		delete(of, "starts")
		delete(of, "span")
		if float64(starts) != total {
			t.Errorf("%d starts of about %v sessions", starts, total)
		}
		for _, name := range []string{"rate", "sigma"} {
			delete(v["private"].(map[string]any), name)
		}
		rest = append(rest, v)
	}
	if !reflect.DeepEqual(rest[0], rest[1]) {
		t.Errorf("files of two sets of sessions say\n%v\nand\n%v", rest[0], rest[1])
	}
}

// Samples and noise are new in every fit, and equal where a test gives their source.
func TestPrivateNoiseIsNew(t *testing.T) {
	c := small(8).withDefaults()
	set := calls(1, 300)
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	weights := func(noise rand.Source) []float32 {
		m := &Model{Config: c, Chosen: -1}
		if err := m.fitPrivate(t.Context(), be, set, traffic.FitOptions{}, noise); err != nil {
			t.Fatal(err)
		}
		return m.nets.attributes.Params().Data
	}
	if slices.Equal(weights(nil), weights(nil)) {
		t.Error("two fits have equal weights")
	}
	if !slices.Equal(weights(rand.NewPCG(1, 2)), weights(rand.NewPCG(1, 2))) {
		t.Error("with one source of noise weights differ")
	}
}

func TestPrivateRefusals(t *testing.T) {
	set := calls(1, 300)
	for name, x := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"packing": {func(c *Config) { c.Packing = 2 }, "packing: 2"},
		"chunks":  {func(c *Config) { c.Chunks = 3 }, "chunks: 3"},
		"clip":    {func(c *Config) { c.Clip = -1 }, "clip: -1"},
		"public":  {func(c *Config) { c.Epsilon, c.Delta, c.Sigma = 0, 0, 3 }, "sigma: 1, 3 are of private fits"},
		"delta":   {func(c *Config) { c.Delta = .01 }, "delta is 0.01 of 300 sessions"},
		"sigma":   {func(c *Config) { c.Sigma = .1 }, "a larger sigma, or fewer updates, fewer rounds, a smaller batch"},
		"noise":   {func(c *Config) { c.Updates = 100_000 }, "nothing is left to learn: fewer updates"},
		"batch":   {func(c *Config) { c.Batch = 1024 }, "batch: 1024 sessions a step"},
		"counts":  {func(c *Config) { c.Epsilon = 1e-5 }, "hides all: more sessions"},
		"mode":    {func(c *Config) { c.Mode = Likelihood }, "likelihood has no private fit"},
	} {
		c := small(8)
		x.change(&c)
		_, err := Fit(t.Context(), set, c, traffic.FitOptions{})
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "clip, sigma: 1", "sigma: 1"), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if budget := slices.Contains([]string{"delta", "sigma", "noise", "batch", "counts"}, name); budget != errors.Is(err, privacy.ErrBudget) {
			t.Errorf("%s: %v wraps ErrBudget: %v", name, err, !budget)
		}
	}
	c := Config{Mode: Likelihood}
	if err := c.SetPrivacy(8, 1e-6); err == nil {
		t.Error("the likelihood is private")
	}
	o := traffic.FitOptions{Path: filepath.Join(t.TempDir(), "m.safetensors"), Resume: true}
	if _, err := Fit(t.Context(), set, small(8), o); !errors.Is(err, ErrResume) {
		t.Errorf("a private fit is resumed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fit(ctx, set, small(8), traffic.FitOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a fit that is stopped: %v", err)
	}
}
