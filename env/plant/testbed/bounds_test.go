package testbed

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

// Both sides of every range of a configuration: its ends are accepted, what lies just
// outside is refused and named by its key.
func TestRangesBothSides(t *testing.T) {
	up := func(x float64) float64 { return math.Nextafter(x, math.Inf(1)) }
	down := func(x float64) float64 { return math.Nextafter(x, math.Inf(-1)) }
	line := func(f func(p *Port)) Config {
		p := Port{Name: "s1", Switch: 1, PPS: 1000}
		f(&p)
		return Config{Ports: []Port{p}, Video: Video{Flow: Flow{Path: []string{"s1"}, Back: []string{"-"}, RTTMS: [2]float64{6e4, 6e4}}}, Loads: []Load{}}
	}
	side := func(f func(p *Port)) Config { // a port that no path meets
		p := Port{Name: "x", Limit: 5, PPS: 1000}
		f(&p)
		c := line(func(*Port) {})
		c.Ports = append(c.Ports, p)
		return c
	}
	video := func(f func(v *Video)) Config {
		c := line(func(*Port) {})
		f(&c.Video)
		return c
	}
	load := func(l Load, f func(l *Load)) Config {
		f(&l)
		return Config{Loads: []Load{l}}
	}
	tcp, udp := Load{Kind: "tcp"}, Load{Kind: "udp", PPS: 100}
	pattern := func(p Pattern, f func(p *Pattern)) Config {
		f(&p)
		return Config{Loads: []Load{{Kind: "udp", PPS: 10, Pattern: p}}}
	}
	none := math.Inf(1)
	for _, k := range []struct {
		key    string
		lo, hi float64 // none: another key's check sets that end
		whole  bool
		set    func(x float64) Config
	}{
		{"horizon_s", 0, 1e5, true, func(x float64) Config { return Config{HorizonS: int(x)} }},
		{"warmup_s", 0, 1e5, true, func(x float64) Config { n := int(x); return Config{WarmupS: &n} }},
		{"min_rto_ms", 1, 60e3, false, func(x float64) Config { return Config{MinRTOMS: x} }},
		{"port[1].pps", 1e-3, 1e9, false, func(x float64) Config { return side(func(p *Port) { p.PPS = x }) }},
		{"port[1].bps", 1, 1e15, false, func(x float64) Config { return side(func(p *Port) { p.PPS, p.BPS = 0, x }) }},
		{"port[1].delay_ms", 0, 6e4, false, func(x float64) Config { return side(func(p *Port) { p.DelayMS = x }) }},
		{"port[1].jitter_ms", 0, 6e4, false, func(x float64) Config { return side(func(p *Port) { p.JitterMS = x }) }},
		{"port[1].loss", 0, 1, false, func(x float64) Config { return side(func(p *Port) { p.Loss = x }) }},
		{"port[1].wake_us", 0, 1e6, false, func(x float64) Config { return side(func(p *Port) { p.WakeUS = x }) }},
		{"port[1].wake_sigma", 0, 3, false, func(x float64) Config { return side(func(p *Port) { p.WakeSigma = x }) }},
		{"port[1].late_us", 0, 1e6, false, func(x float64) Config { return side(func(p *Port) { p.LateUS = x }) }},
		{"port[1].late_sigma", 0, 3, false, func(x float64) Config { return side(func(p *Port) { p.LateSigma = x }) }},
		{"port[1].aqm.target_ms", 1e-3, 6e4, false, func(x float64) Config { return side(func(p *Port) { p.AQM = AQM{Name: "codel", TargetMS: x} }) }},
		{"port[1].aqm.interval_ms", 1e-3, 6e4, false, func(x float64) Config { return side(func(p *Port) { p.AQM = AQM{Name: "codel", IntervalMS: x} }) }},
		{"port[1].aqm.low", 0, none, false, func(x float64) Config { return side(func(p *Port) { p.AQM = AQM{Name: "red", Low: x, High: 1e6} }) }},
		{"port[1].aqm.high", up(7), 1e6, false, func(x float64) Config { return side(func(p *Port) { p.AQM = AQM{Name: "red", Low: 7, High: x} }) }},
		{"port[1].aqm.max_p", 1e-9, 1, false, func(x float64) Config { return side(func(p *Port) { p.AQM = AQM{Name: "red", MaxP: x} }) }},
		{"port[1].aqm.weight", 1e-9, 1, false, func(x float64) Config { return side(func(p *Port) { p.AQM = AQM{Name: "red", Weight: x} }) }},
		{"video.rtt_ms[0]", 0, none, false, func(x float64) Config { return video(func(v *Video) { v.RTTMS = [2]float64{x, max(x, 5)} }) }},
		{"video.rtt_ms[1]", 5, 6e4, false, func(x float64) Config { return video(func(v *Video) { v.RTTMS = [2]float64{5, x} }) }},
		{"video.jitter_ms", 0, 6e4, false, func(x float64) Config { return video(func(v *Video) { v.JitterMS = x }) }},
		{"video.window", 2, 65536, true, func(x float64) Config { return video(func(v *Video) { v.Window = int(x) }) }},
		{"video.ladder[0].kbps", 1, 1e6, false, func(x float64) Config { return video(func(v *Video) { v.Ladder = []Level{{Kbps: x, FPS: 5}} }) }},
		{"video.ladder[1].kbps", up(700), 1e6, false, func(x float64) Config {
			return video(func(v *Video) { v.Ladder = []Level{{Kbps: 700, FPS: 5}, {Kbps: x, FPS: 5}} })
		}},
		{"video.ladder[0].fps", 1, 1000, true, func(x float64) Config { return video(func(v *Video) { v.Ladder = []Level{{Kbps: 9, FPS: int(x)}} }) }},
		{"video.segment_s", .1, 60, false, func(x float64) Config {
			return video(func(v *Video) { v.SegmentS, v.StableBufferS, v.TopBufferS = x, 10*x, 20*x })
		}},
		{"video.stable_buffer_s", 4, 100, false, func(x float64) Config { return video(func(v *Video) { v.StableBufferS, v.TopBufferS = x, 112 }) }},
		{"video.top_buffer_s", 12, 112, false, func(x float64) Config { return video(func(v *Video) { v.TopBufferS = x }) }},
		{"video.size_cv", 0, 2, false, func(x float64) Config { return video(func(v *Video) { v.SizeCV = x }) }},
		{"video.decoded_scale", 0, 1e3, false, func(x float64) Config { return video(func(v *Video) { v.DecodedScale = x }) }},
		{"probe.per_second", .01, 1e5, false, func(x float64) Config { return Config{Probe: Probe{PerSecond: x}} }},
		{"probe.bytes", 64, 9000, true, func(x float64) Config { return Config{Probe: Probe{Bytes: int(x)}} }},
		{"phase[0].mean_s", 1, 1e5, false, func(x float64) Config { return Config{Phases: []Phase{{Name: "a", MeanS: x}}} }},
		{"phase[0].spread", 0, .99, false, func(x float64) Config { return Config{Phases: []Phase{{Name: "a", MeanS: 5, Spread: x}}} }},
		{"load[0].object_kb", 0, 1e9, false, func(x float64) Config { return load(tcp, func(l *Load) { l.ObjectKB = x }) }},
		{"load[0].object_shape", 1, 10, false, func(x float64) Config { return load(tcp, func(l *Load) { l.ObjectShape = x }) }},
		{"load[0].think_s", 0, 1e5, false, func(x float64) Config { return load(tcp, func(l *Load) { l.ThinkS = x }) }},
		{"load[0].pps", 1e-3, 1e9, false, func(x float64) Config { return load(udp, func(l *Load) { l.PPS = x }) }},
		{"load[0].bytes", 64, 9000, true, func(x float64) Config { return load(udp, func(l *Load) { l.Bytes = int(x) }) }},
		{"load[0].on_ms", 5, 1e7, false, func(x float64) Config { return load(udp, func(l *Load) { l.Arrivals, l.OnMS = "onoff", x }) }},
		{"load[0].off_ms", 0, 1e7, false, func(x float64) Config {
			return load(udp, func(l *Load) { l.Arrivals, l.OnMS, l.OffMS = "onoff", 50, x })
		}},
		{"load[0].pattern.n", 0, none, false, func(x float64) Config { return pattern(Pattern{}, func(p *Pattern) { p.N = x }) }},
		{"load[0].pattern.every_s", 1, 1e5, false, func(x float64) Config { return pattern(Pattern{}, func(p *Pattern) { p.EveryS = x }) }},
		{"load[0].pattern.amplitude", -3, 3, false, func(x float64) Config {
			return pattern(Pattern{Kind: "sinusoid", N: 3, PeriodS: 9}, func(p *Pattern) { p.Amplitude = x })
		}},
		{"load[0].pattern.period_s", 1, 1e6, false, func(x float64) Config { return pattern(Pattern{Kind: "sinusoid"}, func(p *Pattern) { p.PeriodS = x }) }},
		{"load[0].pattern.shock", 1, 1e3, false, func(x float64) Config {
			return pattern(Pattern{Kind: "flash", N: 1, Decay: 1}, func(p *Pattern) { p.Shock = x })
		}},
		{"load[0].pattern.decay", 1e-3, 1e3, false, func(x float64) Config {
			return pattern(Pattern{Kind: "flash", N: 1, Shock: 1}, func(p *Pattern) { p.Decay = x })
		}},
		{"load[0].pattern.at_s", 0, 1e6, false, func(x float64) Config {
			return pattern(Pattern{Kind: "flash", N: 1, Shock: 1, Decay: 1}, func(p *Pattern) { p.AtS = x })
		}},
		{"load[0].pattern.at_s", 0, 1e6, false, func(x float64) Config { return pattern(Pattern{Kind: "step"}, func(p *Pattern) { p.AtS = x }) }},
		{"load[0].pattern.to", 0, none, false, func(x float64) Config { return pattern(Pattern{Kind: "step"}, func(p *Pattern) { p.To = x }) }},
		{"load[0].pattern.n", 2, 5, false, func(x float64) Config {
			return pattern(Pattern{Kind: "walk", Min: 2, Max: 5}, func(p *Pattern) { p.N = x })
		}},
		{"load[0].pattern.min", 0, none, false, func(x float64) Config {
			return pattern(Pattern{Kind: "walk", N: 3, Max: 5}, func(p *Pattern) { p.Min = x })
		}},
		{"load[0].pattern.amplitude", 0, 8000, false, func(x float64) Config {
			return pattern(Pattern{Kind: "walk", Max: 5}, func(p *Pattern) { p.Amplitude = x })
		}},
		{"load[0].pattern.series[1]", 0, none, false, func(x float64) Config {
			return pattern(Pattern{Kind: "series"}, func(p *Pattern) { p.Series = []float64{1, x} })
		}},
		{"load[0].pattern.per_second", 1e-6, 1e3, false, func(x float64) Config {
			return pattern(Pattern{Kind: "sessions", StayS: 1, Max: 5}, func(p *Pattern) { p.PerSecond = x })
		}},
		{"load[0].pattern.stay_s", 1e-3, 1e6, false, func(x float64) Config {
			return pattern(Pattern{Kind: "sessions", PerSecond: 1, Max: 5}, func(p *Pattern) { p.StayS = x })
		}},
		{"load[0].pattern.max", 1, none, true, func(x float64) Config {
			return pattern(Pattern{Kind: "sessions", PerSecond: 1, StayS: 1}, func(p *Pattern) { p.Max = x })
		}},
	} {
		below, above := down(k.lo), up(k.hi)
		if k.whole {
			below, above = k.lo-1, k.hi+1
		}
		for _, x := range []float64{k.lo, k.hi} {
			if err := k.set(x).Check(); err != nil && x != none {
				t.Errorf("%s: %v is refused: %v", k.key, x, err)
			}
		}
		for _, x := range []float64{below, above} {
			if err := k.set(x).Check(); x != 0 && x != none && (err == nil || !strings.HasPrefix(err.Error(), "testbed: "+k.key+": ")) { // 0 is the default
				t.Errorf("%s: %v gives %v", k.key, x, err)
			}
		}
	}
	// As many sessions at once as there may be, and one more, of each kind of pattern.
	for key, set := range map[string]func(n float64) Pattern{
		"n": func(n float64) Pattern { return Pattern{N: n} }, "to": func(n float64) Pattern { return Pattern{Kind: "step", To: n} },
		"series[1]": func(n float64) Pattern { return Pattern{Kind: "series", Series: []float64{1, n}} },
		"max":       func(n float64) Pattern { return Pattern{Kind: "sessions", PerSecond: 1, StayS: 1, Max: n} },
	} {
		for n, want := range map[float64]string{7999: "", 8000: "load: 8001 sessions at once are more than 8000", 8001: "load[0].pattern." + key + ": 8001 is outside "} {
			err := (Config{Loads: []Load{{Kind: "udp", PPS: 10, Pattern: set(n)}}}).Check()
			if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), "testbed: "+want) {
				t.Errorf("%s: %v sessions: %v, want %q", key, n, err, want)
			}
		}
	}
}

