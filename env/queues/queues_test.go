package queues_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// bench is a plant of two switches whose every value is a function of seed,
// second and limit: what the environment makes of it can be computed by hand.
type bench struct {
	seed  []uint64
	clock []uint32
	gaps  bool                      // every third second has no INT
	say   func(t int) (l, f, b int) // LBO, FPS, bitrate at second t; nil: from the seed
}

func (b *bench) Switches() int { return 2 }
func (b *bench) Close() error  { return nil }
func (b *bench) Columns() []telemetry.Field {
	var f []telemetry.Field
	for s := 1; s <= 2; s++ {
		for _, n := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			f = append(f, telemetry.Field{Name: fmt.Sprint(n, s)})
		}
	}
	return append(f, telemetry.Field{Name: "lbo_s", Unit: "s"}, telemetry.Field{Name: "fps"}, telemetry.Field{Name: "rep_kbps", Unit: "kbit/s"})
}

func (b *bench) Reset(ctx context.Context, rows []int, seeds []uint64, limit []p4.Limit, out *telemetry.Window) error {
	for i, r := range rows {
		for r >= len(b.seed) {
			b.seed, b.clock = append(b.seed, 0), append(b.clock, 0)
		}
		b.seed[r], b.clock[r] = seeds[i], 0
	}
	return b.Advance(ctx, rows, limit, out)
}

func (b *bench) Advance(_ context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	for i, r := range rows {
		values, valid := out.Row(i)
		for t := range out.Seconds {
			k := rng.Key{Seed: b.seed[r], B: b.clock[r], Purpose: rng.Start}
			for f := range out.Fields {
				values[t*out.Fields+f] = float32(k.Intn(uint32(f), int(limit[2*i+f/3%2])))
				valid[t*out.Fields+f] = f >= 6 || !b.gaps || b.clock[r]%3 != 0
			}
			v := values[t*out.Fields+6:]
			v[1], v[2] = float32(18+6*k.Intn(10, 3)), 639
			if b.say != nil {
				l, f, kbps := b.say(int(b.clock[r]))
				v[0], v[1], v[2] = float32(l), float32(f), float32(kbps)
			}
			b.clock[r]++
		}
		out.End[i], out.Reason[i] = telemetry.Going, ""
	}
	return nil
}

func (b *bench) Snapshot(row int, dst []byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(dst, b.seed[row]), b.clock[row]), nil
}

func (b *bench) Restore(row int, src []byte) error {
	if len(src) != 12 {
		return env.ErrBadSnapshot
	}
	b.seed[row], b.clock[row] = binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint32(src[8:])
	return nil
}

type sixtyFourth struct{}

func (sixtyFourth) Scale(_ int, x float32) float32 { return x / 64 }

