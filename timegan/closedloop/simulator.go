package closedloop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Simulator rolls a model out: n independent simulations that advance a window
// at a time. What a row gives depends on its seed and limits alone.
type Simulator struct {
	model   *Model
	sampler *committee
	rows    []simRow

	// scratch of one call
	x       []float32
	tokens  []int32
	values  []float32
	ok      []bool
	place   []float64 // [H] inside its bin
	uniform []uint32
	classes []int32 // [lead+H]
	one     []int
	hidden  []float32
}

// simRow is a simulation.
type simRow struct {
	moment
	seed  uint64
	begun bool
	clock uint32 // second of the recording that the next one is
	drawn uint32 // seconds so far
}

// NewSimulator makes n simulations of m. be stays the caller's.
func NewSimulator(n int, m *Model, be *compute.Backend) (*Simulator, error) {
	return NewSimulatorOn(n, m, be, "")
}

// NewSimulatorOn is NewSimulator with the network on an engine, by the name that
// FitOptions takes. The draws are the same, but for the rounding of their
// distributions. Close gives back what it holds.
func NewSimulatorOn(n int, m *Model, be *compute.Backend, engine string) (*Simulator, error) {
	if n < 1 {
		return nil, fmt.Errorf("closedloop: %d simulations", n)
	}
	k := m.codec
	sampler, err := newCommittee(engine, m.nets(), be, n)
	if err != nil {
		return nil, fmt.Errorf("closedloop: %w", err)
	}
	s := &Simulator{model: m, sampler: sampler, rows: make([]simRow, n),
		values: make([]float32, len(k.Columns)), ok: make([]bool, len(k.Columns)), place: make([]float64, len(k.Heads)), one: make([]int, 1)}
	s.uniform, s.hidden = make([]uint32, 2*len(k.Heads)+8), make([]float32, s.sampler.Size())
	s.classes = make([]int32, k.lead()+len(k.Heads))
	for i := range s.ok {
		s.ok[i] = true
	}
	for i := range s.rows {
		s.rows[i].moment = *k.newMoment()
	}
	return s, nil
}

// Close gives back what an engine of its own holds.
func (s *Simulator) Close() error { return s.sampler.Close() }

// Num is n.
func (s *Simulator) Num() int { return len(s.rows) }

// Columns are the fields that are generated.
func (s *Simulator) Columns() []telemetry.Field { return s.model.Fields() }

// Ladder is what the player can show.
func (s *Simulator) Ladder() telemetry.Ladder {
	levels := map[string][]float32{}
	for _, c := range s.model.codec.Columns {
		if c.Kind == qualityKind {
			levels[c.Name] = c.Levels
		}
	}
	return telemetry.LadderOfLevels(levels)
}

// Limits are the smallest and the largest limit recorded, packets.
func (s *Simulator) Limits() (lo, hi int32) {
	all := s.model.Limits()
	return all[0], all[len(all)-1]
}

// Switches is how many limits a second takes: 1 where one is in force at all
// switches.
func (s *Simulator) Switches() int { return s.model.codec.Switches }

// Reset starts simulations in rows, row i from seeds[i], as a recording began
// that is drawn; with a clock, at a second of it that is drawn.
func (s *Simulator) Reset(rows []int, seeds []uint64) error { return s.ResetAt(rows, seeds, -1) }

