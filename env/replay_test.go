package env_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/envtest"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// recording is one of a switch whose LBO at second t is 1000·limit + t; INT
// is missing in every third second, from the first on.
func recording(limit p4.Limit, seconds int) env.Recording {
	r := env.Recording{Limit: limit}
	for _, name := range []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "lbo_s", "fps", "rep_kbps"} {
		r.Fields = append(r.Fields, telemetry.Field{Name: name})
	}
	for t := range seconds {
		r.Values = append(r.Values, float32(t), 100, 1, float32(1000*int(limit)+t), 30, 3312)
		for c := range r.Fields {
			r.Valid = append(r.Valid, c > 2 || t%3 != 0)
		}
		if t%3 == 0 {
			r.Values[t*6] = float32(math.NaN())
		}
	}
	return r
}

func replay(t *testing.T, start string, r ...env.Recording) *env.Replay {
	t.Helper()
	p, err := env.NewReplay(env.ReplayConfig{Start: start}, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReplayContract(t *testing.T) {
	envtest.Check(t, func(t *testing.T) env.Vector {
		return open(t, env.Config{}, replay(t, "random", recording(64, 400), recording(32, 410)), 4)
	})
}

// The limit picks the recording; the clock goes on across a change. The
// episode ends with the last whole window of the shortest recording.
func TestReplayLimitPicksTheRecording(t *testing.T) {
	v := open(t, env.Config{Initial: 32}, replay(t, "first", recording(64, 19), recording(32, 25)), 1)
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

// A gap shows the last value before it; the median where there is none.
func TestReplayFillsGaps(t *testing.T) {
	p := replay(t, "first", recording(64, 19))
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
	if want := []float32{10, 1, 2, 2}; !slices.Equal(depth, want) {
		t.Errorf("enq_qdepth1 %v, want %v", depth, want)
	}
	if want := []bool{false, true, true, false}; !slices.Equal(valid, want) {
		t.Errorf("valid %v, want %v", valid, want)
	}
}

func TestReplayRandomStartsDiffer(t *testing.T) {
	v := open(t, env.Config{}, replay(t, "random", recording(32, 400), recording(64, 400)), 32)
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
	short, other, infinite := recording(32, 30), recording(64, 30), recording(32, 30)
	short.Values = short.Values[:12]
	other.Fields = slices.Clone(other.Fields)
	other.Fields[0].Name = "enq_depth1"
	infinite.Values[3] = float32(math.Inf(1))
	for _, c := range []struct {
		want       string
		start      string
		recordings []env.Recording
	}{
		{"no recording", "", nil},
		{`start: "last" is none of`, "last", []env.Recording{recording(32, 30)}},
		{"two recordings of limit 32", "", []env.Recording{recording(32, 30), recording(32, 30)}},
		{"different fields", "", []env.Recording{recording(32, 30), other}},
		{"12 values", "", []env.Recording{short}},
		{"second 0: lbo_s is +Inf", "", []env.Recording{infinite}},
		{"limit", "", []env.Recording{recording(0, 30)}},
	} {
		if _, err := env.NewReplay(env.ReplayConfig{Start: c.start}, c.recordings); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}

	var b env.Batch
	v := open(t, env.Config{}, replay(t, "", recording(64, 7)), 1)
	if err := v.Reset(context.Background(), nil, nil, &b); err == nil || !strings.Contains(err.Error(), "shorter than two windows") {
		t.Errorf("7 s of recording: %v", err)
	}
	v = open(t, env.Config{}, replay(t, "", recording(64, 30)), 1)
	if err := v.Reset(context.Background(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	var row *env.RowError
	if err := v.Step(context.Background(), nil, []int32{0}, &b); !errors.As(err, &row) || !strings.Contains(fmt.Sprint(err), "no recording of limit 32") {
		t.Errorf("limit 32 without a recording: %v", err)
	}
}
