package cli

import (
	"cmp"
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/plants"
	"github.com/planegym/planegym/scenarios"
)

func (c *comparer) run(cmd *cobra.Command, args []string) error {
	if err := c.check(cmd, args[0]); err != nil {
		return err
	}
	k, err := c.computing.check()
	if err != nil {
		return err
	}
	be := compute.NewBackend(k, c.Threads)
	defer be.Close()
	c.plants = plants.Opener{
		Computing: c.Computing, Data: c.data, Observe: c.observe, Limits: c.allowed, Steps: c.steps,
		Envs: min(c.episodes, 32), Token: cmp.Or(c.token, os.Getenv("PLANEGYM_TOKEN")),
	}
	a, err := c.side(args[0], c.seed)
	if err != nil {
		return err
	}
	b, err := c.side(args[1], c.seedB)
	if err != nil {
		return err
	}
	o := eval.Options{Episodes: c.episodes}
	if c.recordings != "" {
		s, err := loadScenario(args[0])
		if err != nil {
			return err
		}
		if o.Log, err = c.plants.Log(s, c.recordings, c.gamma); err != nil {
			return err
		}
	}
	spec, err := a.Spec(cmd.Context())
	if err != nil {
		return err
	}
	policies, err := c.choose(spec, be)
	if err != nil {
		return err
	}
	o.Ceiling = c.ceiling
	if c.wrong != "none" {
		var truth *scenarios.Scenario
		if s, err := scenarios.Load(args[0]); err == nil && !plants.IsURL(args[0]) {
			truth = &s
		}
		if o.Wrong, err = c.plants.Wrong(c.wrong, spec, truth, c.seed, args...); err != nil {
			return usagef("compare: --wrong: %w", err)
		}
	}
	if c.live != "" {
		return c.runLive(cmd, args[0], a, b, policies, o)
	}
	bar := newProgress(cmd, int64(len(policies)), "policies", "compare")
	o.Done = func(string) error { return bar.Add(1) }
	result, err := eval.Run(cmd.Context(), a, b, policies, o)
	if err != nil && !errors.Is(err, eval.ErrStopped) {
		return err
	}
	stopped := err
	if err := bar.Finish(); err != nil {
		return err
	}
	if err := c.draw(result); err != nil {
		return err
	}
	return cmp.Or(printComparison(cmd, result), stopped)
}

// side is a plant by what the command line calls it.
func (c *comparer) side(name string, seed uint64) (eval.Side, error) {
	if plants.IsURL(name) {
		return c.plants.Server(name, defaultScenario, seed), nil
	}
	s, err := loadScenario(name)
	return c.plants.Scenario(name, s, seed), err
}

// choose makes the policies, which act as spec says.
func (c *comparer) choose(spec env.Spec, be *compute.Backend) ([]eval.Policy, error) {
	var err error
	var names []string
	if c.baselines {
		names = eval.Defaults(spec)
	}
	for _, name := range c.policies {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var all []eval.Policy
	for _, name := range names {
		p := eval.Policy{Name: name}
		if isAgent(name) {
			if p.Agent, err = loadAgent(name, be); err != nil {
				return nil, err
			}
		} else if _, err := baseline.New(name, spec); err != nil {
			return nil, usagef("compare: --policy: %w", err)
		}
		all = append(all, p)
	}
	if len(all) < 3 {
		return nil, usagef("compare: %d policies have no ranking to speak of: add some by --policy", len(all))
	}
	return all, nil
}
