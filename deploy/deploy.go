// Package deploy lets a policy set the queues of live switches, within rails:
// the control loop, the safe limit, a guard in a process of its own, a journal
// of every action, and the recording of what comes in.
//
//	d, err := deploy.Open(ctx, deploy.Config{Scenario: lab, Journal: "journal.jsonl"})
//	...
//	err = d.Close(d.Run(ctx, policy, "threshold"))
//
// Open connects to the switches and to their telemetry, Run acts, and Close
// leaves the safe limit behind.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/plant/live"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	collect "github.com/planegym/planegym/telemetry/live"
)

// Config says what to deploy on. Zero values are the defaults in the comments.
type Config struct {
	Scenario scenarios.Scenario // with plant = "live"
	Name     string             // what the journal calls it, e.g. its file
	Journal  string             // file to append every action to
	Metrics  string             // host:port to serve Prometheus's metrics at; "": none
	For      time.Duration      // how long Run acts, in the switches' time; 0: until ctx ends
	Shadow   bool               // the policy decides, nothing is written to a switch
	// Endless episodes end for no number of steps.
	Endless   bool
	Autoreset env.Autoreset
	Episodes  string  // Parquet file to write the episodes to; "": none
	Record    *Record // what comes in, as logs; nil: not recorded
	// Scaler normalises observations with these columns; nil: it is fitted to
	// the emulated testbed of the scenario.
	Scaler func(columns []telemetry.Field) (queues.Normaliser, error)
	// Wrap, where not nil, gives what is acted on in place of the plant, which
	// it still must act on: to watch what is measured.
	Wrap func(env.Plant) env.Plant
	// Guard is the command that runs a guard (see Guard.Run) of the scenario's
	// switches, which appends to Journal; --window DURATION is added to it.
	// nil: nothing acts should this process be killed.
	Guard []string
	// Step, where not nil, is called after every step.
	Step func(Step)
}

// Step is what one step came to.
type Step struct {
	N      int
	Limits []p4.Limit // by switch
	Reward float32
	Player []float32     // buffer in s, frame rate, bitrate in kbit/s, stall in s; nil: not known
	Set    time.Duration // from the last decision to its last read-back
	Safe   int           // times that the safe limit was put in force so far
	Stats  collect.Stats
}

// Summary is what a deployment came to.
type Summary struct {
	Steps   int
	Rewards float64   // sum
	Safe    int       // times that the safe limit was put in force
	Sets    []float64 // ms, from each decision to its last read-back
	Files   []string  // written by Record
	Stats   collect.Stats
}

// Deployment is a policy's place on live switches. It is for one goroutine.
type Deployment struct {
	cfg     Config
	live    *liveRun
	journal *Journal
	guard   *guardProcess
	metrics metrics
	record  *recorder

	ctx         context.Context
	stopMetrics func()
	pulse       pulse
	beating     sync.WaitGroup // pulse.beat
	stopBeating func()

	mu     sync.Mutex
	failed error // of the journal: no action goes without a line
	cancel context.CancelCauseFunc

	idle    time.Duration // beside what the loop says
	steps   int
	asked   int // of the steps, in this episode
	rewards float64
	took    []float64
	trips   int
	last    string // why the safe limit was last put in force

	short   int // episodes in a row that a rail soon ended
	counted int // trips when the episode began

	events sync.Mutex
	away   map[string]*absence
}

// absence is a switch that is not in hand.
type absence struct {
	since  time.Time
	error  string
	events int // that were not journalled
}

// ErrPolicy is wrapped where a policy returns an action that the scenario does
// not have.
var ErrPolicy = errors.New("the policy returned an invalid action")

