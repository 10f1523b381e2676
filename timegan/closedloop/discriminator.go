package closedloop

import (
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
)

// The discriminator reads a window second by second: what was measured (see
// stage.look), the limits in force, the load, and which columns were measured.
// After each second it says how probable it is that the seconds so far were
// recorded rather than rolled out from the same moment, under the same limits and
// load. At its best its logit is
//
//	l_t = log p(x_1…x_t) - log q(x_1…x_t),  p of recordings, q of rollouts
//
// and so l_t - l_{t-1} is what second t adds: the reward of a generator that is to
// minimise the Kullback-Leibler divergence of q from p.
const (
	watchers  = 32   // units of the discriminator
	watchRate = 2e-3 // its learning rate
	discount  = .95  // of rewards, a second
	steepest  = 5    // nats: larger advantages count as this
)

// watcher is the discriminator's sizes.
func (s *stage) watcher() seq.Config {
	c := seq.Config{Dense: s.sight(), Hidden: watchers, Heads: []seq.Head{{Name: "recorded", Size: 2}}}
	for _, h := range s.eye.heads {
		c.Embeddings = append(c.Embeddings, seq.Embedding{Name: s.eye.Heads[h].Name, Size: s.eye.size(h), Dim: min(s.eye.size(h), 4)})
	}
	return c
}

// pairs is a batch of n windows as they were recorded, and then as many rollouts.
func (s *stage) pairs(n int) *seq.Batch {
	all := 2 * n * s.steps
	b := &seq.Batch{Steps: s.steps, Rows: 2 * n, Dense: make([]float32, all*s.sight()), Tokens: make([]int32, all*len(s.eye.heads)), Values: make([]int32, all)}
	for i := range b.Values {
		if i%b.Rows < n {
			b.Values[i] = 1
		}
	}
	return b
}

// discriminator is one in training.
type discriminator struct {
	trainer   *seq.Trainer
	objective seq.Objective
	run       *seq.Run // of logits
}

// newWatching begins to train a discriminator.
func newWatching(watcher *seq.Model, be *compute.Backend, updates int) (*seq.Trainer, error) {
	return seq.NewTrainer(watcher, be, seq.Training{Updates: updates, Rate: watchRate, Floor: 1, Decay: 1e-2})
}

// openDiscriminator is for pairs of c.Batch windows. Its objective is to be closed.
func (s *stage) openDiscriminator(watcher *seq.Model, watching *seq.Trainer, c Config, engine string, be *compute.Backend) (*discriminator, error) {
	objective, err := seq.Open(engine, watcher, be, s.steps, 2*c.Batch)
	if err != nil {
		return nil, fmt.Errorf("closedloop: discriminator: %w", err)
	}
	return &discriminator{trainer: watching, objective: objective, run: watcher.NewRun(be, s.steps, 2*c.Batch)}, nil
}

// logits are l [T,rows] of a batch of pairs.
func (d *discriminator) logits(b *seq.Batch) []float64 {
	y := d.run.Forward(b)
	l := make([]float64, b.Steps*b.Rows)
	for i := range l {
		l[i] = float64(y[2*i+1] - y[2*i])
	}
	return l
}

// learn makes an update by pairs.
func (d *discriminator) learn(b *seq.Batch) error {
	if _, err := d.objective.Losses(b); err != nil {
		return err
	}
	return d.trainer.Apply(d.objective.Gradients())
}

// right is how many rows of the first pairs of b the logits after the last second
// put on the right side: half of them by chance.
func right(l []float64, b *seq.Batch, pairs int) (n int) {
	for row, v := range l[(b.Steps-1)*b.Rows:] {
		if half := b.Rows / 2; row%half < pairs && (v > 0) == (row < half) {
			n++
		}
	}
	return n
}

// advantages are, of the rollouts of a batch of n pairs with logits l [T,2n],
//
//	a_t = Σ_{u≥t} γ^{u-t}·(l_u - l_{u-1}),  l_0 = 0
//
// less the mean of the others' a_t, a baseline (REINFORCE, Williams 1992; leaving
// the row itself out keeps the gradient unbiased). [T,n]
func advantages(l []float64, steps, n int, gamma float64) []float32 {
	a := make([]float64, steps*n)
	for t := steps - 1; t >= 0; t-- {
		for i := range n {
			r := l[t*2*n+n+i]
			if t > 0 {
				r -= l[(t-1)*2*n+n+i]
			}
			if t+1 < steps {
				r += gamma * a[(t+1)*n+i]
			}
			a[t*n+i] = r
		}
	}
	out := make([]float32, len(a))
	for t := range steps {
		sum := 0.
		for _, v := range a[t*n:][:n] {
			sum += v
		}
		for i, v := range a[t*n:][:n] {
			if n > 1 {
				v -= (sum - v) / float64(n-1)
			}
			out[t*n+i] = float32(min(max(v, -steepest), steepest))
		}
	}
	return out
}

// nats are how much of log 2, what a coin costs, a discriminator saves of the
// cross-entropy of each row, mean over its seconds.
func nats(l []float64, b *seq.Batch) []float64 {
	saved := make([]float64, b.Rows)
	for i, v := range l {
		if row := i % b.Rows; row < b.Rows/2 {
			v = -v
		}
		saved[i%b.Rows] += (math.Ln2 - math.Log1p(math.Exp(-math.Abs(v))) - max(v, 0)) / float64(b.Steps)
	}
	return saved
}
