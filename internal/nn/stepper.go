package nn

import (
	"fmt"

	"github.com/planegym/planegym/compute"
)

// GRUState advances N independent rows of a GRU one step at a time and carries
// their hidden states. What a row becomes depends on its own inputs alone.
type GRUState struct {
	g  *GRU
	be *Backend
	n  int
	h  []float32 // [tiles,layers,H,lanes]

	// of the call under way
	rows    []int
	x, y    []float32
	scratch []float32
}

// NewStepper is a stepper of n rows, all hidden states 0.
func (g *GRU) NewState(be *Backend, n int) *GRUState {
	if n < 1 {
		panic(fmt.Sprintf("nn: no stepper has %d rows", n))
	}
	return &GRUState{g: g, be: be, n: n, h: floats(tiles(n) * g.Layers * g.Hidden * lanes)}
}

// Step advances rows, nil meaning all; none may be listed twice. Entry i of x
// [n,in] and y [n,width] belongs to rows[i].
func (s *GRUState) Step(rows []int, x, y []float32) {
	n := s.count(rows)
	check("step input", len(x), n, s.g.In)
	check("step output", len(y), n, s.g.Width())
	if n == 0 {
		return
	}
	s.rows, s.x, s.y = rows, x, y
	if s.be.Kernels == compute.Reference {
		s.refStep(n)
	} else {
		k := shards(tiles(n))
		s.scratch = s.be.Scratch(k * s.scratchWidth())
		s.be.Do(s, k)
	}
	s.rows, s.x, s.y = nil, nil, nil
}

func (s *GRUState) count(rows []int) int {
	if rows == nil {
		return s.n
	}
	return len(rows)
}

// at is where row's first hidden value lies; the others follow lanes apart.
func (s *GRUState) at(row int) int {
	if row < 0 || row >= s.n {
		panic(fmt.Sprintf("nn: stepper: row %d of %d", row, s.n))
	}
	return row/lanes*s.g.Layers*s.g.Hidden*lanes + row%lanes
}

// scratchWidth is what a shard needs: x, the hidden states of gathered rows,
// one next hidden state, the gates and y, a panel each.
func (s *GRUState) scratchWidth() int {
	return lanes * (s.g.In + (s.g.Layers+5)*s.g.Hidden + s.g.Out)
}

func (s *GRUState) Shard(i int) {
	g, k := s.g, kernelsOf(s.be)
	n := s.count(s.rows)
	step, width := g.Hidden*lanes, s.scratchWidth()
	scratch := s.scratch[i*width:][:width]
	xs, scratch := scratch[:g.In*lanes], scratch[g.In*lanes:]
	gathered, scratch := scratch[:g.Layers*step], scratch[g.Layers*step:]
	next, saved, ys := scratch[:step], scratch[step:][:4*step], scratch[5*step:]
	from, to := tilesOf(i, shards(tiles(n)), tiles(n))
	for t := from; t < to; t++ {
		rows := min(lanes, n-t*lanes)
		k.panelIn(xs, s.x[t*lanes*g.In:], rows, g.In)
		hs := s.tile(t, rows)
		inPlace := hs != nil
		if !inPlace {
			hs = gathered
			for b, row := range s.rows[t*lanes:][:rows] {
				h := s.h[s.at(row):]
				for j := range g.Layers * g.Hidden {
					hs[j*lanes+b] = h[j*lanes]
				}
			}
		}
		x, in := xs, g.In
		for l := range g.Layers {
			h := hs[l*step:][:step]
			wi, wh, bi, bh := gruLayer(g.GRUConfig, g.params.Data, l)
			k.gruForward(x, h, wi, wh, bi, bh, next, saved, in, g.Hidden)
			copy(h, next)
			x, in = h, g.Hidden
		}
		if g.Out > 0 {
			w, b := gruHead(g.GRUConfig, g.params.Data)
			k.affine(ys, x, w, b, g.Out, g.Hidden)
			k.activate(g.Act, ys[:g.Out*lanes])
			x = ys
		}
		k.panelOut(s.y[t*lanes*g.Width():], x, rows, g.Width())
		if !inPlace {
			for b, row := range s.rows[t*lanes:][:rows] {
				h := s.h[s.at(row):]
				for j := range g.Layers * g.Hidden {
					h[j*lanes] = hs[j*lanes+b]
				}
			}
		}
	}
}

// tile is the hidden states of a tile whose rows the t-th of a call are, in
// order and all of them; nil where they are not.
func (s *GRUState) tile(t, rows int) []float32 {
	if s.rows != nil {
		group := s.rows[t*lanes:][:rows]
		first := group[0]
		if first < 0 || first%lanes != 0 || rows != min(lanes, s.n-first) {
			return nil
		}
		for i, row := range group {
			if row != first+i {
				return nil
			}
		}
		t = first / lanes
	}
	size := s.g.Layers * s.g.Hidden * lanes
	return s.h[t*size:][:size]
}

// Reset sets the hidden states of rows, nil meaning all, to 0.
func (s *GRUState) Reset(rows []int) {
	if rows == nil {
		clear(s.h)
	}
	for _, row := range rows {
		h := s.h[s.at(row):]
		for j := range s.g.Layers * s.g.Hidden {
			h[j*lanes] = 0
		}
	}
}

// Hidden copies row's hidden state [layers,H] to dst.
func (s *GRUState) Hidden(row int, dst []float32) {
	check("stepper hidden state", len(dst), s.g.Layers, s.g.Hidden)
	h := s.h[s.at(row):]
	for j := range dst {
		dst[j] = h[j*lanes]
	}
}

// SetHidden makes src [layers,H] row's hidden state.
func (s *GRUState) SetHidden(row int, src []float32) {
	check("stepper hidden state", len(src), s.g.Layers, s.g.Hidden)
	h := s.h[s.at(row):]
	for j, v := range src {
		h[j*lanes] = v
	}
}

func (s *GRUState) refStep(n int) {
	g := s.g
	p := widen(g.params.Data)
	hs := make([]float32, g.Layers*g.Hidden)
	for i := range n {
		row := i
		if s.rows != nil {
			row = s.rows[i]
		}
		s.Hidden(row, hs)
		x := widen(s.x[i*g.In:][:g.In])
		for l := range g.Layers {
			h := hs[l*g.Hidden:][:g.Hidden]
			wi, wh, bi, bh := gruLayer(g.GRUConfig, p, l)
			x = refGRU(x, widen(h), wi, wh, bi, bh, 1, layerIn(g.GRUConfig, l), g.Hidden).h
			narrow(h, x)
		}
		s.SetHidden(row, hs)
		if g.Out > 0 {
			w, b := gruHead(g.GRUConfig, p)
			x = refDense(x, w, b, g.Out, g.Hidden, g.Act)
		}
		narrow(s.y[i*g.Width():][:g.Width()], x)
	}
}
