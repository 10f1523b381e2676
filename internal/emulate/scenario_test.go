package emulate_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/planegym/planegym/internal/emulate"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
)

// The scenario that is written reaches the emulated switches: their addresses, queues
// and safe limit are read back from it.
func TestWriteScenario(t *testing.T) {
	s, err := scenarios.Load("testbed")
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulate.Open(emulate.Config{Testbed: s.Testbed, Personality: sim.PINS, Depths: []p4.Limit{64, 32}, Scale: 50, UDP: "127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	file := filepath.Join(t.TempDir(), "lab.toml")
	if err := e.WriteScenario(file, s, "127.0.0.1:8087"); err != nil {
		t.Fatal(err)
	}
	got, err := scenarios.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if l := got.Live; got.Plant != "live" || l.Safe != 64 || l.TimeScale != 50 || len(l.Switches) != len(e.Servers()) {
		t.Fatalf("%+v", l)
	}
	for i, sw := range got.Live.Switches {
		if sw.Target != e.Servers()[i].Addr() || sw.DeviceID != uint64(i+1) || !slices.Equal(sw.Queues, []p4.Limit{64, 32}) || sw.Role != sim.PINSRole {
			t.Errorf("%+v", sw)
		}
	}
}

// Each limit that comes into force is a line.
func TestLogTo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limits.jsonl")
	var c emulate.Config
	done, err := c.LogTo(file)
	if err != nil {
		t.Fatal(err)
	}
	c.Changed(0, 1, 32)
	c.Changed(2, 1, 64)
	if err := done(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var l struct {
			Switch string
			Limit  p4.Limit
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Switch)
		if want := map[string]p4.Limit{"s1": 32, "s3": 64}[l.Switch]; l.Limit != want {
			t.Errorf("%s: %d, want %d", l.Switch, l.Limit, want)
		}
	}
	if !slices.Equal(got, []string{"s1", "s3"}) {
		t.Errorf("switches %v", got)
	}
	if _, err := c.LogTo(t.TempDir()); err == nil {
		t.Error("a folder as a log")
	}
}
