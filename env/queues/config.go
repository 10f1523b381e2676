package queues

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Config says how an environment over a plant is stepped, observed and paid.
// Zero values are the defaults in the comments.
type Config struct {
	Limits      []p4.Limit    `toml:"limits"`         // packets, by action index; {32, 64}
	Initial     p4.Limit      `toml:"initial"`        // in force at reset, one of Limits; the last
	PerSwitch   bool          `toml:"per_switch"`     // an action for each switch; else one for all alike
	StepSeconds int           `toml:"step_seconds"`   // seconds; 4
	MaxSteps    int           `toml:"max_steps"`      // steps; 900, an hour of 4 s
	EndOnStall  float64       `toml:"end_on_stall_s"` // a stall of so many seconds in a row terminates; 0: never
	Reward      Reward        `toml:"reward"`         // what a step pays
	Observation Observation   `toml:"observation"`    // what the agent sees of a window
	Autoreset   env.Autoreset `toml:"autoreset"`      // what happens when an episode ends: "next_step" (default), "same_step", "disabled"
}

// DefaultLimits are the published ones.
func DefaultLimits() []p4.Limit { return []p4.Limit{32, 64} }

// withDefaults is c with its zero values filled, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Limits == nil {
		c.Limits = DefaultLimits()
	}
	if len(c.Limits) == 0 {
		return c, fmt.Errorf("env: limits: none are given")
	}
	for i, l := range c.Limits {
		if err := l.Check(); err != nil {
			return c, fmt.Errorf("env: limits: %w", err)
		}
		if slices.Contains(c.Limits[:i], l) {
			return c, fmt.Errorf("env: limits: %d is a duplicate", l)
		}
	}
	if c.Initial == 0 {
		c.Initial = c.Limits[len(c.Limits)-1]
	}
	if !slices.Contains(c.Limits, c.Initial) {
		return c, fmt.Errorf("env: initial: %d is not one of the limits %v", c.Initial, c.Limits)
	}
	if c.StepSeconds == 0 {
		c.StepSeconds = 4
	}
	if c.MaxSteps == 0 {
		c.MaxSteps = 900
	}
	switch {
	case c.StepSeconds < 1 || c.StepSeconds > 3600:
		return c, fmt.Errorf("env: step_seconds: %d is outside 1…3600", c.StepSeconds)
	case c.MaxSteps < 0 || c.MaxSteps > math.MaxInt32:
		return c, fmt.Errorf("env: max_steps: %d is outside 1…%d", c.MaxSteps, math.MaxInt32)
	case !(c.EndOnStall >= 0):
		return c, fmt.Errorf("env: end_on_stall_s: %v is negative", c.EndOnStall)
	}
	var err error
	if c.Reward, err = c.Reward.withDefaults(); err != nil {
		return c, err
	}
	c.Observation, err = c.Observation.withDefaults()
	return c, err
}

// Check reports the first thing wrong with c, naming the field.
func (c Config) Check() error {
	_, err := c.withDefaults()
	return err
}

// columns is where a plant's columns stand; -1 where it has none.
type columns struct {
	depth, delay, out     []int // by switch: enq_qdepth, deq_timedelta, deq_qdepth
	lbo, fps, kbps, stall int
	ladder                telemetry.Ladder // what the player can show
}

func findColumns(p env.Plant) (columns, error) {
	at := map[string]int{}
	for i, f := range p.Columns() {
		at[f.Name] = i
	}
	var missing error
	need := func(name string) int {
		i, ok := at[name]
		if !ok && missing == nil {
			missing = fmt.Errorf("env: the plant measures no %s", name)
		}
		return i
	}
	c := columns{lbo: need("lbo_s"), fps: need("fps"), kbps: need("rep_kbps"), stall: -1}
	if i, ok := at["stall_s"]; ok {
		c.stall = i
	}
	for s := 1; s <= p.Switches(); s++ {
		c.depth = append(c.depth, need(fmt.Sprintf("enq_qdepth%d", s)))
		c.delay = append(c.delay, need(fmt.Sprintf("deq_timedelta%d", s)))
		c.out = append(c.out, need(fmt.Sprintf("deq_qdepth%d", s)))
	}
	return c, missing
}
