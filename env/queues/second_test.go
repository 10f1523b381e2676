package queues_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// laddered is a tape whose player has a ladder of its own.
type laddered struct{ *tape }

func (laddered) Ladder() telemetry.Ladder {
	return telemetry.NewLadder(telemetry.Quality{FPS: 24, Kbps: 500}, telemetry.Quality{FPS: 30, Kbps: 8000})
}

// An environment takes the ladder of its plant's player: what a stall costs and what a
// step earns at most are those of its top.
func TestPlantsLadderPays(t *testing.T) {
	second := []float32{0, 1, 8000, 100, 20, 30, 1}
	p := &tape{switches: 1, columns: append(slices.Clone(oneSwitch), "stall_s"), windows: [][][]float32{{second, second}}}
	v, b := begin(t, queues.Config{StepSeconds: 2, Reward: queues.Reward{Name: "qoe-lin"}, Observation: queues.Observation{Normalise: "none"}}, laddered{p}, nil)
	if got := v.Spec().Reward; got != [2]float64{-8*2 - 8, 8} {
		t.Errorf("rewards %v, want -24 and 8", got)
	}
	if step(t, v, b, 0); b.Reward[0] != 8-2*8 {
		t.Errorf("8 Mbit/s with two seconds stalled pay %v, want -8", b.Reward[0])
	}
}

// A reset pays nothing and ends nothing, also into a batch that a step has filled.
func TestResetIntoAUsedBatch(t *testing.T) {
	second := []float32{0, 1, 639, 100, 50, 30}
	p := &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{second}}, ends: map[int]telemetry.End{1: telemetry.Terminated}}
	v, b := begin(t, queues.Config{StepSeconds: 1, MaxSteps: 1, Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}, p, nil)
	if step(t, v, b, 0); b.Reward[0] != 2 || !b.Terminated[0] || !b.Truncated[0] {
		t.Fatalf("%+v", b)
	}
	if err := v.Reset(context.Background(), nil, nil, b); err != nil || b.Reward[0] != 0 || b.Terminated[0] || b.Truncated[0] {
		t.Errorf("%+v, %v", b, err)
	}
}

// An observation of unit length is that whatever its length was: also where it was below 1;
// one of zeros stays.
func TestUnitLength(t *testing.T) {
	for _, scale := range []float32{1e-3, .1, 1, 1e4, 0} {
		s := scale
		p := &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{{2 * s, -1 * s, 639, 2 * s, 5, 18}}}}
		_, b := begin(t, queues.Config{StepSeconds: 1, Observation: queues.Observation{Name: "tutorial", Normalise: "l2"}}, p, nil)
		want := []float32{-1. / 3, 2. / 3, 2. / 3}
		if scale == 0 {
			want = []float32{0, 0, 0}
		}
		if !near(b.Obs, want) {
			t.Errorf("of length %v: %v, want %v", 3*scale, b.Obs, want)
		}
	}
}

// Info has the mean depth of the seconds in which it was measured, and where it was not in
// any, that of what holds from before; a row that is restored has the limits in force and
// depths of the state.
func TestInfoOfARestoredRow(t *testing.T) {
	second := func(depth float32) []float32 { return []float32{0, depth, 639, 100, 5, 18} }
	p := &snapping{&tape{switches: 1, columns: oneSwitch, windows: [][][]float32{
		{second(10), second(20)}, {second(gap), second(gap)}, {second(6), second(gap)},
	}}}
	cfg := queues.Config{Limits: []p4.Limit{16, 32, 64}, StepSeconds: 2, Observation: queues.Observation{Normalise: "none"}}
	v, b := begin(t, cfg, p, nil)
	info := func(v env.Vector) string { return fmt.Sprint(v.(env.Informer).Info(0, nil)) }
	if got := info(v); got != "[5 18 639 0 64 15]" {
		t.Errorf("at first %s", got)
	}
	if step(t, v, b, 0); info(v) != "[5 18 639 0 16 0]" { // the tape begins a window with zeros
		t.Errorf("where depth was not measured %s", info(v))
	}
	if step(t, v, b, 1); info(v) != "[5 18 639 0 32 6]" {
		t.Errorf("where it was measured once %s", info(v))
	}
	state, err := v.(env.Snapshotter).Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := begin(t, cfg, &snapping{&tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{second(1), second(1)}}}}, nil)
	if err := w.(env.Snapshotter).Restore(0, state); err != nil {
		t.Fatal(err)
	}
	if got := info(w); got != info(v) {
		t.Errorf("restored %s, saved %s", got, info(v))
	}
}

// snapping is a tape that takes snapshots, of nothing.
type snapping struct{ *tape }

func (snapping) Snapshot(_ int, dst []byte) ([]byte, error) { return append(dst, 1), nil }
func (snapping) Restore(_ int, src []byte) error {
	if len(src) != 1 {
		return env.ErrBadSnapshot
	}
	return nil
}

// held is a plant that repeats the last good value where a depth is not measured, as
// plants do.
type held struct{ *tape }

func (h held) Advance(ctx context.Context, rows []int, limit []p4.Limit, out *telemetry.Window) error {
	err := h.tape.Advance(ctx, rows, limit, out)
	values, valid := out.Row(0)
	for t := range out.Seconds {
		if at := t*out.Fields + 1; !valid[at] {
			values[at] = 12 + float32(t)
		}
	}
	return err
}
func (h held) Reset(ctx context.Context, rows []int, _ []uint64, limit []p4.Limit, out *telemetry.Window) error {
	return h.Advance(ctx, rows, limit, out)
}

