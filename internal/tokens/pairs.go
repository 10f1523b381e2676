package tokens

import (
	"fmt"
	"slices"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// unseen is what a class's probability is multiplied by where training never
// had it together with the step's kind of size, with one of the session's
// symbols, or with both: a flag of TCP in a datagram, an acknowledgement with
// bytes, data of TCP without.
const unseen = 1e-4

// disorder is the same of an order of steps that training never had, and of a class
// of the first column with which no symbol goes. It is more, since more orders
// than combinations are possible that training happens not to have: of nDPI's
// flows 2 % of the other half's steps.
const disorder = 1e-2

// pairs are which classes of a symbol of a step came together with what: with
// no bytes and with bytes, with each class of each symbol of meta, and with
// both at once.
type pairs struct {
	// By column of steps, kind (-1: bytes; m ≥ 0: column m of meta; -2-m: both) and
	// its class; of both twice that of meta, and one more with bytes.
	seen map[[3]int32][]bool
	both bool // files of an earlier version have none of both
}

// kinds are the columns of meta that count.
func (c *Codec) kinds() (k []int) {
	for i := range c.Meta {
		if c.Meta[i].Levels > 0 {
			k = append(k, i)
		}
	}
	return k
}

// symbols are the columns of steps, after the first, that are weighed.
func (c *Codec) symbols() (k []int) {
	for i := range c.Steps {
		if i > 0 && c.Steps[i].Levels > 0 {
			k = append(k, i)
		}
	}
	return k
}

// bytes is 1 where a class of the first column has bytes, 0 where it has none.
func (c *Codec) bytes(class int32) int32 {
	col := &c.Steps[0]
	v := col.Vocabulary
	if v == nil {
		return 1
	}
	var lo, hi int64
	if i := int(class) - len(v.Exact); i < 0 {
		lo, hi = v.Exact[class], v.Exact[class]
	} else {
		lo, hi = v.Cells[i], v.Cells[i+1]-1
	}
	if col.Sign >= 0 && lo >= -1 && hi <= 1 || col.Sign < 0 && lo == 0 && hi == 0 {
		return 0
	}
	return 1
}

func (p *pairs) add(c *Codec, k int, classes, about []int32) {
	p.set(c, int32(k), -1, c.bytes(classes[0]), classes[k])
	for _, m := range c.kinds() {
		p.set(c, int32(k), int32(m), about[1+m], classes[k])
		p.set(c, int32(k), int32(-2-m), 2*about[1+m]+c.bytes(classes[0]), classes[k])
	}
}

func (p *pairs) set(c *Codec, k, kind, of, class int32) {
	key := [3]int32{k, kind, of}
	p.both = p.both || kind < -1
	if p.seen[key] == nil {
		p.seen[key] = make([]bool, c.Steps[k].Len())
	}
	p.seen[key][class] = true
}

// newPairs counts a set's.
func (c *Codec) newPairs(s *traffic.Set) *pairs {
	p := &pairs{seen: map[[3]int32][]bool{}}
	symbols := c.symbols()
	if len(symbols) == 0 {
		return p
	}
	about := make([]int32, 1+len(c.Meta))
	for i := range s.Sessions {
		x := &s.Sessions[i]
		c.MetaTokens(x.Label, x.Meta, about)
		for step := range slices.Chunk(c.Classes(x, nil), len(c.Steps)) {
			for _, k := range symbols {
				p.add(c, k, step, about)
			}
		}
	}
	return p
}

// Weigh lowers the weights of column k's classes that training never had
// together with what the step and the session have: classes of the step's
// earlier columns, about [1+meta].
func (n *Census) Weigh(c *Codec, w []float32, k int, classes, about []int32) {
	if k == 0 || c.Steps[k].Levels == 0 {
		return
	}
	lower := func(seen []bool) {
		for i, ok := range seen {
			if !ok {
				w[i] *= unseen
			}
		}
	}
	if classes[0] >= 0 {
		lower(n.pairs.seen[[3]int32{int32(k), -1, c.bytes(classes[0])}])
	}
	for i := range c.Meta {
		if c.Meta[i].Levels > 0 {
			lower(n.pairs.seen[[3]int32{int32(k), int32(i), about[1+i]}])
			if classes[0] >= 0 {
				lower(n.pairs.seen[[3]int32{int32(k), int32(-2 - i), 2*about[1+i] + c.bytes(classes[0])}])
			}
		}
	}
}

// tensors are the pairs for a file; none where there is no symbol to weigh.
func (p *pairs) tensors() []safetensors.Tensor {
	var rows [][4]int32
	for key, seen := range p.seen {
		for class, ok := range seen {
			if ok {
				rows = append(rows, [4]int32{key[0], key[1], key[2], int32(class)})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b [4]int32) int { return slices.Compare(a[:], b[:]) })
	var flat []int32
	for _, r := range rows {
		flat = append(flat, r[:]...)
	}
	return []safetensors.Tensor{{Name: "pairs", Shape: []int{len(rows), 4}, Data: flat}}
}

// readPairs reads what tensors wrote.
func (c *Codec) readPairs(f *safetensors.File) (*pairs, error) {
	p := &pairs{seen: map[[3]int32][]bool{}}
	symbols, kinds := c.symbols(), c.kinds()
	if len(symbols) == 0 {
		return p, nil
	}
	info, ok := f.Info("pairs")
	if !ok || len(info.Shape) != 2 || info.Shape[1] != 4 {
		return nil, fmt.Errorf("tokens: tensor pairs is missing or of shape %v", info.Shape)
	}
	flat := make([]int32, 4*info.Shape[0])
	if err := safetensors.Read(f, "pairs", flat, info.Shape...); err != nil {
		return nil, err
	}
	for r := range slices.Chunk(flat, 4) {
		most := 2
		if m := max(int(r[1]), -2-int(r[1])); r[1] != -1 {
			if !slices.Contains(kinds, m) {
				return nil, fmt.Errorf("tokens: pairs: column %d of meta is no symbol", m)
			}
			if most = c.Meta[m].Len(); r[1] < 0 {
				most *= 2
			}
		}
		if !slices.Contains(symbols, int(r[0])) || r[2] < 0 || int(r[2]) >= most || r[3] < 0 || int(r[3]) >= c.Steps[r[0]].Len() {
			return nil, fmt.Errorf("tokens: pairs: %v", r)
		}
		p.set(c, r[0], r[1], r[2], r[3])
	}
	return p, nil
}
