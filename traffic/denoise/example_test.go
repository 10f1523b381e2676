package denoise_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/denoise"
	"github.com/planegym/planegym/traffic/rates"
)

// Fit a diffusion model to series of rates and sample one. A real fit has
// thousands of updates.
func Example() {
	set := &traffic.Set{Of: rates.Schema([]string{"camera"}, .1)}
	for i := range 20 {
		s := traffic.Session{Label: 0, Start: float64(i), Steps: make([]float64, 2*8)}
		s.Steps[2*(i%8)+1] = 1448
		set.Sessions = append(set.Sessions, s)
	}
	m, err := denoise.Fit(context.Background(), set, denoise.Config{Updates: 10}, traffic.FitOptions{})
	if err != nil {
		panic(err)
	}
	for s, err := range m.Sample(context.Background(), traffic.Request{N: 1, Seed: 7}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(m.Schema().LabelName(s.Label), m.Schema().Len(&s), "ticks")
	}
	// Output: camera 8 ticks
}
