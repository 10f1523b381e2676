package p4rt

import (
	"sync"
	"testing"
	"time"

	"github.com/planegym/planegym/p4/program"
	"github.com/planegym/planegym/p4/sim"
)

// Calls may come from any goroutine, also while the client puts the switch in order.
func TestCallsBesideASync(t *testing.T) {
	s := serve(t, sim.Config{})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 30 {
				if err := c.PacketOut(soon(t), 1, []byte("x")); err != nil {
					t.Error(err)
				}
				_ = c.depths() // nil, whatever is in force
				c.State()
			}
		})
	}
	for range 30 {
		c.distrust()
		if err := c.SetLimit(soon(t), 1, 32); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	ready(t, c)
	if l, err := c.Limit(soon(t), 1); l != 32 || err != nil {
		t.Errorf("%d, %v", l, err)
	}
}

// restarted waits until c has put in order a switch that restarted.
func restarted(t *testing.T, c *Client) {
	t.Helper()
	if err := c.await(soon(t), func() (bool, error) { return c.term > 0 && c.state.Synced, nil }); err != nil {
		t.Fatal(err)
	}
}

// A meter's limit that another run left, and that is asked for again, is not written, and is
// none the less put back after a restart.
func TestMeterLimitThatWasThere(t *testing.T) {
	s := serve(t, sim.Config{})
	cfg := config(s, sim.Strict)
	cfg.Mode, cfg.Rate = program.Meter, 1000
	first := start(t, cfg)
	if err := first.SetLimit(soon(t), 1, 32); err != nil {
		t.Fatal(err)
	}
	first.Close()
	c := start(t, cfg)
	ready(t, c)
	if err := c.SetLimit(soon(t), 1, 32); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	restarted(t, c)
	if l, err := c.Limit(soon(t), 1); l != 32 || err != nil {
		t.Errorf("after a restart: %d, %v", l, err)
	}
}

// A backup whose id is another client's takes another each time, until one is free.
func TestBackupTriesAnotherID(t *testing.T) {
	s := serve(t, sim.Config{Personality: sim.BMv2})
	preset(t, s)
	cfg := config(s, sim.BMv2)
	cfg.Backup, cfg.Below, cfg.Seed = true, Election{Low: 1 << 32}, 7
	r, err := cfg.resolve()
	if err != nil {
		t.Fatal(err)
	}
	connected := func(c *Client) {
		t.Helper()
		if err := c.await(soon(t), func() (bool, error) { return c.state.Connected, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for taken := range uint32(3) { // unset, and the first two that it draws
		held := cfg
		if e := r.first(taken); e != nil {
			held.Election = Election{High: e.High, Low: e.Low}
		}
		connected(start(t, held))
	}
	c := start(t, cfg)
	connected(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := r.first(3); c.taken != 3 || c.election.GetLow() != want.Low || c.state.Err != nil {
		t.Errorf("after %d refusals it is %v, %v; want %v", c.taken, c.election, c.state.Err, want)
	}
}

// The safe limit is in force again where there was a limit, and only there an event says so.
func TestSafeIsSaid(t *testing.T) {
	for _, limited := range []bool{false, true} {
		s := serve(t, sim.Config{})
		var l log
		cfg := config(s, sim.Strict)
		cfg.Safe, cfg.Notify = 64, l.add
		c := start(t, cfg)
		ready(t, c)
		if limited {
			if err := c.SetLimit(soon(t), 1, 32); err != nil {
				t.Fatal(err)
			}
		}
		s.Restart()
		restarted(t, c)
		ups := func() (n int) {
			l.has(func(e Event) bool {
				if e.Kind == Up {
					n++
				}
				return false
			})
			return n
		}
		for ups() < 2 { // an event comes right after the state
			time.Sleep(time.Millisecond)
		}
		if got := l.has(func(e Event) bool { return e.Kind == Up && e.Safe }); got != limited || s.InForce(1) != 64 {
			t.Errorf("limited %v: said %v; %d in force", limited, got, s.InForce(1))
		}
	}
}
