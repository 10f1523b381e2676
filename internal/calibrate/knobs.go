package calibrate

import (
	"math"
	"slices"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/internal/rng"
)

// knob is a parameter that is searched.
type knob struct {
	name      string
	low, high float64
	at        func(*testbed.Config) []*float64
}

func pps(port int) func(*testbed.Config) []*float64 {
	return func(c *testbed.Config) []*float64 {
		if port >= len(c.Ports) || c.Ports[port].PPS == 0 {
			return nil
		}
		return []*float64{&c.Ports[port].PPS}
	}
}

// knobs are searched on a logarithmic scale.
var knobs = []knob{
	{"port[0].pps", 1000, 8000, pps(0)},
	{"port[1].pps", 2000, 40000, pps(1)},
	{"port[2].pps", 2000, 40000, pps(2)},
	{"load[0].pattern.n", 1, 20, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].Pattern.N} }},
	{"load[0].pattern.amplitude", .1, 20, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].Pattern.Amplitude} }},
	{"load[0].object_kb", 5, 5000, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].ObjectKB} }},
	{"load[0].think_s", .05, 30, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].ThinkS} }},
	{"load[0].rtt_ms[1]", 10, 300, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].RTTMS[1]} }},
	{"port[0].late_us", 20, 5000, func(c *testbed.Config) []*float64 { return []*float64{&c.Ports[0].LateUS} }},
	{"port[0].late_sigma", .1, 2, func(c *testbed.Config) []*float64 { return []*float64{&c.Ports[0].LateSigma} }},
	{"load[1].pps", 100, 5000, func(c *testbed.Config) []*float64 {
		if len(c.Loads) < 2 || c.Loads[1].Kind != "udp" {
			return nil
		}
		return []*float64{&c.Loads[1].PPS}
	}},
	{"port.wake_us", 10, 200, func(c *testbed.Config) (x []*float64) { return wake(c, false) }},
	{"port.wake_sigma", .05, 1, func(c *testbed.Config) (x []*float64) { return wake(c, true) }},
}

func wake(c *testbed.Config, sigma bool) (x []*float64) {
	for i := range c.Ports {
		if p := &c.Ports[i]; p.Switch > 0 && sigma {
			x = append(x, &p.WakeSigma)
		} else if p.Switch > 0 {
			x = append(x, &p.WakeUS)
		}
	}
	return x
}

// vary changes one to three knobs of a configuration.
func (s *Search) vary(cfg testbed.Config, try int, width float64) testbed.Config {
	cfg.Ports, cfg.Loads = slices.Clone(cfg.Ports), slices.Clone(cfg.Loads)
	k := rng.Key{Seed: s.Seed, A: uint32(try), Purpose: rng.Action}
	for i := range 1 + k.Intn(0, 3) {
		knob := knobs[k.Intn(uint32(1+i), len(knobs))]
		n, _ := k.Normal(uint32(10 + i))
		for _, x := range knob.at(&cfg) {
			*x = min(max(max(*x, knob.low)*math.Exp(width*n), knob.low), knob.high)
		}
	}
	p := &cfg.Loads[0].Pattern
	p.Amplitude = min(p.Amplitude, p.N)
	return cfg
}
