package p4rt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	"google.golang.org/grpc/codes"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/sim"
)

// What a client answers in each of its states, without asking the switch.
func TestStates(t *testing.T) {
	why := errors.New("why")
	taken := p4.ErrElection
	r := resolve(t, nil)
	for _, c := range []struct {
		name                      string
		state                     State
		connected, synced, inHand string // the error, "ok", or "wait"
	}{
		{"begun", State{}, "wait", "wait", "h:1: p4: switch is unreachable: it is not in order yet"},
		{"not reached", State{Err: why}, "h:1: p4: switch is unreachable: why", "h:1: p4: switch is unreachable: why", "h:1: p4: switch is unreachable: why"},
		{"id taken", State{Err: taken}, "h:1: " + taken.Error(), "h:1: " + taken.Error(), "h:1: " + taken.Error()},
		{"a backup", State{Connected: true, Status: codes.AlreadyExists}, "ok", "h:1: p4: another controller is primary (AlreadyExists)", "h:1: p4: another controller is primary (AlreadyExists)"},
		{"primary", State{Connected: true, Primary: true}, "ok", "wait", "h:1: p4: switch is unreachable: it is not in order yet"},
		{"not put in order", State{Connected: true, Primary: true, Err: why}, "ok", "h:1: why", "h:1: why"},
		{"in order", State{Connected: true, Primary: true, Synced: true}, "ok", "ok", "ok"},
		{"in order after an error", State{Connected: true, Primary: true, Synced: true, Err: why}, "ok", "ok", "ok"},
	} {
		say := func(ok bool, err error) string {
			switch {
			case err != nil:
				return err.Error()
			case ok:
				return "ok"
			}
			return "wait"
		}
		client := &Client{cfg: r, state: c.state, changed: make(chan struct{})}
		err := client.InHand()
		if a, b, in := say(client.connected()), say(client.synced()), say(true, err); a != c.connected || b != c.synced || in != c.inHand {
			t.Errorf("%s: connected %s, synced %s, in hand %s; want %s, %s, %s", c.name, a, b, in, c.connected, c.synced, c.inHand)
		}
		client.closed = true
		if err := client.InHand(); !errors.Is(err, p4.ErrClosed) {
			t.Errorf("%s, closed: %v", c.name, err)
		}
	}
}

