package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/timegan"
)

// comparison is what compareModels does.
type comparison struct {
	truth, wrong    string   // files of values on testbeds
	recordings, out string   // "": none
	policies        []string // nil: those of the truth
	episodes        int
	seed            uint64
	models          []string
}

// compareModels values models as far as c.out does not have them, and prints
// each beside the truth.
func compareModels(ctx context.Context, c comparison) error {
	truth, err := read(c.truth)
	if err != nil {
		return err
	}
	s, err := task(truth.Scenario, truth.Steps)
	if err != nil {
		return err
	}
	policies := c.policies
	if policies == nil {
		policies = truth.names()
	}
	judge, err := newMetrics(c.recordings)
	if err != nil {
		return err
	}
	var all []Values
	if c.out != "" {
		if all, err = readAs[[]Values](c.out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, m := range c.models {
		hash, err := hashOf(m)
		if err != nil {
			return err
		}
		v := Values{Scenario: truth.Scenario, Model: m, Data: hash, Seed: c.seed, Episodes: c.episodes, Steps: truth.Steps}
		at := slices.IndexFunc(all, func(o Values) bool {
			return o.Scenario == v.Scenario && o.Data == hash && o.Seed == v.Seed && o.Steps == v.Steps
		})
		if at < 0 {
			at, all = len(all), append(all, v)
		}
		all[at].Model, all[at].Episodes = m, max(c.episodes, all[at].Episodes)
		if err := all[at].value(ctx, s, policies, func() error {
			if c.out == "" {
				return nil
			}
			return write(c.out, all)
		}); err != nil {
			return err
		}
		regret, rms := summary(os.Stdout, m, pairs(truth, all[at]))
		if judge == nil {
			continue
		}
		if err := judge.add(ctx, m, func(n int) (timegan.Rollouts, func(), error) {
			return simulator(m, n)
		}, regret, rms); err != nil {
			return err
		}
	}
	if judge != nil {
		judge.print()
	}
	if c.wrong == "" {
		return nil
	}
	other, err := read(c.wrong)
	if err != nil {
		return err
	}
	summary(os.Stdout, "testbed of "+other.Scenario, pairs(truth, other))
	return nil
}

// hashOf says which bytes a model is.
func hashOf(model string) (string, error) {
	b, err := scenarios.OpenModel(model)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(b)), nil
}
