package eval

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/planegym/planegym/internal/rng"
)

// Logged is a recorded episode of T steps, one of K actions in each, for
// estimates of policies that did not record it.
type Logged struct {
	Obs        []float32 // [T+1,D]
	Actions    []int32   // [T]
	Chance     []float64 // [T], with which the action was taken, all before it given; 1: it was bound to be
	Reward     []float32 // [T]
	Terminated bool      // after the last step
}

// OffPolicy estimates from recordings what other policies would be paid: by
// fitted Q evaluation (Le, Voloshin and Yue, ICML 2019), and doubly robust
// (Jiang and Li, ICML 2016). What is estimated is (1-γ)·V(s), a discounted
// reward per step, as the mean over the recorded states at which an action was
// drawn.
type OffPolicy struct {
	episodes []Logged
	dim, k   int
	gamma    float64

	shift, scale []float64 // [D]; 0 scales a constant away
	project      []float64 // [random,D+1]
	p            int       // features of a state
	phi          [][]float64
}

const (
	ridge     = 1e-4 // of the normal equations, times the steps
	weightCap = 100  // a weight beyond is not followed: its variance drowns what it corrects
)

// NewOffPolicy prepares estimates: actions is K, random is how many random
// ridge functions tanh(u·x + v) of the standardised observation stand beside it
// as features, so that values need not be linear in it.
func NewOffPolicy(episodes []Logged, dim, actions int, gamma float64, random int) (*OffPolicy, error) {
	o := &OffPolicy{episodes: episodes, dim: dim, k: actions, gamma: gamma, p: 1 + dim + random}
	switch {
	case len(episodes) < 2:
		return nil, fmt.Errorf("agent: off-policy: %d episodes give no interval: 2 at least", len(episodes))
	case dim < 1 || actions < 1 || random < 0:
		return nil, fmt.Errorf("agent: off-policy: %d elements, %d actions, %d features", dim, actions, random)
	case !(gamma >= 0 && gamma < 1):
		return nil, fmt.Errorf("agent: off-policy: gamma: %v: expected 0 up to 1", gamma)
	}
	for i, e := range episodes {
		t := len(e.Reward)
		if t == 0 || len(e.Obs) != (t+1)*dim || len(e.Actions) != t || len(e.Chance) != t {
			return nil, fmt.Errorf("agent: off-policy: episode %d: %d rewards, %d actions, %d chances, %d observed numbers of %d", i, t, len(e.Actions), len(e.Chance), len(e.Obs), dim)
		}
		for s, a := range e.Actions {
			if a < 0 || int(a) >= actions || !(e.Chance[s] > 0 && e.Chance[s] <= 1) {
				return nil, fmt.Errorf("agent: off-policy: episode %d, step %d: action %d of %d, chance %v", i, s, a, actions, e.Chance[s])
			}
		}
	}
	o.standardise()
	k := rng.Key{Purpose: rng.Init}
	for i := range random {
		for j := range dim + 1 {
			x, _ := k.Normal(uint32(i*(dim+1) + j))
			if j < dim {
				x /= math.Sqrt(float64(dim))
			}
			o.project = append(o.project, x)
		}
	}
	for _, e := range episodes {
		var phi []float64
		for t := range len(e.Obs) / dim {
			phi = o.features(phi, e.Obs[t*dim:(t+1)*dim])
		}
		o.phi = append(o.phi, phi)
	}
	return o, nil
}

func (o *OffPolicy) standardise() {
	for j := range o.dim {
		var n, sum, square float64
		for _, e := range o.episodes {
			for i := j; i < len(e.Obs); i += o.dim {
				x := float64(e.Obs[i])
				n, sum, square = n+1, sum+x, square+x*x
			}
		}
		sd := math.Sqrt(max(square/n-sum/n*sum/n, 0))
		o.shift, o.scale = append(o.shift, sum/n), append(o.scale, 0)
		if sd > 1e-6*(1+math.Abs(sum/n)) {
			o.scale[j] = 1 / sd
		}
	}
}

