package bmv2_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/sim"
)

// against runs f with a client of an emulated BMv2, under faked time.
func against(t *testing.T, cfg sim.Config, f func(t *testing.T, s *sim.Server, c *bmv2.Client)) {
	synctest.Test(t, func(t *testing.T) {
		cfg.Personality, cfg.Ports = sim.BMv2, []p4.Port{1}
		s, err := sim.Serve(cfg, sim.NewPipe())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		thrift := sim.NewPipe()
		s.ServeThrift(thrift)
		c, err := bmv2.New(bmv2.Config{Addr: "switch:9090", Dial: thrift.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f(t, s, c)
	})
}

// A switch that was restarted long ago has a larger uptime than when it was
// last asked, and has lost its depths all the same.
func TestRestartSeenLate(t *testing.T) {
	against(t, sim.Config{}, func(t *testing.T, s *sim.Server, c *bmv2.Client) {
		time.Sleep(10 * time.Second)
		if err := c.SetLimit(t.Context(), 1, 32); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Hour)
			if l, err := c.Limit(t.Context(), 1); err != nil || l != 32 {
				t.Fatalf("limit %d, %v", l, err)
			}
		}
		s.Restart()
		time.Sleep(4 * time.Hour)
		_, _ = c.Limit(t.Context(), 1) // on the old connection
		if l, err := c.Limit(t.Context(), 1); !errors.Is(err, p4.ErrNoLimit) {
			t.Errorf("after a restart four hours ago: %d, %v", l, err)
		}
	})
}

// A queue that does not exist is refused with its number, and asking for it
// changes nothing.
func TestQueueThatIsNotThere(t *testing.T) {
	against(t, sim.Config{Depths: []p4.Limit{128, 32}}, func(t *testing.T, s *sim.Server, c *bmv2.Client) {
		for q := range 4 {
			if err := c.HasQueue(t.Context(), q); (err == nil) != (q < 2) || err != nil && !errors.Is(err, p4.ErrNotProvisioned) {
				t.Errorf("queue %d of two: %v", q, err)
			}
		}
		if err := c.SetPriorityQueueDepth(t.Context(), 1, 2, 64); !errors.Is(err, p4.ErrNotProvisioned) {
			t.Errorf("depth of queue 2 of two: %v", err)
		}
		if err := c.SetPriorityQueueDepth(t.Context(), 1, 1, 16); err != nil {
			t.Fatal(err)
		}
		if err := c.SetQueueRate(t.Context(), 1, 1000); err != nil {
			t.Fatal(err)
		}
		if d, r := s.Depths(1), s.Rate(1); !slices.Equal(d, []p4.Limit{128, 16}) || r != 1000 {
			t.Errorf("depths %v, rate %d", d, r)
		}
	})
}
