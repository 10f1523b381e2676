package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/episodes"
	"github.com/planegym/planegym/internal/switches"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

func newDeploy() *cobra.Command {
	d := deployment{name: "deploy", endless: true}
	cmd := &cobra.Command{
		Use:   "deploy POLICY --scenario FILE",
		Short: "Let an agent set the queues of live switches",
		Long: `deploy lets a policy (a file that train wrote, or a baseline) set the queue limits
of the switches of a scenario with plant = "live", a window at a time.

The switches never stay in a bad state: the safe limit is put in force whenever
telemetry is older than two windows, a switch is out of hand or was restarted,
playback stalls for too long, or the policy asks for what there is not, and when
deploy ends. A second process, the guard, does it should this one be killed or
hang. Where both are killed the last limits stay: nothing on a switch ends them.

--dry-run does all but act: it looks at the switches and at one window of
telemetry, and says what the policy would do. --shadow lets the policy decide
for as long as you like, and nobody acts. Every decision, with its reason and
what the switches read back, is a line of the journal.

POLICY may be a baseline: planegym play --help lists them.`,
		Example: `  planegym deploy run/policy.safetensors --scenario lab.toml --dry-run
  planegym deploy run/policy.safetensors --scenario lab.toml --shadow --for 1h
  planegym deploy run/policy.safetensors --scenario lab.toml --metrics 127.0.0.1:9100
  planegym deploy fixed:64 --scenario lab.toml --for 10m --json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.policy = args[0]
			return d.run(cmd)
		},
	}
	d.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&d.dryRun, "dry-run", false, "look at everything, say what would be done, and end")
	f.BoolVar(&d.shadow, "shadow", false, "the policy decides, nobody acts, decisions are kept")
	return cmd
}

// add adds the flags that deploy and collect share.
func (d *deployment) add(cmd *cobra.Command) {
	addLiveScenario(cmd, &d.scenario)
	f := cmd.Flags()
	f.DurationVar(&d.time, "for", 0, "how long, in the switches' time; 0: until Ctrl-C")
	f.StringVar(&d.journalFile, "journal", "journal.jsonl", "file to append every action to")
	f.StringVar(&d.metricsAddr, "metrics", "", "host:port to tell metrics at, for Prometheus; \"\": nowhere")
	f.StringVar(&d.data, "data", "", "folder of recordings that observations are scaled by; \"\": the emulated testbed of the scenario")
	f.StringVar(&d.kernels, "kernels", "auto", "kernel set to compute with")
}

// deployment is a policy on live switches.
type deployment struct {
	name                     string // of the command
	policy, scenario, data   string
	journalFile, metricsAddr string
	kernels                  string
	time                     time.Duration
	dryRun, shadow           bool
	endless                  bool          // episodes end for no number of steps
	record                   string        // Parquet file of episodes, ""
	recorder                 *liveRecorder // of what comes in, nil: none

	s       scenarios.Scenario
	live    *liveRun
	acting  agent.Policy
	journal *switches.Journal
	guard   *guardProcess
	metrics metrics
	status  func(string)

	stopMetrics func()

	mu     sync.Mutex
	failed error // of the journal: no action goes without a line
	cancel context.CancelCauseFunc

	steps   int
	rewards float64
	took    []float64 // ms, from the decision to the last read-back
	trips   int
}

var errPolicy = errors.New("the policy asked for what there is not")

func (d *deployment) run(cmd *cobra.Command) (err error) {
	if d.dryRun {
		if _, err := loadLive(cmd, d.scenario); err != nil {
			return err
		}
		if err := checkSwitches(cmd, d.scenario, 0); err != nil {
			return err
		}
	}
	if d.time < 0 {
		return usagef("%s: --for: %v is negative", d.name, d.time)
	}
	k, err := compute.ParseKernels(d.kernels)
	if err != nil {
		return usagef("%s: --kernels: %w", d.name, err)
	}
	be := compute.NewBackend(k, 1)
	defer be.Close()
	d.status = statusLine(cmd)
	ctx, err := d.open(cmd, env.Disabled)
	if err != nil {
		return err
	}
	if err = d.close(d.deploy(ctx, cmd, be)); err != nil || d.dryRun {
		return err
	}
	return d.report(cmd)
}

// open opens journal, metrics and switches. The context ends with cmd's, and
// with whatever must end the deployment.
func (d *deployment) open(cmd *cobra.Command, mode env.Autoreset) (ctx context.Context, err error) {
	if d.s, err = loadLive(cmd, d.scenario); err != nil {
		return nil, err
	}
	ctx, d.cancel = context.WithCancelCause(cmd.Context())
	if d.journal, err = switches.OpenJournal(d.journalFile, "agent"); err != nil {
		return nil, err
	}
	if d.stopMetrics, err = d.metrics.serve(d.metricsAddr); err != nil {
		return nil, errors.Join(err, d.journal.Close())
	}
	o := liveOptions{
		shadow: d.shadow || d.dryRun, data: d.data, endless: d.endless, autoreset: mode,
		act: d.acted, event: d.happened, beat: d.beat,
	}
	if d.recorder != nil {
		if err = d.recorder.open(&d.s); err == nil {
			o.tap = d.recorder.tap()
		}
	}
	if err == nil {
		d.live, err = openLive(ctx, d.s, o)
	}
	if err != nil {
		return nil, d.close(err)
	}
	return ctx, nil
}

// close ends a deployment that ended with err. The plant's Close puts the
// safe limit in force; then nothing is left to guard. Where that fails the
// guard is not told so: it tries on.
func (d *deployment) close(err error) error {
	if d.status != nil {
		d.status("")
	}
	if d.live != nil {
		if e := d.live.vector.Close(); e != nil {
			err = errors.Join(err, e)
		} else if d.guard != nil {
			err = errors.Join(err, d.guard.leave())
		}
	}
	if errors.Is(err, p4.ErrNotPrimary) {
		err = fmt.Errorf("another controller has taken over; if it was the guard, the journal says why: %w", err)
	}
	end := switches.Entry{Event: "end", Step: d.steps}
	if err != nil {
		end.Error = err.Error()
	}
	d.write(end)
	d.stopMetrics()
	if d.recorder != nil {
		if err == nil {
			err = d.recorder.finish()
		}
		err = errors.Join(err, d.recorder.close())
	}
	d.cancel(nil)
	return errors.Join(err, d.broken(), d.journal.Close())
}

// broken is why nothing more may be done.
func (d *deployment) broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// deploy runs until the time is over or ctx is.
func (d *deployment) deploy(ctx context.Context, cmd *cobra.Command, be *compute.Backend) error {
	spec := d.live.vector.Spec()
	hash, err := d.load(spec, be)
	if err != nil {
		return err
	}
	if d.dryRun {
		return d.wouldDo(ctx, cmd, spec)
	}
	if err := d.begin(ctx, fmt.Sprintf("%s %s", d.policy, hash)); err != nil {
		return err
	}
	err = d.loop(ctx, spec)
	if errors.Is(err, context.Canceled) {
		if err = context.Cause(ctx); errors.Is(err, context.Canceled) {
			return nil // Ctrl-C
		}
	}
	return err
}

// shortestBeat is the least time between heartbeats: where windows are shorter,
// as those of emulated switches, a machine's hiccup is no agent that hangs.
const shortestBeat = time.Second

// begin starts the guard, and the journal's account of who acts.
func (d *deployment) begin(ctx context.Context, who string) (err error) {
	if d.shadow {
		d.write(switches.Entry{Event: "begin", Why: fmt.Sprintf("%s decides in %s, nobody acts", who, d.scenario)})
		return nil
	}
	if d.guard, err = startGuard(ctx, d.scenario, d.journalFile, max(d.live.window, shortestBeat)); err != nil {
		return err
	}
	go func() { // a deployment without a guard ends
		err := <-d.guard.done
		d.guard.done <- err
		if err == nil {
			err = errors.New("it has taken over, or was ended")
		}
		d.cancel(fmt.Errorf("the guard is gone: %w", err))
	}()
	d.write(switches.Entry{Event: "begin", Why: fmt.Sprintf("%s acts in %s, guarded by process %d", who, d.scenario, d.guard.pid)})
	return nil
}

// load loads the policy.
func (d *deployment) load(spec env.Spec, be *compute.Backend) (hash string, err error) {
	if _, e := os.Stat(d.policy); e != nil && !strings.HasSuffix(d.policy, ".safetensors") {
		if d.acting, err = agent.Baseline(d.policy, spec); err != nil {
			return "", usageError{fmt.Errorf("%s: %w, nor a file that train wrote", d.name, err)}
		}
		return "", nil
	}
	trained, err := agent.Load(d.policy, be)
	if err != nil {
		return "", err
	}
	if err := trained.Fits(episodes.SpacesOf(spec)); err != nil {
		return "", fmt.Errorf("%s: %w", d.policy, err)
	}
	d.acting = trained
	return trained.Hash(), nil
}

// loop is the control loop: an episode after the other.
func (d *deployment) loop(ctx context.Context, spec env.Spec) (err error) {
	total := math.MaxInt
	if d.time > 0 {
		total = max(1, int(math.Ceil(d.time.Seconds()/spec.StepSeconds)))
	}
	var to *episodes.Writer
	if d.record != "" {
		if to, err = episodes.Create(d.record, episodes.SpacesOf(spec), d.s.Name, ""); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	}
	v, actions := d.live.vector, make([]int32, len(spec.Action))
	var out env.Batch
	over := true
	for episode := uint64(0); d.steps < total; {
		if over {
			if err := v.Reset(ctx, nil, nil, &out); err != nil {
				return err
			}
			d.acting.Begin(nil, []uint64{episode})
			if to != nil {
				if err := to.Begin(0, episode, out.Obs); err != nil {
					return err
				}
			}
			episode++
		}
		d.acting.Act(nil, out.Obs, actions)
		if err := v.Step(ctx, nil, actions, &out); err != nil {
			if errors.Is(err, env.ErrInvalidAction) { // the plant's Close makes it safe
				err = fmt.Errorf("%w: %w", errPolicy, err)
			}
			return err
		}
		d.steps++
		d.rewards += float64(out.Reward[0])
		over = out.Terminated[0] || out.Truncated[0]
		if to != nil {
			if err := to.Step(0, actions, out.Reward[0], out.Terminated[0], out.Truncated[0], out.Obs); err != nil {
				return err
			}
		}
		reward := out.Reward[0]
		d.write(switches.Entry{Event: "step", Step: d.steps, Asked: limitsAt(spec, actions), Reward: &reward})
		d.tell(spec, actions, reward)
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

// wouldDo tells what the policy would do now.
func (d *deployment) wouldDo(ctx context.Context, cmd *cobra.Command, spec env.Spec) error {
	var out env.Batch
	if err := d.live.vector.Reset(ctx, nil, nil, &out); err != nil {
		return err
	}
	actions := make([]int32, len(spec.Action))
	d.acting.Begin(nil, []uint64{0})
	d.acting.Act(nil, out.Obs, actions)
	limits := limitsAt(spec, actions)
	d.write(switches.Entry{Event: "decide", Why: "dry run", Asked: limits})
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"would_set": limits, "telemetry": d.live.collector.Stats()})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "telemetry comes in; %s would now set %v. Nothing was changed.\n", d.policy, limits)
	return nil
}

// acted journals what the plant does.
func (d *deployment) acted(a env.Act) {
	e := switches.Entry{Time: a.Time, Event: "ask", Why: a.Why, Asked: a.Asked, Step: d.steps + 1}
	if d.shadow || d.dryRun {
		e.Event = "decide"
	}
	if a.Done {
		e.Time = a.Time.Add(a.Took)
		if e.Event == "ask" {
			e.Event = "set"
		}
		e.Got, e.TookMS = d.s.Live.Switches.Got(a.Got), float64(a.Took.Microseconds())/1000
		if a.Err != nil {
			e.Error = a.Err.Error()
		}
		d.took = append(d.took, e.TookMS)
		d.metrics.set(e)
		if a.Why != "policy" && a.Why != "reset" && a.Why != "close" {
			d.trips++
		}
	} else if d.shadow || d.dryRun {
		return // told with what is in force
	}
	if d.recorder != nil {
		d.recorder.acted(a)
	}
	d.write(e)
}

// happened journals what became of a switch.
func (d *deployment) happened(e switches.Event) {
	why := fmt.Sprintf("%s %s", e.Switch, e.Kind)
	if e.Safe {
		why += ", the safe limit put back"
	}
	if e.Pushed {
		why += ", pipeline pushed"
	}
	j := switches.Entry{Event: "switch", Why: why}
	if e.Err != nil {
		j.Error = e.Err.Error()
	}
	d.write(j)
}

// write appends to the journal. Where that fails nothing more is done.
func (d *deployment) write(e switches.Entry) {
	if err := d.journal.Append(e); err != nil {
		d.mu.Lock()
		d.failed = err
		d.mu.Unlock()
		d.cancel(err)
	}
}

func (d *deployment) beat() {
	if d.guard == nil {
		return
	}
	if err := d.guard.Beat(); err != nil {
		d.cancel(fmt.Errorf("the guard is gone: %w", err))
	}
}

// tell tells a step to metrics and terminal.
func (d *deployment) tell(spec env.Spec, actions []int32, reward float32) {
	stats := d.live.collector.Stats()
	var player []float32
	if i, ok := d.live.vector.(env.Informer); ok {
		player = i.Info(0, nil)
	}
	d.metrics.step(reward, player, stats)
	line := fmt.Sprintf("step %d  limits %v  reward %.2f", d.steps, limitsAt(spec, actions), reward)
	if len(player) > 0 {
		line += fmt.Sprintf("  buffer %.1f s", player[0])
	}
	if n := len(d.took); n > 0 {
		line += fmt.Sprintf("  set in %.1f ms", d.took[n-1])
	}
	if d.status == nil {
		return
	}
	d.status(fmt.Sprintf("%s  safe %d×  late %d", line, d.trips, stats.Late))
}

// report says what the deployment came to.
func (d *deployment) report(cmd *cobra.Command) error {
	slices.Sort(d.took)
	q := func(p float64) float64 {
		if len(d.took) == 0 {
			return 0
		}
		return telemetry.Quantile(d.took, p)
	}
	mean := 0.0
	if d.steps > 0 {
		mean = d.rewards / float64(d.steps)
	}
	if asJSON(cmd) {
		var files []string
		if d.recorder != nil {
			files = d.recorder.files
		}
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"files":  files,
			"policy": d.policy, "steps": d.steps, "reward_per_step": mean, "safe": d.trips, "shadow": d.shadow,
			"set_ms": map[string]float64{"p50": q(.5), "p99": q(.99), "max": q(1)}, "sets": len(d.took),
			"journal": d.journalFile, "telemetry": d.live.collector.Stats(),
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d steps, reward %.3f a step, the safe limit %d times; decision to read-back p50 %.2f ms, p99 %.2f ms; journal %s\n",
		d.policy, d.steps, mean, d.trips, q(.5), q(.99), d.journalFile)
	if d.recorder != nil {
		fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", strings.Join(d.recorder.files, ", "))
	}
	return nil
}

// statusLine writes one line over and over, where stderr is a terminal; ""
// ends it.
func statusLine(cmd *cobra.Command) func(string) {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || asJSON(cmd) {
		return func(string) {}
	}
	return func(s string) {
		if s == "" {
			s = "\n"
		}
		fmt.Fprintf(f, "\r\x1b[K%s", s)
	}
}
