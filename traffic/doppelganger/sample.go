package doppelganger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"runtime"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
)

// block is how many sessions are drawn at once. They do not depend on it.
const block = 1024

// Sample draws sessions. Their labels are as often as in training, and as many start
// in each chunk, as far apart as training's there; the chunk is given to the
// attribute generator, and past the end of the trace the chunks begin again. A model of one chunk samples sessions that start in it. A prefix is refused by an adversarial model, which
// cannot go on from it.
func (m *Model) Sample(ctx context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		if err := m.checkRequest(&r); err != nil {
			yield(traffic.Session{}, err)
			return
		}
		r.Seed = chunkSeed(r.Seed, m.Config.Chunk)
		be := compute.NewBackend(compute.Fastest(), runtime.GOMAXPROCS(0))
		defer be.Close()
		rows := max(min(block, r.N), 1)
		labels, starts := make([]int, rows), make([]float64, rows)
		var s *sampler
		if m.lm == nil {
			s = m.nets.newSampler(be, rows)
			labels, starts = s.label, s.start
		}
		for first := 0; first < r.N; first += block {
			n := min(block, r.N-first)
			for i := range n {
				labels[i], starts[i] = m.label(&r, first+i), m.codec.start(r.Seed, first+i)
			}
			if err := ctx.Err(); err != nil {
				yield(traffic.Session{}, err)
				return
			}
			var drawn []traffic.Session
			if s != nil {
				drawn = s.draw(&r, first, n)
			} else {
				drawn = m.lm.draw(be, &r, first, n, labels, starts)
			}
			for _, x := range drawn {
				if err := ctx.Err(); err != nil {
					yield(traffic.Session{}, err)
					return
				}
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

func (m *Model) checkRequest(r *traffic.Request) error {
	if err := r.Check(&m.codec.Schema); err != nil {
		return err
	}
	for _, l := range r.Labels {
		if m.codec.Labels[l+1] == 0 {
			return fmt.Errorf("%w: no session of training has label %d %q", traffic.ErrRequest, l, m.codec.Schema.LabelName(l))
		}
	}
	if r.Prefix != nil && m.lm == nil {
		return fmt.Errorf("%w: %w: a model of mode %s goes on from no prefix", traffic.ErrRequest, errors.ErrUnsupported, m.Config.Mode)
	}
	return nil
}

func (m *Model) label(r *traffic.Request, i int) int {
	if len(r.Labels) > 0 {
		return r.Labels[i%len(r.Labels)]
	}
	if r.Prefix != nil {
		return r.Prefix.Label
	}
	total := int32(0)
	for _, n := range m.codec.Labels {
		total += n
	}
	at := int32(rng.Key{Seed: r.Seed, A: uint32(i), B: 1, Purpose: rng.SessionSteps}.Intn(0, int(total)))
	for l, n := range m.codec.Labels {
		if at < n {
			return l - 1
		}
		at -= n
	}
	return len(m.codec.Labels) - 2
}

// sampler draws blocks of sessions of the generators.
type sampler struct {
	n      *networks
	be     *compute.Backend
	run    *nn.MLPRun
	state  *nn.GRUState
	label  []int
	start  []float64
	in     []float32
	p      []float32
	class  []int32
	hot    []float32
	x, y   []float32
	walks  []walk
	active []int
	out    []traffic.Session
	job    func(row int)
	rows   int
	seen   [][]placed // by row: outputs for numbers, where they are asked for
}

// walk is where a row's series is.
type walk struct {
	chunk    int  // of the piece
	first    bool // it is the one the session starts in
	begin    float64
	calls    int // of the piece
	steps    int // of the session
	at       float64
	low, top []float64 // of each numeric field, as scaled
	with     fitting   // kinds that the attributes allow
	before   uint64    // kinds of the steps so far
	step     []float64 // of the codec's inner schema
	done     bool
}

func (n *networks) newSampler(be *compute.Backend, rows int) *sampler {
	k := n.k
	rows = max(rows, 1)
	s := &sampler{n: n, be: be, run: n.attributes.NewRun(be, rows), state: n.series.NewState(be, rows), label: make([]int, rows), start: make([]float64, rows)}
	given := n.givenWidth()
	s.in, s.p = make([]float32, rows*(n.c.Noise+given)), make([]float32, rows*(k.width-given))
	s.class, s.hot = make([]int32, rows*len(k.blocks)), make([]float32, rows*k.width)
	s.x, s.y = make([]float32, rows*n.series.In), make([]float32, rows*n.series.Out)
	s.walks, s.out = make([]walk, rows), make([]traffic.Session, rows)
	for i := range s.walks {
		s.walks[i].low, s.walks[i].top = make([]float64, len(k.numeric)), make([]float64, len(k.numeric))
		s.walks[i].step = make([]float64, len(k.in.Steps))
	}
	return s
}

// Shard is a block's share of work that is done row by row.
func (s *sampler) Shard(i int) {
	for row := i * 32; row < min((i+1)*32, s.rows); row++ {
		s.job(row)
	}
}

func (s *sampler) each(rows int, job func(row int)) {
	s.rows, s.job = rows, job
	s.be.Do(s, (rows+31)/32)
}

func sessionKey(seed uint64, i int, b uint32) rng.Key {
	return rng.Key{Seed: seed, A: uint32(i), B: b, Purpose: rng.SessionSteps}
}

// attributes draws those of sessions first … first+n, whose labels and starts are in
// s, and begins the sessions.
func (s *sampler) attributes(r *traffic.Request, first, n int) {
	k, net := s.n.k, s.n
	given := net.givenWidth()
	gen, wide := k.width-given, net.c.Noise+given
	s.each(n, func(i int) {
		class, hot, x := s.class[i*len(k.blocks):][:len(k.blocks)], s.hot[i*k.width:][:k.width], s.in[i*wide:][:wide]
		clear(class)
		k.give(class, s.label[i], k.chunk(s.start[i]))
		clear(hot)
		at := 0
		for b := range k.given {
			hot[at+int(class[b])] = 1
			at += k.blocks[b]
		}
		normals(x[:net.c.Noise], sessionKey(r.Seed, first+i, 0))
		copy(x[net.c.Noise:], hot[:given])
	})
	s.run.Forward(s.in[:n*wide], s.p[:n*gen])
	s.each(n, func(i int) {
		key := sessionKey(r.Seed, first+i, 0)
		p, class, hot := s.p[i*gen:][:gen], s.class[i*len(k.blocks):][:len(k.blocks)], s.hot[i*k.width:][:k.width]
		at := 0
		for b, size := range k.blocks[k.given:] {
			c := drawLogits(p[at:][:size], key.Float64(uint32(1000+b)))
			class[k.given+b] = c
			hot[given+at+int(c)] = 1
			at += size
		}
		s.begin(r, first, i)
	})
}

// draw draws sessions first … first+n, whose labels and starts are in s. They
// are the caller's.
func (s *sampler) draw(r *traffic.Request, first, n int) []traffic.Session {
	k, net := s.n.k, s.n
	s.attributes(r, first, n)
	s.active = s.active[:0]
	for i := range n {
		s.active = append(s.active, i)
	}
	s.state.Reset(nil)
	most := k.Longest
	if r.MaxSteps > 0 {
		most = r.MaxSteps
	}
	in, out := net.series.In, net.series.Out
	for len(s.active) > 0 {
		a := len(s.active)
		s.each(a, func(j int) {
			i := s.active[j]
			w := &s.walks[i]
			net.input(s.x[j*in:][:in], s.hot[i*k.width:], w.first, w.chunk, w.calls*net.c.Emit, sessionKey(r.Seed, first+i, s.stream(w)))
		})
		s.state.Step(s.active, s.x[:a*in], s.y[:a*out])
		s.each(a, func(j int) {
			i := s.active[j]
			s.emit(i, s.y[j*out:][:out], sessionKey(r.Seed, first+i, s.stream(&s.walks[i])), most)
		})
		live := s.active[:0]
		for _, i := range s.active {
			w := &s.walks[i]
			if w.done {
				continue
			}
			if w.calls == 0 { // another piece
				s.state.Reset([]int{i})
			}
			live = append(live, i)
		}
		s.active = live
	}
	return slices.Clone(s.out[:n])
}

// stream separates the calls of a session: by chunk and by call.
func (s *sampler) stream(w *walk) uint32 { return 2 + uint32(w.chunk)<<24 + uint32(w.calls) }

// begin makes a session of a row's classes, without steps.
func (s *sampler) begin(r *traffic.Request, first, i int) {
	k := s.n.k
	key := sessionKey(r.Seed, first+i, 1)
	class := s.class[i*len(k.blocks):][:len(k.blocks)]
	x := traffic.Session{Label: s.label[i], Start: s.start[i], Meta: make([]float64, len(k.Meta))}
	for j := range k.Meta {
		x.Meta[j] = k.Meta[j].decode(class[k.given+j], k.inside(j, r.Seed, first+i, key.Float64(uint32(16+j))))
	}
	w := &s.walks[i]
	*w = walk{chunk: k.chunk(x.Start), first: true, at: x.Start, low: w.low, top: w.top, step: w.step, with: k.with(class)}
	if k.Chunks > 1 {
		w.begin = math.Floor(x.Start/(k.Span*float64(k.Chunks))) * k.Span * float64(k.Chunks)
	}
	for j := range k.numeric {
		lo := k.Low[j].decode(class[k.norms+2*j], key.Float64(uint32(1000+2*j)))
		hi := lo + k.Range[j].decode(class[k.norms+2*j+1], key.Float64(uint32(1001+2*j)))
		w.low[j], w.top[j] = lo, hi
	}
	s.out[i] = x
}

// inside is where session i's value of a meta field lies in its range, from 0 to
// 1: u, but for addresses, which are ranks of popularity: one at the tail is
// that of few sessions. There it is the additive recurrence i/φ, so that
// ranks of a range come round in turn and do not repeat by chance.
func (k *codec) inside(field int, seed uint64, i int, u float64) float64 {
	if k.Schema.Meta[field].Kind != traffic.Address {
		return u
	}
	_, f := math.Modf(sessionKey(seed, 0, 1<<31+uint32(field)).Float64(0) + float64(i)*(math.Sqrt(5)-1)/2)
	return f
}

// emit takes one call's logits as steps of row i.
func (s *sampler) emit(i int, y []float32, key rng.Key, most int) {
	net, k := s.n, s.n.k
	c := &k.in
	w, x := &s.walks[i], &s.out[i]
	gap := c.StepIndex("gap")
	fields, width := len(c.Steps), net.emitWidth()
	for t := range net.c.Emit {
		y := y[t*width:][:width]
		step := w.step
		for j, f := range k.numeric {
			kind := c.Steps[f].Kind
			v := w.low[j]
			if w.top[j] > w.low[j] {
				lo, hi := scale(kind, w.low[j]), scale(kind, w.top[j])
				v = unscale(kind, lo+k.share(j, y[j], hi)*(hi-lo))
				if kind == traffic.Size {
					v = math.Round(v)
				}
			}
			step[f] = v
		}
		from := len(k.numeric)
		for j, f := range k.other {
			size := k.Steps[j].len()
			p := y[from:][:size]
			exponentials(p)
			if j == 0 && k.Kinds != nil {
				permit(p, k.Kinds.next(w.with, w.before))
			}
			class := draw(p, key.Float64(uint32(2000+2*t*(fields+1)+2*j)))
			if j == 0 && k.Kinds != nil {
				w.before |= 1 << class
			}
			step[f] = k.Steps[j].decode(class, key.Float64(uint32(2001+2*t*(fields+1)+2*j)))
			from += size
		}
		if s.seen != nil {
			for j, f := range k.numeric {
				if w.top[j] > w.low[j] && k.placed(j, w.steps, step) {
					s.seen[i] = append(s.seen[i], placed{j, scale(c.Steps[f].Kind, w.top[j]), y[j]})
				}
			}
		}
		if gap >= 0 {
			if w.steps == 0 {
				step[gap] = 0 // by definition
			}
			w.at += step[gap]
			if opens := w.begin + float64(w.chunk)*k.Span; t == 0 && w.calls == 0 && !w.first && w.at < opens {
				step[gap] += opens - w.at // a piece's first step is not before its chunk
				w.at = opens
			}
		}
		from = len(x.Steps)
		x.Steps = k.outer(x.Steps, step)
		if k.Kinds != nil {
			class := s.class[i*len(k.blocks)+k.given:]
			k.Kinds.boundWith(int(step[0]), x.Steps[from:], func(field int) int { return int(class[field]) })
		}
		w.steps++
		if w.steps >= most {
			w.done = true
			return
		}
		if k.Kinds != nil && k.Kinds.over(w.with, w.before) {
			w.done = true
			return
		}
		goes := y[width-2:][:2]
		if o := octave(w.steps); o < len(k.Ends) {
			goes[0] += k.Ends[o][0]
			goes[1] += k.Ends[o][1]
		}
		if drawLogits(goes, key.Float64(uint32(2000+2*t*(fields+1)+2*fields))) == 0 {
			s.next(i)
			return
		}
	}
	w.calls++
}

// octave of a number of steps: 0 of one, 1 of two and three, 2 of four to seven.
func octave(steps int) int { return bits.Len(uint(steps)) - 1 }

// permit leaves weights to the kinds in a set alone, evenly where they have none: a
// generator that is trained against critics can be sure of a kind that its
// attributes do not allow. An empty set permits all.
func permit(p []float32, set uint64) {
	if set == 0 {
		return
	}
	var sum float32
	for i := range p {
		if set>>i&1 == 0 {
			p[i] = 0
		}
		sum += p[i]
	}
	for i := range p {
		if sum == 0 && set>>i&1 == 1 {
			p[i] = 1
		}
	}
}

// next goes to the next chunk that a row's tags name. Where it opens later than the
// session's largest gap allows, tags and range contradict each other, as in no
// session of training, and the session ends.
func (s *sampler) next(i int) {
	k := s.n.k
	w := &s.walks[i]
	class := s.class[i*len(k.blocks):][:len(k.blocks)]
	w.calls, w.first = 0, false
	gap := slices.Index(k.numeric, k.in.StepIndex("gap"))
	for w.chunk++; w.chunk < k.Chunks; w.chunk++ {
		if gap >= 0 && w.begin+float64(w.chunk)*k.Span-w.at > w.top[gap] {
			break
		}
		if class[k.tags+w.chunk] == 1 {
			return
		}
	}
	w.done = true
}

// drawLogits draws a class of a softmax.
func drawLogits(y []float32, u float64) int32 {
	exponentials(y)
	return draw(y, u)
}

// exponentials are a softmax, not normalised.
func exponentials(y []float32) {
	top := y[0]
	for _, v := range y {
		top = max(top, v)
	}
	for i, v := range y {
		y[i] = float32(math.Exp(float64(v - top)))
	}
}