// features appends those of an observation [D] to dst: 1, the observation, and
// functions of it.
func (o *OffPolicy) features(dst []float64, obs []float32) []float64 {
	dst = append(dst, 1)
	from := len(dst)
	for j, x := range obs {
		dst = append(dst, (float64(x)-o.shift[j])*o.scale[j])
	}
	for u := o.project; len(u) > 0; u = u[o.dim+1:] {
		at := u[o.dim]
		for j, w := range u[:o.dim] {
			at += w * dst[from+j]
		}
		dst = append(dst, math.Tanh(at))
	}
	return dst
}

// OffPolicyValue is what a policy is worth by two estimates: the jackknife's
// pseudo-values n·v - (n-1)·v without a group of episodes, one for each of n
// groups, so that EstimateOf tells mean and interval, and of differences a
// paired comparison.
type OffPolicyValue struct {
	FQE, DR []float64 // [n]
	// Followed is the weight of recorded steps per start: how much of DR is
	// recorded rewards, in steps. 0: it is FQE.
	Followed float64
}

// jackknifed bounds the groups that episodes are left out in.
const jackknifed = 20

// Value estimates a policy that takes action a in the state of step t of
// episode e with chance target[e][t·K+a], [T+1,K].
func (o *OffPolicy) Value(target [][]float64) (v OffPolicyValue, err error) {
	n := len(o.episodes)
	if len(target) != n {
		return v, fmt.Errorf("agent: off-policy: the target's chances are of %d episodes, the log's of %d", len(target), n)
	}
	for e, c := range target {
		if want := (len(o.episodes[e].Reward) + 1) * o.k; len(c) != want {
			return v, fmt.Errorf("agent: off-policy: episode %d: %d chances of the target, want %d", e, len(c), want)
		}
	}
	size, groups := o.p*o.k, min(n, jackknifed)
	a, b, steps := make([][]float64, groups+1), make([][]float64, groups+1), make([]int, groups+1) // of all, then of each group
	for g := range a {
		a[g], b[g] = make([]float64, size*size), make([]float64, size)
	}
	for e := range o.episodes {
		o.equations(a[1+e%groups], b[1+e%groups], e, target[e])
		steps[1+e%groups] += len(o.episodes[e].Reward)
	}
	for g := 1; g <= groups; g++ {
		add(a[0], a[g], 1)
		add(b[0], b[g], 1)
		steps[0] += steps[g]
	}
	var whole [2]float64
	for g := range groups + 1 {
		if g > 0 {
			add(a[g], a[0], -1) // what is left of all, its sign turned in solve
			add(b[g], b[0], -1)
			steps[g] = steps[0] - steps[g]
		}
		w, err := o.solve(a[g], b[g], g > 0, steps[g])
		if err != nil {
			return v, err
		}
		var sum [2]float64
		var starts, followed float64
		for e := range o.episodes {
			if g > 0 && e%groups == g-1 {
				continue
			}
			values, n, f := o.robust(w, target[e], e)
			sum[0], sum[1], starts, followed = sum[0]+values[0], sum[1]+values[1], starts+n, followed+f
		}
		for i := range sum {
			sum[i] *= (1 - o.gamma) / starts
		}
		if g == 0 {
			whole, v.Followed = sum, followed/starts
			continue
		}
		n := float64(groups)
		v.FQE = append(v.FQE, n*whole[0]-(n-1)*sum[0])
		v.DR = append(v.DR, n*whole[1]-(n-1)*sum[1])
	}
	return v, nil
}

// add adds k·y to x.
func add(x, y []float64, k float64) {
	for i, v := range y {
		x[i] += k * v
	}
}

