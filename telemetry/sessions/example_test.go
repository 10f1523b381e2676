package sessions_test

import (
	"fmt"

	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry/sessions"
)

// Read the bundled recordings, in which the queue limit is drawn anew every
// two minutes. ReadFile reads a table of your own.
func ExampleDecode() {
	all, err := sessions.Decode(scenarios.Sessions())
	if err != nil {
		panic(err)
	}
	r := all[0]
	fmt.Println("recordings:", len(all), "seconds of the first:", len(r.Limits))
	for t := 1; t < len(r.Limits); t++ {
		if from, to := r.LimitAt(t-1), r.LimitAt(t); from != to {
			fmt.Println("first change:", from, "to", to, "packets")
			break
		}
	}
	// Output:
	// recordings: 10 seconds of the first: 3600
	// first change: 64 to 32 packets
}