// A configuration's zero values are the defaults of its comments.
func TestDefaultsByHand(t *testing.T) {
	c := Config{
		Ports: []Port{{Name: "s1", Switch: 1, PPS: 1000, AQM: AQM{Name: "pi2"}}, {Name: "x", Limit: 5, BPS: 1e6, AQM: AQM{Name: "codel"}}},
		Video: Video{Flow: Flow{Path: []string{"s1"}}}, Phases: []Phase{{Name: "a", MeanS: 4}},
		Loads: []Load{{Kind: "tcp"}, {Kind: "udp", PPS: 5}, {Kind: "video"}},
	}
	p, err := c.compile()
	if err != nil {
		t.Fatal(err)
	}
	flow := `"Path":["s1"],"Back":["-"],"RTTMS":[10,10],"JitterMS":0,"CC":"cubic","NoSACK":false,"Window":512`
	aqm := func(name string, target int) string {
		return fmt.Sprintf(`{"Name":%q,"TargetMS":%d,"IntervalMS":100,"Low":5,"High":15,"MaxP":0.1,"Weight":0.002}`, name, target)
	}
	for what, k := range map[string]struct {
		is   any
		want string
	}{
		"warm-up":     {p.cfg.WarmupS, "30"},
		"timeout":     {p.cfg.MinRTOMS, "200"},
		"pi2":         {p.cfg.Ports[0].AQM, aqm("pi2", 15)},
		"codel":       {p.cfg.Ports[1].AQM, aqm("codel", 5)},
		"probes":      {p.cfg.Probe, `{"PerSecond":6.2,"Bytes":138,"Aggregate":""}`},
		"connections": {p.cfg.Loads[0].Flow, "{" + flow + "}"},
		"datagrams":   {p.cfg.Loads[1].Bytes, "1500"},
		"a player": {p.cfg.Video, "{" + flow + `,"Ladder":[{"Kbps":639,"FPS":18,"Width":426,"Height":240},{"Kbps":1867,"FPS":24,"Width":854,"Height":480},{"Kbps":3312,"FPS":30,"Width":1280,"Height":720}],` +
			`"ABR":"dynamic","SegmentS":4,"StableBufferS":12,"TopBufferS":60,"SizeCV":0,"NoAbandon":false,"DecodedScale":1.57}`},
		"ports": {DefaultPorts(), `[{"Name":"s1","Switch":1,"PPS":2500},{"Name":"s2","Switch":2,"PPS":6000},{"Name":"s3","Switch":3,"PPS":6000},{"Name":"r1","PPS":2500,"Limit":64},{"Name":"r2","PPS":6000,"Limit":64},{"Name":"r3","PPS":6000,"Limit":64}]`},
	} {
		if what == "ports" {
			for i, q := range k.is.([]Port) {
				if q.DelayMS != .5 || (q.Switch > 0) != (q.WakeUS == 55 && q.WakeSigma == .33) || q.Name != []string{"s1", "s2", "s3", "r1", "r2", "r3"}[i] || q.PPS != []float64{2500, 6000, 6000}[i%3] || q.Switch != []int{1, 2, 3, 0, 0, 0}[i] || q.Switch == 0 && q.Limit != 64 {
					t.Errorf("default port %d: %+v", i, q)
				}
			}
			continue
		}
		if text, err := json.Marshal(k.is); err != nil || string(text) != k.want {
			t.Errorf("%s: %s, want %s", what, text, k.want)
		}
	}
	l := DefaultLoads()[0]
	if l.ObjectKB != 500 || l.ObjectShape != 1.5 || l.ThinkS != 2 || l.RTTMS != [2]float64{8, 20} || l.Pattern.N != 6 || l.Pattern.Amplitude != 3 || l.Pattern.PeriodS != 300 || !l.Pattern.RandomStart {
		t.Errorf("default load: %+v", l)
	}
	if c := (Config{}); c.Warmup() != 30 {
		t.Errorf("warm-up %v", c.Warmup())
	}
}

// What a second of it costs, at most: what the ports serve, what the loads offer, probes.
func TestPacketsPerSecondByHand(t *testing.T) {
	c := Config{Ports: []Port{{PPS: 1000}, {BPS: 8 * segmentBytes * 50}, {PPS: 30, BPS: 8 * segmentBytes * 50}}, Probe: Probe{PerSecond: 2},
		Loads: []Load{{Kind: "udp", PPS: 7, Pattern: Pattern{N: 3}}, {Kind: "tcp", PPS: 1e6}}}
	if got := c.PacketsPerSecond(); got != 1000+50+30+2+21 {
		t.Errorf("%v packets/s, want 1103", got)
	}
	if got := (Config{}).PacketsPerSecond(); got != 2*(2500+6000+6000) {
		t.Errorf("the default: %v packets/s", got)
	}
}
