package queues_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// tape is a plant that plays windows of seconds written down: row by row the
// values of its columns, NaN where one was not measured and repeats the last.
type tape struct {
	switches int
	columns  []string
	windows  [][][]float32 // [windows][seconds][columns]
	ends     map[int]telemetry.End
	at       int
	seeds    []uint64
	limits   []p4.Limit
	fail     error
	closed   int
	realtime bool
}

const gap = -1e9 // not measured: the value before it holds

func (p *tape) Switches() int { return p.switches }
func (p *tape) Close() error  { p.closed++; return nil }
func (p *tape) RealTime() bool {
	return p.realtime
}
func (p *tape) Columns() []telemetry.Field {
	var f []telemetry.Field
	for _, n := range p.columns {
		f = append(f, telemetry.Field{Name: n, Unit: "u"})
	}
	return f
}
func (p *tape) Reset(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error {
	p.seeds, p.at = append(p.seeds, seeds...), 0
	return p.Advance(ctx, rows, limit, out)
}
func (p *tape) Advance(_ context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	if p.fail != nil {
		return p.fail
	}
	p.limits = slices.Clone(limit)
	last := make([]float32, out.Fields)
	for i := range rows {
		values, valid := out.Row(i)
		for t, row := range p.windows[min(p.at, len(p.windows)-1)] {
			for f, x := range row {
				if valid[t*out.Fields+f] = x != gap; x != gap {
					last[f] = x
				}
				values[t*out.Fields+f] = last[f]
			}
		}
		out.End[i], out.Reason[i] = p.ends[p.at], ""
	}
	p.at++
	return nil
}

var oneSwitch = []string{"deq_qdepth1", "enq_qdepth1", "rep_kbps", "deq_timedelta1", "lbo_s", "fps"}

func begin(t *testing.T, cfg queues.Config, p env.Plant, s queues.Normaliser) (env.Vector, *env.Batch) {
	t.Helper()
	v, err := queues.New(cfg, p, 1, s)
	if err != nil {
		t.Fatal(err)
	}
	var b env.Batch
	if err := v.Reset(context.Background(), nil, []uint64{7}, &b); err != nil {
		t.Fatal(err)
	}
	return v, &b
}

func step(t *testing.T, v env.Vector, b *env.Batch, actions ...int32) {
	t.Helper()
	if err := v.Step(context.Background(), nil, actions, b); err != nil {
		t.Fatal(err)
	}
}

// tenth scales column c by 1/(10·(c+1)).
type tenth struct{}

func (tenth) Scale(c int, x float32) float32 { return x / float32(10*(c+1)) }

func near(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) <= 1e-5*max(1, math.Abs(float64(y))) })
}

