package testbed

import (
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/p4"
)

var freeze = flag.Bool("freeze", false, "write testdata/frozen anew")

// frozenCases are testbeds that together do all that one can, each for so many seconds.
func frozenCases() map[string]struct {
	seconds int
	cfg     Config
} {
	type testbed = struct {
		seconds int
		cfg     Config
	}
	two := 2
	all := map[string]testbed{"busy": {25, busy()}, "default": {12, Config{WarmupS: &two}}}

	// Sessions at times of their own and drawn, which react or do not.
	recorded, fast, drawn, deaf := sessionsOf(""), sessionsOf("start"), sessionsOf("5"), sessionsOf("3")
	no := false
	fast.Speed, fast.MaxSteps, deaf.Reactive = 2, 30, &no
	sessions := bench(Port{PPS: 1500, Limit: 20}, recorded, fast, drawn, deaf)
	all["sessions"] = testbed{12, sessions}

	// Every pattern in time, every kind of arrivals.
	var loads []Load
	for i, p := range []Pattern{
		{N: 2.6}, {Kind: "sinusoid", N: 4, Amplitude: 3, PeriodS: 12, RandomStart: true}, {Kind: "flash", N: 1, Shock: 5, Decay: .5, AtS: 5}, {Kind: "step", N: 3, To: 1, AtS: 8},
		{Kind: "walk", N: 3, Min: 1, Max: 6, Amplitude: 2, EveryS: 2}, {Kind: "series", Series: []float64{1, 4, 0, 2}, EveryS: 3, RandomStart: true}, {Kind: "sessions", PerSecond: 2, StayS: 3, Max: 5},
	} {
		l := Load{Kind: "udp", PPS: 40, Pattern: p, Bytes: 200 * (1 + i)}
		switch i % 3 {
		case 1:
			l.Arrivals = "poisson"
		case 2:
			l.Arrivals, l.PPS, l.OnMS, l.OffMS, l.RandomOff = "onoff", 400, 20, 150, i > 3
		}
		l.Phase = []string{"", "a", "b"}[i%4%3]
		loads = append(loads, l)
	}
	patterns := bench(Port{PPS: 600, Limit: 12, DelayMS: 3, JitterMS: 2, Loss: .01, WakeUS: 60, WakeSigma: .4, LateUS: 200, LateSigma: .8}, loads...)
	patterns.Phases = []Phase{{Name: "a", MeanS: 4, Spread: .5}, {Name: "b", MeanS: 3, Spread: .2}}
	all["patterns"] = testbed{40, patterns}

	// Long transfers through each management of a queue, and lossy ones of either control.
	for name, q := range map[string]Port{
		"codel": {BPS: 8e6, Limit: 120, AQM: AQM{Name: "codel"}}, "pi2": {PPS: 700, Limit: 120, AQM: AQM{Name: "pi2"}},
		"red": {PPS: 700, Limit: 120, AQM: AQM{Name: "red", Weight: .02, MaxP: .2}}, "tail": {PPS: 700, Limit: 40, Service: "exponential", Loss: .004},
	} {
		all[name] = testbed{30, bench(q,
			Load{Kind: "tcp", Pattern: Pattern{N: 2}, Flow: Flow{RTTMS: [2]float64{20, 60}, JitterMS: 1}},
			Load{Kind: "tcp", Pattern: Pattern{N: 1}, Flow: Flow{CC: "reno", RTTMS: [2]float64{40, 40}}},
			Load{Kind: "tcp", Pattern: Pattern{N: 1}, Flow: Flow{NoSACK: true, RTTMS: [2]float64{90, 90}, Window: 60}},
			Load{Kind: "tcp", Pattern: Pattern{N: 2}, ObjectKB: 40, ObjectShape: 1, ThinkS: .3},
			Load{Kind: "udp", PPS: 900, Arrivals: "onoff", OnMS: 60, OffMS: 900, Pattern: Pattern{N: 1}},
		)}
	}

	// The player on a narrow wire, by each rule.
	for i, abr := range []string{"dynamic", "throughput", "bola"} {
		c := alone(4+2*float64(i), Video{ABR: abr, SizeCV: .4, NoAbandon: i == 1, SegmentS: 2, StableBufferS: 6, TopBufferS: 20})
		c.Probe = Probe{PerSecond: 9, Bytes: 400, Aggregate: []string{"", "mean", "last"}[i]}
		c.Loads = []Load{{Kind: "udp", PPS: 150, Pattern: Pattern{Kind: "step", N: 0, To: 1, AtS: 12}}, {Kind: "video", Pattern: Pattern{N: 1}, Player: Video{ABR: abr, NoAbandon: true}}}
		all[abr] = testbed{60, c}
	}
	return all
}

