package baseline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// twoSwitches observes all that a policy can go by, of two switches.
func twoSwitches() env.Spec {
	s := env.Spec{Action: env.MultiDiscrete{3, 3}, Limits: []p4.Limit{64, 16, 32}, Initial: []p4.Limit{32, 64}}
	for _, e := range []struct {
		name, unit string
		high       float32
	}{
		{"enq_qdepth1_mean", "packets", 64}, {"deq_timedelta1_mean", "us", 100_000}, {"action1", "", 2},
		{"lbo_s", "s", 100}, {"level", "", 2},
		{"enq_qdepth2_mean", "packets", 64}, {"deq_timedelta2_mean", "us", 100_000}, {"action2", "", 2},
	} {
		s.Observation.Elements = append(s.Observation.Elements, telemetry.Field{Name: e.name, Unit: e.unit})
		s.Observation.Low, s.Observation.High = append(s.Observation.Low, 0), append(s.Observation.High, e.high)
	}
	return s
}

// drawnObs is an observation within the bounds of s.
func drawnObs(s env.Spec, row, step int) []float32 {
	k := rng.Key{Seed: 6, A: uint32(row), B: uint32(step), Purpose: rng.Start}
	var obs []float32
	for j, high := range s.Observation.High {
		x := float32(k.Float64(uint32(j))) * high
		if strings.HasPrefix(s.Observation.Elements[j].Name, "action") {
			x = float32(k.Intn(uint32(j), 3))
		}
		obs = append(obs, x)
	}
	return obs
}

