package timegan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// warmUp is how many seconds a simulation runs unseen before its first: from
// a hidden state of 0 to one as training's windows have it.
const warmUp = 64

// Simulator rolls models out: n independent simulations that advance a window
// at a time. It is what a plant of package env asks for.
//
// With one model the limit is its condition and a row has one hidden state,
// which survives a change of limit. With a model per limit all of them advance
// and the one of the limit in force is shown (the tutorial's lock-step).
type Simulator struct {
	members []member
	rows    []simRow
	draws   []Draw // scratch of one call
	z       []float32
	cond    []float32
	x       []float32
	skip    []int // indices of rows that warm up
	fields  int   // F
}

// member is a model and its rollouts.
type member struct {
	model   *Model
	stepper Stepper
	hidden  []float32 // a row's, in transit
	last    []float32 // [n,F], the latest second's values
}

type simRow struct {
	seed   uint64
	start  uint32 // of the clock
	second uint32 // generated, warm-up included
}

// NewSimulator makes n simulations of models: one, or one per limit. engines
// are as many, and stay the caller's.
func NewSimulator(n int, models []*Model, engines []Engine) (*Simulator, error) {
	if n < 1 || len(models) == 0 || len(engines) != len(models) {
		return nil, fmt.Errorf("timegan: %d simulations of %d models on %d engines", n, len(models), len(engines))
	}
	s := &Simulator{rows: make([]simRow, n)}
	for i, m := range models {
		if len(models) > 1 && m.Codec.Lo != m.Codec.Hi {
			return nil, fmt.Errorf("timegan: model %d was trained under limits %d…%d: of several, each has one", i, m.Codec.Lo, m.Codec.Hi)
		}
		for _, o := range models[:i] {
			if o.Codec.Lo == m.Codec.Lo {
				return nil, fmt.Errorf("timegan: two models of limit %d", m.Codec.Lo)
			}
		}
		if !slices.Equal(m.Codec.Fields(), models[0].Codec.Fields()) {
			return nil, fmt.Errorf("timegan: the models of limits %d and %d have different fields", models[0].Codec.Lo, m.Codec.Lo)
		}
		if m.Config.Clock != models[0].Config.Clock {
			return nil, fmt.Errorf("timegan: the clocks of models turn in %d and %d seconds", models[0].Config.Clock, m.Config.Clock)
		}
		if err := engines[i].Load(m.Config, m.Params, nil, m.Codec.empty()); err != nil {
			return nil, err
		}
		st, err := engines[i].Stepper(n)
		if err != nil {
			return nil, err
		}
		s.members = append(s.members, member{m, st, make([]float32, st.Size()), make([]float32, n*len(m.Codec.Columns))})
	}
	s.fields = len(models[0].Codec.Columns)
	return s, nil
}

// Num is n.
func (s *Simulator) Num() int { return len(s.rows) }

// Columns are the fields that are generated.
func (s *Simulator) Columns() []telemetry.Field { return s.members[0].model.Codec.Fields() }

// Ladder is what the player can show.
func (s *Simulator) Ladder() telemetry.Ladder {
	levels := map[string][]float32{}
	for _, c := range s.members[0].model.Codec.Columns {
		if c.Kind == Categories {
			levels[c.Name] = c.Levels
		}
	}
	return telemetry.LadderOfLevels(levels)
}

// Limits are the smallest and the largest limit trained under, packets.
func (s *Simulator) Limits() (lo, hi int32) {
	lo, hi = math.MaxInt32, 0
	for _, m := range s.members {
		lo, hi = min(lo, m.model.Codec.Lo), max(hi, m.model.Codec.Hi)
	}
	return lo, hi
}

// Reset starts simulations in rows, row i from seeds[i], at a random time of
// the clock: what follows is stationary.
func (s *Simulator) Reset(rows []int, seeds []uint64) error { return s.ResetAt(rows, seeds, -1) }

// ResetAt is Reset at a second of the clock, as of a recording; -1 is random.
func (s *Simulator) ResetAt(rows []int, seeds []uint64, second int) error {
	if len(rows) != len(seeds) {
		return fmt.Errorf("timegan: %d seeds for %d rows", len(seeds), len(rows))
	}
	turn := max(s.members[0].model.Config.Clock, 1)
	if second < -1 || second >= turn && second > 0 {
		return fmt.Errorf("timegan: the clock has no second %d, it turns in %d", second, turn)
	}
	for i, r := range rows {
		start := second
		if start < 0 {
			start = rng.Key{Seed: seeds[i], Purpose: rng.SampleNoise}.Intn(0, turn)
		}
		// The first second seen is the one after the warm-up.
		s.rows[r] = simRow{seed: seeds[i], start: uint32(start + turn*warmUp - warmUp)}
		for _, m := range s.members {
			clear(m.last[r*s.fields : (r+1)*s.fields])
			clear(m.hidden)
			m.stepper.SetHidden(r, m.hidden)
		}
	}
	return nil
}

