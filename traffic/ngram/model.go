// Package ngram holds the baselines that learned models of traffic must beat:
// bootstrap, Markov chain and Witten-Bell n-gram of a session's steps.
package ngram

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// Modes of a model: what a step depends on beside the session's class.
const (
	Bootstrap  = "bootstrap"   // its position
	Markov     = "markov"      // its position and the step before
	WittenBell = "witten-bell" // the Order steps before, shorter contexts interpolated
)

// Modes lists them.
var Modes = []string{Bootstrap, Markov, WittenBell}

// Config says what to fit. Zero values are the defaults in the comments.
type Config struct {
	Mode  string `toml:"-" json:"-"`         // WittenBell
	Order int    `toml:"order" json:"order"` // 3; of WittenBell
	// MaxSteps is where sessions were cut when they were recorded: one as long
	// has no end to learn from. 0: the longest length, if 2 % of the sessions
	// have it, else none; -1: none.
	MaxSteps int `toml:"max_steps" json:"max_steps"`
	// Condition names symbols of the session that its steps depend on, beside
	// the label; nil: "protocol" where the schema has it.
	Condition []string `toml:"condition" json:"condition,omitempty"`
	// Often is how often training has a size or a port that is a class of its own;
	// rarer ones share cells of a grid of logarithms and are drawn evenly in a
	// cell, so that none can be read out of a file. 0 and 1: every value is kept;
	// of Defaults 3.
	Often int `toml:"often" json:"often"`
	// Epsilon and Delta above 0 make a fit differentially private with respect to
	// adding or removing a session (SetPrivacy); Often is of no account then, and
	// MaxSteps is not found in the data.
	Epsilon float64 `toml:"-" json:"epsilon,omitempty"`
	Delta   float64 `toml:"-" json:"delta,omitempty"`
	// Clip is the norm of what one session adds to all counts of a private fit; 0: 10.
	Clip float64 `toml:"clip" json:"clip,omitempty"`
}

// Variant is the mode: kinds of models that share these settings differ in it.
func (c Config) Variant() string { return c.Mode }

// Defaults makes the default Config of a mode.
func Defaults(mode string) func() Config {
	return func() Config { return Config{Mode: mode, Order: 3, Often: 3} }
}

// Model is a fitted floor.
type Model struct {
	*codec
	mode      string
	order     int
	maxSteps  int   // 0: none
	longest   int   // of training: no sampled session is longer
	condition []int // indices in Meta
	steps     *table
	bins      []*table    // by binned field
	metas     [][]float64 // by training session; classes where the field has such
	labels    []int32
	byLabel   [][]int32 // by label+1: sessions
	starts    []float64 // s between the starts of training sessions
	private   *Private
	often     int // Config.Often of the fit; 0: every value has a class of its own, or classes are public
}

// Settings are those it was fitted with. A cut that was found in the data is one
// of them.
func (m *Model) Settings() Config {
	c := Config{Mode: m.mode, Order: m.order, MaxSteps: m.maxSteps, Condition: []string{}, Often: m.often}
	if c.MaxSteps == 0 {
		c.MaxSteps = -1
	}
	for _, i := range m.condition {
		c.Condition = append(c.Condition, m.schema.Meta[i].Name)
	}
	if p := m.private; p != nil {
		c.Epsilon, c.Delta, c.Clip = p.Epsilon, p.Delta, p.Clip
	}
	return c
}

// Parts names what LogProb gives: "steps", then each field with bins.
func (m *Model) Parts() []string {
	p := []string{"steps"}
	for _, i := range m.binned {
		p = append(p, m.schema.Steps[i].Name)
	}
	return p
}

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.schema }

// conditions are the fields of sessions that names name, symbols all.
func conditions(c *traffic.Schema, names []string) (of []int, err error) {
	for _, name := range names {
		i := c.MetaIndex(name)
		if i < 0 || c.Meta[i].Kind != traffic.Symbol {
			return nil, fmt.Errorf("ngram: condition: sessions have no symbol %q", name)
		}
		of = append(of, i)
	}
	return of, nil
}