// What is observed of four seconds, of which some were not measured: of depth and
// delay the largest, mean and 95th percentile of measured seconds, or of all where
// none was; the player at the end; the age of what the switch said.
func TestObservationsByHand(t *testing.T) {
	p := &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{
		// deq, enq, kbps, delay, lbo, fps
		{{1, 10, 639, 100, 5, 18}, {2, 20, 639, 300, 6, 24}, {3, 30, 639, 200, 7, 24}, {4, 40, 639, 400, 8, 24}},
		{{5, 50, 639, 500, 9, 24}, {gap, gap, 639, gap, 9, 24}, {gap, gap, 639, gap, 9, 24}, {6, 7, 639, 100, 10, 30}},
		{{gap, gap, 639, gap, 9, 30}, {gap, gap, 639, gap, 9, 30}, {gap, gap, 639, gap, 9, 30}, {gap, gap, 639, gap, 12, 18}},
		{{gap, gap, 639, gap, 9, 30}, {9, 9, 639, 900, 9, 30}, {gap, gap, 639, gap, 9, 30}, {gap, gap, 639, gap, 40, 20}},
	}}
	state := [][]float32{ // depth max, mean, p95; delay; lbo, level, action, age
		{40, 25, 38.5, 400, 250, 385, 8, 1, 2, 0},
		{50, 28.5, 47.85, 500, 300, 480, 10, 2, 0, 0},
		{0, 0, 0, 0, 0, 0, 12, 0, 1, 4}, // the plant's last values: none in this window
		{9, 9, 9, 900, 900, 900, 40, 0, 2, 2},
	}
	actions := []int32{0, 1, 2}
	cfg := queues.Config{Limits: []p4.Limit{16, 32, 64}, Observation: queues.Observation{Normalise: "none"}}
	v, b := begin(t, cfg, p, nil)
	for i := range state {
		if i > 0 {
			step(t, v, b, actions[i-1])
		}
		if !near(b.Obs, state[i]) {
			t.Errorf("state, window %d: %v, want %v", i, b.Obs, state[i])
		}
	}
	var names []string
	spec := v.Spec()
	for i, e := range spec.Observation.Elements {
		names = append(names, fmt.Sprint(e.Name, " ", e.Unit, " ", spec.Observation.Low[i], " ", spec.Observation.High[i]))
	}
	if got := strings.Join(names, ", "); got != "enq_qdepth1_max u -Inf +Inf, enq_qdepth1_mean u -Inf +Inf, enq_qdepth1_p95 u -Inf +Inf, deq_timedelta1_max u -Inf +Inf, "+
		"deq_timedelta1_mean u -Inf +Inf, deq_timedelta1_p95 u -Inf +Inf, lbo_s u -Inf +Inf, level  0 2, action1  0 2, int_age s 0 60" {
		t.Error(got)
	}

	cfg.Observation = queues.Observation{Name: "tutorial", Normalise: "none"}
	v, b = begin(t, cfg, p, nil)
	for i, want := range [][]float32{{40, 400, 4}, {7, 100, 6}} {
		if i > 0 {
			step(t, v, b, 0)
		}
		if !near(b.Obs, want) {
			t.Errorf("tutorial, window %d: %v, want %v", i, b.Obs, want)
		}
	}
	cfg.Observation.Normalise = "l2"
	_, b = begin(t, cfg, p, nil)
	norm := float32(math.Sqrt(40*40 + 400*400 + 4*4))
	if want := []float32{40 / norm, 400 / norm, 4 / norm}; !near(b.Obs, want) {
		t.Errorf("l2: %v, want %v", b.Obs, want)
	}

	cfg.Observation = queues.Observation{Name: "window", Normalise: "none"}
	v, b = begin(t, cfg, p, nil)
	step(t, v, b, 1)
	want := []float32{
		5, 50, 639, 500, 9, 24, 5, 50, 639, 500, 9, 24, 5, 50, 639, 500, 9, 24, 6, 7, 639, 100, 10, 30,
		1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1,
		1,
	}
	if !near(b.Obs, want) {
		t.Errorf("window: %v, want %v", b.Obs, want)
	}
	spec = v.Spec()
	if e := spec.Observation.Elements; len(e) != 49 || e[7].Name != "enq_qdepth1[1]" || e[24].Name != "deq_qdepth1_valid[0]" || e[47].Name != "fps_valid[3]" || e[48].Name != "action1" ||
		spec.Observation.High[24] != 1 || spec.Observation.High[48] != 2 || spec.Observation.Low[24] != 0 {
		t.Errorf("%v", e)
	}

	// Scaled into [0, 1], the clocks over their largest values.
	cfg.Observation = queues.Observation{}
	v, b = begin(t, cfg, p, tenth{})
	if want := []float32{1, 1, 1, 1, 1, 1, 8. / 50, .5, 1, 0}; !near(b.Obs, want) {
		t.Errorf("fit: %v, want %v", b.Obs, want)
	}
	step(t, v, b, 0)
	step(t, v, b, 1)
	if want := []float32{0, 0, 0, 0, 0, 0, 12. / 50, 0, .5, 4. / 60}; !near(b.Obs, want) {
		t.Errorf("fit: %v, want %v", b.Obs, want)
	}
	if s := v.Spec().Observation; s.Low[0] != 0 || s.High[0] != 1 || s.Elements[0].Unit != "" {
		t.Errorf("%+v", s)
	}
	cfg.Observation = queues.Observation{Normalise: "l2"}
	v, _ = begin(t, cfg, p, nil)
	if s := v.Spec().Observation; s.Low[0] != -1 || s.High[0] != 1 {
		t.Errorf("%+v", s)
	}
}

