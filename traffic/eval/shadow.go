package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// ErrShadow is wrapped by the error of an attack by shadow models that cannot be.
var ErrShadow = errors.New("eval: no attack by shadow models")

// perSession is how many shadow models it takes for variances of each session's
// own; with fewer, all sessions share theirs (Carlini et al. 2022, section VI-C).
const perSession = 64

// shadow adds what the likelihood ratio attack finds (LiRA, online; Carlini et al.
// 2022, algorithm 1). As many training sessions as held-out ones are audited.
// Shadow models are fitted as the model was: to the training sessions that are not
// audited, which the attacker knows, and a random half of the audited ones, so that
// each has as many sessions as the model. Two shadows in turn have complementary
// halves. A session's score is how much likelier what the model says of it is among
// shadows that had it than among those that had not, both taken for normal.
//
// What a model says is the session's log-likelihood a step, or of a model without
// a likelihood how near the nearest of its samples is (Chen et al. 2020, "GAN-Leaks").
func (j *judge) shadow(ctx context.Context, c Candidate, r *Row) error {
	a := j.audited()
	target, err := j.evidence(ctx, c.Model, a.sessions, 0)
	if err != nil {
		return err
	}
	said, in := make([][]float64, j.Shadow), make([][]bool, j.Shadow)
	for k := range j.Shadow {
		in[k] = a.half(j.Seed, k)
		m, err := c.Refit(ctx, a.with(in[k]), j.Seed+1+uint64(k))
		if err != nil {
			return fmt.Errorf("%w: shadow model %d of %d: %w", ErrShadow, k+1, j.Shadow, err)
		}
		if said[k], err = j.evidence(ctx, m, a.sessions, 1+uint64(k)); err != nil {
			return fmt.Errorf("shadow model %d: %w", k+1, err)
		}
		if j.Progress != nil {
			j.Progress()
		}
	}
	scores := lira(target, said, in)
	membership(scores[:a.members], scores[a.members:], "shadow", r)
	return nil
}

// audited are the sessions whose membership is asked for, members first, and the
// other training sessions.
type audited struct {
	of       traffic.Schema
	sessions []traffic.Session
	members  int
	others   []traffic.Session
}

func (j *judge) audited() *audited {
	n := min(j.train.Len(), j.held.Len())
	a := &audited{of: j.train.Of, members: n}
	for side, s := range []*traffic.Set{j.train, j.held} {
		chosen := rng.Key{Seed: j.Seed, A: 5, B: uint32(side), Purpose: rng.Judging}.Choose(s.Len(), n)
		slices.Sort(chosen)
		for i, x := range s.Sessions {
			if _, ok := slices.BinarySearch(chosen, i); ok {
				a.sessions = append(a.sessions, x)
			} else if side == 0 {
				a.others = append(a.others, x)
			}
		}
	}
	return a
}

// half says which audited sessions shadow model k has: half of them, and model
// k^1 has the others.
func (a *audited) half(seed uint64, k int) []bool {
	in := make([]bool, len(a.sessions))
	for _, i := range (rng.Key{Seed: seed, A: 6, B: uint32(k / 2), Purpose: rng.Judging}).Choose(len(in), len(in)/2) {
		in[i] = true
	}
	if k%2 == 1 {
		for i := range in {
			in[i] = !in[i]
		}
	}
	return in
}

// with is what a shadow model is fitted to.
func (a *audited) with(in []bool) *traffic.Set {
	s := &traffic.Set{Of: a.of, Sessions: slices.Clone(a.others)}
	for i, x := range a.sessions {
		if in[i] {
			s.Sessions = append(s.Sessions, x)
		}
	}
	return s
}

// evidence is what a model says of sessions. stream separates the samples of models.
func (j *judge) evidence(ctx context.Context, m traffic.Model, sessions []traffic.Session, stream uint64) ([]float64, error) {
	if s, ok := m.(Scorer); ok {
		said, err := score(s, &traffic.Set{Of: j.train.Of, Sessions: sessions})
		if err == nil {
			v := said.perStep()
			if i := slices.IndexFunc(v, func(x float64) bool { return x-x != 0 }); i >= 0 {
				return nil, fmt.Errorf("%w: the log-likelihood of audited session %d is %v", ErrShadow, i, v[i])
			}
			return v, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	drawn, err := traffic.Collect(m.Schema(), m.Sample(ctx, traffic.Request{N: j.N, Seed: j.Seed + stream<<32, MaxSteps: j.MaxSteps}))
	if err != nil {
		return nil, err
	}
	if drawn, err = relabel(drawn, &j.train.Of); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShadow, err)
	}
	return newGower(j.train, j.Steps).nearest(sessions, drawn.Sessions), nil
}

