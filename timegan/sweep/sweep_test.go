package sweep

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

func TestPresets(t *testing.T) {
	for name, want := range map[string]struct {
		models      int
		first, last string
	}{
		"3":  {3, "per-limit-w50-h20-b100-s0", "per-limit-w50-h20-b156-s0"},
		"9":  {9, "per-limit-w50-h20-b100-s0", "per-limit-w50-h60-b156-s0"},
		"27": {27, "per-limit-w50-h20-b100-s0", "per-limit-w150-h60-b156-s0"},
	} {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Members([]int{32, 64})
		if err != nil {
			t.Fatal(err)
		}
		if len(m) != want.models || m[0].Name != want.first || m[len(m)-1].Name != want.last || m[0].Files[1] != want.first+".64.safetensors" {
			t.Errorf("%s: %d models, %s … %s, files %v", name, len(m), m[0].Name, m[len(m)-1].Name, m[0].Files)
		}
		for i := range m { // the index of Algorithm 1
			if w, h, b := (m[i].Config.Window-50)/50, (m[i].Config.Hidden-20)/20, (m[i].Config.Batch-100)/28; selection.Index(w, h, b, max(1, len(c.Hidden)), 3) != i {
				t.Errorf("%s: model %d is (%d, %d, %d)", name, i, w, h, b)
			}
		}
	}
}

