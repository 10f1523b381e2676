package doppelganger

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/privacy"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// A private fit is (ε, δ)-differentially private with respect to adding or removing
// one session. Sessions are seen in two places:
//
//   - The number of sessions of each label, once, with Gaussian noise: a tenth of ε and
//     of δ. Their sum is the number of sessions that sampling rates are of.
//   - The critics' gradients (DP-SGD, Abadi et al. 2016): nine tenths. A step takes each
//     session with the same probability, independently of all others, and of a session at
//     most one window, with one generated row beside it and a row between them
//     (nn.PairGradients): the penalty sees real sessions as well. A session's gradient
//     is scaled down to a norm of Clip, and the sum gets noise of Sigma · Clip in every
//     element. Steps of both critics are added up by the accountant of Rényi privacy.
//
// All else is public or follows from these: the generators see sessions through the
// critics alone; classes are public; labels of generated sessions are drawn of the noisy
// counts; which window of a session a step asks for is drawn of a fixed distribution;
// starts, kinds of steps, lengths and the choice among candidates are not learnt.
// Sampling and noise come from a cryptographic generator that gets a new seed in every fit. The seed
// is not saved: with it the noise could be taken away.
//
// What a session is, is given: the schema's labels and levels, and ranks of addresses,
// which come from all records, are taken as public.

// Private says how private a model is.
type Private struct {
	Epsilon float64 `json:"epsilon"`
	Delta   float64 `json:"delta"`
	Clip    float64 `json:"clip"`   // L2 norm of what a session adds to a gradient
	Sigma   float64 `json:"sigma"`  // standard deviation of a gradient's noise, by Clip
	Counts  float64 `json:"counts"` // standard deviation of the noise of a label's sessions
	Rate    float64 `json:"rate"`   // probability with which a step takes a session
	Steps   int     `json:"steps"`  // of both critics together
}

// Private says how private the model is; nil: not at all.
func (m *Model) Private() *Private { return m.private }

// Price is a sentence about it, "" for a model that is not private.
func (m *Model) Price() string {
	p := m.private
	if p == nil {
		return ""
	}
	return fmt.Sprintf("(%v, %v)-differentially private with respect to one session: %d steps of two critics, each on %.2g of the sessions, with noise of %.3g times what one session may add; numbers of sessions ± %.1f",
		p.Epsilon, p.Delta, p.Steps, p.Rate, p.Sigma, p.Counts)
}

const (
	countsShare = .1 // of ε and δ, for the numbers of sessions
	mostWindows = 16 // of a session that the critic is asked for, the first ones
)

func (c *Config) private() bool { return c.Epsilon != 0 || c.Delta != 0 }

// SetPrivacy makes the settings those of a private fit: fewer updates, and critics
// that see one session at once. An error says why the mode or the budget cannot be.
func (c *Config) SetPrivacy(epsilon, delta float64) error {
	if c.Mode == Likelihood {
		return errors.New("doppelganger: mode doppelganger-likelihood has no private fit; doppelganger and ngram have")
	}
	if err := privacy.Check(epsilon, delta); err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	c.Epsilon, c.Delta = epsilon, delta
	c.Updates, c.Packing, c.Chunks = 0, 0, 0
	*c = c.withDefaults()
	return nil
}

func (c *Config) checkPrivate() error {
	if !c.private() {
		if c.Clip != 0 || c.Sigma != 0 {
			return fmt.Errorf("doppelganger: clip, sigma: %v, %v are of private fits", c.Clip, c.Sigma)
		}
		return nil
	}
	if err := privacy.Check(c.Epsilon, c.Delta); err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	switch {
	case c.Mode != Adversarial:
		return fmt.Errorf("doppelganger: mode %s has no private fit", c.Mode)
	case c.Packing != 1:
		return fmt.Errorf("doppelganger: packing: %d; a critic of a private fit sees one session at once: 1", c.Packing)
	case c.Chunks != 1:
		return fmt.Errorf("doppelganger: chunks: %d; a private fit does not learn when sessions start: 1", c.Chunks)
	case !(c.Clip > 0) || math.IsInf(c.Clip, 0):
		return fmt.Errorf("doppelganger: clip: %v is not above 0 and finite", c.Clip)
	case !(c.Sigma >= 0) || math.IsInf(c.Sigma, 0):
		return fmt.Errorf("doppelganger: sigma: %v is not finite and at least 0", c.Sigma)
	}
	return nil
}

