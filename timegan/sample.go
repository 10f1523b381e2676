package timegan

import (
	"context"
	"fmt"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// Rollouts is what Sample rolls out: a Simulator.
type Rollouts interface {
	Num() int
	Columns() []telemetry.Field
	ResetAt(rows []int, seeds []uint64, second int) error
	Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error
}

// Sample rolls out a recording of so many seconds from each seed, under one
// limit in packets, from rows 0… of s, which it resets to a second of the
// clock: 0 is where recordings begin, -1 a random one. What begins at the epoch
// was measured in full.
func Sample(ctx context.Context, s Rollouts, seeds []uint64, second int, limit int32, seconds int) ([]*telemetry.Dataset, error) {
	if len(seeds) < 1 || len(seeds) > s.Num() || seconds < 1 {
		return nil, fmt.Errorf("timegan: sample: %d seeds for %d simulations, %d seconds", len(seeds), s.Num(), seconds)
	}
	rows, limits := make([]int, len(seeds)), make([]int32, len(seeds))
	for i := range rows {
		rows[i], limits[i] = i, limit
	}
	if err := s.ResetAt(rows, seeds, second); err != nil {
		return nil, err
	}
	fields := s.Columns()
	values := make([][]float32, len(seeds))
	var w telemetry.Window
	for left := seconds; left > 0; left -= w.Seconds {
		w.Size(len(rows), min(left, 60), len(fields))
		if err := s.Step(ctx, rows, limits, &w); err != nil {
			return nil, err
		}
		for i := range rows {
			v, _ := w.Row(i)
			values[i] = append(values[i], v...)
		}
	}
	valid := make([]bool, seconds*len(fields))
	for i := range valid {
		valid[i] = true
	}
	out := make([]*telemetry.Dataset, len(seeds))
	for i := range out {
		var err error
		if out[i], err = telemetry.NewDataset(fields, int(limit), time.Unix(0, 0), values[i], valid); err != nil {
			return nil, err
		}
	}
	return out, nil
}