// Runs measure second by second what they measured before, under limits that change; what
// their ports, connections and players counted, and the memory of a run, are what they were.
func TestFrozen(t *testing.T) {
	if raceDetector {
		t.Skip("one goroutine: runs without -race")
	}
	for name, c := range frozenCases() {
		t.Run(name, func(t *testing.T) {
			p, err := c.cfg.compile()
			if err != nil {
				t.Fatal(err)
			}
			s := newSim(p, 11, limitsOf(p, 64), 1, -1)
			var shown [][]float32
			memory := map[string][][]float64{}
			for sec := range c.seconds {
				values, valid := make([]float32, len(s.columns())), make([]bool, len(s.columns()))
				s.second(values, valid)
				for i, ok := range valid {
					if !ok {
						values[i] = -1
					}
				}
				shown = append(shown, values)
				if sec%10 == 9 {
					for i := range s.ports {
						remember(memory, "ports", s.ports[i].portState)
					}
					for i := range s.flows {
						if s.flows[i].state.count != (flowCount{}) {
							remember(memory, "flows", s.flows[i].state)
						}
					}
					for i := range s.players {
						remember(memory, "players", s.players[i])
					}
					for i := range s.groups {
						remember(memory, "groups", s.groups[i])
					}
				}
				if sec%5 == 4 {
					var limits []p4.Limit
					for n := range p.switches {
						limits = append(limits, p4.Limit([]int{64, 9, 24, 128}[(sec/5+n)%4]))
					}
					s.setLimits(limits)
				}
			}
			var counts []string
			for i := range s.ports {
				counts = append(counts, fmt.Sprintf("port %d: %+v", i, s.ports[i].count))
			}
			for i := range s.flows {
				if n := s.flows[i].state.count; n != (flowCount{}) {
					counts = append(counts, fmt.Sprintf("flow %d: %+v", i, n))
				}
			}
			for i := range s.players {
				counts = append(counts, fmt.Sprintf("player %d: %+v", i, s.players[i].total))
			}
			for i := range s.groups {
				counts = append(counts, fmt.Sprintf("group %d: %d on, %d blocked", i, s.groups[i].active, s.groups[i].blocked))
			}
			testkit.Frozen(t, filepath.Join("testdata", "frozen", name+".json"), map[string]any{"shown": shown, "counts": counts, "memory": memory}, 1e-6, *freeze)
		})
	}
}

// remember adds to memory sums over the logarithms of all numbers in x: two that agree in them
// agree, but for the last digits.
func remember(memory map[string][][]float64, of string, x any) {
	sums := make([]float64, 3)
	n := 0
	var add func(v reflect.Value)
	add = func(v reflect.Value) {
		var number float64
		switch k := v.Kind(); {
		case k == reflect.Struct:
			for i := range v.NumField() {
				add(v.Field(i))
			}
			return
		case k == reflect.Slice || k == reflect.Array:
			for i := range v.Len() {
				add(v.Index(i))
			}
			return
		case v.CanInt():
			number = float64(v.Int())
		case v.CanUint():
			number = float64(v.Uint())
		case v.CanFloat():
			number = min(max(v.Float(), -1e300), 1e300)
		case k == reflect.Bool && v.Bool():
			number = 1
		}
		n++
		for j := range sums {
			sums[j] += math.Copysign(math.Log1p(math.Abs(number)), number) * math.Sin(float64(n*(j+1)))
		}
	}
	add(reflect.ValueOf(x))
	memory[of] = append(memory[of], sums)
}
