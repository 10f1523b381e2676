package doppelganger

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// codec turns sessions into what the networks see, and back.
//
// A session's attributes are categories, block by block:
//
//	label, chunk of its start          given, not generated
//	fields of the session              classes
//	chunks with steps of it            two classes each: NetShare's flow tags
//	smallest value and range           classes, of every numeric field of the
//	                                   steps: DoppelGANger's auto-normalisation
//
// A step is its kind, which is a category of its symbols and of which of its
// sizes are 0, per numeric field that the kind leaves, where its value lies in
// that range, from 0 to 1 on a logarithmic scale, per other field a category,
// and whether the session goes on in the same chunk.
type codec struct {
	Schema  traffic.Schema `json:"schema"`
	Chunks  int            `json:"chunks"`
	Span    float64        `json:"span"` // s of a chunk
	Longest int            `json:"longest"`
	Series  bool           `json:"series"` // blocks of tags and normalisation: for the series generator
	Kinds   *kinds         `json:"kinds,omitempty"`
	Means   bool           `json:"means,omitempty"` // bytes are drawn as those of a packet in the mean
	Meta    []classes      `json:"meta"`
	Low     []classes      `json:"low"`               // by numeric field
	Range   []classes      `json:"range"`             // by numeric field
	Outline []classes      `json:"outline,omitempty"` // of the likelihood: length, then by numeric field its largest value in a session
	Steps   []classes      `json:"steps"`             // by other field; of the likelihood: by field
	Labels  []int32        `json:"labels"`            // sessions of each, that without a label first
	Starts  []float64      `json:"starts"`            // s from the start before; of the first, from the trace's begin
	Ends    [][]float32    `json:"ends,omitempty"`    // of the series generator: what is added to the logits of end and go on, by the octave of the steps so far
	Places  [][]places     `json:"places,omitempty"`  // of the series generator, by numeric field and the session's largest value

	in             traffic.Schema // of sessions with kinds in the place of symbols, or means in that of bytes; else Schema
	packets, size  int            // with means: the fields of a step that these are of
	fields         []int          // by field of its steps, that of Schema's; -1: the kind
	numeric, other []int          // step fields of in
	off            [][]bool       // by kind and numeric field: it is 0
	bytes          []uint64       // by numeric field: kinds whose size is not 0; 0 where none is
	blocks         []int          // classes of each block of attributes
	given          int            // blocks that are given
	tags, norms    int            // blocks where tags and normalisation begin
	width          int            // of a one-hot attribute vector
	row            int            // of a step: numbers, one-hot categories, goes on
	lows           [][]float64    // by numeric field and class of a step, with an outline: its smallest value
	opens          []float64      // when training's sessions start, in order
	begins         []int          // by chunk: the first of opens in it; then their number
	every          int            // sessions for each of opens
}

// windowRef is some steps of a session, the steps that a critic sees at once.
type windowRef struct {
	session, chunk int32
	first          bool  // of the chunk where the session starts
	index          int32 // of the window in its chunk
	from, n        int32 // steps of the session
	end            bool  // the session's steps in this chunk end here
}

// table is encoded sessions.
type table struct {
	attributes [][]int32   // by session: classes, by block
	steps      [][]float32 // by session: [n, row]
	windows    []windowRef
	byIndex    [][]int32 // windows by index
	account    Account
}

// Account says where the records of a source went. None is lost: every step
// is in one window, whatever the length of its session.
type Account struct {
	Sessions, Records int
	Pieces            int // sessions cut at the ends of chunks
	Windows           int
	Empty             int // sessions without a step, which are left out
	Others            int `json:",omitempty"` // sessions that start in other chunks than the one that is learnt
}

func isNumeric(k traffic.Kind) bool {
	return k == traffic.Number || k == traffic.Gap || k == traffic.Size
}

// scale is the logarithmic scale of a field, increasing for all x.
func scale(k traffic.Kind, x float64) float64 {
	if k == traffic.Gap {
		x *= 1e6
	}
	return math.Copysign(math.Log1p(math.Abs(x)), x)
}

func unscale(k traffic.Kind, y float64) float64 {
	x := math.Copysign(math.Expm1(math.Abs(y)), y)
	if k == traffic.Gap {
		x /= 1e6
	}
	return x
}