// Check reports the first setting that is out of its range.
func (c Config) Check() error {
	switch {
	case c.Mode != "" && !slices.Contains(Modes, c.Mode):
		return fmt.Errorf("ngram: mode: %q is not one of %q", c.Mode, Modes)
	case c.Order < 0 || c.Order > 16:
		return fmt.Errorf("ngram: order: %d is outside 1…16", c.Order)
	case c.MaxSteps < -1:
		return fmt.Errorf("ngram: max_steps: %d is below -1, all steps", c.MaxSteps)
	case !(c.Clip >= 0) || math.IsInf(c.Clip, 0) || c.Clip > 0 && c.Epsilon == 0:
		return fmt.Errorf("ngram: clip: %v; it is of private fits, at least 0 and finite", c.Clip)
	case c.Often < 0:
		return fmt.Errorf("ngram: often: %d is negative", c.Often)
	}
	return nil
}

// Fit counts. It takes memory in proportion to the number of steps.
func Fit(ctx context.Context, src traffic.Source, cfg Config) (*Model, error) {
	if cfg.Mode == "" {
		cfg.Mode = WittenBell
	}
	if cfg.Order == 0 {
		cfg.Order = 3
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if src.Len() == 0 {
		return nil, errors.New("ngram: there is no session to learn from")
	}
	c := src.Schema()
	if err := c.Check(); err != nil {
		return nil, err
	}
	if cfg.Condition == nil && c.MetaIndex("protocol") >= 0 {
		cfg.Condition = []string{"protocol"}
	}
	if cfg.Epsilon != 0 || cfg.Delta != 0 {
		if cfg.Mode != WittenBell {
			return nil, fmt.Errorf("ngram: mode %s has no private fit", cfg.Mode)
		}
		return fitPrivate(ctx, src, cfg, nil)
	}
	m := &Model{codec: newCodec(*c), mode: cfg.Mode, order: cfg.Order}
	if cfg.Often > 1 {
		m.often = cfg.Often
	}
	var err error
	if m.condition, err = conditions(c, cfg.Condition); err != nil {
		return nil, err
	}
	if err := m.learn(src, cfg.Often); err != nil {
		return nil, err
	}
	if err := m.length(src, cfg.MaxSteps); err != nil {
		return nil, err
	}
	m.steps = newTable(m.tokens())
	for k := range m.binned {
		m.bins = append(m.bins, newTable(len(m.uppers[k])))
	}
	var begun []float64
	for i := range src.Len() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := src.At(i)
		if err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		meta := slices.Clone(s.Meta)
		for k, w := range m.of {
			if w != nil {
				meta[k] = float64(w.Encode(int64(meta[k])))
			}
		}
		m.metas = append(m.metas, meta)
		m.labels = append(m.labels, int32(s.Label))
		begun = append(begun, s.Start)
		m.each(&s, func(context []int32, token int32) { m.steps.add(context, token) },
			func(k int, context []int32, b int32) { m.bins[k].add(context, b) })
	}
	m.steps.done()
	for _, t := range m.bins {
		t.done()
	}
	slices.Sort(begun)
	m.starts = []float64{0}
	for i := 1; i < len(begun); i++ {
		m.starts = append(m.starts, begun[i]-begun[i-1])
	}
	m.sort()
	return m, nil
}

// length finds the longest session, and where sessions were cut.
func (m *Model) length(src traffic.Source, maxSteps int) error {
	at := 0
	for i := range src.Len() {
		s, err := src.At(i)
		if err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		switch n := m.schema.Len(&s); {
		case n > m.longest:
			m.longest, at = n, 1
		case n == m.longest:
			at++
		}
	}
	if m.longest == 0 {
		return errors.New("ngram: no session has a step")
	}
	switch {
	case maxSteps > 0:
		m.maxSteps = maxSteps
	case maxSteps == 0 && m.longest > 1 && 50*at >= src.Len():
		m.maxSteps = m.longest
	}
	return nil
}

