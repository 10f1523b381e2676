package doppelganger

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// likelihood is the mode without critics: the same classes of the same fields,
// drawn one after another by internal/seq. A step of its network is a field,
// its sites: the session's fields, then those of a step and whether the session
// goes on, again for every step.
type likelihood struct {
	k     *codec
	c     Config
	net   *seq.Model
	sites []*classes // of the session's fields, then of a step's; nil: goes on
	at    []int      // where a site's classes begin among all
	meta  int        // sites of the session
}

func newLikelihood(k *codec, c Config) (*likelihood, error) {
	l := &likelihood{k: k, c: c, meta: len(k.Meta)}
	for i := range k.Meta {
		l.sites = append(l.sites, &k.Meta[i])
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
	var err error
	l.net, err = seq.New(seq.Config{
		Embeddings: []seq.Embedding{{Name: "value", Size: n, Dim: 24}, {Name: "site", Size: len(l.sites), Dim: 12},
			{Name: "label", Size: len(k.Labels), Dim: 8}, {Name: "chunk", Size: k.Chunks, Dim: 8}},
		Hidden: c.Hidden, Heads: heads,
	}, c.seed)
	return l, err
}

const tokens = 4 // value, site, label, chunk

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
	n := k.Schema.Len(s)
	for t := from; t < to; t++ {
		for j, x := range k.Schema.Step(s, t) {
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

// segment is some steps of a session, what a sequence of training shows. The
// session's fields are in front; only in the first segment do they count.
type segment struct {
	session  int
	from, to int
}

// segmentSteps is the longest of a segment.
const segmentSteps = 10

func (l *likelihood) segments(sessions []traffic.Session) (all []segment) {
	for i := range sessions {
		n := l.k.Schema.Len(&sessions[i])
		for from := 0; from < n; from += segmentSteps {
			all = append(all, segment{i, from, min(from+segmentSteps, n)})
		}
	}
	return all
}

// fill puts a segment into a row of b. hidden tells which inputs are left out.
func (l *likelihood) fill(b *seq.Batch, row int, s *traffic.Session, g segment, hidden func(pos int) bool) {
	v := l.values(s, g.from, g.to)
	heads := len(l.sites)
	chunk := int32(l.k.chunk(s.Start))
	for pos := range b.Steps {
		i := pos*b.Rows + row
		tok, val := b.Tokens[i*tokens:][:tokens], b.Values[i*heads:][:heads]
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
		tok[1], tok[2], tok[3] = int32(site), int32(s.Label+1), chunk
		if pos > 0 && !hidden(pos) {
			tok[0] = int32(l.at[l.site(pos-1)]) + v[pos-1]
		}
		if g.from == 0 || pos >= l.meta {
			val[site] = v[pos]
		}
	}
}

func (l *likelihood) batch(steps, rows int) *seq.Batch {
	n := steps * rows
	return &seq.Batch{Steps: steps, Rows: rows, Tokens: make([]int32, n*tokens), Values: make([]int32, n*len(l.sites))}
}

// positions is the length of the longest sequence of training.
func (l *likelihood) positions() int {
	return l.meta + min(l.k.Longest, segmentSteps)*l.fields()
}

// fitLikelihood trains on nine tenths of the sessions and keeps the weights,
// out of Checks candidates, under which 500 of the others are likeliest. With
// fewer than 100 sessions all are for both.
func (m *Model) fitLikelihood(ctx context.Context, be *compute.Backend, set *traffic.Set, from *Model, o traffic.FitOptions) error {
	c := m.Config
	l, err := newLikelihood(m.codec, c)
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	all := nonEmpty(set)
	train, held := all, all
	if len(all) >= 100 {
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
	segments := l.segments(train)
	t, err := seq.NewTrainer(l.net, be, seq.Training{Updates: c.Updates, Rate: c.Rate, Decay: 1e-2, Average: c.Average})
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
	steps := l.positions()
	run, err := seq.Open(o.Engine, l.net, be, steps, c.Batch)
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	b := l.batch(steps, c.Batch)
	every := o.Every
	if every <= 0 {
		every = 1000
	}
	store := func() error {
		m.Updates = t.Update
		m.training = func() []safetensors.Tensor { return append(l.net.Tensors("training."), t.State("state.")...) }
		if m.Done() {
			m.training = nil
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
				nats, _, err := a.nats(be, &held[i])
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
	err = t.Fit(ctx, run, b, func(update int, b *seq.Batch) error {
		for row := range b.Rows {
			key := rng.Key{Seed: c.seed, A: uint32(update), B: uint32(row), Purpose: rng.BatchOrder}
			g := segments[key.Intn(0, len(segments))]
			l.fill(b, row, &train[g.session], g, func(pos int) bool { return key.Float64(uint32(1+pos)) < .05 })
		}
		return nil
	}, options)
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	return nil
}

// nats is the negative logarithm of a session's probability, by site, and of
// every class over what it spreads: a range of whole numbers over all of them.
func (l *likelihood) nats(be *compute.Backend, s *traffic.Session) ([]float64, int, error) {
	k := l.k
	if err := k.Schema.Valid(s); err != nil {
		return nil, 0, err
	}
	n := k.Schema.Len(s)
	if n == 0 {
		return nil, 0, errors.New("doppelganger: a session without a step")
	}
	v := l.values(s, 0, n)
	out := make([]float64, len(l.sites))
	sampler := l.net.NewSampler(be, 1)
	tok := []int32{-1, 0, int32(s.Label + 1), int32(k.chunk(s.Start))}
	for pos, x := range v {
		site := l.site(pos)
		tok[0], tok[1] = -1, int32(site)
		if pos > 0 {
			tok[0] = int32(l.at[l.site(pos-1)]) + v[pos-1]
		}
		sampler.Step(nil, tok, nil)
		w := sampler.Weights(0, site, nil)
		var sum float64
		for _, p := range w {
			sum += float64(p)
		}
		out[site] -= math.Log(max(float64(w[x]), 1e-30) / sum)
		if c := l.sites[site]; c != nil {
			out[site] += c.spread(x)
		}
	}
	return out, n, nil
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
// Parts. It counts the session's steps. It wraps errors.ErrUnsupported for a
// model against critics, which gives no probability.
func (m *Model) LogProb(s *traffic.Session, into []float64) (steps int, err error) {
	if m.lm == nil {
		return 0, fmt.Errorf("doppelganger: mode %s gives no probability: %w", m.Config.Mode, errors.ErrUnsupported)
	}
	if len(into) != len(m.Parts()) {
		return 0, fmt.Errorf("doppelganger: %d sums for parts %q", len(into), m.Parts())
	}
	be := compute.NewBackend(compute.Fastest(), 1)
	defer be.Close()
	nats, n, err := m.lm.nats(be, s)
	if err != nil {
		return 0, err
	}
	part := 1
	for j, f := range m.codec.Schema.Steps {
		x := nats[m.lm.meta+j]
		if f.Kind == traffic.Gap || f.Kind == traffic.Number {
			into[part] -= x
			part++
		} else {
			into[0] -= x
		}
	}
	into[0] -= nats[len(nats)-1]
	return n, nil
}

// draw draws sessions first … first+n with labels and starts.
func (l *likelihood) draw(be *compute.Backend, r *traffic.Request, first, n int, label []int, start []float64) []traffic.Session {
	k := l.k
	out := make([]traffic.Session, n)
	s := l.net.NewSampler(be, n)
	active, tok := make([]int, n), make([]int32, n*tokens)
	last := make([]int32, n) // the token before
	for i := range n {
		active[i], last[i] = i, -1
		out[i] = traffic.Session{Label: label[i], Start: start[i]}
	}
	most := k.Longest
	if r.MaxSteps > 0 {
		most = r.MaxSteps
	}
	values := make([]int32, len(l.sites))
	prefix := 0 // positions that are given
	if r.Prefix != nil {
		prefix = l.meta + max(k.Schema.Len(r.Prefix)*l.fields()-1, 0)
	}
	for pos := 0; len(active) > 0; pos++ {
		site := l.site(pos)
		for j, i := range active {
			copy(tok[j*tokens:], []int32{last[i], int32(site), int32(label[i] + 1), int32(k.chunk(start[i]))})
		}
		s.Step(active, tok[:len(active)*tokens], nil)
		live := active[:0]
		for j, i := range active {
			key := sessionKey(r.Seed, first+i, 2+uint32(pos))
			x := &out[i]
			var v int32
			ends := false
			given := pos < prefix
			c := l.sites[site]
			switch {
			case given && pos < l.meta:
				x.Meta = append(x.Meta, r.Prefix.Meta[site])
				v = c.encode(r.Prefix.Meta[site])
			case given && c != nil:
				f := (pos-l.meta)/l.fields()*len(k.Schema.Steps) + site - l.meta
				x.Steps = append(x.Steps, r.Prefix.Steps[f])
				v = c.encode(r.Prefix.Steps[f])
			case given:
				v = 1
			case c == nil:
				v = s.Draw(j, site, values, key.Float64(0))
				ends = v == 0 || k.Schema.Len(x) >= most
			default:
				v = s.Draw(j, site, values, key.Float64(0))
				u := key.Float64(1)
				if pos < l.meta {
					u = k.inside(site, r.Seed, first+i, u)
				}
				y := c.decode(v, u)
				if pos < l.meta {
					x.Meta = append(x.Meta, y)
				} else {
					if pos < l.meta+l.fields() && k.Schema.Steps[site-l.meta].Kind == traffic.Gap {
						y, v = 0, c.encode(0) // the first gap is 0 by definition
					}
					x.Steps = append(x.Steps, y)
				}
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