// fitPrivate is Fit of a private model. noise is nil, or for tests where noise and
// samples come from.
func (m *Model) fitPrivate(ctx context.Context, be *compute.Backend, set *traffic.Set, o traffic.FitOptions, noise rand.Source) error {
	c := m.Config
	if o.Resume {
		return fmt.Errorf("%w: a private fit cannot be resumed: its noise is not saved", ErrResume)
	}
	set = &traffic.Set{Of: set.Of, Sessions: nonEmpty(set)}
	if err := privacy.CheckDelta(c.Delta, set.Len()); err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	if noise == nil {
		var seed [32]byte
		_, _ = crand.Read(seed[:]) // it never fails
		noise = rand.NewChaCha8(seed)
	}
	p := &mechanism{r: rand.New(noise)}
	total, err := m.count(set, p)
	if err != nil {
		return err
	}
	if err := m.budget(total); err != nil {
		return err
	}
	t := m.codec.encode(set, c.Window)
	m.trainer = newTrainer(c, m.codec, t, be)
	p.begin(m.trainer, m.private)
	m.nets = m.trainer.avg
	for r := m.trainer; r.done < c.Updates; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := r.update(); err != nil {
			return err
		}
		if o.Report != nil { // no losses: they are of real sessions, without noise
			o.Report(traffic.Progress{Phase: "doppelganger", Done: r.done, Total: c.Updates})
		}
	}
	m.Updates, m.nets, m.trainer = m.trainer.done, m.trainer.avg.clone(), nil
	if o.Path == "" {
		return nil
	}
	return m.Save(o.Path, nil)
}

// count makes the codec, of public classes and noisy numbers of sessions, and gives
// about how many there are.
func (m *Model) count(set *traffic.Set, p *mechanism) (total float64, err error) {
	c := m.Config
	sigma, err := privacy.Sigma(countsShare*c.Epsilon, countsShare*c.Delta)
	if err != nil {
		return 0, fmt.Errorf("doppelganger: %w", err)
	}
	hidden := fmt.Errorf("doppelganger: %w: epsilon %v and delta %v ask for noise of ± %.0f in the number of sessions of a label, which hides all: more sessions, or a larger epsilon", privacy.ErrBudget, c.Epsilon, c.Delta, sigma)
	if sigma > float64(set.Len()) {
		return 0, hidden
	}
	m.private = &Private{Epsilon: c.Epsilon, Delta: c.Delta, Clip: c.Clip, Counts: sigma}
	counts := make([]float64, len(set.Of.Labels)+1)
	for i := range set.Sessions {
		counts[set.Sessions[i].Label+1]++
	}
	// Of a label that no session has, one in so many is above this.
	threshold := sigma * privacy.Quantile(1-1/float64(len(counts)+1))
	labels := make([]int32, len(counts))
	for l, n := range counts {
		n += sigma * p.r.NormFloat64()
		total += n
		if n > threshold && n >= .5 {
			labels[l] = int32(min(math.Round(n), 1<<30/float64(len(counts))))
		}
	}
	if total = math.Round(total); slices.Max(labels) == 0 || total < 1 {
		return 0, hidden
	}
	m.codec, err = publicCodec(set.Of, labels)
	return total, err
}

