package seriesgan

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
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
