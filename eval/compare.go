// Package eval values the same policies on two plants and reports how far
// the second can replace the first: whether it ranks them alike, what is
// lost by the choice it makes, and where its measurements drift.
package eval

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
)

// Side is one of the two plants.
type Side struct {
	Name string
	Seed uint64 // picks its episodes
	// Open makes the environments that a policy acts in, closed by Run: for d
	// observations as d was trained with, for nil ones as they are measured.
	// tap is to be put around the plant, where the plant is at hand.
	Open func(ctx context.Context, d *agent.DDQN, tap func(env.Plant) env.Plant) (env.Vector, error)
}

// Spec is what the side's environments take and return: it opens one and closes it.
func (s Side) Spec(ctx context.Context) (env.Spec, error) {
	v, err := s.Open(ctx, nil, func(p env.Plant) env.Plant { return p })
	if err != nil {
		return env.Spec{}, fmt.Errorf("%s: %w", s.Name, err)
	}
	return v.Spec(), v.Close()
}

// Policy is what is valued: an agent, or a baseline by its name.
type Policy struct {
	Name  string
	Agent *agent.DDQN // nil: a baseline
}

// Defaults are the baselines that policies are ranked with unless others are
// named: every limit (five at most, evenly chosen), the limits in turn at
// three paces, at random, and rules that watch the queues at several levels.
func Defaults(spec env.Spec) []string {
	var names []string
	n := slices.Min(spec.Action)
	for k := range min(n, 5) {
		i := k * (n - 1) / max(min(n, 5)-1, 1)
		if spec.Limits != nil {
			i = int(spec.Limits[i])
		}
		names = append(names, fmt.Sprint("fixed:", i))
	}
	names = append(names, "alternate", "alternate:15", "alternate:75", "random", "threshold", "codel")
	for _, x := range []string{"0.1", "0.2", "0.3", "0.42", "0.55", "0.7", "0.85"} {
		names = append(names, "occupancy:"+x)
	}
	// What agents may come to do beside: hold a limit, watch the player, act late,
	// at random in part, or the wrong way round.
	names = append(names, "sticky:8", "hysteresis:0.3:0.6", "hysteresis:0.6:0.9", "buffer", "buffer:40", "level",
		"inverse:buffer", "inverse:level", "inverse:occupancy", "delayed:3:occupancy", "delayed:10:occupancy", "noisy:0.2:occupancy")
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := baseline.New(name, spec)
		return err != nil
	})
}

// Number is a float64 that JSON can hold: NaN, which says that there is none,
// is null.
type Number float64

// MarshalJSON is json.Marshaler's.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON is json.Unmarshaler's.
func (n *Number) UnmarshalJSON(text []byte) error {
	var x *float64
	if err := json.Unmarshal(text, &x); err != nil {
		return err
	}
	*n = Number(math.NaN())
	if x != nil {
		*n = Number(*x)
	}
	return nil
}

// Format names the schema of Result as JSON. Within a version keys are added,
// never changed.
const Format = "planegym.compare.v1"

// Result is a comparison.
type Result struct {
	Format   string   `json:"format"`
	A        Plant    `json:"a"`
	B        Plant    `json:"b"`
	Episodes int      `json:"episodes"` // of each policy on each plant
	Steps    int      `json:"steps"`    // of an episode, at most
	Limits   []int    `json:"limits,omitempty"`
	Policies []Valued `json:"policies"`
	// Span is the best less the worst value on A.
	Span      Number    `json:"span"`
	Agreement Agreement `json:"agreement"`
	// Calibration is how far B's values are from A's.
	Calibration Calibration `json:"calibration"`
	// References are what Agreement and Calibration are to be read beside.
	References []Reference `json:"references,omitempty"`
	Columns    []Column    `json:"columns"` // of every policy's drift
	// Recordings are what recorded sessions say, where there are any.
	Recordings *Recordings `json:"recordings,omitempty"`
}

// Plant names a side.
type Plant struct {
	Name string `json:"name"`
	Seed uint64 `json:"seed"`
}