// Open opens journal, metrics, switches and telemetry. What must end the
// deployment ends its context, too.
func Open(ctx context.Context, cfg Config) (d *Deployment, err error) {
	if cfg.Scenario.Plant != "live" {
		return nil, fmt.Errorf(`deploy: the scenario has plant = %q, not "live"`, cfg.Scenario.Plant)
	}
	if cfg.For < 0 {
		return nil, fmt.Errorf("deploy: for: %v is negative", cfg.For)
	}
	d = &Deployment{cfg: cfg, away: map[string]*absence{}}
	if d.journal, err = OpenJournal(cfg.Journal, "agent"); err != nil {
		return nil, err
	}
	d.ctx, d.cancel = context.WithCancelCause(ctx)
	if d.stopMetrics, err = d.metrics.serve(cfg.Metrics); err != nil {
		d.cancel(nil)
		return nil, errors.Join(err, d.journal.Close())
	}
	o := liveOptions{
		shadow: cfg.Shadow, scaler: cfg.Scaler, endless: cfg.Endless, autoreset: cfg.Autoreset,
		act: d.acted, event: d.happened, busy: d.busy, wrap: cfg.Wrap,
	}
	if cfg.Record != nil {
		d.record = &recorder{dir: cfg.Record.Dir, limit: cfg.Record.Limit, most: cfg.Record.most()}
		if err = d.record.open(&d.cfg.Scenario); err == nil {
			o.tap = d.record.tap()
			for _, name := range d.record.continued() {
				d.write(Entry{Event: "record", Why: name + " is continued; the time since its last line is a gap"})
			}
		}
	}
	if err == nil {
		d.live, err = openLive(d.ctx, d.cfg.Scenario, o)
	}
	if err != nil {
		return nil, d.Close(err)
	}
	d.idle = d.beat()
	return d, nil
}

// Spec is that of the switches as an environment.
func (d *Deployment) Spec() env.Spec { return d.live.vector.Spec() }

// Close ends a deployment that ended with err, which it gives back with what
// went wrong besides. The safe limit is put in force; then nothing is left to
// guard. Where that fails the guard goes on trying.
func (d *Deployment) Close(err error) error {
	deposed := errors.Is(context.Cause(d.ctx), errDeposed)
	if d.live != nil {
		e := d.live.vector.Close()
		if d.stopBeating != nil {
			d.stopBeating()
			d.beating.Wait()
		}
		switch {
		case deposed: // the guard does what Close could not; the pipe's end lets it go
			d.guard.in.Close()
		case e != nil:
			err = errors.Join(err, e)
		case d.guard != nil:
			err = errors.Join(err, d.guard.leave())
		}
	}
	if errors.Is(err, p4.ErrNotPrimary) && !deposed {
		err = fmt.Errorf("another controller has taken over: %w", err)
	}
	end := Entry{Event: "end", Step: d.steps}
	if err != nil {
		end.Error = err.Error()
	}
	d.write(end)
	d.stopMetrics()
	if d.record != nil {
		if err == nil {
			err = d.record.finish(d.live.collector.Stats().Refused)
		}
		err = errors.Join(err, d.record.close())
	}
	d.cancel(nil)
	return errors.Join(err, d.broken(), d.journal.Close())
}

// broken is why nothing more may be done.
func (d *Deployment) broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Run lets a policy act until Config.For is over or ctx, or Open's, ends; the
// latter is not an error. who names the policy in the journal.
func (d *Deployment) Run(policy agent.Policy, who string) error {
	if err := d.begin(who); err != nil {
		return err
	}
	return d.ended(d.loop(d.ctx, policy))
}

// ended is the error of what a context ended: nil of one that was cancelled.
func (d *Deployment) ended(err error) error {
	if errors.Is(err, context.Canceled) {
		if err = context.Cause(d.ctx); errors.Is(err, context.Canceled) {
			return nil // Ctrl-C
		}
	}
	return err
}

// shortestBeat is the least time between heartbeats: where windows are shorter,
// as those of emulated switches, a machine's hiccup is not a hung agent.
const shortestBeat = time.Second

// begin starts the guard, and the journal's account of who acts.
func (d *Deployment) begin(who string) (err error) {
	switch {
	case d.cfg.Shadow:
		d.write(Entry{Event: "begin", Why: fmt.Sprintf("%s decides in %s, no limit is set", who, d.cfg.Name)})
		return nil
	case d.cfg.Guard == nil:
		d.write(Entry{Event: "begin", Why: fmt.Sprintf("%s acts in %s, unguarded", who, d.cfg.Name)})
		return nil
	}
	g, err := startGuard(d.ctx, d.cfg.Guard, d.beat())
	if err != nil {
		return err
	}
	d.watch(g)
	d.write(Entry{Event: "begin", Why: fmt.Sprintf("%s acts in %s, guarded by process %d", who, d.cfg.Name, g.pid)})
	return nil
}

// errDeposed is why a deployment ends whose guard has taken over.
var errDeposed = errors.New("the guard has taken over")

