package doppelganger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// likelihood is the mode without critics: the same classes of the same fields,
// drawn one after another by internal/seq. A step of its network is a field,
// its sites: the session's fields and its outline, then the fields of a step, its kind
// first, and whether the session goes on, again for every step. Sessions in it are of the codec's inner schema.
type likelihood struct {
	k      *codec
	c      Config
	net    *seq.Model
	sites  []*classes // of the session's fields, then of a step's; nil: goes on
	at     []int      // where a site's classes begin among all
	meta   int        // sites of the session
	inputs int        // tokens of a position
}

func newLikelihood(k *codec, c Config) (*likelihood, error) {
	l := &likelihood{k: k, c: c, meta: len(k.Meta) + len(k.Outline)}
	for i := range k.Meta {
		l.sites = append(l.sites, &k.Meta[i])
	}
	for i := range k.Outline {
		l.sites = append(l.sites, &k.Outline[i])
	}
	for i := range k.Steps {
		l.sites = append(l.sites, &k.Steps[i])
	}
	l.sites = append(l.sites, nil)
	n := 0
	var heads []seq.Head
	for i, s := range l.sites {
		l.at = append(l.at, n)
		size := 2
		if s != nil {
			size = s.len()
		}
		heads = append(heads, seq.Head{Name: fmt.Sprintf("%d", i), Size: size})
		n += size
	}
	in := []seq.Embedding{{Name: "value", Size: n, Dim: 24}, {Name: "site", Size: len(l.sites), Dim: 12},
		{Name: "label", Size: len(k.Labels), Dim: 8}, {Name: "chunk", Size: k.Chunks, Dim: 8}, {Name: "place", Size: tokens.Positions, Dim: 8}}
	in = append(in, k.outlineEmbeddings()...)
	l.inputs = len(in)
	var err error
	l.net, err = seq.New(seq.Config{Embeddings: in, Hidden: c.Hidden, Heads: heads}, c.seed)
	return l, err
}

// fields is how many sites a step has.
func (l *likelihood) fields() int { return len(l.sites) - l.meta }

// values are the classes of a session at its sites: the session's fields, then
// steps from … to.
func (l *likelihood) values(s *traffic.Session, from, to int) []int32 {
	k := l.k
	var v []int32
	for j, x := range s.Meta {
		v = append(v, k.Meta[j].encode(x))
	}
	v = append(v, k.outlineOf(s)...)
	n := k.in.Len(s)
	for t := from; t < to; t++ {
		for j, x := range k.in.Step(s, t) {
			v = append(v, k.Steps[j].encode(x))
		}
		on := int32(1)
		if t == n-1 {
			on = 0
		}
		v = append(v, on)
	}
	return v
}

// site is the site of a position in a sequence.
func (l *likelihood) site(pos int) int {
	if pos < l.meta {
		return pos
	}
	return l.meta + (pos-l.meta)%l.fields()
}

// place is the token of where in its session the step of a position is; the
// sequence begins with step from.
func (l *likelihood) place(pos, from int) int32 {
	return tokens.Position(from + max(pos-l.meta, 0)/l.fields())
}

// sized reports whether a site is a size that kinds say is 0, and whether one does.
func (l *likelihood) sized(site int, kind int32) (gated, zero bool) {
	f := l.k.fields
	if l.k.Kinds == nil || site < l.meta || site == len(l.sites)-1 || !slices.Contains(l.k.Kinds.Sizes, f[site-l.meta]) {
		return false, false
	}
	return true, !l.k.Kinds.has(int(kind), f[site-l.meta])
}

// weigh changes the weights of a site's classes: of kinds, those in allowed alone
// keep theirs, of a size that is not 0 the class of 0 has none, nor have those above the
// session's largest; the length is of its class; where no kind is allowed after a step, the session ends.
func (l *likelihood) weigh(w []float32, site int, gated bool, allowed uint64, o *outline) []float32 {
	if f := site - l.meta; f >= 0 && f < len(l.k.in.Steps) {
		o.limit(w, f)
	}
	switch c := l.sites[site]; {
	case site == l.meta && l.k.Kinds != nil:
		weigh(w, allowed)
	case c == nil:
		if l.k.Kinds != nil && allowed == 0 {
			w[1] *= unseen
		} else {
			o.end(w)
		}
	case gated && len(c.Exact) > 0 && c.Exact[0] == 0 && len(w) > 1:
		w[0] = 0
	}
	return w
}