func TestInfoOfWhatHolds(t *testing.T) {
	unmeasured := []float32{0, gap, 639, 100, 5, 18}
	v, _ := begin(t, queues.Config{StepSeconds: 3, Observation: queues.Observation{Normalise: "none"}},
		held{&tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{unmeasured, unmeasured, unmeasured}}}}, nil)
	if got := v.(env.Informer).Info(0, nil); math.Abs(float64(got[5])-13) > 1e-6 {
		t.Errorf("%v: the mean of 12, 13 and 14 is 13", got)
	}
}

// A row of several switches, each with a limit of its own, is restored into any row: its
// limits, depths and age come with it, and an episode that is over stays over.
func TestRestoredIntoAnotherRow(t *testing.T) {
	ctx := context.Background()
	cfg := queues.Config{Limits: []p4.Limit{8, 16, 32, 64}, PerSwitch: true, MaxSteps: 3, Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}
	v := open(t, cfg, &bench{gaps: true}, 3)
	s := v.(env.Snapshotter)
	var b env.Batch
	if err := v.Reset(ctx, nil, []uint64{1, 2, 3}, &b); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := v.Step(ctx, nil, []int32{0, 1, 2, 3, 1, 0}, &b); err != nil {
			t.Fatal(err)
		}
	}
	info := func(row int) string { return fmt.Sprint(v.(env.Informer).Info(row, nil)) }
	for from, to := range []int{2, 0, 1} {
		state, err := s.Snapshot(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := info(from)
		if err := s.Restore(to, state); err != nil {
			t.Fatal(err)
		}
		if got := info(to); got != want {
			t.Errorf("row %d restored into row %d: %s, want %s", from, to, got, want)
		}
		if err := v.Step(ctx, []int{to}, []int32{0, 0}, &b); !errors.Is(err, env.ErrEpisodeOver) {
			t.Errorf("a step of an episode that is over: %v", err)
		}
	}
	for age, ok := range map[uint32]bool{0: true, 60: true, 61: false, math.MaxUint32: false} {
		state, err := s.Snapshot(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(state[16:], age)
		if err := s.Restore(0, state); (err == nil) != ok {
			t.Errorf("an age of %d: %v", int32(age), err)
		}
	}
	for i := range 12 { // of the player, last, held and now; a stall in each
		state, err := s.Snapshot(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(state[24+4*i:], math.Float32bits(float32(math.Inf(1))))
		if err := s.Restore(0, state); !errors.Is(err, env.ErrBadSnapshot) {
			t.Errorf("number %d of the player is infinite: %v", i, err)
		}
	}
}

// After a reset of some rows all of them step.
func TestStepAfterAResetOfSome(t *testing.T) {
	v := open(t, queues.Config{Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}, &bench{}, 3)
	var b env.Batch
	for _, rows := range [][]int{nil, {1}} {
		if err := v.Reset(context.Background(), rows, nil, &b); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Step(context.Background(), nil, []int32{0, 1, 0}, &b); err != nil || len(b.Reward) != 3 {
		t.Errorf("%d rows, %v", len(b.Reward), err)
	}
}

// A stall that is measured is what counts, in whichever column; where none is measured, an
// empty buffer stalls, and no other.
func TestWhatStalls(t *testing.T) {
	cfg := queues.Config{StepSeconds: 1, EndOnStall: 1, Observation: queues.Observation{Normalise: "none"}}
	for _, k := range []struct {
		columns []string
		second  []float32
		ends    bool
	}{
		{oneSwitch, []float32{0, 1, 639, 100, 0, 18}, true}, {oneSwitch, []float32{0, 1, 639, 100, .5, 18}, false}, {oneSwitch, []float32{0, 1, 639, 100, 1, 18}, false},
		{append([]string{"stall_s"}, oneSwitch...), []float32{1, 0, 1, 639, 100, 5, 18}, true}, {append([]string{"stall_s"}, oneSwitch...), []float32{0, 0, 1, 639, 100, 0, 18}, false},
	} {
		v, b := begin(t, cfg, &tape{switches: 1, columns: k.columns, windows: [][][]float32{{k.second}}}, nil)
		if step(t, v, b, 0); b.Terminated[0] != k.ends {
			t.Errorf("%v of %v: ends is %v", k.second, k.columns, b.Terminated[0])
		}
	}
}

// The largest action is the number of limits less one, of one limit 1.
func TestActionBounds(t *testing.T) {
	for _, limits := range [][]p4.Limit{{32}, {32, 64}, {32, 64, 128}} {
		v, _ := begin(t, queues.Config{Limits: limits, StepSeconds: 1, Observation: queues.Observation{Normalise: "none"}}, &tape{switches: 1, columns: oneSwitch, windows: [][][]float32{{{0, 1, 639, 100, 5, 18}}}}, nil)
		box := v.Spec().Observation
		for i, e := range box.Elements {
			if want := float32(max(len(limits)-1, 1)); e.Name == "action1" && (box.High[i] != want || box.Low[i] != 0) {
				t.Errorf("of %d limits actions are %v…%v, want 0…%v", len(limits), box.Low[i], box.High[i], want)
			}
		}
	}
}

// Weights are finite, each and together.
func TestInfiniteWeights(t *testing.T) {
	inf := queues.Weight(math.Inf(1))
	for _, r := range []queues.Reward{{Rebuffer: inf}, {Switch: inf}, {Rebuffer: inf, Switch: inf}, {Switch: -1}, {Rebuffer: -1}, {Rebuffer: queues.Weight(math.NaN())}} {
		if r.Name = "qoe-lin"; (queues.Config{Reward: r}).Check() == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}
