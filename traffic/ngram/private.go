package ngram

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/planegym/planegym/internal/privacy"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// A private model is (ε, δ)-differentially private with respect to adding or
// removing one session: all of it follows from counts with Gaussian noise, and from
// numbers that do not depend on the sessions. Sizes, ports and gaps have public,
// coarse classes; every count that there could be gets noise, not only those that
// are there; what a session adds to all counts together is scaled down to a norm of
// Clip. Times between sessions are not learnt.

// Private says how private a model is.
type Private struct {
	Epsilon float64 `json:"epsilon"`
	Delta   float64 `json:"delta"`
	Clip    float64 `json:"clip"`  // L2 norm of what a session adds to all counts
	Sigma   float64 `json:"sigma"` // standard deviation of the noise of a count, by Clip
}

const (
	publicSessions = 4096 // whose label and meta a private model holds, drawn from noisy counts
	defaultClip    = 10
	maxCells       = 1 << 27
)

// SetPrivacy makes the settings those of a private fit: order 1, classes that are
// public. An error says why the mode or the budget cannot be.
func (c *Config) SetPrivacy(epsilon, delta float64) error {
	if c.Mode != WittenBell {
		return fmt.Errorf("ngram: mode %s has no private fit; ngram has", c.Mode)
	}
	if err := privacy.Check(epsilon, delta); err != nil {
		return fmt.Errorf("ngram: %w", err)
	}
	c.Epsilon, c.Delta, c.Order = epsilon, delta, 1
	return nil
}

// Private says how private the model is; nil: not at all.
func (m *Model) Private() *Private { return m.private }

// Price is a sentence about it, "" for a model that is not private.
func (m *Model) Price() string {
	p := m.private
	if p == nil {
		return ""
	}
	return fmt.Sprintf("(%v, %v)-differentially private with respect to one session: every count ± %.1f", p.Epsilon, p.Delta, p.Sigma*p.Clip)
}

// block is counts of one kind: of symbols after each of so many contexts.
type block struct {
	from              int64 // index of its first cell
	contexts, symbols int
}

func (b *block) cells() int64 { return int64(b.contexts) * int64(b.symbols) }

// at is the cell of a symbol after a context.
func (b *block) at(context, symbol int) int64 {
	return b.from + int64(context)*int64(b.symbols) + int64(symbol)
}

// ledger is all counts of a private model.
type ledger struct {
	m       *Model
	classes int
	class   block   // sessions by class
	meta    []block // by field that is not a condition: its class after the session's
	short   block   // tokens after a class
	long    []block // by context beyond the class, 1 … order tokens: tokens
	gapOf   []block // by binned field: bins after a class
	gapAt   []block // by binned field: bins after a class and a token
	cells   int64
}

func (m *Model) newLedger() (*ledger, error) {
	l := &ledger{m: m, classes: len(m.schema.Labels) + 1}
	for _, i := range m.condition {
		l.classes *= len(m.schema.Meta[i].Levels)
	}
	add := func(contexts, symbols int) block {
		b := block{from: l.cells, contexts: contexts, symbols: symbols}
		l.cells += b.cells()
		return b
	}
	l.class = add(1, l.classes)
	for i := range m.schema.Meta {
		if !slices.Contains(m.condition, i) {
			l.meta = append(l.meta, add(l.classes, m.metaClasses(i)))
		}
	}
	l.short = add(l.classes, m.tokens())
	contexts := l.classes
	for range m.order {
		if contexts *= m.tokens(); contexts > maxCells || int64(contexts)*int64(m.tokens()) > maxCells {
			if len(l.long) == 0 {
				return nil, fmt.Errorf("ngram: steps of %d classes, each after each other, make more than %d counts, each of which gets noise: no private fit of these fields; mode doppelganger has one", m.tokens(), maxCells)
			}
			return nil, fmt.Errorf("ngram: order: %d makes more than %d counts, each of which gets noise; a private fit of these sessions has order %d at most", m.order, maxCells, len(l.long))
		}
		l.long = append(l.long, add(contexts, m.tokens()))
	}
	for k := range m.binned {
		l.gapOf = append(l.gapOf, add(l.classes, len(m.uppers[k])))
		l.gapAt = append(l.gapAt, add(l.classes*m.tokens(), len(m.uppers[k])))
	}
	if l.cells > maxCells {
		return nil, fmt.Errorf("ngram: the sessions' labels and fields make %d counts, each of which gets noise: more than %d", l.cells, maxCells)
	}
	return l, nil
}

