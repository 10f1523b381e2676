package replay_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/replay"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// at is the second that a row's window begins at: the LBO of recording says it.
func at(w *telemetry.Window, row int) int {
	values, _ := w.Row(row)
	return int(values[3]) % 1000
}

// Episodes begin at every second that leaves a window to step into, the last one among them,
// and where a seed says; with "first" at 0.
func TestStarts(t *testing.T) {
	ctx := context.Background()
	var w telemetry.Window
	w.Size(1, 4, len(oneSwitch))
	p := plantOf(t, "", recording(32, 11), recording(64, 12))
	seen := map[int]int{}
	for seed := range uint64(200) {
		if err := p.Reset(ctx, []int{2}, []uint64{seed}, []p4.Limit{64}, &w); err != nil {
			t.Fatal(err)
		}
		seen[at(&w, 0)]++
		if w.End[0] != telemetry.Going {
			t.Fatalf("an episode from second %d ends with its first window", at(&w, 0))
		}
		first := at(&w, 0)
		if err := p.Reset(ctx, []int{0}, []uint64{seed}, []p4.Limit{64}, &w); err != nil || at(&w, 0) != first {
			t.Fatalf("seed %d begins at %d in row 2 and at %d in row 0", seed, first, at(&w, 0))
		}
	}
	for start := range 4 {
		if seen[start] < 20 {
			t.Errorf("200 episodes begin at %v", seen)
		}
	}
	if len(seen) != 4 {
		t.Errorf("200 episodes begin at %v, want 0 to 3", seen)
	}
	p = plantOf(t, "first", recording(32, 8))
	if err := p.Reset(ctx, []int{0}, []uint64{7}, []p4.Limit{32}, &w); err != nil || at(&w, 0) != 0 || w.End[0] != telemetry.Going {
		t.Errorf("begins at %d, %v", at(&w, 0), err)
	}
	if err := p.Advance(ctx, []int{0}, []p4.Limit{32}, &w); err != nil || at(&w, 0) != 4 || w.End[0] != telemetry.Truncated || w.Reason[0] != "the recording ends" {
		t.Errorf("goes on at %d, %v (%s), %v", at(&w, 0), w.End[0], w.Reason[0], err)
	}
	if err := p.Advance(ctx, []int{0}, []p4.Limit{32}, &w); err == nil || !strings.Contains(err.Error(), "no window of 4 s is left at second 8 of 8") {
		t.Errorf("past the end: %v", err)
	}
	if err := p.Reset(ctx, []int{0}, []uint64{7}, []p4.Limit{32}, &w); err != nil || w.End[0] != telemetry.Going || w.Reason[0] != "" {
		t.Errorf("begun anew: %v (%s), %v", w.End[0], w.Reason[0], err)
	}
}

// A row's state is its place in the recordings, up to their end.
func TestStateOfARow(t *testing.T) {
	ctx := context.Background()
	p := plantOf(t, "first", recording(32, 20))
	var w telemetry.Window
	w.Size(1, 4, len(oneSwitch))
	if s, err := p.Snapshot(0, []byte("x")); err != nil || string(s) != "x\x00\x00\x00\x00" {
		t.Errorf("of a row that never began: %q, %v", s, err)
	}
	if err := p.Reset(ctx, []int{0}, []uint64{1}, []p4.Limit{32}, &w); err != nil {
		t.Fatal(err)
	}
	s, err := p.Snapshot(0, nil)
	if err != nil || binary.LittleEndian.Uint32(s) != 4 {
		t.Fatalf("%x, %v", s, err)
	}
	if err := p.Restore(5, s); err != nil {
		t.Fatal(err)
	}
	if err := p.Advance(ctx, []int{5}, []p4.Limit{32}, &w); err != nil || at(&w, 0) != 4 {
		t.Errorf("restored it goes on at %d, %v", at(&w, 0), err)
	}
	for second, ok := range map[uint32]bool{0: true, 19: true, 20: true, 21: false, 1 << 31: false} {
		var row *env.RowError
		if err := p.Restore(1, binary.LittleEndian.AppendUint32(nil, second)); (err == nil) != ok || err != nil && (!errors.Is(err, env.ErrBadSnapshot) || !errors.As(err, &row) || row.Row != 1) {
			t.Errorf("second %d: %v", second, err)
		}
	}
	for _, s := range [][]byte{nil, s[1:], append(s, 0)} {
		if err := p.Restore(0, s); !errors.Is(err, env.ErrBadSnapshot) {
			t.Errorf("%d bytes: %v", len(s), err)
		}
	}
}

// Recordings are sorted by their limits. An error names what they lack: a limit, one limit for
// all switches, a column of which nothing was measured. A column that is not needed may be empty.
func TestRecordingsOfAPlant(t *testing.T) {
	p := plantOf(t, "", recording(64, 30), recording(16, 30), recording(32, 30))
	if got := p.Limits(); !slices.Equal(got, []p4.Limit{16, 32, 64}) || p.Switches() != 1 || len(p.Columns()) != 6 || !slices.Equal(p.Ladder(), telemetry.LadderOf(recording(16, 30))) {
		t.Errorf("limits %v, %d switches", got, p.Switches())
	}
	with := func(missing string, fields ...string) *telemetry.Dataset {
		var f []telemetry.Field
		var valid []bool
		for _, name := range fields {
			f = append(f, telemetry.Field{Name: name})
		}
		for range 30 {
			for _, name := range fields {
				valid = append(valid, name != missing)
			}
		}
		return dataset(f, 32, make([]float32, len(valid)), valid)
	}
	two := []string{"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2", "lbo_s", "fps", "rep_kbps"}
	for _, k := range []struct{ missing, want string }{
		{"", ""}, {"deq_qdepth1", ""}, {"enq_qdepth2", "the recording of limit 32 holds no value of enq_qdepth2"}, {"deq_timedelta1", "no value of deq_timedelta1"}, {"lbo_s", "no value of lbo_s"}, {"fps", "no value of fps"}, {"rep_kbps", "no value of rep_kbps"},
	} {
		p, err := replay.New(replay.Config{}, []*telemetry.Dataset{with(k.missing, two...)})
		if (err == nil) != (k.want == "") || err != nil && !strings.Contains(err.Error(), k.want) {
			t.Errorf("without %q: %v, want %q", k.missing, err, k.want)
		}
		if err != nil {
			continue
		}
		var w telemetry.Window
		w.Size(2, 4, len(two))
		for _, c := range []struct {
			limits []p4.Limit
			want   string
		}{
			{[]p4.Limit{32, 32, 32, 32}, ""}, {[]p4.Limit{32, 32, 32, 64}, "row 1: env: replay: limits [32 64]: every recording has one for all switches"}, {[]p4.Limit{64, 64, 32, 32}, "row 0: env: replay: no recording of limit 64: there are [32]"},
		} {
			if err := p.Reset(context.Background(), []int{0, 1}, []uint64{1, 2}, c.limits, &w); fmt.Sprint(err) != c.want && !(err == nil && c.want == "") {
				t.Errorf("limits %v: %v, want %q", c.limits, err, c.want)
			}
		}
	}
	if _, err := replay.New(replay.Config{}, []*telemetry.Dataset{with("", "lbo_s", "fps", "rep_kbps")}); err == nil || !strings.Contains(err.Error(), "measure no switch") {
		t.Errorf("without a switch: %v", err)
	}
	for _, start := range []string{"", "random", "first"} {
		if err := (replay.Config{Start: start}).Check(); err != nil {
			t.Error(err)
		}
	}
}
