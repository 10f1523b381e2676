package autoregressive_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
)

// Fit a small model to sessions that count to three, and let it go on from one.
func Example() {
	src := &traffic.Set{Of: traffic.Schema{
		Steps: []traffic.Field{{Name: "n", Kind: traffic.Symbol, Levels: []string{"one", "two", "three"}}},
	}}
	for i := range 40 {
		src.Sessions = append(src.Sessions, traffic.Session{Label: -1, Start: float64(i), Steps: []float64{0, 1, 2}})
	}
	ctx := context.Background()
	m, err := autoregressive.Fit(ctx, src, autoregressive.Config{Hidden: 16, Updates: 150, Rate: .02, MaxSteps: -1}, traffic.FitOptions{})
	if err != nil {
		panic(err)
	}
	begun := traffic.Session{Label: -1, Steps: []float64{0}}
	for s, err := range m.Sample(ctx, traffic.Request{N: 1, Prefix: &begun}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Steps)
	}
	// Output: [0 1 2]
}
