package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	collect "github.com/planegym/planegym/telemetry/live"
)

// quiet is telemetry of n switches and a player who has nothing to complain of.
type quiet struct {
	n    int
	busy func(time.Duration)
}

func (q quiet) Columns() []telemetry.Field {
	var names []string
	for i := range q.n {
		names = append(names, fmt.Sprint("enq_qdepth", i+1), fmt.Sprint("deq_timedelta", i+1), fmt.Sprint("deq_qdepth", i+1))
	}
	var f []telemetry.Field
	for _, n := range append(names, "lbo_s", "fps", "rep_kbps", "calc_rate") {
		x, _ := telemetry.Canonical(n)
		f = append(f, x)
	}
	return f
}

func (q quiet) Window(ctx context.Context, start time.Time, values []float32, valid []bool) (live.Ages, error) {
	seconds := time.Duration(len(values)/len(q.Columns())) * time.Second
	q.busy(seconds)
	defer q.busy(0)
	select {
	case <-time.After(time.Until(start.Add(seconds))):
	case <-ctx.Done():
		return live.Ages{}, ctx.Err()
	}
	for i := range values {
		values[i], valid[i] = 31, true
	}
	return live.Ages{Switches: make([]time.Duration, q.n)}, nil
}

func (quiet) Close() error { return nil }

// steady is a policy that always takes an action; before is called before each.
type steady struct {
	action int32
	before func()
}

func (steady) Begin([]int, []uint64) {}
func (s steady) Act(_ []int, _ []float32, actions []int32) {
	if s.before != nil {
		s.before()
	}
	for i := range actions {
		actions[i] = s.action
	}
}

// deployed is a deployment on the switches of a rig, with a guard in this
// process, and what became of it.
type deployed struct {
	*rig
	d       *Deployment
	stop    context.CancelCauseFunc
	journal string
}

func deployOn(r *rig) *deployed {
	x := &deployed{rig: r, journal: filepath.Join(r.TempDir(), "journal.jsonl")}
	var err error
	d := &Deployment{away: map[string]*absence{}, stopMetrics: func() {}}
	d.cfg = Config{Scenario: scenarios.Scenario{Live: scenarios.Live{Switches: r.inv}}, Endless: true}
	d.ctx, d.cancel = context.WithCancelCause(r.Context())
	x.stop = d.cancel
	if d.journal, err = OpenJournal(x.journal, "agent"); err != nil {
		r.Fatal(err)
	}
	group, err := OpenSwitches(r.inv, safe, d.happened)
	if err != nil {
		r.Fatal(err)
	}
	if err := reach(d.ctx, group); err != nil {
		r.Fatal(err)
	}
	r.agent = group
	plant, err := live.New(live.Config{Safe: safe}, group, r.inv.Queues(), quiet{3, d.busy}, d.acted)
	if err != nil {
		r.Fatal(err)
	}
	v, err := queues.New(queues.Config{Limits: []p4.Limit{safe, usual}, Initial: usual, Observation: queues.Observation{Normalise: "none"}, Autoreset: env.Disabled, MaxSteps: 1 << 30}, plant, 1, nil)
	if err != nil {
		r.Fatal(err)
	}
	c, err := collect.New(collect.Config{Switches: []uint32{1, 2, 3}})
	if err != nil {
		r.Fatal(err)
	}
	d.live = &liveRun{vector: v, plant: plant, collector: c, window: 4 * time.Second}
	d.idle = d.beat()
	x.d = d
	return x
}

// guardIt starts a guard for the deployment.
func (x *deployed) guardIt() {
	out, in := io.Pipe()
	took, done := make(chan string, 1), make(chan error, 1)
	g := Guard{Inventory: x.inv, Safe: safe, Window: 4 * time.Second, Took: func(why string) { took <- why }, Journal: func(e Entry) {
		x.mu.Lock()
		x.log = append(x.log, e)
		x.mu.Unlock()
	}}
	ready := make(chan struct{})
	go func() { done <- g.Run(x.Context(), out, func() error { close(ready); return nil }) }()
	select {
	case <-ready:
	case err := <-done:
		x.Fatal(err)
	}
	x.d.watch(&guardProcess{Beater: NewBeater(in, 4*time.Second), in: in, done: done, took: took})
}

