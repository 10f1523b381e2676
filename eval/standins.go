package eval

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
)

// StandInsFormat names the schema of Standings as JSON.
const StandInsFormat = "planegym.standins.v1"

// Standings say how far each of several plants can stand in for one, the truth:
// what policies are worth on it, by the same seeds.
type Standings struct {
	Format   string   `json:"format"`
	Truth    string   `json:"truth"`
	Seed     uint64   `json:"seed"`
	Episodes int      `json:"episodes"` // of each policy on each plant
	Steps    int      `json:"steps"`    // of an episode, at most
	Policies []string `json:"policies"`
	Values   []Worth  `json:"values"` // on the truth, by policy
	// Apart are policies each of which differs from every other of them beyond
	// noise on the truth, the best first: the 95 % interval of their difference,
	// paired by seed, leaves 0 out. Ranks are compared over these.
	Apart []string `json:"apart"`
	// Pairs counts the pairs of all policies that differ beyond noise.
	Pairs    int       `json:"pairs_apart"`
	StandIns []StandIn `json:"stand_ins"`
}

// Worth is a policy's reward of a step on a plant.
type Worth struct {
	Reward  Mean      `json:"reward"`
	PerSeed []float64 `json:"per_seed"`
}

// StandIn is a plant in the truth's place. Intervals resample seeds, the same
// ones for all policies and plants.
type StandIn struct {
	Name        string  `json:"name"`
	Values      []Worth `json:"values"`      // by policy
	Differences []Mean  `json:"differences"` // less the truth's, paired by seed
	// Off is the mean over policies of the difference's magnitude, reward a step.
	Off Bounds `json:"off"`
	// More is Off less the first stand-in's, the noise floor; of the first one 0.
	More Bounds `json:"off_less_first"`
	// Spearman is the rank correlation over Standings.Apart; NaN below 3 of them.
	Spearman Bounds `json:"spearman"`
	// Ordered is the share of Standings.Pairs that the stand-in orders as the
	// truth does; NaN without any.
	Ordered Bounds `json:"ordered"`
	// Regret is the worth on the truth of its best policy less that of the
	// stand-in's best.
	Regret Bounds `json:"regret_at_1"`
}

// Stand values policies on a truth and on plants that are to stand in for it,
// the first of which is the noise floor: as good as the truth. Seed k of a
// policy is seed k of every other. Of Options, Episodes, Draws and Done count;
// Done is called after each policy on each plant.
func Stand(ctx context.Context, truth Side, others []Side, policies []Policy, o Options) (*Standings, error) {
	switch {
	case o.Episodes < 2:
		return nil, fmt.Errorf("eval: %d episodes give no interval: 2 at least", o.Episodes)
	case len(policies) < 2:
		return nil, fmt.Errorf("eval: %d policies cannot be ranked: 2 at least", len(policies))
	}
	r := &Standings{Format: StandInsFormat, Truth: truth.Name, Seed: truth.Seed, Episodes: o.Episodes}
	for _, p := range policies {
		r.Policies = append(r.Policies, p.Name)
	}
	seeds := HeldOut(truth.Seed, o.Episodes)
	spec, values, err := worths(ctx, truth, policies, seeds, o.Done)
	if err != nil {
		return nil, err
	}
	r.Steps, r.Values = spec.MaxSteps, values
	for _, side := range others {
		own, values, err := worths(ctx, side, policies, seeds, o.Done)
		if err == nil {
			err = alike(spec, own)
		}
		if err != nil {
			return nil, fmt.Errorf("eval: %s: %w", side.Name, err)
		}
		r.StandIns = append(r.StandIns, StandIn{Name: side.Name, Values: values})
	}
	r.judge(cmp.Or(o.Draws, 2000))
	return r, nil
}