// ResetAt is Reset at a second of the clock, where the model has one; -1 is
// one that is drawn.
func (s *Simulator) ResetAt(rows []int, seeds []uint64, second int) error {
	m := s.model
	if len(rows) != len(seeds) {
		return fmt.Errorf("closedloop: %d seeds for %d rows", len(seeds), len(rows))
	}
	if second < -1 || second > 0 && second >= m.codec.Clock {
		return fmt.Errorf("closedloop: the clock has no second %d, it turns in %d", second, m.codec.Clock)
	}
	for i, at := range rows {
		key := rng.Key{Seed: seeds[i], B: 2, Purpose: rng.Generated}
		r := &s.rows[at]
		r.seed, r.begun, r.drawn = seeds[i], true, 0
		from := m.starts
		if second >= 0 && m.codec.Clock > 0 { // the starts at the last minute before it
			near := from[:0:0]
			for _, b := range from {
				if n := int(binary.LittleEndian.Uint32(b)); n <= second+1 && n > second+1-startEvery {
					near = append(near, b)
				}
			}
			from = near
		}
		start := from[key.Intn(0, len(from))]
		r.clock = binary.LittleEndian.Uint32(start)
		if err := m.codec.restore(&r.moment, start[4:]); err != nil {
			return err
		}
		if r.Left == 0 {
			key := rng.Key{Seed: seeds[i], B: 3, Purpose: rng.Generated}
			r.Left, r.Ahead = m.codec.Load.left(r.Regime, key), m.codec.Load.next(r.Regime, key.Float64(1))
		}
		s.one[0] = at
		s.sampler.Reset(s.one)
	}
	return nil
}