// run runs a policy until its end, or for a while, and closes.
func (x *deployed) run(p steady, d time.Duration) error {
	t := time.AfterFunc(d, func() { x.stop(nil) })
	defer t.Stop()
	return x.d.Close(x.d.ended(x.d.loop(x.d.ctx, p)))
}

func (x *deployed) text() string {
	b, err := os.ReadFile(x.journal)
	if err != nil {
		x.Fatal(err)
	}
	return string(b)
}

func bubble(t *testing.T, p sim.Personality, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) { f(newRig(t, p)) })
}

// One switch that hangs for a minute costs the agent no other: the guard has
// no reason to depose it.
func TestGuardLeavesAnAgentWhoseSwitchHangs(t *testing.T) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			bubble(t, p, func(r *rig) {
				for i := range r.inv {
					r.inv[i].Timeout = 8 * time.Second // two windows: a step takes four
				}
				x := deployOn(r)
				x.guardIt()
				time.AfterFunc(20*time.Second, func() { r.s[1].Inject(sim.Faults{Stall: true}) })
				time.AfterFunc(80*time.Second, func() { r.s[1].Inject(sim.Faults{}) })
				if err := x.run(steady{action: 1}, 200*time.Second); err != nil {
					t.Error(err)
				}
				if len(r.log) > 0 {
					t.Errorf("the guard took over: %+v", r.log)
				}
				// 50 windows, less the minute and what a call takes that began within it.
				if x.d.steps < 25 {
					t.Errorf("%d steps", x.d.steps)
				}
				r.inForce(safe, safe, safe)
			})
		})
	}
}

// A policy that hangs is deposed within three and a half windows and a half,
// and the deployment says in a line why it ended.
func TestGuardDeposesAPolicyThatHangs(t *testing.T) {
	bubble(t, sim.BMv2, func(r *rig) {
		x := deployOn(r)
		x.guardIt()
		n, hung := 0, time.Time{}
		err := x.run(steady{action: 1, before: func() {
			if n++; n == 5 {
				hung = time.Now()
				time.Sleep(time.Minute)
			}
		}}, time.Hour)
		if !errors.Is(err, errDeposed) || len(err.Error()) > 200 {
			t.Errorf("%v", err)
		}
		if d := time.Since(hung); d > 62*time.Second {
			t.Errorf("it ended %v after it hung for a minute", d)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(r.log) != 3 || r.log[0].Time.Sub(hung) > 15*time.Second {
			t.Errorf("%+v", r.log)
		}
		r.inForce(safe, safe, safe)
	})
}

// A deployment that trips in every episode ends and says what it saw: as where
// a queue does not exist and everything is dropped, a reset mends nothing.
func TestDeployThatAlwaysTripsEnds(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		begin := time.Now()
		steps := 0
		err := x.run(steady{action: 1, before: func() {
			if steps++; steps%2 == 0 { // in the second window of every episode
				r.s[1].Cut()
				time.AfterFunc(100*time.Millisecond, r.s[1].Mend)
			}
		}}, time.Hour)
		if err == nil || !strings.Contains(err.Error(), "5 episodes in a row ended within 10 steps") || time.Since(begin) > 10*time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// While a rival holds one switch nothing but the safe limit comes into force
// on the others.
func TestRivalOnOneSwitch(t *testing.T) {
	bubble(t, sim.BMv2, func(r *rig) {
		cfg := p4rt.Config{Switch: r.inv.WithDefaults(safe)[1]}
		cfg.Election = p4rt.Election{High: 9}
		x := deployOn(r)
		rival, err := p4rt.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer rival.Close()
		if err := rival.Ready(r.Context()); err != nil {
			t.Fatal(err)
		}
		if err := x.run(steady{action: 1}, 50*time.Second); err == nil || !strings.Contains(err.Error(), "another controller") {
			t.Errorf("%v", err)
		}
		if text := x.text(); strings.Contains(text, `"asked":[64,64,64]`) {
			t.Errorf("64 was asked for:\n%s", text)
		}
	})
}

// A switch that is away for a minute is two lines of the journal.
func TestJournalOfASwitchThatIsAway(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		time.AfterFunc(10*time.Second, r.s[1].Cut)
		time.AfterFunc(60*time.Second, r.s[1].Mend)
		if err := x.run(steady{action: 1}, 100*time.Second); err != nil {
			t.Error(err)
		}
		n := 0
		for line := range strings.Lines(x.text()) {
			if strings.Contains(line, `"event":"switch","why":"s2`) {
				n++
				t.Log(line)
			}
		}
		if n < 2 || n > 4 {
			t.Errorf("%d lines of a switch that was away once", n)
		}
	})
}