// metaClasses is how many classes a field of a session has.
func (m *Model) metaClasses(i int) int {
	if w := m.of[i]; w != nil {
		return w.Len()
	}
	return len(m.schema.Meta[i].Levels)
}

// opened is a context's token before the first: END, which none follows.
func opened(token int32) int {
	if token == opening {
		return end
	}
	return int(token)
}

// add adds what a session counts to counts, by cell.
func (l *ledger) add(s *traffic.Session, counts map[int64]float64) {
	m := l.m
	class := int(m.class(s.Label, s.Meta))
	counts[l.class.at(0, class)]++
	k := 0
	for i, x := range s.Meta {
		if slices.Contains(m.condition, i) {
			continue
		}
		v := int(x)
		if w := m.of[i]; w != nil {
			v = int(w.Encode(int64(x)))
		}
		counts[l.meta[k].at(class, v)]++
		k++
	}
	m.each(s, func(context []int32, token int32) {
		counts[l.short.at(class, int(token))]++
		at := class
		for n := range l.long {
			if n+1 >= len(context) {
				break
			}
			at = at*m.tokens() + opened(context[n+1])
			counts[l.long[n].at(at, int(token))]++
		}
	}, func(k int, context []int32, bin int32) {
		counts[l.gapOf[k].at(class, int(bin))]++
		counts[l.gapAt[k].at(class*m.tokens()+int(context[1]), int(bin))]++
	})
}

// clip scales what a session counts down to a norm.
func clip(counts map[int64]float64, norm float64) {
	var sum float64
	for _, v := range counts {
		sum += v * v
	}
	if sum <= norm*norm {
		return
	}
	scale := norm / math.Sqrt(sum) * (1 - 1e-12)
	for i := range counts {
		counts[i] *= scale
	}
}

// noisy yields the cells of a block whose count with noise of a standard deviation
// is above a threshold that one cell of the block that nothing counted is above
// on average, whatever the sessions are.
func (b *block) noisy(counts map[int64]float64, deviation float64, r *rand.Rand, yield func(context, symbol int, count float64)) {
	threshold := deviation * privacy.Quantile(1-1/float64(b.cells()+1))
	for i := range b.cells() {
		x := counts[b.from+i] + deviation*r.NormFloat64()
		if x > threshold && x >= .5 {
			yield(int(i/int64(b.symbols)), int(i%int64(b.symbols)), x)
		}
	}
}

