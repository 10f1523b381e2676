package record

import (
	"slices"
	"strings"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
)

// strayShare is how often a rule of schedule reactive takes a limit that is drawn:
// what is measured then does not say which limit is in force.
const strayShare = .2

// reactive lets limits follow what is measured: blocks of schedule mixed in every
// other stretch, and in the ones between two rules, each for as long as the longest
// block. A rule watches one measurement, drawn, and has one action below a threshold,
// drawn from the range of the session so far, and another from it on. An agent's
// limits follow measurements too, and lead the player to states in which no schedule
// of blocks does.
type reactive struct {
	switchback
	dim    int   // of an observation
	watch  []int // elements of it: what the player has, and from queues on what waits at one switch
	queues int
	rules  map[int]*rule
}

// rule is that of a row.
type rule struct {
	seed         uint64
	step         int
	lo, hi       []float32 // of watch, so far
	at           int       // of watch
	threshold    float32
	below, above []int32
}

// newReactive is the schedule in an environment whose observations are measured
// values.
func newReactive(spec env.Spec, longest int) *reactive {
	p := &reactive{switchback: switchback{longest: longest, spec: spec}, dim: spec.Observation.Dim(), rules: map[int]*rule{}}
	var depths []int
	for i, e := range spec.Observation.Elements {
		switch {
		case e.Name == "lbo_s" || e.Name == "level":
			p.watch = append(p.watch, i)
		case strings.HasPrefix(e.Name, "enq_qdepth") && strings.HasSuffix(e.Name, "_mean"):
			depths = append(depths, i)
		}
	}
	p.queues = len(p.watch)
	p.watch = append(p.watch, depths...)
	return p
}

var _ agent.Policy = (*reactive)(nil)

func (p *reactive) Begin(rows []int, seeds []uint64) {
	p.switchback.Begin(rows, seeds)
	for i, seed := range seeds {
		p.rules[env.RowAt(rows, i)] = &rule{seed: seed}
	}
}

func (p *reactive) Act(rows []int, obs []float32, actions []int32) {
	s := len(p.spec.Action)
	p.switchback.Act(rows, obs, actions)
	for i := range len(actions) / s {
		r := p.rules[env.RowAt(rows, i)]
		p.see(r, obs[i*p.dim:][:p.dim])
		step := r.step
		r.step++
		if step/(2*p.longest)%2 == 0 {
			continue // blocks
		}
		if step%p.longest == 0 {
			p.draw(r, step)
		}
		a := r.above
		if obs[i*p.dim+p.watch[r.at]] < r.threshold {
			a = r.below
		}
		copy(actions[i*s:][:s], a)
		if k := (rng.Key{Seed: r.seed, A: uint32(step), B: 3, Purpose: rng.Action}); k.Float64(0) < strayShare {
			for j, n := range p.spec.Action {
				actions[i*s+j] = int32(k.Intn(uint32(2+j), n))
			}
		}
	}
}

// see widens the ranges of what is watched.
func (p *reactive) see(r *rule, obs []float32) {
	if r.lo == nil {
		for _, at := range p.watch {
			r.lo = append(r.lo, obs[at])
		}
		r.hi = slices.Clone(r.lo)
	}
	for i, at := range p.watch {
		r.lo[i], r.hi[i] = min(r.lo[i], obs[at]), max(r.hi[i], obs[at])
	}
}

// draw makes r another rule: the buffer, the level and the queues are watched
// equally often.
func (p *reactive) draw(r *rule, step int) {
	k := rng.Key{Seed: r.seed, A: uint32(step), B: 2, Purpose: rng.Action}
	depths := len(p.watch) - p.queues
	if r.at = k.Intn(0, p.queues+min(depths, 1)); r.at == p.queues {
		r.at += k.Intn(1, depths)
	}
	r.threshold = r.lo[r.at] + float32(k.Float64(2))*(r.hi[r.at]-r.lo[r.at])
	r.below, r.above = r.below[:0], r.above[:0]
	for j, n := range p.spec.Action {
		a := int32(k.Intn(uint32(3+2*j), n))
		b := a
		if n > 1 {
			b = (a + 1 + int32(k.Intn(uint32(4+2*j), n-1))) % int32(n)
		}
		r.below, r.above = append(r.below, a), append(r.above, b)
	}
}
