package seriesgan_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/seriesgan"
)

// Fit TimeGAN to series of rates. A real fit has thousands of updates.
func Example() {
	set := &traffic.Set{Of: rates.Schema([]string{"camera"}, .1)}
	for i := range 20 {
		s := traffic.Session{Label: 0, Start: float64(i), Steps: make([]float64, 2*16)}
		s.Steps[2*(i%16)], s.Steps[2*(i%16)+1] = 60, 1448
		set.Sessions = append(set.Sessions, s)
	}
	c := seriesgan.Defaults()
	c.Window, c.Batch, c.Embed, c.Super, c.Joint = 8, 8, 5, 5, 5
	m, err := seriesgan.Fit(context.Background(), set, c, traffic.FitOptions{Seed: 1})
	if err != nil {
		panic(err)
	}
	for s, err := range m.Sample(context.Background(), traffic.Request{N: 1, Seed: 7}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(m.Schema().LabelName(s.Label), m.Schema().Len(&s), "ticks")
	}
	// Output: camera 16 ticks
}