func (m *Model) sort() {
	m.byLabel = make([][]int32, len(m.schema.Labels)+1)
	for i, l := range m.labels {
		m.byLabel[l+1] = append(m.byLabel[l+1], int32(i))
	}
}

// class is what all contexts of a session begin with.
func (m *Model) class(label int, meta []float64) int32 {
	x := label + 1
	for _, i := range m.condition {
		x = x*len(m.schema.Meta[i].Levels) + int(meta[i])
	}
	return int32(x)
}

// history is what contexts are made of while a session goes by.
type history struct {
	m       *Model
	class   int32
	at      int32
	past    []int32 // tokens, nearest first, at most order
	last    []int32 // by binned field: the bin of the step before; -1
	context []int32
	nodes   []int32
}

func (m *Model) begin(label int, meta []float64) *history {
	h := &history{m: m, class: m.class(label, meta), last: make([]int32, len(m.binned))}
	for k := range h.last {
		h.last[k] = -1
	}
	return h
}

// opening fills a context before the first token.
const opening = -2

// maxPosition is the last position with a context of its own.
const maxPosition = 63

// step is the context of the next token. Contexts are trees by their first
// symbol: the class, so that all shorter ones know it too.
func (h *history) step() []int32 {
	c := append(h.context[:0], h.class)
	at := min(h.at, maxPosition)
	switch h.m.mode {
	case Bootstrap:
		c = append(c, at)
	case Markov:
		c = append(c, at)
		c = append(c, append(h.past, opening)[0])
	default:
		c = append(c, h.past...)
		if len(h.past) < h.m.order {
			c = append(c, opening)
		}
	}
	h.context = c
	return c
}

// bin is the context of binned field k of a step with a token.
func (h *history) bin(k int, token int32) []int32 {
	h.context = append(h.context[:0], h.class, token)
	if h.m.mode == Bootstrap {
		h.context[1] = min(h.at, maxPosition)
		return h.context
	}
	h.context = append(h.context, h.last[k])
	return h.context
}

func (h *history) push(token int32) {
	h.at++
	if len(h.past) < h.m.order {
		h.past = append(h.past, 0)
	}
	copy(h.past[1:], h.past)
	h.past[0] = token
}

// each calls token and bin for all that is learned of a session.
func (m *Model) each(s *traffic.Session, token func([]int32, int32), bin func(int, []int32, int32)) {
	h := m.begin(s.Label, s.Meta)
	var key []byte
	n := m.schema.Len(s)
	for t := range n {
		step := m.schema.Step(s, t)
		var v int32
		v, key = m.token(key, step)
		token(h.step(), v)
		for k, i := range m.binned {
			b := m.bin(k, step[i])
			bin(k, h.bin(k, v), b)
			h.last[k] = b
		}
		h.push(v)
	}
	if m.maxSteps == 0 || n < m.maxSteps {
		token(h.step(), end)
	}
}

// LogProb adds to into the natural logarithm of the probability of each of
// Parts: tokens with the session's end, then bins. Tokens that training had
// not share 1e-3; values of a cell share its probability equally. It counts
// the session's steps.
func (m *Model) LogProb(s *traffic.Session, into []float64) (steps int, err error) {
	if err := m.schema.Valid(s); err != nil {
		return 0, err
	}
	if len(into) != 1+len(m.binned) {
		return 0, fmt.Errorf("ngram: %d sums for parts %q", len(into), m.Parts())
	}
	var nodes []int32
	for t := range m.schema.Len(s) {
		into[0] += m.logShare(m.schema.Step(s, t))
	}
	m.each(s, func(context []int32, v int32) {
		if v < 0 {
			into[0] += m.unseen
			return
		}
		nodes = m.steps.walk(context, nodes[:0])
		into[0] += math.Log1p(-unseenShare) + math.Log(m.steps.prob(nodes, v))
	}, func(k int, context []int32, b int32) {
		nodes = m.bins[k].walk(context, nodes[:0])
		into[1+k] += math.Log(m.bins[k].prob(nodes, b))
	})
	return m.schema.Len(s), nil
}

