package replay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/env/plant/replay"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// oneSwitch is what a recording of one switch measures.
var oneSwitch = []telemetry.Field{
	{Name: "enq_qdepth1"}, {Name: "deq_timedelta1"}, {Name: "deq_qdepth1"}, {Name: "lbo_s"}, {Name: "fps"}, {Name: "rep_kbps"},
}

// recording is one of a switch whose LBO at second t is 1000·limit + t; INT
// is missing in every third second, from the first on.
func recording(limit, seconds int) *telemetry.Dataset {
	var values []float32
	var valid []bool
	for t := range seconds {
		values = append(values, float32(t), 100, 1, float32(1000*limit+t), 30, 3312)
		for c := range oneSwitch {
			valid = append(valid, c > 2 || t%3 != 0)
		}
	}
	return dataset(oneSwitch, limit, values, valid)
}

func dataset(fields []telemetry.Field, limit int, values []float32, valid []bool) *telemetry.Dataset {
	d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, valid)
	if err != nil {
		panic(err)
	}
	return d
}

func plantOf(t *testing.T, start string, r ...*telemetry.Dataset) *replay.Plant {
	t.Helper()
	p, err := replay.New(replay.Config{Start: start}, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReplayContract(t *testing.T) {
	envtest.Check(t, func(t *testing.T) env.Vector {
		return open(t, queues.Config{}, plantOf(t, "random", recording(64, 400), recording(32, 410)), 4)
	})
}

// The limit picks the recording; the clock goes on across a change. The
// episode ends with the last whole window of the shortest recording.
func TestReplayLimitPicksTheRecording(t *testing.T) {
	v := open(t, queues.Config{Initial: 32}, plantOf(t, "first", recording(64, 19), recording(32, 25)), 1)
	var b env.Batch
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	lbo := func() float32 { return v.(env.Informer).Info(0, nil)[0] }
	if got := lbo(); got != 32003 {
		t.Errorf("reset shows LBO %v, want 32003: the last second of the first window at limit 32", got)
	}
	for i, want := range []float32{64007, 32011, 64015} {
		if err := v.Step(context.Background(), nil, []int32{int32(i+1) % 2}, &b); err != nil {
			t.Fatal(err)
		}
		if got := lbo(); got != want {
			t.Errorf("step %d shows LBO %v, want %v", i, got, want)
		}
		if b.Truncated[0] != (i == 2) || b.Terminated[0] {
			t.Errorf("step %d: terminated %v, truncated %v", i, b.Terminated[0], b.Truncated[0])
		}
	}
}

// A gap shows the last value before it; the recording's median where there is
// none.
func TestReplayFillsGaps(t *testing.T) {
	p := plantOf(t, "first", recording(64, 19))
	var w telemetry.Window
	w.Size(1, 4, len(p.Columns()))
	if err := p.Reset(context.Background(), []int{0}, []uint64{0}, []p4.Limit{64}, &w); err != nil {
		t.Fatal(err)
	}
	var depth []float32
	var valid []bool
	for s := range 4 {
		depth, valid = append(depth, w.Values[s*w.Fields]), append(valid, w.Valid[s*w.Fields])
	}
	if want := []float32{9, 1, 2, 2}; !slices.Equal(depth, want) {
		t.Errorf("enq_qdepth1 %v, want %v", depth, want)
	}
	if want := []bool{false, true, true, false}; !slices.Equal(valid, want) {
		t.Errorf("valid %v, want %v", valid, want)
	}
}

func TestReplayRandomStartsDiffer(t *testing.T) {
	v := open(t, queues.Config{}, plantOf(t, "random", recording(32, 400), recording(64, 400)), 32)
	var b env.Batch
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	starts := map[float32]bool{}
	for r := range 32 {
		starts[v.(env.Informer).Info(r, nil)[0]] = true
	}
	if len(starts) < 25 {
		t.Errorf("32 rows start at %d places", len(starts))
	}
}

func TestReplayRefuses(t *testing.T) {
	other := slices.Clone(oneSwitch)
	other[0].Name = "enq_depth1"
	for _, c := range []struct {
		want       string
		start      string
		recordings []*telemetry.Dataset
	}{
		{"no recording", "", nil},
		{`start: "last" is not one of`, "last", []*telemetry.Dataset{recording(32, 30)}},
		{"two recordings of limit 32", "", []*telemetry.Dataset{recording(32, 30), recording(32, 30)}},
		{"different fields", "", []*telemetry.Dataset{recording(32, 30), dataset(other, 64, make([]float32, 60), make([]bool, 60))}},
		{"limit", "", []*telemetry.Dataset{recording(0, 30)}},
	} {
		if _, err := replay.New(replay.Config{Start: c.start}, c.recordings); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}

	var b env.Batch
	v := open(t, queues.Config{}, plantOf(t, "", recording(64, 7)), 1)
	if err := v.Reset(context.Background(), nil, nil, &b); err == nil || !strings.Contains(err.Error(), "shorter than two windows") {
		t.Errorf("7 s of recording: %v", err)
	}
	v = open(t, queues.Config{}, plantOf(t, "", recording(64, 30)), 1)
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	var row *env.RowError
	if err := v.Step(context.Background(), nil, []int32{0}, &b); !errors.As(err, &row) || !strings.Contains(fmt.Sprint(err), "no recording of limit 32") {
		t.Errorf("limit 32 without a recording: %v", err)
	}
}

// sixtyFourth scales every column by 1/64.
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
