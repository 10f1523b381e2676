package plants_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/plants"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// Value three limits on the emulated testbed and on itself: equal seeds are equal
// episodes, so no policy differs.
func Example() {
	s, err := scenarios.Load("contended")
	if err != nil {
		panic(err)
	}
	open := plants.Opener{Steps: 4, Envs: 2, Limits: []p4.Limit{32, 64, 128}}
	a, b := open.Scenario("truth", s, 7), open.Scenario("stand-in", s, 7)
	policies := []eval.Policy{{Name: "fixed:32"}, {Name: "fixed:64"}, {Name: "fixed:128"}}
	r, err := eval.Run(context.Background(), a, b, policies, eval.Options{Episodes: 2})
	if err != nil {
		panic(err)
	}
	for _, p := range r.Policies {
		fmt.Println(p.Policy, "differs by", p.Difference.Mean)
	}
	// Output:
	// fixed:32 differs by 0
	// fixed:64 differs by 0
	// fixed:128 differs by 0
}

func untapped(p env.Plant) env.Plant { return p }

// An agent is given the observations that it was trained with on any plant, and
// limits and steps are the opener's.
func TestAgentObservesAsTrained(t *testing.T) {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	d, err := agent.LoadBytes("bundled", scenarios.Agent(), be)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenarios.Load("contended")
	if err != nil {
		t.Fatal(err)
	}
	s.Env.Observation.Name = "window" // not what the agent observed
	open := plants.Opener{Steps: 3, Envs: 2}
	side := open.Scenario("contended", s, 0)
	v, err := side.Open(t.Context(), d, untapped)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := d.Fits(episodes.SpacesOf(v.Spec())); err != nil {
		t.Error(err)
	}
	if got := v.Spec().MaxSteps; got != 3 {
		t.Errorf("%d steps, want 3", got)
	}
	spec, err := side.Spec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Fits(episodes.SpacesOf(spec)); err == nil {
		t.Error("a baseline observes what the agent does: the test cannot tell them apart")
	}

	d.Scenario = "nowhere"
	if _, err := side.Open(t.Context(), d, untapped); err == nil || !strings.Contains(err.Error(), "--observe") {
		t.Errorf("an agent of an unknown scenario: %v", err)
	}
	open.Observe = "synthetic"
	if v, err := side.Open(t.Context(), d, untapped); err != nil {
		t.Error(err)
	} else {
		v.Close()
	}
}

// Every part of a comparison's end is tapped: what is measured goes through it.
func TestTapIsAroundThePlant(t *testing.T) {
	s, err := scenarios.Load("contended")
	if err != nil {
		t.Fatal(err)
	}
	tapped := 0
	v, err := (&plants.Opener{Envs: 1}).Scenario("contended", s, 0).Open(t.Context(), nil, func(p env.Plant) env.Plant {
		tapped++
		return p
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	if tapped != 1 {
		t.Errorf("tapped %d times, want once", tapped)
	}
}