// equations adds to a and b episode e's part of those that FQE's fixed point solves for a
// Q linear in features, which is LSTD-Q (Lagoudakis and Parr 2003):
//
//	Σ φ(S,A) (φ(S,A) - γ Σₐ π(a|S') φ(S',a))ᵀ w = Σ φ(S,A) R
func (o *OffPolicy) equations(a, b []float64, e int, target []float64) {
	size := o.p * o.k
	log := &o.episodes[e]
	for t, r := range log.Reward {
		phi, from := o.phi[e][t*o.p:(t+1)*o.p], int(log.Actions[t])*o.p
		next := o.phi[e][(t+1)*o.p : (t+2)*o.p]
		last := t == len(log.Reward)-1 && log.Terminated
		for i, x := range phi {
			row := a[(from+i)*size:][:size]
			for j, y := range phi {
				row[from+j] += x * y
			}
			for act := range o.k {
				if pi := o.gamma * target[(t+1)*o.k+act]; pi != 0 && !last {
					for j, y := range next {
						row[act*o.p+j] -= pi * x * y
					}
				}
			}
			b[from+i] += x * float64(r)
		}
	}
}

// solve gives w [K,P] of the equations, or of their negation.
func (o *OffPolicy) solve(a, b []float64, negated bool, steps int) ([]float64, error) {
	size := len(b)
	m, rhs := mat.NewDense(size, size, nil), mat.NewVecDense(size, nil)
	sign := 1.
	if negated {
		sign = -1
	}
	add(m.RawMatrix().Data, a, sign)
	add(rhs.RawVector().Data, b, sign)
	for i := range size {
		k := ridge
		if i%o.p == 0 {
			k = 1e-9 // an action that was never taken has no equations
		}
		m.Set(i, i, m.At(i, i)+k*float64(steps))
	}
	var w mat.VecDense
	if err := w.SolveVec(m, rhs); err != nil {
		var c mat.Condition
		if !errors.As(err, &c) || math.IsInf(float64(c), 1) {
			return nil, fmt.Errorf("agent: off-policy: %w", err)
		}
	}
	return w.RawVector().Data, nil
}

// q is Q(s, a) of features phi [P].
func (o *OffPolicy) q(w, phi []float64, a int) (q float64) {
	for i, x := range w[a*o.p : (a+1)*o.p] {
		q += x * phi[i]
	}
	return q
}

// value is V of the state before step t of episode e.
func (o *OffPolicy) value(w, target []float64, e, t int) (v float64) {
	for a := range o.k {
		if pi := target[t*o.k+a]; pi != 0 {
			v += pi * o.q(w, o.phi[e][t*o.p:(t+1)*o.p], a)
		}
	}
	return v
}

// start reports whether an action was drawn at step t.
func (l *Logged) start(t int) bool { return t == 0 || l.Chance[t] < 1 }

// robust is the sums over the starts of episode e of V, by Q alone and doubly
// robust, how many starts there are, and the weight that was followed:
//
//	V(Sₜ) + Σₖ γᵏ ρₜ…ρₜ₊ₖ (R + γ V(S') - Q(S,A))      ρ = π(A|S)/chance
//
// Where the policy parts from an action that was bound to be, ρ is 0 and what
// follows is Q's word: there the log says nothing of the policy.
func (o *OffPolicy) robust(w, target []float64, e int) (value [2]float64, starts, followed float64) {
	log := &o.episodes[e]
	td := make([]float64, len(log.Reward))
	rho := make([]float64, len(log.Reward))
	for t, r := range log.Reward {
		a := int(log.Actions[t])
		td[t] = float64(r) - o.q(w, o.phi[e][t*o.p:(t+1)*o.p], a)
		if t < len(log.Reward)-1 || !log.Terminated {
			td[t] += o.gamma * o.value(w, target, e, t+1)
		}
		rho[t] = target[t*o.k+a] / log.Chance[t]
	}
	for t := range td {
		if !log.start(t) {
			continue
		}
		starts++
		v := o.value(w, target, e, t)
		value[0], value[1] = value[0]+v, value[1]+v
		weight, discount := 1., 1.
		for k := t; k < len(td); k++ {
			if weight *= rho[k]; weight == 0 || weight > weightCap {
				break
			}
			value[1] += discount * weight * td[k]
			followed += discount * weight
			discount *= o.gamma
		}
	}
	return value, starts, followed
}