// A guard whose switch is gone for good ends, and says what is not known.
func TestGuardGivesUp(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		var journal []Entry
		g := Guard{Inventory: r.inv, Safe: safe, Window: 4 * time.Second, Patience: 10 * time.Minute, Journal: func(e Entry) {
			x.mu.Lock()
			journal = append(journal, e)
			x.mu.Unlock()
		}}
		out, in := io.Pipe()
		done := make(chan error, 1)
		ready := make(chan struct{})
		go func() { done <- g.Run(r.Context(), out, func() error { close(ready); return nil }) }()
		<-ready
		r.s[1].Cut()
		begin := time.Now()
		in.Close()
		err := <-done
		if d := time.Since(begin); err == nil || !strings.Contains(err.Error(), "gave up after 10m0s") || d < 10*time.Minute || d > 11*time.Minute {
			t.Errorf("%v after %v", err, d)
		}
		r.inForce(safe, safe, safe)
		x.mu.Lock()
		defer x.mu.Unlock()
		if last := journal[len(journal)-1]; last.Event != "end" || last.Error == "" {
			t.Errorf("the last line is %+v", last)
		}
		x.stop(nil)
		_ = x.d.Close(nil)
	})
}

// Beside a running deploy and its guard a check, a second check and a shadow
// look at every switch; a second deploy gets an error that says why it may not run.
func TestBesideARunningDeploy(t *testing.T) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			bubble(t, p, func(r *rig) {
				x := deployOn(r)
				x.guardIt()
				x.d.busy(time.Hour)
				if _, err := r.agent.Set(r.Context(), r.inv.Queues(), []p4.Limit{usual, usual, usual}); err != nil {
					t.Fatal(err)
				}
				shadow, err := OpenBackup(r.inv, safe, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer shadow.Close()
				if err := reach(r.Context(), shadow); err != nil {
					t.Errorf("shadow: %v", err)
				}
				for range 2 {
					for _, f := range Examine(r.Context(), r.inv, []p4.Limit{safe, usual}, safe, 0) {
						if f.Check == "reach" && f.Level != OK || f.Check == "in force" && (f.Level != OK || f.Says != "port 1: limit 64") || f.Check == "mastership" && f.Level != Failed {
							t.Errorf("%+v", f)
						}
					}
				}
				second, err := OpenSwitches(r.inv, safe, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := reach(r.Context(), second); !errors.Is(err, p4.ErrElection) || errors.Is(err, p4.ErrUnreachable) {
					t.Errorf("a second deploy: %v", err)
				}
				second.Close()
				r.inForce(usual, usual, usual)
				if err := x.d.Close(nil); err != nil {
					t.Error(err)
				}
				// No controller is left: 64 would be unguarded.
				r.inForce(safe, safe, safe)
			})
		})
	}
}

// An unguarded limit is not well.
func TestExamineAnUnguardedLimit(t *testing.T) {
	bubble(t, sim.Strict, func(r *rig) {
		x := deployOn(r)
		if _, err := r.agent.Set(r.Context(), r.inv.Queues(), []p4.Limit{usual, usual, usual}); err != nil {
			t.Fatal(err)
		}
		r.agent.Close() // killed, and its guard
		synctest.Wait() // until the switches know
		found := Examine(r.Context(), r.inv, []p4.Limit{safe, usual}, safe, 0)
		n := 0
		for _, f := range found {
			if f.Check == "in force" && f.Level == Warning && strings.Contains(f.Says, "no client is primary") {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%d of 3 switches are said to be unguarded: %+v", n, found)
		}
		x.stop(nil)
		_ = x.d.Close(nil)
	})
}
