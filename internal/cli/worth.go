package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

func newTestbedWorth() *cobra.Command {
	w := worth{}
	cmd := &cobra.Command{
		Use:   "worth",
		Short: "Compare constant limits, policies and queue managements on the testbed",
		Long: `worth plays the same episodes with every constant limit, policies that watch
the queues, other queue managements, and a look-ahead that tries its actions from
a snapshot of the whole testbed before it takes one. It prints the mean reward of
a step with its 95 % interval over seeds, the difference to the best constant
that the scenario allows, paired by seed, and what a viewer saw.

Policies, for --policies:
  constants        every limit of --constants, at all switches alike
  combinations     per-switch scenarios: every combination of the allowed limits
  random           an allowed limit drawn at every step
  wait:X           the smallest allowed limit while a switch's mean queueing delay
                   is above X of a full queue's, else the largest
  occupancy:X      the same by queue depth over the limit, as in play and compare
  codel, pi2, red  that queue management at the largest of --constants
  look-ahead       the allowed action that serves the next --horizon steps best,
                   decided every --hold steps; it knows the future, no policy can

The best constant is chosen on the seeds it is compared on, which favours it.`,
		Example: `  planegym testbed worth --scenario contended
  planegym testbed worth --scenario mine.toml --seeds 5 --steps 300 --policies constants,wait:0.4
  planegym testbed worth --scenario per-switch --policies combinations,wait:0.22 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return w.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&w.scenario, "scenario", "contended", "the scenario: bundled, or a .toml file")
	f.IntVar(&w.seeds, "seeds", 20, "episodes of each policy")
	f.Uint64Var(&w.seed, "seed", 1, "picks the episodes")
	f.IntVar(&w.steps, "steps", 0, "steps of an episode; default: the scenario's")
	f.StringVar(&w.constants, "constants", "8,16,32,64,128,256,512", "constant limits, packets")
	f.StringVar(&w.policies, "policies", "constants,combinations,random,wait:0.42,wait:0.22,codel,pi2,look-ahead", "what to compare")
	f.IntVar(&w.horizon, "horizon", 15, "steps that the look-ahead looks ahead")
	f.IntVar(&w.hold, "hold", 5, "steps that the look-ahead holds an action")
	return cmd
}

type worth struct {
	scenario, constants, policies string
	seeds, steps, horizon, hold   int
	seed                          uint64

	open   planegym.Gym
	limits []p4.Limit // of constants
}

// worthRow is a line of the table.
type worthRow struct {
	Policy  string   `json:"policy"`
	Allowed bool     `json:"allowed"` // a constant that the scenario allows
	Reward  interval `json:"reward"`  // per step
	Gain    interval `json:"gain"`    // per step over the best allowed constant, paired by seed
	LBO     float64  `json:"lbo_s"`
	Level   float64  `json:"level"`
	Stall   float64  `json:"stall_s"` // per episode
	Seconds float64  `json:"wall_s"`

	PerSeed []float64 `json:"per_seed"` // reward per step
}

type interval struct {
	Mean float64 `json:"mean"`
	CI   float64 `json:"ci95"`
}

func intervalOf(x []float64) interval {
	e := eval.EstimateOf(x)
	if math.IsNaN(e.CI) { // one seed: JSON has no NaN
		e.CI = 0
	}
	return interval{e.Mean, e.CI}
}

// parseLimits reads limits in packets, comma between; none of "".
func parseLimits(flag, list string) (limits []p4.Limit, err error) {
	if list == "" {
		return nil, nil
	}
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
		if err != nil || p4.Limit(n).Check() != nil {
			return nil, usagef("%s: %q is no limit in packets", flag, text)
		}
		limits = append(limits, p4.Limit(n))
	}
	return limits, nil
}

// contestant is a policy and the scenario that it acts in.
type contestant struct {
	name    string
	allowed bool
	s       scenarios.Scenario
	policy  func(v env.Vector) (agent.Policy, error)
}

func (w *worth) run(cmd *cobra.Command) error {
	switch {
	case w.seeds < 2:
		return usagef("worth: --seeds: %d give no interval: 2 at least", w.seeds)
	case w.steps < 0 || w.horizon < 1 || w.hold < 1:
		return usagef("worth: --steps %d, --horizon %d, --hold %d: steps are positive", w.steps, w.horizon, w.hold)
	}
	var err error
	if w.limits, err = parseLimits("worth: --constants", w.constants); err != nil {
		return err
	}
	s, err := loadTestbed(cmd, w.scenario)
	if err != nil {
		return err
	}
	if s.Env.Limits == nil {
		s.Env.Limits = queues.DefaultLimits()
	}
	if w.steps > 0 {
		s.Env.MaxSteps = w.steps
	}
	s.Env.Observation = queues.Observation{Normalise: "none"}
	all, err := w.contestants(s)
	if err != nil {
		return err
	}
	bar := newProgress(cmd, int64(len(all)), "policy", "worth")
	var rows []worthRow
	var stopped error // by Ctrl-C: the policies that were played are printed
	for _, c := range all {
		row, err := w.play(cmd.Context(), c)
		if err != nil && len(rows) > 0 && cmd.Context().Err() != nil {
			stopped = fmt.Errorf("worth: stopped after %d of %d policies: %w", len(rows), len(all), err)
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, row)
		_ = bar.Add(1)
	}
	_ = bar.Finish()
	best := -1
	for i, r := range rows {
		if r.Allowed && (best < 0 || r.Reward.Mean > rows[best].Reward.Mean) {
			best = i
		}
	}
	if best >= 0 {
		for i := range rows {
			var d []float64
			for k, x := range rows[i].PerSeed {
				d = append(d, x-rows[best].PerSeed[k])
			}
			rows[i].Gain = intervalOf(d)
		}
	}
	if asJSON(cmd) {
		return cmp.Or(stopped, writeJSON(cmd.OutOrStdout(), map[string]any{"scenario": s.Name, "seeds": w.seeds, "seed": w.seed, "steps": s.Env.MaxSteps, "limits": s.Env.Limits, "rows": rows}))
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "%s, limits %v, %d seeds\n", s.Name, s.Env.Limits, w.seeds)
	fmt.Fprintln(out, "policy\treward/step\tover best constant\tbuffer s\tlevel 0…2\tstalled s")
	for i, r := range rows {
		gain := "-"
		if best >= 0 && i != best {
			gain = fmt.Sprintf("%+.2f ± %.2f", r.Gain.Mean, r.Gain.CI)
		}
		mark := ""
		if i == best {
			mark = " *"
		}
		fmt.Fprintf(out, "%s%s\t%.2f ± %.2f\t%s\t%.1f\t%.2f\t%.1f\n", r.Policy, mark, r.Reward.Mean, r.Reward.CI, gain, r.LBO, r.Level, r.Stall)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return stopped
}

func (w *worth) contestants(s scenarios.Scenario) ([]contestant, error) {
	var all []contestant
	for _, name := range strings.Split(w.policies, ",") {
		kind, arg, given := strings.Cut(strings.TrimSpace(name), ":")
		if share := kind == "wait" || kind == "occupancy"; share && !given {
			return nil, usagef("worth: --policies: %q: %s takes a share of a full queue, as in %[2]s:0.42", name, kind)
		} else if given && !share {
			return nil, usagef("worth: --policies: %q: %s takes nothing after it", name, kind)
		}
		switch kind {
		case "constants":
			for _, l := range w.limits {
				all = append(all, w.constant(s, []p4.Limit{l}, slices.Contains(s.Env.Limits, l)))
			}
		case "combinations":
			if !s.Env.PerSwitch {
				continue
			}
			plant, err := testbed.New(s.Testbed)
			if err != nil {
				return nil, err
			}
			for _, actions := range combinations(slices.Repeat([]int{len(s.Env.Limits)}, plant.Switches())) {
				var limits []p4.Limit
				for _, a := range actions {
					limits = append(limits, s.Env.Limits[a])
				}
				all = append(all, w.constant(s, limits, true))
			}
		case "random":
			all = append(all, contestant{name: name, s: s, policy: func(v env.Vector) (agent.Policy, error) { return baseline.New("random", v.Spec()) }})
		case "occupancy":
			if x, err := strconv.ParseFloat(arg, 64); err != nil || !(x > 0) || math.IsInf(x, 0) {
				return nil, usagef("worth: --policies: %q: %q is no share", name, arg)
			}
			all = append(all, contestant{name: name, s: s, policy: func(v env.Vector) (agent.Policy, error) { return baseline.New(name, v.Spec()) }})
		case "wait":
			x, err := strconv.ParseFloat(arg, 64)
			if err != nil || !(x > 0) {
				return nil, usagef("worth: --policies: %q: %q is no share", name, arg)
			}
			all = append(all, contestant{name: name, s: s, policy: func(v env.Vector) (agent.Policy, error) { return newWait(x, v.Spec(), s.Testbed) }})
		case "codel", "pi2", "red":
			managed := s
			managed.Testbed.Ports = slices.Clone(s.Testbed.Ports)
			if managed.Testbed.Ports == nil {
				managed.Testbed.Ports = testbed.DefaultPorts()
			}
			for i := range managed.Testbed.Ports {
				if p := &managed.Testbed.Ports[i]; p.Switch > 0 {
					p.AQM = testbed.AQM{Name: kind}
				}
			}
			c := w.constant(managed, []p4.Limit{slices.Max(w.limits)}, false)
			c.name = fmt.Sprintf("%s at %d", kind, slices.Max(w.limits))
			all = append(all, c)
		case "look-ahead":
			all = append(all, contestant{name: name, s: s, policy: func(v env.Vector) (agent.Policy, error) { return newLookAhead(v, w.horizon, w.hold) }})
		default:
			return nil, usagef("worth: --policies: %q is none that worth has", name)
		}
	}
	return all, nil
}

// constant is a limit for all switches, or one for each.
func (w *worth) constant(s scenarios.Scenario, limits []p4.Limit, allowed bool) contestant {
	name := "constant " + strings.Trim(fmt.Sprint(limits), "[]")
	for _, l := range limits {
		if !slices.Contains(s.Env.Limits, l) {
			if s.Env.Initial == 0 { // episodes begin as they do elsewhere
				s.Env.Initial = s.Env.Limits[len(s.Env.Limits)-1]
			}
			s.Env.Limits = append(slices.Clone(s.Env.Limits), l)
		}
	}
	return contestant{name: name, allowed: allowed, s: s, policy: func(v env.Vector) (agent.Policy, error) {
		var f constantPolicy
		for i := range v.Spec().Action {
			f = append(f, int32(slices.Index(s.Env.Limits, limits[i%len(limits)])))
		}
		return f, nil
	}}
}

func (w *worth) play(ctx context.Context, c contestant) (worthRow, error) {
	began := time.Now()
	row := worthRow{Policy: c.name, Allowed: c.allowed}
	v, err := w.open.Open(ctx, c.s, min(w.seeds, 32), env.NextStep)
	if err != nil {
		return row, err
	}
	defer v.Close()
	p, err := c.policy(v)
	if err != nil {
		return row, err
	}
	e, err := eval.Evaluate(ctx, v, p, eval.HeldOut(w.seed, w.seeds), nil)
	if err != nil {
		return row, err
	}
	if l, ok := p.(*lookAhead); ok && l.err != nil {
		return row, l.err
	}
	for _, r := range e.Returns {
		row.PerSeed = append(row.PerSeed, r/e.Length.Mean)
	}
	row.Reward = intervalOf(row.PerSeed)
	row.LBO, row.Level, row.Stall = e.QoE.LBO.Mean, e.QoE.Level.Mean, e.QoE.Stalls.Mean
	row.Seconds = time.Since(began).Seconds()
	return row, nil
}

// combinations are all ways to pick one of each sizes.
func combinations(sizes []int) [][]int32 {
	all := [][]int32{{}}
	for _, n := range sizes {
		var longer [][]int32
		for _, c := range all {
			for a := range n {
				longer = append(longer, append(slices.Clone(c), int32(a)))
			}
		}
		all = longer
	}
	return all
}

type constantPolicy []int32

func (constantPolicy) Begin([]int, []uint64) {}

func (c constantPolicy) Act(_ []int, _ []float32, actions []int32) {
	for i := range actions {
		actions[i] = c[i%len(c)]
	}
}

// wait watches how full the queues are: the average (½ of the new, ½ of
// the old) of mean queueing delay over what a full queue's would be. Above a
// share of it the smallest limit, else the largest.
type wait struct {
	share        float64
	rates        []float64 // packets/s, by switch
	delay        []int     // elements of an observation, by switch
	limits       []p4.Limit
	dim, s       int
	small, large int32
	rows         map[int]*waited
}

type waited struct {
	average []float64 // by action
	limit   []p4.Limit
}

func newWait(share float64, spec env.Spec, cfg testbed.Config) (*wait, error) {
	w := &wait{share: share, limits: spec.Limits, dim: spec.Observation.Dim(), s: len(spec.Action), rows: map[int]*waited{}}
	plant, err := testbed.New(cfg)
	if err != nil {
		return nil, err
	}
	w.rates = plant.Rates()
	for n := range w.rates {
		name := fmt.Sprintf("deq_timedelta%d_mean", n+1)
		at := slices.IndexFunc(spec.Observation.Elements, func(f telemetry.Field) bool { return f.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("the observation has no %s", name)
		}
		w.delay = append(w.delay, at)
	}
	w.small = int32(slices.Index(w.limits, slices.Min(w.limits)))
	w.large = int32(slices.Index(w.limits, slices.Max(w.limits)))
	return w, nil
}

func (w *wait) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		w.rows[env.RowAt(rows, i)] = nil
	}
}

func (w *wait) Act(rows []int, obs []float32, actions []int32) {
	for i := range len(actions) / w.s {
		r := env.RowAt(rows, i)
		st := w.rows[r]
		if st == nil {
			st = &waited{average: make([]float64, w.s), limit: slices.Repeat([]p4.Limit{w.limits[w.large]}, w.s)}
			w.rows[r] = st
		}
		for j := range w.s {
			full := 0.
			for n, at := range w.delay {
				if w.s == 1 || n == j {
					full = max(full, float64(obs[i*w.dim+at])*1e-6*w.rates[n]/float64(st.limit[j]))
				}
			}
			st.average[j] += (full - st.average[j]) / 2
			a := w.large
			if st.average[j] > w.share {
				a = w.small
			}
			actions[i*w.s+j], st.limit[j] = a, w.limits[a]
		}
	}
}

// lookAhead tries every action from the instant it is in, holding it for the
// horizon, and takes the one that pays most. What the horizon does not show is
// worth at least what the buffer lets the player keep: a second of it keeps
// the reward of a full buffer, 1.5 above the middle quality's, for a second.
type lookAhead struct {
	v       env.Vector
	horizon int
	hold    int
	actions [][]int32
	rows    map[int]*looked
	lbo     int // of Info
	err     error
}

type looked struct {
	step  int
	taken []int32
}

const bufferWorth = 1.5 / 4 // reward a second of buffer

func newLookAhead(v env.Vector, horizon, hold int) (*lookAhead, error) {
	l := &lookAhead{v: v, horizon: horizon, hold: hold, actions: combinations(v.Spec().Action), rows: map[int]*looked{}}
	_, ok := v.(env.Snapshotter)
	i, informs := v.(env.Informer)
	if !ok || !informs {
		return nil, fmt.Errorf("the environment takes no snapshots")
	}
	l.lbo = slices.IndexFunc(i.InfoFields(), func(f telemetry.Field) bool { return f.Name == "lbo_s" })
	return l, nil
}

func (l *lookAhead) Begin(rows []int, seeds []uint64) {
	for i := range seeds {
		l.rows[env.RowAt(rows, i)] = &looked{}
	}
}

func (l *lookAhead) Act(rows []int, _ []float32, actions []int32) {
	s := len(l.v.Spec().Action)
	var deciding []int
	for i := range len(actions) / s {
		if r := env.RowAt(rows, i); l.rows[r].step%l.hold == 0 {
			deciding = append(deciding, r)
		}
	}
	if l.err == nil && len(deciding) > 0 {
		l.err = l.decide(deciding)
	}
	for i := range len(actions) / s {
		row := l.rows[env.RowAt(rows, i)]
		copy(actions[i*s:], row.taken)
		row.step++
	}
}

// decide tries every action in rows.
func (l *lookAhead) decide(rows []int) error {
	snap := l.v.(env.Snapshotter)
	states, best := make([][]byte, len(rows)), make([]float64, len(rows))
	for i, r := range rows {
		var err error
		if states[i], err = snap.Snapshot(r, nil); err != nil {
			return err
		}
		best[i] = math.Inf(-1)
		l.rows[r].taken = l.actions[0]
	}
	var out env.Batch
	var info []float32
	for _, a := range l.actions {
		sum := make([]float64, len(rows))
		for h := range l.horizon {
			var going, at []int
			var force []int32
			for i, r := range rows {
				if l.rows[r].step+h < l.v.Spec().MaxSteps {
					going, at, force = append(going, r), append(at, i), append(force, a...)
				}
			}
			if len(going) == 0 {
				break
			}
			if err := l.v.Step(context.Background(), going, force, &out); err != nil {
				return err
			}
			for k, i := range at {
				sum[i] += float64(out.Reward[k])
			}
		}
		for i, r := range rows {
			info = l.v.(env.Informer).Info(r, info[:0])
			if l.rows[r].step+l.horizon < l.v.Spec().MaxSteps {
				sum[i] += bufferWorth * float64(info[l.lbo])
			}
			if sum[i] > best[i] {
				best[i], l.rows[r].taken = sum[i], a
			}
			if err := snap.Restore(r, states[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
