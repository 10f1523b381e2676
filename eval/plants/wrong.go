package plants

import (
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/scenarios"
)

// Wrong is the side of another testbed than the one that is compared: the scenario
// named, with the actions, rewards and length of episodes of the truth, whose spec
// and, where it is at hand, scenario are given. What it makes of policies is what a
// plant says that knows nothing of the truth. name "auto" is a bundled testbed that
// none of avoid is named after; without one, or where the truth's actions are no
// queue limits, the side is nil.
func (o *Opener) Wrong(name string, spec env.Spec, truth *scenarios.Scenario, seed uint64, avoid ...string) (*eval.Side, error) {
	if len(spec.Limits) == 0 {
		if name == "auto" {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: the policies' actions are no queue limits, which it takes", name)
	}
	if name == "auto" {
		name = ""
		for _, candidate := range []string{"site", "contended"} {
			taken := truth != nil && truth.Name == candidate
			for _, a := range avoid {
				taken = taken || a == candidate
			}
			if !taken {
				name = candidate
				break
			}
		}
		if name == "" {
			return nil, nil
		}
	}
	s, err := scenarios.Load(name)
	if err != nil {
		return nil, err
	}
	if s.Plant != "testbed" {
		return nil, fmt.Errorf("%s: its plant is %s; another testbed is needed", name, s.Plant)
	}
	if truth != nil {
		t := o.apply(*truth)
		s.Env = t.Env
	} else {
		s.Env.Limits, s.Env.Initial = spec.Limits, spec.Initial[0]
		s.Env.MaxSteps, s.Env.StepSeconds, s.Env.PerSwitch = spec.MaxSteps, int(spec.StepSeconds), len(spec.Action) > 1
	}
	side := o.Scenario(name, s, seed)
	return &side, nil
}
