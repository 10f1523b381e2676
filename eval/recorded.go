package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Log is recorded sessions of a plant like A, in which limits were drawn.
type Log struct {
	Path     string
	Fields   []telemetry.Field
	Switches int
	Sessions []table.Session
	Gamma    float64 // discount a step
	Shuffles int     // of the null check; 0: 10

	// Open makes n environments on a plant as Side.Open does.
	Open func(d *agent.DDQN, plant env.Plant, n int) (env.Vector, error)
}

// Recordings are the values of policies as estimated from recorded sessions,
// without playing them.
type Recordings struct {
	Path     string  `json:"path"`
	Sessions int     `json:"sessions"`
	Steps    int     `json:"steps"`  // of a session
	Block    int     `json:"block"`  // steps that a limit was held for before the next was drawn
	Reward   Mean    `json:"reward"` // recorded, per step
	Gamma    float64 `json:"gamma"`
	// Policies are in the order of Result.Policies; those that go by the clock
	// are left out: no state tells what they do.
	Policies []Estimated `json:"policies"`
	// FQE and DR are how alike the estimates and A's values rank the policies.
	FQE  Number `json:"spearman_fqe"`
	DR   Number `json:"spearman_dr"`
	Null Null   `json:"null"`
}

// Estimated is what the log says of a policy: (1-γ)·V, a discounted reward per
// step, over the states in which limits were drawn. Advantages are over drawing
// the limit anew at every step, paired by session.
type Estimated struct {
	Policy       string `json:"policy"`
	FQE          Mean   `json:"fqe"`
	DR           Mean   `json:"dr"`
	AdvantageFQE Mean   `json:"advantage_fqe"`
	AdvantageDR  Mean   `json:"advantage_dr"`
	Followed     Number `json:"followed"` // discounted steps per draw in which the log did what the policy would
}

// Null is the same with the limits' labels shuffled among all blocks, so that
// nothing is to be found: intervals of 95 % should contain 0 as often.
type Null struct {
	Shuffles int    `json:"shuffles"`
	FQE      Number `json:"fqe"` // share of advantages, of all policies and shuffles, whose interval contains 0
	DR       Number `json:"dr"`
}

// estimate adds what the log says to r.
func (l *Log) estimate(ctx context.Context, r *Result, policies []Policy) error {
	gamma, shuffles := l.Gamma, l.Shuffles
	if shuffles == 0 {
		shuffles = 10
	}
	raw, err := l.play(ctx, nil)
	if err != nil {
		return err
	}
	k := len(raw.spec.Limits)
	var targets [][][]float64 // by policy, session
	var kept []int
	for i, p := range policies {
		on := raw
		policy := agent.Policy(p.Agent)
		if p.Agent != nil {
			if on, err = l.play(ctx, p.Agent); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		} else if policy, err = baseline.New(p.Name, raw.spec); err != nil {
			return err
		}
		if byClock(p.Name) {
			continue
		}
		targets, kept = append(targets, on.chances(policy, p.Name == "random")), append(kept, i)
	}
	random := raw.chances(nil, true)
	out := &Recordings{Path: l.Path, Sessions: len(l.Sessions), Steps: raw.steps, Block: raw.block, Gamma: gamma}
	var rewards []float64
	for _, e := range raw.logs {
		var sum float64
		for _, x := range e.Reward {
			sum += float64(x) / float64(len(e.Reward))
		}
		rewards = append(rewards, sum)
	}
	out.Reward = meanOf(EstimateOf(rewards))
	values := func(each func(i int, v, base OffPolicyValue)) error {
		o, err := NewOffPolicy(raw.logs, raw.dim, k, gamma, 32)
		if err != nil {
			return err
		}
		base, err := o.Value(random)
		for i := 0; err == nil && i < len(targets); i++ {
			var v OffPolicyValue
			if v, err = o.Value(targets[i]); err == nil {
				each(i, v, base)
			}
			if err == nil {
				err = ctx.Err()
			}
		}
		return err
	}
	var a, fqe, dr []float64
	err = values(func(i int, v, base OffPolicyValue) {
		e := Estimated{
			Policy: policies[kept[i]].Name, FQE: meanOf(EstimateOf(v.FQE)), DR: meanOf(EstimateOf(v.DR)),
			AdvantageFQE: over(v.FQE, base.FQE), AdvantageDR: over(v.DR, base.DR), Followed: Number(v.Followed),
		}
		out.Policies = append(out.Policies, e)
		a, fqe, dr = append(a, float64(r.Policies[kept[i]].A.Reward.Mean)), append(fqe, float64(e.FQE.Mean)), append(dr, float64(e.DR.Mean))
	})
	if err != nil {
		return err
	}
	out.FQE, out.DR = Number(math.NaN()), Number(math.NaN())
	if len(a) > 1 {
		out.FQE, out.DR = Number(Spearman(a, fqe)), Number(Spearman(a, dr))
	}
	out.Null.Shuffles = shuffles
	var n, f, d float64
	for s := range shuffles {
		raw.shuffle(uint64(s))
		err := values(func(i int, v, base OffPolicyValue) {
			if policies[kept[i]].Name == "random" {
				return // it is what the others are compared with
			}
			n++
			f += contains(over(v.FQE, base.FQE))
			d += contains(over(v.DR, base.DR))
		})
		if err != nil {
			return err
		}
	}
	out.Null.FQE, out.Null.DR = Number(f/n), Number(d/n)
	r.Recordings = out
	return nil
}

