// Package baseline holds the policies that agents are compared with: constant limits,
// random ones, and rules that watch the queues or the player.
//
//	p, err := baseline.New("threshold", v.Spec())
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

// Names are the names that Baseline takes, with what each does.
var Names = []struct{ Name, About string }{
	{"fixed:N", "always the limit N (an action index where actions are no limits)"},
	{"random", "a limit drawn anew at every step"},
	{"alternate[:N]", "the limits in turn, each for N steps; 1"},
	{"threshold[:X]", "the smallest limit while the mean queueing delay is above X, else the largest"},
	{"occupancy[:X]", "the smallest limit while queues are fuller than a share X of the limit, else the largest; 0.42, of observations in packets"},
	{"codel[:X]", "a smaller limit whenever delay stayed above X for an interval, as CoDel drops; the largest when it falls below"},
	{"hysteresis:LO:HI", "the smallest limit once queues are fuller than a share HI of the limit, the largest once emptier than LO"},
	{"sticky:N", "a limit drawn anew every N steps"},
	{"buffer[:X]", "the smallest limit while the player has less than X s buffered, else the largest; 20, of observations in seconds"},
	{"level[:L]", "the smallest limit while the quality level is below L, else the largest; 2, the top"},
	{"inverse:RULE", "what RULE does, with the order of the limits turned round"},
	{"delayed:N:RULE", "what RULE chose N steps ago"},
	{"noisy:P:RULE", "what RULE does, but with probability P a limit drawn at random"},
}

// New makes the policy of a name (see Names) for spec. X is in the
// unit of spec's delay elements; without it a tenth of their bound, or
// CoDel's 5 ms where they have none.
func New(name string, spec env.Spec) (agent.Policy, error) {
	kind, arg, given := strings.Cut(name, ":")
	s := len(spec.Action)
	if given && kind == "random" {
		return nil, fmt.Errorf("agent: policy %q: %s takes no argument", name, kind)
	}
	switch kind {
	case "fixed":
		n, err := strconv.ParseInt(arg, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("agent: policy %q: expected fixed:N with a whole number N", name)
		}
		return fixedPolicy(name, int32(n), spec)
	case "random":
		return &random{space: spec.Action}, nil
	case "alternate":
		hold := 1
		if given {
			var err error
			if hold, err = strconv.Atoi(arg); err != nil || hold < 1 {
				return nil, fmt.Errorf("agent: policy %q: %q is not a number of steps", name, arg)
			}
		}
		return &alternate{space: spec.Action, hold: hold}, nil
	case "occupancy":
		share := .42
		if given {
			var err error
			if share, err = strconv.ParseFloat(arg, 64); err != nil || !(share > 0) || math.IsInf(share, 0) {
				return nil, fmt.Errorf("agent: policy %q: %q is not a share", name, arg)
			}
		}
		p, err := newOccupancy(share, spec)
		if err != nil {
			return nil, fmt.Errorf("agent: policy %q: %w", name, err)
		}
		return p, nil
	case "threshold", "codel":
		at, bound, err := switchElements(spec, "deq_timedelta")
		if err != nil {
			return nil, fmt.Errorf("agent: policy %q: %w", name, err)
		}
		target := float32(5000) // microseconds; RFC 8289, section 4.4
		if !math.IsInf(float64(bound), 0) {
			target = bound / 10
		}
		if given {
			x, err := strconv.ParseFloat(arg, 32)
			if err != nil || !(x >= 0) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("agent: policy %q: %q is not a delay", name, arg)
			}
			if target = float32(x); target > bound {
				return nil, outOfReach(name, "delays are", bound, arg)
			}
		}
		d := delayRule{dim: spec.Observation.Dim(), s: s, elements: at, target: target, order: bySize(spec)}
		if kind == "threshold" {
			return &threshold{d}, nil
		}
		return &codel{delayRule: d}, nil
	}
	if p, err := rule(name, kind, arg, spec); p != nil || err != nil {
		return p, err
	}
	names := make([]string, len(Names))
	for i, b := range Names {
		names[i] = b.Name
	}
	return nil, fmt.Errorf("agent: policy %q is not one of %s", name, strings.Join(names, ", "))
}

func fixedPolicy(name string, n int32, spec env.Spec) (agent.Policy, error) {
	var limits []int32
	for _, l := range spec.Limits {
		limits = append(limits, int32(l))
	}
	a := n
	if limits != nil {
		if a = int32(slices.Index(limits, n)); a < 0 {
			return nil, fmt.Errorf("agent: policy %q: %d is not one of the limits %v", name, n, limits)
		}
	}
	f := fixed(make([]int32, len(spec.Action)))
	for i, k := range spec.Action {
		if a < 0 || int(a) >= k {
			return nil, fmt.Errorf("agent: policy %q: action %d is not in [0, %d)", name, a, k)
		}
		f[i] = a
	}
	return f, nil
}

