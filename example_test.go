package planegym_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/eval"
)

// An agent is trained in eight environments of this process for a second, then
// plays four episodes of the same scenario over WebSocket.
func Example() {
	ctx := context.Background()
	v := must(planegym.Make(ctx, "synthetic", planegym.Options{NumEnvs: 8}))
	defer v.Close()
	config := must(agent.Preset("default"))
	config.Steps = 4000 // a second of training
	be := compute.NewBackend(must(compute.ParseKernels("auto")), 1)
	trainer := must(agent.NewTrainer(config, v, 1, be))
	must(0, trainer.Train(ctx, 4000, func(agent.Progress) error { return nil }))
	server := httptest.NewServer(must(planegym.Handler(planegym.Options{}, nil)))
	url := strings.Replace(server.URL, "http", "ws", 1) + ws.Path
	remote := must(ws.Dial(ctx, url, ws.DialOptions{Scenario: "synthetic", NumEnvs: 4}))
	defer remote.Close()
	e := must(eval.Evaluate(ctx, remote, trainer.Agent, eval.HeldOut(1, 4), nil))
	fmt.Printf("%d episodes of %.0f steps\n", e.Return.N, e.Length.Mean)
	// Output: 4 episodes of 900 steps
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}
