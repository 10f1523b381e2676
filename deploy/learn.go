package deploy

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
)

// Learn gives the switches as an environment of one row to learn in, within
// the same rails: it steps only while its guard lives, its steps are
// journalled, and its Close is the deployment's. who names the agent in the
// journal. The deployment should have autoreset, and is closed where Learn
// fails.
func (d *Deployment) Learn(who string) (env.Vector, error) {
	if err := d.begin(who); err != nil {
		return nil, d.Close(err)
	}
	return &guarded{Vector: d.live.vector, d: d}, nil
}

// guarded is a vector of live switches that steps only while its guard lives.
type guarded struct {
	env.Vector
	d      *Deployment
	closed bool
}

func (g *guarded) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if g.d.ctx.Err() != nil && ctx.Err() == nil {
		return context.Cause(g.d.ctx)
	}
	if err := g.Vector.Step(ctx, rows, actions, out); err != nil {
		return err
	}
	spec := g.Spec()
	limits := make([]p4.Limit, 0, len(actions))
	if len(actions) == len(spec.Action) {
		limits = limitsAt(spec, actions)
	}
	g.d.stepped(limits, out.Reward[0])
	return g.d.broken()
}

// Close leaves the safe limit behind and lets the guard go.
func (g *guarded) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	if err := g.d.Close(nil); err != nil {
		return fmt.Errorf("switches: %w", err)
	}
	return nil
}
