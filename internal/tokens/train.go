package tokens

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// Training fits the network of a model of this codec.
type Training struct {
	Name     string // of the model, in errors and reports
	Codec    *Codec
	Schedule *Schedule
	Net      *seq.Model
	State    *seq.Trainer
	Updates  int
	Fill     func(update int, into *seq.Batch) (shape int) // the batch of an update
	Loss     *float64                                      // nats a step, a running mean
	Store    func() error                                  // called for checkpoints and at the end
}

// Run trains up to t.Updates. When ctx ends, it ends between two updates, after a
// last checkpoint, with the context's error.
func (t *Training) Run(ctx context.Context, be *compute.Backend, o traffic.FitOptions) error {
	objective := &Objectives{}
	for _, k := range t.Schedule.Shapes {
		run, err := seq.Open(o.Engine, t.Net, be, k.Steps, k.Rows)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		objective.Of = append(objective.Of, run)
	}
	var batch seq.Batch
	return t.State.Fit(ctx, objective, &batch, func(u int, into *seq.Batch) error {
		objective.At = t.Fill(u, into)
		return nil
	}, seq.FitOptions{Every: o.Every, Checkpoint: t.Store, Report: func(u int, losses []float64) {
		sum, by := 0., map[string]float64{}
		for h, l := range losses {
			sum += l
			by[t.Codec.Steps[h].Name+"_nats_per_step"] = l
		}
		keep := min(float64(u)/float64(u+1), .98)
		*t.Loss += (1 - keep) * (sum - *t.Loss)
		if o.Report != nil {
			o.Report(traffic.Progress{Phase: t.Name, Done: u, Total: t.Updates, Losses: by})
		}
	}})
}