// A sequence of training is up to windowSteps steps of a session, behind the
// session's fields. Of a later one the first overlap steps give the state a past and do
// not count, nor do the fields. Batches have batch sequences of up to shortSteps, or
// fewer longer ones.
const (
	shortSteps  = 10
	windowSteps = 40
	overlap     = 6
)

// fill puts a session's steps from from on into a row of b. hidden tells which
// inputs are left out.
func (l *likelihood) fill(b *seq.Batch, row int, s *traffic.Session, from int, hidden func(pos int) bool) {
	v := l.values(s, from, min(from+windowSteps, l.k.in.Len(s)))
	heads, inputs := len(l.sites), l.inputs
	chunk, kind := int32(l.k.chunk(s.Start)), int32(0)
	o := l.k.newOutlineAt(v[len(l.k.Meta):l.meta])
	for t := range from {
		o.step(l.k.in.Step(s, t))
	}
	for pos := range b.Steps {
		i := pos*b.Rows + row
		tok, val := b.Tokens[i*inputs:][:inputs], b.Values[i*heads:][:heads]
		for h := range val {
			val[h] = -1
		}
		for t := range tok {
			tok[t] = -1
		}
		if pos >= len(v) {
			continue
		}
		site := l.site(pos)
		tok[1], tok[2], tok[3], tok[4] = int32(site), int32(s.Label+1), chunk, l.place(pos, from)
		if site == len(l.sites)-1 {
			o.step(l.k.in.Step(s, from+(pos-l.meta)/l.fields()))
		}
		o.tokens(tok[5:], pos-len(l.k.Meta))
		if pos > 0 && !hidden(pos) {
			tok[0] = int32(l.at[l.site(pos-1)]) + v[pos-1]
		}
		if site == l.meta {
			kind = v[pos]
		}
		if _, zero := l.sized(site, kind); !zero && (from == 0 || pos >= l.meta+overlap*l.fields()) {
			val[site] = v[pos]
		}
	}
}

func (l *likelihood) batch(steps, rows int) *seq.Batch {
	n := steps * rows
	return &seq.Batch{Steps: steps, Rows: rows, Tokens: make([]int32, n*l.inputs), Values: make([]int32, n*len(l.sites))}
}

// Below few steps a set has none to spare: a tenth of it says little about when to stop, and
// what is learnt until then is too little. All of it is trained on, to the end, and weights
// decay more.
const (
	few      = 2000
	decay    = 1e-2
	decayFew = .3
)