// newCodec fits a codec to sessions.
func newCodec(c Config, set *traffic.Set) (*codec, error) {
	k := &codec{Schema: set.Of, Series: c.Mode == Adversarial}
	k.Kinds = newKinds(set, c.Common)
	k.Means = k.Kinds == nil && hasMeans(set)
	k.index0()
	set = k.inner(set)
	meta := make([][]float64, len(set.Of.Meta))
	low, wide, steps := make([][]float64, len(k.numeric)), make([][]float64, len(k.numeric)), make([][]float64, len(set.Of.Steps))
	for i := range set.Sessions {
		s := &set.Sessions[i]
		n := set.Of.Len(s)
		if n == 0 {
			continue
		}
		k.Longest = max(k.Longest, n)
		for j, x := range s.Meta {
			meta[j] = append(meta[j], x)
		}
		for j, f := range k.numeric {
			lo, hi := k.extremes(s, f)
			low[j] = append(low[j], lo)
			if hi > lo {
				wide[j] = append(wide[j], hi-lo)
			} else {
				wide[j] = append(wide[j], 0)
			}
		}
		for j := range set.Of.Steps {
			for t := range n {
				steps[j] = append(steps[j], set.Of.Step(s, t)[j])
			}
		}
	}
	if k.Longest == 0 {
		return nil, fmt.Errorf("doppelganger: there is no session with a step to learn from")
	}
	k.Chunks, k.Span = cut(set, c.Chunks)
	for j := range set.Of.Meta {
		k.Meta = append(k.Meta, newClasses(&set.Of.Meta[j], meta[j], c.Bins, c.Common))
	}
	for j, f := range k.numeric {
		k.Low = append(k.Low, newClasses(&set.Of.Steps[f], low[j], c.Bins, c.Common))
		k.Range = append(k.Range, newClasses(&set.Of.Steps[f], wide[j], c.Bins, c.Common))
	}
	if c.Mode == Likelihood {
		k.Low, k.Range = nil, nil
		k.newOutline(set, c)
		for f := range set.Of.Steps {
			k.Steps = append(k.Steps, newClasses(&set.Of.Steps[f], steps[f], c.Bins, c.Common))
		}
	} else {
		for _, f := range k.other {
			k.Steps = append(k.Steps, newClasses(&set.Of.Steps[f], steps[f], c.Bins, c.Common))
		}
	}
	k.count(set.Sessions)
	k.index()
	return k, nil
}

func (k *codec) index0() {
	k.in, k.fields = k.Schema, nil
	if k.Kinds != nil {
		k.in, k.fields = k.Kinds.inner(&k.Schema)
	}
	k.indexMeans()
	k.numeric, k.other, k.off, k.bytes = nil, nil, nil, nil
	for i, f := range k.in.Steps {
		if isNumeric(f.Kind) {
			k.numeric = append(k.numeric, i)
		} else {
			k.other = append(k.other, i)
		}
	}
	k.bytes = make([]uint64, len(k.numeric))
	if k.Kinds == nil {
		return
	}
	for kind := range k.Kinds.Of {
		off := make([]bool, len(k.numeric))
		for j, f := range k.numeric {
			if slices.Contains(k.Kinds.Sizes, k.fields[f]) {
				if off[j] = !k.Kinds.has(kind, k.fields[f]); !off[j] {
					k.bytes[j] |= 1 << kind
				}
			}
		}
		k.off = append(k.off, off)
	}
}

// inner is sessions of in.
func (k *codec) inner(set *traffic.Set) *traffic.Set {
	if k.Kinds == nil && !k.Means {
		return set
	}
	in := &traffic.Set{Of: k.in}
	for i := range set.Sessions {
		in.Sessions = append(in.Sessions, k.innerSession(&set.Sessions[i]))
	}
	return in
}

func (k *codec) innerSession(s *traffic.Session) traffic.Session {
	x := *s
	if k.Means {
		x.Steps = slices.Clone(s.Steps)
		for t := range k.in.Len(&x) {
			k.toMean(k.in.Step(&x, t))
		}
	}
	if k.Kinds == nil {
		return x
	}
	x.Steps = make([]float64, 0, k.Schema.Len(s)*len(k.fields))
	for t := range k.Schema.Len(s) {
		step := k.Schema.Step(s, t)
		x.Steps = append(x.Steps, float64(k.Kinds.nearest(step)))
		for _, f := range k.fields[1:] {
			x.Steps = append(x.Steps, step[f])
		}
	}
	return x
}

// outer appends a step of in to steps as one of Schema. With kinds its sizes become what
// its kind allows.
func (k *codec) outer(steps, step []float64) []float64 {
	from := len(steps)
	if k.Kinds == nil {
		steps = append(steps, step...)
		if k.Means {
			k.fromMean(steps[from:])
		}
		return steps
	}
	steps = append(steps, make([]float64, len(k.Schema.Steps))...)
	out := steps[from:]
	kind := int(step[0])
	for i, f := range k.Kinds.Symbols {
		out[f] = float64(k.Kinds.Of[kind][i])
	}
	for i, f := range k.fields {
		if i > 0 {
			out[f] = step[i]
		}
	}
	k.Kinds.bound(kind, out)
	return steps
}

// with are the kinds that go with a session's attributes: training had them with
// its symbols, and they have no bytes where the session has none.
func (k *codec) with(class []int32) (set fitting) {
	if k.Kinds == nil {
		return set
	}
	set = k.Kinds.with(func(field int) int { return int(class[k.given+field]) })
	for j := range k.Low {
		if c := class[k.norms+2*j]; int(c) < len(k.Low[j].Exact) && k.Low[j].Exact[c] == 0 {
			if any := set.any &^ k.bytes[j]; any != 0 { // else the attributes contradict each other
				set.any = any
			}
			if first := set.first &^ k.bytes[j]; first != 0 {
				set.first = first
			}
		}
	}
	return set
}

