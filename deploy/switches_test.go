package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/p4/program"
	"github.com/planegym/planegym/p4/sim"
)

const safe, usual = p4.Limit(32), p4.Limit(64)

var personalities = []sim.Personality{sim.Strict, sim.BMv2, sim.PINS}

// rig is three switches in memory under faked time, their inventory and an
// agent's group.
type rig struct {
	*testing.T
	inv   inventory.Inventory
	s     []*sim.Server
	agent p4.Group

	mu  sync.Mutex
	log []Entry
}

// newRig starts the switches; no agent is open yet.
func newRig(t *testing.T, p sim.Personality) *rig {
	r := &rig{T: t}
	for range 3 {
		pipe := sim.NewPipe()
		s, err := sim.Serve(sim.Config{Personality: p, DeviceID: 1, Ports: []p4.Port{1}, Depths: []p4.Limit{safe, usual}}, pipe)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c := inventory.Switch{Target: "pipe", DeviceID: 1, Dial: pipe.Dial, Ports: []p4.Port{1}, Queues: []p4.Limit{safe, usual}}
		if p == sim.PINS {
			c.Role, c.Push = sim.PINSRole, []string{"reconcile-and-commit"}
		}
		r.s, r.inv = append(r.s, s), append(r.inv, c)
	}
	t.Cleanup(func() { r.agent.Close() })
	return r
}

// open opens an agent.
func (r *rig) open() *rig {
	r.Helper()
	var err error
	if r.agent, err = OpenSwitches(r.inv, safe, nil); err != nil {
		r.Fatal(err)
	}
	return r
}

func (r *rig) set(l p4.Limit) error {
	_, err := r.agent.Set(r.Context(), r.inv.Queues(), []p4.Limit{l, l, l})
	return err
}

func (r *rig) mustSet(l p4.Limit) {
	r.Helper()
	for _, s := range r.agent {
		if err := s.(*p4rt.Client).Ready(r.Context()); err != nil {
			r.Fatal(err)
		}
	}
	if err := r.set(l); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) inForce(want ...p4.Limit) {
	r.Helper()
	for i, s := range r.s {
		if got := s.InForce(1); got != want[i] {
			r.Errorf("switch %d has limit %d, want %d", i+1, got, want[i])
		}
	}
}

// guard runs a guard on a pipe; the pipe's other end and the guard's end come
// back once it is ready.
func (r *rig) guard() (io.WriteCloser, <-chan error) {
	g := Guard{Inventory: r.inv, Safe: safe, Window: 4 * time.Second, Journal: func(e Entry) {
		r.mu.Lock()
		r.log = append(r.log, e)
		r.mu.Unlock()
	}}
	out, in := io.Pipe()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- g.Run(r.Context(), out, func() error { close(ready); return nil })
	}()
	select {
	case <-ready:
	case err := <-done:
		r.Fatal(err)
	}
	return in, done
}

func each(t *testing.T, f func(r *rig)) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(newRig(t, p).open()) })
		})
	}
}

// The kernel closes a killed process's pipe and connections.
func TestGuardOfAKilledAgent(t *testing.T) {
	each(t, func(r *rig) {
		r.mustSet(usual)
		pipe, done := r.guard()
		beats := NewBeater(pipe, 4*time.Second)
		for range 5 {
			if err := beats.Beat(); err != nil {
				r.Fatal(err)
			}
			time.Sleep(4 * time.Second)
		}
		r.inForce(usual, usual, usual)
		at := time.Now()
		r.agent.Close()
		pipe.Close()
		if err := <-done; err != nil {
			r.Fatal(err)
		}
		r.inForce(safe, safe, safe)
		r.Logf("safe %v after the kill", time.Since(at))
		if d := time.Since(at); d > 4*time.Second {
			r.Errorf("safe after %v, want within a window", d)
		}
		if len(r.log) != 3 || r.log[0].Why != "the agent's process has ended" || r.log[0].Got[0].Limit != safe {
			r.Errorf("told %+v", r.log)
		}
		// The next agent finds the way free, whatever id the guard had.
		next, err := OpenSwitches(r.inv, safe, nil)
		if err != nil {
			r.Fatal(err)
		}
		defer next.Close()
		r.agent = next
		r.mustSet(usual)
		r.inForce(usual, usual, usual)
	})
}

