package closedloop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
)

// Adversary is what fine-tuning against a discriminator came to: both sets of
// weights, judged by recordings that no discriminator was trained on.
type Adversary struct {
	Kept   bool      `json:"kept"`   // the fine-tuned weights are the model's
	Before Judgement `json:"before"` // of the likelihood's weights
	After  Judgement `json:"after"`  // of the fine-tuned ones
	// Gain is by how much Nats fell, and Error the standard error of that, over
	// windows.
	Gain  float64 `json:"gain"`
	Error float64 `json:"error"`
}

// Judgement is how a generator does on held-out windows.
type Judgement struct {
	Right      float64 `json:"right"`      // share of windows and rollouts that a new discriminator tells from each other; .5 is chance
	Nats       float64 `json:"nats"`       // what it saves of a coin's cross-entropy, mean over a window's seconds
	Drift      float64 `json:"drift"`      // rms error, by limit and regime, of the buffer's mean change, s/s
	Likelihood float64 `json:"likelihood"` // nats per second, weighted as in training
}

// How much worse the fine-tuned weights may be and still be taken.
const (
	likelihoodSlack = .01 // of the likelihood
	driftSlack      = .02 // s/s
)

// helps reports whether fine-tuning made rollouts harder to tell from recordings,
// by more than a standard error, at no other cost.
func (a *Adversary) helps() bool {
	return a.Gain > a.Error && a.After.Likelihood <= a.Before.Likelihood*(1+likelihoodSlack) && a.After.Drift <= a.Before.Drift+driftSlack
}

// String says it in a sentence.
func (a *Adversary) String() string {
	what := "the likelihood's weights were kept"
	if a.Kept {
		what = "fine-tuned weights were kept"
	}
	return fmt.Sprintf("%s: a new discriminator is right in %.0f %% of held-out windows, before %.0f %% (%.4f and %.4f nats, difference %.4f ± %.4f); drift error %.3f s/s, before %.3f; likelihood %.3f nats a second, before %.3f",
		what, 100*a.After.Right, 100*a.Before.Right, a.After.Nats, a.Before.Nats, a.Gain, a.Error, a.After.Drift, a.Before.Drift, a.After.Likelihood, a.Before.Likelihood)
}

// tuning is fine-tuning under way: with the model's net, what a checkpoint needs to
// go on.
type tuning struct {
	before    *seq.Model // the likelihood's weights
	generator *seq.Trainer
	watcher   *seq.Model
	watching  *seq.Trainer
	done      int // updates
}

// warmUp is how many updates the discriminator makes before the generator's first.
func (c Config) warmUp() int { return c.AdversarialUpdates / 3 }

// tuningUpdates is how many updates fine-tuning has, those of the discriminator alone
// included; 0 without.
func (c Config) tuningUpdates() int {
	if !c.adversarial() {
		return 0
	}
	return c.warmUp() + c.AdversarialUpdates
}

// newTuning begins to fine-tune m's net.
func (m *Model) newTuning(be *compute.Backend) (*tuning, error) {
	c := m.Config
	u := &tuning{before: m.net.Clone()}
	rate := c.Rate / 10
	if c.AdversarialOnly {
		rate = c.Rate
	}
	var err error
	if u.generator, err = seq.NewTrainer(m.net, be, seq.Training{Updates: c.AdversarialUpdates, Rate: rate, Decay: c.Decay}); err != nil {
		return nil, err
	}
	if u.watcher, err = seq.New(bareStage(m.codec, c.AdversarialWindow).watcher(), c.Seed); err != nil {
		return nil, err
	}
	u.watching, err = newWatching(u.watcher, be, c.tuningUpdates())
	return u, err
}

// windows are those of an update, and the seeds of rollouts in their place. which
// separates fine-tuning from the discriminators that judge it.
func (s *stage) windows(c Config, update, which int) (at []windowStart, seeds []uint64) {
	for row := range c.Batch {
		key := rng.Key{Seed: c.Seed, A: uint32(update), B: uint32(which*c.Batch + row), Purpose: rng.Adversarial}
		at, seeds = append(at, s.train[key.Intn(0, len(s.train))]), append(seeds, key.Uint64(1))
	}
	return at, seeds
}

