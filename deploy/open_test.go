package deploy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
)

// What is wrong is said before a switch is asked; the journal, where there is one
// already, ends with the reason.
func TestOpenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name    string
		edit    func(*Config)
		want    string
		journal string // its last line holds this; "": there is no line
	}{
		{"another plant", func(c *Config) { c.Scenario.Plant = "testbed" }, `deploy: the scenario has plant = "testbed", not "live"`, ""},
		{"a negative time", func(c *Config) { c.For = -time.Second }, "deploy: for: -1s is negative", ""},
		{"no folder for the journal", func(c *Config) { c.Journal += "/x/y" }, "deploy: journal: open ", ""},
		{"metrics at an address that is taken", func(c *Config) { c.Metrics = taken.Addr().String() }, "--metrics: listen tcp", ""},
		{"switches without a queue of a limit", func(c *Config) { c.Scenario.Env.Limits = []p4.Limit{48} }, "48", `"event":"end","error":"`},
		{"a recording under no limit of the actions", func(c *Config) { c.Record = &Record{Dir: t.TempDir(), Limit: 5} }, "collect: limit: ", `"event":"end","error":"collect: limit: `},
	} {
		cfg := Config{Journal: filepath.Join(t.TempDir(), "journal.jsonl"), Scenario: scenarios.Scenario{Plant: "live"}}
		cfg.Scenario.Live.Switches = inventory.Inventory{{Target: "127.0.0.1:1", DeviceID: 1, Ports: []p4.Port{1}, Queues: []p4.Limit{32, 64}}}
		cfg.Scenario.Env.Limits, cfg.Scenario.Live.Safe = []p4.Limit{32, 64}, 32
		journal := cfg.Journal
		c.edit(&cfg)
		d, err := Open(t.Context(), cfg)
		if d != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %s", c.name, d, err, c.want)
		}
		text, _ := os.ReadFile(journal)
		if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); !strings.Contains(lines[len(lines)-1], c.journal) || (c.journal == "") != (len(text) == 0) {
			t.Errorf("%s: journal %q, want %s", c.name, text, c.journal)
		}
	}
}

// sentOut counts the packets that a controller sends by port, and keeps the last.
type sentOut struct {
	mu   sync.Mutex
	n    map[p4.Port]int
	last []byte
}

func (*sentOut) SetLimit(p4.Port, p4.Limit) {}
func (*sentOut) Packets(p4.Port) int64      { return 0 }
func (s *sentOut) PacketOut(port p4.Port, payload []byte) {
	s.mu.Lock()
	s.n[port]++
	s.last = slices.Clone(payload)
	s.mu.Unlock()
}

// Probes leave by the first switch's first port, at their rate, as frames to where
// the scenario says.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, pipe := &sentOut{n: map[p4.Port]int{}}, sim.NewPipe()
		s, err := sim.Serve(sim.Config{DeviceID: 1, Ports: []p4.Port{3, 4}, Depths: []p4.Limit{safe, usual}, Queues: out}, pipe)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var x scenarios.Scenario
		x.Live.Safe, x.Live.Probes.Destination = safe, "10.1.2.3"
		x.Live.Switches = inventory.Inventory{
			{Target: "pipe", DeviceID: 1, Dial: pipe.Dial, Ports: []p4.Port{3, 4}, Queues: []p4.Limit{safe, usual}},
			{Target: "pipe", DeviceID: 2, Dial: sim.NewPipe().Dial, Queues: []p4.Limit{safe, usual}}, // is not asked
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second-time.Millisecond)
		defer cancel()
		counted := 0
		if err := Probe(ctx, x, 5, func() { counted++ }); err != nil {
			t.Fatal(err)
		}
		want, err := ProbeFrame("10.1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		out.mu.Lock()
		defer out.mu.Unlock()
		if counted != 50 || len(out.n) != 1 || out.n[3] != 50 || !slices.Equal(out.last, want) {
			t.Errorf("%d sent, arrived by port %v, the last %x; want %x", counted, out.n, out.last, want)
		}
		x.Live.Probes.Destination = "nowhere"
		if err := Probe(t.Context(), x, 5, nil); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
			t.Errorf("%v", err)
		}
		x.Live.Switches[0].Dial = sim.NewPipe().Dial
		if err := Probe(t.Context(), x, 5, nil); !errors.Is(err, p4.ErrUnreachable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a switch that is not there: %v", err)
		}
	})
}

// A guard's process is ready, ends, or says why not; what it writes afterwards says
// that it has taken over, and its end is known.
func TestGuardProcess(t *testing.T) {
	shell, err := os.Stat("/bin/sh")
	if err != nil || shell.IsDir() {
		t.Skip("no /bin/sh here")
	}
	start := func(script string) (*guardProcess, error) {
		return startGuard(t.Context(), []string{"/bin/sh", "-c", script, "guard"}, 1500*time.Millisecond)
	}
	for script, want := range map[string]string{
		"echo no; echo a reason >&2; exit 3": "guard: it did not start: exit status 3: a reason",
		"exit 4":                             "guard: it did not start: exit status 4",
		"echo ready >&2; exit 5":             "guard: it did not start: exit status 5: ready",
	} {
		if g, err := start(script); g != nil || err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v; want %s", script, g, err, want)
		}
	}
	if g, err := startGuard(t.Context(), []string{"/no/such/guard"}, time.Second); g != nil || err == nil || !strings.HasPrefix(err.Error(), "guard: fork/exec /no/such/guard") {
		t.Errorf("%v, %v", g, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if g, err := startGuard(ended, []string{"/bin/sh", "-c", "exec cat >/dev/null"}, time.Second); g != nil || !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "guard: it did not become ready: ") {
		t.Errorf("one that never says so: %v, %v", g, err)
	}
	// It gets the window as a flag and runs in its own process session; the agent's goodbye ends it.
	g, err := start(`[ "$1 $2" = "--window 1.5s" ] || exit 6; echo ready; while read word; do last=$word; done; [ "$last" = ` + byeWord + ` ]`)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Beat(); err != nil {
		t.Error(err)
	}
	if err := g.leave(); err != nil {
		t.Errorf("after bye: %v", err)
	}
	if g, err = start("echo ready; echo something; echo took over: silence; read word; exit 7"); err != nil {
		t.Fatal(err)
	}
	if why := <-g.took; why != "silence" {
		t.Errorf("it took over because of %q", why)
	}
	g.in.Close()
	if err := <-g.done; err == nil || err.Error() != "exit status 7" {
		t.Errorf("its end: %v", err)
	}
}
