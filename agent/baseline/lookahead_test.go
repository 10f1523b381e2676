package baseline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

func TestCombinations(t *testing.T) {
	got := Combinations(env.MultiDiscrete{2, 3})
	want := [][]int32{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
}

// payLater is an environment of one action that pays off later: action 1 costs 1 now
// and pays 4 two steps on; action 0 pays 1 now. Its buffer stays empty.
type payLater struct {
	env.Vector
	state map[int][3]uint32 // by row: steps, actions one and two steps ago
}

func (d *payLater) Spec() env.Spec {
	return env.Spec{Action: env.MultiDiscrete{2}, MaxSteps: 12, Limits: []p4.Limit{32, 64}}
}

func (d *payLater) Step(_ context.Context, rows []int, actions []int32, out *env.Batch) error {
	out.Reward = out.Reward[:0]
	for i, r := range rows {
		s := d.state[r]
		pay := float32(1) + 4*float32(s[2])
		if actions[i] == 1 {
			pay -= 2
		}
		out.Reward = append(out.Reward, pay)
		d.state[r] = [3]uint32{s[0] + 1, uint32(actions[i]), s[1]}
	}
	return nil
}

func (d *payLater) InfoFields() []telemetry.Field { return []telemetry.Field{{Name: "lbo_s"}} }

func (d *payLater) Info(_ int, dst []float32) []float32 { return append(dst, 0) }

func (d *payLater) Snapshot(row int, dst []byte) ([]byte, error) {
	for _, x := range d.state[row] {
		dst = binary.LittleEndian.AppendUint32(dst, x)
	}
	return dst, nil
}

func (d *payLater) Restore(row int, src []byte) error {
	var s [3]uint32
	for i := range s {
		s[i] = binary.LittleEndian.Uint32(src[4*i:])
	}
	d.state[row] = s
	return nil
}

// A look-ahead of one step takes what pays now; one of six steps sees what pays
// later. Either leaves the environment in the state it found.
func TestLookAheadSeesWhatPaysLater(t *testing.T) {
	for horizon, want := range map[int]int32{1: 0, 6: 1} {
		v := &payLater{state: map[int][3]uint32{}}
		l, err := NewLookAhead(v, horizon, 2)
		if err != nil {
			t.Fatal(err)
		}
		rows := []int{0, 3}
		l.Begin(rows, []uint64{1, 2})
		actions := make([]int32, 2)
		l.Act(rows, nil, actions)
		if l.Err() != nil || actions[0] != want || actions[1] != want {
			t.Errorf("horizon %d: %v %v, want %d", horizon, actions, l.Err(), want)
		}
		for _, r := range rows {
			if v.state[r] != [3]uint32{} {
				t.Errorf("row %d was left at %v", r, v.state[r])
			}
		}
	}
}

func TestLookAheadNeedsSnapshots(t *testing.T) {
	var v struct{ *noSnapshots }
	if _, err := NewLookAhead(v, 1, 1); err == nil {
		t.Error("a look-ahead without snapshots")
	}
}

// noSnapshots is a vector that takes none.
type noSnapshots struct{ env.Vector }

func (*noSnapshots) Spec() env.Spec { return env.Spec{Action: env.MultiDiscrete{2}} }

// The rule by delay holds the smallest limit while the average of delay over a full
// queue's is above the share: at 1000 packets/s a full queue of 64 waits 64 ms.
func TestWait(t *testing.T) {
	spec := env.Spec{Action: env.MultiDiscrete{2}, Limits: []p4.Limit{32, 64},
		Observation: env.Box{Elements: []telemetry.Field{{Name: "deq_timedelta1_mean"}}, Low: []float32{0}, High: []float32{float32(math.Inf(1))}}}
	p, err := NewWait(.4, []float64{1000}, spec)
	if err != nil {
		t.Fatal(err)
	}
	p.Begin([]int{0}, []uint64{0})
	a := make([]int32, 1)
	var got []int32
	for _, ms := range []float32{64, 0, 16, 48, 0} {
		// averages of shares of the queue in force: 1/2, 1/4, 1/4, 1/2, 1/4
		p.Act([]int{0}, []float32{ms * 1000}, a)
		got = append(got, a[0])
	}
	if want := []int32{0, 1, 1, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	spec.Observation.Elements[0].Name = "depth"
	if _, err := NewWait(.4, []float64{1000}, spec); err == nil || err.Error() != "the observation has no deq_timedelta1_mean" {
		t.Error(err)
	}
	if fmt.Sprint(Constant(1, 2)) != "[1 2]" {
		t.Error("a constant is its actions")
	}
}
