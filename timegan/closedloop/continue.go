package closedloop

import (
	"fmt"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/telemetry"
)

// Continue draws the end of each recording anew, n times: the model reads recording
// i up to second from[i], and draws what comes then, under the limits in force and
// the load inferred from the recordings. Of recording i it returns values
// [n,T,F], T = seconds from from[i] on, F as Fields. It says what a model makes of
// the same state under another limit, beside a testbed's snapshots.
func (m *Model) Continue(be *compute.Backend, recordings []telemetry.Recording, from []int, n int, seed uint64) ([][]float32, error) {
	k := m.codec
	if k.Clock > 0 {
		return nil, fmt.Errorf("closedloop: a model with a clock continues its own hour alone")
	}
	if len(from) != len(recordings) || n < 1 {
		return nil, fmt.Errorf("closedloop: %d starts for %d recordings, %d rollouts of each", len(from), len(recordings), n)
	}
	for i, r := range recordings {
		if from[i] < 2 || from[i] >= r.Data.Len() {
			return nil, fmt.Errorf("closedloop: recording %d has %d seconds: it cannot be continued from second %d", i+1, r.Data.Len(), from[i])
		}
		if err := k.reads(r); err != nil {
			return nil, fmt.Errorf("closedloop: recording %d: %w", i+1, err)
		}
	}
	_, regimes := inferLoad(k, recordings, k.Load.K)
	as, err := m.alike(be, recordings, regimes, k.Load.K)
	if err != nil {
		return nil, err
	}
	sim, err := NewSimulator(n, m, be)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sim.Close() }() // the CPU's has nothing to give back
	var all [][]float32
	for i, r := range recordings {
		for s, z := range regimes[i] {
			regimes[i][s] = uint8(as[z])
		}
		if err := sim.follow(r, regimes[i][:from[i]+1]); err != nil {
			return nil, err
		}
		for j := range sim.rows {
			sim.rows[j].seed, sim.rows[j].drawn, sim.rows[j].begun = seed+uint64(i*n+j), 0, true
		}
		all = append(all, sim.under(r, regimes[i], from[i]))
	}
	return all, nil
}

// reads reports why k does not fit a recording.
func (k *codec) reads(r telemetry.Recording) error {
	fields := r.Data.Fields()
	if len(fields) != len(k.Columns) {
		return fmt.Errorf("it has %d columns, the model %d", len(fields), len(k.Columns))
	}
	for j, c := range k.Columns {
		if fields[j].Name != c.Name {
			return fmt.Errorf("its column %d is %s, the model's %s", j+1, fields[j].Name, c.Name)
		}
	}
	if n := r.Switches(); n != k.Switches && n > 1 {
		return fmt.Errorf("it has %d limits a second, the model %d", n, k.Switches)
	}
	return nil
}

// follow lets all rows read a recording's seconds, of which the last of regimes is
// the next one.
func (s *Simulator) follow(r telemetry.Recording, regimes []uint8) error {
	k := s.model.codec
	d, e := k.numbersIn(), len(k.heads)
	x, tokens := make([]float32, d), make([]int32, e)
	values, ok, limits := make([]float32, len(k.Columns)), make([]bool, len(k.Columns)), make([]int32, k.Switches)
	m := k.newMoment()
	one := []int{0}
	s.sampler.Reset(nil)
	for t := range len(regimes) - 1 {
		r.LimitsAt(t, limits)
		k.enter(m, regimes, t)
		if t > 0 {
			if k.Restart && regimes[t] != regimes[t-1] {
				s.sampler.Reset(one)
			}
			k.input(m, limits, t, false, x, tokens)
			s.sampler.Advance(one, tokens, x)
		}
		r.Data.Copy(t, values, ok)
		k.observe(m, values, ok, limits)
	}
	state := k.snapshot(m, nil)
	s.sampler.State(0, s.hidden)
	for i := range s.rows {
		if err := k.restore(&s.rows[i].moment, state); err != nil {
			return err
		}
		s.sampler.SetState(i, s.hidden)
	}
	return s.sampler.Err()
}

// under draws the seconds of r from from on, in all rows.
func (s *Simulator) under(r telemetry.Recording, regimes []uint8, from int) []float32 {
	k, n, f := s.model.codec, len(s.rows), len(s.model.codec.Columns)
	d, e := k.numbersIn(), len(k.heads)
	s.x, s.tokens = telemetry.Grow(s.x, n*d), telemetry.Grow(s.tokens, n*e)
	limits := make([]int32, k.Switches)
	steps := len(regimes) - from
	out := make([]float32, n*steps*f)
	for t := from; t < len(regimes); t++ {
		r.LimitsAt(t, limits)
		if k.Restart && regimes[t] != regimes[t-1] {
			s.sampler.Reset(nil)
		}
		for i := range s.rows {
			k.enter(&s.rows[i].moment, regimes, t)
			k.input(&s.rows[i].moment, limits, t, false, s.x[i*d:][:d], s.tokens[i*e:][:e])
		}
		s.sampler.Step(nil, s.tokens, s.x)
		for i := range s.rows {
			s.draw(i, &s.rows[i], limits)
			copy(out[(i*steps+t-from)*f:][:f], s.values)
		}
	}
	return out
}
