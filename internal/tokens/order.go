package tokens

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// order is which kinds of steps training had anywhere after which in one direction
// of a session, more than rarely: no data follow a FIN, no SYN follows data. A
// kind is a class of a symbol, without bytes or with: twice the class, and one
// more with. Of two kinds that no direction had both of it says nothing.
type order struct {
	after map[int][]bool // by column: at first·kinds + second
}

// rarely is the share of the directions with two kinds, of those with the rarer
// one, below which the one does not follow the other: a capture that lost a packet
// has data after a FIN, and a model is to have none.
const rarely = .05

// maxKinds is the most kinds of a symbol whose order is counted.
const maxKinds = 64

// ordered are the columns whose order is counted.
func (c *Codec) ordered() []int {
	return slices.DeleteFunc(c.symbols(), func(k int) bool { return 2*c.Steps[k].Levels > maxKinds })
}

// kind is what a step is to the order of column k.
func (c *Codec) kind(k int, classes []int32) int32 { return 2*classes[k] + c.bytes(classes[0]) }

// Side is the direction of a class of the first column, 0 or 1; 0 where there
// are no directions.
func (c *Codec) Side(class int32) int {
	col := &c.Steps[0]
	if v := col.Vocabulary; v != nil && col.Sign >= 0 {
		x := int64(0)
		if i := int(class) - len(v.Exact); i < 0 {
			x = v.Exact[class]
		} else {
			x = v.Cells[i]
		}
		if x < 0 {
			return 1
		}
	}
	return 0
}

func (c *Codec) newOrder(s *traffic.Set) *order {
	o := &order{after: map[int][]bool{}}
	for _, k := range c.ordered() {
		n := c.Steps[k].Levels
		ofKinds := followed(c, s, 2*n, func(step []int32) int32 { return c.kind(k, step) })
		ofClasses := followed(c, s, n, func(step []int32) int32 { return step[k] })
		for a := range 2 * n {
			for b := range 2 * n { // of kinds that are rare their classes say more
				ofKinds[a*2*n+b] = ofKinds[a*2*n+b] && ofClasses[a/2*n+b/2]
			}
		}
		o.after[k] = ofKinds
	}
	return o
}

// followed says which of n kinds may follow which in a direction, at first·n +
// second.
func followed(c *Codec, s *traffic.Set, n int, of func(step []int32) int32) []bool {
	count, with := make([]int, n*n), make([]int, n) // directions of sessions
	for i := range s.Sessions {
		var before [2][maxKinds]bool
		var pairs [2][maxKinds][maxKinds]bool
		for step := range slices.Chunk(c.Classes(&s.Sessions[i], nil), len(c.Steps)) {
			d, kind := c.Side(step[0]), of(step)
			for a, ok := range before[d][:n] {
				if ok {
					pairs[d][a][kind] = true
				}
			}
			before[d][kind] = true
		}
		for d := range before {
			for a := range n {
				if before[d][a] {
					with[a]++
				}
				for b := range n {
					if pairs[d][a][b] {
						count[a*n+b]++
					}
				}
			}
		}
	}
	after := make([]bool, n*n)
	for a := range n {
		for b := range n {
			seen, other := count[a*n+b], count[b*n+a]
			apart := seen == 0 && other == 0 && (a != b || with[a] == 0)
			after[a*n+b] = apart || seen > 0 && float64(seen) >= rarely*float64(min(with[a], with[b]))
		}
	}
	return after
}

// Following is what a session has so far; its steps come in any order.
type Following struct {
	codec  *Codec
	census *Census
	order  *order
	ends   map[int]*[2][maxKinds][2]int32 // by column, direction and kind: its first and last step
}

// Follow begins a session without a step.
func (n *Census) Follow(c *Codec) *Following {
	f := &Following{codec: c, census: n, order: n.order, ends: map[int]*[2][maxKinds][2]int32{}}
	for k := range n.order.after {
		f.ends[k] = new([2][maxKinds][2]int32)
	}
	f.Reset()
	return f
}

// Reset begins another session.
func (f *Following) Reset() {
	for _, ends := range f.ends {
		for d := range ends {
			for kind := range ends[d] {
				ends[d][kind] = [2]int32{math.MaxInt32, -1}
			}
		}
	}
}