// worths plays policies on one plant.
func worths(ctx context.Context, s Side, policies []Policy, seeds []uint64, done func(string) error) (spec env.Spec, all []Worth, err error) {
	open := func(d *agent.DDQN) (env.Vector, error) {
		return s.Open(ctx, d, func(p env.Plant) env.Plant { return p })
	}
	raw, err := open(nil)
	if err != nil {
		return spec, nil, err
	}
	defer raw.Close()
	spec = raw.Spec()
	if spec.RealTime {
		return spec, nil, fmt.Errorf("live switches take no seeds: there is nothing to pair")
	}
	for _, p := range policies {
		vector, policy := raw, agent.Policy(p.Agent)
		if p.Agent == nil {
			policy, err = baseline.New(p.Name, spec)
		} else if vector, err = open(p.Agent); err == nil {
			defer vector.Close()
			err = p.Agent.Fits(episodes.SpacesOf(vector.Spec()))
		}
		if err != nil {
			return spec, nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		e, err := Evaluate(ctx, vector, policy, seeds, nil)
		if err != nil {
			return spec, nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		steps := float64(spec.MaxSteps)
		if steps == 0 {
			steps = e.Length.Mean
		}
		w := Worth{}
		for _, x := range e.Returns {
			w.PerSeed = append(w.PerSeed, x/steps)
		}
		w.Reward = meanOf(EstimateOf(w.PerSeed))
		all = append(all, w)
		if done != nil {
			if err := done(p.Name); err != nil {
				return spec, nil, err
			}
		}
	}
	return spec, all, nil
}

// judge compares the values.
func (r *Standings) judge(draws int) {
	differ := func(a, b *Worth) bool {
		d := meanOf(EstimateOf(less(a.PerSeed, b.PerSeed)))
		return math.Abs(float64(d.Mean)) > float64(d.CI)
	}
	order := make([]int, len(r.Values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(r.Values[b].Reward.Mean, r.Values[a].Reward.Mean)
	})
	var apart []int
	var pairs [][2]int // the better one first
	for i, p := range order {
		for _, q := range order[i+1:] {
			if differ(&r.Values[p], &r.Values[q]) {
				pairs = append(pairs, [2]int{p, q})
			}
		}
		if !slices.ContainsFunc(apart, func(q int) bool { return !differ(&r.Values[p], &r.Values[q]) }) {
			apart, r.Apart = append(apart, p), append(r.Apart, r.Policies[p])
		}
	}
	r.Pairs = len(pairs)
	truth := perSeed(r.Values)
	var first [][]float64
	for i := range r.StandIns {
		s := &r.StandIns[i]
		own := perSeed(s.Values)
		if first == nil {
			first = own
		}
		for p := range own {
			s.Differences = append(s.Differences, meanOf(EstimateOf(less(own[p], truth[p]))))
		}
		all := resampled(r.Episodes, draws, func(seeds []int) []float64 {
			t, v, f := meansAt(truth, seeds), meansAt(own, seeds), meansAt(first, seeds)
			return []float64{off(v, t), off(v, t) - off(f, t), ranked(t, v, apart), ordered(v, pairs), slices.Max(t) - t[argmax(v)]}
		})
		s.Off, s.More, s.Spearman, s.Ordered, s.Regret = all[0], all[1], all[2], all[3], all[4]
	}
}

func perSeed(w []Worth) (v [][]float64) {
	for i := range w {
		v = append(v, w[i].PerSeed)
	}
	return v
}

func less(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// off is the mean magnitude of a difference.
func off(a, b []float64) (sum float64) {
	for i := range a {
		sum += math.Abs(a[i]-b[i]) / float64(len(a))
	}
	return sum
}

// ranked is Spearman's correlation over some policies.
func ranked(a, b []float64, some []int) float64 {
	if len(some) < 3 {
		return math.NaN()
	}
	var x, y []float64
	for _, p := range some {
		x, y = append(x, a[p]), append(y, b[p])
	}
	return Spearman(x, y)
}

// ordered is the share of pairs whose first is the larger, ties by half.
func ordered(v []float64, pairs [][2]int) float64 {
	sum := 0.
	for _, p := range pairs {
		sum += float64(1+cmp.Compare(v[p[0]], v[p[1]])) / 2
	}
	return sum / float64(len(pairs)) // NaN where there is none
}
