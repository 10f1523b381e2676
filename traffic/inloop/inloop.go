// Package inloop measures generated traffic by what it does to decisions: what the
// policies of an agent are worth under it as a testbed's load, and under real load.
//
// A queue sees the order of gaps and the runs of packets, which marginals of
// generated sessions do not say. So a generator is evaluated by whether policies
// earn under its load what they earn under the real one.
package inloop

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	base "github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/loads"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/ngram"
)

// Options of a comparison. Zero values are the defaults in the comments.
type Options struct {
	Episodes int           // of each policy under each load, paired by seed; 20
	Seed     uint64        // picks the episodes, and what models are sampled with
	Policies []base.Policy // those of compare: eval.Defaults
	NoFloors bool          // leave bootstrap, markov and witten-bell-3 out
	Draws    int           // of the bootstrap; 2,000
	// Gym makes environments; nil: the zero value.
	Gym *planegym.Gym
	// Done is called after each of Work() parts, a policy under a load.
	Done func(policy, load string) error
}

// Result is what policies are worth under the load of held-out real sessions,
// and of each set that stands in for them: the rows are "real" (the sessions
// that models are fitted to: the noise floor), the floors, the candidates.
type Result struct {
	Scenario string `json:"scenario"`
	Rows     []Load `json:"loads"` // the truth first
	*base.Standings
}

// Load is what a load plays.
type Load struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"` // "held", "real", "floor", "candidate"
	Sessions int    `json:"sessions"`
	// PacketsPerSecond is what all loads of sessions offer in the mean while they
	// are on, up and down.
	PacketsPerSecond float64 `json:"packets_per_s"`
}

// Compare puts candidates in the place of real sessions in every load of kind
// "sessions" of a scenario, and values policies. Without held, every second
// session of train is held out. A load of the scenario that names labels takes
// the sessions with these; its model and file do not count, its arrivals do.
// It is deterministic.
func Compare(ctx context.Context, s scenarios.Scenario, train, held *traffic.Set, candidates []eval.Candidate, o Options) (*Result, error) {
	if err := check(&s); err != nil {
		return nil, err
	}
	if o.Episodes == 0 {
		o.Episodes = 20
	}
	if o.Gym == nil {
		o.Gym = &planegym.Gym{}
	}
	if held == nil {
		train, held = train.Halves()
	}
	rows := []Load{{Name: "held", Kind: "held"}, {Name: "real", Kind: "real"}}
	from := []eval.Candidate{{Set: held}, {Set: train}}
	if !o.NoFloors {
		floors, err := eval.Floors(ctx, train)
		if err != nil {
			return nil, err
		}
		for _, f := range floors {
			rows, from = append(rows, Load{Name: f.Name, Kind: "floor"}), append(from, f)
		}
	}
	for _, c := range candidates {
		rows, from = append(rows, Load{Name: c.Name, Kind: "candidate"}), append(from, c)
	}
	sides := make([]base.Side, len(rows))
	for i := range rows {
		under, err := with(ctx, s, from[i], &rows[i], o.Seed)
		if err != nil {
			return nil, fmt.Errorf("inloop: %s: %w", rows[i].Name, err)
		}
		sides[i] = base.Side{Name: rows[i].Name, Seed: o.Seed, Open: open(o.Gym, under, o.Episodes)}
	}
	if o.Policies == nil {
		var err error
		if o.Policies, err = Choose(ctx, s, nil); err != nil {
			return nil, err
		}
	}
	at, load := 0, 0
	r, err := base.Stand(ctx, sides[0], sides[1:], o.Policies, base.Options{Episodes: o.Episodes, Draws: o.Draws, Done: func(policy string) error {
		if at == len(o.Policies) {
			at, load = 0, load+1
		}
		at++
		if o.Done == nil {
			return nil
		}
		return o.Done(policy, rows[load].Name)
	}})
	if err != nil {
		return nil, err
	}
	return &Result{Scenario: s.Name, Rows: rows, Standings: r}, nil
}

func check(s *scenarios.Scenario) error {
	if s.Plant != "testbed" || !slices.ContainsFunc(s.Testbed.Loads, func(l testbed.Load) bool { return l.Kind == "sessions" }) {
		return fmt.Errorf(`inloop: scenario %s: it is no testbed with a [[testbed.load]] kind = "sessions", for sessions to be the load of`, s.Name)
	}
	return nil
}

// Work counts the calls of Options.Done in a comparison of n candidates by a
// number of policies.
func (o Options) Work(n, policies int) int {
	if !o.NoFloors {
		n += len(ngram.Modes)
	}
	return (n + 2) * policies
}

// Choose are policies by name, baselines and agents' .safetensors files; without
// names those of compare, eval.Defaults.
func Choose(ctx context.Context, s scenarios.Scenario, names []string) ([]base.Policy, error) {
	if err := check(&s); err != nil {
		return nil, err
	}
	v, err := open(&planegym.Gym{}, s, 1)(ctx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("inloop: scenario %s: %w", s.Name, err)
	}
	defer v.Close()
	if names == nil {
		names = base.Defaults(v.Spec())
	}
	var all []base.Policy
	for _, name := range names {
		p := base.Policy{Name: name}
		if strings.HasSuffix(name, ".safetensors") {
			p.Agent, err = agent.Load(name, nil)
		} else {
			_, err = baseline.New(name, v.Spec())
		}
		if err != nil {
			return nil, fmt.Errorf("inloop: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// with is a scenario whose loads of sessions play a candidate's.
func with(ctx context.Context, s scenarios.Scenario, c eval.Candidate, row *Load, seed uint64) (scenarios.Scenario, error) {
	s.Testbed.Loads = slices.Clone(s.Testbed.Loads)
	seen := map[string]*traffic.Set{}
	for i := range s.Testbed.Loads {
		l := &s.Testbed.Loads[i]
		if l.Kind != "sessions" {
			continue
		}
		key := fmt.Sprint(strings.Join(l.Labels, "\x00"), l.Pool)
		set, ok := seen[key]
		if !ok {
			var err error
			if c.Model != nil {
				set, err = loads.Draw(ctx, c.Model, l, seed)
			} else {
				set, err = loads.Labelled(c.Set, l.Labels)
			}
			if err != nil {
				return s, fmt.Errorf("load[%d]: %w", i, err)
			}
			seen[key] = set
			row.Sessions += set.Len()
		}
		l.Model, l.File, l.Sessions = "", "", func() *traffic.Set { return set }
		row.PacketsPerSecond += l.PacketsPerSecond()
	}
	return s, nil
}

// open makes what opens environments of a scenario: for an agent as the scenario
// observes, for a baseline what is measured.
func open(g *planegym.Gym, s scenarios.Scenario, episodes int) func(context.Context, *agent.DDQN, func(env.Plant) env.Plant) (env.Vector, error) {
	return func(ctx context.Context, d *agent.DDQN, _ func(env.Plant) env.Plant) (env.Vector, error) {
		as := s
		if d == nil {
			as.Env.Observation = queues.Observation{Normalise: "none"}
		}
		return g.Open(ctx, as, min(episodes, 32), env.NextStep)
	}
}