// Add notes that the session has step at.
func (f *Following) Add(at int, classes []int32) {
	d := f.codec.Side(classes[0])
	for k, ends := range f.ends {
		e := &ends[d][f.codec.kind(k, classes)]
		e[0], e[1] = min(e[0], int32(at)), max(e[1], int32(at))
	}
}

// Weigh lowers the weights, for step at, of those classes of column k that training
// never had after what the session has before it in the step's direction, or
// never before what it has after.
func (f *Following) Weigh(w []float32, k, at int, classes []int32) {
	after := f.order.after[k]
	if after == nil || classes[0] < 0 {
		return
	}
	f.lower(w, k, at, f.codec.Side(classes[0]), int(f.codec.bytes(classes[0])))
}

// lower is Weigh of a step of a direction, without bytes or with.
func (f *Following) lower(w []float32, k, at, side, bytes int) {
	after, n := f.order.after[k], 2*f.codec.Steps[k].Levels
	ends := &f.ends[k][side]
	for other := range n {
		first, last := ends[other][0], ends[other][1]
		for class := range w {
			kind := 2*class + bytes
			if first < int32(at) && !after[other*n+kind] || last > int32(at) && !after[kind*n+other] {
				w[class] *= disorder
			}
		}
	}
}

// Possible lowers the weights w of classes of the first column, for step at of a
// session about [1+meta], with which no class of a symbol goes: bytes after a FIN,
// a datagram without. w[i] is of classes[i]; nil: of class i.
func (f *Following) Possible(w []float32, at int, classes, about []int32) {
	var never [4]bool
	levels := make([]float32, maxKinds/2)
	for k := range f.order.after {
		for of := range never {
			levels := levels[:f.codec.Steps[k].Levels]
			for i := range levels {
				levels[i] = 1
			}
			f.lower(levels, k, at, of/2, of%2)
			lower(levels, unseen, f.census.pairs.together(f.codec, k, int32(of%2), about))
			never[of] = never[of] || !slices.Contains(levels, 1)
		}
	}
	for i := range w {
		class := i
		if classes != nil {
			class = int(classes[i])
		}
		if never[f.census.step[class]] {
			w[i] *= disorder
		}
	}
}

// orderTensor is the order's in a file. Files of an earlier version have one of
// classes, "order", which is not read.
const orderTensor = "order.kinds"

// tensors are the order for a file; none where no column has one.
func (o *order) tensors() []safetensors.Tensor {
	var flat []int32
	for k, after := range o.after {
		n := int(math.Sqrt(float64(len(after))))
		for i, ok := range after {
			if ok {
				flat = append(flat, int32(k), int32(i/n), int32(i%n))
			}
		}
	}
	if len(flat) == 0 {
		return nil
	}
	rows := slices.Collect(slices.Chunk(flat, 3))
	slices.SortFunc(rows, func(a, b []int32) int { return slices.Compare(a, b) })
	return []safetensors.Tensor{{Name: orderTensor, Shape: []int{len(rows), 3}, Data: slices.Concat(rows...)}}
}

// readOrder reads what tensors wrote; without, nothing is lowered.
func (c *Codec) readOrder(f *safetensors.File) (*order, error) {
	o := &order{after: map[int][]bool{}}
	info, ok := f.Info(orderTensor)
	if !ok {
		return o, nil
	}
	if len(info.Shape) != 2 || info.Shape[1] != 3 {
		return nil, fmt.Errorf("tokens: tensor %s is of shape %v", orderTensor, info.Shape)
	}
	flat := make([]int32, 3*info.Shape[0])
	if err := safetensors.Read(f, orderTensor, flat, info.Shape...); err != nil {
		return nil, err
	}
	columns := c.ordered()
	for _, k := range columns {
		o.after[k] = make([]bool, 4*c.Steps[k].Levels*c.Steps[k].Levels)
	}
	for r := range slices.Chunk(flat, 3) {
		if !slices.Contains(columns, int(r[0])) {
			return nil, fmt.Errorf("tokens: order: column %d is no symbol", r[0])
		}
		n := int32(2 * c.Steps[r[0]].Levels)
		if r[1] < 0 || r[1] >= n || r[2] < 0 || r[2] >= n {
			return nil, fmt.Errorf("tokens: order: %v", r)
		}
		o.after[int(r[0])][r[1]*n+r[2]] = true
	}
	return o, nil
}
