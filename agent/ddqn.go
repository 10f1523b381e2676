package agent

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
)

// DDQN is double Q-learning with deep networks (van Hasselt, Guez and Silver,
// "Deep Reinforcement Learning with Double Q-learning", AAAI 2016), in the
// order of that paper: the network, acting, the target, the loss, the update.
//
// Where an action is one index per switch (S > 1) the network branches: a
// shared trunk, a head per switch (Tavakoli, Pardo and Kormushev, AAAI 2018).
//
//	B batch   D observation   S switches   A = Σ nₛ all heads' actions   O outputs
//
// It is a Policy: the greedy one.
type DDQN struct {
	Config   Config
	Spaces   Spaces
	Scenario string // what it was trained in, for the program that loads it; may be ""

	be             *compute.Backend
	online, target *nn.MLP   // θ, θ⁻
	shift, scale   []float32 // [D]; the network sees (obs - shift)·scale
	opt            optimiser
	fitted         bool  // shift and scale are
	frozen         int   // parameters before this one stay as they are
	updates        int64 // done

	dim, s, total, out int // D, S, A, O
	heads              []int

	act       pass // of Act
	batch     batch
	objective Learner    // nil: by hand
	seen      *Minibatch // of objective
}

// NewDDQN makes an agent with initial weights drawn from seed. It computes
// on be; nil is one thread of the fastest kernels that this machine runs.
func NewDDQN(c Config, spaces Spaces, seed uint64, be *compute.Backend) (*DDQN, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	be = backendOr(be)
	if len(spaces.Elements) == 0 || len(spaces.Actions) == 0 || slices.Min(spaces.Actions) < 1 {
		return nil, fmt.Errorf("agent: an environment of %d observed elements and actions %v", len(spaces.Elements), spaces.Actions)
	}
	d := &DDQN{Config: c, Spaces: spaces, be: be, dim: len(spaces.Elements), s: len(spaces.Actions)}
	for _, n := range spaces.Actions {
		d.heads = append(d.heads, d.total)
		d.total += n
	}
	d.out = d.total
	if c.Dueling {
		d.out++
	}
	sizes := append(append([]int{d.dim}, c.Hidden...), d.out)
	d.online, d.target = nn.NewMLP(sizes, compute.ReLU, compute.Linear), nn.NewMLP(sizes, compute.ReLU, compute.Linear)
	d.online.Init(rng.Key{Seed: seed, Purpose: rng.Init})
	copy(d.target.Params().Data, d.online.Params().Data)
	d.shift, d.scale = make([]float32, d.dim), make([]float32, d.dim)
	for i := range d.scale {
		d.scale[i] = 1
	}
	d.opt = newOptimiser(c, be, len(d.online.Params().Data))
	d.fitted = c.Normalise != "fit"
	return d, nil
}

// backendOr is be, or where it is nil a backend that needs no closing.
func backendOr(be *compute.Backend) *compute.Backend {
	if be != nil {
		return be
	}
	return compute.NewBackend(compute.Fastest(), 1)
}

// pass is the memory for Q-values of up to so many rows.
type pass struct {
	run    *nn.MLPRun
	x, out []float32 // [n,D], [n,O]
	q      []float32 // [n,A]
}

func (d *DDQN) newPass(net *nn.MLP, n int) pass {
	return pass{run: net.NewRun(d.be, n), x: make([]float32, n*d.dim), out: make([]float32, n*d.out), q: make([]float32, n*d.total)}
}

// see sets x to observations as the network sees them, [n,D] both.
func (d *DDQN) see(x, obs []float32) {
	for i := 0; i < len(obs); i += d.dim {
		row := x[i : i+d.dim]
		for j, o := range obs[i : i+d.dim] {
			row[j] = (o - d.shift[j]) * d.scale[j]
		}
	}
}

// values computes Q(s, ·; θ) of the observations obs [n,D] into p.q [n,A].
func (d *DDQN) values(p *pass, obs []float32) []float32 {
	n := len(obs) / d.dim
	x := p.x[:n*d.dim]
	d.see(x, obs)
	out, q := p.out[:n*d.out], p.q[:n*d.total]
	p.run.Forward(x, out)
	if !d.Config.Dueling {
		copy(q, out)
		return q
	}
	// Dueling (Wang et al. 2016, equation 9; per head as in Tavakoli et al.
	// 2018, equation 1): Qₛ(a) = V + Aₛ(a) - mean Aₛ.
	for i := range n {
		o, row := out[i*d.out:(i+1)*d.out], q[i*d.total:(i+1)*d.total]
		for s, k := range d.Spaces.Actions {
			a := o[1+d.heads[s]:][:k]
			var mean float32
			for _, v := range a {
				mean += v / float32(k)
			}
			for j, v := range a {
				row[d.heads[s]+j] = o[0] + v - mean
			}
		}
	}
	return q
}