// Sample draws sessions: label and meta of a session of training, then step
// after step. Sessions start as far apart as runs of 32 of training's did.
func (m *Model) Sample(ctx context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		if err := m.check(&r); err != nil {
			yield(traffic.Session{}, err)
			return
		}
		start := 0.
		for i := range r.N {
			if err := ctx.Err(); err != nil {
				yield(traffic.Session{}, err)
				return
			}
			const run = 32
			first := rng.Key{Seed: r.Seed, A: uint32(i / run), Purpose: rng.SessionStart}.Intn(0, len(m.starts))
			if i > 0 {
				start += m.starts[(first+i%run)%len(m.starts)]
			}
			s := m.session(i, &r)
			s.Start = start
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (m *Model) check(r *traffic.Request) error {
	if err := r.Check(&m.schema); err != nil {
		return err
	}
	for _, l := range r.Labels {
		if len(m.byLabel[l+1]) == 0 {
			return fmt.Errorf("%w: no session of training has label %d %q", traffic.ErrRequest, l, m.schema.LabelName(l))
		}
	}
	return nil
}

func (m *Model) session(i int, r *traffic.Request) traffic.Session {
	key, n := rng.Key{Seed: r.Seed, A: uint32(i), Purpose: rng.SessionSteps}, uint32(0)
	uniform := func() float64 { n++; return key.Float64(n - 1) }
	pick := func(k int) int { return min(int(uniform()*float64(k)), k-1) }
	var s traffic.Session
	from := pick(len(m.labels))
	s.Label = int(m.labels[from])
	if len(r.Labels) > 0 {
		s.Label = r.Labels[i%len(r.Labels)]
		of := m.byLabel[s.Label+1]
		from = int(of[pick(len(of))])
	}
	s.Meta = slices.Clone(m.metas[from])
	for k, w := range m.of {
		s.Meta[k] = value(w, s.Meta[k], uniform)
	}
	if r.Prefix != nil {
		s.Meta = slices.Clone(r.Prefix.Meta)
		if len(r.Labels) == 0 {
			s.Label = r.Prefix.Label
		}
	}
	h := m.begin(s.Label, s.Meta)
	if r.Prefix != nil {
		m.follow(h, r.Prefix)
		s.Steps = slices.Clone(r.Prefix.Steps)
	}
	most := m.longest
	if m.maxSteps > 0 {
		most = m.maxSteps
	}
	if r.MaxSteps > 0 {
		most = r.MaxSteps
	}
	smooth := m.mode == WittenBell
	for int(h.at) < most {
		h.nodes = m.steps.walk(h.step(), h.nodes[:0])
		v := m.steps.draw(h.nodes, smooth, uniform)
		for v == end && h.at == 0 {
			v = m.steps.draw(h.nodes, true, uniform) // a session has one step at least
		}
		if v == end {
			break
		}
		at := len(s.Steps)
		s.Steps = append(s.Steps, make([]float64, len(m.schema.Steps))...)
		for k, f := range m.exact {
			s.Steps[at+f] = value(m.words[k], m.vocab[int(v)*len(m.exact)+k], uniform)
		}
		for k, f := range m.binned {
			h.nodes = m.bins[k].walk(h.bin(k, v), h.nodes[:0])
			b := m.bins[k].draw(h.nodes, smooth, uniform)
			s.Steps[at+f] = m.inBin(k, b, uniform())
			h.last[k] = b
		}
		h.push(v)
	}
	return s
}

// follow takes a session's steps in as the past.
func (m *Model) follow(h *history, s *traffic.Session) {
	var key []byte
	for t := range m.schema.Len(s) {
		step := m.schema.Step(s, t)
		var v int32
		v, key = m.token(key, step)
		for k, i := range m.binned {
			h.last[k] = m.bin(k, step[i])
		}
		h.push(v)
	}
}