// Valued is one policy on both plants.
type Valued struct {
	Policy     string  `json:"policy"`
	Agent      string  `json:"agent,omitempty"` // digest of its weights
	A          Value   `json:"a"`
	B          Value   `json:"b"`
	Difference Mean    `json:"difference"` // B's reward per step less A's, by seed
	Normalised Mean    `json:"normalised"` // that over the span
	Ratio      Number  `json:"ratio"`      // the smaller reward over the larger; 0 where their signs differ
	Drift      []Drift `json:"drift"`      // by column
}

// Largest is the column that drifts most by Kolmogorov-Smirnov's statistic,
// and how far; "" where nothing was compared.
func (v *Valued) Largest(columns []Column) (name string, ks float64) {
	ks = -1
	for c, d := range v.Drift {
		if float64(d.KS) > ks {
			name, ks = columns[c].Name, float64(d.KS)
		}
	}
	return name, ks
}

// Value is how a policy does on a plant.
type Value struct {
	Reward  Mean        `json:"reward"`            // per step that an episode may have
	LBO     *Mean       `json:"lbo_s,omitempty"`   // where the plant measures a player: seconds buffered,
	Level   *Mean       `json:"level,omitempty"`   // quality level 0…2,
	Stall   *Mean       `json:"stall_s,omitempty"` // seconds stalled in an episode
	Shares  [][]float64 `json:"action_shares"`     // [switch][action]
	PerSeed []float64   `json:"per_seed"`          // reward per step
}

// Mean is a mean with the half width of its 95 % interval.
type Mean struct {
	Mean Number `json:"mean"`
	CI   Number `json:"ci95"`
}

// String is the mean and its interval.
func (m Mean) String() string {
	if math.IsNaN(float64(m.CI)) {
		return fmt.Sprintf("%.2f", m.Mean)
	}
	return fmt.Sprintf("%.2f ± %.2f", m.Mean, m.CI)
}

func meanOf(e Estimate) Mean { return Mean{Number(e.Mean), Number(e.CI)} }

// Options of a comparison.
type Options struct {
	Episodes int                       // seeds on each side
	Draws    int                       // of the bootstrap; 0: 2,000
	Log      *Log                      // nil: there are no recordings
	Ceiling  bool                      // play A again, with other seeds: Result.References
	Wrong    *Side                     // another testbed to play too, with A's actions and episodes; may be nil
	Done     func(policy string) error // after each policy; may be nil

	inTurn bool // play one side after the other
}

// ErrStopped is the error of a comparison that its context ended: the result
// holds the policies that were valued on both sides until then.
var ErrStopped = errors.New("stopped before every policy was valued")

