package doppelganger

import (
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/seq"
)

// heads are the network's, each on its own: in drawing one alone is needed at a
// time, and all of them are more work than the recurrent network.
type heads struct {
	runs  []*nn.MLPRun
	sizes []int
	h, w  []float32 // [rows, hidden], [rows, the largest of sizes]
}

func (l *likelihood) newHeads(be *compute.Backend, rows int) *heads {
	x := &heads{}
	all := l.net.Parts().Head.Params().Views // [classes, hidden], [classes]
	for site, from := range l.at {
		size := 2
		if c := l.sites[site]; c != nil {
			size = c.len()
		}
		m := nn.NewMLP([]int{l.c.Hidden, size}, nn.Tanh, nn.Linear)
		own := m.Params().Views
		copy(own[0].Data, all[0].Data[from*l.c.Hidden:])
		copy(own[1].Data, all[1].Data[from:])
		x.runs, x.sizes = append(x.runs, m.NewRun(be, rows)), append(x.sizes, size)
	}
	x.h, x.w = make([]float32, rows*l.c.Hidden), make([]float32, rows*slices.Max(x.sizes))
	return x
}

// weights are those of the classes of a site, [rows, size], for rows that have read
// their input.
func (x *heads) weights(s *seq.Sampler, rows []int, site int) (w []float32, size int) {
	hidden := s.Size()
	for j, row := range rows {
		s.State(row, x.h[j*hidden:][:hidden])
	}
	size = x.sizes[site]
	w = x.w[:len(rows)*size]
	x.runs[site].ForwardExp(x.h[:len(rows)*hidden], w, []int{size})
	return w, size
}
