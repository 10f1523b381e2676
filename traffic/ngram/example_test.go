package ngram_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/ngram"
)

// Fit a Markov chain to sessions that alternate between up and down, and sample
// one: it alternates too.
func Example() {
	src := &traffic.Set{Of: traffic.Schema{
		Steps: []traffic.Field{{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}},
	}}
	for i := range 20 {
		src.Sessions = append(src.Sessions, traffic.Session{Label: -1, Start: float64(i), Steps: []float64{0, 1, 0, 1}})
	}
	ctx := context.Background()
	m, err := ngram.Fit(ctx, src, ngram.Config{Mode: ngram.Markov, MaxSteps: -1})
	if err != nil {
		panic(err)
	}
	for s, err := range m.Sample(ctx, traffic.Request{N: 1, Seed: 1}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Steps)
	}
	// Output: [0 1 0 1]
}