// budget sets the rate and the noise of the critics' steps, for about total sessions.
func (m *Model) budget(total float64) error {
	c, p := m.Config, m.private
	p.Rate, p.Steps = float64(c.Batch)/total, 2*c.Updates*c.Rounds
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("doppelganger: %w: %s", privacy.ErrBudget, fmt.Sprintf(format, args...))
	}
	if p.Rate > 1 {
		return refuse("batch: %d sessions a step, of about %.0f: a smaller one", c.Batch, total)
	}
	least, err := privacy.Multiplier(p.Rate, p.Steps, (1-countsShare)*c.Epsilon, (1-countsShare)*c.Delta)
	if err != nil {
		return fmt.Errorf("doppelganger: %w", err)
	}
	what := fmt.Sprintf("%d updates in %d rounds of both critics on batches of %d of about %.0f sessions", c.Updates, c.Rounds, c.Batch, total)
	if p.Sigma = cmp.Or(c.Sigma, least); p.Sigma < least {
		return refuse("sigma: %v; %s take at least %.3g for epsilon %v and delta %v: a larger sigma, or fewer updates, fewer rounds, a smaller batch", c.Sigma, what, least, c.Epsilon, c.Delta)
	}
	if p.Sigma >= float64(c.Batch) {
		return refuse("%s take noise of %.3g times what one session may add, more than a whole batch may: nothing is left to learn: fewer updates or rounds, more sessions, or a larger epsilon than %v", what, p.Sigma, c.Epsilon)
	}
	return nil
}

// publicCodec is a codec whose classes depend on the schema alone.
func publicCodec(of traffic.Schema, labels []int32) (*codec, error) {
	k := &codec{Schema: of, Series: true, Labels: labels, Chunks: 1, Longest: privacy.Longest}
	k.index0()
	for i := range of.Meta {
		k.Meta = append(k.Meta, publicClasses(&of.Meta[i], false))
	}
	packets := of.StepIndex("direction") >= 0
	for _, f := range k.numeric {
		k.Low, k.Range = append(k.Low, publicClasses(&of.Steps[f], packets)), append(k.Range, publicClasses(&of.Steps[f], packets))
	}
	for _, f := range k.other {
		k.Steps = append(k.Steps, publicClasses(&of.Steps[f], packets))
	}
	sessions := 0
	for _, n := range labels {
		sessions += int(n)
	}
	every := (sessions + maxStarts - 1) / maxStarts
	for i := range (sessions + every - 1) / every { // not learnt: one session a second in the mean
		k.Starts = append(k.Starts, -float64(every)*math.Log1p(-rng.Key{A: uint32(i), Purpose: rng.SessionStart}.Float64(0)))
		k.Span += k.Starts[i]
	}
	k.Span++ // a pass after the last start
	k.index()
	return k, k.check(Adversarial)
}

// publicClasses are classes that depend on no data; packets: sizes are payload of a
// packet.
func publicClasses(f *traffic.Field, packets bool) classes {
	c := classes{Kind: f.Kind}
	exact := func(values []int64) {
		for _, x := range values {
			c.Exact = append(c.Exact, float64(x))
		}
	}
	octaves := func(most float64, per int) {
		c.Edges = []float64{0}
		for e := 0; ; e++ {
			x := math.Ceil(math.Exp2(float64(e) / float64(per)))
			if x > c.Edges[len(c.Edges)-1] {
				c.Edges = append(c.Edges, x)
			}
			if x > most {
				return
			}
		}
	}
	switch f.Kind {
	case traffic.Symbol:
		return newClasses(f, nil, 0, 0)
	case traffic.Port:
		exact(privacy.Ports)
		c.Edges = portEdges()
	case traffic.Address:
		octaves(privacy.Ranks, 1)
	case traffic.Size:
		c.Exact = []float64{0}
		most := math.Exp2(32)
		if packets {
			c.Exact = nil
			exact(privacy.Sizes)
			most = float64(privacy.Sizes[len(privacy.Sizes)-1])
		}
		octaves(most, privacy.PerOctave)
		if packets {
			for _, x := range traffic.PayloadEdges {
				c.Edges = append(c.Edges, float64(x))
			}
			slices.Sort(c.Edges)
			c.Edges = slices.Compact(c.Edges)
		}
	case traffic.Gap:
		c.Exact, c.Edges = []float64{0}, privacy.Gaps
	default:
		c.Exact, c.Edges = []float64{0}, privacy.Numbers
	}
	return c
}

