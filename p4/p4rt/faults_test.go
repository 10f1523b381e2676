package p4rt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/sim"
)

// rig is three switches in memory, each with a client, under faked time.
type rig struct {
	*testing.T
	s    [3]*sim.Server
	pipe [3]*sim.Pipe
	c    [3]*Client
	g    p4.Group

	heard [3]log

	mu    sync.Mutex
	limit [3]p4.Limit // in force on port 1
	since [3]time.Time
}

// watch is a backend that notes when a limit came into force.
type watch struct {
	r *rig
	i int
}

func (w watch) SetLimit(port p4.Port, l p4.Limit) {
	if port == 1 {
		w.r.mu.Lock()
		w.r.limit[w.i], w.r.since[w.i] = l, time.Now()
		w.r.mu.Unlock()
	}
}
func (watch) Packets(p4.Port) int64     { return 0 }
func (watch) PacketOut(p4.Port, []byte) {}

const safe = p4.Limit(32)

var queues = []p4.Queue{{Switch: 0, Port: 1}, {Switch: 1, Port: 1}, {Switch: 2, Port: 1}}

// fault runs f against switches of every personality.
func fault(t *testing.T, f func(r *rig)) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{T: t}
				for i := range r.s {
					r.pipe[i] = sim.NewPipe()
					s, err := sim.Serve(sim.Config{
						Personality: p, DeviceID: device, Ports: []p4.Port{1, 2}, Depths: []p4.Limit{safe, 64}, Queues: watch{r, i},
					}, r.pipe[i])
					if err != nil {
						t.Fatal(err)
					}
					cfg := config(s, p)
					cfg.Dial, cfg.Queues, cfg.Safe, cfg.Timeout, cfg.Seed = r.pipe[i].Dial, []p4.Limit{safe, 64}, safe, 0, uint64(i)
					cfg.Notify, cfg.Provision = r.heard[i].add, func(context.Context) error {
						if err := s.SetDepth(1, 0, safe); err != nil {
							return err
						}
						return s.SetDepth(1, 1, 64)
					}
					r.s[i] = s
					if r.c[i], err = Open(cfg); err != nil {
						t.Fatal(err)
					}
					r.g = append(r.g, r.c[i])
				}
				defer func() {
					r.g.Close()
					for _, s := range r.s {
						s.Close()
					}
				}()
				r.set(64)
				f(r)
			})
		})
	}
}

// set puts a limit in force on all three and must succeed.
func (r *rig) set(l p4.Limit) {
	r.Helper()
	for _, c := range r.c {
		if err := c.Ready(r.Context()); err != nil {
			r.Fatal(err)
		}
	}
	if _, err := r.g.Set(r.Context(), queues, []p4.Limit{l, l, l}); err != nil {
		r.Fatal(err)
	}
}

// safeWithin sees that switch i has the safe limit, put there at most d after
// from, and that its client holds it again.
func (r *rig) safeWithin(i int, from time.Time, d time.Duration) {
	r.Helper()
	ctx, stop := context.WithTimeout(r.Context(), d+time.Second)
	defer stop()
	if err := r.c[i].Ready(ctx); err != nil {
		r.Fatalf("switch %d after %v: %v", i+1, time.Since(from), err)
	}
	r.mu.Lock()
	limit, took := r.limit[i], r.since[i].Sub(from)
	r.mu.Unlock()
	if limit != safe || took > d {
		r.Errorf("switch %d: limit %d %v after, want %d within %v", i+1, limit, took, safe, d)
	}
	r.Logf("switch %d: the safe limit was in force %v after", i+1, max(took, 0).Round(time.Millisecond))
}

