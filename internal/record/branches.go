package record

import (
	"context"
	"slices"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// history is how many seconds before a branch are written with it.
const history = 200

// brancher is a policy that stops now and then and tries every limit from where the
// testbed is: a snapshot is restored into a second run, which plays on under the
// limit, at all switches alike, for some seconds. The testbed's draws are keyed by
// what they are for, so runs that begin alike meet the same load. What was measured
// goes into logs, each with the history that they share. The trunk goes on as if
// nothing had been tried.
type brancher struct {
	agent.Policy
	ctx      context.Context
	plant    *testbed.Testbed
	trunk    *testbed.Log // of row 0
	limits   []p4.Limit
	every    int // seconds from one branching to the next
	seconds  int // of a branch
	branches []*testbed.Log
	err      error // of the testbed; branches end there
}

func (b *brancher) Act(rows []int, obs []float32, actions []int32) {
	if t := b.trunk.Seconds(); b.err == nil && t >= history && t%b.every == 0 {
		b.err = b.branch(t)
	}
	b.Policy.Act(rows, obs, actions)
}

// branch plays the trunk on after its t seconds.
func (b *brancher) branch(t int) error {
	state, err := b.plant.Snapshot(0, nil)
	if err != nil {
		return err
	}
	s, f := b.plant.Switches(), len(b.plant.Columns())
	var w telemetry.Window
	w.Size(1, b.seconds, f)
	for _, l := range b.limits {
		if err := b.plant.Restore(1, state); err != nil {
			return err
		}
		if err := b.plant.Advance(b.ctx, []int{1}, slices.Repeat([]p4.Limit{l}, s), &w); err != nil {
			return err
		}
		log := *b.trunk
		log.Probes, log.Hops = nil, nil
		log.Limits = slices.Concat(log.Limits[(t-history)*s:], slices.Repeat([]p4.Limit{l}, s*b.seconds))
		log.Values = slices.Concat(log.Values[(t-history)*f:], w.Values)
		log.Valid = slices.Concat(log.Valid[(t-history)*f:], w.Valid)
		b.branches = append(b.branches, &log)
	}
	return nil
}