// What a policy does in a row depends on that row's episode alone: rows that are asked
// together get what each gets by itself, in an order of rows that is not theirs, and an
// episode that begins anew brings nothing of the one before. Both switches of a row are
// asked by all of it, but for the rules by chance and by the player.
func TestRowsDoNotMeet(t *testing.T) {
	s := twoSwitches()
	const steps = 60
	for _, name := range []string{
		"fixed:32", "random", "alternate:3", "threshold:50000", "occupancy:0.5", "codel:40000", "hysteresis:0.4:0.6", "sticky:4", "buffer:50", "level:1",
		"inverse:threshold:50000", "delayed:3:threshold:50000", "noisy:0.4:threshold:50000", "wait",
		"inverse:codel:40000", "delayed:3:codel:40000", "noisy:0.2:codel:40000",
	} {
		made := func() agent.Policy {
			if name == "wait" {
				p, err := NewWait(.4, []float64{400, 800}, s)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			p, err := New(name, s)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		rows, seeds := []int{2, 0, 1}, []uint64{12, 10, 11}
		var alone [3][]int32
		for i, r := range rows {
			p := made()
			p.Begin([]int{r}, seeds[i:i+1])
			for step := range steps {
				a := []int32{-1, -1}
				p.Act([]int{r}, drawnObs(s, r, step), a)
				alone[r] = append(alone[r], a...)
			}
		}
		together := made()
		for range 2 {
			together.Begin(rows, seeds)
			var got [3][]int32
			for step := range steps {
				var obs []float32
				for _, r := range rows {
					obs = append(obs, drawnObs(s, r, step)...)
				}
				a := slices.Repeat([]int32{-1}, 6)
				together.Act(rows, obs, a)
				for i, r := range rows {
					got[r] = append(got[r], a[2*i:2*i+2]...)
				}
			}
			for r := range got {
				if !slices.Equal(got[r], alone[r]) {
					t.Errorf("%s: row %d does %v together with others, %v alone", name, r, got[r], alone[r])
				}
			}
			if name != "fixed:32" && name != "alternate:3" && slices.Equal(alone[0], alone[1]) {
				t.Errorf("%s: rows 0 and 1 do the same: the test shows nothing", name)
			}
		}
	}
}

// Arguments on either side of their bounds.
func TestArgumentsOnBothSides(t *testing.T) {
	unbounded := twoSwitches()
	for j := range unbounded.Observation.High {
		unbounded.Observation.High[j] = float32(math.Inf(1))
	}
	noLimits := env.Spec{Action: env.MultiDiscrete{2}}
	oneDelay := twoSwitches()
	oneDelay.Observation.Elements[6].Name = "other"
	for _, k := range []struct {
		name string
		spec env.Spec
		want string // "": accepted
	}{
		{"fixed:-4294967296", noLimits, "a whole number N"}, {"fixed:4294967296", noLimits, "a whole number N"}, {"fixed:0", noLimits, ""}, {"fixed:-1", noLimits, "action -1 is not in [0, 2)"},
		{"alternate:1", twoSwitches(), ""}, {"alternate:0", twoSwitches(), "not a number of steps"},
		{"sticky:1", twoSwitches(), ""}, {"sticky:0", twoSwitches(), "1 at least"},
		{"delayed:1:random", twoSwitches(), ""}, {"delayed:1000:random", twoSwitches(), ""}, {"delayed:1001:random", twoSwitches(), "1 to 1000"}, {"delayed:0:random", twoSwitches(), "1 to 1000"}, {"delayed:1.5:random", twoSwitches(), "1 to 1000"},
		{"noisy:0:random", twoSwitches(), ""}, {"noisy:1:random", twoSwitches(), ""}, {"noisy:1.001:random", twoSwitches(), "probability"}, {"noisy:-0.001:random", twoSwitches(), "probability"}, {"noisy:0.5", twoSwitches(), "with a number X"},
		{"hysteresis:0.5:0.5", twoSwitches(), ""}, {"hysteresis:0.5:0.499", twoSwitches(), "0 < LO"}, {"hysteresis:0:0.5", twoSwitches(), "0 < LO"}, {"hysteresis:0.1:NaN", twoSwitches(), "0 < LO"}, {"hysteresis:0.1:Inf", twoSwitches(), "0 < LO"},
		{"occupancy:0.001", twoSwitches(), ""}, {"occupancy:0", twoSwitches(), "not a share"}, {"occupancy:NaN", twoSwitches(), "not a share"}, {"occupancy:Inf", twoSwitches(), "not a share"},
		{"threshold:0", unbounded, ""}, {"threshold:1e30", unbounded, ""}, {"threshold:1e39", unbounded, "not a delay"}, {"threshold:Inf", unbounded, "not a delay"}, {"threshold:NaN", unbounded, "not a delay"}, {"codel:-1", unbounded, "not a delay"},
		{"threshold:100000", twoSwitches(), ""}, {"threshold:100001", twoSwitches(), "never reached"},
		{"buffer:100", twoSwitches(), ""}, {"buffer:100.5", twoSwitches(), "never reached"}, {"level:2", twoSwitches(), ""}, {"level:2.5", twoSwitches(), "never reached"},
		{"threshold", oneDelay, "deq_timedelta of 1 switches, an action sets 2"},
		{"inverse:random", twoSwitches(), ""},
	} {
		_, err := New(k.name, k.spec)
		if k.want == "" && err != nil || k.want != "" && (err == nil || !strings.Contains(err.Error(), k.want)) {
			t.Errorf("%s: got %v, want it to say %q", k.name, err, k.want)
		}
	}
}

// Delay that is at the target is not above it: it ends CoDel's interval.
func TestCoDelAtTheTarget(t *testing.T) {
	s := twoSwitches()
	p, err := New("codel:40000", s)
	if err != nil {
		t.Fatal(err)
	}
	p.Begin([]int{0}, []uint64{1})
	var got []int32
	for _, delay := range []float32{41_000, 41_000, 41_000, 40_000, 41_000, 41_000, 41_000, 41_000, 40_001} {
		obs, a := drawnObs(s, 0, 0), []int32{-1, -1}
		obs[1], obs[6] = delay, 0
		p.Act([]int{0}, obs, a)
		if got = append(got, a[0]); a[1] != 0 {
			t.Errorf("the idle switch gets action %d", a[1])
		}
	}
	if want := []int32{0, 0, 0, 0, 0, 0, 0, 2, 2}; !slices.Equal(got, want) { // limits 64 and 32
		t.Errorf("%v, want %v", got, want)
	}
}

// A policy goes by elements wherever they come in an observation, and leaves each action as
// it is where it should; where an environment does not say what is in force at first, its
// first action is.
func TestWhereElementsCome(t *testing.T) {
	s := twoSwitches()
	e := s.Observation.Elements
	e[0], e[2] = e[2], e[0] // action1 first
	p, err := New("occupancy:0.5", s)
	if err != nil {
		t.Fatal(err)
	}
	p.Begin([]int{0}, []uint64{1})
	a := []int32{-1, -1}
	p.Act([]int{0}, []float32{2, 0, 60, 0, 0, 0, 0, 0}, a) // 60 packets of 32 at switch 1, none at the other
	if a[0] != 1 || a[1] != 0 {
		t.Errorf("actions %v, want the limits 16 and 64", a)
	}
	for _, name := range []string{"noisy:0:fixed:64", "delayed:1:fixed:64"} {
		s := twoSwitches()
		s.Initial = nil
		p, err := New(name, s)
		if err != nil {
			t.Fatal(err)
		}
		p.Begin([]int{0}, []uint64{1})
		for range 5 {
			a := []int32{-1, -1}
			if p.Act([]int{0}, make([]float32, 8), a); a[0] != 0 || a[1] != 0 {
				t.Errorf("%s: actions %v", name, a)
			}
		}
	}
}

// CoDel takes limits away 4 steps above the target, then 4/√2 and 4/√3 later: after 4, 6.8
// and 9.1 steps. Hysteresis begins an episode with the largest limit, whatever the one before
// ended with.
func TestLawsOverAnEpisode(t *testing.T) {
	s := twoSwitches()
	s.Action, s.Limits = env.MultiDiscrete{4, 4}, []p4.Limit{8, 16, 32, 64}
	play := func(p agent.Policy, delay, depth float32, steps int) (limits []p4.Limit) {
		p.Begin([]int{0}, []uint64{1})
		for range steps {
			a := []int32{-1, -1}
			p.Act([]int{0}, []float32{depth, delay, 3, 0, 0, depth, delay, 3}, a)
			if a[0] != a[1] {
				t.Errorf("equal queues get actions %v", a)
			}
			limits = append(limits, s.Limits[a[0]])
		}
		return limits
	}
	p, err := New("codel:40000", s)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := play(p, 50_000, 0, 11), []p4.Limit{64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8}; !slices.Equal(got, want) {
		t.Errorf("codel: %v, want %v", got, want)
	}
	if p, err = New("hysteresis:0.3:0.6", s); err != nil {
		t.Fatal(err)
	}
	if got, want := play(p, 0, 64, 3), []p4.Limit{64, 8, 8}; !slices.Equal(got, want) {
		t.Errorf("full queues: %v, want %v", got, want)
	}
	if got, want := play(p, 0, 40, 2), []p4.Limit{64, 64}; !slices.Equal(got, want) { // averages of .31 and .47
		t.Errorf("an episode later: %v, want %v", got, want)
	}
}

// saving is an environment in which an action pays and fills the player's buffer, both
// by action and at once.
type saving struct {
	*payLater
	pays, fills [2]float32
	broken      string // the call that fails
	played      map[int]int32
}

func (d *saving) fail(call string) error {
	if call == d.broken {
		return errors.New("the state is lost")
	}
	return nil
}

func (d *saving) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	out.Reward = out.Reward[:0]
	for i, r := range rows {
		out.Reward = append(out.Reward, d.pays[actions[i]])
		d.played[r] = actions[i]
	}
	return d.fail("Step")
}

func (d *saving) InfoFields() []telemetry.Field {
	return []telemetry.Field{{Name: "other"}, {Name: "lbo_s"}}
}

func (d *saving) Info(row int, dst []float32) []float32 {
	return append(dst, 1000*d.fills[1-d.played[row]], d.fills[d.played[row]])
}

func (d *saving) Snapshot(row int, dst []byte) ([]byte, error) {
	b, _ := d.payLater.Snapshot(row, dst)
	return b, d.fail("Snapshot")
}

func (d *saving) Restore(row int, src []byte) error {
	return errors.Join(d.payLater.Restore(row, src), d.fail("Restore"))
}

// What the player keeps after the horizon is worth 3/8 of a reward a second, unless the
// episode ends by then. An action is held for as long as it was chosen for.
func TestLookAheadValuesTheBuffer(t *testing.T) {
	for _, k := range []struct {
		name          string
		horizon, hold int
		pays, fills   [2]float32
		want          string // the actions of an episode of 12 steps
	}{
		{"ten seconds are worth 3.75", 4, 4, [2]float32{.9, 0}, [2]float32{0, 10}, "111111110000"},
		{"but not 4.5", 3, 1, [2]float32{1.5, 0}, [2]float32{0, 10}, "000000000000"},
		{"the last steps count what they pay", 3, 1, [2]float32{1, 0}, [2]float32{0, 10}, "111111111000"},
		{"losses are compared, too", 2, 1, [2]float32{-5, -3}, [2]float32{0, 0}, "111111111111"},
		{"the first of equals", 2, 3, [2]float32{1, 1}, [2]float32{2, 2}, "000000000000"},
	} {
		v := &saving{payLater: &payLater{state: map[int][3]uint32{}}, pays: k.pays, fills: k.fills, played: map[int]int32{}}
		l, err := NewLookAhead(v, k.horizon, k.hold)
		if err != nil {
			t.Fatal(err)
		}
		rows := []int{4, 1}
		l.Begin(rows, []uint64{1, 2})
		var got [2]string
		for range 12 {
			a := []int32{-1, -1}
			l.Act(rows, nil, a)
			got[0], got[1] = got[0]+fmt.Sprint(a[0]), got[1]+fmt.Sprint(a[1])
		}
		if l.Err() != nil || got[0] != k.want || got[1] != k.want {
			t.Errorf("%s: %v %v, want %s", k.name, got, l.Err(), k.want)
		}
	}
}

// An environment that fails ends the search: Err says so, and the actions go on as they
// were.
func TestLookAheadFails(t *testing.T) {
	for _, call := range []string{"Snapshot", "Step", "Restore"} {
		v := &saving{payLater: &payLater{state: map[int][3]uint32{}}, pays: [2]float32{0, 1}, played: map[int]int32{}}
		l, err := NewLookAhead(v, 2, 1)
		if err != nil {
			t.Fatal(err)
		}
		a := []int32{-1}
		l.Begin([]int{0}, []uint64{1})
		if l.Act([]int{0}, nil, a); a[0] != 1 || l.Err() != nil {
			t.Fatalf("%v %v", a, l.Err())
		}
		v.broken = call
		for range 2 {
			l.Act([]int{0}, nil, a)
		}
		if l.Err() == nil || a[0] < 0 {
			t.Errorf("%s: %v, actions %v", call, l.Err(), a)
		}
	}
}
