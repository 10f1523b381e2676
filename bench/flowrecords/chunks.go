package main

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/doppelganger"
)

// chunks is NetShare's number of them.
const chunks = 10

// chunked fits models of the chunks of train, each learnt from the model of the first, as
// planegym.ray.traffic_fit_chunks does side by side; it gives what fit gives.
func chunked(ctx context.Context, train *traffic.Set, c doppelganger.Config, n int, o traffic.FitOptions) (draw func(k uint64) (*traffic.Set, error), note string, err error) {
	shares, err := doppelganger.Shares(train, chunks)
	if err != nil {
		return nil, "", err
	}
	var models []*doppelganger.Model
	later := 0
	for _, s := range shares {
		if s.Sessions == 0 {
			continue
		}
		c.SetChunk(s.Chunk, chunks)
		m, err := doppelganger.Fit(ctx, train, c, o)
		if err != nil {
			return nil, "", fmt.Errorf("chunk %d: %w", s.Chunk, err)
		}
		if o.From == nil {
			o.From, c = m, m.Tuning()
		}
		models, later = append(models, m), later+s.Later
	}
	draw = func(k uint64) (*traffic.Set, error) {
		drawn, seen := &traffic.Set{Of: train.Of}, 0
		for _, m := range models {
			seen += m.Account.Sessions
			part, err := traffic.Collect(m.Schema(), m.Sample(ctx, traffic.Request{N: n*seen/train.Len() - drawn.Len(), Seed: o.Seed + 1000 + k<<32}))
			if err != nil {
				return nil, err
			}
			drawn.Sessions = append(drawn.Sessions, part.Sessions...)
		}
		return drawn, nil
	}
	return draw, fmt.Sprintf("(%d chunks, %d sessions of several)", len(models), later), nil
}
