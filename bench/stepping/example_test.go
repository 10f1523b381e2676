package stepping_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/planegym/planegym/bench/stepping"
)

// Measure for a millisecond each. The peer is in this process here; StartPeer makes it
// one of its own.
func Example() {
	in, stop := io.Pipe()
	read, out := io.Pipe()
	go func() { _ = stepping.ServePeer("", in, out) }()
	defer stop.Close()
	var peer stepping.Peer
	if err := json.NewDecoder(read).Decode(&peer); err != nil {
		panic(err)
	}
	r, err := stepping.Run(context.Background(), &peer, stepping.Options{Rounds: 1, Duration: time.Millisecond})
	if err != nil {
		panic(err)
	}
	for _, f := range r.Figures()[:5] {
		fmt.Println(f.Name, f.Unit)
	}
	// Output:
	// cartpole.n1.inprocess.p50 us
	// cartpole.n1.inprocess.rate 1/s
	// cartpole.n1.inprocess.allocs 1/call
	// cartpole.n1.inprocess.p50_over_tcp ratio
	// cartpole.n1.inprocess.rate_over_tcp ratio
}
