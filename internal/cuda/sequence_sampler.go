package cuda

import (
	"fmt"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/seq"
)

// SequenceSampler advances rows of a causal model of package seq on a device: it is
// a seq.Stepper. States stay there; inputs go up, weights of the classes come down, and
// the caller draws from them as it does from those of the CPU.
type SequenceSampler struct {
	onThread
	model  *seq.Model
	n      int
	listed []int32

	hidden, rows driver.Ptr // [n,layers,H], [n]
}

var _ seq.Stepper = (*SequenceSampler)(nil)

// NewSequenceSampler opens a device for n rows of m, with its parameters as they
// are now. The caller closes it.
func NewSequenceSampler(d driver.Driver, ordinal int, m *seq.Model, n int) (*SequenceSampler, error) {
	if err := computes(m); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("cuda: a sampler of %d rows", n)
	}
	s := &SequenceSampler{model: m, n: n, listed: make([]int32, n)}
	if err := s.open(d, ordinal, s.lay); err != nil {
		return nil, err
	}
	return s, nil
}

// lay is lay of the model with its parameters and the rows' states.
func (s *SequenceSampler) lay(dev *device) (*sequence, error) {
	d, _, err := lay(dev, s.model, 1, s.n)
	if err != nil {
		return nil, err
	}
	d.upload(d.p, groups(s.model))
	s.hidden, s.rows = d.floats(s.n*s.size()), d.alloc(s.n, 4)
	d.pass.Carry, d.pass.CarryRow, d.pass.CarryLayer = s.hidden, int32(s.size()), int32(d.H)
	d.passes = put(&d.arena, []pass{d.pass})
	if err := d.wait(); err != nil {
		_ = d.free() // err says what failed first
		return nil, err
	}
	return d, nil
}

// size is how many numbers the state of a row has.
func (s *SequenceSampler) size() int { return s.model.Layers * s.model.Hidden }

// Step is seq.Stepper's.
func (s *SequenceSampler) Step(rows []int, tokens []int32, dense, weigh []float32) error {
	n := len(rows)
	if rows == nil {
		n = s.n
	}
	if n > s.n || len(tokens) != n*len(s.model.Embeddings) || len(dense) != n*s.model.Dense || weigh != nil && len(weigh) != n*s.model.Width() {
		return fmt.Errorf("cuda: %d tokens, %d numbers and %d weights for %d rows of a sampler of %d", len(tokens), len(dense), len(weigh), n, s.n)
	}
	for i := range n {
		r := i
		if rows != nil {
			r = rows[i]
		}
		if r < 0 || r >= s.n {
			return fmt.Errorf("cuda: row %d of a sampler of %d", r, s.n)
		}
		s.listed[i] = int32(r)
	}
	if n == 0 {
		return nil
	}
	return s.do(func(d *sequence) error {
		upload(&d.arena, s.rows, s.listed[:n])
		upload(&d.arena, d.tokens, tokens)
		upload(&d.arena, d.dense, dense)
		d.gather(n)
		runNetworks(&d.arena, forward, networkArgs{Pass: d.passes, Rows: s.rows, Count: 1, Split: 1, T: 1, B: int32(n), H: int32(d.H)}, d.stage, d.weights)
		if weigh != nil {
			launch(&d.arena, weights, (n*d.heads+255)/256, 1, 256, 0, weightArgs{Heads: d.headList, Y: d.pass.Y, Rows: int32(n), Heads_: int32(d.heads), Width: int32(d.width)})
			download(&d.arena, weigh, d.pass.Y)
		}
		return d.wait()
	})
}

func (s *SequenceSampler) at(row int) driver.Ptr { return s.hidden + driver.Ptr(4*row*s.size()) }

// Reset is seq.Stepper's.
func (s *SequenceSampler) Reset(rows []int) error {
	return s.do(func(d *sequence) error {
		zero := func(row, n int) {
			if d.err == nil {
				d.err = d.Zero(s.at(row), 4*n*s.size(), d.stream)
			}
		}
		if rows == nil {
			zero(0, s.n)
		}
		for _, r := range rows {
			if r < 0 || r >= s.n {
				return fmt.Errorf("cuda: row %d of a sampler of %d", r, s.n)
			}
			zero(r, 1)
		}
		return d.err
	})
}

// State is seq.Stepper's.
func (s *SequenceSampler) State(row int, dst []float32) error {
	return s.state(row, dst, func(d *sequence) { download(&d.arena, dst, s.at(row)) })
}

// SetState is seq.Stepper's.
func (s *SequenceSampler) SetState(row int, src []float32) error {
	return s.state(row, src, func(d *sequence) { upload(&d.arena, s.at(row), src) })
}

func (s *SequenceSampler) state(row int, state []float32, copy func(*sequence)) error {
	if row < 0 || row >= s.n || len(state) != s.size() {
		return fmt.Errorf("cuda: row %d of a sampler of %d, a state of %d numbers, want %d", row, s.n, len(state), s.size())
	}
	return s.do(func(d *sequence) error {
		copy(d)
		return d.wait()
	})
}
