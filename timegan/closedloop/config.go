// Package closedloop is TimeGAN's closed-loop form: a recurrent generator that
// reads its own last second and the queue limits in force, and draws the next
// second from the distribution that it gives. timegan/DESIGN.md lists the
// departures from the paper with their measured effects.
package closedloop

import (
	"fmt"
	"math"
)

// Config is everything a training depends on besides the recordings. Zero
// values are the defaults named.
type Config struct {
	Hidden  int     `toml:"hidden" json:"hidden"`   // units of the generator; 64
	Updates int     `toml:"updates" json:"updates"` // of the likelihood; 1000
	Window  int     `toml:"window" json:"window"`   // seconds of a training window; 192
	Batch   int     `toml:"batch" json:"batch"`     // windows of an update; 32
	Rate    float64 `toml:"rate" json:"rate"`       // learning rate at its highest; 3e-3
	Decay   float64 `toml:"decay" json:"decay"`     // weight decay; 1e-2; negative is none
	Bins    int     `toml:"bins" json:"bins"`       // quantile bins of a column; 24
	Weight  float64 `toml:"weight" json:"weight"`   // of the player's heads in the loss, the others having 1; 4
	Noise   float64 `toml:"noise" json:"noise"`     // share of input cells of the last second that training hides; .05; negative is none
	Clock   int     `toml:"clock" json:"clock"`     // > 0: the second of a recording, within so many, is an input; 0 is none
	Regimes int     `toml:"regimes" json:"regimes"` // of the load that no limit moves; 0 is as many as held-out recordings ask for, 1 is none; with a clock 1
	Seed    uint64  `toml:"seed" json:"seed"`
	// Ensemble is how many networks are trained, of seeds Seed, Seed+1, …; rollouts
	// draw from the mean of their distributions. 0 and 1 are one.
	Ensemble int `toml:"ensemble" json:"ensemble,omitempty"`

	// HeldOut leaves the test blocks of a recording out (telemetry.Test: every
	// fourth 100 s), as inputs and as what is learnt: what is not known there is
	// not measured. A model can then be judged on them.
	HeldOut bool `toml:"held_out" json:"held_out,omitempty"`
	// Open leaves the last second out of the inputs: what feedback is worth.
	Open bool `toml:"open" json:"open,omitempty"`
	// Played makes how long ago each level of quality was last seen an input, which the
	// load's changes leave as it is.
	Played bool `toml:"played" json:"played,omitempty"`
	// Density gives numbers a normal density in place of classes: what classes are
	// worth.
	Density bool `toml:"density" json:"density,omitempty"`

	// AdversarialWeight is that of fine-tuning against a discriminator on long
	// rollouts, the likelihood's being 1; 0 is none. Fine-tuned weights are only
	// kept where measures on recordings that the discriminator did not see are
	// better: see Adversary.
	AdversarialWeight  float64 `toml:"adversarial_weight" json:"adversarial_weight,omitempty"`
	AdversarialUpdates int     `toml:"adversarial_updates" json:"adversarial_updates,omitempty"` // of fine-tuning; 300
	AdversarialWindow  int     `toml:"adversarial_window" json:"adversarial_window,omitempty"`   // seconds of a rollout; 256
	// AdversarialOnly trains against the discriminator alone, from the start: what
	// the likelihood is worth. What comes of it is always kept.
	AdversarialOnly bool `toml:"adversarial_only" json:"adversarial_only,omitempty"`
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Hidden, 64}, {&c.Updates, 1000}, {&c.Window, 192}, {&c.Batch, 32}, {&c.Bins, 24}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *float64
		value float64
	}{{&c.Rate, 3e-3}, {&c.Decay, 1e-2}, {&c.Noise, .05}, {&c.Weight, 4}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.AdversarialOnly && c.AdversarialWeight == 0 {
		c.AdversarialWeight = 1
	}
	if c.AdversarialWeight > 0 {
		for _, d := range []struct {
			field *int
			value int
		}{{&c.AdversarialUpdates, 300}, {&c.AdversarialWindow, 256}} {
			if *d.field == 0 {
				*d.field = d.value
			}
		}
	}
	return c
}

// members is how many networks are trained.
func (c Config) members() int { return max(c.Ensemble, 1) }

// leastRollout is how many seconds a discriminator sees at least.
const leastRollout = 16

// adversarial reports whether the generator is trained against a discriminator.
func (c Config) adversarial() bool { return c.AdversarialWeight > 0 }

// likelihoodUpdates is how many updates maximise the likelihood alone.
func (c Config) likelihoodUpdates() int {
	if c.AdversarialOnly {
		return 0
	}
	return c.Updates
}

// Check reports the first thing wrong with c, naming the field.
func (c Config) Check() error {
	c = c.withDefaults()
	for _, f := range []struct {
		name   string
		value  int
		lo, hi int
	}{
		{"hidden", c.Hidden, 1, 4096}, {"updates", c.Updates, 1, math.MaxInt32}, {"window", c.Window, 2, 3600},
		{"batch", c.Batch, 1, 4096}, {"bins", c.Bins, 2, 512}, {"clock", c.Clock, 0, 7 * 24 * 3600},
		{"regimes", c.Regimes, 0, 16}, {"ensemble", c.Ensemble, 0, 16},
		{"adversarial_updates", c.AdversarialUpdates, 0, math.MaxInt32}, {"adversarial_window", c.AdversarialWindow, 0, 3600},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("closedloop: %s: %d is outside %d…%d", f.name, f.value, f.lo, f.hi)
		}
	}
	for _, f := range []struct {
		name  string
		value float64
		hi    float64
	}{{"rate", c.Rate, 1}, {"decay", c.Decay, 1}, {"noise", c.Noise, .9}, {"weight", c.Weight, 1e6}, {"adversarial_weight", c.AdversarialWeight, 1e3}} {
		if math.IsNaN(f.value) || f.value > f.hi {
			return fmt.Errorf("closedloop: %s: %v is above %v", f.name, f.value, f.hi)
		}
	}
	if c.AdversarialWeight < 0 {
		return fmt.Errorf("closedloop: adversarial_weight: %v is negative", c.AdversarialWeight)
	}
	switch w := c.AdversarialWindow; {
	case c.adversarial() && c.Ensemble > 1:
		return fmt.Errorf("closedloop: ensemble: %d networks, and adversarial_weight fine-tunes one", c.Ensemble)
	case !c.adversarial() && (w != 0 || c.AdversarialUpdates != 0):
		return fmt.Errorf("closedloop: adversarial_updates, adversarial_window: adversarial_weight is 0: nothing is fine-tuned")
	case c.adversarial() && w < leastRollout:
		return fmt.Errorf("closedloop: adversarial_window: %d is below %d", w, leastRollout)
	}
	if c.Weight <= 0 {
		return fmt.Errorf("closedloop: weight: %v: expected above 0", c.Weight)
	}
	if c.Rate <= 0 {
		return fmt.Errorf("closedloop: rate: %v: expected above 0", c.Rate)
	}
	return nil
}
