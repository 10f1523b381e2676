package testbed_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"runtime"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

var (
	_ env.Plant       = (*testbed.Testbed)(nil)
	_ env.Snapshotter = (*testbed.Testbed)(nil)
)

type thousandth struct{}

func (thousandth) Scale(_ int, x float32) float32 { return x / 1000 }

func open(t testing.TB, cfg testbed.Config) *testbed.Testbed {
	t.Helper()
	p, err := testbed.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// light is little traffic, for what must be right under any.
func light() testbed.Config {
	one := 1
	return testbed.Config{WarmupS: &one, Loads: []testbed.Load{
		{Kind: "tcp", ObjectKB: 20, ThinkS: .2, Pattern: testbed.Pattern{N: 1}},
		{Kind: "udp", Arrivals: "poisson", PPS: 20, Pattern: testbed.Pattern{Kind: "walk", N: 1, Max: 2, Amplitude: 1}},
	}}
}

func TestContract(t *testing.T) {
	for _, perSwitch := range []bool{false, true} {
		t.Run(fmt.Sprint(perSwitch), func(t *testing.T) {
			envtest.Check(t, func(t *testing.T) env.Vector {
				v, err := queues.New(queues.Config{PerSwitch: perSwitch, Limits: []p4.Limit{8, 64}, StepSeconds: 1, MaxSteps: 40}, open(t, light()), 4, thousandth{})
				if err != nil {
					t.Fatal(err)
				}
				return v
			})
		})
	}
}

// rollout is what rows measured over steps of 4 s, by row.
func rollout(t testing.TB, p *testbed.Testbed, rows []int, seeds []uint64, steps int) map[int][]float32 {
	t.Helper()
	ctx, got := context.Background(), map[int][]float32{}
	var w telemetry.Window
	w.Size(len(rows), 4, len(p.Columns()))
	for k := range steps {
		var limit []p4.Limit
		for _, s := range seeds {
			for n := range p.Switches() {
				limit = append(limit, p4.Limit(8<<((s+uint64(k+n))%4)))
			}
		}
		var err error
		if k == 0 {
			err = p.Reset(ctx, rows, seeds, limit, &w)
		} else {
			err = p.Advance(ctx, rows, limit, &w)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			v, _ := w.Row(i)
			got[r] = append(got[r], v...)
		}
	}
	return got
}

// What a seed gives depends on the seed alone: not on the batch, not on its
// row, not on the threads.
func TestSameSeedSameBytes(t *testing.T) {
	seeds := []uint64{5, 6, 7, 8, 9}
	many := rollout(t, open(t, testbed.Config{}), []int{0, 1, 2, 3, 4}, seeds, 8)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one := rollout(t, open(t, testbed.Config{}), []int{4, 3, 2, 1, 0}, []uint64{9, 8, 7, 6, 5}, 8)
	for r := range seeds {
		alone := rollout(t, open(t, testbed.Config{}), []int{2}, seeds[r:r+1], 8)[2]
		if !slices.Equal(many[r], one[r]) || !slices.Equal(many[r], alone) {
			t.Errorf("seed %d: batch, reversed single-threaded batch and alone differ", seeds[r])
		}
	}
	if slices.Equal(many[0], many[1]) {
		t.Error("two seeds measure the same")
	}
}

func TestSnapshot(t *testing.T) {
	p := open(t, testbed.Config{})
	rollout(t, p, []int{0}, []uint64{3}, 3)
	state, err := p.Snapshot(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(state))
	advance := func(p *testbed.Testbed, row, seconds int, l p4.Limit) []float32 {
		var w telemetry.Window
		w.Size(1, seconds, len(p.Columns()))
		if err := p.Advance(context.Background(), []int{row}, slices.Repeat([]p4.Limit{l}, p.Switches()), &w); err != nil {
			t.Fatal(err)
		}
		return w.Values
	}
	a := advance(p, 0, 30, 64)
	if b := advance(p, 0, 30, 64); slices.Equal(a, b) {
		t.Fatal("time stands still")
	}
	// The same instant again, in another row of another testbed, where another
	// run was under way; then the other action.
	q := open(t, testbed.Config{})
	rollout(t, q, []int{1}, []uint64{99}, 2)
	for _, row := range []int{1, 2} {
		if err := q.Restore(row, state); err != nil {
			t.Fatal(err)
		}
		again, err := q.Snapshot(row, nil)
		if err != nil || !bytes.Equal(state, again) {
			t.Errorf("row %d: the snapshot of a restored run is another one (%v)", row, err)
		}
		if b := advance(q, row, 30, 64); !slices.Equal(a, b) {
			t.Errorf("row %d: after a restore the run goes another way", row)
		}
	}
	if err := q.Restore(2, state); err != nil {
		t.Fatal(err)
	}
	if b := advance(q, 2, 30, 4); slices.Equal(a, b) {
		t.Error("a limit of 4 packets changes nothing")
	}
	for name, bad := range map[string][]byte{
		"cut": state[:len(state)-1], "empty": {}, "altered": append([]byte{state[0]}, append([]byte{state[1] + 1}, state[2:]...)...),
	} {
		if err := q.Restore(0, bad); !errors.Is(err, testbed.ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := open(t, testbed.Config{HorizonS: 50})
	if err := other.Restore(0, state); !errors.Is(err, testbed.ErrBadSnapshot) {
		t.Errorf("a snapshot of another configuration: %v", err)
	}
}

func TestHorizonTruncates(t *testing.T) {
	p := open(t, testbed.Config{HorizonS: 12})
	var w telemetry.Window
	w.Size(1, 4, len(p.Columns()))
	limit := []p4.Limit{32, 32, 32}
	if err := p.Reset(context.Background(), []int{0}, []uint64{1}, limit, &w); err != nil {
		t.Fatal(err)
	}
	for k, want := range []telemetry.End{telemetry.Going, telemetry.Going, telemetry.Truncated} {
		if k > 0 {
			if err := p.Advance(context.Background(), []int{0}, limit, &w); err != nil {
				t.Fatal(err)
			}
		}
		if w.End[0] != want {
			t.Errorf("window %d: %v (%s), want %v", k, w.End[0], w.Reason[0], want)
		}
	}
}

// Whatever a client sends as a state, the testbed refuses it or goes on: no
// other row notices.
func FuzzRestore(f *testing.F) {
	p := open(f, light())
	rollout(f, p, []int{0}, []uint64{3}, 3)
	state, err := p.Snapshot(0, nil)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 60 {
		k := rng.Key{Seed: uint64(i), Purpose: rng.Action}
		f.Add(uint32(k.Intn(0, len(state))), byte(k.Intn(1, 256)), uint32(k.Intn(2, len(state))), byte(k.Intn(3, 256)))
	}
	ctx := context.Background()
	var w telemetry.Window
	w.Size(1, 5, len(p.Columns()))
	limit := slices.Repeat([]p4.Limit{16}, p.Switches())
	f.Fuzz(func(t *testing.T, at uint32, x byte, also uint32, y byte) {
		b := slices.Clone(state)
		n := len(b) - 8
		b[16+int(at)%(n-16)] ^= x
		b[16+int(also)%(n-16)] ^= y
		binary.LittleEndian.PutUint64(b[n:], crc64.Checksum(b[:n], crc64.MakeTable(crc64.ECMA)))
		if err := p.Restore(0, b); err != nil {
			if !errors.Is(err, testbed.ErrBadSnapshot) {
				t.Fatal(err)
			}
			return
		}
		if err := p.Advance(ctx, []int{0}, limit, &w); err != nil && !errors.Is(err, testbed.ErrBadSnapshot) {
			t.Fatal(err)
		}
		if err := p.Restore(0, state); err != nil {
			t.Fatalf("the state itself: %v", err)
		}
	})
}
