package env_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

var errFailing = errors.New("fails once")

// failing is a vector whose calls fail where failReset or failStep say so, before
// they change anything.
type failing struct {
	env.Vector
	failReset, failStep bool
}

func (f *failing) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	if f.failReset {
		f.failReset = false
		return errFailing
	}
	return f.Vector.Reset(ctx, rows, seeds, out)
}

func (f *failing) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	if f.failStep {
		f.failStep = false
		return errFailing
	}
	return f.Vector.Step(ctx, rows, actions, out)
}

func (f *failing) Snapshot(row int, dst []byte) ([]byte, error) {
	return f.Vector.(env.Snapshotter).Snapshot(row, dst)
}

func (f *failing) Restore(row int, src []byte) error {
	return f.Vector.(env.Snapshotter).Restore(row, src)
}

// TestAutoresetSurvivesFailures: a call that steps some rows and resets others is
// made again after it failed, and everything goes on as if it had not: no row is
// left behind an episode that is over. A row that such a call had already reset
// keeps its first observation through a snapshot.
func TestAutoresetSurvivesFailures(t *testing.T) {
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep} {
		for _, fault := range []string{"reset", "step", "none"} {
			t.Run(fmt.Sprintf("%v/%s", mode, fault), func(t *testing.T) {
				want := rolloutWith(t, mode, "none", false)
				got := rolloutWith(t, mode, fault, false)
				if mode == env.NextStep && !slices.Equal(got, want) {
					t.Errorf("after failures of %s the run is another", fault)
				}
				if mode == env.NextStep && !slices.Equal(rolloutWith(t, mode, fault, true), want) {
					t.Errorf("after failures of %s and snapshots the run is another", fault)
				}
			})
		}
	}
}

// rolloutWith steps four cart poles 400 times. Every seventh call fails once, and
// is made again.
func rolloutWith(t *testing.T, mode env.Autoreset, fault string, snapshots bool) []float32 {
	t.Helper()
	cart, err := env.NewCartPole(4, env.Disabled)
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Vector: cart}
	v := env.WithAutoreset(f, mode)
	var b env.Batch
	ctx := context.Background()
	if err := v.Reset(ctx, nil, []uint64{1, 2, 3, 4}, &b); err != nil {
		t.Fatal(err)
	}
	var all []float32
	for k := range 400 {
		actions := []int32{int32(k % 2), int32(k / 3 % 2), 1, int32(k / 2 % 2)}
		f.failReset, f.failStep = fault == "reset" && k%7 < 3, fault == "step" && k%7 < 3
		for {
			err := v.Step(ctx, nil, actions, &b)
			if err == nil {
				break
			}
			if !errors.Is(err, errFailing) {
				t.Fatalf("step %d after a failure: %v", k, err)
			}
			if snapshots {
				for row := range 4 {
					state, err := v.(env.Snapshotter).Snapshot(row, nil)
					if err == nil {
						err = v.(env.Snapshotter).Restore(row, state)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		f.failReset, f.failStep = false, false
		all = append(append(all, b.Obs...), b.Reward...)
		for i := range 4 {
			if b.Terminated[i] {
				all = append(all, float32(k))
			}
		}
	}
	return all
}

// gappy is a plant of one switch whose player is as say has it, second by second.
type gappy struct {
	clock  int
	stalls bool // it measures stall_s
	say    func(second int) (lbo, stall float32, measured bool)
}

func (g *gappy) Switches() int { return 1 }
func (g *gappy) Close() error  { return nil }
func (g *gappy) Columns() []telemetry.Field {
	var f []telemetry.Field
	for _, n := range []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "lbo_s", "fps", "rep_kbps", "stall_s"} {
		f = append(f, telemetry.Field{Name: n})
	}
	if !g.stalls {
		f = f[:6]
	}
	return f
}

func (g *gappy) Reset(ctx context.Context, rows []int, _ []uint64, limit []p4.Limit, out *telemetry.Window) error {
	g.clock = 0
	return g.Advance(ctx, rows, limit, out)
}

func (g *gappy) Advance(_ context.Context, _ []int, _ []p4.Limit, out *telemetry.Window) error {
	values, valid := out.Row(0)
	for t := range out.Seconds {
		lbo, stall, measured := g.say(g.clock)
		copy(values[t*out.Fields:], []float32{1, 1, 1, lbo, 18, 639, stall}[:out.Fields])
		for f := range out.Fields {
			valid[t*out.Fields+f] = f < 3 || measured
		}
		g.clock++
	}
	out.End[0], out.Reason[0] = telemetry.Going, ""
	return nil
}

// TestStallsAreMeasured: seconds in which the player was not measured repeat its
// last value, and are no stall: a stall of half a second before a gap stays half a
// second, pays once, and ends no episode. One that goes on beyond a gap does.
func TestStallsAreMeasured(t *testing.T) {
	gap := func(from, to int, before, after float32, stalls bool) *gappy {
		return &gappy{stalls: stalls, say: func(s int) (lbo, stall float32, measured bool) {
			x := before
			if s >= to {
				x = after
			}
			if s < from-1 {
				x = 0
			}
			lbo = 9
			if x > 0 {
				lbo = 0
			}
			return lbo, x, s < from || s >= to
		}}
	}
	for _, c := range []struct {
		what   string
		plant  *gappy
		stall  []float32 // by step, of Info
		reward []float32
		ends   int // the step that terminates, -1 none
	}{
		// seconds 0-3 are the reset's; the stall is in second 7; 8…26 are a gap
		{"half a second before a gap", gap(8, 27, .5, 0, true), []float32{.5, 0, 0, 0, 0, 0}, []float32{-2, .1, .1, .1, .1, .1}, -1},
		{"a second of an empty buffer before a gap", gap(8, 27, 1, 0, false), []float32{1, 0, 0, 0, 0, 0}, []float32{-2, .1, .1, .1, .1, .1}, -1},
		{"a stall that goes on after a gap", gap(8, 10, 1, 1, true), []float32{1, 2, 4, 4}, []float32{-2, -2, -2, -2}, 2},
		{"an empty buffer that goes on after a gap", gap(8, 10, 1, 1, false), []float32{1, 2, 4, 4}, []float32{-2, -2, -2, -2}, 2},
	} {
		v, err := env.New(env.Config{EndOnStall: 6, Autoreset: env.Disabled, Observation: env.Observation{Normalise: "none"}}, c.plant, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b env.Batch
		if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
			t.Fatal(err)
		}
		for k, want := range c.stall {
			if err := v.Step(context.Background(), nil, []int32{0}, &b); err != nil {
				t.Fatalf("%s: step %d: %v", c.what, k, err)
			}
			info := v.(env.Informer).Info(0, nil)
			if info[3] != want || b.Reward[0] != c.reward[k] || b.Terminated[0] != (k == c.ends) {
				t.Errorf("%s: step %d: stall %v, reward %v, terminated %v; want %v, %v, %v", c.what, k, info[3], b.Reward[0], b.Terminated[0], want, c.reward[k], k == c.ends)
			}
			if b.Terminated[0] {
				break
			}
		}
	}
}
