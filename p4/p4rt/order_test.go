package p4rt

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
	"github.com/planegym/planegym/p4/sim"
)

// routes are two entries of an inventory.
func routes() (all []program.Entry) {
	for _, dst := range []string{"10.0.0.0/24", "10.0.1.0/24"} {
		all = append(all, program.Entry{Table: program.Routes, Match: map[string]string{"h.ipv4.dst": dst}, Action: "I.forward", Params: map[string]string{"dmac": "00:00:0a:00:00:01", "port": "1"}})
	}
	return all
}

// there counts the entries of the inventory that are on the switch.
func there(t *testing.T, c *Client) (n int) {
	t.Helper()
	found, err := c.read(t.Context(), &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: &p4v1.TableEntry{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range c.cfg.static {
		if slices.ContainsFunc(found, func(e *p4v1.Entity) bool {
			return keyOf(e.GetTableEntry()) == keyOf(want) && same(e.GetTableEntry(), want)
		}) {
			n++
		}
	}
	return n
}

// The entries of the inventory are on the switch, and all of them, wherever they came from, are put back.
func TestEntriesAreThere(t *testing.T) {
	s := serve(t, sim.Config{})
	cfg := config(s, sim.Strict)
	cfg.Entries = routes()
	c := start(t, cfg)
	ready(t, c)
	if n := there(t, c); n != 2 {
		t.Errorf("%d of 2 entries are there", n)
	}
	s.Restart()
	restarted(t, c)
	if n := there(t, c); n != 2 {
		t.Errorf("%d of 2 entries are there after a restart", n)
	}
}

// Entries that vanish while the connection is up and the program stays ours are put back within twelve
// seconds, though no limit is asked for: a push of our program, by a client that was killed under our
// election id, is served late and empties the tables. A limit comes back as the safe one.
func TestFaultTablesEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cfg := piped(t)
		defer s.Close()
		cfg.Safe, cfg.Entries = 64, routes()
		c, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetLimit(t.Context(), 1, 32); err != nil {
			t.Fatal(err)
		}
		if n := there(t, c); n != 2 || s.InForce(1) != 32 {
			t.Fatalf("before: %d of 2 entries are there, limit %d", n, s.InForce(1))
		}
		if err := c.pushPipeline(t.Context()); err != nil { // what the other's call did
			t.Fatal(err)
		}
		if n := there(t, c); n != 0 {
			t.Fatalf("%d of 2 entries are there after a push", n)
		}
		time.Sleep(12 * time.Second)
		if n := there(t, c); n != 2 || s.InForce(1) != 64 {
			t.Errorf("afterwards %d of 2 entries are there, limit %d", n, s.InForce(1))
		}
		if err := c.InHand(); err != nil {
			t.Error(err)
		}
	})
}

// A switch in order is left alone: no write, no push and no provisioning in a quiet minute, and no write by
// a client that comes back and finds all as it should be.
func TestInOrderIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cfg := piped(t)
		defer s.Close()
		var provisioned atomic.Int32
		cfg.Provision = func(context.Context) error { provisioned.Add(1); return nil }
		c, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetLimit(t.Context(), 1, 32); err != nil {
			t.Fatal(err)
		}
		var writes atomic.Int32
		s.Inject(sim.Faults{Before: func(*p4v1.WriteRequest) { writes.Add(1) }})
		time.Sleep(time.Minute)
		if writes.Load() != 0 || provisioned.Load() != 1 || c.State().Err != nil {
			t.Errorf("in a quiet minute: %d writes, provisioned %d times, %+v", writes.Load(), provisioned.Load(), c.State())
		}
		s.Cut()
		synctest.Wait()
		s.Mend()
		time.Sleep(2 * time.Second)
		if writes.Load() != 0 || provisioned.Load() != 2 || c.InHand() != nil {
			t.Errorf("after a cut: %d writes, provisioned %d times, %v", writes.Load(), provisioned.Load(), c.InHand())
		}
		// Its program is gone, and no client writes: it is found out and put back.
		s.Restart()
		time.Sleep(4 * time.Second)
		if s.Cookie() != c.cfg.program.Cookie || s.InForce(1) != 32 {
			t.Errorf("after a restart: cookie %x, limit %d", s.Cookie(), s.InForce(1))
		}
	})
}

