package main

import (
	"fmt"
	"io"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval/branches"
	"github.com/planegym/planegym/telemetry/sessions"
	"github.com/planegym/planegym/timegan/closedloop"
)

// continuations is how often a model continues each branch.
const continuations = 16

// printBranches compares what models make of a change of limit with what a testbed
// made of it from the same state: file holds branches of testbed record --branch-s.
func printBranches(out io.Writer, file string, models []string) error {
	all, err := sessions.ReadFile(file)
	if err != nil {
		return err
	}
	points, err := branches.Points(all)
	if err != nil {
		return err
	}
	from := make([]int, len(all))
	for i := range from {
		from[i] = all[i].Data.Len() - 1
	}
	for _, p := range points {
		for i := range p.Limits {
			from[p.First+i] = p.From
		}
	}
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	fmt.Fprintf(out, "%d moments\n\n| model | limits | after, s | buffer, testbed, s | model, s | difference, s |\n|---|---|---|---|---|---|\n", len(points))
	for _, name := range models {
		m, err := closedloop.ReadFile(name)
		if err != nil {
			return err
		}
		drawn, err := m.Continue(be, all, from, continuations, 1)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		effects, err := branches.Compare(all, points, drawn, continuations)
		if err != nil {
			return err
		}
		for _, e := range effects {
			fmt.Fprintf(out, "| %s | %d less %d | %d | %+.2f | %+.2f | %+.2f ± %.2f |\n", name, e.Higher, e.Lower, e.After, e.All.Testbed, e.All.Model, e.All.Model-e.All.Testbed, 1.96*e.All.Error)
		}
		for _, h := range branches.Horizons {
			rms, floor := branches.RMS(effects, h)
			fmt.Fprintf(out, "%s: effect error after %d s, rms over limits and states: %.2f s (of the means' own errors %.2f)\n", name, h, rms, floor)
		}
	}
	return nil
}
