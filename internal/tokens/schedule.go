package tokens

import (
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
)

// Piece is the steps of a session from From on.
type Piece struct{ Session, From int32 }

// Shape is a size of batch, and the pieces that fit into it.
type Shape struct {
	Steps, Rows int
	// Share is how many steps a batch of this shape has, as a multiple of the mean
	// batch. A loss is a mean over a batch's steps; weighed by Share, each step
	// counts alike, whether its batch is of short sessions or of long ones. Without,
	// the ends of short sessions count more than the steps of long ones, and sampled
	// sessions are too short. A model that counts lengths does not need it.
	Share  float32
	pieces []Piece
	steps  int // of pieces, less their overlaps
}

// Schedule cuts sessions into pieces, and pieces into batches of equal cost:
// many short sessions, or few long pieces. A pass goes once through all pieces
// in an order of its own, which depends on seed and pass alone.
type Schedule struct {
	Shapes []Shape
	batch  []struct{ shape, at int }
	seed   uint64
	now    int       // the pass that order and orders are of
	order  []int32   // of batches
	orders [][]int32 // of pieces, by shape
}

// NewSchedule is the schedule of sessions of so many steps each. A batch has
// rows sessions of up to short steps, or a power of two fewer of as many times
// longer ones; sessions above window steps are cut into pieces that overlap.
func NewSchedule(steps []int, short, window, rows, overlap int, seed uint64) *Schedule {
	s := &Schedule{seed: seed, now: -1}
	longest := 1
	for _, n := range steps {
		longest = max(longest, min(n, window))
	}
	first := min(short, longest)
	for n := first; ; n = min(2*n, longest) {
		s.Shapes = append(s.Shapes, Shape{Steps: n, Rows: max(rows*first/n, 1)})
		if n == longest {
			break
		}
	}
	for i, n := range steps {
		for from := 0; ; from += window - overlap {
			k := 0
			for k < len(s.Shapes)-1 && s.Shapes[k].Steps < n-from {
				k++
			}
			s.Shapes[k].pieces = append(s.Shapes[k].pieces, Piece{int32(i), int32(from)})
			s.Shapes[k].steps += min(n-from, window)
			if from > 0 {
				s.Shapes[k].steps -= overlap
			}
			if n-from <= window {
				break
			}
		}
	}
	total := 0
	for k := range s.Shapes {
		sh := &s.Shapes[k]
		total += sh.steps
		for at := 0; at < len(sh.pieces); at += sh.Rows {
			s.batch = append(s.batch, struct{ shape, at int }{k, at})
		}
	}
	for k := range s.Shapes {
		sh := &s.Shapes[k]
		if n := (len(sh.pieces) + sh.Rows - 1) / sh.Rows; n > 0 && total > 0 { // batches
			sh.Share = float32(float64(sh.steps) / float64(n) * float64(len(s.batch)) / float64(total))
		}
	}
	return s
}

// Batches is how many updates a pass has.
func (s *Schedule) Batches() int { return len(s.batch) }

// Batch is the shape of an update's batch and the piece of each of its rows.
func (s *Schedule) Batch(update int) (shape int, piece func(row int) Piece) {
	if pass := update / len(s.batch); pass != s.now {
		s.now = pass
		s.order = permutation(len(s.batch), rng.Key{Seed: s.seed, A: uint32(pass), Purpose: rng.BatchOrder})
		s.orders = s.orders[:0]
		for k := range s.Shapes {
			s.orders = append(s.orders, permutation(len(s.Shapes[k].pieces), rng.Key{Seed: s.seed, A: uint32(pass), B: uint32(1 + k), Purpose: rng.BatchOrder}))
		}
	}
	b := s.batch[s.order[update%len(s.batch)]]
	pieces, order := s.Shapes[b.shape].pieces, s.orders[b.shape]
	return b.shape, func(row int) Piece { return pieces[order[(b.at+row)%len(order)]] }
}

func permutation(n int, key rng.Key) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		k := key.Intn(uint32(i), i+1)
		p[i], p[k] = p[k], p[i]
	}
	return p
}

// Objectives is an objective over batches of several shapes: that of shape At
// computes.
type Objectives struct {
	Of []seq.Objective
	At int
}

// Losses is the objective's of the shape.
func (o *Objectives) Losses(b *seq.Batch) ([]float64, error) { return o.Of[o.At].Losses(b) }

// Gradients is the objective's of the shape.
func (o *Objectives) Gradients() [][]float32 { return o.Of[o.At].Gradients() }

// NewBatch is memory for a batch.
func NewBatch(c seq.Config, steps, rows int) *seq.Batch {
	n := steps * rows
	return &seq.Batch{Steps: steps, Rows: rows, Tokens: make([]int32, n*len(c.Embeddings)), Values: make([]int32, n*len(c.Heads))}
}
