package agent_test

import (
	"context"
	"fmt"
	"log"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/eval"
)

// Train an agent and look how it does beside a baseline, in episodes that
// training did not see.
func Example() {
	v, err := cartpole.New(8, env.NextStep)
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	c, err := agent.Preset("default")
	if err != nil {
		log.Fatal(err)
	}
	c.Hidden, c.Steps, c.FinalRate = []int{32}, 8_000, 0 // a taste; the preset takes 60,000
	be := compute.NewBackend(compute.Go, 1)              // equal bytes on every machine
	defer be.Close()
	t, err := agent.NewTrainer(c, v, 1, be)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	err = t.Train(ctx, 4_000, func(p agent.Progress) error {
		fmt.Println(p.Updates, "updates")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	random, err := baseline.New("random", v.Spec())
	if err != nil {
		log.Fatal(err)
	}
	var returns []float64
	for _, p := range []agent.Policy{t.Agent, random} {
		e, err := eval.Evaluate(ctx, v, p, eval.HeldOut(0, 10), nil)
		if err != nil {
			log.Fatal(err)
		}
		returns = append(returns, e.Return.Mean)
	}
	fmt.Println("three times a random player:", returns[0] > 3*returns[1])
	// Output:
	// 2976 updates
	// 6976 updates
	// three times a random player: true
}
