package denoise

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/traffictest"
)

// series are of two labels: a burst every fourth tick, and one in the first
// half. Some values are in no other series.
func series(n int) *traffic.Set {
	set := &traffic.Set{Of: rates.Schema([]string{"periodic", "early"}, .1)}
	for i := range n {
		key := rng.Key{Seed: 9, A: uint32(i), Purpose: rng.Bootstrap}
		s := traffic.Session{Label: i % 2, Start: float64(i), Steps: make([]float64, 2*16)}
		if i%2 == 0 {
			for t := key.Intn(0, 4); t < 16; t += 4 {
				s.Steps[2*t], s.Steps[2*t+1] = 60, 1448*float64(1+key.Intn(uint32(t+1), 3))
			}
		} else {
			for t := range 3 {
				s.Steps[2*(t+key.Intn(20, 5))+1] = float64(20011 + 173*i)
			}
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

func tiny() Config { return Config{Updates: 24, Batch: 8, Hidden: 12, Steps: 6} }

func fitted(t testing.TB, c Config, o traffic.FitOptions) *Model {
	t.Helper()
	m, err := Fit(t.Context(), series(60), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encoded(t testing.TB, m *Model) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContract(t *testing.T) {
	m, err := Parse(encoded(t, fitted(t, tiny(), traffic.FitOptions{})))
	if err != nil {
		t.Fatal(err)
	}
	traffictest.Check(t, func(*testing.T) traffic.Model { return m })
}

// Series do not depend on the block that they were drawn in.
func TestBlocks(t *testing.T) {
	m := fitted(t, tiny(), traffic.FitOptions{})
	draw := func(n int) []traffic.Session {
		s, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: n, Seed: 2}))
		if err != nil {
			t.Fatal(err)
		}
		return s.Sessions
	}
	a, b := draw(block+7), draw(block+1)
	for i := range b {
		if !slices.Equal(a[i].Steps, b[i].Steps) {
			t.Fatalf("series %d of %d and of %d differ", i, len(a), len(b))
		}
	}
}

func TestResume(t *testing.T) {
	want := encoded(t, fitted(t, tiny(), traffic.FitOptions{Seed: 3, Threads: 1}))
	if got := encoded(t, fitted(t, tiny(), traffic.FitOptions{Seed: 3, Threads: 2})); !bytes.Equal(got, want) {
		t.Error("two threads give other bytes than one")
	}
	o := traffic.FitOptions{Seed: 3, Path: filepath.Join(t.TempDir(), "m.safetensors")}
	ctx, cancel := context.WithCancel(t.Context())
	o.Report = func(p traffic.Progress) {
		if p.Done == 11 {
			cancel()
		}
	}
	m, err := Fit(ctx, series(60), tiny(), o)
	if !errors.Is(err, context.Canceled) || m == nil || m.Updates != 11 || m.Done() {
		t.Fatalf("cancelled: %v", err)
	}
	o.Report, o.Resume = nil, true
	for name, change := range map[string]func(c *Config, o *traffic.FitOptions, n *int){
		"seed":     func(c *Config, o *traffic.FitOptions, n *int) { o.Seed++ },
		"settings": func(c *Config, o *traffic.FitOptions, n *int) { c.Hidden++ },
		"sessions": func(c *Config, o *traffic.FitOptions, n *int) { *n-- },
		"engine":   func(c *Config, o *traffic.FitOptions, n *int) { o.Kernels = "go" },
	} {
		c, o, n := tiny(), o, 60
		change(&c, &o, &n)
		if _, err := Fit(t.Context(), series(n), c, o); !errors.Is(err, ErrResume) || !strings.Contains(err.Error(), name) {
			t.Errorf("other %s: %v", name, err)
		}
	}
	if got := encoded(t, fitted(t, tiny(), o)); !bytes.Equal(got, want) {
		t.Error("resumed, the bytes differ")
	}
}

// The scale takes a value to where it comes back from; common ones come back
// exactly, rare ones within a sixteenth and never as themselves from a knot.
func TestScale(t *testing.T) {
	set := series(60)
	k, err := newCodec(tiny().withDefaults(), set)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range set.Sessions {
		for j, x := range s.Steps {
			sent, much := k.encode(j%2, x)
			if much < -1 || much > 1 || (sent > 0) != (x > 0) || math.Abs(sent) != 1 {
				t.Fatalf("%v is at %v, %v", x, sent, much)
			}
			back := k.decode(j%2, sent, much)
			if x == 0 && back != 0 || (x == 60 || x == 1448) && back != x || math.Abs(back-x) > .07*x {
				t.Fatalf("%v comes back as %v", x, back)
			}
		}
	}
	for _, q := range k.Fields {
		for _, x := range q {
			if f, _ := math.Frexp(x); x > 20000 && 16*f != math.Trunc(16*f) {
				t.Errorf("knot %v is off the grid", x)
			}
		}
	}
}

// The schedule runs from data to noise, at constant variance.
func TestSchedule(t *testing.T) {
	last := 2.
	for i := range 101 {
		a, s := alphaSigma(float64(i) / 100)
		if math.Abs(a*a+s*s-1) > 1e-12 || a >= last {
			t.Errorf("at %d: alpha %v, sigma %v", i, a, s)
		}
		last = a
	}
	if a, _ := alphaSigma(0); a < 1-1e-9 {
		t.Errorf("alpha begins at %v", a)
	}
	if a, _ := alphaSigma(1); a > 1e-3 {
		t.Errorf("alpha ends at %v", a)
	}
	// Nichol and Dhariwal's eq. 17 at t = 1/2, s = .008
	if a, _ := alphaSigma(.5); math.Abs(a*a-.4938) > 2e-4 {
		t.Errorf("alpha² at 1/2 is %v", a*a)
	}
}

// A bundle of noise and data is taken apart again by v, exactly: the identity
// that sampling relies on.
func TestV(t *testing.T) {
	a, s := alphaSigma(.37)
	x, e := .6, -1.3
	z, v := a*x+s*e, a*e-s*x
	if math.Abs(a*z-s*v-x) > 1e-12 || math.Abs(s*z+a*v-e) > 1e-12 {
		t.Error("v does not give x and noise back")
	}
}

// A thousand updates learn when the labels send: periodic all the time, early
// in the first half alone.
func TestLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	c := tiny()
	c.Updates, c.Batch, c.Hidden, c.Steps = 1000, 16, 24, 12
	m := fitted(t, c, traffic.FitOptions{})
	share := func(label int) (early, late, bytes float64) {
		for s, err := range m.Sample(t.Context(), traffic.Request{N: 128, Labels: []int{label}, Seed: 5}) {
			if err != nil {
				t.Fatal(err)
			}
			for j, x := range s.Steps {
				if bytes += x / 128; x > 0 && j < 16 {
					early += 1. / 128
				} else if x > 0 {
					late += 1. / 128
				}
			}
		}
		return early, late, bytes
	}
	for label, want := range [][2]float64{{4, 4}, {3, 0}} {
		early, late, n := share(label)
		t.Logf("%s: %.2f values above 0 in the first half, %.2f in the second, %.0f bytes", m.Schema().Labels[label], early, late, n)
		if math.Abs(early-want[0]) > .35*want[0] || math.Abs(late-want[1]) > .3+.35*want[1] {
			t.Errorf("label %d: %v and %v values above 0, want %v", label, early, late, want)
		}
	}
}

func TestRefused(t *testing.T) {
	ragged := series(4)
	ragged.Sessions[2].Steps = ragged.Sessions[2].Steps[:30]
	flows := series(4)
	flows.Of.Meta = []traffic.Field{{Name: "server_port", Kind: traffic.Port}}
	for i := range flows.Sessions {
		flows.Sessions[i].Meta = []float64{1}
	}
	for name, c := range map[string]struct {
		set  *traffic.Set
		want string
	}{
		"ragged": {ragged, "session 2 has 15 steps"}, "flows": {flows, "expected series"}, "empty": {&traffic.Set{Of: ragged.Of}, "no series"},
	} {
		if _, err := Fit(t.Context(), c.set, tiny(), traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := encoded(t, fitted(t, tiny(), traffic.FitOptions{}))
	for name, b := range map[string][]byte{
		"cut": good[:len(good)/2], "format": bytes.Replace(good, []byte(Format), []byte("planegym.denoise.v9"), 1),
		"ticks": bytes.Replace(good, []byte(`\"ticks\":16`), []byte(`\"ticks\":-1`), 1),
	} {
		if _, err := Parse(b); err == nil {
			t.Errorf("%s: is accepted", name)
		}
	}
}

// At the size that NetDiffus' rows are compared at, a sample costs less than a
// GFLOP; the published network takes 176,000.
func TestFlops(t *testing.T) {
	set := &traffic.Set{Of: rates.Schema([]string{"a", "b"}, 1)}
	for i := range 4 {
		set.Sessions = append(set.Sessions, traffic.Session{Label: i % 2, Steps: make([]float64, 256)})
	}
	m, err := Fit(t.Context(), set, Config{Updates: 1, Batch: 2}, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := m.Flops(); f > 1e9 || f < 1e8 {
		t.Errorf("%v operations a sample", f)
	}
}

func BenchmarkSample(b *testing.B) {
	set := &traffic.Set{Of: rates.Schema([]string{"a", "b"}, 1)}
	for i := range 4 {
		set.Sessions = append(set.Sessions, traffic.Session{Label: i % 2, Steps: make([]float64, 256)})
	}
	m, err := Fit(b.Context(), set, Config{Updates: 1, Batch: 2}, traffic.FitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		for _, err := range m.Sample(b.Context(), traffic.Request{N: block}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "series/s")
	b.ReportMetric(m.Flops()/1e9, "GFLOP/series")
}