// backValues takes ∂L/∂Q [n,A] to ∂L/∂out [n,O].
func (d *DDQN) backValues(dq, dout []float32) {
	if !d.Config.Dueling {
		copy(dout, dq)
		return
	}
	for i := range len(dq) / d.total {
		row, o := dq[i*d.total:(i+1)*d.total], dout[i*d.out:(i+1)*d.out]
		o[0] = 0
		for s, k := range d.Spaces.Actions {
			g := row[d.heads[s]:][:k]
			var sum float32
			for _, v := range g {
				sum += v
			}
			o[0] += sum
			for j, v := range g {
				o[1+d.heads[s]+j] = v - sum/float32(k)
			}
		}
	}
}

// head is the values of switch s in a row q [A].
func (d *DDQN) head(q []float32, s int) []float32 { return q[d.heads[s]:][:d.Spaces.Actions[s]] }

// argmax is the index of the largest value, the first of equals.
func argmax(q []float32) int {
	best := 0
	for i, v := range q {
		if v > q[best] {
			best = i
		}
	}
	return best
}

// Begin does nothing: a DDQN remembers nothing of an episode.
func (d *DDQN) Begin([]int, []uint64) {}

// Act picks the greedy actions [n,S], argmaxₐ Q(s, a; θ) at each switch.
func (d *DDQN) Act(_ []int, obs []float32, actions []int32) {
	n := len(obs) / d.dim
	if len(d.act.q) < n*d.total {
		d.act = d.newPass(d.online, n)
	}
	q := d.values(&d.act, obs)
	for i := range n {
		for s := range d.s {
			actions[i*d.s+s] = int32(argmax(d.head(q[i*d.total:(i+1)*d.total], s)))
		}
	}
}

// explore makes greedy actions ε-greedy: with chance epsilon a row's are
// drawn uniformly instead. Equal keys give equal actions.
func (d *DDQN) explore(k rng.Key, epsilon float64, actions []int32) {
	for i := range len(actions) / d.s {
		k.B = uint32(i)
		if k.Float64(0) >= epsilon {
			continue
		}
		for s, n := range d.Spaces.Actions {
			actions[i*d.s+s] = int32(k.Intn(uint32(1+s), n))
		}
	}
}

// batch is the memory of an update.
type batch struct {
	at                  []int     // [B] in the replay
	weights             []float32 // [B]
	obs, next           []float32 // [B,D]
	actions             []int32   // [B,S]
	reward, discount    []float32 // [B]
	y, delta            []float32 // [B]; the target, |its distance|
	dq, dout            []float32 // [B,A], [B,O]
	grad                []float32 // [parameters]
	here, there, target pass      // Q(s;θ), Q(s';θ), Q(s';θ⁻)
}

func (d *DDQN) newBatch() batch {
	n := d.Config.Batch
	f := func(k int) []float32 { return make([]float32, n*k) }
	return batch{
		at: make([]int, n), weights: f(1), obs: f(d.dim), next: f(d.dim), actions: make([]int32, n*d.s),
		reward: f(1), discount: f(1), y: f(1), delta: f(1), dq: f(d.total), dout: f(d.out),
		grad: make([]float32, len(d.online.Params().Data)),
		here: d.newPass(d.online, n), there: d.newPass(d.online, n), target: d.newPass(d.target, n),
	}
}

// targets computes y [B], equation 4: θ chooses the action, θ⁻ gives its
// value. With several heads it is the mean of theirs (Tavakoli et al.
// 2018, equation 6).
//
//	y = R + γⁿ · mean_s Q_s(S', argmaxₐ Q_s(S', a; θ); θ⁻)      γⁿ is 0 where S' is terminal
func (d *DDQN) targets(b *batch) {
	choice, targets := d.values(&b.there, b.next), d.values(&b.target, b.next)
	for i := range b.y {
		var v float32
		for s := range d.s {
			row := d.head(choice[i*d.total:(i+1)*d.total], s)
			v += d.head(targets[i*d.total:(i+1)*d.total], s)[argmax(row)]
		}
		b.y[i] = b.reward[i] + b.discount[i]*v/float32(d.s)
	}
}

// loss computes L and b.dq = ∂L/∂Q [B,A], b.delta. w are importance weights,
// 1 without priorities; ℓ is ½x² or Huber's.
//
//	L = 1/(B·S) Σ_b w_b Σ_s ℓ(y - Q_s(S, A_s; θ))
//	  + α/(B·S) Σ_b Σ_s (log Σₐ exp Q_s(S, a) - Q_s(S, A_s))     CQL(H), Kumar et al. 2020, equation 4
func (d *DDQN) loss(b *batch) float64 {
	q := d.values(&b.here, b.obs)
	clear(b.dq)
	huber := d.Config.Loss == "huber"
	n := float64(len(b.y) * d.s)
	var sum float64
	for i := range b.y {
		row, grad := q[i*d.total:(i+1)*d.total], b.dq[i*d.total:(i+1)*d.total]
		w := float64(b.weights[i])
		var delta float64
		for s := range d.s {
			at := d.heads[s] + int(b.actions[i*d.s+s])
			x := float64(row[at]) - float64(b.y[i])
			delta += math.Abs(x)
			if huber && math.Abs(x) > 1 {
				sum += w * (math.Abs(x) - .5)
				x = math.Copysign(1, x)
			} else {
				sum += w * x * x / 2
			}
			grad[at] += float32(w * x / n)
			if a := d.Config.CQL; a > 0 {
				q, g := d.head(row, s), d.head(grad, s)
				top := float64(q[argmax(q)])
				var z float64
				for _, v := range q {
					z += math.Exp(float64(v) - top)
				}
				sum += a * (top + math.Log(z) - float64(row[at]))
				for j, v := range q {
					g[j] += float32(a * math.Exp(float64(v)-top) / z / n)
				}
				grad[at] -= float32(a / n)
			}
		}
		b.delta[i] = float32(delta / float64(d.s))
	}
	return sum / n
}

