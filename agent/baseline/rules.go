package baseline

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Rules that watch the player, keep a limit for a while, or change what
// another rule does: with the ones that watch queues they are the families
// that a simulator has to value right.

// rule makes the policies of this file; nil where name is not one of them.
func rule(name, kind, arg string, spec env.Spec) (agent.Policy, error) {
	bad := func(want string) error { return fmt.Errorf("agent: policy %q: expected %s", name, want) }
	number := func(s string) (float64, bool) {
		x, err := strconv.ParseFloat(s, 64)
		return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
	}
	switch kind {
	case "sticky":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			return nil, bad("sticky:N with N steps, 1 at least")
		}
		return &random{space: spec.Action, hold: uint32(n)}, nil
	case "hysteresis":
		a, b, _ := strings.Cut(arg, ":")
		lo, ok := number(a)
		hi, also := number(b)
		if !ok || !also || !(lo > 0) || hi < lo {
			return nil, bad("hysteresis:LO:HI with shares 0 < LO ≤ HI of the limit")
		}
		p, err := newOccupancy(hi, spec)
		if err != nil {
			return nil, fmt.Errorf("agent: policy %q: %w", name, err)
		}
		p.low = float32(lo)
		return p, nil
	case "buffer", "level":
		at, below := -1, map[string]float64{"buffer": 20, "level": 2}[kind]
		element := map[string]string{"buffer": "lbo_s", "level": "level"}[kind]
		for i, e := range spec.Observation.Elements {
			if e.Name == element || strings.HasPrefix(e.Name, element+"[") {
				at = i // of a window's seconds the last
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("agent: policy %q: goes by the player, and the observation has no %s", name, element)
		}
		if arg != "" {
			x, ok := number(arg)
			if !ok {
				return nil, bad(kind + ":X with a number X")
			}
			below = x
		}
		if high := float64(spec.Observation.High[at]); kind == "level" && arg == "" {
			below = min(below, high) // the top, whatever it is scaled to
		} else if below > high {
			return nil, outOfReach(name, element+" is", high, below)
		}
		order := bySize(spec)
		return &watcher{dim: spec.Observation.Dim(), s: len(spec.Action), at: at, below: float32(below), low: order[0], high: order[len(order)-1]}, nil
	case "inverse":
		p, err := New(arg, spec)
		if err != nil {
			return nil, err
		}
		order := bySize(spec)
		turned := make([]int32, len(order))
		for i, a := range order {
			turned[a] = order[len(order)-1-i]
		}
		return &inverse{p, turned}, nil
	case "delayed", "noisy":
		first, rest, ok := strings.Cut(arg, ":")
		x, isNumber := number(first)
		if !ok || !isNumber {
			return nil, bad(kind + ":X:RULE with a number X")
		}
		p, err := New(rest, spec)
		if err != nil {
			return nil, err
		}
		if kind == "delayed" {
			if x < 1 || x > 1000 || x != math.Trunc(x) {
				return nil, bad("delayed:N:RULE with N steps, 1 to 1000")
			}
			return &delayed{Policy: p, s: len(spec.Action), n: int(x), initial: initialActions(spec)}, nil
		}
		if x < 0 || x > 1 {
			return nil, bad("noisy:P:RULE with a probability P")
		}
		return &noisy{Policy: p, share: x, draws: random{space: spec.Action}}, nil
	}
	return nil, nil
}

// initialActions are the actions in force at a reset.
func initialActions(spec env.Spec) []int32 {
	a := make([]int32, len(spec.Action))
	for i := range a {
		if i < len(spec.Initial) {
			a[i] = int32(max(slices.Index(spec.Limits, spec.Initial[i]), 0))
		}
	}
	return a
}

// watcher goes by one element of an observation, all switches alike.
type watcher struct {
	dim, s, at int
	below      float32
	low, high  int32
}

func (p *watcher) Begin([]int, []uint64) {}

func (p *watcher) Act(_ []int, obs []float32, actions []int32) {
	for i := range actions {
		actions[i] = p.high
		if obs[i/p.s*p.dim+p.at] < p.below {
			actions[i] = p.low
		}
	}
}

// inverse takes the opposite limit of another policy's.
type inverse struct {
	agent.Policy
	turned []int32 // by action
}

func (p *inverse) Act(rows []int, obs []float32, actions []int32) {
	p.Policy.Act(rows, obs, actions)
	for i, a := range actions {
		actions[i] = p.turned[a]
	}
}

// delayed holds another policy's actions back for n steps.
type delayed struct {
	agent.Policy
	s, n    int
	initial []int32
	rows    perRow[[]int32] // [n,S], a ring
	at      perRow[int]
}

func (p *delayed) Begin(rows []int, seeds []uint64) {
	p.Policy.Begin(rows, seeds)
	for i := range seeds {
		r := env.RowAt(rows, i)
		ring := p.rows.at(r)
		*ring = telemetry.Grow(*ring, p.n*p.s)
		for j := range *ring {
			(*ring)[j] = p.initial[j%p.s] // all slots alike: where the ring begins does not matter
		}
	}
}

func (p *delayed) Act(rows []int, obs []float32, actions []int32) {
	p.Policy.Act(rows, obs, actions)
	for i := range len(actions) / p.s {
		r := env.RowAt(rows, i)
		at := p.at.at(r)
		slot := (*p.rows.at(r))[*at*p.s:][:p.s]
		for j := range slot {
			slot[j], actions[i*p.s+j] = actions[i*p.s+j], slot[j]
		}
		*at = (*at + 1) % p.n
	}
}

// noisy replaces a share of another policy's actions.
type noisy struct {
	agent.Policy
	share float64
	draws random
	drawn []int32
}

func (p *noisy) Begin(rows []int, seeds []uint64) {
	p.Policy.Begin(rows, seeds)
	p.draws.Begin(rows, seeds)
}

func (p *noisy) Act(rows []int, obs []float32, actions []int32) {
	p.Policy.Act(rows, obs, actions)
	s := len(p.draws.space)
	p.drawn = telemetry.Grow(p.drawn, len(actions))
	for i := range len(actions) / s { // a stream apart from the one that draws the limits
		r := env.RowAt(rows, i)
		k := rng.Key{Seed: *p.draws.seeds.at(r), A: *p.draws.steps.at(r), B: 1, Purpose: rng.Action}
		for j := range s {
			p.drawn[i*s+j] = actions[i*s+j]
			if k.Float64(uint32(j)) < p.share {
				p.drawn[i*s+j] = -1
			}
		}
	}
	p.draws.Act(rows, obs, actions)
	for i, a := range p.drawn {
		if a >= 0 {
			actions[i] = a
		}
	}
}
