package ws

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/planegym/planegym/env"
)

// This file resets under options from the client's side.

// Options are env.Optioner's.
func (c *Client) Options() env.OptionSpec {
	var s env.OptionSpec
	for name, into := range map[string]any{"initial_limit": &s.Initial, "phase": &s.Phases} {
		if v, ok := c.made.ResetOptions[name]; ok {
			b, err := json.Marshal(v)
			if err == nil {
				_ = json.Unmarshal(b, into) // a later version may have other lists
			}
		}
	}
	_, s.TrafficSeed = c.made.ResetOptions["traffic_seed"]
	_, s.Load = c.made.ResetOptions["load"]
	return s
}

// ResetWith is env.Optioner's.
func (c *Client) ResetWith(ctx context.Context, rows []int, seeds []uint64, o env.Options, out *env.Batch) error {
	n, err := c.begin(ctx, rows)
	if err == nil {
		err = c.alone()
	}
	if err != nil {
		return err
	}
	if seeds != nil && len(seeds) != n {
		return fmt.Errorf("%w: %d seeds for %d rows", env.ErrInvalidRows, len(seeds), n)
	}
	options := map[string]any{}
	if o.Initial != nil {
		options["initial_limit"] = o.Initial
	}
	if o.TrafficSeed != nil {
		options["traffic_seed"] = wireSeeds(o.TrafficSeed)
	}
	if o.Load != nil {
		options["load"] = *o.Load
	}
	if o.Phase != "" {
		options["phase"] = o.Phase
	}
	for name := range options {
		if _, has := c.made.ResetOptions[name]; !has {
			return fmt.Errorf("%w: %s: the server's environment does not have it", env.ErrInvalidOption, name)
		}
	}
	m := map[string]any{"type": "reset", "env": c.made.Env, "options": options, "info": c.opts.Info}
	if rows != nil {
		m["rows"] = rows
	}
	if seeds != nil {
		m["seeds"] = wireSeeds(seeds)
	}
	var r resetResult
	if err := c.ask(ctx, "reset_result", m, &r); err != nil {
		if c.got < c.sent && c.broken == nil {
			c.dropped = c.sent
		}
		return err
	}
	out.Size(n, c.shape.d, c.shape.final)
	clear(out.Reward)
	clear(out.Terminated)
	clear(out.Truncated)
	clear(out.FinalObs)
	if len(r.Obs) != n {
		return c.fail(fmt.Errorf("%w: %d observations of %d rows", ErrBadFrame, len(r.Obs), n))
	}
	for i, obs := range r.Obs {
		if len(obs) != c.shape.d {
			return c.fail(fmt.Errorf("%w: an observation of %d numbers, want %d", ErrBadFrame, len(obs), c.shape.d))
		}
		copy(out.Obs[i*c.shape.d:], obs)
	}
	for j, f := range c.made.InfoFields {
		column := r.Info[f.Name]
		for i := range min(n, len(column)) {
			at := env.RowAt(rows, i)*c.shape.f + j
			if at < len(c.info) {
				c.info[at], c.final[at] = column[i], column[i]
			}
		}
	}
	return nil
}

func wireSeeds(seeds []uint64) []seed {
	out := make([]seed, len(seeds))
	for i, s := range seeds {
		out[i] = seed(s)
	}
	return out
}