// lira is, by session, ln of the ratio of two normal densities at what the target
// said: that of what shadows said that had it, and of those that had not. said and
// in are by shadow and session.
func lira(target []float64, said [][]float64, in [][]bool) []float64 {
	type normal struct{ n, mean, squares float64 }
	fits := [2][]normal{make([]normal, len(target)), make([]normal, len(target))} // out, in
	var squares, free [2]float64
	for i := range target {
		for k := range said {
			side := 0
			if in[k][i] {
				side = 1
			}
			f := &fits[side][i]
			f.n++
			d := said[k][i] - f.mean
			f.mean += d / f.n
			f.squares += d * (said[k][i] - f.mean)
		}
		for side := range fits {
			squares[side] += fits[side][i].squares
			free[side] += fits[side][i].n - 1
		}
	}
	score := make([]float64, len(target))
	for i, x := range target {
		for side, sign := range []float64{-1, 1} {
			f := fits[side][i]
			variance := squares[side] / free[side]
			if len(said) >= perSession {
				variance = f.squares / (f.n - 1)
			}
			variance = max(variance, 1e-12) // a model that says the same whatever it is fitted to
			d := x - f.mean
			score[i] += sign * (-d*d/(2*variance) - math.Log(variance)/2)
		}
	}
	return score
}

// gower is a distance of sessions: the mean over fields, of the first steps and of
// the session, of 0 or 1 where they are symbols, ports or addresses, and of the
// difference over the range of training, in logarithms, of numbers (Gower 1971). A
// step that one of two has alone is 1 apart.
type gower struct {
	of    *traffic.Schema
	steps int
	width []float64 // by field of a step: range of ln(1+|x|), signed; 0: no number
	meta  []float64
}

func newGower(train *traffic.Set, steps int) *gower {
	g := &gower{of: &train.Of, steps: steps}
	spread := func(fields []traffic.Field, of func(s *traffic.Session) []float64) []float64 {
		lo, hi, width := make([]float64, len(fields)), make([]float64, len(fields)), make([]float64, len(fields))
		for f := range fields {
			lo[f], hi[f] = math.Inf(1), math.Inf(-1)
		}
		for i := range train.Sessions {
			for k, x := range of(&train.Sessions[i]) {
				f := k % len(fields)
				lo[f], hi[f] = min(lo[f], logarithm(fields[f].Kind, x)), max(hi[f], logarithm(fields[f].Kind, x))
			}
		}
		for f, fd := range fields {
			switch fd.Kind {
			case traffic.Number, traffic.Size, traffic.Gap:
				width[f] = max(hi[f]-lo[f], 1e-9)
			}
		}
		return width
	}
	g.width = spread(train.Of.Steps, func(s *traffic.Session) []float64 { return s.Steps })
	g.meta = spread(train.Of.Meta, func(s *traffic.Session) []float64 { return s.Meta })
	return g
}

// logarithm is ln(1+|x|) with the sign of x; of times in µs.
func logarithm(k traffic.Kind, x float64) float64 {
	if k == traffic.Gap {
		x *= 1e6
	}
	return math.Copysign(math.Log1p(math.Abs(x)), x)
}

// point is a session as distances need it: logarithms of numbers over their range.
type point struct {
	label, n    int
	meta, steps []float64
}

func (g *gower) point(s *traffic.Session) point {
	p := point{label: s.Label, n: min(g.of.Len(s), g.steps)}
	scaled := func(x []float64, fields []traffic.Field, width []float64) []float64 {
		v := make([]float64, len(x))
		for i := range x {
			v[i] = x[i]
			if w := width[i%len(fields)]; w > 0 {
				v[i] = logarithm(fields[i%len(fields)].Kind, x[i]) / w
			}
		}
		return v
	}
	p.meta = scaled(s.Meta, g.of.Meta, g.meta)
	p.steps = scaled(s.Steps[:p.n*len(g.of.Steps)], g.of.Steps, g.width)
	return p
}

// distance is that of two sessions, or more than most.
func (g *gower) distance(a, b *point, most float64) float64 {
	steps := max(a.n, b.n)
	terms := float64(1 + len(a.meta) + steps*len(g.width))
	sum := float64(max(a.n-b.n, b.n-a.n) * len(g.width))
	if a.label != b.label {
		sum++
	}
	add := func(x, y []float64, width []float64) {
		for i := range x {
			if width[i] == 0 {
				if x[i] != y[i] {
					sum++
				}
			} else {
				sum += min(math.Abs(x[i]-y[i]), 1)
			}
		}
	}
	add(a.meta, b.meta, g.meta)
	w := len(g.width)
	for t := 0; t < min(a.n, b.n) && sum <= most*terms; t++ {
		add(a.steps[t*w:][:w], b.steps[t*w:][:w], g.width)
	}
	return sum / terms
}

// nearest is, by session, less its distance to the nearest of drawn.
func (g *gower) nearest(sessions, drawn []traffic.Session) []float64 {
	points := make([]point, len(drawn))
	for i := range drawn {
		points[i] = g.point(&drawn[i])
	}
	v := make([]float64, len(sessions))
	for i := range sessions {
		p, best := g.point(&sessions[i]), 1.
		for k := range points {
			best = min(best, g.distance(&p, &points[k], best))
		}
		v[i] = -best
	}
	return v
}
