package autoregressive

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// lanes is how many sessions are sampled side by side.
const lanes = 256

// Sample draws sessions: label and classes of meta as often as training had
// them together, then step after step. Sessions start as far apart as runs of
// 32 of training's did. Sessions are sampled side by side, a place going to the
// next session when one ends; what a session is depends on neither.
func (m *Model) Sample(ctx context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		if err := m.check(&r); err != nil {
			yield(traffic.Session{}, err)
			return
		}
		if r.N == 0 {
			return
		}
		s := m.newStream(&r, compute.Fastest())
		start := 0.
		for i := range r.N {
			x, err := s.next(ctx)
			if err != nil {
				yield(traffic.Session{}, err)
				return
			}
			start += m.census.Pause(r.Seed, i)
			x.Start = start
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (m *Model) check(r *traffic.Request) error {
	if m.state != nil {
		return fmt.Errorf("%w: the model's training has not ended (%d of %d updates): go on with it", traffic.ErrRequest, m.Updates, m.Config.Updates)
	}
	return m.census.Check(r, m.Schema())
}

// stream samples the sessions of a request in order.
type stream struct {
	m       *Model
	r       *traffic.Request
	most    int
	sampler *seq.Sampler
	begun   int               // sessions that have a place or had one
	given   int               // sessions that next gave
	done    []traffic.Session // a ring: session i is done[i%len], complete where ready
	ready   []bool
	lane    []lane
	rows    []int // lanes in use
	tokens  []int32
	values  []int32
	prefix  []int32 // classes of the request's prefix
}

// lane is a place with a session that has not ended.
type lane struct {
	session int
	step    int
	about   []int32
	last    []int32 // classes of the step before
	past    *tokens.Past
	x       traffic.Session
}

func (m *Model) newStream(r *traffic.Request, kernels compute.Kernels) *stream {
	n := min(r.N, lanes)
	s := &stream{m: m, r: r, most: m.census.Longest, sampler: m.net.NewSampler(compute.NewBackend(kernels, 1), n)}
	if m.census.MaxSteps > 0 {
		s.most = m.census.MaxSteps
	}
	if r.MaxSteps > 0 {
		s.most = r.MaxSteps
	}
	s.done, s.ready = make([]traffic.Session, 4*n), make([]bool, 4*n)
	s.lane = make([]lane, n)
	for i := range s.lane {
		s.rows = append(s.rows, i)
		s.lane[i].session = -1
		s.lane[i].about = make([]int32, 1+len(m.codec.Meta))
		s.lane[i].last = make([]int32, len(m.codec.Steps))
		s.lane[i].past = m.census.Past(m.codec)
	}
	s.tokens = make([]int32, n*len(m.net.Embeddings))
	s.values = make([]int32, len(m.codec.Steps))
	if r.Prefix != nil {
		s.prefix = m.codec.Classes(r.Prefix, nil)
	}
	return s
}

// next is the next session.
func (s *stream) next(ctx context.Context) (traffic.Session, error) {
	at := s.given % len(s.done)
	for !s.ready[at] {
		if err := ctx.Err(); err != nil {
			return traffic.Session{}, err
		}
		s.step()
	}
	if err := ctx.Err(); err != nil {
		return traffic.Session{}, err
	}
	s.ready[at] = false
	s.given++
	return s.done[at], nil
}

// begin gives lane k the next session.
func (s *stream) begin(k int) {
	l := &s.lane[k]
	l.session, l.step = s.begun, 0
	l.x = s.m.codec.Begin(s.m.census, s.r, s.begun, l.about)
	l.past.Begin(l.about)
	s.begun++
	s.sampler.Reset([]int{k})
}

// step advances every session by one step, after giving free places away.
func (s *stream) step() {
	m := s.m
	s.rows = s.rows[:0]
	for k := range s.lane {
		if s.lane[k].session < 0 && s.begun < s.r.N && s.begun-s.given < len(s.done) {
			s.begin(k)
		}
		if s.lane[k].session >= 0 {
			s.rows = append(s.rows, k)
		}
	}
	e := len(m.net.Embeddings)
	for i, k := range s.rows {
		l := &s.lane[k]
		in := s.tokens[i*e:][:e]
		m.inputs(in, l.last, min(l.step, 1), l.about) // the step before is all that last has
		in[len(m.codec.Steps)] = tokens.Position(l.step)
	}
	s.sampler.Step(s.rows, s.tokens[:len(s.rows)*e], nil)
	cols := len(m.codec.Steps)
	for i, k := range s.rows {
		l := &s.lane[k]
		if l.step*cols < len(s.prefix) {
			copy(l.last, s.prefix[l.step*cols:][:cols])
		} else if !s.draw(i, l) {
			s.finish(l)
			continue
		}
		l.past.Add(l.last)
		if l.step++; l.step >= s.most && l.step*cols >= len(s.prefix) {
			s.finish(l)
		}
	}
}

func (s *stream) finish(l *lane) {
	at := l.session % len(s.done)
	s.done[at], s.ready[at] = l.x, true
	l.session = -1
}

// draw draws the next step of entry i, false where the session ends.
func (s *stream) draw(i int, l *lane) bool {
	m := s.m
	key := rng.Key{Seed: s.r.Seed, A: uint32(l.session), B: uint32(1 + l.step), Purpose: rng.SessionSteps}
	first := m.weights(s.sampler, i, 0, s.values, l.past)
	if l.step == 0 { // a session has one step at least
		first[m.end()] = 0
	}
	if s.values[0] = seq.Pick(first, key.Float64(0)); s.values[0] == m.end() {
		return false
	}
	at := len(l.x.Steps)
	width := len(m.codec.Schema.Steps)
	if at+width > cap(l.x.Steps) {
		l.x.Steps = slices.Grow(l.x.Steps, max(width*min(s.most, 16), at))
	}
	l.x.Steps = l.x.Steps[:at+width]
	row := l.x.Steps[at:]
	for h := range m.codec.Steps {
		if h > 0 {
			s.values[h] = seq.Pick(m.weights(s.sampler, i, h, s.values, l.past), key.Float64(uint32(2*h)))
		}
		m.codec.Steps[h].Decode(s.values[h], key.Float64(uint32(2*h+1)), row)
	}
	copy(l.last, s.values)
	return true
}

// weights are entry i's of column h, given the step's earlier columns; what
// training never had together, or after what the session has, counts little.
func (m *Model) weights(sampler *seq.Sampler, i, h int, classes []int32, past *tokens.Past) []float32 {
	w := sampler.Weights(i, h, classes)
	past.Weigh(w, h, classes)
	return w
}

// Parts names what LogProb gives: "steps", then each field with bins.
func (m *Model) Parts() []string {
	p := []string{"steps"}
	for i := range m.codec.Steps {
		if m.codec.Steps[i].Bins != nil {
			p = append(p, m.codec.Steps[i].Name)
		}
	}
	return p
}

// LogProb adds to into the natural logarithm of the probability of each of
// Parts: of all that is exact in the steps with the session's end, then of
// bins, as package ngram's does. It counts the session's steps. Values that
// training had less than Config.Often times share the probability of their
// cell equally.
func (m *Model) LogProb(s *traffic.Session, into []float64) (steps int, err error) {
	if err := m.Schema().Valid(s); err != nil {
		return 0, err
	}
	if n := len(m.Parts()); len(into) != n {
		return 0, fmt.Errorf("autoregressive: %d sums for parts %q", len(into), m.Parts())
	}
	err = m.follow(s, func(t int, sampler *seq.Sampler, classes []int32, before *tokens.Past) {
		part := 0
		for h := range classes {
			if classes[h] < 0 {
				break
			}
			col := &m.codec.Steps[h]
			lp := logProb(m.weights(sampler, 0, h, classes, before), classes[h])
			if col.Bins != nil {
				part++
				into[part] += lp
				continue
			}
			into[0] += lp
			if classes[0] != m.end() {
				into[0] += col.LogShare(classes[h], m.Schema().Step(s, t))
			}
		}
	})
	return m.Schema().Len(s), err
}

func logProb(weights []float32, class int32) float64 {
	sum := 0.
	for _, w := range weights {
		sum += float64(w)
	}
	return math.Log(max(float64(weights[class])/sum, 1e-30))
}

// follow reads a session and calls see before each of its steps, with the
// step's classes; at its end, which a session that was cut has not, with the
// end's class and -1 of others.
func (m *Model) follow(s *traffic.Session, see func(t int, sampler *seq.Sampler, classes []int32, before *tokens.Past)) error {
	sampler, ok := m.scorers.Get().(*seq.Sampler)
	if !ok {
		sampler = m.net.NewSampler(compute.NewBackend(compute.Fastest(), 1), 1)
	}
	defer m.scorers.Put(sampler)
	sampler.Reset(nil)
	about := make([]int32, 1+len(m.codec.Meta))
	m.codec.MetaTokens(s.Label, s.Meta, about)
	before := m.census.Past(m.codec)
	before.Begin(about)
	past, cols := m.codec.Classes(s, nil), len(m.codec.Steps)
	in, out := make([]int32, len(m.net.Embeddings)), make([]int32, cols)
	n := m.Schema().Len(s)
	for t := 0; t < n || t == n && (m.census.MaxSteps == 0 || n < m.census.MaxSteps); t++ {
		m.inputs(in, past, t, about)
		sampler.Step(nil, in, nil)
		if t < n {
			copy(out, past[t*cols:])
		} else {
			for h := range out {
				out[h] = -1
			}
			out[0] = m.end()
		}
		see(t, sampler, out, before)
		if t < n {
			before.Add(out)
		}
	}
	return nil
}
