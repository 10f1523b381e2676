package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/timegan"
)

// stepper is the rollouts of n rows: the chain of training's generated
// windows, a second long, that goes on from the hidden states of the rows
// named. Its memory is the model's and is freed with it.
type stepper struct {
	e       *engine
	m       *model
	n, size int

	passes               driver.Ptr
	hidden               driver.Ptr // [n,size]: generator's layers, supervisor's, recovery's
	rows, noise, cond, x driver.Ptr // [n], [n,Z], [n,C], [n,F]
	draws                driver.Ptr // [n] timegan.Draw
	listed               []int32
	wanted               map[int]int // row → its place in fresh, of SetHidden since the last launch
	order                []int
	fresh                []float32
	err                  error // of a Hidden, for the next Next
}

var rolled = [...]int{generator, supervisor, recovery}

func newStepper(e *engine, m *model, n int) (*stepper, error) {
	if err := m.fits(2, n); err != nil {
		return nil, err
	}
	mark := len(m.all)
	s := &stepper{e: e, m: m, n: n, wanted: map[int]int{}, listed: make([]int32, n)}
	for _, k := range rolled {
		s.size += m.Networks[k].Layers * m.H
	}
	s.hidden, s.rows, s.draws = m.floats(n*s.size), m.alloc(n, 4), m.alloc(n, int(unsafe.Sizeof(timegan.Draw{})))
	s.noise, s.cond = m.floats(n*m.Z), m.floats(n*m.C)
	in, at := part{P: s.noise, Width: int32(m.Z)}, driver.Ptr(0)
	var list []pass
	for _, k := range rolled {
		a := m.apply(k, 1, n, in, m.told(s.cond))
		a.Carry, a.CarryRow, a.CarryLayer = s.hidden+4*at, int32(s.size), int32(m.H)
		list, in, s.x = append(list, a.pass), a.output(), a.Y
		at += driver.Ptr(int(a.Layers) * m.H)
	}
	s.passes = put(&m.arena, list)
	if err := m.wait(); err != nil {
		m.back(mark) // too many rows for the memory leave the model intact
		return nil, err
	}
	return s, nil
}

func (s *stepper) Next(rows []int, noise, cond, x []float32) error {
	m, n := s.m, len(rows)
	if len(noise) != n*m.Z || len(cond) != n*m.C || len(x) != n*m.F {
		return fmt.Errorf("cuda: %d rows: %d noise, %d conditions, %d channels", n, len(noise), len(cond), len(x))
	}
	return s.advance(rows, x, func() {
		upload(&m.arena, s.noise, noise)
		upload(&m.arena, s.cond, cond)
	})
}

// Roll draws noise and conditions on the device.
func (s *stepper) Roll(rows []int, draws []timegan.Draw, x []float32) error {
	m, n := s.m, len(rows)
	if len(draws) != n || x != nil && len(x) != n*m.F {
		return fmt.Errorf("cuda: %d rows: %d draws, %d channels", n, len(draws), len(x))
	}
	return s.advance(rows, x, func() {
		upload(&m.arena, s.draws, draws)
		threads := n * ((m.Z+1)/2 + 1)
		launch(&m.arena, noise, (threads+255)/256, 1, 256, 0, noiseArgs{Draws: s.draws, Z: s.noise, Cond: s.cond,
			Rows: int32(n), Z0: int32(m.Z), C: int32(m.C), Turn: int32(max(m.Config.Clock, 0))})
	})
}

// advance goes a second on with rows from what input puts in noise and cond; x
// may be nil.
func (s *stepper) advance(rows []int, x []float32, input func()) error {
	m, n := s.m, len(rows)
	if n > s.n {
		return fmt.Errorf("cuda: %d rows of a stepper of %d", n, s.n)
	}
	for i, r := range rows {
		if r < 0 || r >= s.n {
			return fmt.Errorf("cuda: row %d of a stepper of %d", r, s.n)
		}
		s.listed[i] = int32(r)
	}
	if n == 0 {
		return nil
	}
	return s.do(func() error {
		if s.err != nil {
			return s.err
		}
		s.flush()
		upload(&m.arena, s.rows, s.listed[:n])
		input()
		m.run(forward, networkArgs{Pass: s.passes, Rows: s.rows, Count: int32(len(rolled))}, len(rolled), n, 1)
		download(&m.arena, x, s.x)
		return m.wait()
	})
}

// do runs f on the engine's thread, unless the engine holds another model.
func (s *stepper) do(f func() error) error {
	return s.e.do(func(m *model) error {
		if m != s.m {
			return errors.New("cuda: the stepper's model is no longer loaded")
		}
		return f()
	})
}

// flush copies hidden states that were set: runs of rows at once, as a reset
// of all of them is.
func (s *stepper) flush() {
	for i := 0; i < len(s.order); {
		k := i + 1
		for k < len(s.order) && s.order[k] == s.order[k-1]+1 {
			k++
		}
		upload(&s.m.arena, s.at(s.order[i]), s.fresh[i*s.size:k*s.size])
		i = k
	}
	clear(s.wanted)
	s.order, s.fresh = s.order[:0], s.fresh[:0]
}

func (s *stepper) at(row int) driver.Ptr { return s.hidden + driver.Ptr(4*row*s.size) }

// Hidden leaves dst 0 where the device fails: the next Next says how.
func (s *stepper) Hidden(row int, dst []float32) {
	s.check(row, dst)
	if i, ok := s.wanted[row]; ok {
		copy(dst, s.fresh[i*s.size:])
		return
	}
	if err := s.do(func() error {
		download(&s.m.arena, dst, s.at(row))
		return s.m.wait()
	}); err != nil {
		clear(dst)
		s.err = err
	}
}

func (s *stepper) SetHidden(row int, src []float32) {
	s.check(row, src)
	i, ok := s.wanted[row]
	if !ok {
		i = len(s.order)
		s.wanted[row], s.order, s.fresh = i, append(s.order, row), append(s.fresh, src...)
	}
	copy(s.fresh[i*s.size:(i+1)*s.size], src)
}

func (s *stepper) check(row int, state []float32) {
	if row < 0 || row >= s.n || len(state) != s.size {
		panic(fmt.Sprintf("cuda: stepper: row %d of %d, a state of %d numbers, want %d", row, s.n, len(state), s.size))
	}
}

func (s *stepper) Size() int { return s.size }

var _ timegan.Roller = (*stepper)(nil)
