package worth

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

// Contestant is a policy and the scenario that it acts in.
type Contestant struct {
	Name     string
	Allowed  bool // a constant that the scenario allows
	scenario scenarios.Scenario
	policy   func(v env.Vector) (agent.Policy, error)
}

// Contestants are those of o.Policies in s, whose limits are set:
//
//	constants        every limit of o.Limits, at all switches alike
//	combinations     per-switch scenarios: every combination of the allowed limits
//	random           an allowed limit drawn at every step
//	wait:X           baseline.NewWait of share X
//	occupancy:X      the baseline of that name
//	codel, pi2, red  that queue management at the largest of o.Limits
//	look-ahead       baseline.NewLookAhead
func Contestants(s scenarios.Scenario, o Options) ([]Contestant, error) {
	var all []Contestant
	for _, name := range o.Policies {
		name = strings.TrimSpace(name)
		kind, arg, given := strings.Cut(name, ":")
		share := kind == "wait" || kind == "occupancy"
		if share && !given {
			return nil, fmt.Errorf("%q: %s takes a share of a full queue, as in %[2]s:0.42", name, kind)
		} else if given && !share {
			return nil, fmt.Errorf("%q: %s takes nothing after it", name, kind)
		}
		x := 0.
		if share {
			var err error
			if x, err = strconv.ParseFloat(arg, 64); err != nil || !(x > 0) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("%q: %q is not a share", name, arg)
			}
		}
		add := func(policy func(v env.Vector) (agent.Policy, error)) {
			all = append(all, Contestant{Name: name, scenario: s, policy: policy})
		}
		switch kind {
		case "constants":
			for _, l := range o.Limits {
				all = append(all, constant(s, []p4.Limit{l}, slices.Contains(s.Env.Limits, l)))
			}
		case "combinations":
			if !s.Env.PerSwitch {
				continue
			}
			plant, err := testbed.New(s.Testbed)
			if err != nil {
				return nil, err
			}
			for _, actions := range baseline.Combinations(slices.Repeat(env.MultiDiscrete{len(s.Env.Limits)}, plant.Switches())) {
				var limits []p4.Limit
				for _, a := range actions {
					limits = append(limits, s.Env.Limits[a])
				}
				all = append(all, constant(s, limits, true))
			}
		case "random", "occupancy":
			add(func(v env.Vector) (agent.Policy, error) { return baseline.New(name, v.Spec()) })
		case "wait":
			add(func(v env.Vector) (agent.Policy, error) {
				plant, err := testbed.New(s.Testbed)
				if err != nil {
					return nil, err
				}
				return baseline.NewWait(x, plant.Rates(), v.Spec())
			})
		case "codel", "pi2", "red":
			if len(o.Limits) == 0 {
				return nil, fmt.Errorf("%q: it runs at the largest constant limit, and there are no constants", name)
			}
			all = append(all, managed(s, kind, slices.Max(o.Limits)))
		case "look-ahead":
			add(func(v env.Vector) (agent.Policy, error) { return baseline.NewLookAhead(v, o.Horizon, o.Hold) })
		default:
			return nil, fmt.Errorf("unknown policy %q", name)
		}
	}
	return all, nil
}

// constant is a limit for all switches, or one for each.
func constant(s scenarios.Scenario, limits []p4.Limit, allowed bool) Contestant {
	name := "constant " + strings.Trim(fmt.Sprint(limits), "[]")
	for _, l := range limits {
		if !slices.Contains(s.Env.Limits, l) {
			if s.Env.Initial == 0 { // episodes begin as they do elsewhere
				s.Env.Initial = s.Env.Limits[len(s.Env.Limits)-1]
			}
			s.Env.Limits = append(slices.Clone(s.Env.Limits), l)
		}
	}
	return Contestant{Name: name, Allowed: allowed, scenario: s, policy: func(v env.Vector) (agent.Policy, error) {
		var f []int32
		for i := range v.Spec().Action {
			f = append(f, int32(slices.Index(s.Env.Limits, limits[i%len(limits)])))
		}
		return baseline.Constant(f...), nil
	}}
}

// managed is an active queue management at every switch, under a constant limit.
func managed(s scenarios.Scenario, aqm string, limit p4.Limit) Contestant {
	s.Testbed.Ports = slices.Clone(s.Testbed.Ports)
	if s.Testbed.Ports == nil {
		s.Testbed.Ports = testbed.DefaultPorts()
	}
	for i := range s.Testbed.Ports {
		if p := &s.Testbed.Ports[i]; p.Switch > 0 {
			p.AQM = testbed.AQM{Name: aqm}
		}
	}
	c := constant(s, []p4.Limit{limit}, false)
	c.Name = fmt.Sprintf("%s at %d", aqm, limit)
	return c
}
