package agent

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
)

// Spaces are what an agent observes and does.
type Spaces = episodes.Spaces

// Fits reports why d cannot act in an environment of these spaces: what it
// observes or does differs from what it was trained with.
func (d *DDQN) Fits(s Spaces) error {
	if err := sameElements(d.Spaces, s); err != nil {
		return err
	}
	return sameActions(d.Spaces, s)
}

func sameElements(trained, s Spaces) error {
	if len(trained.Elements) != len(s.Elements) {
		return fmt.Errorf("agent: the agent was trained on observations of %d elements (%s), the environment has %d (%s): give it the scenario it was trained in, or train anew",
			len(trained.Elements), trained.Names(), len(s.Elements), s.Names())
	}
	for i, e := range trained.Elements {
		if s.Elements[i] != e {
			return fmt.Errorf("agent: observation element %d was %q [%s] in training and is %q [%s] here: give it the scenario it was trained in, or train anew",
				i, e.Name, e.Unit, s.Elements[i].Name, s.Elements[i].Unit)
		}
	}
	return nil
}

func sameActions(trained, s Spaces) error {
	if !slices.Equal(trained.Actions, s.Actions) || !slices.Equal(trained.Limits, s.Limits) {
		return fmt.Errorf("agent: the agent was trained with actions %v on limits %v, the environment has %v on %v: train --transfer gives it a new output layer",
			trained.Actions, trained.Limits, s.Actions, s.Limits)
	}
	return nil
}

// spacesOf are the spaces of a vector.
func spacesOf(v env.Vector) Spaces { return episodes.SpacesOf(v.Spec()) }
