// Package structured simulates switches and player by rules, under a load that is
// a latent process independent of the actions. Whatever depends on the queue
// limit goes through the rules, so that a limit has the same effects in the
// simulation as on switches.
//
//	z_t   regime of the load: a semi-Markov chain                     load.go
//	u_t   ranks of what the switches measure: a TimeGAN given z_t     ranks.go
//	x_t = Q(u_t | z_t, limit_t): depths are shares of the limit, a wait is
//	      depth over service rate and a remainder                     ranks.go
//	log d ~ N(μ, σ)(z, limit, level, idle): what a download takes     player.go
//	level ~ softmax(buffer, throughput, level): what is asked for     player.go
//	buffer: -1 s a second played, a segment for a download, requests
//	      at once below the target, on reaching it above              simulator.go
//
// All of it is read off recordings in which the limit was drawn at random (see
// planegym testbed record --schedule switchback): regimes by what the queues
// show under whatever limit was in force, as the load that explains
// measurements under any (Veritas: Bothra et al., SIGCOMM 2023), the rest by
// what was measured in a regime under each limit (CausalSim: Alomar et al.,
// NSDI 2023, whose latent is likewise the same under every action).
package structured

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/timegan"
)

// Config says what is fitted and how. Zero values are the defaults in the
// comments.
type Config struct {
	Regimes  int            `toml:"regimes" json:"regimes"`   // K, of the load; 2
	SegmentS float64        `toml:"segment_s" json:"segment"` // seconds of video that a download brings; 4
	StableS  float64        `toml:"stable_s" json:"stable"`   // seconds of buffer at which the player stops to ask for more; 12
	TopS     float64        `toml:"top_s" json:"top"`         // the same at the highest quality; 60
	Hidden   int            `toml:"hidden" json:"hidden"`     // units of each of the two hidden layers of a network; 16
	Updates  int            `toml:"updates" json:"updates"`   // of each network; 4000
	Knots    int            `toml:"knots" json:"knots"`       // quantiles of a table; 33
	Seed     uint64         `toml:"seed" json:"seed"`         // of everything; of the ranks unless they have one
	Ranks    timegan.Config `toml:"ranks" json:"ranks"`       // of the TimeGAN, zero values as there but for window 16, hidden 16, embed 500, super 200, joint 1000, clock -1, free, and the seed above
}

// Defaults are the settings that Fit has unless others are asked for. Zeros set
// in its Ranks are zeros: see timegan.Config.
func Defaults() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Regimes, 2}, {&c.Hidden, 16}, {&c.Updates, 4000}, {&c.Knots, 33},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	sparse := c.Ranks != c.Ranks.WithDefaults()
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Ranks.Window, 16}, {&c.Ranks.Hidden, 16}, {&c.Ranks.Embed, 500}, {&c.Ranks.Super, 200}, {&c.Ranks.Joint, 1000}, {&c.Ranks.Clock, -1},
	} {
		if sparse && *d.field == 0 {
			*d.field = d.value
		}
	}
	c.Ranks = c.Ranks.WithDefaults()
	if c.Ranks.Seed == 0 { // else two seeds share half of what is drawn
		c.Ranks.Seed = c.Seed
	}
	for _, d := range []struct {
		field *float64
		value float64
	}{{&c.SegmentS, 4}, {&c.StableS, 12}, {&c.TopS, 60}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	c.Ranks.Free = true // ranks are of a second: what moves slowly is the rules'
	return c
}

// Check reports the first thing wrong with c, naming the field.
func (c Config) Check() error {
	c = c.withDefaults()
	for _, f := range []struct {
		name   string
		value  int
		lo, hi int
	}{
		{"regimes", c.Regimes, 1, 16}, {"hidden", c.Hidden, 1, 1024}, {"updates", c.Updates, 1, math.MaxInt32}, {"knots", c.Knots, 2, 1024},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("structured: %s: %d is outside %d…%d", f.name, f.value, f.lo, f.hi)
		}
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"segment_s", c.SegmentS}, {"stable_s", c.StableS}, {"top_s", c.TopS}} {
		if !(f.value >= .1) || f.value > 3600 {
			return fmt.Errorf("structured: %s: %v is outside 0.1…3600", f.name, f.value)
		}
	}
	if c.TopS < c.StableS || c.TopS+c.SegmentS > maxQueued*c.SegmentS {
		return fmt.Errorf("structured: top_s: %v is outside stable_s %v … %v segments", c.TopS, c.StableS, maxQueued-1)
	}
	if c.Ranks.Latent {
		return fmt.Errorf("structured: ranks.latent: a simulation goes on for hours, latent is of windows that stand alone")
	}
	if err := c.Ranks.Check(); err != nil {
		return fmt.Errorf("structured: ranks: %w", err)
	}
	return nil
}