// Step advances rows by out.Seconds under limit and fills out's values, all of
// them valid. A row never reset begins as if from seed 0.
func (s *Simulator) Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error {
	if len(limit) != len(rows) || out.Rows() != len(rows) || out.Fields != s.fields {
		return fmt.Errorf("timegan: %d limits and a window of %d×%d for %d rows of %d fields", len(limit), out.Rows(), out.Fields, len(rows), s.fields)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(s.members) > 1 {
		for _, l := range limit {
			if !slices.ContainsFunc(s.members, func(m member) bool { return m.model.Codec.Lo == l }) {
				return fmt.Errorf("timegan: no model of limit %d", l)
			}
		}
	}
	s.skip = s.skip[:0]
	for i, r := range rows {
		if s.rows[r].second == 0 {
			s.skip = append(s.skip, i)
		}
	}
	if len(s.skip) > 0 {
		fresh, l := make([]int, len(s.skip)), make([]int32, len(s.skip))
		for j, i := range s.skip {
			fresh[j], l[j] = rows[i], limit[i]
		}
		for range warmUp {
			if err := s.second(fresh, l, nil, 0); err != nil {
				return err
			}
		}
	}
	for t := range out.Seconds {
		if err := s.second(rows, limit, out, t); err != nil {
			return err
		}
	}
	for i := range out.Valid {
		out.Valid[i] = true
	}
	return nil
}

// second advances rows by one second, shown as second t of out unless nil.
func (s *Simulator) second(rows []int, limit []int32, out *telemetry.Window, t int) error {
	n := len(rows)
	for k, m := range s.members {
		codec := m.model.Codec
		s.draws, s.x = slices.Grow(s.draws[:0], n)[:n], telemetry.Grow(s.x, n*codec.Channels)
		for i, r := range rows {
			s.draws[i] = Draw{Seed: s.rows[r].seed, Model: uint32(k), Second: s.rows[r].second, Start: s.rows[r].start}
			if len(s.members) == 1 {
				s.draws[i].Told = codec.Condition(limit[i])
			}
		}
		if err := s.advance(m, rows, out != nil); err != nil {
			return err
		}
		if out == nil {
			continue
		}
		for i, r := range rows {
			last := m.last[r*s.fields : (r+1)*s.fields]
			codec.decode(s.x[i*codec.Channels:(i+1)*codec.Channels], last, s.rows[r].second > warmUp)
			if len(s.members) == 1 || codec.Lo == limit[i] {
				values, _ := out.Row(i)
				copy(values[t*s.fields:], last)
			}
		}
	}
	for _, r := range rows {
		s.rows[r].second++
	}
	return nil
}

// advance goes a member's rows a second on, by s.draws, to s.x where it is
// shown.
func (s *Simulator) advance(m member, rows []int, shown bool) error {
	if r, ok := m.stepper.(Roller); ok {
		if !shown {
			return r.Roll(rows, s.draws, nil)
		}
		return r.Roll(rows, s.draws, s.x)
	}
	c, n := &m.model.Config, len(rows)
	C := c.conditions()
	s.z, s.cond = telemetry.Grow(s.z, n*c.Noise), telemetry.Grow(s.cond, n*C)
	for i, d := range s.draws {
		c.noiseAt(s.z[i*c.Noise:(i+1)*c.Noise], rng.Key{Seed: d.Seed, B: d.Model, Purpose: rng.SampleNoise}, 1+d.Second)
		c.condition(s.cond[i*C:(i+1)*C], d.Told, int(d.Start)+int(d.Second))
	}
	return m.stepper.Next(rows, s.z, s.cond, s.x)
}

// Snapshot appends the state of a row to dst.
func (s *Simulator) Snapshot(row int, dst []byte) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint64(dst, s.rows[row].seed)
	dst = binary.LittleEndian.AppendUint32(dst, s.rows[row].start)
	dst = binary.LittleEndian.AppendUint32(dst, s.rows[row].second)
	for _, m := range s.members {
		m.stepper.Hidden(row, m.hidden)
		for _, v := range [...][]float32{m.hidden, m.last[row*s.fields : (row+1)*s.fields]} {
			for _, x := range v {
				dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
			}
		}
	}
	return dst, nil
}

// Restore puts a row into a state that Snapshot gave. On an error it is as it
// was.
func (s *Simulator) Restore(row int, src []byte) error {
	want := 16
	for _, m := range s.members {
		want += 4 * (len(m.hidden) + s.fields)
	}
	if len(src) != want {
		return fmt.Errorf("timegan: a state of %d bytes, want %d", len(src), want)
	}
	for at := 16; at < len(src); at += 4 {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(src[at:])); v-v != 0 {
			return errors.New("timegan: a state that is not finite")
		}
	}
	s.rows[row] = simRow{binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint32(src[8:]), binary.LittleEndian.Uint32(src[12:])}
	src = src[16:]
	for _, m := range s.members {
		for _, dst := range [...][]float32{m.hidden, m.last[row*s.fields : (row+1)*s.fields]} {
			for i := range dst {
				dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src))
				src = src[4:]
			}
		}
		m.stepper.SetHidden(row, m.hidden)
	}
	return nil
}
