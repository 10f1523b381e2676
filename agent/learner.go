package agent

import (
	"fmt"

	"github.com/planegym/planegym/compute"
)

// Learning makes what computes the updates of an agent (see timegan.Engine for
// models). Two of them differ in how
// they differentiate, never in meaning: see DDQN.Use.
type Learning func(u *Minibatch) (Learner, error)

// Learner computes the loss of the batch that its Minibatch holds.
type Learner interface {
	// Learn gives the loss, sets Y and Delta, and adds ∂L/∂θ to Grad.
	Learn() (loss float64, err error)
}

// Minibatch is what a Learner works on: a batch of transitions S, A, R, S'.
// Its memory stays where it is; the agent fills it anew before every update.
// Which transitions, what the gradient is used for, and when θ becomes θ⁻ are
// the agent's.
type Minibatch struct {
	Config  Config
	Spaces  Spaces
	Backend *compute.Backend

	X, Next          []float32 // [B,D], S and S' as the networks see them
	Actions          []int32   // [B,S]
	Reward, Discount []float32 // [B]; of several steps, γⁿ or 0 where S' is terminal
	Weights          []float32 // [B], of importance
	Y, Delta         []float32 // [B], to be set: the target, and the mean over heads of its |distance|
	Grad             []float32 // [parameters], to be added to

	// Online and Target are θ and θ⁻. A network's output is each head's actions
	// side by side, before them the value where Config.Dueling.
	Online, Target Network

	agent *DDQN
}

// Network is a network as a Learner sees it.
type Network struct {
	compute.MLPConfig
	Params *compute.Params
}

// Use makes e compute the updates from now on; nil is the fused engine, with
// gradients by hand, which an agent begins with.
func (d *DDQN) Use(e Learning) error {
	d.objective, d.seen = nil, nil
	if e == nil {
		return nil
	}
	if d.batch.at == nil {
		d.batch = d.newBatch()
	}
	b := &d.batch
	u := &Minibatch{
		Config: d.Config, Spaces: d.Spaces, Backend: d.be,
		X: make([]float32, len(b.obs)), Next: make([]float32, len(b.next)),
		Actions: b.actions, Reward: b.reward, Discount: b.discount, Weights: b.weights,
		agent: d, Y: b.y, Delta: b.delta, Grad: b.grad, Online: Network{d.online.MLPConfig, d.online.Params()}, Target: Network{d.target.MLPConfig, d.target.Params()},
	}
	o, err := e(u)
	if err != nil {
		return fmt.Errorf("agent: engine: %w", err)
	}
	d.objective, d.seen = o, u
	return nil
}

// Fused is the objective with gradients by hand.
func (u *Minibatch) Fused() Learner { return fused{u.agent} }

type fused struct{ *DDQN }

// Learn is Learner's.
func (d fused) Learn() (float64, error) {
	b := &d.batch
	d.targets(b)
	loss := d.loss(b)
	d.backValues(b.dq, b.dout)
	b.here.run.Backward(b.dout, nil, b.grad)
	return loss, nil
}

// learn computes loss, targets and gradient of the batch.
func (d *DDQN) learn() (float64, error) {
	clear(d.batch.grad)
	if d.objective == nil {
		return fused{d}.Learn()
	}
	d.see(d.seen.X, d.batch.obs)
	d.see(d.seen.Next, d.batch.next)
	return d.objective.Learn()
}
