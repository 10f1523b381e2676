package masked_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/masked"
)

// Fit a small model to sessions that alternate, and fill in one whose first
// step is known.
func Example() {
	src := &traffic.Set{Of: traffic.Schema{
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}},
	}}
	for i := range 40 {
		d := float64(i % 2)
		src.Sessions = append(src.Sessions, traffic.Session{Label: -1, Start: float64(i), Steps: []float64{d, 1 - d, d, 1 - d}})
	}
	ctx := context.Background()
	m, err := masked.Fit(ctx, src, masked.Config{Hidden: 16, Updates: 200, Rate: .02}, traffic.FitOptions{})
	if err != nil {
		panic(err)
	}
	begun := traffic.Session{Label: -1, Steps: []float64{1}}
	for s, err := range m.Sample(ctx, traffic.Request{N: 1, Prefix: &begun}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Steps)
	}
	// Output: [1 0 1 0]
}