// byClock reports whether a baseline depends on the time alone.
func byClock(name string) bool { return len(name) >= 9 && name[:9] == "alternate" }

func over(x, base []float64) Mean {
	d := make([]float64, len(x))
	for i := range d {
		d[i] = x[i] - base[i]
	}
	return meanOf(EstimateOf(d))
}

// contains is 1 where an interval contains 0.
func contains(m Mean) float64 {
	if math.Abs(float64(m.Mean)) <= float64(m.CI) {
		return 1
	}
	return 0
}

// seen is a log as an agent would have observed it.
type seen struct {
	spec       env.Spec
	dim        int
	steps      int // of a session
	block      int
	logs       []Logged
	perSession []uint64
}

// play steps through the log with the actions that were recorded.
func (l *Log) play(ctx context.Context, d *agent.DDQN) (*seen, error) {
	n := len(l.Sessions)
	if n < 2 {
		return nil, fmt.Errorf("%s: %d sessions give no interval: 2 at least", l.Path, n)
	}
	v, err := l.Open(d, &loggedPlant{log: l}, n)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	s := &seen{spec: v.Spec(), dim: v.Spec().Observation.Dim(), logs: make([]Logged, n)}
	switch {
	case len(s.spec.Action) != 1:
		return nil, fmt.Errorf("%s: estimates are of one limit for all switches, the scenario sets %d", l.Path, len(s.spec.Action))
	case d != nil:
		if err := d.Fits(episodes.SpacesOf(s.spec)); err != nil {
			return nil, err
		}
	}
	seconds := int(s.spec.StepSeconds)
	s.steps = len(l.Sessions[0].Limits)/l.Switches/seconds - 1 // the first window is the reset's
	actions := make([][]int32, n)
	for i := range l.Sessions {
		if actions[i], err = l.actions(i, s.spec.Limits, seconds, s.steps); err != nil {
			return nil, err
		}
		for t := 1; t < s.steps; t++ {
			if actions[i][t] != actions[i][t-1] {
				s.block = gcd(s.block, t)
			}
		}
		s.perSession = append(s.perSession, l.Sessions[i].Seed)
	}
	if s.block == 0 {
		return nil, fmt.Errorf("%s: no limit changes within a session: what a limit does cannot be told: record with --schedule switchback or random", l.Path)
	}
	var out env.Batch
	if err := v.Reset(ctx, nil, nil, &out); err != nil {
		return nil, err
	}
	now := make([]int32, n)
	for t := 0; ; t++ {
		for i := range s.logs {
			s.logs[i].Obs = append(s.logs[i].Obs, out.Obs[i*s.dim:(i+1)*s.dim]...)
		}
		if t == s.steps {
			return s, nil
		}
		for i := range now {
			now[i] = actions[i][t]
		}
		if err := v.Step(ctx, nil, now, &out); err != nil {
			return nil, err
		}
		for i := range s.logs {
			e := &s.logs[i]
			chance := 1.
			if t%s.block == 0 {
				chance = 1 / float64(len(s.spec.Limits))
			}
			e.Actions, e.Chance, e.Reward = append(e.Actions, now[i]), append(e.Chance, chance), append(e.Reward, out.Reward[i])
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// actions are those of a session's steps.
func (l *Log) actions(session int, limits []p4.Limit, seconds, steps int) ([]int32, error) {
	s := &l.Sessions[session]
	if got := len(s.Limits) / l.Switches; got != (steps+1)*seconds || steps < 1 {
		return nil, fmt.Errorf("%s: session %d: %d s are no %d steps of %d s and one before them", l.Path, session, got, max(steps, 1), seconds)
	}
	var out []int32
	for t := seconds; t < (steps+1)*seconds; t += seconds {
		window := s.Limits[t*l.Switches : (t+seconds)*l.Switches]
		for _, x := range window {
			if x != window[0] {
				return nil, fmt.Errorf("%s: session %d, second %d: limits %v: estimates are of one limit for all switches and a step's seconds", l.Path, session, t, window)
			}
		}
		a := slices.Index(limits, window[0])
		if a < 0 {
			return nil, fmt.Errorf("%s: session %d, second %d: limit %d is not one of the scenario's %v", l.Path, session, t, window[0], limits)
		}
		out = append(out, int32(a))
	}
	return out, nil
}

// chances are those with which a policy would have taken each action in the
// recorded states, [session][T+1,K]; drawing is the policy that draws.
func (s *seen) chances(p agent.Policy, drawing bool) [][]float64 {
	n, k := len(s.logs), len(s.spec.Limits)
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, (s.steps+1)*k)
		if drawing {
			for j := range out[i] {
				out[i][j] = 1 / float64(k)
			}
		}
	}
	if drawing {
		return out
	}
	p.Begin(nil, s.perSession)
	obs, actions := make([]float32, n*s.dim), make([]int32, n)
	for t := range s.steps + 1 {
		for i := range s.logs {
			copy(obs[i*s.dim:], s.logs[i].Obs[t*s.dim:(t+1)*s.dim])
		}
		p.Act(nil, obs, actions)
		for i, a := range actions {
			out[i][t*k+int(a)] = 1
		}
	}
	return out
}

// shuffle gives the blocks of all sessions one another's actions.
func (s *seen) shuffle(seed uint64) {
	type block struct{ session, from int }
	var blocks []block
	var actions []int32
	for i := range s.logs {
		for t := 0; t < s.steps; t += s.block {
			blocks, actions = append(blocks, block{i, t}), append(actions, s.logs[i].Actions[t])
		}
	}
	key := rng.Key{Seed: seed, Purpose: rng.Bootstrap}
	for i := len(actions) - 1; i > 0; i-- {
		j := key.Intn(uint32(i), i+1)
		actions[i], actions[j] = actions[j], actions[i]
	}
	for i, b := range blocks {
		for t := b.from; t < min(b.from+s.block, s.steps); t++ {
			s.logs[b.session].Actions[t] = actions[i]
		}
	}
}

// loggedPlant measures what was recorded, whatever the limits: row r is session
// r.
type loggedPlant struct {
	log *Log
	at  []int // by row, the second that the next window begins at
}

// Columns are the log's.
func (p *loggedPlant) Columns() []telemetry.Field { return p.log.Fields }

// Switches are the log's.
func (p *loggedPlant) Switches() int { return p.log.Switches }

// Close does nothing.
func (p *loggedPlant) Close() error { return nil }

// Reset is env.Plant's.
func (p *loggedPlant) Reset(ctx context.Context, rows []int, _ []uint64, limit []p4.Limit, out *telemetry.Window) error {
	p.at = make([]int, len(p.log.Sessions))
	return p.Advance(ctx, rows, limit, out)
}

// Advance is env.Plant's.
func (p *loggedPlant) Advance(ctx context.Context, rows []int, _ []p4.Limit, out *telemetry.Window) error {
	f := len(p.log.Fields)
	for i, r := range rows {
		values, valid := out.Row(i)
		s := &p.log.Sessions[r]
		copy(values, s.Values[p.at[r]*f:])
		copy(valid, s.Valid[p.at[r]*f:])
		p.at[r] += out.Seconds
		out.End[i], out.Reason[i] = telemetry.Going, ""
	}
	return ctx.Err()
}
