package autoregressive

import (
	"context"
	"math"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// Most sessions are short and most steps are of few long ones, as in captures:
// what is sampled has as many steps in the mean, and as many short sessions.
// Batches of short sessions and of long pieces used to count alike, whatever
// they had to say: sampled sessions had half the steps.
func TestLengths(t *testing.T) {
	s := &traffic.Set{Of: toy(1, 1).Of}
	steps, short := 0, 0
	for i := range 300 {
		key := rng.Key{Seed: 7, A: uint32(i), Purpose: rng.Start}
		n := 1 + key.Intn(0, 4)
		if i%5 == 0 {
			n = 30 + key.Intn(1, 60)
		} else {
			short++
		}
		steps += n
		x := traffic.Session{Label: 0, Start: float64(i), Meta: []float64{0, 443}}
		for k := range n {
			x.Steps = append(x.Steps, float64(k%2), 100, 0, .001)
		}
		s.Sessions = append(s.Sessions, x)
	}
	m, err := Fit(context.Background(), s, Config{Hidden: 16, Updates: 1000, Rows: 32, Rate: 1e-2}, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 4000, Seed: 11}))
	if err != nil {
		t.Fatal(err)
	}
	sampled, few := 0, 0
	for i := range got.Sessions {
		n := got.Of.Len(&got.Sessions[i])
		if sampled += n; n <= 4 {
			few++
		}
	}
	want, mean := float64(steps)/300, float64(sampled)/4000
	if math.Abs(mean/want-1) > .1 {
		t.Errorf("%.2f steps a session, training has %.2f", mean, want)
	}
	if a, b := float64(few)/4000, float64(short)/300; math.Abs(a-b) > .06 {
		t.Errorf("%.3f of the sessions have up to 4 steps, of training's %.3f", a, b)
	}
}
