package eval

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Estimate is a mean over episodes with its 95 % confidence interval, Mean ±
// CI (Student's t); CI is NaN for fewer than two.
type Estimate struct {
	Mean, CI float64
	N        int
}

// QoE is what a viewer saw, over episodes.
type QoE struct {
	LBO    Estimate // seconds in the player's buffer, mean of an episode's steps
	Level  Estimate // quality level, 0…2 of the ladder, mean of an episode's steps
	Stalls Estimate // seconds stalled in an episode
}

// Evaluation is how a policy did.
type Evaluation struct {
	Returns []float64 // undiscounted, in the order of the seeds
	Return  Estimate
	Length  Estimate    // steps
	QoE     *QoE        // nil where the environment reports no player
	Shares  [][]float64 // [S][n]: how often each action was taken
}

// Over estimates how much higher e's returns are than other's, episode by
// episode: both were evaluated with the same seeds. What episodes differ in
// cancels out, so that it tells policies apart which the means do not.
func (e *Evaluation) Over(other *Evaluation) Estimate {
	d := make([]float64, min(len(e.Returns), len(other.Returns)))
	for i := range d {
		d[i] = e.Returns[i] - other.Returns[i]
	}
	return EstimateOf(d)
}

// HeldOut are n seeds of evaluation episodes, which training with any seed
// does not use.
func HeldOut(seed uint64, n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = rng.Key{Seed: seed, A: uint32(i), Purpose: rng.Evaluation}.Uint64(0)
	}
	return seeds
}

// Evaluate plays one episode per seed, as many at a time as v has rows; what
// comes out does not depend on how many that is. record, where not nil, is
// called for every reset and step. In a real-time v, which takes no seeds, theirs only count
// the episodes.
func Evaluate(ctx context.Context, v env.Vector, p agent.Policy, seeds []uint64, record *episodes.Writer) (*Evaluation, error) {
	if len(seeds) == 0 {
		return nil, errors.New("agent: evaluate: no seeds are given")
	}
	spec := v.Spec()
	e := evaluator{
		v: v, policy: p, spec: spec, dim: spec.Observation.Dim(), s: len(spec.Action), seeds: seeds, record: record,
		at: findPlayer(v), rows: make([]playing, v.Num()), done: make([]played, len(seeds)),
	}
	e.obs = make([]float32, v.Num()*e.dim)
	for _, n := range spec.Action {
		e.shares = append(e.shares, make([]float64, n))
	}
	if err := e.run(ctx); err != nil {
		return nil, fmt.Errorf("agent: evaluate: %w", err)
	}
	return e.result(), nil
}

type evaluator struct {
	v      env.Vector
	policy agent.Policy
	spec   env.Spec
	dim, s int
	seeds  []uint64
	record *episodes.Writer
	at     player

	next   int       // the seed that the next episode takes
	obs    []float32 // [Num,D]
	rows   []playing // [Num]
	done   []played  // [len(seeds)]
	shares [][]float64
	info   []float32
}

// playing is the episode that a row is in.
type playing struct {
	episode int // index of its seed
	going   bool
}

// played adds up one episode.
type played struct{ reward, steps, measured, lbo, level, stall float64 } // measured: steps of which the player is known

func (e *evaluator) run(ctx context.Context) error {
	var out env.Batch
	var obs []float32
	var actions []int32
	all := make([]int, 0, len(e.rows))
	for r := range e.rows {
		all = append(all, r)
	}
	if err := e.begin(ctx, all); err != nil {
		return err
	}
	var rows, over []int
	for {
		rows, obs = rows[:0], obs[:0]
		for r := range e.rows {
			if e.rows[r].going {
				rows, obs = append(rows, r), append(obs, e.obs[r*e.dim:(r+1)*e.dim]...)
			}
		}
		if len(rows) == 0 {
			return nil
		}
		actions = telemetry.Grow(actions, len(rows)*e.s)
		e.policy.Act(rows, obs, actions)
		if err := e.v.Step(ctx, rows, actions, &out); err != nil {
			return err
		}
		if err := env.CheckBatch(&out, len(rows), e.dim); err != nil {
			return err
		}
		over = over[:0]
		for i, r := range rows {
			if err := e.take(&out, i, r, actions[i*e.s:(i+1)*e.s]); err != nil {
				return err
			}
			if !e.rows[r].going {
				over = append(over, r)
			}
		}
		if err := e.begin(ctx, over); err != nil {
			return err
		}
	}
}

