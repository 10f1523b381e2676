// Package models lists the kinds of models of traffic: how each is fitted, and how
// its file, which names the kind, is opened.
package models

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/bundled"
)

// The names of the models that come with planegym: a learned one, and the
// n-gram of the same sessions, which samples alike on every machine. BundledPool
// names sessions of the learned one, for loads.
const (
	Bundled       = "bundled"
	BundledCounts = "bundled-ngram"
	BundledPool   = "bundled-pool"
)

// Open reads a model; "" and Bundled are the learned one that comes with
// planegym.
func Open(path string) (traffic.Model, error) {
	switch path {
	case "", Bundled:
		return bundled.Open()
	case BundledCounts:
		return bundled.OpenCounts()
	}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse is Open of what a file holds.
func Parse(b []byte) (traffic.Model, error) {
	f, err := safetensors.New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	format := f.Metadata["format"]
	var known []string
	for _, k := range Kinds {
		if k.Format == format {
			return k.Parse(b)
		}
		known = append(known, k.Format)
	}
	return nil, fmt.Errorf("format %q is not that of a traffic model: %q", format, slices.Compact(known))
}

// Pool is n sessions of a model with labels (nil: all): what a testbed's
// arrivals draw from.
func Pool(ctx context.Context, m traffic.Model, labels []string, n int, seed uint64) (*traffic.Set, error) {
	r := traffic.Request{N: n, Seed: seed}
	for _, name := range labels {
		i := slices.Index(m.Schema().Labels, name)
		if i < 0 {
			return nil, fmt.Errorf("label %q is not one of the model's: %q", name, m.Schema().Labels)
		}
		r.Labels = append(r.Labels, i)
	}
	return traffic.Collect(m.Schema(), m.Sample(ctx, r))
}