// index fills what follows from the exported fields.
func (k *codec) index() {
	k.index0()
	k.indexStarts()
	k.blocks, k.given = nil, 0
	for _, n := range []int{len(k.Labels), k.Chunks} {
		if n > 1 {
			k.blocks = append(k.blocks, n)
			k.given++
		}
	}
	for i := range k.Meta {
		k.blocks = append(k.blocks, k.Meta[i].len())
	}
	k.tags = len(k.blocks)
	if k.Series && k.Chunks > 1 {
		for range k.Chunks {
			k.blocks = append(k.blocks, 2)
		}
	}
	k.norms = len(k.blocks)
	for i := range k.Low {
		k.blocks = append(k.blocks, k.Low[i].len(), k.Range[i].len())
	}
	k.width = 0
	for _, n := range k.blocks {
		k.width += n
	}
	k.row = len(k.numeric) + 1
	for i := range k.Steps {
		k.row += k.Steps[i].len()
	}
	k.indexOutline()
}

// extremes are the smallest and the largest value of a field in a session of
// in; of a size that kinds say is 0, of the others.
func (k *codec) extremes(s *traffic.Session, field int) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	gated := k.Kinds != nil && slices.Contains(k.Kinds.Sizes, k.fields[field])
	for t := range k.in.Len(s) {
		if x := k.in.Step(s, t)[field]; x != 0 || !gated {
			lo, hi = min(lo, x), max(hi, x)
		}
	}
	if lo > hi {
		return 0, 0
	}
	return lo, hi
}

// chunk is the chunk of a time.
func (k *codec) chunk(at float64) int {
	if k.Chunks == 1 {
		return 0
	}
	return int(math.Mod(at/k.Span, float64(k.Chunks)))
}

// give sets the blocks that are given.
func (k *codec) give(into []int32, label, chunk int) {
	at := 0
	if len(k.Labels) > 1 {
		into[at] = int32(label + 1)
		at++
	}
	if k.Chunks > 1 {
		into[at] = int32(chunk)
	}
}

// encode encodes sessions, cut at the ends of chunks into pieces and these into
// windows.
func (k *codec) encode(set *traffic.Set, window int) *table {
	t := &table{}
	set = k.inner(set)
	c := &k.in
	gap := c.StepIndex("gap")
	for i := range set.Sessions {
		s := &set.Sessions[i]
		n := c.Len(s)
		if n == 0 {
			t.account.Empty++
			continue
		}
		a := make([]int32, len(k.blocks))
		start := k.chunk(s.Start)
		k.give(a, s.Label, start)
		for j, x := range s.Meta {
			a[k.given+j] = k.Meta[j].encode(x)
		}
		lows, highs := make([]float64, len(k.numeric)), make([]float64, len(k.numeric))
		for j, f := range k.numeric {
			lows[j], highs[j] = k.extremes(s, f)
			if k.Series {
				a[k.norms+2*j], a[k.norms+2*j+1] = k.Low[j].encode(lows[j]), k.Range[j].encode(highs[j]-lows[j])
			}
		}
		session := int32(len(t.attributes))
		rows := make([]float32, n*k.row)
		at, piece, from := s.Start, start, 0
		cut := func(to, chunk int) { // steps from … to are a piece
			if k.Series && k.Chunks > 1 {
				a[k.tags+chunk] = 1
			}
			t.account.Pieces++
			for w := from; w < to; w += window {
				t.windows = append(t.windows, windowRef{session, int32(chunk), chunk == start && from == 0, int32((w - from) / window),
					int32(w), int32(min(window, to-w)), to-w <= window})
			}
			from = to
		}
		for step := range n {
			x := c.Step(s, step)
			if gap >= 0 {
				at += x[gap]
			}
			if now := k.chunk(at); step > 0 && now != piece {
				cut(step, piece)
				piece = now
			}
			row := rows[step*k.row:][:k.row]
			for j, f := range k.numeric {
				kind := c.Steps[f].Kind
				if lo, hi := scale(kind, lows[j]), scale(kind, highs[j]); hi > lo && (k.off == nil || !k.off[int(x[0])][j]) {
					row[j] = float32((scale(kind, x[f]) - lo) / (hi - lo))
				}
			}
			if k.Series {
				o := len(k.numeric)
				for j, f := range k.other {
					row[o+int(k.Steps[j].encode(x[f]))] = 1
					o += k.Steps[j].len()
				}
			}
			row[k.row-1] = 1
		}
		cut(n, piece)
		t.attributes = append(t.attributes, a)
		t.steps = append(t.steps, rows)
		t.account.Sessions++
		t.account.Records += n
	}
	// A piece's last step does not go on.
	for w := range t.windows {
		r := &t.windows[w]
		if r.end {
			t.steps[r.session][(int(r.from+r.n)-1)*k.row+k.row-1] = 0
		}
		for int(r.index) >= len(t.byIndex) {
			t.byIndex = append(t.byIndex, nil)
		}
		t.byIndex[r.index] = append(t.byIndex[r.index], int32(w))
	}
	t.account.Windows = len(t.windows)
	return t
}
