package structured

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// What a rollout draws: B of its keys.
const (
	drawStart = iota
	drawRegime
	drawPace
	drawLevel
)

// Simulator rolls a model out: n independent simulations that advance a window
// at a time. What a row gives depends on its seed and limits alone.
type Simulator struct {
	model       *Model
	ranks       *timegan.Simulator
	rows        []row
	pace, level *nn.MLPRun

	w       telemetry.Window // of ranks, a second
	regimes []int32          // scratch of one call
	x       []float32
	y       []float32
	p       []float64
}

// row is a simulation.
type row struct {
	state

	// What the download under way takes, computed where of differs.
	mu, sigma float64
	of        paceKey
}

// state is a row's, as a snapshot has it.
type state struct {
	Seed    uint64
	Second  uint32 // simulated
	Stays   uint32 // regimes so far
	Left    int32  // seconds of the regime that are left
	Pieces  uint32 // downloads so far
	Asked   uint32 // levels chosen so far
	Samples uint32 // of Kbps; 0: never reset
	Regime  uint8
	Level   uint8 // of what was asked for last
	Queued  uint8 // segments in the buffer, the first in part
	Head    uint8
	Segment [maxQueued]uint8 // their levels, a ring
	Loading bool

	Buffer   float64 // s
	Progress float64 // share of the download that is there
	Elapsed  float64 // s since it was asked for
	Noise    float64 // normal: how it differs from others
	Idle     float64 // s that the player waited before it
	Wait     float64 // s until the next is asked for
	Kbps     [window]float64
}

// paceKey is what a download's length depends on.
type paceKey struct {
	limit  float64 // 0: nothing is computed yet
	idle   float64
	regime uint8
	level  uint8
}

// NewSimulator makes n simulations of m. e and be stay the caller's; be
// computes a row at a time.
func NewSimulator(n int, m *Model, e timegan.Engine, be *compute.Backend) (*Simulator, error) {
	ranks, err := timegan.NewSimulator(n, []*timegan.Model{m.Ranks}, []timegan.Engine{e})
	if err != nil {
		return nil, err
	}
	return &Simulator{
		model: m, ranks: ranks, rows: make([]row, n), pace: m.paceNet.NewRun(be, 1), level: m.levelNet.NewRun(be, 1),
		x: make([]float32, max(m.paceIn(), m.levelIn())), y: make([]float32, max(2, len(m.Kbps))), p: make([]float64, len(m.Kbps)),
	}, nil
}

// Num is n.
func (s *Simulator) Num() int { return len(s.rows) }

// Columns are the fields that are simulated.
func (s *Simulator) Columns() []telemetry.Field { return s.model.Fields() }

// Ladder is what the player can show.
func (s *Simulator) Ladder() telemetry.Ladder {
	levels := map[string][]float32{}
	for _, c := range s.model.Columns {
		if c.Kind == qualityKind {
			levels[c.Name] = c.Levels
		}
	}
	return telemetry.LadderOfLevels(levels)
}

// Limits are the smallest and the largest limit recorded, packets.
func (s *Simulator) Limits() (lo, hi int32) {
	return s.model.Limits[0], s.model.Limits[len(s.model.Limits)-1]
}

// Reset starts simulations in rows, row i from seeds[i], as a recording began
// that is drawn.
func (s *Simulator) Reset(rows []int, seeds []uint64) error {
	if err := s.ranks.Reset(rows, seeds); err != nil {
		return err
	}
	m := s.model
	for i, at := range rows {
		key := rng.Key{Seed: seeds[i], B: drawStart, Purpose: rng.Simulated}
		first := m.Starts[key.Intn(0, len(m.Starts)/startWidth)*startWidth:][:startWidth]
		r := &s.rows[at]
		*r = row{state: state{Seed: seeds[i], Regime: uint8(first[0]), Left: int32(first[1]), Buffer: float64(first[2]), Level: uint8(first[3]), Samples: window}}
		for j := range r.Kbps {
			r.Kbps[j] = float64(first[4])
		}
		for range int(math.Ceil(r.Buffer / m.Config.SegmentS)) {
			r.push()
		}
		if over := r.Buffer - m.target(r.Level); over > 0 {
			r.Wait = over
		} else {
			r.Loading, r.Progress = true, key.Float64(1)
			r.draw()
		}
	}
	return nil
}

// ResetAt is Reset: a simulation has no clock, every second of one is where
// recordings begin.
func (s *Simulator) ResetAt(rows []int, seeds []uint64, _ int) error { return s.Reset(rows, seeds) }

func (m *Model) target(level uint8) float64 {
	if int(level) == len(m.Kbps)-1 {
		return m.Config.TopS
	}
	return m.Config.StableS
}

func (r *row) push() {
	if r.Queued < maxQueued {
		r.Segment[(int(r.Head)+int(r.Queued))%maxQueued] = r.Level
		r.Queued++
	}
}

// draw begins a download.
func (r *row) draw() {
	r.Noise, _ = rng.Key{Seed: r.Seed, A: r.Pieces, B: drawPace, Purpose: rng.Simulated}.Normal(0)
	r.Pieces++
	r.of = paceKey{}
}