// fitPrivate fits a private model. noise is nil, or for tests where noise comes from.
func fitPrivate(ctx context.Context, src traffic.Source, cfg Config, noise rand.Source) (*Model, error) {
	sigma, err := privacy.Sigma(cfg.Epsilon, cfg.Delta)
	if err != nil {
		return nil, fmt.Errorf("ngram: %w", err)
	}
	if err := privacy.CheckDelta(cfg.Delta, src.Len()); err != nil {
		return nil, fmt.Errorf("ngram: %w", err)
	}
	norm := cfg.Clip
	if norm == 0 {
		norm = defaultClip
	}
	if deviation := sigma * norm; deviation > float64(src.Len()) {
		return nil, fmt.Errorf("ngram: %w: epsilon %v and delta %v ask for noise of ± %.0f in every count, of %d sessions: nothing is left to learn", privacy.ErrBudget, cfg.Epsilon, cfg.Delta, deviation, src.Len())
	}
	m, err := newPrivate(*src.Schema(), cfg)
	if err != nil {
		return nil, err
	}
	l, err := m.newLedger()
	if err != nil {
		return nil, err
	}
	counts, own := map[int64]float64{}, map[int64]float64{}
	for i := range src.Len() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := src.At(i)
		if err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		if err := m.schema.Valid(&s); err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		clear(own)
		l.add(&s, own)
		clip(own, norm)
		for _, c := range slices.Sorted(maps.Keys(own)) { // sums do not depend on a map's order
			counts[c] += own[c]
		}
	}
	if noise == nil {
		var seed [32]byte
		_, _ = crand.Read(seed[:]) // it never fails
		noise = rand.NewChaCha8(seed)
	}
	r := rand.New(noise)
	m.private = &Private{Epsilon: cfg.Epsilon, Delta: cfg.Delta, Clip: norm, Sigma: sigma}
	return m, m.release(l, counts, sigma*norm, r)
}

// newPrivate is a model with public classes and no counts.
func newPrivate(c traffic.Schema, cfg Config) (*Model, error) {
	m := &Model{codec: newCodec(c), mode: WittenBell, order: cfg.Order, longest: privacy.Longest}
	if cfg.MaxSteps > 0 {
		m.maxSteps = cfg.MaxSteps
	}
	var err error
	if m.condition, err = conditions(&c, cfg.Condition); err != nil {
		return nil, err
	}
	words := func(f *traffic.Field) (*seq.Vocabulary, error) {
		switch f.Kind {
		case traffic.Symbol:
			return nil, nil
		case traffic.Size:
			return seq.NewVocabulary(privacy.Sizes, 1, privacy.PerOctave, traffic.PayloadEdges[:]...)
		case traffic.Port:
			return seq.NewVocabulary(privacy.Ports, 1, 1)
		case traffic.Address: // a rank: powers of two
			return seq.NewVocabulary([]int64{0, privacy.Ranks}, 1, 1)
		}
		return nil, fmt.Errorf("ngram: %s: a private fit has no public classes for fields of kind %s", f.Name, f.Kind)
	}
	for k, i := range m.exact {
		if m.words[k], err = words(&c.Steps[i]); err != nil {
			return nil, err
		}
	}
	for i := range c.Meta {
		if m.of[i], err = words(&c.Meta[i]); err != nil {
			return nil, err
		}
	}
	// Every token that there can be, and every bin.
	rows := [][]float64{nil}
	for k, i := range m.exact {
		n := len(c.Steps[i].Levels)
		if w := m.words[k]; w != nil {
			n = w.Len()
		}
		var longer [][]float64
		for _, row := range rows {
			for v := range n {
				longer = append(longer, append(slices.Clone(row), float64(v)))
			}
		}
		if rows = longer; len(rows) > maxCells {
			return nil, errors.New("ngram: a private fit of steps with so many fields has too many counts")
		}
	}
	if len(m.exact) > 0 {
		m.vocab = append(m.vocab, slices.Concat(rows...)...)
	}
	for _, i := range m.binned {
		bounds := privacy.Gaps
		if c.Steps[i].Kind == traffic.Number {
			bounds = privacy.Numbers
		}
		var knots []float64
		for b := range len(bounds) - 1 {
			lo, hi := bounds[b], bounds[b+1]
			for k := range knotsPerBin {
				share := float64(k) / (knotsPerBin - 1)
				if lo == 0 {
					knots = append(knots, share*hi)
				} else {
					knots = append(knots, lo*math.Pow(hi/lo, share))
				}
			}
		}
		m.knots = append(m.knots, knots)
	}
	m.index()
	return m, nil
}