func TestFaultMastershipLostMidWrite(t *testing.T) {
	fault(t, func(r *rig) {
		// While the write is on its way, another controller takes over.
		cfg := r.c[0].cfg.Config
		cfg.Election, cfg.Notify, cfg.Safe = Election{High: 50}, nil, 0
		rival := make(chan *Client, 1)
		r.s[0].Inject(sim.Faults{Before: func(*p4v1.WriteRequest) {
			r.s[0].Inject(sim.Faults{})
			c, err := Open(cfg)
			if err == nil {
				err = c.Ready(r.Context())
			}
			if err != nil {
				r.Error(err)
			}
			rival <- c
		}})
		got, err := r.g.Set(r.Context(), queues, []p4.Limit{safe, safe, safe})
		if !errors.Is(err, p4.ErrNotPrimary) || got[0].Limit != 64 || got[1].Limit != safe || got[2].Limit != safe {
			r.Errorf("%v; in force %+v; want switch 1 left at 64", err, got)
		}
		if r.s[0].InForce(1) != 64 {
			r.Errorf("switch 1 has %d", r.s[0].InForce(1))
		}
		// The rival leaves: mastership regained is the safe limit.
		at := time.Now()
		(<-rival).Close()
		synctest.Wait() // the client has heard of both: that it was demoted, that no client is primary
		r.safeWithin(0, at, time.Second)
		r.set(64)
	})
}

func TestFaultSwitchRestart(t *testing.T) {
	fault(t, func(r *rig) {
		at := time.Now()
		r.s[1].Restart()
		synctest.Wait()
		r.safeWithin(1, at, time.Second)
		if r.s[1].Cookie() != r.c[1].cfg.program.Cookie {
			r.Error("the pipeline was not pushed again")
		}
		if r.s[0].InForce(1) != 64 || r.s[2].InForce(1) != 64 {
			r.Errorf("its neighbours have %d and %d", r.s[0].InForce(1), r.s[2].InForce(1))
		}
		r.set(64)
	})
}

// A restarted BMv2 has queues of 64 packets, whatever they had before. Where
// nothing provisions them no limit that is read back means anything: it is
// unknown, and nothing but the safe limit is asked for.
func TestFaultRestartUnprovisioned(t *testing.T) {
	fault(t, func(r *rig) {
		r.c[1].Close()
		cfg := r.c[1].cfg.Config
		cfg.Provision, cfg.Notify = nil, nil
		c, err := Open(cfg)
		if err != nil {
			r.Fatal(err)
		}
		defer c.Close()
		r.c[1], r.g[1] = c, c
		r.set(64)
		r.s[1].Restart()
		time.Sleep(2 * time.Second)
		if err := c.Ready(r.Context()); err != nil {
			r.Fatal(err)
		}
		got, err := r.g.Set(r.Context(), queues, []p4.Limit{64, 64, 64})
		if !errors.Is(err, p4.ErrUnprovisioned) || got[1].Limit != 0 || got[0].Err != nil || got[2].Err != nil {
			r.Errorf("%v, %+v: want switch 2's limit unknown", err, got)
		}
		if err := c.SetLimit(r.Context(), 1, 64); !errors.Is(err, p4.ErrUnprovisioned) {
			r.Errorf("64: %v", err)
		}
		if err := c.SetLimit(r.Context(), 1, safe); err != nil {
			r.Errorf("the safe limit is refused: %v", err)
		}
		got, err = r.g.Set(r.Context(), queues, []p4.Limit{safe, safe, safe})
		if !errors.Is(err, p4.ErrUnprovisioned) || got[1].Limit != 0 || r.s[0].InForce(1) != safe {
			r.Errorf("safe: %v, %+v", err, got)
		}
	})
}

func TestFaultConnectionCut(t *testing.T) {
	fault(t, func(r *rig) {
		r.s[2].Cut()
		synctest.Wait()
		for range 30 {
			time.Sleep(time.Second)
			got, err := r.g.Set(r.Context(), queues, []p4.Limit{64, 64, 64})
			if !errors.Is(err, p4.ErrUnreachable) || got[0].Err != nil || got[1].Err != nil || got[2].Err == nil {
				r.Fatalf("%v %+v", err, got)
			}
		}
		if r.s[2].InForce(1) != 64 {
			r.Errorf("cut off, the switch has %d: the last limit stays", r.s[2].InForce(1))
		}
		at := time.Now()
		r.s[2].Mend()
		r.safeWithin(2, at, time.Second)
		r.set(64)
	})
}

