package doppelganger_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/doppelganger"
)

// Fit the generators to sessions and sample some. A real fit has thousands of
// updates.
func Example() {
	set := &traffic.Set{Of: traffic.Schema{
		Meta:  []traffic.Field{{Name: "server_port", Kind: traffic.Port}},
		Steps: []traffic.Field{{Name: "gap", Unit: "s", Kind: traffic.Gap}, {Name: "size", Unit: "B", Kind: traffic.Size}},
	}}
	for i := range 20 {
		set.Sessions = append(set.Sessions, traffic.Session{Label: -1, Start: float64(i), Meta: []float64{53}, Steps: []float64{0, 60, .01, 120}})
	}
	m, err := doppelganger.Fit(context.Background(), set, doppelganger.Config{Updates: 10, Batch: 8}, traffic.FitOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Printf("records: %d, in windows: %d\n", m.Account.Records, m.Account.Windows)
	for s, err := range m.Sample(context.Background(), traffic.Request{N: 1, Seed: 7}) {
		if err != nil {
			panic(err)
		}
		fmt.Println("port", s.Meta[0])
	}
	// Output:
	// records: 40, in windows: 20
	// port 53
}
