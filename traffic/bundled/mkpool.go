//go:build ignore

// Mkpool draws the sessions of pool.parquet from traffic.safetensors: 384 of label
// port443, which scenarios play as bursts and as bulk, and 64 of every other. Gaps
// are rounded, which lets the file be small: a bin of the model's is wider.
package main

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/store"
)

func main() {
	m, err := autoregressive.Open("traffic.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	c := m.Schema()
	gap := c.StepIndex("gap")
	set := &traffic.Set{Of: *c}
	for label, name := range c.Labels {
		r := traffic.Request{N: 64, Labels: []int{label}, MaxSteps: 4000}
		if name == "port443" {
			r.N = 384
		}
		for s, err := range m.Sample(context.Background(), r) {
			if err != nil {
				log.Fatal(err)
			}
			for i := range c.Len(&s) {
				x := c.Step(&s, i)
				x[gap] = round(x[gap])
			}
			s.Start = float64(len(set.Sessions)) // not the model's: loads have arrivals of their own
			set.Sessions = append(set.Sessions, s)
		}
	}
	n, err := store.WriteFile("pool.parquet", c, store.All(set))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pool.parquet:", n, "sessions")
}

// round rounds to 16 values a decade, and to µs.
func round(x float64) float64 {
	if x < 1e-6 {
		return 0
	}
	return math.Round(math.Pow(10, math.Round(16*math.Log10(x))/16)*1e6) / 1e6
}
