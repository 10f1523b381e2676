package doppelganger

import (
	"testing"

	"github.com/planegym/planegym/traffic"
)

// Of few sessions every one is learnt from: what each tenth alone has, its port with
// its size, comes back together. Shares alone would be right by calibration.
func TestFewSessionsAreAllLearnt(t *testing.T) {
	train := &traffic.Set{Of: traffic.Schema{
		Meta:  []traffic.Field{{Name: "server_port", Kind: traffic.Port}},
		Steps: []traffic.Field{{Name: "gap", Unit: "s", Kind: traffic.Gap}, {Name: "size", Kind: traffic.Size}},
	}}
	for i := range 200 {
		port, size := 53., 100.
		if i%10 == 9 {
			port, size = 777, 999
		}
		train.Sessions = append(train.Sessions, traffic.Session{Label: -1, Start: float64(i), Meta: []float64{port}, Steps: []float64{0, size}})
	}
	c := tiny(Likelihood)
	c.Updates, c.Hidden, c.Rate = 200, 16, 1e-2
	m, err := Fit(t.Context(), train, c, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	with, both := 0, 0
	for s, err := range m.Sample(t.Context(), traffic.Request{N: 2000, Seed: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Meta[0] == 777 {
			with++
			if s.Steps[1] == 999 {
				both++
			}
		}
	}
	if with < 50 || 10*both < 9*with {
		t.Errorf("port 777 is in %d of 2,000 sessions, in %d with its size", with, both)
	}
}