func TestMembersRefuse(t *testing.T) {
	for want, c := range map[string]Config{
		`modes: "both"`:              {Modes: []string{"both"}},
		"hidden: -1":                 {Hidden: []int{-1}},
		"patience -1":                {Patience: -1},
		"is a duplicate in the grid": {Seeds: []uint64{1, 1}},
	} {
		if _, err := c.Members([]int{32}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// recordings are two of 450 s whose quality changes every minute.
func recordings(t *testing.T) []telemetry.Recording {
	t.Helper()
	var fields []telemetry.Field
	for _, c := range selection.Columns {
		f, _ := telemetry.Canonical(strings.Replace(c, "CalcBitrate", "calc_rate", 1))
		fields = append(fields, f)
	}
	var all []telemetry.Recording
	for _, limit := range []int{32, 64} {
		var values []float32
		var valid []bool
		for s := range 450 {
			x := float32(s * s % 17)
			kbps, fps := float32(639), float32(18)
			if s/60%2 == 1 {
				kbps, fps = 3312, 30
			}
			values = append(values, x, 100+x, x/2, 0, 57+x, 0, 0, 50+x, 0, float32(10+s*3%4), kbps, fps, kbps/8)
			for range fields {
				valid = append(valid, true)
			}
		}
		d, err := telemetry.NewDataset(fields, limit, time.Unix(0, 0), values, valid)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, telemetry.Recording{Limit: limit, Data: d})
	}
	return all
}

func tiny() Config {
	return Config{
		Base:    timegan.Config{Window: 8, Hidden: 4, Layers: 1, Noise: 2, Batch: 4, Embed: 4, Super: 2, Joint: 6, Clock: 450},
		Batches: []int{4, 5}, Modes: []string{Conditional, PerLimit}, Rollouts: 2, Every: 2,
	}
}

func engine() (timegan.Engine, error) { return timegan.NewCPU(compute.Go, 1), nil }

// A sweep that was stopped goes on, and ends in the bytes of one that was not.
func TestRunGoesOn(t *testing.T) {
	data, whole, parts := recordings(t), t.TempDir(), t.TempDir()
	want, err := Run(context.Background(), tiny(), data, whole, engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	stops := 0
	for {
		ctx, cancel := context.WithCancel(context.Background())
		seen := 0
		got, err := Run(ctx, tiny(), data, parts, engine, func(_ int, s Status) {
			if s.State == Running {
				if seen++; seen == 7 {
					cancel()
				}
			}
		})
		cancel()
		if errors.Is(err, context.Canceled) {
			if stops++; stops > 40 {
				t.Fatal("does not come further")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i].State != Done || len(got[i].M) != 2 || got[i].M[0] != want[i].M[0] || got[i].MRaw[1] != want[i].MRaw[1] {
				t.Errorf("%s: %s, M %v, want %v", got[i].Name, got[i].State, got[i].M, want[i].M)
			}
			for _, f := range want[i].Files {
				if !bytes.Equal(read(t, whole, f), read(t, parts, f)) {
					t.Errorf("%s differs", f)
				}
			}
		}
		break
	}
	if stops == 0 {
		t.Error("was never stopped")
	}
	again, err := ReadResult(parts)
	if err != nil || len(again) != 4 || again[3].Name != want[3].Name {
		t.Errorf("result: %v, %d models", err, len(again))
	}
}

func read(t *testing.T, folder, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A model whose M does not fall is stopped; one that cannot train is reported,
// and the others go on.
func TestRunStopsAndFails(t *testing.T) {
	c := tiny()
	c.Modes, c.Batches, c.Every, c.Patience = []string{Conditional}, []int{4}, 1, 1
	c.Base.Joint, c.Base.LearningRate = 400, 1e-9
	all, err := Run(context.Background(), c, recordings(t), t.TempDir(), engine, nil)
	if err != nil || all[0].State != Stopped || all[0].Progress.Update >= 400 {
		t.Errorf("%v: %s after %d updates, %s", err, all[0].State, all[0].Progress.Update, all[0].Error)
	}
	c = tiny()
	c.Modes, c.Batches, c.Windows = []string{Conditional}, []int{4}, []int{8, 400}
	if all, err = Run(context.Background(), c, recordings(t), t.TempDir(), engine, nil); err != nil {
		t.Fatal(err)
	}
	if all[0].State != Done || all[1].State != Failed || !strings.Contains(all[1].Error, "no run of 400 seconds") {
		t.Errorf("%s %q, %s %q", all[0].State, all[0].Error, all[1].State, all[1].Error)
	}
}

func TestReadResultRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadResult(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "result.json"), []byte(`[{"nmae": "a"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadResult(dir); err == nil || !strings.Contains(err.Error(), "nmae") {
		t.Error(err)
	}
}

// A sweep that was killed after a model was finished and before that was
// written down ends with the result of one that was not killed.
func TestResultOfAFinishedMember(t *testing.T) {
	data, dir := recordings(t), t.TempDir()
	want, err := Run(context.Background(), tiny(), data, dir, engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	killed := make([]Status, len(want))
	for i, s := range want {
		killed[i] = Status{Member: s.Member, State: Running, Limits: s.Limits, Best: math.MaxFloat64}
	}
	for what, leave := range map[string]func() error{
		"as it began": func() error { return writeResult(filepath.Join(dir, "result.json"), killed) },
		"no result":   func() error { return os.Remove(filepath.Join(dir, "result.json")) },
	} {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(context.Background(), tiny(), data, dir, engine, nil); err != nil {
			t.Fatal(err)
		}
		got, err := ReadResult(dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s: %+v, want %+v", what, got[i], want[i])
			}
		}
	}
}

// Three processes that share a folder, a shard each, make the sweep of one: the
// same files, and a result in the grid's order. The one that comes after them
// all finds nothing left to do.
func TestShards(t *testing.T) {
	c, whole, parts := tiny(), t.TempDir(), t.TempDir()
	want, err := Run(context.Background(), c, recordings(t), whole, engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Shards = 3
	for _, c.Shard = range []int{2, 3, 1} { // of 4 members the first has two
		got, err := Run(context.Background(), c, recordings(t), parts, engine, nil)
		if n := map[int]int{1: 2, 2: 1, 3: 1}[c.Shard]; err != nil || len(got) != n {
			t.Fatalf("shard %d: %v, %d models", c.Shard, err, len(got))
		}
	}
	check := func(got []Status, err error) {
		t.Helper()
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v, %d models", err, len(got))
		}
		for i := range want {
			if got[i].Name != want[i].Name || got[i].State != Done || got[i].M[1] != want[i].M[1] {
				t.Errorf("model %d is %s, %s, M %v; want %s, M %v", i, got[i].Name, got[i].State, got[i].M, want[i].Name, want[i].M)
			}
			for _, f := range want[i].Files {
				if !bytes.Equal(read(t, whole, f), read(t, parts, f)) {
					t.Errorf("%s differs", f)
				}
			}
		}
	}
	check(ReadResult(parts))
	c.Shard, c.Shards = 0, 0
	none := func() (timegan.Engine, error) { return nil, errors.New("there is nothing to train") }
	check(Run(context.Background(), c, recordings(t), parts, none, nil))
	check(ReadResult(parts))
	for _, c.Shard = range []int{-1, 0, 3} {
		c.Shards = 2
		if _, err := c.Members([]int{32}); err == nil || !strings.Contains(err.Error(), "from 1 to 2") {
			t.Errorf("shard %d of 2: %v", c.Shard, err)
		}
	}
}