// While a switch is put in order after a cut, what was wrong before is not what is wrong now; and Close
// waits for what is under way.
func TestWhilePutInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cfg := piped(t)
		defer s.Close()
		hold, ended := make(chan struct{}), false
		var c *Client
		var times int
		cfg.Provision = func(context.Context) error { // one at a time
			if times++; times == 2 {
				if st := c.State(); !st.Connected || !st.Primary || st.Synced || st.Err != nil {
					t.Errorf("while it is put in order: %+v", st)
				}
				<-hold
				ended = true
			}
			return nil
		}
		c, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Cut()
		synctest.Wait()
		if st := c.State(); st.Connected || st.Err == nil {
			t.Errorf("cut off: %+v", st)
		}
		s.Mend()
		time.Sleep(time.Second)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			c.Close()
			if !ended {
				t.Error("Close did not wait")
			}
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed while it is put in order")
		default:
		}
		close(hold)
		<-closed
	})
}

// A switch that answers one insert by several errors is not believed that there were several.
func TestMoreErrorsThanUpdates(t *testing.T) {
	s := serve(t, sim.Config{})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	s.Inject(sim.Faults{Result: func(r *p4v1.WriteRequest) error {
		if r.Updates[0].Type != p4v1.Update_INSERT {
			return nil
		}
		st := status.New(codes.Unknown, "")
		for range 3 {
			var err error
			if st, err = st.WithDetails(&p4v1.Error{CanonicalCode: int32(codes.Internal)}); err != nil {
				return err
			}
		}
		return st.Err()
	}})
	good, err := c.cfg.entry(1, 32)
	if err != nil {
		t.Fatal(err)
	}
	there, err := c.cfg.entry(2, 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.write(soon(t), []*p4v1.Update{{Type: p4v1.Update_INSERT, Entity: &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: there}}}}); err == nil {
		t.Fatal("the insert was not answered by errors")
	}
	err = c.put(soon(t), []*p4v1.TableEntry{there, good}) // the second is missing
	var w *WriteError
	if !errors.As(err, &w) || len(w.Updates) != 3 {
		t.Fatalf("%v", err)
	}
	for _, u := range w.Updates {
		if u.Index != 1 || u.Code != codes.Internal {
			t.Errorf("%+v, want index 1", u)
		}
	}
}

// The number that comes with an error is 0, whatever was wrong.
func TestNumbersWithErrors(t *testing.T) {
	s := serve(t, sim.Config{Personality: sim.Strict})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	for _, port := range []p4.Port{600, 9, 1} { // too wide, without an entry, of the inventory and without an entry
		if n, err := c.Count(soon(t), port); n != 0 || err == nil {
			t.Errorf("count of port %d: %d, %v", port, n, err)
		}
		if l, err := c.Limit(soon(t), port); l != 0 || err == nil {
			t.Errorf("limit of port %d: %d, %v", port, l, err)
		}
	}
	s.Restart()
	s.Inject(sim.Faults{Refuse: codes.Internal})
	if err := c.await(soon(t), func() (bool, error) { return c.term > 0 && c.state.Connected, nil }); err != nil {
		t.Fatal(err)
	}
	s.ReplacePipeline(nil, 9) // no table
	if n, err := c.Count(soon(t), 1); n != 0 || err == nil {
		t.Errorf("count of another program: %d, %v", n, err)
	}
}

// A silent switch is found out by the first question that is not answered: two seconds to ask, four to wait.
func TestSilenceIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, l := pipedClient(t)
		defer s.Close()
		defer c.Close()
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		silent := func(e Event) bool { return e.Kind == Down && errors.Is(e.Err, errSilent) }
		s.Inject(sim.Faults{Stall: true})
		time.Sleep(6*time.Second + time.Millisecond)
		synctest.Wait()
		if !l.has(silent) {
			t.Errorf("after six seconds of silence: %+v", l.events)
		}
		s.Inject(sim.Faults{})
	})
}