// Step advances rows by out.Seconds under limit and fills out's values, all of
// them valid. A row never reset begins as if from seed 0.
func (s *Simulator) Step(ctx context.Context, rows []int, limit []int32, out *telemetry.Window) error {
	m := s.model
	if len(limit) != len(rows) || out.Rows() != len(rows) || out.Fields != len(m.Columns) {
		return fmt.Errorf("structured: %d limits and a window of %d×%d for %d rows of %d fields", len(limit), out.Rows(), out.Fields, len(rows), len(m.Columns))
	}
	for i, at := range rows {
		if l := limit[i]; l < m.Limits[0] || l > m.Limits[len(m.Limits)-1] {
			return fmt.Errorf("structured: limit %d: %d…%d were recorded", l, m.Limits[0], m.Limits[len(m.Limits)-1])
		}
		if s.rows[at].Samples == 0 {
			if err := s.Reset([]int{at}, []uint64{0}); err != nil {
				return err
			}
		}
	}
	s.regimes = telemetry.Grow(s.regimes, len(rows))
	s.w.Size(len(rows), 1, m.channels())
	for t := range out.Seconds {
		for i, at := range rows {
			s.rows[at].load(m)
			s.regimes[i] = int32(s.rows[at].Regime)
		}
		if err := s.ranks.Step(ctx, rows, s.regimes, &s.w); err != nil {
			return err
		}
		for i, at := range rows {
			values, _ := out.Row(i)
			u, _ := s.w.Row(i)
			s.second(&s.rows[at], float64(limit[i]), u, values[t*out.Fields:][:out.Fields])
		}
	}
	for i := range out.Valid {
		out.Valid[i] = true
	}
	return nil
}

// load advances the regime by a second.
func (r *row) load(m *Model) {
	if r.Left > 0 {
		r.Left--
		return
	}
	key := rng.Key{Seed: r.Seed, A: r.Stays, B: drawRegime, Purpose: rng.Simulated}
	r.Stays++
	k, q := m.Config.Regimes, m.Config.Knots
	u, z := key.Float64(0), r.Regime
	for y, p := range m.Follows[int(z)*k:][:k] {
		if p > 0 {
			r.Regime = uint8(y)
		}
		if u -= float64(p); u < 0 {
			break
		}
	}
	r.Left = int32(max(math.Round(quantile(m.Lasts[int(r.Regime)*q:][:q], key.Float64(1)))-1, 0))
}

// second plays a second and shows it in dst.
func (s *Simulator) second(r *row, limit float64, u, dst []float32) {
	m := s.model
	stalled, decoded := s.play(r, limit)
	r.Second++
	k, q := m.Config.Regimes, m.Config.Knots
	for j := range m.Columns {
		c := &m.Columns[j]
		x := float64(c.Value)
		if c.Channel >= 0 {
			even := rank(m.Uniform[(c.Channel*k+int(r.Regime))*q:][:q], u[c.Channel])
			x = m.shown(c.Channel, int(r.Regime), limit, even)
		}
		switch c.Kind {
		case depthKind:
			x = min(max(x*limit, 0), limit)
		case waitKind:
			if c.Depth >= 0 {
				x += c.PerPacket * float64(dst[c.Depth])
			}
			x = max(x, 0)
		case lboKind:
			x = r.Buffer
		case qualityKind:
			x = float64(c.Levels[r.Level])
		case rateKind:
			x = decoded
		case stallKind:
			x = stalled
		}
		if c.Integer && c.Channel >= 0 {
			x = math.RoundToEven(x)
		}
		dst[j] = float32(x)
	}
}

// play advances the player by a second: how much of it stalled, and what was
// decoded.
func (s *Simulator) play(r *row, limit float64) (stalled, decoded float64) {
	m := s.model
	rate := m.column(rateKind)
	for left := 1.; left > 0; {
		dt, took := left, 0.
		if r.Loading {
			took = s.takes(r, limit)
			dt = min(dt, (1-r.Progress)*took)
		} else {
			dt = min(dt, r.Wait)
		}
		for play := min(dt, r.Buffer); play > 0 && r.Queued > 0; {
			first := max(r.Buffer-float64(r.Queued-1)*m.Config.SegmentS, 0) // what is left of the first
			n := min(play, first)
			if rate >= 0 {
				decoded += n * float64(m.Columns[rate].Levels[r.Segment[r.Head]])
			}
			r.Buffer -= n
			play -= n
			if n == first {
				r.Head = (r.Head + 1) % maxQueued
				r.Queued--
			}
			if r.Queued == 0 {
				r.Buffer = 0
			}
			stalled -= n
		}
		stalled += dt
		left -= dt
		switch {
		case !r.Loading:
			if r.Wait -= dt; r.Wait <= 0 {
				s.ask(r, stalled > 1e-9)
			}
		default:
			r.Elapsed += dt
			if r.Progress += dt / took; r.Progress >= 1-1e-9 {
				s.complete(r, stalled > 1e-9)
			}
		}
	}
	s.giveUp(r, limit)
	return max(stalled, 0), decoded
}