func TestFaultPipelineReplaced(t *testing.T) {
	fault(t, func(r *rig) {
		r.s[0].ReplacePipeline(&configv1.P4Info{}, 99)
		at := time.Now()
		got, err := r.g.Set(r.Context(), queues, []p4.Limit{64, 64, 64})
		if !errors.Is(err, p4.ErrPipeline) || got[0].Err == nil || got[1].Err != nil {
			r.Errorf("%v %+v, want %v", err, got, p4.ErrPipeline)
		}
		r.safeWithin(0, at, time.Second)
		r.set(64)
	})
}

func TestFaultOneRefuses(t *testing.T) {
	fault(t, func(r *rig) {
		r.s[1].Inject(sim.Faults{Refuse: codes.ResourceExhausted})
		got, err := r.g.Set(r.Context(), queues, []p4.Limit{safe, safe, safe})
		var w *WriteError
		if !errors.As(err, &w) || w.only() != codes.ResourceExhausted {
			r.Errorf("%v", err)
		}
		for i, want := range []p4.Limit{safe, 64, safe} {
			if got[i].Limit != want || r.s[i].InForce(1) != want {
				r.Errorf("switch %d: told %d, in force %d, want %d", i+1, got[i].Limit, r.s[i].InForce(1), want)
			}
		}
		r.s[1].Inject(sim.Faults{})
		r.set(safe)
	})
}

func TestFaultReadBackLies(t *testing.T) {
	fault(t, func(r *rig) {
		r.s[2].Inject(sim.Faults{Lie: func(l p4.Limit) p4.Limit { return l + 1 }})
		got, err := r.g.Set(r.Context(), queues, []p4.Limit{safe, safe, safe})
		if !errors.Is(err, p4.ErrReadBack) || got[2].Err == nil || got[0].Err != nil {
			r.Errorf("%v %+v, want %v", err, got, p4.ErrReadBack)
		}
		if r.s[2].InForce(1) != safe {
			r.Errorf("in force %d", r.s[2].InForce(1))
		}
	})
}

// Mastership lost and regained while the client puts a switch in order: what
// the rival left behind after the last look is seen, too.
func TestFaultMastershipLostMidSync(t *testing.T) {
	fault(t, func(r *rig) {
		cfg := r.c[0].cfg.Config
		cfg.Election, cfg.Notify, cfg.Safe, cfg.Entries = Election{High: 50}, nil, 0, nil
		var reads atomic.Int32
		r.s[0].Inject(sim.Faults{Found: func() {
			if reads.Add(1) != 4 { // entries and default entry, before and after the write
				return
			}
			rival, err := Open(cfg)
			if err == nil {
				err = rival.Ready(r.Context())
			}
			if err == nil {
				err = rival.SetLimit(r.Context(), 1, 64)
			}
			if err != nil {
				r.Error(err)
			}
			rival.Close()
			time.Sleep(20 * time.Millisecond) // the client hears that it is primary again
		}})
		r.s[0].Cut()
		synctest.Wait()
		r.s[0].Mend()
		time.Sleep(2 * time.Second)
		r.s[0].Inject(sim.Faults{})
		if reads.Load() < 4 {
			r.Fatalf("%d reads: the rival never came", reads.Load())
		}
		if got := r.s[0].InForce(1); got != safe {
			r.Errorf("limit %d in force, the rival's: want the safe %d", got, safe)
		}
		r.set(64)
	})
}