// Run values policies on a and b. Seed k of a policy is seed k of every
// other: what episodes differ in cancels out. Plants are played at the same time,
// but where an agent acts, which is one. Where ctx ends after three policies,
// the result of those comes with ErrStopped.
func Run(ctx context.Context, a, b Side, policies []Policy, o Options) (*Result, error) {
	if o.Episodes < 2 {
		return nil, fmt.Errorf("compare: %d episodes give no interval: 2 at least", o.Episodes)
	}
	if len(policies) < 3 {
		return nil, fmt.Errorf("compare: %d policies have no ranking to speak of: 3 at least", len(policies))
	}
	draws := cmp.Or(o.Draws, 2000)
	on := []*stage{newStage(a, o.Episodes), newStage(b, o.Episodes)}
	var kinds []string // of the references, on[2:]
	if o.Ceiling {
		again := a
		again.Seed++
		on, kinds = append(on, newStage(again, o.Episodes)), append(kinds, Ceiling)
	}
	if o.Wrong != nil {
		on, kinds = append(on, newStage(*o.Wrong, o.Episodes)), append(kinds, WrongTestbed)
	}
	for _, s := range on {
		defer s.close()
		if err := s.open(ctx); err != nil {
			return nil, fmt.Errorf("compare: %s: %w", s.Name, err)
		}
		if err := alike(on[0].spec, s.spec); err != nil {
			return nil, fmt.Errorf("compare: %s and %s: %w", a.Name, s.Name, err)
		}
	}
	r := &Result{Format: Format, A: Plant{a.Name, a.Seed}, B: Plant{b.Name, b.Seed}, Episodes: o.Episodes}
	var spread spreads
	var stopped error
	beside := make([][][]float64, len(kinds)) // of references: rewards by policy and seed
	for _, p := range policies {
		values, side, err := playOn(ctx, on, p, o.inTurn || p.Agent != nil)
		if err != nil && ctx.Err() != nil && len(r.Policies) >= 3 {
			stopped = fmt.Errorf("compare: %w: %d of %d: %w", ErrStopped, len(r.Policies), len(policies), ctx.Err())
			break
		} else if err != nil {
			return nil, fmt.Errorf("compare: %s on %s: %w", p.Name, on[side].Name, err)
		}
		row := Valued{Policy: p.Name, A: values[0], B: values[1]}
		if p.Agent != nil {
			row.Agent = p.Agent.Hash()
		}
		for i, v := range values[2:] {
			beside[i] = append(beside[i], v.PerSeed)
		}
		row.Difference = meanOf(EstimateOf(less(row.B.PerSeed, row.A.PerSeed)))
		row.Ratio = Number(ratio(float64(row.A.Reward.Mean), float64(row.B.Reward.Mean)))
		row.Drift = spread.drift(on[0].watch, on[1].watch)
		r.Policies = append(r.Policies, row)
		if o.Done != nil {
			if err := o.Done(p.Name); err != nil {
				return nil, err
			}
		}
	}
	r.Steps = on[0].spec.MaxSteps
	for _, l := range on[0].spec.Limits {
		r.Limits = append(r.Limits, int(l))
	}
	r.Columns = spread.columns
	r.finish(spread, draws)
	for i, kind := range kinds {
		s := on[2+i]
		r.References = append(r.References, r.refer(kind, Plant{s.Name, s.Seed}, beside[i], draws))
	}
	if o.Log != nil && stopped == nil {
		if err := o.Log.estimate(ctx, r, policies); err != nil {
			return nil, fmt.Errorf("compare: recordings: %w", err)
		}
	}
	return r, stopped
}

// finish computes what needs all policies.
func (r *Result) finish(spread spreads, draws int) {
	var va, vb [][]float64
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range r.Policies {
		va, vb = append(va, p.A.PerSeed), append(vb, p.B.PerSeed)
		low, high = min(low, float64(p.A.Reward.Mean)), max(high, float64(p.A.Reward.Mean))
	}
	r.Span = Number(high - low)
	for i := range r.Policies {
		p := &r.Policies[i]
		p.Normalised = Mean{p.Difference.Mean / r.Span, p.Difference.CI / r.Span}
		if r.Span == 0 {
			p.Normalised = Mean{Number(math.NaN()), Number(math.NaN())}
		}
		spread.scale(p.Drift)
	}
	r.Agreement = agree(va, vb, draws)
	r.Agreement.Regret.Best, r.Agreement.Regret.Chosen = r.Policies[r.Agreement.best].Policy, r.Policies[r.Agreement.chosen].Policy
	r.Agreement.Similarity = r.similarity()
	r.Calibration = calibrate(r.Policies, va, vb, draws)
}

// similarity is what the tutorial's figure is made of: plain means of ratios.
func (r *Result) similarity() (s Similarity) {
	n := Number(len(r.Policies))
	best, worst := r.Policies[0].A, r.Policies[0].A
	for _, p := range r.Policies {
		x := ratios(p.A, p.B)
		s.Reward, s.FPS = s.Reward+x.Reward/n, s.FPS+x.FPS/n
		if p.A.Reward.Mean > best.Reward.Mean {
			best = p.A
		}
		if p.A.Reward.Mean < worst.Reward.Mean {
			worst = p.A
		}
	}
	s.Apart = ratios(best, worst)
	return s
}

