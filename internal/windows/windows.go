// Package windows is the closed-loop form on windows of any table that stand
// alone, as the field's public benchmarks ask for: a recurrent network that
// reads its own last row and draws the next from the distribution that it gives,
// the first row included. No limit, no player and no load is in it.
package windows

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
)

// Config says how a model is trained. Zero values are the defaults named.
type Config struct {
	Window  int     // rows of a window; 24
	Hidden  int     // units; 64
	Updates int     // 1500
	Batch   int     // windows of an update; 64
	Bins    int     // quantile bins of a column; 32
	Rate    float64 // learning rate at its highest; 3e-3
	Decay   float64 // weight decay; 1e-2
	Seed    uint64
}

func (c *Config) defaults() {
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Window, 24}, {&c.Hidden, 64}, {&c.Updates, 1500}, {&c.Batch, 64}, {&c.Bins, 32}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Rate == 0 {
		c.Rate = 3e-3
	}
	if c.Decay == 0 {
		c.Decay = 1e-2
	}
}

// Model is a fitted model.
type Model struct {
	Config
	codec *codec
	net   *seq.Model
}

// Fit trains on the windows of a table, rows [N,F] one after another in time.
// Report, unless nil, is called after every update with the nats a row.
func Fit(ctx context.Context, c Config, be *compute.Backend, rows [][]float64, report func(update int, nats float64)) (*Model, error) {
	c.defaults()
	if len(rows) < c.Window+1 {
		return nil, fmt.Errorf("windows: %d rows hold no two windows of %d", len(rows), c.Window)
	}
	k, err := newCodec(rows, c.Bins)
	if err != nil {
		return nil, err
	}
	net, err := seq.New(k.network(c.Hidden), c.Seed)
	if err != nil {
		return nil, err
	}
	trainer, err := seq.NewTrainer(net, be, seq.Training{Updates: c.Updates, Rate: c.Rate, Decay: c.Decay})
	if err != nil {
		return nil, err
	}
	objective, err := seq.Open("", net, be, c.Window, c.Batch)
	if err != nil {
		return nil, err
	}
	n, h := c.Window*c.Batch, len(k.heads)
	b := &seq.Batch{Steps: c.Window, Rows: c.Batch, Dense: make([]float32, n*k.numbers()), Values: make([]int32, n*h), Weight: make([]float32, n*h)}
	for i := range b.Weight { // one row of a window is its first, and a recording has few
		b.Weight[i] = 1
		if k.heads[i%h].first {
			b.Weight[i] = float32(c.Window) / 4
		}
	}
	all := k.encode(rows)
	err = trainer.Fit(ctx, objective, b, func(u int, b *seq.Batch) error {
		for row := range b.Rows {
			key := rng.Key{Seed: c.Seed, A: uint32(u), B: uint32(row), Purpose: rng.BatchOrder}
			at := key.Intn(0, len(rows)-c.Window+1)
			for t := range b.Steps {
				i := t*b.Rows + row
				k.input(b.Dense[i*k.numbers():][:k.numbers()], all, at+t-1, t)
				copy(b.Values[i*h:][:h], all.classes[(at+t)*h:])
				for j := range k.heads {
					if k.heads[j].first != (t == 0) {
						b.Values[i*h+j] = -1
					}
				}
			}
		}
		return nil
	}, seq.FitOptions{Every: c.Updates, Checkpoint: func() error { return nil }, Report: func(u int, losses []float64) {
		if report == nil {
			return
		}
		sum := 0.
		for _, l := range losses {
			sum += l
		}
		report(u, sum)
	}})
	if err != nil {
		return nil, err
	}
	return &Model{c, k, trainer.Averaged()}, nil
}

// Sample draws n windows [n,Window,F].
func (m *Model) Sample(be *compute.Backend, n int, seed uint64) []float64 {
	k, f := m.codec, len(m.codec.columns)
	out := make([]float64, n*m.Window*f)
	const chunk = 256
	for from := 0; from < n; from += chunk {
		rows := min(chunk, n-from)
		s := m.net.NewSampler(be, rows)
		state := k.newTrack(rows)
		x, values := make([]float32, rows*k.numbers()), make([]int32, len(k.heads))
		for t := range m.Window {
			for i := range rows {
				before := i
				if t == 0 {
					before = -1
				}
				k.input(x[i*k.numbers():][:k.numbers()], state, before, t)
			}
			s.Step(nil, nil, x)
			for i := range rows {
				key := rng.Key{Seed: seed, A: uint32(t), B: uint32(from + i), Purpose: rng.Generated}
				for h := range values {
					values[h] = -1
				}
				for h := range k.heads {
					hd := &k.heads[h]
					if hd.first != (t == 0) {
						continue
					}
					class := s.Draw(i, h, values, key.Float64(uint32(2*h)))
					k.settle(state, i, hd, hd.bins.Decode(class, key.Float64(uint32(2*h+1))))
				}
				k.values(state, i, out[((from+i)*m.Window+t)*f:][:f])
			}
		}
	}
	return out
}

// Describe says how each column is generated.
func (m *Model) Describe() []string {
	var all []string
	for j := range m.codec.columns {
		c := &m.codec.columns[j]
		s := fmt.Sprintf("column %d", j)
		if c.log {
			s += ", its logarithm"
		}
		if c.of >= 0 {
			s += fmt.Sprintf(", what a line through column %d leaves of it", c.of)
		}
		if c.change {
			s += ", by its change from row to row"
		}
		all = append(all, s)
	}
	return all
}

func sd(x []float64) (mean, dev float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		dev += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(dev)
}
