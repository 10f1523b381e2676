package doppelganger

import (
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// calibrate shifts logits after training, by what is sampled beside what training
// has: those of attributes until their classes are as often, those of steps' classes
// likewise, and then that of the end until sessions have as many steps in
// the mean. A load is its rate first, in packets and in each direction, and
// errors of a step's chances add up over a session. table is of training against
// critics, nil of the likelihood, whose attributes are calibrated by what it is
// fitted to.
func (m *Model) calibrate(be *compute.Backend, train []traffic.Session, t *table) error {
	seed := m.Seed ^ 1<<63 // other draws than those of a user's seeds
	steps := 0
	for i := range train {
		steps += m.codec.Schema.Len(&train[i])
	}
	mean := float64(steps) / float64(max(len(train), 1))
	// Half a million steps, for the tail of lengths is heavy: the mean of 33,000 sessions of
	// P0's captures is 1 % off. Short fits have fewer.
	n := max(min(int((1<<19)/mean), m.Config.Updates*m.Config.Batch/4), 512)
	if t != nil {
		if err := m.fitAttributes(be, t, n, seed); err != nil {
			return err
		}
	}
	if err := m.fitSteps(be, train, n, seed); err != nil {
		return err
	}
	if t != nil {
		m.fitPlaces(be, train, n/4, seed)
	}
	if m.codec.Longest == 1 {
		return nil
	}
	ends, was := m.ends(), []float32{}
	for _, e := range ends {
		was = append(was, *e.logit)
	}
	shift := float32(0)
	apply := func() {
		for i, e := range ends {
			*e.logit = was[i] + shift*e.share
		}
	}
	// A load is off by as much as the mean, so that the last look is at eight times as
	// many: their mean is .4 % off where 33,000's is 1 %.
	for _, look := range []struct {
		n   int
		off float64
	}{{n, .005}, {min(8*n, m.Config.Updates*m.Config.Batch), .002}} {
		err := tokens.FitEnd(&shift, mean, look.off, func() (float64, error) {
			apply()
			return m.meanLength(be, look.n, seed), nil
		})
		apply()
		if err != nil {
			return err
		}
	}
	return nil
}

// meanLength is that of n sampled sessions, in steps.
func (m *Model) meanLength(be *compute.Backend, n int, seed uint64) float64 {
	steps := 0
	m.drawBlocks(be, n, seed, func(drawn []traffic.Session) {
		for i := range drawn {
			steps += m.codec.Schema.Len(&drawn[i])
		}
	})
	return float64(steps) / float64(n)
}

// end is a logit that decides how long sessions are, and its share of a shift.
type end struct {
	logit *float32
	share float32
}

// ends are the logits of a session's end, or where lengths are drawn those of their
// classes: longer ones lose more.
func (m *Model) ends() (all []end) {
	k := m.codec
	switch {
	case m.lm != nil && len(k.Outline) > 0:
		site := len(k.Meta)
		for c := range k.Outline[0].len() {
			all = append(all, end{&m.lm.bias()[m.lm.at[site]+c], -.5 * float32(math.Log(k.Outline[0].low(int32(c))))})
		}
	case m.lm != nil:
		all = append(all, end{&m.lm.bias()[m.lm.at[len(m.lm.sites)-1]], 1})
	default:
		width := m.nets.emitWidth()
		bias := m.nets.bias()
		for t := range m.Config.Emit {
			all = append(all, end{&bias[(t+1)*width-2], 1})
		}
	}
	return all
}

// outputBias is that of a network's last layer.
func outputBias(p *nn.Params) []float32 { return p.Views[len(p.Views)-1].Data }

// bias is that of the series generator's last layer, [Emit, emitWidth].
func (n *networks) bias() []float32 { return outputBias(n.series.Params()) }

// bias is that of all sites' classes.
func (l *likelihood) bias() []float32 { return outputBias(l.net.Parts().Head.Params()) }

// fitAttributes calibrates the attribute generator.
func (m *Model) fitAttributes(be *compute.Backend, t *table, n int, seed uint64) error {
	k := m.codec
	bias := outputBias(m.nets.attributes.Params())
	var fields []tokens.Shares
	var of []int // by field: its block
	at := 0
	for b := k.given; b < len(k.blocks); b++ {
		size := k.blocks[b]
		if b < k.tags || b >= k.norms { // a chunk's tag depends on the chunk of the start alone
			f := tokens.Shares{Logits: [][]float32{bias[at:][:size]}, Want: make([]float64, size)}
			for _, a := range t.attributes {
				f.Want[a[b]]++
			}
			fields, of = append(fields, f), append(of, b)
		}
		at += size
	}
	return tokens.FitShares(fields, func() ([][]float64, error) {
		got := counts(fields)
		m.blocks(be, n, seed, func(r *traffic.Request, s *sampler, first, rows int, _ []int, _ []float64) {
			s.attributes(r, first, rows)
			for i := range rows {
				for f, b := range of {
					got[f][s.class[i*len(k.blocks)+b]]++
				}
			}
		})
		return got, nil
	})
}

func counts(fields []tokens.Shares) [][]float64 {
	n := make([][]float64, len(fields))
	for f := range fields {
		n[f] = make([]float64, len(fields[f].Want))
	}
	return n
}

// fitSteps calibrates the fields of steps that are drawn as classes, and of the
// likelihood those of sessions.
func (m *Model) fitSteps(be *compute.Backend, train []traffic.Session, n int, seed uint64) error {
	k := m.codec
	var fields []tokens.Shares
	field := func(size int, logits ...[]float32) {
		for i := range logits {
			logits[i] = logits[i][:size]
		}
		fields = append(fields, tokens.Shares{Logits: logits, Want: make([]float64, size)})
	}
	about, of := 0, k.other // fields of sessions, and by class of steps the field of the inner schema
	if m.lm != nil {
		of = nil
		for f := range k.in.Steps {
			of = append(of, f)
		}
		about = m.lm.meta
		for site := range about + len(of) {
			field(m.lm.sites[site].len(), m.lm.bias()[m.lm.at[site]:])
		}
	} else {
		k.Ends = make([][]float32, octave(k.Longest)) // the longest end by themselves
		width, at := m.nets.emitWidth(), len(k.numeric)
		for j := range of {
			var logits [][]float32
			for t := range m.Config.Emit {
				logits = append(logits, m.nets.bias()[t*width+at:])
			}
			field(k.Steps[j].len(), logits...)
			at += k.Steps[j].len()
		}
		for o := range k.Ends {
			k.Ends[o] = make([]float32, 2)
			field(2, k.Ends[o])
		}
	}
	gap := k.in.StepIndex("gap")
	count := func(sessions []traffic.Session) [][]float64 {
		into := counts(fields)
		for i := range sessions {
			s := k.innerSession(&sessions[i])
			for o := range k.Ends { // of sessions that come to an octave: do they end in it?
				if at := octave(k.in.Len(&s)); at == o {
					into[about+len(of)+o][0]++
				} else if at > o {
					into[about+len(of)+o][1]++
				}
			}
			if about > 0 {
				for j, x := range s.Meta {
					into[j][k.Meta[j].encode(x)]++
				}
				for j, class := range k.outlineOf(&s) {
					into[len(s.Meta)+j][class]++
				}
			}
			for t := range k.in.Len(&s) {
				x := k.in.Step(&s, t)
				for j, f := range of {
					drawn := t > 0 || f != gap // the first gap is 0 by definition
					if m.lm != nil && drawn {
						_, zero := m.lm.sized(m.lm.meta+j, int32(x[0])) // x[0] is the kind where there are kinds
						drawn = !zero
					}
					if drawn {
						into[about+j][k.Steps[j].encode(x[f])]++
					}
				}
			}
		}
		return into
	}
	for j, n := range count(train) {
		fields[j].Want = n
	}
	// What sessions are first, and what every packet is, its kind or first field, last and by
	// the most draws: a load is its packets in each direction.
	steps := about + len(of)
	for _, part := range []struct{ from, to, draws int }{{0, about, n / 4}, {about + 1, steps, n / 4}, {steps, len(fields), n}, {about, about + 1, n}} {
		if part.from >= min(part.to, len(fields)) {
			continue
		}
		err := tokens.FitShares(fields[part.from:part.to], func() ([][]float64, error) {
			return count(m.drawLike(be, max(part.draws, 512), seed))[part.from:part.to], nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