// fitLikelihood trains on nine tenths of the sessions and keeps the weights,
// out of Checks candidates, under which 500 of the others are likeliest. With
// few steps, or fewer than 100 sessions, all are for both.
func (m *Model) fitLikelihood(ctx context.Context, be *compute.Backend, set *traffic.Set, parent, from *Model, o traffic.FitOptions) error {
	c := m.Config
	l, err := newLikelihood(m.codec, c)
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	if parent != nil {
		l.net = parent.lm.net.Clone()
	}
	all := m.codec.inner(&traffic.Set{Of: set.Of, Sessions: nonEmpty(set)}).Sessions
	steps := 0
	for i := range all {
		steps += m.codec.in.Len(&all[i])
	}
	train, held, decay := all, all, decay
	if steps < few {
		decay = decayFew
	} else if len(all) >= 100 {
		train, held = nil, nil
		for i, s := range all {
			if i%10 == 9 {
				held = append(held, s)
			} else {
				train = append(train, s)
			}
		}
	}
	held = held[:min(len(held), 500)]
	var lengths []int
	for i := range train {
		lengths = append(lengths, m.codec.in.Len(&train[i]))
	}
	schedule := tokens.NewSchedule(lengths, shortSteps, windowSteps, c.Batch, overlap, c.seed)
	t, err := seq.NewTrainer(l.net, be, seq.Training{Updates: c.Updates, Rate: c.Rate, Decay: decay, Average: c.Average})
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	m.lm = l
	if from != nil {
		if err := errors.Join(l.net.Load(from.state, "training."), t.Restore(from.state, "state.")); err != nil {
			return err
		}
		if m.Distances, m.Chosen = from.Distances, from.Chosen; m.Chosen >= 0 {
			m.lm = from.lm
		}
	}
	run := &tokens.Objectives{}
	var batches []*seq.Batch
	for _, sh := range schedule.Shapes {
		steps := l.meta + sh.Steps*l.fields()
		of, err := seq.Open(o.Engine, l.net, be, steps, sh.Rows)
		if err != nil {
			return fmt.Errorf("doppelganger: %w", err)
		}
		run.Of = append(run.Of, of)
		b := l.batch(steps, sh.Rows)
		if len(schedule.Shapes) > 1 {
			b.Weight = slices.Repeat([]float32{sh.Share}, len(b.Values))
		}
		batches = append(batches, b)
	}
	every := o.Every
	if every <= 0 {
		every = 1000
	}
	store := func() error {
		m.Updates = t.Update
		m.training = func() []safetensors.Tensor { return append(l.net.Tensors("training."), t.State("state.")...) }
		if m.Done() {
			m.training = nil
			if err := m.calibrate(be, set.Sessions, nil); err != nil {
				return err
			}
		}
		if o.Path == "" {
			return nil
		}
		return m.Save(o.Path, nil)
	}
	options := seq.FitOptions{Every: every, Checkpoint: store, Report: func(update int, losses []float64) {
		if update*c.Checks/c.Updates > (update-1)*c.Checks/c.Updates {
			a := *l
			a.net = t.Averaged()
			sum, n := 0., 0.
			for i := range held {
				nats, _, err := a.nats(be, &held[i], m.codec.outlineOf(&held[i]))
				if err == nil {
					n++
					for _, x := range nats {
						sum += x
					}
				}
			}
			m.Distances = append(m.Distances, []float64{sum / n})
			if m.Chosen < 0 || sum/n < m.Distances[m.Chosen][0] {
				m.Chosen, m.lm = len(m.Distances)-1, &a
			}
		}
		if o.Report != nil {
			total := 0.
			for _, x := range losses {
				total += x
			}
			o.Report(traffic.Progress{Phase: "doppelganger-likelihood", Done: update, Total: c.Updates, Losses: map[string]float64{"nats_per_field": total}})
		}
	}}
	err = t.Fit(ctx, run, new(seq.Batch), func(update int, into *seq.Batch) error {
		shape, piece := schedule.Batch(update)
		run.At = shape
		b := batches[shape]
		for row := range b.Rows {
			key := rng.Key{Seed: c.seed, A: uint32(update), B: uint32(row), Purpose: rng.BatchOrder}
			x := piece(row)
			l.fill(b, row, &train[x.Session], int(x.From), func(pos int) bool { return key.Float64(uint32(1+pos)) < .05 })
		}
		*into = *b
		return nil
	}, options)
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	return nil
}

// nats is the negative logarithm of a session's probability, by site, and of
// every class over what it spreads: a range of whole numbers over all of them. Classes
// of the outline, class, spread over nothing, for the steps have the values. The
// session is of the inner schema and has steps.
func (l *likelihood) nats(be *compute.Backend, s *traffic.Session, class []int32) ([]float64, int, error) {
	k := l.k
	n := k.in.Len(s)
	if n == 0 {
		return nil, 0, errors.New("doppelganger: a session without a step")
	}
	v := l.values(s, 0, n)
	copy(v[len(k.Meta):], class)
	out := make([]float64, len(l.sites))
	sampler := l.net.NewSampler(be, 1)
	tok := make([]int32, l.inputs)
	tok[2], tok[3] = int32(s.Label+1), int32(k.chunk(s.Start))
	o := k.newOutlineAt(v[len(k.Meta):l.meta])
	with, before, kind := l.with(s.Meta, &o), uint64(0), int32(0)
	for pos, x := range v {
		site := l.site(pos)
		tok[0], tok[1], tok[4] = -1, int32(site), l.place(pos, 0)
		if site == len(l.sites)-1 {
			o.step(k.in.Step(s, (pos-l.meta)/l.fields()))
		}
		o.tokens(tok[5:], pos-len(k.Meta))
		if pos > 0 {
			tok[0] = int32(l.at[l.site(pos-1)]) + v[pos-1]
		}
		gated, zero := l.sized(site, kind)
		if zero { // the kind has said it
			sampler.Advance(nil, tok, nil)
			continue
		}
		sampler.Step(nil, tok, nil)
		var allowed uint64
		if k.Kinds != nil {
			allowed = k.Kinds.next(with, before)
		}
		if site == l.meta && k.Kinds != nil {
			kind = x
			before |= 1 << x
		}
		w := l.weigh(sampler.Weights(0, site, nil), site, gated, allowed, &o)
		var sum float64
		for _, p := range w {
			sum += float64(p)
		}
		out[site] -= math.Log(max(float64(w[x]), 1e-30) / sum)
		if c := l.sites[site]; c != nil && (site < len(k.Meta) || site >= l.meta) {
			if f := site - l.meta; k.Means && f == k.size {
				out[site] += k.spreadMean(c, x, k.in.Step(s, (pos-l.meta)/l.fields())[k.packets])
			} else {
				out[site] += c.spread(x)
			}
		}
	}
	return out, n, nil
}