// update learns from one batch of r, drawn by seed and the number of the
// update, and copies θ to θ⁻ every Target updates. share is how much of
// training is over, 0…1. It gives the loss and the batch's mean of y. Once
// warm it allocates nothing.
func (d *DDQN) update(r *replay, seed uint64, share float64) (loss, target float64, err error) {
	c, b := &d.Config, &d.batch
	if b.at == nil {
		d.batch = d.newBatch()
	}
	k := rng.Key{Seed: seed, A: uint32(d.updates), Purpose: rng.Transition}
	r.sample(k, c.Beta+(1-c.Beta)*min(share, 1), b.at, b.weights)
	for i, j := range b.at {
		copy(b.obs[i*d.dim:(i+1)*d.dim], r.obs[j*d.dim:])
		copy(b.next[i*d.dim:(i+1)*d.dim], r.next[j*d.dim:])
		copy(b.actions[i*d.s:(i+1)*d.s], r.actions[j*d.s:])
		b.reward[i], b.discount[i] = r.reward[j], r.discount[j]
	}
	if loss, err = d.learn(); err != nil {
		return loss, target, fmt.Errorf("agent: update %d: %w", d.updates, err)
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return loss, target, fmt.Errorf("agent: update %d: the loss is %v: learning diverged; lower learning_rate, or set clip_norm", d.updates, loss)
	}
	r.prioritise(b.at, b.delta, c.Alpha)
	if c.ClipNorm > 0 {
		nn.ClipNorm(b.grad[d.frozen:], c.ClipNorm)
	}
	d.opt.step(c.rate(share), d.online.Params().Data[d.frozen:], b.grad[d.frozen:])
	d.updates++
	if d.updates%c.Target == 0 {
		copy(d.target.Params().Data, d.online.Params().Data)
	}
	for _, y := range b.y {
		target += float64(y) / float64(len(b.y))
	}
	return loss, target, nil
}

// fit sets the normalisation from observations [n,D]: mean 0, deviation 1. An
// element that never changes keeps its scale.
func (d *DDQN) fit(obs []float32) {
	d.fitted = true
	n := len(obs) / d.dim
	for j := range d.dim {
		var mean, square float64
		for i := range n {
			mean += float64(obs[i*d.dim+j]) / float64(n)
		}
		for i := range n {
			x := float64(obs[i*d.dim+j]) - mean
			square += x * x / float64(n)
		}
		d.shift[j], d.scale[j] = float32(mean), 1
		if sd := math.Sqrt(square); sd > 1e-6 {
			d.scale[j] = float32(1 / sd)
		}
	}
}

// optimiser is Adam or Nesterov's SGD.
type optimiser struct {
	be   *compute.Backend
	adam *nn.Adam // one of them
	sgd  *nn.SGD
}

func newOptimiser(c Config, be *compute.Backend, n int) optimiser {
	if c.Optimiser == "adam" {
		return optimiser{be: be, adam: nn.NewAdam(n, c.LearningRate)}
	}
	return optimiser{be: be, sgd: nn.NewSGD(n, c.LearningRate, c.Momentum)}
}

func (o *optimiser) step(rate float64, params, grad []float32) {
	if o.adam != nil {
		o.adam.LR = rate
		o.adam.Step(o.be, params, grad)
		return
	}
	o.sgd.LR = rate
	o.sgd.Step(params, grad)
}

// Updates is how many updates the agent has learnt from.
func (d *DDQN) Updates() int64 { return d.updates }

// Network is the online network θ. Its parameters are the agent's own memory.
func (d *DDQN) Network() Network { return Network{d.online.MLPConfig, d.online.Params()} }

// Normalisation is what the network sees of an observation: (obs - shift)·scale,
// [D] both, the agent's own memory.
func (d *DDQN) Normalisation() (shift, scale []float32) { return d.shift, d.scale }

// FitNormalisation sets the normalisation from observations [n,D]: mean 0,
// deviation 1. Training does so itself where Config.Normalise is "fit".
func (d *DDQN) FitNormalisation(obs []float32) { d.fit(obs) }

// Values computes Q(s, ·; θ) of observations [n,D]: [n,A], switch by switch.
func (d *DDQN) Values(obs []float32) []float32 {
	p := d.newPass(d.online, len(obs)/d.dim)
	return d.values(&p, obs)
}