// Step advances rows by out.Seconds under limit, [len(rows)] for all switches
// or [len(rows),Switches], and fills out's values, all of them valid. A row
// never reset begins as if from seed 0.
func (s *Simulator) Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error {
	k := s.model.codec
	n, each := len(rows), k.Switches
	if len(limit) == n {
		each = 1
	}
	if len(limit) != n*each || out.Rows() != n || out.Fields != len(k.Columns) {
		return fmt.Errorf("closedloop: %d limits and a window of %d×%d for %d rows of %d fields", len(limit), out.Rows(), out.Fields, n, len(k.Columns))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, at := range rows {
		for j, l := range limit[i*each : (i+1)*each] {
			if known := k.Limits[j]; l < known[0] || l > known[len(known)-1] {
				return fmt.Errorf("closedloop: limit %d: %d…%d were recorded", l, known[0], known[len(known)-1])
			}
		}
		if !s.rows[at].begun {
			if err := s.Reset([]int{at}, []uint64{0}); err != nil {
				return err
			}
		}
	}
	d, e := k.numbersIn(), len(k.heads)
	s.x, s.tokens = telemetry.Grow(s.x, n*d), telemetry.Grow(s.tokens, n*e)
	var all [maxSwitches]int32
	limits := func(i int) []int32 {
		if each == k.Switches {
			return limit[i*each:][:each]
		}
		for j := range k.Switches {
			all[j] = limit[i]
		}
		return all[:k.Switches]
	}
	for t := range out.Seconds {
		for i, at := range rows {
			r := &s.rows[at]
			if turned := k.Load.advance(r, k.Restart); turned && k.Restart {
				s.one[0] = at
				s.sampler.Reset(s.one)
			}
			k.input(&r.moment, limits(i), int(r.clock), false, s.x[i*d:][:d], s.tokens[i*e:][:e])
		}
		s.sampler.Step(rows, s.tokens, s.x)
		if err := s.sampler.Err(); err != nil {
			return fmt.Errorf("closedloop: %w", err)
		}
		for i, at := range rows {
			values, _ := out.Row(i)
			s.draw(i, &s.rows[at], limits(i))
			copy(values[t*out.Fields:], s.values)
		}
	}
	for i := range out.Valid {
		out.Valid[i] = true
	}
	return nil
}

// maxSwitches bounds the switches whose limits differ.
const maxSwitches = 64

// draw draws entry i's second and moves r on by it; s.values has it.
func (s *Simulator) draw(i int, r *simRow, limits []int32) {
	k := s.model.codec
	key := rng.Key{Seed: r.seed, A: r.drawn, Purpose: rng.Generated}
	r.drawn++
	for b := 0; b < 2*len(k.Heads); b += 4 {
		w := key.Block(uint32(b / 4))
		copy(s.uniform[b:], w[:])
	}
	u := func(n int) float64 { return (float64(s.uniform[n]) + .5) * 0x1p-32 }
	for j := range k.Columns {
		if c := &k.Columns[j]; c.Kind == constantKind {
			s.values[j] = c.Value
		}
	}
	lead := k.lead()
	if lead > 0 {
		s.classes[0] = k.turning(&r.moment)
	}
	for h := range k.Heads {
		hd := &k.Heads[h]
		class := s.sampler.Draw(i, lead+h, s.classes, lead > 0 && s.classes[0] > 0 && k.tempered(h), u(2*h))
		r.Class[h] = class
		if hd.Bins == nil {
			for j := range k.Columns {
				if c := &k.Columns[j]; c.Kind == qualityKind {
					s.values[j] = c.Levels[class]
				}
			}
			continue
		}
		// The place inside the bin goes with that of the head before it, in such
		// a share of draws: the rest of the uniform number serves again.
		v := u(2*h + 1)
		if f := math.Abs(hd.Follow); f > 0 {
			if v < f {
				v = s.place[hd.Given[len(hd.Given)-1]]
				if hd.Follow < 0 {
					v = 1 - v
				}
			} else {
				v = (v - f) / (1 - f)
			}
		}
		s.place[h] = v
		x := hd.Bins.Decode(class, v)
		j := hd.Column
		s.values[j] = k.value(j, x, s.values, r.Values, limits)
		if k.Columns[j].Kind == changeKind { // the buffer may have met its end
			if y := k.number(j, s.values, r.Values, limits); y != x {
				x, r.Class[h] = y, hd.Bins.Encode(y)
				s.classes[lead+h] = r.Class[h]
			}
		}
		r.X[h] = x
	}
	k.settle(&r.moment, s.values, s.ok, limits)
	r.clock++
	if k.Clock > 0 {
		r.clock %= uint32(k.Clock)
	}
}

// startEvery is how far apart a recording's starts are where there is a clock.
const startEvery = 60

// starts are the moments at which simulations may begin: after a recording's
// first second, or with a clock after every 60th.
func (k *codec) starts(r telemetry.Recording, regimes []uint8) [][]byte {
	m := k.newMoment()
	values, ok, limits := make([]float32, len(k.Columns)), make([]bool, len(k.Columns)), make([]int32, k.Switches)
	var all [][]byte
	n := 1
	if k.Clock > 0 {
		n = min(r.Data.Len(), k.Clock)
	}
	for t := range n {
		r.LimitsAt(t, limits)
		r.Data.Copy(t, values, ok)
		m.turn(regimes[t], k.Restart)
		k.observe(m, values, ok, limits)
		if t%startEvery == 0 {
			m.turn(regimes[min(t+1, len(regimes)-1)], k.Restart)
			m.Left = 0
			for u := t + 1; u < len(regimes) && regimes[u] == m.Regime; u++ {
				m.Left++
			}
			if u := t + 1 + int(m.Left); u < len(regimes) {
				m.Ahead = regimes[u]
			} else { // it outlasts the recording
				m.Left = 0
			}
			b := binary.LittleEndian.AppendUint32(nil, uint32(t+1))
			all = append(all, k.snapshot(m, b))
		}
	}
	return all
}

// snapshot appends m to dst.
func (k *codec) snapshot(m *moment, dst []byte) []byte {
	le := binary.LittleEndian
	for _, v := range m.Values {
		dst = le.AppendUint32(dst, math.Float32bits(v))
	}
	for _, ok := range m.OK {
		b := byte(0)
		if ok {
			b = 1
		}
		dst = append(dst, b)
	}
	for h := range m.Class {
		dst = le.AppendUint32(dst, uint32(m.Class[h]))
		dst = le.AppendUint64(dst, math.Float64bits(m.X[h]))
	}
	for _, v := range m.Mean {
		dst = le.AppendUint64(dst, math.Float64bits(v))
	}
	for s := range m.Limits {
		dst = le.AppendUint32(dst, uint32(m.Limits[s]))
		dst = le.AppendUint64(dst, math.Float64bits(m.Since[s]))
	}
	for _, v := range append([]float64{m.Rose, m.Top, m.Stay}, m.Rises...) {
		dst = le.AppendUint64(dst, math.Float64bits(v))
	}
	for _, v := range m.Played {
		dst = le.AppendUint64(dst, math.Float64bits(v))
	}
	for _, n := range [...]uint32{m.Seconds, uint32(m.Regime), uint32(m.Was), uint32(m.Ahead), m.Left, m.Stays} {
		dst = le.AppendUint32(dst, n)
	}
	return dst
}

// snapshotSize is the length of what snapshot appends.
func (k *codec) snapshotSize() int {
	return 5*len(k.Columns) + 12*len(k.Heads) + 8*len(k.means)*len(averages) + 12*k.Switches + 8*(3+rises+k.playedIn()) + 24
}

// restore reads what snapshot wrote. On an error m is as it was.
func (k *codec) restore(to *moment, src []byte) error {
	if len(src) != k.snapshotSize() {
		return fmt.Errorf("closedloop: a moment of %d bytes, want %d", len(src), k.snapshotSize())
	}
	m := k.newMoment()
	le := binary.LittleEndian
	u32 := func() uint32 { v := le.Uint32(src); src = src[4:]; return v }
	bad := false
	f64 := func() float64 {
		v := math.Float64frombits(le.Uint64(src))
		src = src[8:]
		bad = bad || v-v != 0
		return v
	}
	for j := range m.Values {
		m.Values[j] = math.Float32frombits(u32())
		bad = bad || m.Values[j]-m.Values[j] != 0
	}
	for j := range m.OK {
		m.OK[j] = src[0] != 0
		src = src[1:]
	}
	for h := range m.Class {
		m.Class[h], m.X[h] = int32(u32()), f64()
		if m.Class[h] < -1 || int(m.Class[h]) >= k.size(h) {
			return fmt.Errorf("closedloop: a moment with class %d of %d", m.Class[h], k.size(h))
		}
	}
	for i := range m.Mean {
		m.Mean[i] = f64()
	}
	for s := range m.Limits {
		m.Limits[s], m.Since[s] = int32(u32()), f64()
	}
	m.Rose, m.Top, m.Stay = f64(), f64(), f64()
	for i := range m.Rises {
		m.Rises[i] = f64()
	}
	for l := range m.Played {
		m.Played[l] = f64()
	}
	m.Seconds = u32()
	regime, was, ahead := u32(), u32(), u32()
	m.Regime, m.Was, m.Ahead, m.Left, m.Stays = uint8(regime), uint8(was), uint8(ahead), u32(), u32()
	if n := uint32(k.Load.K); regime >= n || was >= n || ahead >= n {
		return fmt.Errorf("closedloop: a moment in regime %d of %d", regime, k.Load.K)
	}
	if bad {
		return errors.New("closedloop: a moment that is not finite")
	}
	*to = *m
	return nil
}

// Snapshot appends the state of a row to dst.
func (s *Simulator) Snapshot(row int, dst []byte) ([]byte, error) {
	r := &s.rows[row]
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, r.seed)
	dst = le.AppendUint32(dst, r.clock)
	dst = le.AppendUint32(dst, r.drawn)
	begun := byte(0)
	if r.begun {
		begun = 1
	}
	dst = s.model.codec.snapshot(&r.moment, append(dst, begun))
	s.sampler.State(row, s.hidden)
	for _, v := range s.hidden {
		dst = le.AppendUint32(dst, math.Float32bits(v))
	}
	return dst, s.sampler.Err()
}

// Restore puts a row into a state that Snapshot gave. On an error it is as it
// was.
func (s *Simulator) Restore(row int, src []byte) error {
	k := s.model.codec
	const head = 17
	if want := head + k.snapshotSize() + 4*len(s.hidden); len(src) != want {
		return fmt.Errorf("closedloop: a state of %d bytes, want %d", len(src), want)
	}
	le := binary.LittleEndian
	for i := range s.hidden {
		v := math.Float32frombits(le.Uint32(src[head+k.snapshotSize()+4*i:]))
		if v-v != 0 {
			return errors.New("closedloop: a state that is not finite")
		}
		s.hidden[i] = v
	}
	r := &s.rows[row]
	if err := k.restore(&r.moment, src[head:][:k.snapshotSize()]); err != nil {
		return err
	}
	r.seed, r.clock, r.drawn, r.begun = le.Uint64(src), le.Uint32(src[8:]), le.Uint32(src[12:]), src[16] != 0
	s.sampler.SetState(row, s.hidden)
	return s.sampler.Err()
}