// with are the kinds that go with a session's fields and its largest values.
func (l *likelihood) with(meta []float64, o *outline) (set fitting) {
	if l.k.Kinds == nil {
		return set
	}
	set = l.k.Kinds.with(func(field int) int { return int(meta[field]) })
	set.any &^= o.bytes()
	set.first &^= o.bytes()
	return set
}

// spread is the logarithm of how many whole numbers are in a class; 0 of
// other fields.
func (c *classes) spread(class int32) float64 {
	if i := int(class) - len(c.Exact); i >= 0 && whole(c.Kind) {
		return math.Log(max(math.Ceil(c.Edges[i+1])-math.Ceil(c.Edges[i]), 1))
	}
	return 0
}

// Parts names what LogProb gives of a model by likelihood: "steps" are all
// fields of steps but those that are gaps or numbers, and the ends; these
// follow. A model against critics has none.
func (m *Model) Parts() []string {
	p := []string{"steps"}
	for _, f := range m.codec.Schema.Steps {
		if f.Kind == traffic.Gap || f.Kind == traffic.Number {
			p = append(p, f.Name)
		}
	}
	return p
}

// LogProb adds to into the natural logarithm of the probability of each of
// Parts, of a session's outline and of its steps given that: a bound from below, by
// what the model gives to the same steps under other outlines. It counts the session's steps. It wraps errors.ErrUnsupported for a
// model against critics, which gives no probability.
func (m *Model) LogProb(s *traffic.Session, into []float64) (steps int, err error) {
	if m.lm == nil {
		return 0, fmt.Errorf("doppelganger: mode %s gives no probability: %w", m.Config.Mode, errors.ErrUnsupported)
	}
	if len(into) != len(m.Parts()) {
		return 0, fmt.Errorf("doppelganger: %d sums for parts %q", len(into), m.Parts())
	}
	if err := m.codec.Schema.Valid(s); err != nil {
		return 0, err
	}
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	in := m.codec.innerSession(s)
	nats, n, err := m.lm.nats(be, &in, m.codec.outlineOf(&in))
	if err != nil {
		return 0, err
	}
	part := 1
	for j, f := range m.codec.in.Steps {
		x := nats[m.lm.meta+j]
		if l := 1 + slices.Index(m.codec.numeric, j); l > 0 && l < len(m.codec.Outline) {
			x += nats[len(m.codec.Meta)+l]
		}
		if (f.Kind == traffic.Gap || f.Kind == traffic.Number) && !(m.codec.Means && j == m.codec.size) {
			into[part] -= x
			part++
		} else {
			into[0] -= x
		}
	}
	into[0] -= nats[len(nats)-1]
	if len(m.codec.Outline) > 0 {
		into[0] -= nats[len(m.codec.Meta)]
	}
	return n, nil
}