// begin starts the next episodes in rows, as many as are left.
func (e *evaluator) begin(ctx context.Context, rows []int) error {
	rows = rows[:min(len(rows), len(e.seeds)-e.next)]
	if len(rows) == 0 {
		return nil
	}
	seeds := e.seeds[e.next : e.next+len(rows)]
	given := seeds
	if e.spec.RealTime {
		given = nil
	}
	var out env.Batch
	if err := e.v.Reset(ctx, rows, given, &out); err != nil {
		return err
	}
	if err := env.CheckBatch(&out, len(rows), e.dim); err != nil {
		return err
	}
	e.policy.Begin(rows, seeds)
	for i, r := range rows {
		obs := out.Obs[i*e.dim : (i+1)*e.dim]
		if err := env.CheckFinite(obs, 0, r, e.spec); err != nil {
			return err
		}
		copy(e.obs[r*e.dim:], obs)
		e.rows[r] = playing{episode: e.next + i, going: true}
		if e.record != nil {
			if err := e.record.Begin(r, seeds[i], obs, e.record.InfoOf(e.v, r, false)...); err != nil {
				return err
			}
		}
	}
	e.next += len(rows)
	return nil
}

// take adds row r's result, the i-th of out.
func (e *evaluator) take(out *env.Batch, i, r int, actions []int32) error {
	obs, reward := out.Obs[i*e.dim:(i+1)*e.dim], out.Reward[i]
	over := out.Terminated[i] || out.Truncated[i]
	if over && e.spec.Autoreset == env.SameStep {
		obs = out.FinalObs[i*e.dim : (i+1)*e.dim]
	}
	if err := env.CheckFinite(obs, reward, r, e.spec); err != nil {
		return err
	}
	copy(e.obs[r*e.dim:], obs)
	row := &e.rows[r]
	row.going = !over
	d := &e.done[row.episode]
	d.reward += float64(reward)
	d.steps++
	for j, a := range actions {
		e.shares[j][a]++
	}
	if e.at.ok && e.readInfo(r, over) {
		d.measured++
		d.lbo += float64(e.info[e.at.lbo])
		d.level += float64(telemetry.Level(e.info[e.at.fps]))
		d.stall += float64(e.info[e.at.stall])
	}
	if e.record != nil {
		return e.record.Step(r, actions, reward, out.Terminated[i], out.Truncated[i], obs, e.record.InfoOf(e.v, r, over)...)
	}
	return nil
}

// readInfo sets e.info to what the environment says of row r's last step, and
// reports whether it does. With SameStep the row of an episode that is over has
// been reset: only an env.FinalInformer still knows its last step.
func (e *evaluator) readInfo(r int, over bool) (ok bool) {
	if over {
		e.info, ok = env.FinalInfo(e.v, r, e.info[:0])
		return ok
	}
	e.info = e.v.(env.Informer).Info(r, e.info[:0])
	return true
}

func (e *evaluator) result() *Evaluation {
	var r Evaluation
	n := len(e.done)
	length, stall := make([]float64, n), make([]float64, n)
	var lbo, lev []float64 // of episodes of which some step is known
	var steps float64
	for i, d := range e.done {
		r.Returns = append(r.Returns, d.reward)
		length[i], stall[i] = d.steps, d.stall
		if d.measured > 0 {
			lbo, lev = append(lbo, d.lbo/d.measured), append(lev, d.level/d.measured)
		}
		steps += d.steps
	}
	r.Return, r.Length = EstimateOf(r.Returns), EstimateOf(length)
	if e.at.ok {
		r.QoE = &QoE{EstimateOf(lbo), EstimateOf(lev), EstimateOf(stall)}
	}
	for _, s := range e.shares {
		for a := range s {
			s[a] /= steps
		}
	}
	r.Shares = e.shares
	return &r
}

// player is where Info has the player's values.
type player struct {
	lbo, fps, stall int
	ok              bool
}

func findPlayer(v env.Vector) player {
	i, ok := v.(env.Informer)
	if !ok {
		return player{}
	}
	p := player{-1, -1, -1, false}
	for at, f := range i.InfoFields() {
		switch f.Name {
		case "lbo_s":
			p.lbo = at
		case "fps":
			p.fps = at
		case "stall_s":
			p.stall = at
		}
	}
	p.ok = p.lbo >= 0 && p.fps >= 0 && p.stall >= 0
	return p
}

// EstimateOf is the mean of x, one value an episode, with its 95 % confidence
// interval; of differences by seed it is a paired comparison.
func EstimateOf(x []float64) Estimate {
	n := float64(len(x))
	var mean, square float64
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		square += (v - mean) * (v - mean)
	}
	e := Estimate{Mean: mean, CI: math.NaN(), N: len(x)}
	if len(x) > 1 {
		e.CI = distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(.975) * math.Sqrt(square/(n-1)/n)
	}
	return e
}
