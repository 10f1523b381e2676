package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/scenarios"
)

const light = `plant = "testbed"
[env]
limits = [32, 64]
[testbed]
warmup_s = 1
[[testbed.load]]
kind = "tcp"
object_kb = 20
think_s = 0.2
pattern = { n = 1 }
`

func options(t *testing.T) Options {
	t.Helper()
	s, err := scenarios.Parse([]byte(light))
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "light"
	return Options{Scenario: s, Name: "light.toml", Source: []byte(light), Schedule: "fixed", Sessions: 2, Seconds: 24, Seed: 1, Start: "2024-01-01T00:00:00Z"}
}

// Each schedule's limits are those of the table that is written, read back: one a
// session, or changes where a block begins and nowhere else.
func TestLimitsAreTheSchedules(t *testing.T) {
	for _, c := range []struct {
		schedule string
		block    int // seconds in which no limit changes
	}{{"fixed", 24}, {"switchback", 8}, {"random", 4}} {
		o := options(t)
		o.Schedule, o.Block = c.schedule, 8
		dir := filepath.Join(t.TempDir(), "out")
		done := 0
		o.Done = func() { done++ }
		if _, err := Write(t.Context(), dir, o); err != nil {
			t.Fatal(err)
		}
		_, switches, all, err := table.Read(filepath.Join(dir, "recording.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 2 || done != 2 {
			t.Fatalf("%s: %d sessions, %d of them reported", c.schedule, len(all), done)
		}
		for k, x := range all {
			for s := 1; s < len(x.Limits)/switches; s++ {
				// The first step is under the initial limit; blocks begin after it.
				if x.Limits[s*switches] != x.Limits[(s-1)*switches] && (s-4)%c.block != 0 {
					t.Errorf("%s: session %d: another limit at second %d", c.schedule, k, s)
				}
			}
		}
		if all[0].Seed == all[1].Seed {
			t.Errorf("%s: both sessions have seed %d", c.schedule, all[0].Seed)
		}
		if a, b := all[0].Limits[0], all[1].Limits[0]; c.schedule == "fixed" && (a != 32 || b != 64) {
			t.Errorf("limits %d and %d, want those of the scenario in turn", a, b)
		}
	}
}

// The card has the hash of every file that is there.
func TestCardNamesEveryFile(t *testing.T) {
	o := options(t)
	o.Pcap = true
	dir := filepath.Join(t.TempDir(), "out")
	sum, err := Write(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	card, err := os.ReadFile(filepath.Join(dir, "CARD.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "CARD.md" {
			return err
		}
		b, err := os.ReadFile(path)
		h := sha256.Sum256(b)
		name, _ := filepath.Rel(dir, path)
		if line := fmt.Sprintf("| %s | %d | %s |", name, len(b), hex.EncodeToString(h[:])); !strings.Contains(string(card), line) {
			t.Errorf("the card has no line %q", line)
		}
		files++
		return err
	})
	if err != nil || files != 11 || sum.Probes < 40 {
		t.Errorf("%d files, %d probes (%v): want 11 of two sessions", files, sum.Probes, err)
	}
	if !strings.Contains(string(card), "--scenario light.toml --schedule fixed --sessions 2 --seconds 24 --seed 1 --start 2024-01-01T00:00:00Z -o DIR") {
		t.Error("the card has no command that makes the recording")
	}
}

// A failed recording leaves nothing, and a wrong option is named.
func TestWrongOptions(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"start": func(o *Options) { o.Start = "today" }, "sessions": func(o *Options) { o.Sessions = 0 }, "seconds": func(o *Options) { o.Seconds = 25 },
		"policy": func(o *Options) { o.Schedule, o.Policy = "policy", "wise" }, "block-s": func(o *Options) { o.Schedule, o.Block = "switchback", 6 },
		"schedule": func(o *Options) { o.Schedule = "often" },
	} {
		o := options(t)
		change(&o)
		dir := t.TempDir()
		_, err := Write(t.Context(), filepath.Join(dir, "out"), o)
		var wrong *OptionError
		if !errors.As(err, &wrong) || wrong.Option != want {
			t.Errorf("%s: %v", want, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v was left (%v)", want, left, err)
		}
	}
}

// Schedule mixed cuts time into stretches of two longest blocks; in a stretch all
// blocks but the last are of one length, of which short and long ones are as frequent.
func TestMixedBlocks(t *testing.T) {
	const longest = 60
	spec := env.Spec{Action: env.MultiDiscrete{1 << 20}} // so that no two blocks draw alike
	p := &switchback{longest: longest, spec: spec}
	p.Begin([]int{0}, []uint64{5})
	var lengths []int // of first blocks
	a := make([]int32, 1)
	for range 400 {
		var starts []int
		var last int32 = -1
		for s := range 2 * longest {
			p.Act([]int{0}, nil, a)
			if a[0] != last {
				starts = append(starts, s)
			}
			last = a[0]
		}
		starts = append(starts, 2*longest)
		n := starts[1] - starts[0]
		for i := 1; i+2 < len(starts); i++ {
			if starts[i+1]-starts[i] != n {
				t.Fatalf("blocks begin at %v", starts)
			}
		}
		lengths = append(lengths, n)
	}
	if lo, hi := slices.Min(lengths), slices.Max(lengths); lo != 1 || hi < longest-5 || hi > longest {
		t.Errorf("blocks of %d to %d steps, want 1 to %d", lo, hi, longest)
	}
	short := 0 // below the geometric middle, √60
	for _, n := range lengths {
		if n < 8 {
			short++
		}
	}
	if short < 160 || short > 240 {
		t.Errorf("%d of 400 lengths are below 8: half were expected", short)
	}
}

// In schedule mixed every block changes the limit, and in about half of the
// stretches two limits take turns.
func TestMixedBlocksChange(t *testing.T) {
	p := &switchback{longest: 60, spec: env.Spec{Action: env.MultiDiscrete{5}}}
	p.Begin([]int{0}, []uint64{7})
	a := make([]int32, 1)
	turns, long := 0, 0
	var last int32 = -1
	for range 400 {
		var blocks []int32
		for range 120 {
			block := p.rows[0].block
			if p.Act([]int{0}, nil, a); p.rows[0].block == block {
				continue
			}
			if a[0] == last {
				t.Fatal("a block has the limit of the one before it")
			}
			last = a[0]
			blocks = append(blocks, last)
		}
		if len(blocks) < 8 { // by chance as well
			continue
		}
		long++
		two := true
		for i := 2; i < len(blocks); i++ {
			two = two && blocks[i] == blocks[i-2]
		}
		if two {
			turns++
		}
	}
	if share := float64(turns) / float64(long); share < .4 || share > .6 {
		t.Errorf("in %d of %d stretches two limits take turns: half were expected", turns, long)
	}
}

// Branches of a moment share what was measured before it, and the one under the limit
// that stays in force measures what the session itself goes on to measure: a snapshot
// and the second run that it is restored into are one road, the session is the other.
func TestBranches(t *testing.T) {
	o := options(t)
	o.Seconds, o.Branch, o.Every = history+40, 12, 16
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := Write(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	fields, switches, trunks, err := table.Read(filepath.Join(dir, "recording.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, tried, err := table.Read(filepath.Join(dir, "branches.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	moments := []int{208, 224} // multiples of 16 from history on that an action follows
	if len(tried) != len(trunks)*len(moments)*2 {
		t.Fatalf("%d branches of %d sessions, want two limits at %v", len(tried), len(trunks), moments)
	}
	f := len(fields)
	for i, b := range tried {
		trunk, at := trunks[i/4], moments[i/2%2]
		limit := []int32{32, 64}[i%2]
		from := at - history
		if !slices.Equal(b.Limits[:history*switches], trunk.Limits[from*switches:at*switches]) || !slices.Equal(b.Values[:history*f], trunk.Values[from*f:at*f]) {
			t.Fatalf("branch %d does not begin as its session did before second %d", i, at)
		}
		for _, l := range b.Limits[history*switches:] {
			if int32(l) != limit {
				t.Fatalf("branch %d: limit %d, want %d", i, l, limit)
			}
		}
		if n := len(b.Values) / f; n != history+12 {
			t.Fatalf("branch %d has %d s", i, n)
		}
		same := slices.Equal(b.Values[history*f:], trunk.Values[at*f:(at+12)*f])
		if stays := int32(trunk.Limits[0]) == limit; stays && !same {
			t.Errorf("branch %d, limit %d as before: it measures other values than the session", i, limit)
		}
	}
	card, err := os.ReadFile(filepath.Join(dir, "CARD.md"))
	if err != nil || !strings.Contains(string(card), "--branch-s 12 --every-s 16 -o DIR") || !strings.Contains(string(card), "branches.parquet") {
		t.Errorf("the card does not say how the branches are made (%v)", err)
	}
	o.Branch = -1
	if _, err := Write(t.Context(), dir+"2", o); err == nil {
		t.Error("-1 s of a branch are taken")
	}
	o.Branch, o.Every = 12, 6
	if _, err := Write(t.Context(), dir+"2", o); err == nil {
		t.Error("moments between two steps are taken")
	}
}