func ratios(a, b Value) Ratios {
	r := Ratios{Number(ratio(float64(a.Reward.Mean), float64(b.Reward.Mean))), Number(math.NaN())}
	if a.Level != nil && b.Level != nil {
		fps := func(level *Mean) float64 { return 18 + 6*float64(level.Mean) } // the ladder's
		r.FPS = Number(ratio(fps(a.Level), fps(b.Level)))
	}
	return r
}

// ratio is the smaller over the larger of two values, 1 where they are equal,
// 0 where their signs differ.
func ratio(a, b float64) float64 {
	switch {
	case a == b:
		return 1
	case a*b <= 0:
		return 0
	}
	a, b = math.Abs(a), math.Abs(b)
	return min(a, b) / max(a, b)
}

// alike reports plants on which one policy cannot act.
func alike(a, b env.Spec) error {
	if !slices.Equal(a.Action, b.Action) || !slices.Equal(a.Limits, b.Limits) {
		return fmt.Errorf("the same actions are needed: %v of limits %v, and %v of limits %v", a.Action, a.Limits, b.Action, b.Limits)
	}
	if a.MaxSteps != b.MaxSteps {
		return fmt.Errorf("episodes of the same length are needed: %d and %d steps", a.MaxSteps, b.MaxSteps)
	}
	if a.StepSeconds != b.StepSeconds {
		return fmt.Errorf("steps of the same length are needed: %v and %v s", a.StepSeconds, b.StepSeconds)
	}
	return nil
}

// playOn values a policy on every stage, at the same time unless inTurn. An error
// is of the first stage that has one, side.
func playOn(ctx context.Context, on []*stage, p Policy, inTurn bool) (values []Value, side int, err error) {
	values = make([]Value, len(on))
	errs := make([]error, len(on))
	var wait sync.WaitGroup
	for i, s := range on {
		play := func() { values[i], errs[i] = s.play(ctx, p) }
		if !inTurn {
			wait.Go(play)
			continue
		}
		if play(); errs[i] != nil {
			return nil, i, errs[i]
		}
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, i, err
		}
	}
	return values, 0, nil
}

// stage is a side with what is open of it.
type stage struct {
	Side
	seeds []uint64
	watch *watch
	raw   env.Vector // of the baselines; nil before the first
	spec  env.Spec
}

func newStage(s Side, n int) *stage {
	return &stage{Side: s, seeds: HeldOut(s.Seed, n), watch: &watch{}}
}

func (s *stage) close() {
	if s.raw != nil {
		_ = s.raw.Close() // nothing was written
	}
}

// open opens what the baselines act in.
func (s *stage) open(ctx context.Context) (err error) {
	if s.raw, err = s.Open(ctx, nil, s.watch.plant); err != nil {
		return err
	}
	if s.spec = s.raw.Spec(); s.spec.RealTime {
		return errors.New("live switches take no seeds: there is nothing to pair")
	}
	return nil
}

// play values a policy, and watches what is measured meanwhile.
func (s *stage) play(ctx context.Context, p Policy) (v Value, err error) {
	vector, policy := s.raw, agent.Policy(p.Agent)
	if p.Agent == nil {
		policy, err = baseline.New(p.Name, s.spec)
	} else if vector, err = s.Open(ctx, p.Agent, s.watch.plant); err == nil {
		defer vector.Close()
		err = p.Agent.Fits(episodes.SpacesOf(vector.Spec()))
	}
	if err != nil {
		return v, err
	}
	s.watch.begin(vector.Spec(), len(s.seeds))
	e, err := Evaluate(ctx, s.watch.vector(vector), policy, s.seeds, nil)
	if err != nil {
		return v, err
	}
	steps := float64(s.spec.MaxSteps)
	if steps == 0 {
		steps = e.Length.Mean
	}
	for _, r := range e.Returns {
		v.PerSeed = append(v.PerSeed, r/steps)
	}
	v.Reward, v.Shares = meanOf(EstimateOf(v.PerSeed)), e.Shares
	if q := e.QoE; q != nil {
		lbo, level, stall := meanOf(q.LBO), meanOf(q.Level), meanOf(q.Stalls)
		v.LBO, v.Level, v.Stall = &lbo, &level, &stall
	}
	return v, nil
}