// takes is how many seconds the download under way takes as things stand.
func (s *Simulator) takes(r *row, limit float64) float64 {
	m := s.model
	key := paceKey{limit, r.Idle, r.Regime, r.Level}
	if r.of != key {
		x, y := s.x[:m.paceIn()], s.y[:2]
		m.paceInput(x, int(r.Regime), limit, int(r.Level), r.Idle)
		s.pace.Forward(x, y)
		mu, log := m.pace(y, int(r.Level))
		r.mu, r.sigma, r.of = mu, math.Exp(log), key
	}
	return max(math.Exp(r.mu+float64(r.sigma*r.Noise)), .05)
}

// complete takes a segment in.
func (s *Simulator) complete(r *row, stalled bool) {
	m := s.model
	r.push()
	r.Buffer = min(r.Buffer+m.Config.SegmentS, float64(r.Queued)*m.Config.SegmentS)
	r.Kbps[r.Samples%window] = m.Kbps[r.Level] * m.Config.SegmentS / max(r.Elapsed, least)
	r.Samples++
	r.Loading = false
	r.Wait = max(r.Buffer-m.target(r.Level), 0)
	r.Idle = r.Wait
	if r.Wait == 0 {
		s.ask(r, stalled)
	}
}

// ask requests the next segment.
func (s *Simulator) ask(r *row, stalled bool) {
	m := s.model
	k := known{level: int(r.Level), buffer: r.Buffer, waited: r.Idle, stalled: stalled, last: r.Kbps[(r.Samples-1)%window]}
	for _, x := range r.Kbps {
		k.mean += x / window
	}
	x, y := s.x[:m.levelIn()], s.y[:len(m.Kbps)]
	m.levelInput(x, k)
	s.level.Forward(x, y)
	softmax(y, s.p)
	u := rng.Key{Seed: r.Seed, A: r.Asked, B: drawLevel, Purpose: rng.Simulated}.Float64(0)
	r.Asked++
	for l, p := range s.p {
		r.Level = uint8(l)
		if u -= p; u < 0 {
			break
		}
	}
	r.Loading, r.Progress, r.Elapsed, r.Wait = true, 0, 0, 0
	r.draw()
}

// giveUp is dash.js's AbandonRequestsRule: a download that will take 1.8 times
// what it plays is dropped for one of a level that fits, unless less is left
// of it than that takes.
func (s *Simulator) giveUp(r *row, limit float64) {
	m := s.model
	if !r.Loading || r.Level == 0 || r.Elapsed < firstLook || r.Buffer > m.Config.StableS {
		return
	}
	took := s.takes(r, limit)
	if took < tooSlow*m.Config.SegmentS {
		return
	}
	rate := .9 * m.Kbps[r.Level] * m.Config.SegmentS / took
	level := 0
	for level+1 < len(m.Kbps) && m.Kbps[level+1] <= rate {
		level++
	}
	if level >= int(r.Level) || m.Kbps[level] > m.Kbps[r.Level]*(1-r.Progress) {
		return
	}
	r.Level, r.Progress, r.Elapsed, r.Idle = uint8(level), 0, 0, 0
	r.draw()
}

// Snapshot appends the state of a row to dst.
func (s *Simulator) Snapshot(at int, dst []byte) ([]byte, error) {
	dst, err := binary.Append(dst, binary.LittleEndian, &s.rows[at].state)
	if err != nil {
		return dst, err
	}
	return s.ranks.Snapshot(at, dst)
}

// Restore puts a row into a state that Snapshot gave. On an error it is as it
// was.
func (s *Simulator) Restore(at int, src []byte) error {
	var r row
	n, err := binary.Decode(src, binary.LittleEndian, &r.state)
	if err != nil {
		return fmt.Errorf("structured: a state of %d bytes, want more than %d", len(src), binary.Size(&r.state))
	}
	if err := r.check(s.model); err != nil {
		return err
	}
	if err := s.ranks.Restore(at, src[n:]); err != nil {
		return err
	}
	s.rows[at] = r
	return nil
}

// check reports a state that no simulation of m gets into.
func (r *state) check(m *Model) error {
	for _, x := range append([]float64{r.Progress, r.Elapsed, r.Idle, r.Wait, r.Buffer}, r.Kbps[:]...) {
		if !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("structured: a state that holds %v", x)
		}
	}
	for _, l := range r.Segment {
		if int(l) >= len(m.Kbps) {
			return fmt.Errorf("structured: a state with quality level %d", l)
		}
	}
	if int(r.Regime) >= m.Config.Regimes || int(r.Level) >= len(m.Kbps) || r.Queued > maxQueued || r.Head >= maxQueued || r.Left < 0 ||
		r.Buffer > float64(r.Queued)*m.Config.SegmentS || r.Progress > 1 || math.IsNaN(r.Noise) || math.Abs(r.Noise) > 40 {
		return errors.New("structured: a state that no simulation gets into")
	}
	return nil
}