// A switch that answers nothing any more, on connections that stay open, is
// found out without anybody asking for a limit; by a backup too.
func TestFaultSilentSwitch(t *testing.T) {
	fault(t, func(r *rig) {
		cfg := r.c[1].cfg.Config
		var other log
		cfg.Backup, cfg.Election, cfg.Notify = true, Election{}, other.add
		backup, err := Open(cfg)
		if err != nil {
			r.Fatal(err)
		}
		defer backup.Close()
		if err := backup.Ready(r.Context()); err != nil {
			r.Fatal(err)
		}
		r.s[1].Inject(sim.Faults{Stall: true})
		time.Sleep(8 * time.Second) // two windows
		if st := r.c[1].State(); st.Synced {
			r.Errorf("after two windows of silence: %+v", st)
		}
		for _, l := range []*log{&r.heard[1], &other} {
			if !l.has(func(e Event) bool { return e.Kind == Down && errors.Is(e.Err, errSilent) }) {
				r.Errorf("after two windows of silence a client heard %+v", l.events)
			}
		}
		if st := r.c[0].State(); !st.Synced {
			r.Errorf("its neighbour: %+v", st)
		}
		at := time.Now()
		r.s[1].Inject(sim.Faults{})
		r.safeWithin(1, at, 2*time.Second) // a call's timeout and a backoff
		r.set(64)
	})
}

// Another controller's pipeline is detected even when no client writes.
func TestFaultPipelineReplacedUnseen(t *testing.T) {
	fault(t, func(r *rig) {
		r.s[0].ReplacePipeline(&configv1.P4Info{}, 99)
		time.Sleep(4 * time.Second)
		if got := r.s[0].Cookie(); got != r.c[0].cfg.program.Cookie {
			r.Errorf("cookie %x after a window", got)
		}
		if got := r.s[0].InForce(1); got != safe {
			r.Errorf("limit %d in force, want the safe %d", got, safe)
		}
	})
}

func TestFaultSlow(t *testing.T) {
	fault(t, func(r *rig) {
		r.s[0].Inject(sim.Faults{Delay: 300 * time.Millisecond})
		at := time.Now()
		r.set(safe)
		// one write and one read back (a modify of what is there)
		if took := time.Since(at); took > 700*time.Millisecond {
			r.Errorf("three switches, one slow, took %v", took)
		}
		r.s[0].Inject(sim.Faults{Stall: true})
		at = time.Now()
		got, err := r.g.Set(r.Context(), queues, []p4.Limit{64, 64, 64})
		if took := time.Since(at); !errors.Is(err, p4.ErrUnreachable) || got[1].Err != nil || took > 2100*time.Millisecond {
			r.Errorf("stalled: %v after %v, %+v", err, took, got[1])
		}
		r.s[0].Inject(sim.Faults{})
		r.set(64)
	})
}

// Reconnects are spread: no two of many clients come back at one moment.
func TestReconnectIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tries := map[time.Duration]int{}
		begin := time.Now()
		var all []*Client
		for i := range 20 {
			c, err := Open(Config{
				Switch: inventory.Switch{Target: "nowhere:1", Queues: []p4.Limit{64}, Dial: sim.NewPipe().Dial}, // nothing accepts
				Seed:   uint64(i),
				Notify: func(Event) {
					mu.Lock()
					tries[time.Since(begin)]++
					mu.Unlock()
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		time.Sleep(90 * time.Second)
		for _, c := range all {
			c.Close()
		}
		late := 0
		for at, n := range tries {
			if at > 25*time.Second { // gRPC's own connect timeout is 20 s
				late = max(late, n)
			}
		}
		if late > 2 || len(tries) < 40 {
			t.Errorf("%d moments, up to %d clients in one", len(tries), late)
		}
	})
}

func ExampleWriteError() {
	err := &WriteError{Code: codes.Unknown, Updates: []UpdateError{{Index: 2, Code: codes.NotFound, Message: "no such entry", Space: "ALL-sswitch-p4org", Vendor: 3}}}
	fmt.Println(err)
	// Output: write refused: update 2: NotFound: no such entry (ALL-sswitch-p4org 3)
}
