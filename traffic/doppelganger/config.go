// Package doppelganger samples sessions as NetShare does: attributes first, then
// the series given them, both trained against critics (DoppelGANger).
//
// Lin et al., "Using GANs for Sharing Networked Time Series Data", IMC 2020;
// Yin et al., "Practical GAN-based Synthetic IP Header Trace Generation using
// NetShare", SIGCOMM 2022. Beside the adversarial form there is one by
// likelihood, on the same schema: Config.Mode. DESIGN.md lists the departures.
package doppelganger

import (
	"fmt"
	"math"
	"slices"
)

// The modes of a model.
const (
	Adversarial = "adversarial" // generators against critics
	Likelihood  = "likelihood"  // one field after another, by cross-entropy
)

// Modes lists them.
var Modes = []string{Adversarial, Likelihood}

// Config is everything that a fit depends on besides the sessions. Zero values
// are the defaults in the comments.
type Config struct {
	Mode    string  `toml:"-" json:"mode"`                // Adversarial
	Updates int     `toml:"updates" json:"updates"`       // 4000; of the likelihood 1500
	Batch   int     `toml:"batch" json:"batch"`           // sessions of an update; 128
	Noise   int     `toml:"noise" json:"noise"`           // normals that an attribute vector is made of; 24
	Width   int     `toml:"width" json:"width"`           // of the hidden layers of the attribute generator; 128
	Hidden  int     `toml:"hidden" json:"hidden"`         // units of the series generator, or of the likelihood's network; 48
	Emit    int     `toml:"emit" json:"emit"`             // steps of a series that one call of its generator emits; 5
	Window  int     `toml:"window" json:"window"`         // steps that the series critic sees, a multiple of Emit; 10
	Critic  int     `toml:"critic" json:"critic"`         // width of the critics' two hidden layers; 128
	Packing int     `toml:"packing" json:"packing"`       // sessions that the attribute critic sees at once; 2
	Rounds  int     `toml:"rounds" json:"rounds"`         // updates of the critics for one of the generators; 2
	Rate    float64 `toml:"rate" json:"rate"`             // of Adam; 1e-3; of the likelihood 3e-3
	Penalty float64 `toml:"penalty" json:"penalty"`       // weight of the gradient penalty; 10
	Average float64 `toml:"average" json:"average"`       // of the moving average of generators' weights; .995
	Chunks  int     `toml:"chunks" json:"chunks"`         // equal times that the trace is cut into; 10
	Bins    int     `toml:"bins" json:"bins"`             // of a number's values that are not common; 24
	Common  int     `toml:"common" json:"common"`         // times that a value is in training, to be a class of its own; 5
	Checks  int     `toml:"checks" json:"checks"`         // candidates that the best is chosen of; 10
	Chunk   int     `toml:"chunk" json:"chunk,omitempty"` // from 1: learn the sessions alone that start in this one of Chunks; 0: all

	// Epsilon and Delta above 0 make a fit differentially private with respect to
	// adding or removing a session (SetPrivacy): Updates are 1000 by default then, Packing
	// and Chunks are 1, Checks is of no account.
	Epsilon float64 `toml:"-" json:"epsilon,omitempty"`
	Delta   float64 `toml:"-" json:"delta,omitempty"`
	Clip    float64 `toml:"clip" json:"clip,omitempty"`   // norm of a session's gradient in a private fit; 1
	Sigma   float64 `toml:"sigma" json:"sigma,omitempty"` // noise of a private fit's gradients, by Clip; 0: the least that Epsilon allows

	seed uint64 // traffic.FitOptions'
}

func (c Config) withDefaults() Config {
	def := func(x *int, d int) {
		if *x == 0 {
			*x = d
		}
	}
	if c.Mode == "" {
		c.Mode = Adversarial
	}
	updates, rate := 4000, 1e-3
	if c.Mode == Likelihood {
		updates, rate = 1500, 3e-3
	}
	packing, chunks := 2, 10
	if c.private() {
		updates, packing, chunks = 1000, 1, 1
		if c.Clip == 0 {
			c.Clip = 1
		}
	}
	def(&c.Updates, updates)
	def(&c.Batch, 128)
	def(&c.Noise, 24)
	def(&c.Width, 128)
	def(&c.Hidden, 48)
	def(&c.Emit, 5)
	def(&c.Window, 2*c.Emit)
	def(&c.Critic, 128)
	def(&c.Packing, packing)
	def(&c.Rounds, 2)
	def(&c.Chunks, chunks)
	def(&c.Bins, 24)
	def(&c.Common, 5)
	def(&c.Checks, 10)
	for _, f := range []struct {
		x *float64
		d float64
	}{{&c.Rate, rate}, {&c.Penalty, 10}, {&c.Average, .995}} {
		if *f.x == 0 {
			*f.x = f.d
		}
	}
	return c
}

// Variant is the mode: kinds of models that share these settings differ in it.
func (c Config) Variant() string { return c.Mode }

// Defaults are the settings of a mode that sessions are well learnt with.
func Defaults(mode string) func() Config {
	return func() Config { return Config{Mode: mode}.withDefaults() }
}

// Check reports the first setting that is out of its range, by name.
func (c Config) Check() error {
	c = c.withDefaults()
	if !slices.Contains(Modes, c.Mode) {
		return fmt.Errorf("doppelganger: mode: %q is not one of %q", c.Mode, Modes)
	}
	for _, f := range []struct {
		name   string
		value  int
		lo, hi int
	}{
		{"updates", c.Updates, 1, math.MaxInt32}, {"batch", c.Batch, 2, 4096}, {"noise", c.Noise, 1, 1024},
		{"width", c.Width, 1, 4096}, {"hidden", c.Hidden, 1, 4096}, {"emit", c.Emit, 1, 64}, {"window", c.Window, 1, 256},
		{"critic", c.Critic, 1, 4096}, {"packing", c.Packing, 1, 16}, {"rounds", c.Rounds, 1, 16}, {"chunks", c.Chunks, 1, 64},
		{"bins", c.Bins, 2, 256}, {"common", c.Common, 2, math.MaxInt32}, {"checks", c.Checks, 1, 100},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("doppelganger: %s: %d is outside %d…%d", f.name, f.value, f.lo, f.hi)
		}
	}
	switch {
	case c.Window%c.Emit != 0:
		return fmt.Errorf("doppelganger: window: %d is not a multiple of emit, %d", c.Window, c.Emit)
	case c.Batch%c.Packing != 0:
		return fmt.Errorf("doppelganger: packing: %d does not divide batch, %d", c.Packing, c.Batch)
	case c.Chunk < 0 || c.Chunk > c.Chunks:
		return fmt.Errorf("doppelganger: chunk: %d is outside 1…%d, the chunks; 0 is all of them", c.Chunk, c.Chunks)
	}
	for _, f := range []struct {
		name  string
		value float64
		hi    float64
	}{{"rate", c.Rate, 1}, {"penalty", c.Penalty, 1e6}} {
		if !(f.value > 0 && f.value <= f.hi) {
			return fmt.Errorf("doppelganger: %s: %v is outside 0…%v", f.name, f.value, f.hi)
		}
	}
	if !(c.Average > 0 && c.Average < 1) {
		return fmt.Errorf("doppelganger: average: %v is not above 0 and below 1", c.Average)
	}
	return c.checkPrivate()
}
