package tokens

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// Census is what of training sessions is counted, not learnt: which labels and
// classes of meta come together, how long sessions are, when they start.
type Census struct {
	Kinds    []Kind
	MaxSteps int       // where sessions were cut; 0: nowhere
	Longest  int       // of training
	Starts   []float64 // s between the starts of sessions, at most 4,096 of them
	byLabel  [][]int   // by label+1: indices in Kinds
	pairs    *pairs
	order    *order
	tails    tails
	binned   []int   // columns of tails
	ordered  []int   // columns of order
	step     []uint8 // by class of the first column: what it is to Past
}

// Kind is the sessions of one label and one class of each meta field.
type Kind struct {
	Tokens []int32 // [1+meta]
	Count  int32
}

// NewCensus counts sessions. maxSteps above 0 is where they were cut; 0: at the
// longest length, if 2 % of the sessions have it; below 0: nowhere.
func (c *Codec) NewCensus(s *traffic.Set, maxSteps int) *Census {
	n := &Census{pairs: c.newPairs(s), order: c.newOrder(s), tails: c.newTails(s), binned: c.binned(), ordered: c.ordered(), step: c.steps()}
	at := map[string]int{}
	var begun []float64
	longest := 0
	for i := range s.Sessions {
		x := &s.Sessions[i]
		t := make([]int32, 1+len(c.Meta))
		c.MetaTokens(x.Label, x.Meta, t)
		key := fmt.Sprint(t)
		k, ok := at[key]
		if !ok {
			k = len(n.Kinds)
			at[key] = k
			n.Kinds = append(n.Kinds, Kind{Tokens: t})
		}
		n.Kinds[k].Count++
		begun = append(begun, x.Start)
		switch steps := s.Of.Len(x); {
		case steps > n.Longest:
			n.Longest, longest = steps, 1
		case steps == n.Longest:
			longest++
		}
	}
	slices.SortFunc(n.Kinds, func(a, b Kind) int { return slices.Compare(a.Tokens, b.Tokens) })
	n.index(len(c.Schema.Labels))
	switch {
	case maxSteps > 0:
		n.MaxSteps = maxSteps
	case maxSteps == 0 && n.Longest > 1 && 50*longest >= s.Len():
		n.MaxSteps = n.Longest
	}
	slices.Sort(begun)
	n.Starts = []float64{0}
	for i := 1; i < len(begun) && i < 4096; i++ {
		n.Starts = append(n.Starts, begun[i]-begun[i-1])
	}
	return n
}

func (n *Census) index(labels int) {
	n.byLabel = make([][]int, labels+1)
	for i, k := range n.Kinds {
		n.byLabel[k.Tokens[0]+1] = append(n.byLabel[k.Tokens[0]+1], i)
	}
}

// Check reports a request that the census cannot serve.
func (n *Census) Check(r *traffic.Request, of *traffic.Schema) error {
	if err := r.Check(of); err != nil {
		return err
	}
	for _, l := range r.Labels {
		if len(n.byLabel[l+1]) == 0 {
			return fmt.Errorf("%w: no session of training has label %d %q", traffic.ErrRequest, l, of.LabelName(l))
		}
	}
	return nil
}

// Begin draws session i of a request: its label and meta, and their tokens into
// about [1+meta]. They are drawn as often as training had them together, those
// of a prefix are its own.
func (c *Codec) Begin(n *Census, r *traffic.Request, i int, about []int32) traffic.Session {
	key := rng.Key{Seed: r.Seed, A: uint32(i), Purpose: rng.SessionSteps}
	var of []int
	if len(r.Labels) > 0 {
		of = n.byLabel[r.Labels[i%len(r.Labels)]+1]
	}
	from := n.draw(of, key.Float64(0))
	copy(about, from.Tokens)
	x := traffic.Session{Label: int(from.Tokens[0]), Meta: make([]float64, len(c.Schema.Meta))}
	for k := range c.Meta {
		c.Meta[k].Decode(from.Tokens[1+k], key.Float64(uint32(1+k)), x.Meta)
	}
	if p := r.Prefix; p != nil {
		x.Meta = slices.Clone(p.Meta)
		if len(r.Labels) == 0 {
			x.Label = p.Label
		}
		c.MetaTokens(x.Label, x.Meta, about)
		x.Steps = slices.Clone(p.Steps)
	}
	return x
}

