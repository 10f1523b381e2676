package queues_test

import (
	"context"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

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
		v, err := queues.New(queues.Config{EndOnStall: 6, Autoreset: env.Disabled, Observation: queues.Observation{Normalise: "none"}}, c.plant, 1, nil)
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
