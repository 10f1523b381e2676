package bundled_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/bundled"
)

// Sample three sessions of the bundled model. Equal seeds give equal sessions.
func ExampleOpen() {
	m, err := bundled.Open()
	if err != nil {
		panic(err)
	}
	set, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 3, Seed: 1}))
	if err != nil {
		panic(err)
	}
	fmt.Println("sessions:", set.Len(), "valid:", set.Valid() == nil)
	// Output: sessions: 3 valid: true
}