// Constant always takes the same action, one for all switches or one for each.
func Constant(action ...int32) agent.Policy { return fixed(action) }

// fixed always gives the same action [S].
type fixed []int32

func (f fixed) Begin([]int, []uint64) {}

func (f fixed) Act(_ []int, _ []float32, actions []int32) {
	for i := range actions {
		actions[i] = f[i%len(f)]
	}
}

// random draws from the row's seed and step, anew every hold steps.
type random struct {
	space env.MultiDiscrete
	hold  uint32 // 0 is 1
	seeds perRow[uint64]
	steps perRow[uint32]
}

func (p *random) Begin(rows []int, seeds []uint64) {
	for i, seed := range seeds {
		r := env.RowAt(rows, i)
		*p.seeds.at(r), *p.steps.at(r) = seed, 0
	}
}

func (p *random) Act(rows []int, _ []float32, actions []int32) {
	s := len(p.space)
	for i := range len(actions) / s {
		r := env.RowAt(rows, i)
		step := p.steps.at(r)
		k := rng.Key{Seed: *p.seeds.at(r), A: *step / max(p.hold, 1), Purpose: rng.Action}
		for j, n := range p.space {
			actions[i*s+j] = int32(k.Intn(uint32(j), n))
		}
		*step++
	}
}

// alternate goes through the actions in turn, all switches alike.
type alternate struct {
	space env.MultiDiscrete
	hold  int // steps of each
	steps perRow[int]
}

func (p *alternate) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		*p.steps.at(env.RowAt(rows, i)) = 0
	}
}

func (p *alternate) Act(rows []int, _ []float32, actions []int32) {
	s := len(p.space)
	for i := range len(actions) / s {
		step := p.steps.at(env.RowAt(rows, i))
		for j, n := range p.space {
			actions[i*s+j] = int32(*step / p.hold % n)
		}
		*step++
	}
}

// delayRule is what the policies that watch queueing delay share.
type delayRule struct {
	dim, s   int
	elements []int // of an observation: the delay at each switch
	target   float32
	order    []int32 // actions, the smallest limit first
}

// delay is what action j of an observation [D] goes by: the delay at its
// switch, or the largest where one action sets all switches alike.
func (d *delayRule) delay(obs []float32, j int) float32 {
	if d.s > 1 {
		return obs[d.elements[j]]
	}
	top := obs[d.elements[0]]
	for _, e := range d.elements {
		top = max(top, obs[e])
	}
	return top
}

type threshold struct{ delayRule }

func (p *threshold) Begin([]int, []uint64) {}

func (p *threshold) Act(_ []int, obs []float32, actions []int32) {
	for i := range actions {
		at := i / p.s * p.dim
		actions[i] = p.order[len(p.order)-1]
		if p.delay(obs[at:at+p.dim], i%p.s) > p.target {
			actions[i] = p.order[0]
		}
	}
}

// codelInterval is how many steps delay has to stay above the target before
// codel acts.
const codelInterval = 4

// codel is the control law of CoDel (Nichols and Jacobson 2012; RFC 8289,
// section 3) with a smaller queue limit in place of a dropped packet and a
// step in place of a packet: once delay has stayed above the target for an
// interval the limit goes down by one, then again interval/√count later for
// count = 2, 3 …; below the target the largest limit returns.
type codel struct {
	delayRule
	rows perRow[[]codelState] // [S]
}

type codelState struct {
	above, count int     // steps above the target, limits taken away
	next         float64 // how many steps above bring the next one down
}

func (p *codel) state(r int) []codelState {
	st := p.rows.at(r)
	if *st == nil {
		*st = make([]codelState, p.s)
	}
	return *st
}

func (p *codel) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		clear(p.state(env.RowAt(rows, i)))
	}
}

func (p *codel) Act(rows []int, obs []float32, actions []int32) {
	for i := range len(actions) / p.s {
		st := p.state(env.RowAt(rows, i))
		for j := range st {
			c := &st[j]
			if p.delay(obs[i*p.dim:(i+1)*p.dim], j) <= p.target {
				*c = codelState{}
			} else {
				c.above++
				if c.count == 0 {
					c.next = codelInterval
				}
				for float64(c.above) >= c.next && c.count < len(p.order)-1 {
					c.count++
					c.next += codelInterval / math.Sqrt(float64(c.count+1))
				}
			}
			actions[i*p.s+j] = p.order[len(p.order)-1-c.count]
		}
	}
}

