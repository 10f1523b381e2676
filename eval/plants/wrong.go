package plants

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/scenarios"
)

// Wrong is the side of another testbed than the truth: the scenario named, with the
// truth's actions, rewards and length of episodes. Its values are those of a plant
// that knows nothing of the truth. spec is the truth's spec, and truth its scenario,
// nil where it is not at hand. name "auto" picks a bundled testbed whose name is not
// in avoid; the side is nil where there is none, or where the truth's actions are no
// queue limits.
func (o *Opener) Wrong(name string, spec env.Spec, truth *scenarios.Scenario, seed uint64, avoid ...string) (*eval.Side, error) {
	if len(spec.Limits) == 0 {
		if name == "auto" {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: the policies' actions are no queue limits, which it takes", name)
	}
	if name == "auto" {
		others := slices.DeleteFunc([]string{"site", "contended"}, func(s string) bool {
			return slices.Contains(avoid, s) || truth != nil && truth.Name == s
		})
		if len(others) == 0 {
			return nil, nil
		}
		name = others[0]
	}
	s, err := scenarios.Load(name)
	if err != nil {
		return nil, err
	}
	if s.Plant != "testbed" {
		return nil, fmt.Errorf("%s: its plant is %s; another testbed is needed", name, s.Plant)
	}
	if truth != nil {
		s.Env = o.apply(*truth).Env
	} else {
		s.Env.Limits, s.Env.Initial = spec.Limits, spec.Initial[0]
		s.Env.MaxSteps, s.Env.StepSeconds, s.Env.PerSwitch = spec.MaxSteps, int(spec.StepSeconds), len(spec.Action) > 1
	}
	side := o.Scenario(name, s, seed)
	return &side, nil
}