// tune fine-tunes m against a discriminator, and keeps what comes of it where it
// helps. An update of the generator goes down
//
//	-log-likelihood of recorded windows + λ·Σ a_t·(-log q(what was drawn in second t))
//
// both means over seconds, a_t being advantages (see there): the second term's
// gradient is that of the divergence of rollouts from recordings, by likelihood
// ratios (SeqGAN, Yu et al. 2017), for classes have no gradient of their own.
func (m *Model) tune(ctx context.Context, be *compute.Backend, s *stage, t *tracks, o FitOptions, store func() error) error {
	c, u, k := m.Config, m.tuning, m.codec
	n, steps := c.Batch, c.AdversarialWindow
	d, err := s.openDiscriminator(u.watcher, u.watching, c, o.Engine, be)
	if err != nil {
		return err
	}
	defer func() { _ = seq.Close(d.objective) }()
	objective, err := k.openObjective(o.Engine, m.net, be, steps, 2*n)
	if err != nil {
		return err
	}
	defer func() { _ = seq.Close(objective) }()
	pairs, g := s.pairs(n), newBatch(c, k, steps, 2*n)
	if c.AdversarialOnly {
		for i := range g.Values {
			g.Values[i] = -1
		}
	}
	long := t.of(steps)
	every := o.Every
	if every <= 0 {
		every = seq.DefaultEvery
	}
	interrupted := func(err error) error { // what is done so far is kept
		if stop := store(); stop != nil && !errors.Is(stop, seq.ErrStop) {
			return errors.Join(err, stop)
		}
		return err
	}
	for u.done < c.tuningUpdates() {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		at, seeds := s.windows(c, u.done, 0)
		s.recorded(at, pairs)
		into := g
		if u.done < c.warmUp() {
			into = nil
		}
		if err := s.roll(m.net, be, at, seeds, pairs, into, n); err != nil {
			return err
		}
		l := d.logits(pairs)
		if err := d.learn(pairs); err != nil {
			return fmt.Errorf("closedloop: discriminator: %w", err)
		}
		if into != nil {
			heads := k.lead() + len(k.Heads)
			if !c.AdversarialOnly {
				long.fill(c, c.Updates+u.done, g, n)
			}
			s.creditAll(at, advantages(l, steps, n, discount), c.AdversarialWeight, recordedSeconds(g, n, heads), g, n)
			if _, err := objective.Losses(g); err != nil {
				return err
			}
			if err := u.generator.Apply(objective.Gradients()); err != nil {
				return fmt.Errorf("closedloop: adversarial: %w", err)
			}
			k.projectWeights(m.net)
		}
		u.done++
		if o.Report != nil {
			o.Report(Progress{Update: c.likelihoodUpdates() + u.done, Of: c.likelihoodUpdates() + c.tuningUpdates(), Loss: m.Loss, Right: float64(right(l, pairs, n)) / float64(pairs.Rows)})
		}
		if u.done%every == 0 && u.done < c.tuningUpdates() {
			if err := store(); err != nil {
				return err
			}
		}
	}
	tuned := u.generator.Averaged()
	k.projectWeights(tuned)
	t.fitTurning(tuned, be)
	a, err := s.judge(ctx, c, o.Engine, be, t, u.before, tuned)
	if err != nil && ctx.Err() != nil {
		return interrupted(ctx.Err())
	}
	if err != nil {
		return err
	}
	if a.Kept = c.AdversarialOnly || a.helps(); a.Kept {
		m.net = tuned
	} else {
		m.net = u.before
	}
	if c.AdversarialOnly {
		m.Loss = a.After.Likelihood
	}
	m.Adversary, m.tuning = a, nil
	return store()
}

// recordedSeconds is how many seconds of g's first rows have a value that counts.
func recordedSeconds(g *seq.Batch, rows, heads int) (seconds int) {
	for i := range g.Steps * g.Rows {
		if i%g.Rows < rows && slices.ContainsFunc(g.Values[i*heads:][:heads], func(v int32) bool { return v >= 0 }) {
			seconds++
		}
	}
	return seconds
}