// occupancy goes by how full the queues are: the average (½ of the new, ½ of
// the old) of mean depth over the limit in force, both as observed.
type occupancy struct {
	share        float32
	low          float32 // > 0: the large limit returns below this share, not below share
	dim, s       int
	depth        []int // elements of an observation, by switch
	action       []int // likewise, the actions in force [S]
	limits       []float32
	small, large int32
	rows         perRow[[]float32] // [S], the averages
	smaller      perRow[[]bool]    // [S], the small limit was chosen last
}

func newOccupancy(share float64, spec env.Spec) (*occupancy, error) {
	depth, _, err := switchElements(spec, "enq_qdepth")
	if err != nil {
		return nil, err
	}
	p := &occupancy{share: float32(share), dim: spec.Observation.Dim(), s: len(spec.Action), depth: depth}
	for _, at := range depth {
		if e := spec.Observation.Elements[at]; e.Unit != "packets" {
			return nil, fmt.Errorf(`goes by packets, and the observation's %s is in none: normalise = "none" has them`, e.Name)
		}
	}
	for s := range p.s {
		name := fmt.Sprint("action", s+1)
		at := slices.IndexFunc(spec.Observation.Elements, func(f telemetry.Field) bool { return f.Name == name })
		if at < 0 || spec.Limits == nil {
			return nil, fmt.Errorf("goes by the limits in force, and the observation has no %s", name)
		}
		p.action = append(p.action, at)
	}
	for _, l := range spec.Limits {
		p.limits = append(p.limits, float32(l))
	}
	order := bySize(spec)
	p.small, p.large = order[0], order[len(order)-1]
	return p, nil
}

func (p *occupancy) averages(r int) []float32 {
	a := p.rows.at(r)
	if *a == nil {
		*a, *p.smaller.at(r) = make([]float32, p.s), make([]bool, p.s)
	}
	return *a
}

func (p *occupancy) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		clear(p.averages(env.RowAt(rows, i)))
		clear(*p.smaller.at(env.RowAt(rows, i)))
	}
}

func (p *occupancy) Act(rows []int, obs []float32, actions []int32) {
	for i := range len(actions) / p.s {
		average, o := p.averages(env.RowAt(rows, i)), obs[i*p.dim:(i+1)*p.dim]
		smaller := *p.smaller.at(env.RowAt(rows, i))
		for j := range average {
			limit := p.limits[int(o[p.action[j]])]
			var full float32
			for n, at := range p.depth {
				if p.s == 1 || n == j {
					full = max(full, o[at]/limit)
				}
			}
			average[j] += (full - average[j]) / 2
			smaller[j] = average[j] > p.share || p.low > 0 && smaller[j] && average[j] >= p.low
			actions[i*p.s+j] = p.large
			if smaller[j] {
				actions[i*p.s+j] = p.small
			}
		}
	}
}

// switchElements finds, per switch, the element of an observation that tells
// the column stem: the window's mean, or its last second, and the largest
// value they may have.
func switchElements(spec env.Spec, stem string) (at []int, bound float32, err error) {
	for s := 1; ; s++ {
		found := -1
		for i, e := range spec.Observation.Elements {
			rest, ok := strings.CutPrefix(e.Name, fmt.Sprint(stem, s))
			if ok && (rest == "" || rest == "_mean" || strings.HasPrefix(rest, "[")) {
				found = i // of a window's seconds the last
			}
		}
		if found < 0 {
			break
		}
		at = append(at, found)
		bound = max(bound, spec.Observation.High[found])
	}
	if len(at) == 0 {
		return nil, 0, fmt.Errorf("goes by the queues, and the observation has no %s1", stem)
	}
	if s := len(spec.Action); s > 1 && len(at) != s {
		return nil, 0, fmt.Errorf("the observation has %s of %d switches, an action sets %d", stem, len(at), s)
	}
	return at, bound, nil
}

// outOfReach is the error of a threshold x above the highest value that the observation
// may have.
func outOfReach(policy, what string, high, x any) error {
	return fmt.Errorf("agent: policy %q: the observation's %s at most %v, so %v is never reached: give a smaller value, or observe with normalise = \"none\"", policy, what, high, x)
}

// bySize is the actions in the order of their limits.
func bySize(spec env.Spec) []int32 {
	order := make([]int32, spec.Action[0])
	for i := range order {
		order[i] = int32(i)
	}
	if spec.Limits != nil {
		slices.SortFunc(order, func(a, b int32) int { return int(spec.Limits[a] - spec.Limits[b]) })
	}
	return order
}

// perRow is a value per row, made when a row is first seen.
type perRow[T any] []T

func (p *perRow[T]) at(r int) *T {
	for len(*p) <= r {
		*p = append(*p, *new(T))
	}
	return &(*p)[r]
}