// Who waits in vain hears what was last wrong, and that an id is taken as that.
func TestAwaitEnds(t *testing.T) {
	for _, c := range []struct {
		last   error
		want   string
		is, no error
	}{
		{nil, "h:1: p4: switch is unreachable: context canceled", context.Canceled, p4.ErrElection},
		{errors.New("why"), "h:1: p4: switch is unreachable: why", context.Canceled, p4.ErrElection},
		{p4.ErrElection, "h:1: " + p4.ErrElection.Error(), p4.ErrElection, p4.ErrUnreachable},
	} {
		client := &Client{cfg: resolve(t, nil), state: State{Err: c.last}, changed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := client.await(ctx, func() (bool, error) { return false, nil })
		if err == nil || err.Error() != c.want || !errors.Is(err, c.is) || errors.Is(err, c.no) {
			t.Errorf("last %v: %v, want %s", c.last, err, c.want)
		}
	}
}

// every is what callers can ask of a client; each gives the number that came with its error.
func every(ctx context.Context, c *Client) map[string]func() (int64, error) {
	zero := func(err error) (int64, error) { return 0, err }
	return map[string]func() (int64, error){
		"SetLimit":  func() (int64, error) { return zero(c.SetLimit(ctx, 1, 32)) },
		"Limit":     func() (int64, error) { l, err := c.Limit(ctx, 1); return int64(l), err },
		"Count":     func() (int64, error) { return c.Count(ctx, 1) },
		"Pipeline":  func() (int64, error) { return zero(c.Pipeline(ctx)) },
		"P4Info":    func() (int64, error) { return zero(c.P4Info(ctx)) },
		"Arbitrate": func() (int64, error) { return zero(c.Arbitrate(ctx, Election{Low: 1 << 20})) },
		"PacketOut": func() (int64, error) { return zero(c.PacketOut(ctx, 1, []byte("x"))) },
		"Ready":     func() (int64, error) { return zero(c.Ready(ctx)) },
		"put":       func() (int64, error) { return zero(c.put(ctx, nil)) },
		"read":      func() (int64, error) { found, err := c.read(ctx); return int64(len(found)), err },
		"pipeline":  func() (int64, error) { return zero(c.checkPipeline(ctx)) },
		"push":      func() (int64, error) { return zero(c.pushPipeline(ctx)) },
	}
}

// A closed client says so, whatever it is asked, and a cut one that the switch
// is not reached, at once.
func TestClosedAndCut(t *testing.T) {
	s := serve(t, sim.Config{})
	var heard log
	cfg := config(s, sim.Strict)
	cfg.Notify = heard.add
	c := start(t, cfg)
	if err := c.SetLimit(soon(t), 1, 32); err != nil {
		t.Fatal(err)
	}
	for name, ask := range every(soon(t), c) {
		if name == "put" || name == "push" {
			continue // a put of nothing; a push, which loses the limit
		}
		if _, err := ask(); err != nil {
			t.Errorf("%s of a switch in order: %v", name, err)
		}
	}
	s.Cut()
	err := c.await(soon(t), func() (bool, error) { return !c.state.Connected && c.state.Err != nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	for name, ask := range every(soon(t), c) {
		if name == "Ready" {
			continue // it waits
		}
		if n, err := ask(); n != 0 || !errors.Is(err, p4.ErrUnreachable) {
			t.Errorf("%s of a switch that was cut off: %d, %v", name, n, err)
		}
	}
	c.Close()
	for name, ask := range every(soon(t), c) {
		if n, err := ask(); n != 0 || !errors.Is(err, p4.ErrClosed) {
			t.Errorf("%s of a closed client: %d, %v", name, n, err)
		}
	}
	if err := c.InHand(); !errors.Is(err, p4.ErrClosed) {
		t.Errorf("a closed client is in hand: %v", err)
	}
}

// Arbitrate returns when the switch has answered this claim, also to a primary
// that changes its id: the write that follows carries the new one.
func TestArbitrateAgain(t *testing.T) {
	s := serve(t, sim.Config{})
	c := start(t, config(s, sim.Strict))
	ready(t, c)
	for n := range uint64(300) {
		e := Election{High: 1, Low: n + 1}
		if err := c.Arbitrate(soon(t), e); err != nil {
			t.Fatal(err)
		}
		if got := c.State().Election; got != e {
			t.Fatalf("claim %d: returned under the election id %v", n, got)
		}
		if err := c.SetLimit(soon(t), 1, 32); err != nil {
			t.Fatalf("claim %d: the write that follows: %v", n, err)
		}
	}
}

// Pipeline and P4Info tell our program, another, and none apart.
func TestWhatRuns(t *testing.T) {
	s := serve(t, sim.Config{})
	cfg := config(s, sim.Strict)
	cfg.Backup = true // pushes nothing
	c := start(t, cfg)
	cookie, other := c.cfg.program.Cookie, p4.ErrPipeline.Error()
	ask := func(name, pipeline, info string) {
		t.Helper()
		for what, got := range map[string]error{pipeline: c.Pipeline(soon(t)), info: c.P4Info(soon(t))} {
			if what == "" && got != nil || what != "" && (!errors.Is(got, p4.ErrPipeline) || got.Error() != s.Addr()+": "+what) {
				t.Errorf("%s: %v, want %s", name, got, what)
			}
		}
	}
	ask("no program", "p4: the switch runs no pipeline", other+": No forwarding pipeline config set for this device")
	if l, err := c.Limit(soon(t), 1); l != 0 || !errors.Is(err, p4.ErrPipeline) {
		t.Errorf("a limit without a program: %d, %v", l, err)
	}
	s.ReplacePipeline(&configv1.P4Info{}, 99)
	ask("another program", other+": cookie 0000000000000063, ours "+fmt.Sprintf("%016x", cookie), other+": it has no I.ipv4_lpm")
	if l, err := c.Limit(soon(t), 1); l != 0 || !errors.Is(err, p4.ErrPipeline) {
		t.Errorf("a limit of another program: %d, %v", l, err)
	}
	s.ReplacePipeline(c.cfg.names.Info, 99)
	ask("our P4Info, another cookie", other+": cookie 0000000000000063, ours "+fmt.Sprintf("%016x", cookie), "")
	s.ReplacePipeline(c.cfg.names.Info, cookie)
	ask("ours", "", "")
	if l, err := c.Limit(soon(t), 1); l != 0 || !errors.Is(err, p4.ErrNoLimit) {
		t.Errorf("a limit that was never set: %d, %v", l, err)
	}
	if l, err := c.Limit(soon(t), 600); l != 0 || err == nil {
		t.Errorf("a port of ten bits: %d, %v", l, err)
	}
}

// The second client with an id hears which id it is, from every call.
func TestElectionTaken(t *testing.T) {
	s := serve(t, sim.Config{})
	preset(t, s)
	cfg := config(s, sim.Strict)
	cfg.Election = Election{High: 3, Low: 100}
	ready(t, start(t, cfg))
	c := start(t, cfg)
	if err := c.await(soon(t), func() (bool, error) { return c.state.Err != nil, nil }); err != nil {
		t.Fatal(err)
	}
	if err := c.SetLimit(soon(t), 1, 32); !errors.Is(err, p4.ErrElection) || !strings.Contains(err.Error(), "(id 3:100)") {
		t.Errorf("%v", err)
	}
}

// gaps are the times between events of a kind.
func gaps(l *log, at *[]time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(*at); i++ {
		out = append(out, (*at)[i].Sub((*at)[i-1]))
	}
	return out
}

// piped is a switch without a network, for tests under fake time, and a client's
// configuration for it.
func piped(t *testing.T) (*sim.Server, Config) {
	t.Helper()
	pipe := sim.NewPipe()
	s, err := sim.Serve(sim.Config{DeviceID: device, Ports: []p4.Port{1}, Depths: []p4.Limit{64, 32}}, pipe)
	if err != nil {
		t.Fatal(err)
	}
	return s, Config{Switch: inventory.Switch{Target: "h:1", DeviceID: device, Ports: []p4.Port{1}, Queues: []p4.Limit{64, 32}, Dial: pipe.Dial}}
}

// pipedClient is piped with a client of the switch, whose events l has.
func pipedClient(t *testing.T) (s *sim.Server, c *Client, l *log) {
	t.Helper()
	s, cfg := piped(t)
	l = &log{}
	cfg.Notify = l.add
	c, err := Open(cfg)
	if err != nil {
		s.Close()
		t.Fatal(err)
	}
	return s, c, l
}

// A switch that cannot be put in order is tried again, and one that cannot be
// reached dialled again, after 50 ms and then twice as long up to 500 ms, less
// up to a half.
func TestRetriesBackOff(t *testing.T) {
	refused := errors.New("refused")
	for _, kind := range []Kind{Failed, Down} {
		synctest.Test(t, func(t *testing.T) {
			s, cfg := piped(t)
			defer s.Close()
			s.Inject(sim.Faults{Refuse: codes.ResourceExhausted})
			var l log
			var at []time.Time
			cfg.Safe = 64
			if kind == Down {
				cfg.Dial = func(context.Context, string) (net.Conn, error) { return nil, refused }
			}
			cfg.Notify = func(e Event) {
				if e.Kind == kind {
					l.mu.Lock()
					at = append(at, time.Now())
					l.mu.Unlock()
				}
			}
			c, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			time.Sleep(3 * time.Second)
			got := gaps(&l, &at)
			want := []time.Duration{50, 100, 200, 400, 500, 500}
			if len(got) < len(want) {
				t.Fatalf("%s: tried again after %v", kind, got)
			}
			for i, w := range want {
				if w *= time.Millisecond; got[i] < w/2 || got[i] > w {
					t.Errorf("%s: retry %d came after %v, want %v…%v", kind, i+1, got[i], w/2, w)
				}
			}
		})
	}
}

// A connection that was answered on starts the waits anew.
func TestAnswerResetsTheBackoff(t *testing.T) {
	fault(t, func(r *rig) {
		for range 4 {
			r.s[0].Cut()
			synctest.Wait()
			r.s[0].Mend()
			began := time.Now()
			if err := r.c[0].Ready(r.Context()); err != nil {
				r.Fatal(err)
			}
			if took := time.Since(began); took > 60*time.Millisecond {
				r.Errorf("back after %v, want 25…50 ms", took)
			}
		}
	})
}

// One entry that does not read back as it was written is enough to fail a sync.
func TestSyncReadsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, l := pipedClient(t)
		defer s.Close()
		defer c.Close()
		if err := c.SetLimit(t.Context(), 1, 32); err != nil {
			t.Fatal(err)
		}
		s.Inject(sim.Faults{Lie: func(l p4.Limit) p4.Limit { return l + 1 }})
		s.Cut()
		synctest.Wait()
		s.Mend()
		time.Sleep(time.Second)
		const want = "p4: the switch reads back another limit: 1 of 1 entries are not as written: " + limitTable + " [1=01]"
		if !l.has(func(e Event) bool {
			return e.Kind == Failed && errors.Is(e.Err, p4.ErrReadBack) && e.Err.Error() == want
		}) {
			t.Errorf("%+v, want %s", l.events, want)
		}
		if err := c.InHand(); !errors.Is(err, p4.ErrReadBack) {
			t.Errorf("in hand: %v", err)
		}
		s.Inject(sim.Faults{})
		time.Sleep(time.Second)
		if err := c.InHand(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
