package timegan

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// Rollouts is what Sample rolls out: a Simulator.
type Rollouts interface {
	Num() int
	Columns() []telemetry.Field
	ResetAt(rows []int, seeds []uint64, second int) error
	// Step takes a limit for each row, [len(rows)]; what knows a limit for each
	// switch takes [len(rows),switches] as well.
	Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error
}

// Sample rolls out a recording of so many seconds from each seed, under one
// limit in packets, from rows 0… of s, which it resets to a second of the
// clock: 0 is where recordings begin, -1 a random one. What begins at the epoch
// was measured in full.
func Sample(ctx context.Context, s Rollouts, seeds []uint64, second int, limit int32, seconds int) ([]*telemetry.Dataset, error) {
	return sample(ctx, s, seeds, second, seconds, telemetry.Recording{Limit: int(limit)})
}

// SampleLike is Sample under the limits that were in force in a recording, and
// as long.
func SampleLike(ctx context.Context, s Rollouts, seeds []uint64, second int, r telemetry.Recording) ([]*telemetry.Dataset, error) {
	return sample(ctx, s, seeds, second, r.Data.Len(), r)
}

func sample(ctx context.Context, s Rollouts, seeds []uint64, second, seconds int, under telemetry.Recording) ([]*telemetry.Dataset, error) {
	if len(seeds) < 1 || len(seeds) > s.Num() || seconds < 1 {
		return nil, fmt.Errorf("timegan: sample: %d seeds for %d simulations, %d seconds", len(seeds), s.Num(), seconds)
	}
	each := under.Switches()
	rows, limits := make([]int, len(seeds)), make([]int32, len(seeds)*each)
	now, then := make([]int32, each), make([]int32, each)
	for i := range rows {
		rows[i] = i
	}
	if err := s.ResetAt(rows, seeds, second); err != nil {
		return nil, err
	}
	fields := s.Columns()
	values := make([][]float32, len(seeds))
	var w telemetry.Window
	for t := 0; t < seconds; t += w.Seconds {
		n := 1 // seconds under the same limits
		under.LimitsAt(t, now)
		for n < min(60, seconds-t) {
			if under.LimitsAt(t+n, then); !slices.Equal(now, then) {
				break
			}
			n++
		}
		for i := range limits {
			limits[i] = now[i%each]
		}
		w.Size(len(rows), n, len(fields))
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
		if out[i], err = telemetry.NewDataset(fields, under.Limit, time.Unix(0, 0), values[i], valid); err != nil {
			return nil, err
		}
	}
	return out, nil
}