// release makes the model of counts and noise: nothing after this sees a session.
func (m *Model) release(l *ledger, counts map[int64]float64, deviation float64, r *rand.Rand) error {
	whole := func(x float64) int32 { return int32(min(math.Round(x), 1<<30)) }
	m.steps = newTable(m.tokens())
	l.short.noisy(counts, deviation, r, func(class, token int, x float64) {
		m.steps.put(nil, int32(token), whole(x))
		m.steps.put([]int32{int32(class)}, int32(token), whole(x))
	})
	for n := range l.long {
		l.long[n].noisy(counts, deviation, r, func(at, token int, x float64) {
			context := make([]int32, n+2)
			for k := n + 1; k > 0; k-- {
				if context[k] = int32(at % m.tokens()); context[k] == end {
					context[k] = opening
				}
				at /= m.tokens()
			}
			context[0] = int32(at)
			m.steps.put(context, int32(token), whole(x))
		})
	}
	for k := range m.binned {
		t := newTable(len(m.uppers[k]))
		l.gapOf[k].noisy(counts, deviation, r, func(class, bin int, x float64) {
			t.put(nil, int32(bin), whole(x))
			t.put([]int32{int32(class)}, int32(bin), whole(x))
		})
		l.gapAt[k].noisy(counts, deviation, r, func(at, bin int, x float64) {
			t.put([]int32{int32(at / m.tokens()), int32(at % m.tokens())}, int32(bin), whole(x))
		})
		m.bins = append(m.bins, t)
	}
	for _, t := range append(m.bins, m.steps) {
		if len(t.grow[0]) == 0 {
			return fmt.Errorf("ngram: %w: the noise that epsilon %v and delta %v ask for hides every count", privacy.ErrBudget, m.private.Epsilon, m.private.Delta)
		}
		t.done()
	}
	m.drawMeta(l, counts, deviation, r)
	m.starts = []float64{0}
	for range publicSessions - 1 { // not learnt: one a second in the mean
		m.starts = append(m.starts, r.ExpFloat64())
	}
	m.sort()
	return nil
}

// weighted are choices by weight.
type weighted struct {
	value []int
	sum   []float64 // cumulated
}

func (w *weighted) add(value int, weight float64) {
	total := weight
	if n := len(w.sum); n > 0 {
		total += w.sum[n-1]
	}
	w.value, w.sum = append(w.value, value), append(w.sum, total)
}

func (w *weighted) draw(r *rand.Rand) (int, bool) {
	if len(w.sum) == 0 {
		return 0, false
	}
	i, _ := slices.BinarySearch(w.sum, r.Float64()*w.sum[len(w.sum)-1])
	return w.value[min(i, len(w.value)-1)], true
}

// drawMeta draws labels and meta of sessions from noisy counts: the class of a
// session, then each other field given the class.
func (m *Model) drawMeta(l *ledger, counts map[int64]float64, deviation float64, r *rand.Rand) {
	var classes weighted
	l.class.noisy(counts, deviation, r, func(_, class int, x float64) { classes.add(class, x) })
	fields := make([][]weighted, len(l.meta)) // by class
	whole := make([]weighted, len(l.meta))    // of all classes
	for k := range l.meta {
		fields[k] = make([]weighted, l.classes)
		l.meta[k].noisy(counts, deviation, r, func(class, v int, x float64) {
			fields[k][class].add(v, x)
			whole[k].add(v, x)
		})
	}
	for range publicSessions {
		class, _ := classes.draw(r)
		meta := make([]float64, len(m.schema.Meta))
		rest := class
		for j := len(m.condition) - 1; j >= 0; j-- {
			n := len(m.schema.Meta[m.condition[j]].Levels)
			meta[m.condition[j]], rest = float64(rest%n), rest/n
		}
		k := 0
		for i := range meta {
			if slices.Contains(m.condition, i) {
				continue
			}
			v, ok := fields[k][class].draw(r)
			if !ok {
				v, _ = whole[k].draw(r)
			}
			meta[i] = float64(v)
			k++
		}
		m.metas, m.labels = append(m.metas, meta), append(m.labels, int32(rest-1))
	}
}
