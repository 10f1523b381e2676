package tokens

import (
	"fmt"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// tails are the largest bin that sessions of a label have of each column with bins,
// and in how many steps: [labels+1, columns, 2], the columns those of binned. Of n
// draws from one distribution and another one, the last is the largest with
// probability 1/(n+1); a network that has seen few sessions of a label among many
// others gives a gap that only others have far more than that.
type tails []int32

// binned are the columns with tails.
func (c *Codec) binned() (k []int) {
	for i := range c.Steps {
		if i > 0 && c.Steps[i].Bins != nil {
			k = append(k, i)
		}
	}
	return k
}

func (c *Codec) newTails(s *traffic.Set) tails {
	columns := c.binned()
	t := make(tails, (len(c.Schema.Labels)+1)*len(columns)*2)
	for i := range s.Sessions {
		x := &s.Sessions[i]
		for j, k := range columns {
			of := t.of(x.Label, j, len(columns))
			for n := range c.Schema.Len(x) {
				of[0] = max(of[0], c.Steps[k].Encode(c.Schema.Step(x, n)))
				of[1]++
			}
		}
	}
	return t
}

// of is the largest bin and the steps of a label's column j of columns.
func (t tails) of(label, j, columns int) []int32 {
	return t[((label+1)*columns+j)*2:][:2]
}

// weigh lowers the weights of the bins above a label's largest, together, to one in
// as many steps as the label has and one more.
func (t tails) weigh(w []float32, label, j, columns int) {
	if len(t) == 0 {
		return
	}
	of := t.of(label, j, columns)
	largest, n := int(of[0]), float32(of[1])
	if n == 0 || largest+1 >= len(w) {
		return
	}
	var below, above float32
	for i, x := range w {
		if i <= largest {
			below += x
		} else {
			above += x
		}
	}
	if most := below / n; above > most {
		for i := largest + 1; i < len(w); i++ {
			w[i] *= most / above
		}
	}
}

// tensors are the tails for a file; none where no column has bins.
func (t tails) tensors() []safetensors.Tensor {
	if len(t) == 0 {
		return nil
	}
	return []safetensors.Tensor{{Name: "tails", Shape: []int{len(t)}, Data: []int32(t)}}
}

// readTails reads what tensors wrote; without, nothing is lowered.
func (c *Codec) readTails(f *safetensors.File) (tails, error) {
	if _, ok := f.Info("tails"); !ok {
		return nil, nil
	}
	columns := c.binned()
	t := make(tails, (len(c.Schema.Labels)+1)*len(columns)*2)
	if err := safetensors.Read(f, "tails", []int32(t), len(t)); err != nil {
		return nil, err
	}
	for i := range t {
		k := columns[i/2%len(columns)]
		if t[i] < 0 || i%2 == 0 && int(t[i]) >= c.Steps[k].Len() {
			return nil, fmt.Errorf("tokens: tails of %s: %d", c.Steps[k].Name, t[i])
		}
	}
	return t, nil
}
