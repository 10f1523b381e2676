package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/telemetry"
)

// simToReal is `compare A B --live`: the policies on two plants and on live
// switches.
type simToReal struct {
	Simulated *eval.Result `json:"a_b"`    // A the truth, B its stand-in
	LiveA     *eval.Result `json:"live_a"` // the switches the truth, A their stand-in
	LiveB     *eval.Result `json:"live_b"`
}

// onLive plays the policies on the switches too, beside a and beside b.
func (c *comparer) onLive(cmd *cobra.Command, args []string, a, b eval.Side, policies []eval.Policy, o eval.Options) (*simToReal, error) {
	sw, window, err := c.liveSide(cmd, args[0])
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "compare: %d policies, %d episodes each, beside A and beside B: about %v on the switches\n",
		len(policies), c.episodes, (2 * time.Duration(len(policies)*c.episodes) * window).Round(time.Second))
	var all simToReal
	if all.Simulated, err = eval.Run(cmd.Context(), a, b, policies, o); err != nil {
		return &all, err
	}
	o.Log = nil
	if all.LiveA, err = eval.Run(cmd.Context(), sw, a, policies, o); err != nil {
		return &all, err
	}
	all.LiveB, err = eval.Run(cmd.Context(), sw, b, policies, o)
	return &all, err
}

// print prints it as one page.
func (s *simToReal) print(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	for i, r := range []*eval.Result{s.LiveA, s.LiveB, s.Simulated} {
		title := []string{"The switches (A) and what A of the command line says of them (B)", "The switches (A) and what B of the command line says of them (B)", "The two without the switches"}[i]
		if r == nil { // stopped before
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\n\n", title)
		if err := printCompare(w, r); err != nil {
			return err
		}
	}
	return nil
}

// unpaired is a plant of live switches for a comparison that gives seeds: they
// are not theirs, so what is compared is independent episodes.
type unpaired struct{ env.Plant }

// liveSide is the switches of --live, with the rewards, limits and length of
// episodes of scenario A, and how long an episode takes.
func (c *comparer) liveSide(cmd *cobra.Command, a string) (eval.Side, time.Duration, error) {
	side := eval.Side{Name: c.live}
	s, err := loadLive(cmd, c.live)
	if err != nil {
		return side, 0, err
	}
	if isURL(a) {
		return side, 0, usagef("compare: --live: A's rewards and limits hold on the switches, too: name its scenario, not a server")
	}
	like, err := c.scenario(a)
	if err != nil {
		return side, 0, err
	}
	s.Env = like.Env
	if err := s.Live.Switches.Check(deploy.ActionLimits(s), s.Live.Safe); err != nil {
		return side, 0, fmt.Errorf("compare: --live: %w", err)
	}
	guard, err := guardCommand(c.live, c.journal)
	if err != nil {
		return side, 0, err
	}
	side.Open = func(ctx context.Context, d *agent.DDQN, tap func(env.Plant) env.Plant) (env.Vector, error) {
		as, scaled, err := c.observed(s, d)
		if err != nil {
			return nil, err
		}
		on, err := deploy.Open(ctx, deploy.Config{
			Scenario: as, Name: c.live, Journal: c.journal, Autoreset: env.NextStep, Guard: guard,
			Wrap:   func(p env.Plant) env.Plant { return tap(unpaired{p}) },
			Scaler: func(columns []telemetry.Field) (queues.Normaliser, error) { return scaled(columns, nil) },
		})
		if err != nil {
			return nil, err
		}
		return on.Learn("compare")
	}
	scale, step := s.Live.TimeScale, s.Env.StepSeconds
	if scale == 0 {
		scale = 1
	}
	if step == 0 {
		step = 4
	}
	steps := s.Env.MaxSteps
	if steps == 0 {
		steps = 900
	}
	if c.recordings != "" {
		err = errors.New("compare: --live: recordings are A's: compare them without the switches")
	}
	return side, time.Duration(float64(steps) * float64(step) / scale * float64(time.Second)), err
}