// draw draws sessions first … first+n with labels and starts.
func (l *likelihood) draw(be *compute.Backend, r *traffic.Request, first, n int, label []int, start []float64) []traffic.Session {
	k := l.k
	out := make([]traffic.Session, n)
	s, heads := l.net.NewSampler(be, n), l.newHeads(be, n)
	inputs := l.inputs
	active, tok := make([]int, n), make([]int32, n*inputs)
	last := make([]int32, n) // the token before
	outlines, class := make([]outline, n), make([]int32, n*len(k.Outline))
	kind, with, before := make([]int32, n), make([]fitting, n), make([]uint64, n)
	steps := make([]float64, n*len(k.in.Steps)) // the step that is drawn
	for i := range n {
		active[i], last[i] = i, -1
		outlines[i] = k.newOutlineAt(class[i*len(k.Outline):][:len(k.Outline)])
		out[i] = traffic.Session{Label: label[i], Start: start[i]}
	}
	most := k.Longest
	if r.MaxSteps > 0 {
		most = r.MaxSteps
	}
	prefix := 0 // positions that are given
	var past traffic.Session
	if r.Prefix != nil {
		past = k.innerSession(r.Prefix)
		prefix = l.meta + max(k.in.Len(&past)*l.fields()-1, 0)
	}
	for pos := 0; len(active) > 0; pos++ {
		site := l.site(pos)
		for j, i := range active {
			t := tok[j*inputs:][:inputs]
			t[0], t[1], t[2], t[3], t[4] = last[i], int32(site), int32(label[i]+1), int32(k.chunk(start[i])), l.place(pos, 0)
			outlines[i].tokens(t[5:], pos-len(k.Meta))
		}
		s.Advance(active, tok[:len(active)*inputs], nil)
		weights, size := heads.weights(s, active, site)
		live := active[:0]
		for j, i := range active {
			key := sessionKey(r.Seed, first+i, 2+uint32(pos))
			x := &out[i]
			var v int32
			ends := false
			given := pos < prefix
			c := l.sites[site]
			step := steps[i*len(k.in.Steps):][:len(k.in.Steps)]
			if pos == l.meta {
				with[i] = l.with(x.Meta, &outlines[i])
			}
			gated, zero := l.sized(site, kind[i])
			w := weights[j*size:][:size]
			var allowed uint64
			if k.Kinds != nil && pos >= l.meta {
				allowed = k.Kinds.next(with[i], before[i])
			}
			switch {
			case pos >= len(k.Meta) && pos < l.meta: // its outline
				field := pos - len(k.Meta)
				if prefix > l.meta {
					c.atLeast(w, k.outlined(&past)[field])
				}
				v = seq.Pick(w, key.Float64(0))
				outlines[i].class[field] = v
			case given && pos < l.meta:
				x.Meta = append(x.Meta, r.Prefix.Meta[site])
				v = c.encode(r.Prefix.Meta[site])
			case given && c != nil:
				step[site-l.meta] = past.Steps[(pos-l.meta)/l.fields()*len(k.in.Steps)+site-l.meta]
				v = c.encode(step[site-l.meta])
			case given:
				v = 1
			case c == nil:
				v = seq.Pick(l.weigh(w, site, false, allowed, &outlines[i]), key.Float64(0))
				ends = v == 0 || k.Schema.Len(x) >= most
			case zero:
				step[site-l.meta], v = 0, c.encode(0)
			default:
				v = seq.Pick(l.weigh(w, site, gated, allowed, &outlines[i]), key.Float64(0))
				u := key.Float64(1)
				if pos < l.meta {
					u = k.inside(site, r.Seed, first+i, u)
				}
				y := c.decode(v, u)
				if pos < l.meta {
					x.Meta = append(x.Meta, y)
				} else {
					if pos < l.meta+l.fields() && k.in.Steps[site-l.meta].Kind == traffic.Gap {
						y, v = 0, c.encode(0) // the first gap is 0 by definition
					}
					step[site-l.meta] = y
				}
			}
			if site == l.meta && k.Kinds != nil {
				kind[i] = v
				before[i] |= 1 << v
			}
			if site == len(l.sites)-2 && pos >= l.meta {
				x.Steps = k.outer(x.Steps, step)
				outlines[i].step(step)
			}
			if ends {
				from := 0
				if r.Prefix != nil {
					from = k.in.Len(&past)
				}
				outlines[i].finish(x, from, key)
			}
			last[i] = int32(l.at[site]) + v
			if !ends {
				live = append(live, i)
			}
		}
		active = live
	}
	return out
}

func (l *likelihood) tensors() []safetensors.Tensor { return l.net.Tensors("likelihood.") }

func readLikelihood(m *Model, f *safetensors.File) (*likelihood, error) {
	l, err := newLikelihood(m.codec, m.Config)
	if err != nil {
		return nil, err
	}
	return l, l.net.Load(f, "likelihood.")
}
