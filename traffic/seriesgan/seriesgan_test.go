package seriesgan

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/traffictest"
)

func series(n int) *traffic.Set {
	set := &traffic.Set{Of: rates.Schema([]string{"even", "odd"}, .1)}
	for i := range n {
		s := traffic.Session{Label: i % 2, Start: float64(i), Steps: make([]float64, 2*16)}
		for t := i % 2; t < 16; t += 2 {
			s.Steps[2*t], s.Steps[2*t+1] = 60, float64(1000+37*(t*i%11))
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

func tiny() Config {
	c := Defaults()
	c.Window, c.Hidden, c.Batch, c.Embed, c.Super, c.Joint = 8, 6, 8, 6, 3, 6
	return c
}

func saved(t *testing.T, m *Model) []byte {
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
	m, err := Fit(t.Context(), series(20), tiny(), traffic.FitOptions{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(saved(t, m))
	if err != nil {
		t.Fatal(err)
	}
	traffictest.Check(t, func(*testing.T) traffic.Model { return again })
}

func TestResume(t *testing.T) {
	m, err := Fit(t.Context(), series(20), tiny(), traffic.FitOptions{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := saved(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	o := traffic.FitOptions{Seed: 2, Path: filepath.Join(t.TempDir(), "m.safetensors"), Report: func(traffic.Progress) { cancel() }}
	if _, err := Fit(ctx, series(20), tiny(), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	o.Report, o.Resume = nil, true
	if m, err = Fit(t.Context(), series(20), tiny(), o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved(t, m), want) {
		t.Error("resumed, the bytes differ")
	}
	if _, err := Fit(t.Context(), series(18), tiny(), o); err == nil || !strings.Contains(err.Error(), "resume") {
		t.Errorf("other series: %v", err)
	}
}

func TestRefused(t *testing.T) {
	set := series(4)
	set.Of.Tick = 0
	if _, err := Fit(t.Context(), set, tiny(), traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), "expected series") {
		t.Errorf("sessions: %v", err)
	}
	set = series(4)
	set.Sessions[1].Steps = set.Sessions[1].Steps[:8]
	if _, err := Fit(t.Context(), set, tiny(), traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), "session 1 has 4 steps") {
		t.Errorf("ragged: %v", err)
	}
	if _, err := Parse([]byte("no")); err == nil {
		t.Error("two letters are a model")
	}
}

// sparse is series that send in three of 64 ticks, at random.
func sparse(n int) *traffic.Set {
	set := &traffic.Set{Of: rates.Schema(nil, .1)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		s := traffic.Session{Label: -1, Start: float64(i), Steps: make([]float64, 2*64)}
		for range 3 {
			s.Steps[2*r.IntN(64)] = 200 + float64(r.IntN(1200))
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

// Series that send in few of their ticks are sampled as such, after however short
// a fit: neither silent nor with more than they have. A field that never sends
// does not.
func TestSparse(t *testing.T) {
	share := func(s *traffic.Set, field int) (active, mean float64) {
		n := 0
		for _, x := range s.Sessions {
			for j := field; j < len(x.Steps); j += 2 {
				if n++; x.Steps[j] > 0 {
					active++
					mean += x.Steps[j]
				}
			}
		}
		return active / float64(n), mean / max(active, 1)
	}
	set := sparse(60)
	m, err := Fit(t.Context(), set, tiny(), traffic.FitOptions{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	got, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 400, Seed: 5}))
	if err != nil {
		t.Fatal(err)
	}
	active, mean := share(got, 0)
	wantActive, wantMean := share(set, 0)
	if math.Abs(active-wantActive) > .15*wantActive || math.Abs(mean-wantMean) > .15*wantMean {
		t.Errorf("%.4f of ticks send, %.0f bytes in the mean; in training %.4f and %.0f", active, mean, wantActive, wantMean)
	}
	if active, _ := share(got, 1); active != 0 {
		t.Errorf("%.4f of ticks send down, of training's none", active)
	}
}

// A file whose scales make no sense is refused.
func TestDamaged(t *testing.T) {
	m, err := Fit(t.Context(), series(20), tiny(), traffic.FitOptions{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	for want, damage := range map[string]func(f *field){
		"ranks": func(f *field) { slices.Reverse(f.Ranks) }, "active 2": func(f *field) { f.Active = 2 }, "knot 0": func(f *field) { f.Scale[0] = -1 },
	} {
		again, err := Parse(saved(t, m))
		if err != nil {
			t.Fatal(err)
		}
		damage(&again.about.Fields[1])
		if _, err := Parse(saved(t, again)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
}