// draw is one of Kinds, by count, for u in [0, 1); of nil: of all.
func (n *Census) draw(of []int, u float64) *Kind {
	count := len(of)
	if of == nil {
		count = len(n.Kinds)
	}
	at := func(i int) *Kind {
		if of == nil {
			return &n.Kinds[i]
		}
		return &n.Kinds[of[i]]
	}
	total := 0.
	for i := range count {
		total += float64(at(i).Count)
	}
	left := u * total
	for i := range count - 1 {
		if left -= float64(at(i).Count); left < 0 {
			return at(i)
		}
	}
	return at(count - 1)
}

// Pause is the seconds between session i of a request and the one before: runs
// of 32 of training's.
func (n *Census) Pause(seed uint64, i int) float64 {
	const run = 32
	if i == 0 {
		return 0
	}
	first := rng.Key{Seed: seed, A: uint32(i / run), Purpose: rng.SessionStart}.Intn(0, len(n.Starts))
	return n.Starts[(first+i%run)%len(n.Starts)]
}

// Tensors are the census for a file; MaxSteps and Longest are the caller's.
func (n *Census) Tensors() []safetensors.Tensor {
	w := 1 + len(n.Kinds[0].Tokens)
	kinds := make([]int32, 0, len(n.Kinds)*w)
	for _, k := range n.Kinds {
		kinds = append(append(kinds, k.Count), k.Tokens...)
	}
	return append(slices.Concat(n.pairs.tensors(), n.order.tensors(), n.tails.tensors()),
		safetensors.Tensor{Name: "kinds", Shape: []int{len(n.Kinds), w}, Data: kinds},
		safetensors.Tensor{Name: "starts", Shape: []int{len(n.Starts)}, Data: n.Starts})
}

// ReadCensus reads what Tensors wrote.
func (c *Codec) ReadCensus(f *safetensors.File, maxSteps, longest int) (*Census, error) {
	if maxSteps < 0 || longest < 1 || longest > 1<<30 || maxSteps > 1<<30 {
		return nil, fmt.Errorf("tokens: max_steps %d, longest %d", maxSteps, longest)
	}
	n := &Census{MaxSteps: maxSteps, Longest: longest, binned: c.binned(), ordered: c.ordered(), step: c.steps()}
	var err error
	if n.pairs, err = c.readPairs(f); err != nil {
		return nil, err
	}
	if n.order, err = c.readOrder(f); err != nil {
		return nil, err
	}
	if n.tails, err = c.readTails(f); err != nil {
		return nil, err
	}
	info, ok := f.Info("kinds")
	w := 2 + len(c.Meta)
	if !ok || len(info.Shape) != 2 || info.Shape[0] < 1 || info.Shape[1] != w {
		return nil, fmt.Errorf("tokens: tensor kinds is missing or of shape %v", info.Shape)
	}
	flat := make([]int32, info.Shape[0]*w)
	if err := safetensors.Read(f, "kinds", flat, info.Shape...); err != nil {
		return nil, err
	}
	for row := range slices.Chunk(flat, w) {
		k := Kind{row[1:], row[0]}
		if k.Count < 1 || k.Tokens[0] < -1 || int(k.Tokens[0]) >= len(c.Schema.Labels) {
			return nil, fmt.Errorf("tokens: kinds: %d sessions of label %d", k.Count, k.Tokens[0])
		}
		for i, t := range k.Tokens[1:] {
			if col := &c.Meta[i]; t < 0 || int(t) >= col.Len() {
				return nil, fmt.Errorf("tokens: kinds: class %d of %s, which has %d", t, col.Name, col.Len())
			}
		}
		n.Kinds = append(n.Kinds, k)
	}
	n.index(len(c.Schema.Labels))
	if info, ok = f.Info("starts"); !ok || len(info.Shape) != 1 || info.Shape[0] < 1 {
		return nil, fmt.Errorf("tokens: tensor starts is missing or of shape %v", info.Shape)
	}
	n.Starts = make([]float64, info.Shape[0])
	if err := safetensors.Read(f, "starts", n.Starts, info.Shape...); err != nil {
		return nil, err
	}
	for i, x := range n.Starts {
		if !(x >= 0) || x > 1e12 {
			return nil, fmt.Errorf("tokens: starts[%d] is %v s", i, x)
		}
	}
	return n, nil
}

// Positions is how many classes Position has.
const Positions = 28

// Position is the class of a step's place in its session: one for each of the
// first 16, then one a factor of two.
func Position(t int) int32 {
	if t < 16 {
		return int32(t)
	}
	k := int32(15)
	for t >= 16 && k < Positions-1 {
		t /= 2
		k++
	}
	return k
}
