package ws_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/ws"
)

// Any env.Vector of your own is served in ten lines: Options.Open makes one for
// each client that asks.
func ExampleNewServer() {
	server := httptest.NewServer(ws.NewServer(ws.Options{
		Open: func(_ context.Context, m ws.MakeRequest) (env.Vector, error) {
			if m.Scenario != "mine" {
				return nil, fmt.Errorf("%w: %q", ws.ErrUnknownScenario, m.Scenario)
			}
			return cartpole.New(m.NumEnvs, m.Autoreset) // your vector here
		},
	}))
	defer server.Close()

	ctx := context.Background()
	url := strings.Replace(server.URL, "http", "ws", 1) + ws.Path
	v, err := ws.Dial(ctx, url, ws.DialOptions{Scenario: "mine", NumEnvs: 2})
	if err != nil {
		panic(err)
	}
	defer v.Close()
	var b env.Batch
	if err := v.Reset(ctx, nil, []uint64{7, 8}, &b); err != nil {
		panic(err)
	}
	if err := v.Step(ctx, nil, []int32{0, 1}, &b); err != nil {
		panic(err)
	}
	fmt.Println(b.Reward)
	// Output: [1 1]
}
