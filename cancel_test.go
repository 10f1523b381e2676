package planegym_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/scenarios"
)

// A step that is given up before it begins does nothing, on every kind of plant:
// the steps after it are those of an environment that never was asked.
func TestStepGivenUp(t *testing.T) {
	for _, name := range scenarios.Names() {
		if testing.Short() && name != "synthetic" && name != "recorded" && name != "closed-loop" && name != "cartpole" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if (name == "replay" || name == "tutorial") && os.Getenv("PLANEGYM_DATA") == "" {
				t.Skip("PLANEGYM_DATA is not set")
			}
			play := func(giveUp bool) (seen []float32) {
				v, err := planegym.Make(t.Context(), name, planegym.Options{NumEnvs: 2, Data: os.Getenv("PLANEGYM_DATA")})
				if err != nil {
					t.Fatal(err)
				}
				defer v.Close()
				var b env.Batch
				if err := v.Reset(t.Context(), nil, []uint64{3, 4}, &b); err != nil {
					t.Fatal(err)
				}
				actions := make([]int32, 2*len(v.Spec().Action))
				for range 5 {
					if giveUp {
						ctx, cancel := context.WithCancel(t.Context())
						cancel()
						if err := v.Step(ctx, nil, actions, &b); !errors.Is(err, context.Canceled) {
							t.Fatalf("a step given up: %v", err)
						}
					}
					if err := v.Step(t.Context(), nil, actions, &b); err != nil {
						t.Fatal(err)
					}
					seen = append(append(seen, b.Obs...), b.Reward...)
				}
				return seen
			}
			if got, want := play(true), play(false); !slices.Equal(got, want) {
				t.Errorf("after steps given up %v, want %v", got, want)
			}
		})
	}
}