// The age of what switches said grows by the second to a minute, and falls to 0
// when any of them says something.
func TestAgeOfINT(t *testing.T) {
	two := []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2", "lbo_s", "fps", "rep_kbps"}
	quiet := []float32{gap, gap, gap, gap, gap, gap, 9, 18, 639}
	second := []float32{gap, gap, gap, 5, 5, 5, 9, 18, 639}
	windows := [][][]float32{{second, quiet, quiet}}
	for range 25 {
		windows = append(windows, [][]float32{quiet, quiet, quiet})
	}
	windows = append(windows, [][]float32{quiet, second, quiet})
	v, b := begin(t, queues.Config{StepSeconds: 3, Observation: queues.Observation{Normalise: "none"}}, &tape{switches: 2, columns: two, windows: windows}, nil)
	age := func() float32 { return b.Obs[len(b.Obs)-1] }
	if age() != 2 {
		t.Errorf("age %v, want 2", age())
	}
	for k := 1; k <= 25; k++ {
		step(t, v, b, 0)
		if want := float32(min(2+3*k, 60)); age() != want {
			t.Errorf("after %d windows: age %v, want %v", k, age(), want)
		}
	}
	if step(t, v, b, 0); age() != 1 {
		t.Errorf("age %v, want 1", age())
	}
	// The information names each switch's mean depth of measured seconds.
	info := v.(env.Informer).Info(0, nil)
	if f := v.(env.Informer).InfoFields(); len(f) != 7 || f[4].Name != "limit1" || f[6].Name != "enq_qdepth2" || info[4] != 32 || info[5] != 0 || info[6] != 5 {
		t.Errorf("%v %v", f, info)
	}
}

// lbo-fps on both sides of each of its thresholds.
func TestRewardThresholds(t *testing.T) {
	for _, c := range []struct {
		before, after, fps float32
		want               float32
	}{
		{10, 30, 18, 2}, {10, 29.99, 30, 1}, {31, 30, 18, 2}, {10, 29.99, 27, 1}, {10, 29.99, 26.99, .5}, {10, 5, 21, .5}, {10, 5, 20.99, -2},
		{10, 10, 18, .1}, {10, 10.01, 18, .1}, {10, 9.99, 18, -2}, {1, 0, 18, -2}, {0, 0, 18, -2}, {0, 0, 30, 1},
	} {
		row := func(lbo, fps float32) [][]float32 { return [][]float32{{0, 0, 639, 0, lbo, fps}} }
		v, b := begin(t, queues.Config{StepSeconds: 1, Observation: queues.Observation{Normalise: "none"}}, &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{row(c.before, 18), row(c.after, c.fps)}}, nil)
		if step(t, v, b, 0); b.Reward[0] != c.want {
			t.Errorf("buffer %v, then %v at %v frames/s: %v, want %v", c.before, c.after, c.fps, b.Reward[0], c.want)
		}
	}
}

