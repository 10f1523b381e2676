package testbed

import (
	"math"
	"strings"
	"testing"
)

// Whatever is wrong is named by its key.
func TestConfigErrorsNameTheKey(t *testing.T) {
	port := Port{Name: "s1", Switch: 1, PPS: 100}
	line := func(p Port) Config {
		return Config{Ports: []Port{p}, Video: Video{Flow: Flow{Path: []string{"s1"}, Back: []string{"-"}}}, Loads: []Load{}}
	}
	load := func(l Load) Config { return Config{Loads: []Load{l}} }
	pattern := func(p Pattern) Config {
		return Config{HorizonS: 100, Loads: []Load{{Kind: "tcp", Pattern: p}}}
	}
	with := func(f func(p *Port)) Config { p := port; f(&p); return line(p) }
	for _, c := range []struct {
		want string
		cfg  Config
	}{
		{"horizon_s: -1", Config{HorizonS: -1}},
		{"min_rto_ms", Config{MinRTOMS: -3}},
		{"port: switches are numbered", line(Port{Name: "s1", PPS: 100, Limit: 5})},
		{"port[0].name", with(func(p *Port) { p.Name = "" })},
		{"port[0].name", with(func(p *Port) { p.Name = "-" })},
		{"port[1].name", Config{Ports: []Port{port, port}}},
		{"port[0].pps: a port without a rate", with(func(p *Port) { p.PPS = 0 })},
		{"port[0].pps", with(func(p *Port) { p.PPS = -5 })},
		{"port[0].pps: NaN", with(func(p *Port) { p.PPS = math.NaN() })},
		{"port[0].bps", with(func(p *Port) { p.BPS = math.Inf(1) })},
		{"port[0].pps", with(func(p *Port) { p.PPS, p.BPS, p.Service = 0, 1e6, "exponential" })},
		{"port[0].service", with(func(p *Port) { p.Service = "fluid" })},
		{"port[0].limit: 7: the action sets", with(func(p *Port) { p.Limit = 7 })},
		{"port[1].limit", Config{Ports: []Port{port, {Name: "r", PPS: 5}}}},
		{"port[1].limit", Config{Ports: []Port{port, {Name: "r", PPS: 5, Limit: -2}}}},
		{"port[0].delay_ms", with(func(p *Port) { p.DelayMS = -1 })},
		{"port[0].late_us", with(func(p *Port) { p.LateUS = -1 })},
		{"port[0].late_us: 5: codel", with(func(p *Port) { p.LateUS, p.AQM.Name = 5, "codel" })},
		{"port[0].jitter_ms", with(func(p *Port) { p.JitterMS = 1e9 })},
		{"port[0].loss", with(func(p *Port) { p.Loss = 1.5 })},
		{"port[0].aqm.name", with(func(p *Port) { p.AQM.Name = "fq" })},
		{"port[0].aqm.target_ms", with(func(p *Port) { p.AQM = AQM{Name: "codel", TargetMS: -1} })},
		{"port[0].aqm.high", with(func(p *Port) { p.AQM = AQM{Name: "red", Low: 20, High: 10} })},
		{`video.path: there is no port "x"`, Config{Video: Video{Flow: Flow{Path: []string{"x"}}}}},
		{"video.path: passes", Config{Video: Video{Flow: Flow{Path: []string{"s1", "s1"}}}}},
		{"video.path: [s1 s2] passes no port of switch 3", Config{Video: Video{Flow: Flow{Path: []string{"s1", "s2"}}}}},
		{"video.path: data passes one port", Config{Video: Video{Flow: Flow{Path: []string{"-"}}}}},
		{"video.rtt_ms[0]", Config{Video: Video{Flow: Flow{RTTMS: [2]float64{1, 5}}}}},
		{"video.rtt_ms[1]", Config{Video: Video{Flow: Flow{RTTMS: [2]float64{20, 15}}}}},
		{"video.cc", Config{Video: Video{Flow: Flow{CC: "bbr"}}}},
		{"video.window", Config{Video: Video{Flow: Flow{Window: 1}}}},
		{"video.abr", Config{Video: Video{ABR: "best"}}},
		{"video.ladder", Config{Video: Video{Ladder: []Level{}}}},
		{"video.ladder[1].kbps", Config{Video: Video{Ladder: []Level{{500, 18, 1, 1}, {400, 24, 1, 1}}}}},
		{"video.segment_s", Config{Video: Video{SegmentS: -4}}},
		{"video.top_buffer_s", Config{Video: Video{StableBufferS: 12, TopBufferS: 6}}},
		{"probe.per_second", Config{Probe: Probe{PerSecond: -1}}},
		{"probe.aggregate", Config{Probe: Probe{Aggregate: "median"}}},
		{"phase[0].name", Config{Phases: []Phase{{MeanS: 5}}}},
		{"phase[0].mean_s", Config{Phases: []Phase{{Name: "a"}}}},
		{"load[0].kind: is missing", load(Load{})},
		{"load[0].kind", load(Load{Kind: "icmp"})},
		{`load[0].phase: there is no phase "a"`, load(Load{Kind: "tcp", Phase: "a"})},
		{"load[0].object_shape", load(Load{Kind: "tcp", ObjectShape: .5})},
		{"load[0].think_s", load(Load{Kind: "tcp", ThinkS: -1})},
		{"load[0].pps", load(Load{Kind: "udp"})},
		{"load[0].arrivals", load(Load{Kind: "udp", PPS: 5, Arrivals: "burst"})},
		{"load[0].on_ms", load(Load{Kind: "udp", PPS: 5, Arrivals: "onoff"})},
		{"load[0].player", load(Load{Kind: "video", Player: Video{Flow: Flow{CC: "reno"}}})},
		{"load: 9001 sessions at once", Config{Loads: []Load{{Kind: "tcp", Pattern: Pattern{N: 4500}}, {Kind: "tcp", Pattern: Pattern{N: 4500}}}}},
		{"load[0].pattern.n", pattern(Pattern{N: -1})},
		{"load[0].pattern.kind", pattern(Pattern{Kind: "chaos"})},
		{"load[0].pattern.amplitude", pattern(Pattern{Kind: "sinusoid", N: 2, Amplitude: 3, PeriodS: 60})},
		{"load[0].pattern.period_s", pattern(Pattern{Kind: "sinusoid", N: 2})},
		{"load[0].pattern.shock", pattern(Pattern{Kind: "flash", N: 2})},
		{"load[0].pattern.at_s: 400 s is past the horizon", pattern(Pattern{Kind: "flash", N: 2, Shock: 2, Decay: 1, AtS: 400})},
		{"load[0].pattern.at_s: 130 s is past the horizon", pattern(Pattern{Kind: "step", N: 2, AtS: 130})},
		{"load[0].pattern.max", pattern(Pattern{Kind: "walk", N: 2, Min: 3, Max: 1})},
		{"load[0].pattern.series: is empty", pattern(Pattern{Kind: "series"})},
		{"load[0].pattern.series[1]", pattern(Pattern{Kind: "series", Series: []float64{1, -1}})},
		{"load[0].pattern.series: its last value begins at 200 s, past the horizon", pattern(Pattern{Kind: "series", Series: []float64{1, 2, 3}, EveryS: 100})},
		{"load[0].pattern.per_second", pattern(Pattern{Kind: "sessions"})},
	} {
		if err := c.cfg.Check(); err == nil || !strings.Contains(err.Error(), "testbed: "+c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
	if err := (Config{}).Check(); err != nil {
		t.Errorf("the default: %v", err)
	}
	if err := busy().Check(); err != nil {
		t.Errorf("busy: %v", err)
	}
}