// watch ends the deployment when its guard takes over or is gone, and keeps the
// heartbeat going until then.
func (d *Deployment) watch(g *guardProcess) {
	d.guard = g
	go func() { // ends with the guard's process
		select {
		case why := <-g.took:
			d.cancel(fmt.Errorf("%w and put the safe limit in force: %s", errDeposed, why))
		case err := <-g.done:
			g.done <- err
			if err == nil {
				err = errors.New("it was ended")
			}
			d.cancel(fmt.Errorf("the guard is gone: %w", err))
		}
	}()
	ctx, stop := context.WithCancel(context.WithoutCancel(d.ctx)) // Close takes its time, too
	d.stopBeating = stop
	d.busy(0)
	d.beating.Go(func() {
		d.pulse.beat(ctx, g.Beater, d.beat(), func(err error) { d.cancel(fmt.Errorf("the guard is gone: %w", err)) })
	})
}

// beat is the time between heartbeats.
func (d *Deployment) beat() time.Duration { return max(d.live.window, shortestBeat) }

// busy says that the loop may be busy for so long, and, when that is over, for
// another beat: with the policy, or with reading limits back.
func (d *Deployment) busy(t time.Duration) { d.pulse.busy(t + d.idle) }

// loop is the control loop: an episode after the other.
func (d *Deployment) loop(ctx context.Context, policy agent.Policy) (err error) {
	v := d.live.vector
	spec := v.Spec()
	total := math.MaxInt
	if d.cfg.For > 0 {
		total = max(1, int(math.Ceil(d.cfg.For.Seconds()/spec.StepSeconds)))
	}
	var to *episodes.Writer
	if d.cfg.Episodes != "" {
		var left string
		if to, left, err = episodes.CreateKept(d.cfg.Episodes, episodes.SpacesOf(spec), d.cfg.Scenario.Name, "", episodes.InfosOf(v)...); err != nil {
			return err
		}
		if left != "" {
			d.write(Entry{Event: "record", Why: left + " holds the episodes that a run before, which was killed, had recorded"})
		}
		if to.Path() != d.cfg.Episodes {
			d.write(Entry{Event: "record", Why: "the episodes go to " + to.Path() + ": " + d.cfg.Episodes + " already exists"})
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	}
	actions := make([]int32, len(spec.Action))
	var out env.Batch
	over := true
	for episode := uint64(0); d.steps < total; {
		if over {
			if err := v.Reset(ctx, nil, nil, &out); err != nil {
				return err
			}
			policy.Begin(nil, []uint64{episode})
			if to != nil {
				if err := to.Begin(0, episode, out.Obs, to.InfoOf(v, 0, false)...); err != nil {
					return err
				}
			}
			episode++
		}
		policy.Act(nil, out.Obs, actions)
		d.asked++
		if err := v.Step(ctx, nil, actions, &out); err != nil {
			if errors.Is(err, env.ErrInvalidAction) { // the plant's Close makes it safe
				err = fmt.Errorf("%w: %w", ErrPolicy, err)
			}
			return err
		}
		over = out.Terminated[0] || out.Truncated[0]
		if err := d.tripped(over); err != nil {
			return err
		}
		if to != nil {
			if err := to.Step(0, actions, out.Reward[0], out.Terminated[0], out.Truncated[0], out.Obs, to.InfoOf(v, 0, over)...); err != nil {
				return err
			}
		}
		d.stepped(limitsAt(spec, actions), out.Reward[0])
		if err := d.broken(); err != nil {
			return err
		}
	}
	return nil
}

// limitsAt are the limits of actions [S].
func limitsAt(spec env.Spec, actions []int32) []p4.Limit {
	out := make([]p4.Limit, len(actions))
	for i, a := range actions {
		out[i] = spec.Limits[a]
	}
	return out
}

// Decide says what a policy would do now: the limits by switch. Nothing is
// changed; the deployment must be one with Shadow.
func (d *Deployment) Decide(policy agent.Policy) ([]p4.Limit, error) {
	var out env.Batch
	if err := d.live.vector.Reset(d.ctx, nil, nil, &out); err != nil {
		return nil, d.ended(err)
	}
	actions := make([]int32, len(d.Spec().Action))
	policy.Begin(nil, []uint64{0})
	policy.Act(nil, out.Obs, actions)
	limits := limitsAt(d.Spec(), actions)
	d.write(Entry{Event: "decide", Why: "dry run", Asked: limits})
	return limits, nil
}

// acted journals what the plant does.
func (d *Deployment) acted(a live.Act) {
	e := Entry{Time: a.Time, Event: "ask", Why: a.Why, Asked: a.Asked, Step: d.steps + 1}
	if d.cfg.Shadow {
		e.Event = "decide"
	}
	if d.busy(0); !a.Done {
		d.busy(setting(d.cfg.Scenario.Live.Switches))
	}
	if a.Done {
		e.Time = a.Time.Add(a.Took)
		if e.Event == "ask" {
			e.Event = "set"
		}
		e.Got, e.TookMS = Named(d.cfg.Scenario.Live.Switches, a.Got), float64(a.Took.Microseconds())/1000
		if a.Err != nil {
			e.Error = a.Err.Error()
		}
		d.took = append(d.took, e.TookMS)
		d.metrics.set(e)
		if a.Why != "policy" && a.Why != "reset" && a.Why != "close" {
			d.trips++
			d.last = a.Why
		}
	} else if d.cfg.Shadow {
		return // reported together with the limit in force
	}
	if d.record != nil {
		d.record.acted(a)
	}
	d.write(e)
}

const (
	shortEpisode = 10 // steps
	shortInARow  = 5  // such episodes
)

// tripped counts episodes that a rail ended soon after they began: where that
// goes on there is something wrong that a reset does not mend.
func (d *Deployment) tripped(over bool) error {
	if !over {
		return nil
	}
	if d.trips > d.counted && d.asked <= shortEpisode {
		d.short++
	} else {
		d.short = 0
	}
	d.asked, d.counted = 0, d.trips
	if d.short >= shortInARow {
		return fmt.Errorf("deploy: %d episodes in a row ended within %d steps because the safe limit had to be put in force, the last time because of %s; planegym switches check may say more", d.short, shortEpisode, d.last)
	}
	return nil
}

// happened journals what became of a switch: that it is away once, not for
// every try to reach it, and for how long when it is back.
func (d *Deployment) happened(e Event) {
	why := fmt.Sprintf("%s %s", e.Switch, e.Kind)
	d.events.Lock()
	a, text := d.away[e.Switch], ""
	if e.Err != nil {
		text = e.Err.Error()
	}
	switch {
	case e.Kind == "up" && a != nil:
		why += fmt.Sprintf(", after %v and %d more tries", time.Since(a.since).Round(time.Millisecond), a.events)
		delete(d.away, e.Switch)
	case e.Kind == "up":
	case a == nil:
		d.away[e.Switch] = &absence{since: time.Now(), error: string(e.Kind)}
	default:
		a.events++
		if a.error == string(e.Kind) {
			d.events.Unlock()
			return
		}
		a.error = string(e.Kind)
	}
	d.events.Unlock()
	if e.Provisioned {
		why += ", queues provisioned"
	}
	if e.Safe {
		why += ", the safe limit put back"
	}
	if e.Pushed {
		why += ", pipeline pushed"
	}
	d.write(Entry{Event: "switch", Why: why, Error: text})
}

// write appends to the journal. Where that fails nothing more is done.
func (d *Deployment) write(e Entry) {
	if err := d.journal.Append(e); err != nil {
		d.mu.Lock()
		d.failed = err
		d.mu.Unlock()
		d.cancel(err)
	}
}

// stepped counts a step and tells journal, metrics and Config.Step of it.
func (d *Deployment) stepped(limits []p4.Limit, reward float32) {
	d.steps++
	d.rewards += float64(reward)
	d.write(Entry{Event: "step", Step: d.steps, Asked: limits, Reward: &reward})
	s := Step{N: d.steps, Limits: limits, Reward: reward, Safe: d.trips, Stats: d.live.collector.Stats()}
	if i, ok := d.live.vector.(env.Informer); ok {
		s.Player = i.Info(0, nil)
	}
	if n := len(d.took); n > 0 {
		s.Set = time.Duration(d.took[n-1] * float64(time.Millisecond))
	}
	d.metrics.step(reward, s.Player, s.Stats)
	if d.cfg.Step != nil {
		d.cfg.Step(s)
	}
}

// Summary is what it came to so far.
func (d *Deployment) Summary() Summary {
	s := Summary{Steps: d.steps, Rewards: d.rewards, Safe: d.trips, Sets: d.took, Stats: d.live.collector.Stats()}
	if d.record != nil {
		s.Files = d.record.files
	}
	return s
}