// Rewards are within the bounds that the spec gives: the worst and the best that
// a step can pay.
func TestRewardBounds(t *testing.T) {
	for name, want := range map[string][2]float64{"lbo-fps": {-2, 2}, "tutorial": {-2, 2}, "qoe-lin": {-3.312*5 - 3.312, 3.312}} {
		v, _ := begin(t, queues.Config{StepSeconds: 5, Reward: queues.Reward{Name: name}, Observation: queues.Observation{Normalise: "none"}}, &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{{0, 0, 0, 0, 0, 0}}}}, nil)
		if got := v.Spec().Reward; math.Abs(got[0]-want[0]) > 1e-9 || got[1] != want[1] {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	// Bitrates beyond the ladder are its ends.
	row := func(kbps float32) [][]float32 { return [][]float32{{0, 0, kbps, 0, 5, 18}} }
	v, b := begin(t, queues.Config{StepSeconds: 1, Reward: queues.Reward{Name: "qoe-lin"}, Observation: queues.Observation{Normalise: "none"}},
		&tape{switches: 1, columns: oneSwitch, windows: [][][]float32{row(-5), row(9000), row(1000), row(-1)}}, nil)
	for i, want := range []float32{0, 1 - 2.312, 0 - 1} {
		if step(t, v, b, 0); math.Abs(float64(b.Reward[0]-want)) > 1e-5 {
			t.Errorf("step %d pays %v, want %v", i, b.Reward[0], want)
		}
	}
}