func TestGuardOfAHungAgent(t *testing.T) {
	each(t, func(r *rig) {
		r.mustSet(usual)
		pipe, done := r.guard()
		if err := NewBeater(pipe, 4*time.Second).Beat(); err != nil {
			r.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		r.inForce(usual, usual, usual)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.inForce(safe, safe, safe)
		r.mu.Lock()
		for _, e := range r.log {
			r.Logf("safe %.3g ms after two and a half windows of silence", e.TookMS)
			if e.Why != "the agent's heartbeat has stopped" || e.TookMS > 1000 {
				r.Errorf("%+v", e)
			}
		}
		r.mu.Unlock()
		// What wakes up cannot write any more.
		if err := r.set(usual); !errors.Is(err, p4.ErrNotPrimary) {
			r.Errorf("a hung agent awoke and wrote: %v", err)
		}
		r.inForce(safe, safe, safe)
		pipe.Close()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
}

func TestGuardLeavesWithItsAgent(t *testing.T) {
	each(t, func(r *rig) {
		r.mustSet(usual)
		pipe, done := r.guard()
		defer pipe.Close()
		if err := NewBeater(pipe, time.Second).Bye(); err != nil {
			r.Fatal(err)
		}
		if err := <-done; err != nil || len(r.log) != 0 {
			r.Errorf("%v, told %v", err, r.log)
		}
		r.inForce(usual, usual, usual)
	})
}

// A switch that is unreachable when the agent dies is safe within a second of
// its return; the others at once.
func TestGuardWaitsForASwitch(t *testing.T) {
	each(t, func(r *rig) {
		r.mustSet(usual)
		pipe, done := r.guard()
		r.s[1].Cut()
		synctest.Wait()
		r.agent.Close()
		pipe.Close()
		time.Sleep(20 * time.Second)
		r.inForce(safe, usual, safe)
		at := time.Now()
		r.s[1].Mend()
		if err := <-done; err != nil {
			r.Fatal(err)
		}
		r.inForce(safe, safe, safe)
		r.Logf("safe %v after the switch is back", time.Since(at))
		if d := time.Since(at); d > time.Second {
			r.Errorf("safe %v after it came back", d)
		}
	})
}

func TestExamine(t *testing.T) {
	find := func(all []Finding, name, check string) Finding {
		for _, f := range all {
			if f.Switch == name && f.Check == check {
				return f
			}
		}
		return Finding{}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, sim.Strict).open()
		// Nothing runs yet but the agent of the rig, which will be primary.
		r.mustSet(usual)
		all := Examine(t.Context(), r.inv, []p4.Limit{32, 48, 64}, safe, 0)
		for _, c := range []struct {
			check string
			level Level
			says  string
		}{
			{"reach", OK, "pipe, device 1"},
			{"mastership", Failed, "a client with election id 0:65536 is primary, ours is 0:65536"},
			{"pipeline", OK, "runs our program"},
			{"p4info", OK, "is ours"},
			{"limits", Failed, "no queue has [48] packets: queues are [32, 64]"},
			{"in force", OK, "port 1: limit 64"},
		} {
			if f := find(all, "s2", c.check); f.Level != c.level || f.Says != c.says {
				t.Errorf("%s: %+v, want %s %q", c.check, f, c.level, c.says)
			}
		}
		if m := find(all, "s1", "limits").Mend; !slices.Contains(m, "echo set_queue_depth 48 1 1 | simple_switch_CLI --thrift-ip 127.0.0.1 --thrift-port 9090") {
			t.Errorf("mend: %q", m)
		}
		r.agent.Close()
		synctest.Wait() // until the switches know
		r.s[0].ReplacePipeline(&configv1.P4Info{}, 5)
		p, err := program.Load(program.Queue)
		if err != nil {
			t.Fatal(err)
		}
		r.s[1].ReplacePipeline(&configv1.P4Info{}, p.Cookie)
		r.s[2].Cut()
		all = Examine(t.Context(), r.inv, []p4.Limit{32, 64}, safe, 0)
		for _, c := range []struct {
			name, check string
			level       Level
			says        string
		}{
			{"s1", "mastership", OK, "no client is primary"},
			{"s1", "pipeline", Warning, "the switch runs another pipeline: cookie 0000000000000005"},
			{"s2", "p4info", Failed, "it has no I.ipv4_lpm"},
			{"s3", "reach", Failed, "unreachable"},
		} {
			if f := find(all, c.name, c.check); f.Level != c.level || !strings.Contains(f.Says, c.says) {
				t.Errorf("%s %s: %+v, want %s %q", c.name, c.check, f, c.level, c.says)
			}
		}
	})
}

// Several writers append whole lines, and what was appended survives whatever
// becomes of them.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	var wg sync.WaitGroup
	for _, by := range []string{"agent", "guard"} {
		j, err := OpenJournal(path, by)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		wg.Go(func() {
			for i := range 50 {
				if err := j.Append(Entry{Event: "set", Step: i + 1, Why: strings.Repeat("x", 500), Asked: []p4.Limit{32}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{"agent": 1, "guard": 1}
	for line := range bytes.Lines(text) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Step != next[e.By] || e.Time.IsZero() {
			t.Fatalf("%s: step %d, want %d", e.By, e.Step, next[e.By])
		}
		next[e.By]++
	}
	if fmt.Sprint(next) != "map[agent:51 guard:51]" {
		t.Errorf("read %v", next)
	}
}
