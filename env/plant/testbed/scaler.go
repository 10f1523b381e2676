package testbed

import (
	"context"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// FitScaler fits the scaler of observations to an emulated half hour of cfg
// in which every 4 s a limit is drawn for all switches. It takes a second or
// more, and ends with ctx.
func FitScaler(ctx context.Context, cfg Config, limits []p4.Limit) (*telemetry.Scaler, error) {
	t, err := New(cfg)
	if err != nil {
		return nil, err
	}
	l := t.Keep(0)
	var w telemetry.Window
	w.Size(1, 4, len(t.Columns()))
	force, draw := make([]p4.Limit, t.Switches()), rng.Key{Purpose: rng.Action}
	for k := range 450 {
		x := limits[draw.Intn(uint32(k), len(limits))]
		for n := range force {
			force[n] = x
		}
		if k == 0 {
			err = t.Reset(ctx, []int{0}, []uint64{0}, force, &w)
		} else {
			err = t.Advance(ctx, []int{0}, force, &w)
		}
		if err != nil {
			return nil, err
		}
	}
	d, err := l.Dataset(time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	return telemetry.FitScaler(telemetry.All, nil, d)
}
