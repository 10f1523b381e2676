package agent

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
)

// Trainer trains a DDQN in a vector of environments: every row acts, what
// happened is stored, and the network learns, in one loop without threads of
// its own. Equal seeds give equal weights, whatever the threads of the
// backend below and whether the vector is local or remote.
type Trainer struct {
	Agent *DDQN
	Seed  uint64

	v    env.Vector
	spec env.Spec

	replay    *replay
	collector *collector

	steps    int64 // transitions taken
	ticks    int64 // steps of the whole vector
	due      int64 // transitions since the last training
	episodes int64
	saves    int64 // of a vector that takes no snapshots: see Save

	obs     []float32 // [N,D], what the next actions go by
	fresh   []uint8   // [N], 1 with NextStep where the row's next step only resets it
	returns []float64 // [N], of the episodes under way
	recent  []float64 // of the last episodes, at most recentEpisodes, a ring
	reward  mean
	loss    mean
	target  mean

	actions   []int32
	out, part env.Batch
	over      []int
	begun     bool // obs are set
	torn      bool // a step failed: what v did of it is not known
}

// recentEpisodes is how many returns Progress.Return is the mean of.
const recentEpisodes = 100

// mean is a mean since it was last taken.
type mean struct{ Sum, N float64 }

func (m *mean) add(x float64) { m.Sum += x; m.N++ }

func (m *mean) take() float64 {
	x := m.Sum / m.N // NaN where there is none
	*m = mean{}
	return x
}

var errNoVector = errors.New("there are no environments to train in: the vector is nil")

// NewTrainer makes an agent for v and what trains it. Row i of v begins from
// seed+i. v stays the caller's. be is as in NewDDQN.
func NewTrainer(c Config, v env.Vector, seed uint64, be *compute.Backend) (*Trainer, error) {
	if v == nil {
		return nil, fmt.Errorf("agent: trainer: %w", errNoVector)
	}
	d, err := NewDDQN(c, spacesOf(v), seed, be)
	if err != nil {
		return nil, err
	}
	return newTrainer(d, v, seed), nil
}

func newTrainer(d *DDQN, v env.Vector, seed uint64) *Trainer {
	c, n := d.Config, v.Num()
	return &Trainer{
		Agent: d, Seed: seed, v: v, spec: v.Spec(),
		replay:    newReplay(c.Replay, d.dim, d.s, c.Prioritised),
		collector: newCollector(n, c.NStep, d.dim, d.s, c.Gamma),
		obs:       make([]float32, n*d.dim), fresh: make([]uint8, n), returns: make([]float64, n),
		actions: make([]int32, n*d.s),
	}
}

// Progress is how far training is. What is not known yet is NaN.
type Progress struct {
	Steps, Total int64 // transitions
	Updates      int64
	Episodes     int64
	Epsilon      float64
	Return       float64 // mean of the last 100 episodes'
	Reward       float64 // mean of a transition's since the last report
	Loss, Target float64 // means since the last report: of the loss, of what Q-values should be
}

func (t *Trainer) progress() Progress {
	p := Progress{
		Steps: t.steps, Total: t.Agent.Config.Steps, Updates: t.Agent.updates, Episodes: t.episodes,
		Epsilon: t.Agent.Config.epsilon(t.steps), Reward: t.reward.take(), Loss: t.loss.take(), Target: t.target.take(),
	}
	var m mean
	for _, r := range t.recent {
		m.add(r)
	}
	p.Return = m.take()
	return p
}