func open(t *testing.T, cfg queues.Config, plant env.Plant, n int) env.Vector {
	t.Helper()
	v, err := queues.New(cfg, plant, n, sixtyFourth{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestQueuesContract(t *testing.T) {
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep, env.Disabled} {
		for _, observation := range []string{"state", "tutorial", "window"} {
			for _, normalise := range []string{"fit", "l2", "none"} {
				for _, perSwitch := range []bool{false, true} {
					t.Run(fmt.Sprintf("%v/%s/%s/%v", mode, observation, normalise, perSwitch), func(t *testing.T) {
						envtest.Check(t, func(t *testing.T) env.Vector {
							return open(t, queues.Config{
								Autoreset: mode, PerSwitch: perSwitch, MaxSteps: 30,
								Observation: queues.Observation{Name: observation, Normalise: normalise},
							}, &bench{gaps: true}, 4)
						})
					})
				}
			}
		}
	}
}

// rewards is what n steps of an episode pay, the player saying say.
func rewards(t *testing.T, name string, n int, say func(t int) (l, f, b int)) []float32 {
	t.Helper()
	v := open(t, queues.Config{Reward: queues.Reward{Name: name}}, &bench{say: say}, 1)
	var b env.Batch
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	var out []float32
	for range n {
		if err := v.Step(context.Background(), nil, []int32{0}, &b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.Reward[0])
	}
	return out
}

// byWindow says a value a 4 s window.
func byWindow(lbo, fps []int) func(t int) (l, f, b int) {
	return func(t int) (l, f, b int) { return lbo[t/4], fps[t/4], 639 }
}

func TestRewardLBOFPS(t *testing.T) {
	got := rewards(t, "lbo-fps", 8, byWindow(
		[]int{10, 10, 11, 9, 30, 29, 29, 0, 31},
		[]int{18, 18, 18, 18, 18, 30, 24, 18, 18}))
	if want := []float32{.1, .1, -2, 2, 1, .5, -2, 2}; !slices.Equal(got, want) {
		t.Errorf("rewards %v, want %v", got, want)
	}
}

// The published code keeps the reward in a field and compares disjoint pairs
// of windows: where no rule fires, or a pair is not yet whole, the last
// reward is paid again (Tavares et al. 2024, calculate_reward).
func TestRewardTutorialIsStale(t *testing.T) {
	got := rewards(t, "tutorial", 8, byWindow(
		//    pair ───┐ ┌─ pair ─┐ ┌─ pair ─┐ ┌─ pair
		[]int{10, 11, 5, 5, 40, 30, 12, 11, 10},
		[]int{18, 30, 18, 18, 18, 18, 18, 18, 18}))
	// 10→11 at 30 fps: 1. 5 waits. 5→5: no rule, 1 again. 40 waits. 40→30:
	// exactly 30, no rule, 1 again. 12 waits. 12→11 at 18 fps: −2. 10 waits.
	if want := []float32{1, 1, 1, 1, 1, 1, -2, -2}; !slices.Equal(got, want) {
		t.Errorf("rewards %v, want %v", got, want)
	}
	// A generated 29.9 is no 30: the published comparison is exact.
	if got := rewards(t, "tutorial", 1, byWindow([]int{10, 11}, []int{29, 29})); got[0] != .1 {
		t.Errorf("29 fps pays %v, want .1", got[0])
	}
}

func TestRewardQoELin(t *testing.T) {
	got := rewards(t, "qoe-lin", 2, func(s int) (l, f, b int) {
		switch {
		case s < 4:
			return 5, 18, 639
		case s < 8:
			return 5, 30, 3312
		case s == 8:
			return 0, 30, 3312 // one second stalled
		}
		return 4, 30, 3312
	})
	want := []float64{.639, 0} // 3.312 less a change of 2.673; 3.312 less a stalled second
	for i, w := range want {
		if math.Abs(float64(got[i])-w) > 1e-6 {
			t.Errorf("step %d pays %v, want %v", i, got[i], w)
		}
	}
}

func TestEndOnStall(t *testing.T) {
	v := open(t, queues.Config{EndOnStall: 6, Autoreset: env.Disabled}, &bench{say: func(s int) (l, f, b int) {
		if s >= 6 {
			return 0, 18, 639
		}
		return 9, 18, 639
	}}, 1)
	var b env.Batch
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	for step, want := range []bool{false, true} { // seconds 4…7, 8…11: stalled from 6 on
		if err := v.Step(context.Background(), nil, []int32{0}, &b); err != nil {
			t.Fatal(err)
		}
		if b.Terminated[0] != want || b.Truncated[0] {
			t.Errorf("step %d: terminated %v truncated %v, want terminated %v", step, b.Terminated[0], b.Truncated[0], want)
		}
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, c := range []struct {
		cfg   queues.Config
		field string
	}{
		{queues.Config{Limits: []p4.Limit{}}, "env: limits: none are given"},
		{queues.Config{Limits: []p4.Limit{0}}, "env: limits: p4: limit 0 is outside 1…524287 packets"},
		{queues.Config{Limits: []p4.Limit{32, 32}}, "env: limits: 32 is a duplicate"},
		{queues.Config{Initial: 16}, "env: initial: 16 is not one of the limits [32 64]"},
		{queues.Config{StepSeconds: -1}, "env: step_seconds: -1 is outside 1…3600"},
		{queues.Config{MaxSteps: -1}, "env: max_steps: -1 is outside 1…2147483647"},
		{queues.Config{EndOnStall: math.NaN()}, "env: end_on_stall_s: NaN is negative"},
		{queues.Config{Reward: queues.Reward{Name: "x"}}, `env: reward: name: "x" is not one of "lbo-fps", "tutorial", "qoe-lin"`},
		{queues.Config{Reward: queues.Reward{Switch: 1}}, `env: reward: "lbo-fps" has no weights: rebuffer and switch belong to qoe-lin`},
		{queues.Config{Observation: queues.Observation{Name: "x"}}, `env: observation: name: "x" is not one of "state", "tutorial", "window"`},
		{queues.Config{Observation: queues.Observation{Normalise: "x"}}, `env: observation: normalise: "x" is not one of "fit", "l2", "none"`},
	} {
		if _, err := queues.New(c.cfg, &bench{}, 1, sixtyFourth{}); err == nil || err.Error() != c.field {
			t.Errorf("%+v: %v, want %s", c.cfg, err, c.field)
		}
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	cart, err := cartpole.New(64, env.NextStep)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]env.Vector{
		"cartpole": cart,
		"state":    open(t, queues.Config{}, &bench{gaps: true}, 64),
		"window":   open(t, queues.Config{Autoreset: env.SameStep, MaxSteps: 5, Observation: queues.Observation{Name: "window"}}, &bench{}, 64),
	} {
		var b env.Batch
		ctx, actions := context.Background(), make([]int32, 64)
		if err := v.Reset(ctx, nil, nil, &b); err != nil {
			t.Fatal(err)
		}
		step := func() {
			if err := v.Step(ctx, nil, actions, &b); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			step()
		}
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s: a warm step allocates %v times", name, n)
		}
	}
}

// The info's queue depths are the mean of the window's measured seconds, which
// a second environment of the same seed shows raw.
func TestInfoHasQueueDepths(t *testing.T) {
	ctx := context.Background()
	raw := open(t, queues.Config{Observation: queues.Observation{Name: "window", Normalise: "none"}}, &bench{gaps: true}, 1)
	v := open(t, queues.Config{}, &bench{gaps: true}, 1)
	informer := v.(env.Informer)
	var at []int
	for i, f := range informer.InfoFields() {
		if f.Name == "enq_qdepth1" || f.Name == "enq_qdepth2" {
			at = append(at, i)
			if f.Unit != "packets" {
				t.Errorf("%s is in %q", f.Name, f.Unit)
			}
		}
	}
	if len(at) != 2 {
		t.Fatalf("infos are %v", informer.InfoFields())
	}
	var a, b env.Batch
	for step := range 6 {
		var err, err2 error
		if step == 0 {
			err, err2 = raw.Reset(ctx, nil, []uint64{7}, &a), v.Reset(ctx, nil, []uint64{7}, &b)
		} else {
			err, err2 = raw.Step(ctx, nil, []int32{1}, &a), v.Step(ctx, nil, []int32{1}, &b)
		}
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		info := informer.Info(0, nil)
		for s := range 2 {
			var sum, n float64
			for second := range 4 {
				if a.Obs[36+9*second+3*s] == 1 { // 36 values, then as many validity bits
					sum += float64(a.Obs[9*second+3*s])
					n++
				}
			}
			if n == 4 {
				t.Fatal("the window has no gap, so the mask is not tested")
			}
			if want := float32(sum / n); info[at[s]] != want {
				t.Errorf("step %d: switch %d: %v packets, want %v", step, s+1, info[at[s]], want)
			}
		}
	}
}

// A weight of 0 in a scenario weighs nothing, one that is left out is the
// default: the published objective without its switching term can be had.
func TestRewardWeightOfZero(t *testing.T) {
	pay := func(text string) float32 {
		var c queues.Config
		if _, err := toml.Decode("[reward]\nname = 'qoe-lin'\n"+text, &c); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		v := open(t, queues.Config{Reward: c.Reward, Autoreset: env.Disabled}, &bench{say: func(s int) (l, f, b int) {
			switch {
			case s < 4:
				return 5, 18, 639
			case s == 4:
				return 0, 30, 3312 // one second stalled
			}
			return 5, 30, 3312
		}}, 1)
		var b env.Batch
		if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
			t.Fatal(err)
		}
		if err := v.Step(context.Background(), nil, []int32{0}, &b); err != nil {
			t.Fatal(err)
		}
		return b.Reward[0]
	}
	for text, want := range map[string]float64{
		"":                           -2.673,
		"switch = 0":                 0,
		"rebuffer = 0":               3.312 - 2.673,
		"rebuffer = 0.0\nswitch = 0": 3.312,
		"rebuffer = 2\nswitch = 0.5": 3.312 - 2 - 2.673/2,
	} {
		if got := float64(pay(text)); math.Abs(got-want) > 1e-5 {
			t.Errorf("%q pays %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]string{"switch = -1": "switch: -1 is outside", "rebuffer = inf": "rebuffer: +Inf is outside", "switch = nan": "switch: NaN is outside", "rebuffer = 1e308": "rebuffer: 1e+308 is outside 0…1000000", "switch = 'x'": "expected a number"} {
		var c queues.Config
		_, err := toml.Decode("[reward]\nname = 'qoe-lin'\n"+text, &c)
		if err == nil {
			err = c.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", text, err, want)
		}
	}
	if b, err := json.Marshal(queues.Reward{Name: "qoe-lin", Rebuffer: 2, Switch: queues.NoWeight}); err != nil || string(b) != `{"Name":"qoe-lin","Rebuffer":2,"Switch":0}` {
		t.Errorf("%s %v", b, err)
	}
}
