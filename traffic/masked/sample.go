package masked

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

const (
	cells = 8192      // about how many steps are filled side by side
	ahead = 4 * cells // of the sessions among which those of like lengths are found
	lanes = 16        // rows that the network reads at the price of one
)

// Sample draws sessions: label, classes of meta and length as training had
// them, then all steps in Config.Passes passes: which step is drawn in which is
// random, each is drawn given all that earlier passes drew, its fields one given
// the other. A class that training never has with the label, in the step's
// direction or, of a first step, as the first is never drawn; symbols that
// training never has together, or never in that order in a direction, hardly
// ever. Sessions are filled side by side; what a session is does not depend on it.
func (m *Model) Sample(ctx context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		if err := m.check(&r); err != nil {
			yield(traffic.Session{}, err)
			return
		}
		f := filling{m: m, r: &r}
		start := 0.
		for i := 0; i < r.N; {
			if err := f.next(ctx, i); err != nil {
				yield(traffic.Session{}, err)
				return
			}
			for _, x := range f.sessions {
				if err := ctx.Err(); err != nil {
					yield(traffic.Session{}, err)
					return
				}
				start += m.census.Pause(r.Seed, i)
				x.Start = start
				i++
				if !yield(x, nil) {
					return
				}
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

// filling is a run of sessions of a request, filled together.
type filling struct {
	m        *Model
	r        *traffic.Request
	sessions []traffic.Session
	about    [][]int32
	classes  [][]int32 // by session, [n,columns]; -1: masked
	given    []int     // by session: steps of the prefix
	fillers  map[[2]int]*seq.Filler
}

// next fills sessions from first on.
func (f *filling) next(ctx context.Context, first int) error {
	m, r := f.m, f.r
	cols := len(m.codec.Steps)
	f.sessions, f.about, f.classes, f.given = f.sessions[:0], f.about[:0], f.classes[:0], f.given[:0]
	total := 0
	for i := first; i < r.N && len(f.sessions) < 2048; i++ {
		about := make([]int32, 1+len(m.codec.Meta))
		x := m.codec.Begin(m.census, r, i, about)
		n := m.length(&x, i, r)
		if total += n; total > ahead && len(f.sessions) > 0 {
			break
		}
		classes := slices.Repeat([]int32{-1}, n*cols)
		given := 0
		if r.Prefix != nil {
			given = copy(classes, m.codec.Classes(r.Prefix, nil)) / cols
		}
		f.sessions, f.about, f.classes, f.given = append(f.sessions, x), append(f.about, about), append(f.classes, classes), append(f.given, given)
	}
	order := make([]int, len(f.sessions)) // sessions of like lengths share a batch
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return len(f.classes[order[a]]) < len(f.classes[order[b]]) })
	for len(order) > 0 {
		k := len(order)
		length := func(back int) int { return len(f.classes[order[k-1-back]]) / cols }
		steps := shape(length(0))
		rows := 1
		for rows < k && (rows%lanes != 0 || rows < cells/steps && (steps == shape(1) || 4*length(rows) > 3*steps)) {
			rows++
		}
		if err := f.fill(ctx, first, steps, order[k-rows:]); err != nil {
			return err
		}
		order = order[:k-rows]
	}
	width := len(m.codec.Schema.Steps)
	for i := range f.sessions {
		x := &f.sessions[i]
		n := len(f.classes[i]) / cols
		for t := f.given[i]; t < n; t++ {
			x.Steps = append(x.Steps, make([]float64, width)...)
			row := x.Steps[t*width:]
			key := rng.Key{Seed: r.Seed, A: uint32(first + i), B: uint32(1 + t), Purpose: rng.SessionSteps}
			for k := range cols {
				m.codec.Steps[k].Decode(f.classes[i][t*cols+k], key.Float64(uint32(2*k+2)), row)
			}
		}
	}
	return nil
}

// length draws how many steps session i has.
func (m *Model) length(x *traffic.Session, i int, r *traffic.Request) int {
	u := rng.Key{Seed: r.Seed, A: uint32(i), Purpose: rng.SessionSteps}.Float64(1000)
	of := m.lengths[x.Label+1]
	if len(of) == 0 { // a prefix may have a label that training had not
		of = []int32{int32(m.census.Longest)}
	}
	n := min(max(int(of[min(int(u*float64(len(of))), len(of)-1)]), 1), longest)
	if m.Config.MaxSteps > 0 {
		n = min(n, m.Config.MaxSteps)
	}
	if r.MaxSteps > 0 {
		n = min(n, r.MaxSteps)
	}
	if r.Prefix != nil {
		n = max(n, m.Schema().Len(r.Prefix))
	}
	return n
}

// shape is the length of a batch for sessions of up to n steps, at most a
// quarter more of them.
func shape(n int) int {
	s := 8
	for s < n {
		s += max(s/4&^3, 4)
	}
	return s
}

// fill unmasks the sessions of the given places in a batch of so many steps.
func (f *filling) fill(ctx context.Context, first, steps int, places []int) error {
	m := f.m
	cols, rows := len(m.codec.Steps), (len(places)+lanes-1)&^(lanes-1) // few sizes of batch
	filler := f.fillers[[2]int{steps, rows}]
	if filler == nil {
		if f.fillers == nil || len(f.fillers) > 8 {
			f.fillers = map[[2]int]*seq.Filler{}
		}
		filler = m.net.NewFiller(compute.NewBackend(compute.Fastest(), 1), steps, rows)
		f.fillers[[2]int{steps, rows}] = filler
	}
	b := tokens.NewBatch(m.net.Config, steps, rows)
	for i := range b.Tokens {
		b.Tokens[i] = -1
	}
	b.Length = make([]int32, rows)
	pass := make([][]uint16, len(places)) // of every step
	for row, i := range places {
		n := len(f.classes[i]) / cols
		b.Length[row] = int32(n)
		for t := range n {
			key := rng.Key{Seed: f.r.Seed, A: uint32(first + i), B: uint32(1 + t), Purpose: rng.SessionSteps}
			pass[row] = append(pass[row], uint16(key.Float64(0)*float64(m.Config.Passes)))
		}
	}
	for row := len(places); row < rows; row++ {
		b.Length[row] = 1
	}
	e := len(m.net.Embeddings)
	guidance := float32(m.Config.Guidance)
	follow := make([]*tokens.Following, len(places))
	for row, i := range places {
		follow[row] = m.census.Follow(m.codec)
		for t := range f.given[i] {
			follow[row].Add(t, f.classes[i][t*cols:][:cols])
		}
	}
	var at []int
	type place struct{ row, step int }
	var of []place
	for p := range m.Config.Passes {
		if err := ctx.Err(); err != nil {
			return err
		}
		at, of = at[:0], of[:0]
		for row, i := range places {
			n := len(f.classes[i]) / cols
			for t := range n {
				cell := f.classes[i][t*cols:][:cols]
				m.inputs(b.Tokens[(t*rows+row)*e:][:e], cell, t, n, f.about[i])
				if cell[0] < 0 && int(pass[row][t]) == p {
					at, of = append(at, t*rows+row), append(of, place{row, t})
				}
			}
		}
		if len(at) == 0 {
			continue
		}
		filler.Read(b)
		if guidance > 0 {
			free := *b
			free.Tokens = slices.Clone(b.Tokens)
			for i := cols + 2; i < len(free.Tokens); i += e {
				free.Tokens[i] = -1
			}
			filler.ReadFree(&free)
		}
		filler.Heads(at, guidance)
		for n, x := range of {
			i := places[x.row]
			cell := f.classes[i][x.step*cols:][:cols]
			label := f.sessions[i].Label + 1
			key := rng.Key{Seed: f.r.Seed, A: uint32(first + i), B: uint32(1 + x.step), Purpose: rng.SessionSteps}
			for k := range cols {
				w := filler.Weights(n, k, cell)
				m.weigh(w, k, x.step, cell, f.about[i], follow[x.row])
				masks := m.masks(label, k, x.step, cell[0])
				restrict(w, masks)
				cell[k] = seq.Pick(w, key.Float64(uint32(2*k+1)))
				if !among(masks, int(cell[k])) { // all weights were 0
					cell[k] = anyOf(masks)
				}
			}
			follow[x.row].Add(x.step, cell)
		}
	}
	return nil
}

// weigh lowers the weights of column k's classes, for step at with a cell's earlier
// columns, that training never had with what the step and the session have, or
// in another order.
func (m *Model) weigh(w []float32, k, at int, cell, about []int32, follow *tokens.Following) {
	if k == 0 {
		follow.Possible(w, at, nil, about)
		return
	}
	m.census.Weigh(m.codec, w, k, cell, about)
	follow.Weigh(w, k, at, cell)
}

// masks are the classes that column k of a step may have, each mask at least
// one: those of the label's sessions, or of their first steps; and, once the
// step's direction is known by the class of its first column, those of the
// direction.
func (m *Model) masks(label, k, step int, first int32) (of [2][]bool) {
	switch {
	case step == 0 && m.first != nil && m.first[label] != nil:
		of[0] = m.first[label][k]
	case m.allowed[label] != nil:
		of[0] = m.allowed[label][k]
	}
	if k > 0 && m.sides != nil {
		if side := m.sides[2*label+m.codec.Side(first)]; side != nil {
			of[1] = side[k]
		}
	}
	return of
}

// among reports whether all masks allow a class.
func among(masks [2][]bool, class int) bool {
	return (masks[0] == nil || masks[0][class]) && (masks[1] == nil || masks[1][class])
}

// restrict leaves weights to the classes that all masks allow.
func restrict(w []float32, masks [2][]bool) {
	if masks[0] == nil && masks[1] == nil {
		return
	}
	for class := range w {
		if !among(masks, class) {
			w[class] = 0
		}
	}
}

// anyOf is the first class that all masks allow; where there is none, that the
// first allows.
func anyOf(masks [2][]bool) int32 {
	for class := range max(len(masks[0]), len(masks[1])) {
		if among(masks, class) {
			return int32(class)
		}
	}
	return int32(max(slices.Index(masks[0], true), 0))
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

// draws is how many shares of masked steps LogProb tries.
const draws = 16

// LogProb adds to into a lower bound of the natural logarithm of the
// probability of each of Parts: the mean over random masks of what the network
// says of the masked steps, each weighted by 1/share (the evidence lower bound
// of absorbing diffusion), with that of the session's length. It counts the
// session's steps. The masks are drawn from the session's own values: equal
// sessions have equal bounds.
func (m *Model) LogProb(s *traffic.Session, into []float64) (steps int, err error) {
	if err := m.Schema().Valid(s); err != nil {
		return 0, err
	}
	if n := len(m.Parts()); len(into) != n {
		return 0, fmt.Errorf("masked: %d sums for parts %q", len(into), m.Parts())
	}
	n, cols := m.Schema().Len(s), len(m.codec.Steps)
	into[0] += m.logLength(s.Label, n)
	if n == 0 {
		return 0, nil
	}
	all := m.codec.Classes(s, nil)
	about := make([]int32, 1+len(m.codec.Meta))
	m.codec.MetaTokens(s.Label, s.Meta, about)
	type scorer struct {
		filler *seq.Filler
		batch  *seq.Batch
	}
	x, ok := m.scorers.Get().(*scorer)
	if !ok || x.batch.Steps < n {
		x = &scorer{filler: m.net.NewFiller(compute.NewBackend(compute.Fastest(), 1), shape(n), draws), batch: tokens.NewBatch(m.net.Config, shape(n), draws)}
		x.batch.Length = make([]int32, draws)
	}
	defer m.scorers.Put(x)
	b, e := x.batch, len(m.net.Embeddings)
	for i := range b.Tokens {
		b.Tokens[i] = -1
	}
	seed := uint64(n)
	for _, v := range all {
		seed = seed*0x9E3779B97F4A7C15 + uint64(v) + 1
	}
	nothing := slices.Repeat([]int32{-1}, cols)
	var at []int
	var follow [draws]*tokens.Following
	for d := range draws {
		follow[d] = m.census.Follow(m.codec)
		share := (float64(d) + .5) / draws
		key := rng.Key{Seed: seed, A: uint32(d), Purpose: rng.Judging}
		b.Length[d] = int32(n)
		for t := range n {
			cell := all[t*cols:][:cols]
			if key.Float64(uint32(t)) < share {
				cell = nothing
				at = append(at, t*draws+d)
			} else {
				follow[d].Add(t, cell)
			}
			m.inputs(b.Tokens[(t*draws+d)*e:][:e], cell, t, n, about)
		}
	}
	x.filler.Read(b)
	x.filler.Heads(at, 0)
	for i, a := range at {
		t, d := a/draws, a%draws
		w := (1 / ((float64(d) + .5) / draws)) / draws
		part := 0
		for k := range cols {
			col := &m.codec.Steps[k]
			if col.Bins != nil {
				part++
			}
			v := all[t*cols+k]
			weights := x.filler.Weights(i, k, all[t*cols:][:cols])
			m.weigh(weights, k, t, all[t*cols:][:cols], about, follow[d])
			lp := logProb(weights, v) + col.LogShare(v, m.Schema().Step(s, t))
			if col.Bins != nil {
				into[part] += w * lp
			} else {
				into[0] += w * lp
			}
		}
	}
	return n, nil
}

// logLength is ln of the probability that a session of a label has n steps:
// training's share, of which one session in as many and one is left for
// lengths that training had not, up to twice its longest.
func (m *Model) logLength(label, n int) float64 {
	of := m.lengths[label+1]
	count := 0.
	for _, l := range of {
		if int(l) == n {
			count++
		}
	}
	return math.Log((count + 1/float64(2*m.census.Longest+1)) / (float64(len(of)) + 1))
}

func logProb(weights []float32, class int32) float64 {
	sum := 0.
	for _, w := range weights {
		sum += float64(w)
	}
	return math.Log(max(float64(weights[class])/sum, 1e-30))
}
