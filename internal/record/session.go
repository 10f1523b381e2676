package record

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
)

// record runs the sessions, a few at a time, and writes them in their order.
func (r *recorder) record(ctx context.Context, dir string) error {
	var out, tried *table.Writer
	var rows, branches bytes.Buffer
	for at := 0; at < r.Sessions; {
		n := min(r.Sessions-at, runtime.GOMAXPROCS(0))
		done := make([]session, n)
		var wait sync.WaitGroup
		for i := range done {
			wait.Go(func() { done[i] = r.session(ctx, at+i) })
		}
		wait.Wait()
		for i, d := range done {
			if d.err != nil {
				return d.err
			}
			if out == nil {
				out, tried = table.NewWriter(&rows, d.plant), table.NewWriter(&branches, d.plant)
				for _, f := range d.plant.Columns() {
					r.card.stats = append(r.card.stats, columnStats{field: f})
				}
			}
			r.card.reward = append(r.card.reward, d.reward)
			if err := r.write(dir, at+i, d.log); err != nil {
				return err
			}
			if err := out.Add(d.log); err != nil {
				return err
			}
			for _, log := range d.tried {
				if err := tried.Add(log); err != nil {
					return err
				}
			}
			if r.Done != nil {
				r.Done()
			}
		}
		at += n
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := r.file(dir, "recording.parquet", func(w io.Writer) error { _, err := w.Write(rows.Bytes()); return err }); err != nil {
		return err
	}
	if r.Branch > 0 {
		if err := tried.Close(); err != nil {
			return err
		}
		if err := r.file(dir, "branches.parquet", func(w io.Writer) error { _, err := w.Write(branches.Bytes()); return err }); err != nil {
			return err
		}
	}
	return r.file(dir, "CARD.md", r.writeCard)
}

// session is one that has run.
type session struct {
	plant  *testbed.Testbed
	log    *testbed.Log
	tried  []*testbed.Log // branches
	reward float64        // a step
	err    error
}

// session runs session k. It may be called by several goroutines at once.
func (r *recorder) session(ctx context.Context, k int) (d session) {
	if d.plant, d.err = testbed.New(r.Scenario.Testbed); d.err != nil {
		return d
	}
	d.log = d.plant.Keep(0)
	s := r.Scenario
	if r.Schedule == "fixed" {
		s.Env.Initial = s.Env.Limits[k%len(s.Env.Limits)]
	}
	var v env.Vector
	if r.Schedule == "policy" {
		v, d.err = new(planegym.Gym).OpenOn(ctx, s, d.plant, 1, env.NextStep)
	} else {
		s.Env.Observation = queues.Observation{Normalise: "none"} // schedule reactive reads what was measured
		v, d.err = queues.New(s.Env, d.plant, 1, nil)
	}
	if d.err != nil {
		return d
	}
	defer v.Close()
	var p agent.Policy
	switch r.Schedule {
	case "policy":
		if p, d.err = baseline.New(r.Policy, v.Spec()); d.err != nil {
			d.err = &OptionError{"policy", d.err}
			return d
		}
	case "fixed":
		p = baseline.Constant(int32(k % len(s.Env.Limits)))
	case "random":
		p = &switchback{steps: 1, spec: v.Spec()}
	case "mixed":
		p = &switchback{longest: longestBlock / r.Scenario.Env.StepSeconds, spec: v.Spec()}
	case "reactive":
		p = newReactive(v.Spec(), longestBlock/r.Scenario.Env.StepSeconds)
	default:
		p = &switchback{steps: r.steps, spec: v.Spec()}
	}
	var b *brancher
	if r.Branch > 0 {
		b = &brancher{Policy: p, ctx: ctx, plant: d.plant, trunk: d.log, limits: s.Env.Limits, every: r.Every, seconds: r.Branch}
		p = b
	}
	e, err := eval.Evaluate(ctx, v, p, []uint64{r.Seed + uint64(k)}, nil)
	if err != nil {
		d.err = err
		return d
	}
	if b != nil {
		if d.tried, d.err = b.branches, b.err; d.err != nil {
			return d
		}
	}
	d.reward = e.Returns[0] / e.Length.Mean
	return d
}
