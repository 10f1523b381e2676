package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/switches"
	"github.com/planegym/planegym/p4"
)

// onSwitches is `train --switches`: the agent learns on live switches, within
// the rails of deploy, while what comes in may be recorded.
type onSwitches struct {
	on      bool
	collect string // folder, ""
	deployment
}

func (o *onSwitches) add(cmd *cobra.Command) {
	o.name = cmd.Name()
	f := cmd.Flags()
	f.BoolVar(&o.on, "switches", false, "learn on the live switches of --scenario, with the rails, guard and journal of deploy")
	f.StringVar(&o.journalFile, "journal", "journal.jsonl", "with --switches: file to append every action to")
	f.StringVar(&o.metricsAddr, "metrics", "", "with --switches: host:port to tell metrics at, for Prometheus; \"\": nowhere")
	f.StringVar(&o.collect, "collect", "", "with --switches: folder to record what comes in to, as collect does; \"\": none")
}

// open opens the switches as a vector of one row.
func (o *onSwitches) open(cmd *cobra.Command, scenario, data string) (env.Vector, error) {
	o.scenario, o.data = scenario, data
	if o.collect != "" {
		o.recorder = &liveRecorder{dir: o.collect}
	}
	ctx, err := o.deployment.open(cmd, env.NextStep)
	if err != nil {
		return nil, err
	}
	if err := o.begin(ctx, "an agent that learns"); err != nil {
		return nil, o.close(err)
	}
	return &guarded{Vector: o.live.vector, d: &o.deployment, ctx: ctx}, nil
}

// guarded is a vector of live switches that steps only while its guard lives,
// and journals its steps.
type guarded struct {
	env.Vector
	d      *deployment
	ctx    context.Context // ends with the guard
	closed bool
}

func (g *guarded) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if g.ctx.Err() != nil && ctx.Err() == nil {
		return context.Cause(g.ctx)
	}
	if err := g.Vector.Step(ctx, rows, actions, out); err != nil {
		return err
	}
	g.d.steps++
	reward := out.Reward[0]
	spec := g.Spec()
	limits := make([]p4.Limit, 0, len(actions))
	if len(actions) == len(spec.Action) {
		limits = limitsAt(spec, actions)
	}
	g.d.write(switches.Entry{Event: "step", Step: g.d.steps, Asked: limits, Reward: &reward})
	g.d.tell(spec, actions, reward)
	return g.d.broken()
}

// Close leaves the safe limit behind and lets the guard go.
func (g *guarded) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	if err := g.d.close(nil); err != nil {
		return fmt.Errorf("switches: %w", err)
	}
	return nil
}
