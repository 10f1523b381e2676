package eval_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/eval"
)

// Play 20 held-out episodes with a policy. Equal seeds give equal episodes,
// however many the environment plays at a time.
func ExampleEvaluate() {
	v, err := cartpole.New(4, env.NextStep)
	if err != nil {
		panic(err)
	}
	defer v.Close()
	random, err := baseline.New("random", v.Spec())
	if err != nil {
		panic(err)
	}
	e, err := eval.Evaluate(context.Background(), v, random, eval.HeldOut(0, 20), nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("return %.1f ± %.1f over %d episodes\n", e.Return.Mean, e.Return.CI, e.Return.N)
	fmt.Printf("actions %.2f\n", e.Shares[0])
	// Output:
	// return 21.8 ± 4.3 over 20 episodes
	// actions [0.52 0.48]
}

// Two simulators rank four policies: the rank correlation says how far one can
// stand in for the other when a policy is chosen.
func ExampleSpearman() {
	testbed := []float64{12, 30, 25, 41}
	model := []float64{10, 33, 35, 50}
	fmt.Println("ranks", eval.Ranks(testbed), "and", eval.Ranks(model))
	fmt.Printf("Spearman %.2f\n", eval.Spearman(testbed, model))
	// Output:
	// ranks [0 2 1 3] and [0 1 2 3]
	// Spearman 0.80
}
