package offline_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/agent/offline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
)

// Record episodes of a random player, then train an agent from the file alone.
func Example() {
	dir, err := os.MkdirTemp("", "offline")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "random.parquet")

	v, err := cartpole.New(4, env.NextStep)
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	random, err := baseline.New("random", v.Spec())
	if err != nil {
		log.Fatal(err)
	}
	w, err := episodes.Create(path, episodes.SpacesOf(v.Spec()), "cartpole", "")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if _, err := eval.Evaluate(ctx, v, random, eval.HeldOut(0, 20), w); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	c, err := agent.Preset("default")
	if err != nil {
		log.Fatal(err)
	}
	c.Hidden, c.Steps, c.CQL = []int{16}, 400, 1 // a taste; CQL is the conservative term's weight
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	t, err := offline.New(c, path, 1, be)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.Train(ctx, 0, func(p agent.Progress) error {
		fmt.Println("all updates done:", p.Updates == t.Total)
		return nil
	}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Env, "episodes:", t.Episodes)
	// Output:
	// all updates done: true
	// cartpole episodes: 20
}