// When an episode ends, and how: by a stall as long as end_on_stall_s, which a
// second without one interrupts; by the plant; by the last step.
func TestEnds(t *testing.T) {
	playing, stalled := []float32{0, 0, 639, 0, 5, 18}, []float32{0, 0, 639, 0, 0, 18}
	window := func(pattern string) (w [][]float32) {
		for _, c := range pattern {
			w = append(w, map[rune][]float32{'p': playing, 's': stalled}[c])
		}
		return w
	}
	for _, c := range []struct {
		stall   float64
		ends    map[int]telemetry.End
		max     int
		windows []string
		want    string // of each step: g going, t terminated, c truncated, b both
	}{
		{3, nil, 9, []string{"pp", "ss", "sp"}, "gt"}, {3, nil, 9, []string{"ps", "ss"}, "t"}, {3, nil, 9, []string{"ps", "sp", "ss", "sp"}, "ggt"},
		{3.5, nil, 9, []string{"ps", "ss", "sp"}, "gt"}, {0, nil, 9, []string{"ss", "ss", "ss"}, "gg"}, {1, nil, 9, []string{"pp", "sp"}, "t"}, {2, nil, 9, []string{"pp", "sp"}, "g"}, {1, nil, 9, []string{"pp", "ps"}, "t"},
		{0, nil, 2, []string{"pp", "pp", "pp"}, "gc"}, {4, nil, 2, []string{"pp", "ss", "ss"}, "gb"}, {0, nil, 1, []string{"pp", "pp"}, "c"},
		{0, map[int]telemetry.End{2: telemetry.Terminated}, 9, []string{"pp", "pp", "pp"}, "gt"}, {0, map[int]telemetry.End{1: telemetry.Truncated}, 9, []string{"pp", "pp"}, "c"},
	} {
		p := &tape{switches: 1, columns: oneSwitch, ends: c.ends}
		for _, w := range c.windows {
			p.windows = append(p.windows, window(w))
		}
		v, b := begin(t, queues.Config{StepSeconds: 2, MaxSteps: c.max, EndOnStall: c.stall, Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}, p, nil)
		got := ""
		for range c.want {
			step(t, v, b, 0)
			got += map[[2]bool]string{{false, false}: "g", {true, false}: "t", {false, true}: "c", {true, true}: "b"}[[2]bool{b.Terminated[0], b.Truncated[0]}]
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		err := v.Step(context.Background(), nil, []int32{0}, b)
		if over := strings.ContainsAny(c.want, "tcb"); over != errors.Is(err, env.ErrEpisodeOver) {
			t.Errorf("%+v: the step after: %v", c, err)
		}
	}
}

// Both sides of what a configuration may be.
func TestConfigBothSides(t *testing.T) {
	for field, edits := range map[string][2][]func(*queues.Config){ // accepted, refused
		"limits": {{func(c *queues.Config) { c.Limits = []p4.Limit{1} }, func(c *queues.Config) { c.Limits = nil }},
			{func(c *queues.Config) { c.Limits = []p4.Limit{} }, func(c *queues.Config) { c.Limits = []p4.Limit{32, 0} }, func(c *queues.Config) { c.Limits = []p4.Limit{32, 64, 32} }}},
		"initial": {{func(c *queues.Config) { c.Initial = 32 }, func(c *queues.Config) { c.Initial = 64 }}, {func(c *queues.Config) { c.Initial = 33 }}},
		"step_seconds": {{func(c *queues.Config) { c.StepSeconds = 1 }, func(c *queues.Config) { c.StepSeconds = 3600 }},
			{func(c *queues.Config) { c.StepSeconds = -1 }, func(c *queues.Config) { c.StepSeconds = 3601 }}},
		"max_steps": {{func(c *queues.Config) { c.MaxSteps = 1 }, func(c *queues.Config) { c.MaxSteps = math.MaxInt32 }},
			{func(c *queues.Config) { c.MaxSteps = -1 }, func(c *queues.Config) { c.MaxSteps = math.MaxInt32 + 1 }}},
		"end_on_stall_s": {{func(c *queues.Config) { c.EndOnStall = .001 }}, {func(c *queues.Config) { c.EndOnStall = -.001 }, func(c *queues.Config) { c.EndOnStall = math.NaN() }}},
		"reward": {{func(c *queues.Config) { c.Reward = queues.Reward{Name: "qoe-lin", Rebuffer: 1e-9, Switch: 1e-9} }, func(c *queues.Config) { c.Reward = queues.Reward{Switch: queues.NoWeight, Rebuffer: queues.NoWeight} }},
			{func(c *queues.Config) { c.Reward.Name = "x" }, func(c *queues.Config) { c.Reward = queues.Reward{Name: "qoe-lin", Rebuffer: -1} }, func(c *queues.Config) { c.Reward.Rebuffer = 1 },
				func(c *queues.Config) { c.Reward = queues.Reward{Name: "qoe-lin", Switch: queues.Weight(math.Inf(1))} }, func(c *queues.Config) { c.Reward = queues.Reward{Name: "tutorial", Switch: 1} }}},
		"observation": {{func(c *queues.Config) { c.Observation = queues.Observation{Name: "window", Normalise: "l2"} }, func(c *queues.Config) { c.Observation = queues.Observation{Name: "tutorial", Normalise: "fit"} }},
			{func(c *queues.Config) { c.Observation.Name = "x" }, func(c *queues.Config) { c.Observation.Normalise = "x" }}},
	} {
		for i, accepted := range [2]bool{true, false} {
			for k, edit := range edits[i] {
				var c queues.Config
				edit(&c)
				err := c.Check()
				if accepted && err != nil {
					t.Errorf("%s, accepted %d: %v", field, k, err)
				}
				if !accepted && (err == nil || !strings.HasPrefix(err.Error(), "env: "+field+": ")) {
					t.Errorf("%s, refused %d: %v", field, k, err)
				}
			}
		}
	}
	if got := queues.DefaultLimits(); !slices.Equal(got, []p4.Limit{32, 64}) {
		t.Errorf("%v", got)
	}
	v, _ := begin(t, queues.Config{}, &bench{}, sixtyFourth{})
	if s := v.Spec(); s.StepSeconds != 4 || s.MaxSteps != 900 || !slices.Equal(s.Limits, []p4.Limit{32, 64}) || !slices.Equal(s.Initial, []p4.Limit{64}) || s.Autoreset != env.NextStep || s.RealTime || !slices.Equal(s.Action, env.MultiDiscrete{2}) {
		t.Errorf("%+v", s)
	}
	v, _ = begin(t, queues.Config{PerSwitch: true, Initial: 32}, &bench{}, sixtyFourth{})
	if s := v.Spec(); !slices.Equal(s.Initial, []p4.Limit{32, 32}) || !slices.Equal(s.Action, env.MultiDiscrete{2, 2}) {
		t.Errorf("%+v", s)
	}
}

// What an environment cannot be made of, and cannot do.
func TestQueuesRefuse(t *testing.T) {
	ctx := context.Background()
	none := queues.Config{Observation: queues.Observation{Normalise: "none"}}
	for want, make := range map[string]func() error{
		"num_envs: 0 is less than 1": func() error { _, err := queues.New(none, &bench{}, 0, nil); return err },
		"the plant has no switch":    func() error { _, err := queues.New(none, &tape{columns: oneSwitch}, 1, nil); return err },
		"measures no enq_qdepth2":    func() error { _, err := queues.New(none, &tape{switches: 2, columns: oneSwitch}, 1, nil); return err },
		"measures no lbo_s": func() error {
			_, err := queues.New(none, &tape{switches: 1, columns: oneSwitch[:4]}, 1, nil)
			return err
		},
		`"fit" needs a scaler`: func() error { _, err := queues.New(queues.Config{}, &bench{}, 1, nil); return err },
		"max_steps":            func() error { _, err := queues.New(queues.Config{MaxSteps: -1}, &bench{}, 1, nil); return err },
	} {
		if err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	p := &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{{0, 0, 639, 0, 5, 18}}}, realtime: true}
	none.Autoreset, none.StepSeconds = env.Disabled, 1
	v, err := queues.New(none, p, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Spec().RealTime {
		t.Error("a plant in real time makes an environment that is not")
	}
	var b env.Batch
	if err := v.Step(ctx, nil, []int32{0, 0}, &b); !errors.Is(err, env.ErrNeedReset) || !strings.Contains(err.Error(), "row 0") {
		t.Errorf("got %v", err)
	}
	if err := v.Reset(ctx, []int{1}, []uint64{1, 2}, &b); !errors.Is(err, env.ErrInvalidRows) || !strings.Contains(err.Error(), "2 seeds for 1 rows") {
		t.Errorf("got %v", err)
	}
	if err := v.Reset(ctx, []int{1}, nil, &b); err != nil {
		t.Fatal(err)
	}
	if err := v.Step(ctx, nil, []int32{0, 0}, &b); !errors.Is(err, env.ErrNeedReset) {
		t.Errorf("got %v", err)
	}
	if err := v.Step(ctx, []int{1}, []int32{2}, &b); !errors.Is(err, env.ErrInvalidAction) {
		t.Errorf("got %v", err)
	}
	p.fail = errors.New("gone")
	if err := v.Step(ctx, []int{1}, []int32{1}, &b); !errors.Is(err, p.fail) || !strings.HasPrefix(err.Error(), "env: step: ") {
		t.Errorf("got %v", err)
	}
	if err := v.Reset(ctx, nil, nil, &b); !errors.Is(err, p.fail) || !strings.HasPrefix(err.Error(), "env: reset: ") {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := v.Step(ended, []int{1}, []int32{1}, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := v.(env.Snapshotter).Snapshot(0, nil); !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("got %v", err)
	}
	if err := v.(env.Snapshotter).Restore(0, make([]byte, 500)); !errors.Is(err, env.ErrBadSnapshot) {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(v.Close(), v.Close()); err != nil || p.closed != 1 {
		t.Errorf("%v, closed %d times", err, p.closed)
	}
	if err := v.Step(ctx, nil, []int32{0, 0}, &b); !errors.Is(err, env.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A plant's episodes are seeded by the row's seed and how many it has had; a
// vector never seeded is as if row i had been with i.
func TestEpisodeSeeds(t *testing.T) {
	ctx := context.Background()
	want := func(seed uint64, episode uint32) uint64 {
		return rng.Key{Seed: seed, A: episode, Purpose: rng.Episode}.Uint64(0)
	}
	p := &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{{0, 0, 639, 0, 5, 18}}}}
	v, err := queues.New(queues.Config{StepSeconds: 1, Autoreset: env.Disabled, Limits: []p4.Limit{8, 16, 32}, Initial: 16, Observation: queues.Observation{Normalise: "none"}}, p, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b env.Batch
	for _, c := range []struct {
		rows  []int
		seeds []uint64
		want  []uint64
	}{
		{nil, nil, []uint64{want(0, 0), want(1, 0), want(2, 0)}},
		{[]int{2, 0}, nil, []uint64{want(2, 1), want(0, 1)}},
		{[]int{1, 2}, []uint64{9, 9}, []uint64{want(9, 0), want(9, 0)}},
		{nil, nil, []uint64{want(0, 2), want(9, 1), want(9, 1)}},
	} {
		p.seeds = nil
		if err := v.Reset(ctx, c.rows, c.seeds, &b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.seeds, c.want) {
			t.Errorf("rows %v, seeds %v: the plant is seeded %v, want %v", c.rows, c.seeds, p.seeds, c.want)
		}
		if slices.ContainsFunc(p.limits, func(l p4.Limit) bool { return l != 16 }) {
			t.Errorf("limits %v at reset", p.limits)
		}
	}
	if err := v.Step(ctx, []int{2, 0}, []int32{2, 0}, &b); err != nil || !slices.Equal(p.limits, []p4.Limit{32, 8}) {
		t.Errorf("%v: limits %v", err, p.limits)
	}
}

// One action for all switches, or one for each.
func TestLimitsInForce(t *testing.T) {
	two := []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2", "lbo_s", "fps", "rep_kbps"}
	for _, c := range []struct {
		each    bool
		actions []int32
		want    []p4.Limit
	}{{false, []int32{0}, []p4.Limit{32, 32}}, {true, []int32{0, 1}, []p4.Limit{32, 64}}, {true, []int32{1, 0}, []p4.Limit{64, 32}}} {
		p := &tape{switches: 2, columns: two, windows: [][][]float32{{make([]float32, 9)}}}
		v, b := begin(t, queues.Config{StepSeconds: 1, PerSwitch: c.each, Observation: queues.Observation{Normalise: "none"}}, p, nil)
		if step(t, v, b, c.actions...); !slices.Equal(p.limits, c.want) {
			t.Errorf("%+v: %v", c, p.limits)
		}
		info := v.(env.Informer).Info(0, nil)
		for i, a := range c.actions {
			if info[4+i] != float32([]p4.Limit{32, 64}[a]) {
				t.Errorf("%+v: information %v", c, info)
			}
		}
	}
}

// States of a row that cannot be are refused, and the row is as it was.
func TestSnapshotsRefused(t *testing.T) {
	ctx := context.Background()
	v := open(t, queues.Config{Autoreset: env.Disabled}, &bench{}, 2)
	s := v.(env.Snapshotter)
	var b env.Batch
	if err := v.Reset(ctx, nil, []uint64{1, 2}, &b); err != nil {
		t.Fatal(err)
	}
	good, err := s.Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(1, good); err != nil {
		t.Fatal(err)
	}
	at := len(good) - 12 - 8 - 4 // plant, depths, action
	for name, edit := range map[string]func([]byte) []byte{
		"short": func(b []byte) []byte { return b[:at+8] }, "the plant's": func(b []byte) []byte { return b[:len(b)-1] }, "empty": func([]byte) []byte { return nil },
		"action": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], 2); return b }, "action below": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], math.MaxUint32); return b },
		"phase": func(b []byte) []byte { b[at-1] = 3; return b },
		"depth NaN": func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[at+4:], math.Float32bits(float32(math.NaN())))
			return b
		},
		"depth -Inf": func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[at+8:], math.Float32bits(float32(math.Inf(-1))))
			return b
		},
		"stall NaN": func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[20:], math.Float32bits(float32(math.NaN())))
			return b
		},
	} {
		if err := s.Restore(0, edit(slices.Clone(good))); !errors.Is(err, env.ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := s.Snapshot(0, nil); err != nil || !slices.Equal(now, good) {
			t.Fatalf("%s: the row changed", name)
		}
	}
	for _, row := range []int{-1, 2} {
		if err := s.Restore(row, good); err == nil {
			t.Errorf("row %d is restored", row)
		}
		if _, err := s.Snapshot(row, nil); err == nil {
			t.Errorf("row %d has a state", row)
		}
	}
}
