package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/telemetry"
	collect "github.com/planegym/planegym/telemetry/live"
)

// What Prometheus reads, by name: counts of steps and of limits, and what came in.
func TestMetricsByName(t *testing.T) {
	var m metrics
	for _, e := range []Entry{
		{Why: "policy", TookMS: 3}, {Why: "reset"}, {Why: "close"}, {Why: "telemetry is stale"}, {Why: "policy", Error: "refused"},
		{Why: "agent is silent", TookMS: 250, Got: []Got{{Switch: "s1", Port: 2, Limit: 32}, {Switch: "s2", Port: 3, Limit: 64}}},
	} {
		m.set(e)
	}
	m.step(.5, []float32{3}, collect.Stats{})
	m.step(-2, []float32{4, 30, 1867, .25}, collect.Stats{Reports: 11, Samples: 12, Late: 13, Dropped: 14, Malformed: 15})
	var got []string
	for line := range strings.Lines(m.text()) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.TrimPrefix(strings.TrimSpace(line), "planegym_"))
		}
	}
	want := []string{
		"steps_total 2", "reward -2", "reward_sum -1.5", "safe_total 2", "set_failed_total 1", "set_seconds 0.25",
		`limit_packets{switch="s1",port="2"} 32`, `limit_packets{switch="s2",port="3"} 64`,
		"buffer_seconds 4", "frame_rate 30", "bitrate_kbps 1867", "stall_seconds 0.25",
		"reports_total 11", "samples_total 12", "late_total 13", "dropped_total 14", "malformed_total 15",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	for _, name := range []string{"steps_total counter", "reward gauge", "set_seconds gauge", "safe_total counter"} {
		if !strings.Contains(m.text(), "# TYPE planegym_"+name+"\n") {
			t.Errorf("no %s", name)
		}
	}
}

// A log of a run that ended early is continued; what it ends in decides how.
func TestLogsThatAreContinued(t *testing.T) {
	const header = "timestamp;a"
	for _, c := range []struct {
		name, before string // "-": no file
		after        string // with a line of this run
		last         int64
		fresh, more  bool
		fails        string
	}{
		{"none", "-", header + "\n9;9\n", 0, true, false, ""},
		{"an empty one", "", header + "\n9;9\n", 0, true, false, ""},
		{"a torn header", "timest", header + "\n9;9\n", 0, false, false, ""},
		{"a header without its end", header, header + "\n9;9\n", 0, false, false, ""},
		{"a header", header + "\n", header + "\n9;9\n", 0, false, false, ""},
		{"a torn first line", header + "\n12;", header + "\n9;9\n", 0, false, false, ""},
		{"two lines", header + "\n1000;1\n2500;2\n", header + "\n1000;1\n2500;2\n9;9\n", 2_500_000, false, true, ""},
		{"a torn line after them", header + "\n1000;1\n2500;2\n3", header + "\n1000;1\n2500;2\n9;9\n", 2_500_000, false, true, ""},
		{"a long one", header + "\n" + strings.Repeat("1000;1\n", 20_000) + "2500;2\n", header + "\n" + strings.Repeat("1000;1\n", 20_000) + "2500;2\n9;9\n", 2_500_000, false, true, ""},
		{"other columns", "timestamp;b\n1;1\n", "", 0, false, false, "other columns"},
		{"columns more", header + ";b\n1;1;1\n", "", 0, false, false, "other columns"},
		{"no time at its end", header + "\nx;1\n", "", 0, false, false, `begins with "x", no time`},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		if c.before != "-" {
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := openLogFile(dir, "log", header, ';', 1000)
		if c.fails != "" {
			if got, _ := os.ReadFile(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.fails) || string(got) != c.before {
				t.Errorf("%s: %v, and %q is left", c.name, err, got)
			}
			continue
		}
		if err != nil || l.last != c.last || l.fresh != c.fresh || l.continued != c.more {
			t.Errorf("%s: %+v, %v", c.name, l, err)
			continue
		}
		if _, err := openLogFile(dir, "log", header, ';', 1000); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
			t.Errorf("%s: opened twice: %v", c.name, err)
		}
		l.write([]byte("9;9\n"))
		if err := errors.Join(l.close(), l.close()); err != nil || l.rows != 1 {
			t.Errorf("%s: %v, %d rows", c.name, err, l.rows)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.after {
			t.Errorf("%s: %.80q, %v; want %.80q", c.name, got, err, c.after)
		}
	}
	// One that holds nothing goes with the run that made it, one of another run stays.
	for before, stays := range map[string]bool{"-": false, "timestamp;a\n": true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		if before != "-" {
			if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := openLogFile(dir, "log", header, ';', 1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%q: %v", before, err)
		}
	}
}

// A shadow reads what it was asked for, queue by queue, and sets nothing.
func TestShadowRemembers(t *testing.T) {
	s := NewShadow(nil)
	queues := []p4.Queue{{Switch: 0, Port: 1}, {Switch: 1, Port: 1}, {Switch: 0, Port: 2}}
	ask := func(q []p4.Queue, l ...p4.Limit) {
		t.Helper()
		if _, err := s.Set(context.Background(), q, l); err != nil {
			t.Fatal(err)
		}
	}
	s.(*shadow).Group = p4.Group{}
	ask(queues[:0])
	s.(*shadow).asked[queues[0]], s.(*shadow).asked[queues[1]] = 32, 64
	got, err := s.Read(context.Background(), queues)
	if want := []p4.InForce{{Queue: queues[0], Limit: 32}, {Queue: queues[1], Limit: 64}, {Queue: queues[2]}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// What was read back goes by the names of the inventory, with what was wrong.
func TestNamesOfWhatWasRead(t *testing.T) {
	inv := inventory.Inventory{{Target: "a:1"}, {Name: "core", Target: "b:1"}}
	names := inv.WithDefaults(0)
	got := Named(inv, []p4.InForce{{Queue: p4.Queue{Switch: 1, Port: 2}, Limit: 32}, {Queue: p4.Queue{Switch: 0, Port: 1}, Err: p4.ErrNoLimit}})
	if want := []Got{{"core", 2, 32, ""}, {names[0].Name, 1, 0, p4.ErrNoLimit.Error()}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The share of impossible values that a recording may hold: the usual one, none, or what is asked for.
func TestMostImpossible(t *testing.T) {
	for asked, want := range map[float64]float64{0: telemetry.MaxRefused, -1: 0, -.001: 0, .25: .25, 1: 1} {
		if got := (Record{MaxImpossible: asked}).most(); got != want {
			t.Errorf("%v: %v, want %v", asked, got, want)
		}
	}
}
