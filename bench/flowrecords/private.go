package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/ngram"
)

// delta of private rows: there are some hundred sessions.
const delta = 1e-4

// private is a private fit: of a row "doppelganger@8" the critics' mode at ε = 8, of
// "ngram@8" counts.
func private(ctx context.Context, kind, at string, train *traffic.Set, seed uint64, updates, threads int) (traffic.Model, string, error) {
	epsilon, err := strconv.ParseFloat(at, 64)
	if err != nil {
		return nil, "", fmt.Errorf("epsilon: %w", err)
	}
	switch kind {
	case "doppelganger":
		c := doppelganger.Config{Critic: 32, Batch: 64}
		if err := c.SetPrivacy(epsilon, delta); err != nil {
			return nil, "", err
		}
		if updates > 0 {
			c.Updates = updates
		}
		m, err := doppelganger.Fit(ctx, train, c, traffic.FitOptions{Seed: seed, Threads: threads})
		if err != nil {
			return nil, "", err
		}
		return m, m.Price(), nil
	case "ngram":
		c := ngram.Config{Mode: ngram.WittenBell}
		if err := c.SetPrivacy(epsilon, delta); err != nil {
			return nil, "", err
		}
		m, err := ngram.Fit(ctx, train, c)
		if err != nil {
			return nil, "", err
		}
		return m, m.Price(), nil
	}
	return nil, "", fmt.Errorf("%q has no private fit; doppelganger and ngram have", kind)
}
