package tokens

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// order is which classes of a symbol training had anywhere after which in one
// direction of a session: no data follow a FIN, no SYN follows data.
type order struct {
	after map[int][]bool // by column: at first·levels + second
}

// orderedLevels is the most levels of a symbol whose order is counted.
const orderedLevels = 64

// ordered are the columns whose order is counted.
func (c *Codec) ordered() []int {
	return slices.DeleteFunc(c.symbols(), func(k int) bool { return c.Steps[k].Levels > orderedLevels })
}

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
		after := make([]bool, n*n)
		for i := range s.Sessions {
			var before [2][orderedLevels]bool
			for step := range slices.Chunk(c.Classes(&s.Sessions[i], nil), len(c.Steps)) {
				d := c.Side(step[0])
				for a, ok := range before[d][:n] {
					if ok {
						after[a*n+int(step[k])] = true
					}
				}
				before[d][step[k]] = true
			}
		}
		o.after[k] = after
	}
	return o
}

// Following is what a session has so far; its steps come in any order.
type Following struct {
	codec *Codec
	order *order
	ends  map[int]*[2][orderedLevels][2]int32 // by column, direction and class: its first and last step
}

// Follow begins a session without a step.
func (n *Census) Follow(c *Codec) *Following {
	f := &Following{codec: c, order: n.order, ends: map[int]*[2][orderedLevels][2]int32{}}
	for k := range n.order.after {
		f.ends[k] = new([2][orderedLevels][2]int32)
	}
	f.Reset()
	return f
}

// Reset begins another session.
func (f *Following) Reset() {
	for _, ends := range f.ends {
		for d := range ends {
			for class := range ends[d] {
				ends[d][class] = [2]int32{math.MaxInt32, -1}
			}
		}
	}
}

// Add notes that the session has step at.
func (f *Following) Add(at int, classes []int32) {
	d := f.codec.Side(classes[0])
	for k, ends := range f.ends {
		e := &ends[d][classes[k]]
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
	n := f.codec.Steps[k].Levels
	ends := &f.ends[k][f.codec.Side(classes[0])]
	for other := range n {
		first, last := ends[other][0], ends[other][1]
		for class := range n {
			if first < int32(at) && !after[other*n+class] || last > int32(at) && !after[class*n+other] {
				w[class] *= unseen
			}
		}
	}
}

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
	return []safetensors.Tensor{{Name: "order", Shape: []int{len(rows), 3}, Data: slices.Concat(rows...)}}
}

// readOrder reads what tensors wrote; without, nothing is lowered.
func (c *Codec) readOrder(f *safetensors.File) (*order, error) {
	o := &order{after: map[int][]bool{}}
	info, ok := f.Info("order")
	if !ok {
		return o, nil
	}
	if len(info.Shape) != 2 || info.Shape[1] != 3 {
		return nil, fmt.Errorf("tokens: tensor order is of shape %v", info.Shape)
	}
	flat := make([]int32, 3*info.Shape[0])
	if err := safetensors.Read(f, "order", flat, info.Shape...); err != nil {
		return nil, err
	}
	columns := c.ordered()
	for _, k := range columns {
		o.after[k] = make([]bool, c.Steps[k].Levels*c.Steps[k].Levels)
	}
	for r := range slices.Chunk(flat, 3) {
		if !slices.Contains(columns, int(r[0])) {
			return nil, fmt.Errorf("tokens: order: column %d is no symbol", r[0])
		}
		n := int32(c.Steps[r[0]].Levels)
		if r[1] < 0 || r[1] >= n || r[2] < 0 || r[2] >= n {
			return nil, fmt.Errorf("tokens: order: %v", r)
		}
		o.after[int(r[0])][r[1]*n+r[2]] = true
	}
	return o, nil
}