// Train goes on until Config.Steps transitions are taken, and calls report
// each time that a multiple of every is passed, and at the end; at the end alone
// where every is below 1, never where report is nil. An error of report ends
// training.
//
// An error leaves the agent as it was after the last whole step; files are
// not touched. Errors: those of v and of report, the context's, a reward or an
// observation that is not finite (*env.RowError inside), and learning
// that diverged.
func (t *Trainer) Train(ctx context.Context, every int64, report func(Progress) error) error {
	if !t.begun {
		if err := t.reset(ctx, t.Seed); err != nil {
			return fmt.Errorf("agent: train: %w", err)
		}
	}
	if every < 1 {
		every = math.MaxInt64
	}
	next := nextMultiple(t.steps, every)
	for t.steps < t.Agent.Config.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.step(ctx); err != nil {
			return fmt.Errorf("agent: train: step %d: %w", t.steps, err)
		}
		if err := t.learn(); err != nil {
			return err
		}
		if t.steps >= next || t.steps >= t.Agent.Config.Steps {
			next = nextMultiple(t.steps, every)
			if report == nil {
				continue
			}
			if err := report(t.progress()); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextMultiple is the first multiple of every after n, and the largest number
// where that would not fit.
func nextMultiple(n, every int64) int64 {
	if n >= math.MaxInt64-every {
		return math.MaxInt64
	}
	return (n/every + 1) * every
}

// reset starts all rows, row i from seed+i.
func (t *Trainer) reset(ctx context.Context, seed uint64) error {
	seeds := make([]uint64, t.v.Num())
	for i := range seeds {
		seeds[i] = seed + uint64(i)
	}
	if t.spec.RealTime {
		seeds = nil
	}
	if err := t.v.Reset(ctx, nil, seeds, &t.out); err != nil {
		return err
	}
	if err := env.CheckBatch(&t.out, t.v.Num(), t.Agent.dim); err != nil {
		return err
	}
	for i := range t.returns {
		if err := env.CheckFinite(t.row(t.out.Obs, i), 0, i, t.spec); err != nil {
			return err
		}
		t.fresh[i], t.returns[i] = 0, 0
		t.collector.forget(i)
	}
	copy(t.obs, t.out.Obs)
	t.begun, t.torn = true, false
	return nil
}

// row is row i of obs [n,D].
func (t *Trainer) row(obs []float32, i int) []float32 {
	return obs[i*t.Agent.dim : (i+1)*t.Agent.dim]
}

// step lets every row act once and stores what happened. The step that only
// resets a row (NextStep), the observation it gives included, is no
// transition and is never stored.
func (t *Trainer) step(ctx context.Context) error {
	d := t.Agent
	d.Act(nil, t.obs, t.actions)
	k := rng.Key{Seed: t.Seed, A: uint32(t.ticks), Purpose: rng.Explore}
	d.explore(k, d.Config.epsilon(t.steps), t.actions)
	t.torn = true
	if err := t.v.Step(ctx, nil, t.actions, &t.out); err != nil {
		return err
	}
	if err := env.CheckBatch(&t.out, t.v.Num(), d.dim); err != nil {
		return err
	}
	same := t.spec.Autoreset == env.SameStep
	for i := range t.returns { // check all of it before storing any
		if err := env.CheckFinite(t.row(t.out.Obs, i), t.out.Reward[i], i, t.spec); err != nil {
			return err
		}
		if same && (t.out.Terminated[i] || t.out.Truncated[i]) {
			if err := env.CheckFinite(t.row(t.out.FinalObs, i), 0, i, t.spec); err != nil {
				return err
			}
		}
	}
	t.ticks++
	t.over = t.over[:0]
	for i := range t.returns {
		if t.fresh[i] == 1 {
			t.fresh[i] = 0
			continue
		}
		terminated, truncated := t.out.Terminated[i], t.out.Truncated[i]
		over := terminated || truncated
		next := t.row(t.out.Obs, i)
		if over && same {
			next = t.row(t.out.FinalObs, i)
		}
		t.collector.step(i, t.row(t.obs, i), t.actions[i*d.s:(i+1)*d.s], t.out.Reward[i], next, terminated, truncated, t.replay)
		t.steps++
		t.due++
		t.returns[i] += float64(t.out.Reward[i])
		t.reward.add(float64(t.out.Reward[i]))
		if over {
			t.finished(i)
			if t.spec.Autoreset == env.NextStep {
				t.fresh[i] = 1
			}
			t.over = append(t.over, i)
		}
	}
	copy(t.obs, t.out.Obs)
	if t.spec.Autoreset == env.Disabled && len(t.over) > 0 {
		if err := t.v.Reset(ctx, t.over, nil, &t.part); err != nil {
			return err
		}
		if err := env.CheckBatch(&t.part, len(t.over), d.dim); err != nil {
			return err
		}
		for j, i := range t.over {
			copy(t.row(t.obs, i), t.row(t.part.Obs, j))
		}
	}
	t.torn = false
	return nil
}

// finished counts the episode of row i.
func (t *Trainer) finished(i int) {
	if len(t.recent) < recentEpisodes {
		t.recent = append(t.recent, t.returns[i])
	} else {
		t.recent[t.episodes%recentEpisodes] = t.returns[i]
	}
	t.returns[i] = 0
	t.episodes++
}

// learn does the updates that are due.
func (t *Trainer) learn() error {
	d := t.Agent
	if t.replay.size < d.Config.Minimum {
		t.due = 0
		return nil
	}
	if !d.fitted {
		d.fit(t.replay.obs[:t.replay.size*d.dim])
	}
	for ; t.due >= int64(d.Config.TrainEvery); t.due -= int64(d.Config.TrainEvery) {
		for range d.Config.Updates {
			share := float64(t.steps) / float64(d.Config.Steps)
			loss, target, err := d.update(t.replay, t.Seed, share)
			if err != nil {
				return err
			}
			t.loss.add(loss)
			t.target.add(target)
		}
	}
	return nil
}