// mechanism is what critics see of sessions: samples, clipped and with noise.
type mechanism struct {
	r         *rand.Rand
	rate      float64
	clip      float64
	deviation float64   // of the noise
	labels    []float64 // noisy numbers of sessions, cumulated
	windows   [][]int32 // by session and index
	pairs     [2]*nn.PairGradients
	real      []float32
	fake, hat []float32
}

// begin makes p the mechanism of a trainer.
func (p *mechanism) begin(r *trainer, s *Private) {
	r.private = p
	p.rate, p.clip, p.deviation = s.Rate, s.Clip, s.Sigma*s.Clip
	sum := 0.
	for _, n := range r.k.Labels {
		sum += float64(n)
		p.labels = append(p.labels, sum)
	}
	p.windows = make([][]int32, len(r.t.attributes))
	for i, w := range r.t.windows { // of one chunk: by index
		p.windows[w.session] = append(p.windows[w.session], int32(i))
	}
	for i, d := range []*nn.MLP{r.d1, r.d2} {
		p.pairs[i] = nn.NewPairGradients(d, r.be, r.c.Batch)
	}
	size := r.c.Batch * max(r.d1.Sizes[0], r.d2.Sizes[0])
	p.real, p.fake, p.hat = make([]float32, size), make([]float32, size), make([]float32, size)
}

// label draws the label of a generated session.
func (p *mechanism) label(key rng.Key) int {
	l, _ := slices.BinarySearch(p.labels, key.Float64(2)*p.labels[len(p.labels)-1])
	for l > 0 && p.labels[l] == p.labels[l-1] { // one without sessions, at the very end
		l--
	}
	return l - 1
}

// index draws which window of sessions a step is on: half of the steps the first, a
// quarter the second …
func (p *mechanism) index(key rng.Key) int32 {
	return int32(min(-math.Log2(1-key.Float64(3)), mostWindows-1))
}

// round is a step of each critic.
func (p *mechanism) round(r *trainer, update, s int) {
	k, b := r.k, r.c.Batch
	r.sessions(update, s+streamAttributes)
	p.step(r, 0, r.x1[b*k.width:], b, func(row []float32, session int) bool {
		k.hot(row, r.t.attributes[session])
		return true
	})
	if n := r.windows(update, s+streamWindows); n > 0 {
		index := int(r.refs[0].index)
		p.step(r, 1, r.x2[n*r.n.windowWidth():], n, func(row []float32, session int) bool {
			if index >= len(p.windows[session]) {
				return false
			}
			r.window(row, &r.t.windows[p.windows[session][index]])
			return true
		})
	}
}

// step updates a critic by n generated rows and sampled sessions; see sets what the
// critic sees of a session, or reports that it has no such window. Each session has a
// generated row of its own draw: one session more or less does not change the others'.
func (p *mechanism) step(r *trainer, critic int, generated []float32, n int, see func(row []float32, session int) bool) {
	which := 2 + critic
	wide := []*nn.MLP{r.d1, r.d2}[critic].Sizes[0]
	grad := r.grads[which]
	clear(grad)
	rows := 0
	flush := func() {
		if rows > 0 {
			p.pairs[critic].Sum(p.real[:rows*wide], p.fake[:rows*wide], p.hat[:rows*wide], r.c.Penalty, p.clip, grad)
		}
		rows = 0
	}
	for session := range p.windows {
		if p.r.Float64() >= p.rate {
			continue
		}
		from, u := p.r.IntN(n), float32(p.r.Float64())
		real, fake, hat := p.real[rows*wide:][:wide], p.fake[rows*wide:][:wide], p.hat[rows*wide:][:wide]
		if !see(real, session) {
			continue
		}
		copy(fake, generated[from*wide:][:wide])
		for j, x := range fake {
			hat[j] = x + u*(real[j]-x)
		}
		if rows++; rows == r.c.Batch {
			flush()
		}
	}
	flush()
	for i := range grad {
		grad[i] = float32((float64(grad[i]) + p.deviation*p.r.NormFloat64()) / float64(r.c.Batch))
	}
	r.step(which)
}
