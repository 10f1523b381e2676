package agent_test

import (
	"context"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/eval"
)

// The preset as it is balances the pole. bench/RESULTS.md has five seeds.
func TestDefaultSolvesCartPole(t *testing.T) {
	k, err := compute.ParseKernels("auto")
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() || k == compute.Go || underRace {
		t.Skip("takes five seconds with vector kernels, a minute without them or under the race detector")
	}
	c, err := agent.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	be := compute.NewBackend(k, 1)
	defer be.Close()
	tr, err := agent.NewTrainer(c, cartPole(t, 8, env.NextStep), 0, be)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Train(context.Background(), c.Steps, func(agent.Progress) error { return nil }); err != nil {
		t.Fatal(err)
	}
	e, err := eval.Evaluate(context.Background(), cartPole(t, 20, env.NextStep), tr.Agent, eval.HeldOut(0, 100), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Return.Mean < 475 {
		t.Errorf("return %.1f ± %.1f", e.Return.Mean, e.Return.CI)
	}
}

func cartPole(t testing.TB, n int, mode env.Autoreset) env.Vector {
	t.Helper()
	v, err := cartpole.New(n, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}