// creditAll gives the rollouts of windows, g's rows from first on, advantages a
// [steps,len(at)]. Their seconds together have weight times what the recorded
// seconds have, be they more or fewer.
func (s *stage) creditAll(at []windowStart, a []float32, weight float64, recorded int, g *seq.Batch, first int) {
	n, column, seconds := len(at), make([]float32, s.steps), 0
	for i, w := range at {
		for t := range column {
			column[t] = a[t*n+i]
		}
		seconds += s.credit(w, column, g, first+i)
	}
	if recorded == 0 {
		recorded = seconds
	}
	scale := float32(weight * float64(recorded) / float64(max(seconds, 1)))
	heads := len(g.Weight) / (g.Steps * g.Rows)
	for t := range g.Steps {
		row := g.Weight[(t*g.Rows+first)*heads:][:n*heads]
		for i := range row {
			row[i] *= scale
		}
	}
}

// judge compares weights before and after on held-out recordings: a discriminator
// for each is trained anew, on the same windows in the same order.
func (s *stage) judge(ctx context.Context, c Config, engine string, be *compute.Backend, t *tracks, before, after *seq.Model) (*Adversary, error) {
	a := &Adversary{}
	var saved [2][]float64
	for i, net := range []*seq.Model{before, after} {
		into := &a.Before
		if i > 0 {
			into = &a.After
		}
		var err error
		if *into, saved[i], err = s.judgeOne(ctx, c, engine, be, net); err != nil {
			return nil, err
		}
		into.Likelihood = 0
		for _, l := range t.heldOut().nats(c, net, be, nil) {
			into.Likelihood += l
		}
	}
	n := float64(len(s.held))
	for i := range s.held {
		a.Gain += (saved[0][i] - saved[1][i]) / n
	}
	for i := range s.held {
		x := saved[0][i] - saved[1][i] - a.Gain
		a.Error += x * x
	}
	a.Error = math.Sqrt(a.Error/max(n-1, 1)) / math.Sqrt(n)
	return a, nil
}

// judgings is how many rollouts a held-out window has.
const judgings = 2

// judgeOne is judge of one generator; saved are the nats of each held-out window.
func (s *stage) judgeOne(ctx context.Context, c Config, engine string, be *compute.Backend, net *seq.Model) (j Judgement, saved []float64, err error) {
	updates := max(c.AdversarialUpdates/2, 1)
	watcher, err := seq.New(s.watcher(), c.Seed+1)
	if err != nil {
		return j, nil, err
	}
	watching, err := newWatching(watcher, be, updates)
	if err != nil {
		return j, nil, err
	}
	d, err := s.openDiscriminator(watcher, watching, c, engine, be)
	if err != nil {
		return j, nil, err
	}
	defer func() { _ = seq.Close(d.objective) }()
	pairs := s.pairs(c.Batch)
	for u := range updates {
		if err := ctx.Err(); err != nil {
			return j, nil, err
		}
		at, seeds := s.windows(c, u, 1)
		s.recorded(at, pairs)
		if err := s.roll(net, be, at, seeds, pairs, nil, 0); err != nil {
			return j, nil, err
		}
		if err := d.learn(pairs); err != nil {
			return j, nil, fmt.Errorf("closedloop: discriminator: %w", err)
		}
	}
	saved, cells := make([]float64, len(s.held)), drifts{}
	total, correct := judgings*len(s.held), 0
	for from := 0; from < total; from += c.Batch {
		var at []windowStart
		var seeds []uint64
		for i := range c.Batch { // the last batch has windows too many, which do not count
			w := (from + i) % len(s.held)
			at = append(at, s.held[w])
			seeds = append(seeds, rng.Key{Seed: c.Seed, A: uint32(from + i), B: uint32(2 * c.Batch), Purpose: rng.Adversarial}.Uint64(0))
		}
		s.recorded(at, pairs)
		if err := s.roll(net, be, at, seeds, pairs, nil, 0); err != nil {
			return j, nil, err
		}
		l := d.logits(pairs)
		each := nats(l, pairs)
		count := min(c.Batch, total-from)
		for i := range count {
			saved[(from+i)%len(s.held)] += (each[i] + each[c.Batch+i]) / (2 * judgings)
		}
		correct += right(l, pairs, count)
		cells.add(s, at[:count], pairs)
	}
	j.Right = float64(correct) / float64(2*total)
	for _, v := range saved {
		j.Nats += v / float64(len(saved))
	}
	j.Drift = cells.error()
	return j, saved, nil
}
