// Package queues is the environment of queue limits: an action picks the limits of
// the next window, and the window's measurements become observation and reward.
// Rewards, observations and the ends of episodes are defined here and nowhere
// else; a plant (env.Plant) only measures.
//
//	plant, err := testbed.New(testbed.Config{})
//	v, err := queues.New(queues.Config{}, plant, 256, scaler)
package queues

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Queues is the environment over a plant: an action picks the queue limit of
// the next window, the window's measurements are observed and paid.
//
// Actions, rewards, observations and episode ends are defined here and
// nowhere else; plants only measure.
type Queues struct {
	cfg      Config
	plant    env.Plant
	spec     env.Spec
	columns  columns
	observer *observer

	rows    []queueRow
	actions []int32   // [N,S], in force
	depths  []float32 // [N,switches], packets: mean enq_qdepth of each row's last window
	seen    []bool
	closed  bool

	// scratch of one call
	limits []p4.Limit // [n,switches]
	seeds  []uint64
	window telemetry.Window
	all    []int
}

// queueRow is one environment between two calls.
type queueRow struct {
	seed           uint64
	episode, steps uint32
	phase          env.Phase
	age            int32   // seconds since INT was last measured
	stall          float32 // seconds of the stall that goes on
	reward         rewardState
	info           player
}

// New makes n environments over plant, which it owns from then on. scaler
// normalises observations ("fit"); the others need none. An error names the
// field of cfg.
func New(cfg Config, plant env.Plant, n int, scaler Normaliser) (env.Vector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("env: num_envs: %d is less than 1", n)
	}
	switches := plant.Switches()
	if switches < 1 {
		return nil, fmt.Errorf("env: the plant has no switch")
	}
	c, err := findColumns(plant)
	if err != nil {
		return nil, err
	}
	s := 1
	if cfg.PerSwitch {
		s = switches
	}
	if l, ok := plant.(interface{ Ladder() telemetry.Ladder }); ok {
		c.ladder = l.Ladder()
	}
	cfg.Reward = cfg.Reward.on(c.ladder)
	o, err := newObserver(cfg.Observation, c, plant.Columns(), cfg.StepSeconds, s, len(cfg.Limits), scaler)
	if err != nil {
		return nil, err
	}
	q := &Queues{
		cfg: cfg, plant: plant, columns: c, observer: o,
		rows: make([]queueRow, n), actions: make([]int32, n*s), seen: make([]bool, n),
		depths: make([]float32, n*switches), limits: make([]p4.Limit, n*switches), seeds: make([]uint64, n), all: make([]int, n),
	}
	for i := range q.rows {
		q.rows[i].seed, q.all[i] = uint64(i), i
	}
	q.spec = env.Spec{
		Observation: o.box(),
		Limits:      cfg.Limits,
		Reward:      cfg.Reward.bounds(cfg.StepSeconds, c.ladder),
		StepSeconds: float64(cfg.StepSeconds),
		MaxSteps:    cfg.MaxSteps,
		Autoreset:   env.Disabled,
	}
	for range s {
		q.spec.Action = append(q.spec.Action, len(cfg.Limits))
		q.spec.Initial = append(q.spec.Initial, cfg.Initial)
	}
	if r, ok := plant.(interface{ RealTime() bool }); ok {
		q.spec.RealTime = r.RealTime()
	}
	return env.WithAutoreset(q, cfg.Autoreset), nil
}

// Spec describes the spaces; see Config.
func (q *Queues) Spec() env.Spec { return q.spec }

// Num is the number of environments.
func (q *Queues) Num() int { return len(q.rows) }

// Close closes the plant.
func (q *Queues) Close() error {
	if q.closed {
		return nil
	}
	q.closed = true
	return q.plant.Close()
}

// begin validates what Reset and Step share; the rows it gives are never nil.
func (q *Queues) begin(ctx context.Context, rows []int) ([]int, error) {
	if q.closed {
		return nil, env.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if rows == nil {
		return q.all, nil
	}
	return rows, env.CheckRows(rows, q.seen)
}

// Reset puts the initial limit in force and shows the first window.
func (q *Queues) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	return q.ResetWith(ctx, rows, seeds, env.Options{}, out)
}

// ResetWith is Reset under options; see env.Optioner.
func (q *Queues) ResetWith(ctx context.Context, rows []int, seeds []uint64, o env.Options, out *env.Batch) error {
	rows, err := q.begin(ctx, rows)
	if err != nil {
		return err
	}
	if seeds != nil && len(seeds) != len(rows) {
		return fmt.Errorf("%w: %d seeds for %d rows", env.ErrInvalidRows, len(seeds), len(rows))
	}
	n, s, switches := len(rows), len(q.spec.Action), q.plant.Switches()
	if !o.Empty() {
		if err := q.Options().Check(o, n, s); err != nil {
			return err
		}
	}
	initial := func(j int) p4.Limit {
		if o.Initial == nil {
			return q.cfg.Initial
		}
		return o.Initial[min(j, len(o.Initial)-1)]
	}
	for i, r := range rows {
		row := &q.rows[r]
		next := queueRow{seed: row.seed, episode: row.episode}
		if seeds != nil {
			next.seed, next.episode = seeds[i], 0
		} else if row.phase != env.Fresh {
			next.episode++
		}
		q.seeds[i] = rng.Key{Seed: next.seed, A: next.episode, Purpose: rng.Episode}.Uint64(0)
		if k := len(o.TrafficSeed); k > 0 {
			q.seeds[i] = rng.Key{Seed: o.TrafficSeed[min(i, k-1)], Purpose: rng.Episode}.Uint64(0)
		}
		*row = next
		for j := range s {
			q.actions[r*s+j] = int32(slices.Index(q.cfg.Limits, initial(j)))
		}
		for j := range switches {
			q.limits[i*switches+j] = initial(j)
		}
	}
	q.window.Size(n, q.cfg.StepSeconds, q.observer.fields)
	if o.Load != nil || o.Phase != "" {
		load := 1.
		if o.Load != nil {
			load = *o.Load
		}
		err = q.plant.(loader).ResetUnder(ctx, rows, q.seeds[:n], q.limits[:n*switches], load, o.Phase, &q.window)
	} else {
		err = q.plant.Reset(ctx, rows, q.seeds[:n], q.limits[:n*switches], &q.window)
	}
	if err != nil {
		return fmt.Errorf("env: reset: %w", err)
	}
	out.Size(n, len(q.observer.elements), false)
	for i, r := range rows {
		row := &q.rows[r]
		row.phase = env.Running
		p, _ := q.measure(row, i)
		row.reward.reset(p)
		q.emit(out, i, r)
		out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
	}
	return nil
}

// Step puts the limits of actions in force for one window.
func (q *Queues) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	rows, err := q.begin(ctx, rows)
	if err != nil {
		return err
	}
	n, s, switches := len(rows), len(q.spec.Action), q.plant.Switches()
	if err := env.CheckActions(rows, n, actions, q.spec.Action); err != nil {
		return err
	}
	for _, r := range rows {
		switch q.rows[r].phase {
		case env.Fresh:
			return &env.RowError{Row: r, Err: env.ErrNeedReset}
		case env.Over:
			return &env.RowError{Row: r, Err: env.ErrEpisodeOver}
		}
	}
	for i, r := range rows {
		copy(q.actions[r*s:(r+1)*s], actions[i*s:])
		for j := range switches {
			q.limits[i*switches+j] = q.cfg.Limits[actions[i*s+min(j, s-1)]]
		}
	}
	q.window.Size(n, q.cfg.StepSeconds, q.observer.fields)
	if err := q.plant.Advance(ctx, rows, q.limits[:n*switches], &q.window); err != nil {
		return fmt.Errorf("env: step: %w", err)
	}
	out.Size(n, len(q.observer.elements), false)
	for i, r := range rows {
		row := &q.rows[r]
		row.steps++
		p, longest := q.measure(row, i)
		out.Reward[i] = q.cfg.Reward.pay(&row.reward, p, q.columns.ladder)
		out.Terminated[i] = q.window.End[i] == telemetry.Terminated ||
			q.cfg.EndOnStall > 0 && float64(longest) >= q.cfg.EndOnStall
		out.Truncated[i] = q.window.End[i] == telemetry.Truncated || int(row.steps) >= q.cfg.MaxSteps
		if out.Terminated[i] || out.Truncated[i] {
			row.phase = env.Over
		}
		q.emit(out, i, r)
	}
	return nil
}

// stall is how long playback stalled in a second, and whether that was measured.
func (q *Queues) stall(values []float32, valid []bool) (seconds float32, measured bool) {
	c := &q.columns
	switch {
	case c.stall >= 0:
		return values[c.stall], valid[c.stall]
	case values[c.lbo] <= 0: // an empty buffer plays nothing
		return 1, valid[c.lbo]
	}
	return 0, valid[c.lbo]
}

// measure reads the player off row i of the window and keeps row's clocks. The
// player's buffer, frame rate and bitrate are those last measured, in the window
// or before it. longest is the longest stall by any second of the window, in
// seconds, with what of it came before the window.
func (q *Queues) measure(row *queueRow, i int) (p player, longest float32) {
	values, valid := q.window.Row(i)
	f := q.window.Fields
	c := &q.columns
	last := values[(q.cfg.StepSeconds-1)*f:]
	p = player{LBO: last[c.lbo], FPS: last[c.fps], Kbps: last[c.kbps]}
	for t := range q.cfg.StepSeconds {
		at := t * f
		switch stall, measured := q.stall(values[at:], valid[at:]); {
		case !measured: // the stall, if there is one, neither ends nor grows
		case stall > 0:
			row.stall += stall
			p.Stall += stall
			longest = max(longest, row.stall)
		default:
			row.stall = 0
		}
		row.age++
		for _, d := range c.depth {
			if valid[at+d] {
				row.age = 0
			}
		}
	}
	row.age = min(row.age, maxAge)
	row.info = p
	return p, longest
}

func (q *Queues) emit(out *env.Batch, i, r int) {
	d, s := len(q.observer.elements), len(q.spec.Action)
	values, valid := q.window.Row(i)
	q.observer.observe(out.Obs[i*d:i*d:(i+1)*d], values, valid, q.actions[r*s:(r+1)*s], int(q.rows[r].age))
	switches := len(q.columns.depth)
	for j, column := range q.columns.depth {
		q.depths[r*switches+j] = meanMeasured(values, valid, column, q.observer.fields)
	}
}

// meanMeasured is the mean of a column over the window's measured seconds, or
// over all of them where none was measured: those repeat the last good value.
func meanMeasured(values []float32, valid []bool, column, fields int) float32 {
	var sum, all float64
	measured, seconds := 0, 0
	for i := column; i < len(values); i += fields {
		all += float64(values[i])
		seconds++
		if valid[i] {
			sum += float64(values[i])
			measured++
		}
	}
	if measured == 0 {
		return float32(all / float64(seconds))
	}
	return float32(sum / float64(measured))
}

// InfoFields names the values that Info returns for a row: the player at the window's end,
// the seconds it stalled in it, the limits in force, and the mean queue depth
// of each switch.
func (q *Queues) InfoFields() []telemetry.Field {
	f := []telemetry.Field{{Name: "lbo_s", Unit: "s"}, {Name: "fps", Unit: "1/s"}, {Name: "rep_kbps", Unit: "kbit/s"}, {Name: "stall_s", Unit: "s"}}
	for s := range q.spec.Action {
		f = append(f, telemetry.Field{Name: fmt.Sprintf("limit%d", s+1), Unit: "packets"})
	}
	for s := range q.columns.depth {
		f = append(f, telemetry.Field{Name: fmt.Sprintf("enq_qdepth%d", s+1), Unit: "packets"})
	}
	return f
}

// Info appends the values of InfoFields for a row's last window to dst.
func (q *Queues) Info(row int, dst []float32) []float32 {
	p := &q.rows[row].info
	dst = append(dst, p.LBO, p.FPS, p.Kbps, p.Stall)
	s := len(q.spec.Action)
	for _, a := range q.actions[row*s : (row+1)*s] {
		dst = append(dst, float32(q.cfg.Limits[a]))
	}
	switches := len(q.columns.depth)
	return append(dst, q.depths[row*switches:(row+1)*switches]...)
}

// rowState is the fixed part of a snapshot.
type rowState struct {
	Seed           uint64
	Episode, Steps uint32
	Age            int32
	Stall          float32
	Last, Held     player
	Info           player
	Paid           float32
	Odd            bool
	Phase          env.Phase
}

var rowStateBytes = binary.Size(rowState{})

// Snapshot appends the row's state and its plant's.
func (q *Queues) Snapshot(row int, dst []byte) ([]byte, error) {
	plant, ok := q.plant.(env.Snapshotter)
	if !ok {
		return dst, fmt.Errorf("%w: this plant takes none", env.ErrBadSnapshot)
	}
	if row < 0 || row >= len(q.rows) {
		return dst, &env.RowError{Row: row, Err: env.ErrInvalidRows}
	}
	r := &q.rows[row]
	dst, err := binary.Append(dst, binary.LittleEndian, rowState{
		Seed: r.seed, Episode: r.episode, Steps: r.steps, Age: r.age, Stall: r.stall,
		Last: r.reward.last, Held: r.reward.held, Info: r.info, Paid: r.reward.paid, Odd: r.reward.odd, Phase: r.phase,
	})
	if err != nil {
		return dst, err
	}
	s := len(q.spec.Action)
	for _, a := range q.actions[row*s : (row+1)*s] {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(a))
	}
	switches := len(q.columns.depth)
	for _, d := range q.depths[row*switches : (row+1)*switches] {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(d))
	}
	return plant.Snapshot(row, dst)
}

// Restore puts back what Snapshot gave.
func (q *Queues) Restore(row int, src []byte) error {
	plant, ok := q.plant.(env.Snapshotter)
	s, switches := len(q.spec.Action), len(q.columns.depth)
	switch {
	case !ok:
		return env.ErrBadSnapshot
	case row < 0 || row >= len(q.rows):
		return &env.RowError{Row: row, Err: env.ErrInvalidRows}
	case len(src) < rowStateBytes+4*(s+switches):
		return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
	}
	var st rowState
	if _, err := binary.Decode(src, binary.LittleEndian, &st); err != nil || st.Phase > env.Over || st.Age < 0 || st.Age > maxAge {
		return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
	}
	rest := src[rowStateBytes:]
	for j := range s {
		if a := binary.LittleEndian.Uint32(rest[4*j:]); a >= uint32(q.spec.Action[j]) {
			return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
		}
	}
	numbers := []float32{st.Stall, st.Paid}
	for _, p := range []player{st.Last, st.Held, st.Info} {
		numbers = append(numbers, p.LBO, p.FPS, p.Kbps, p.Stall)
	}
	for _, x := range numbers {
		if x-x != 0 {
			return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
		}
	}
	depths := rest[4*s:]
	for j := range switches {
		if d := math.Float32frombits(binary.LittleEndian.Uint32(depths[4*j:])); !(math.Abs(float64(d)) <= math.MaxFloat32) {
			return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
		}
	}
	if err := plant.Restore(row, depths[4*switches:]); err != nil {
		return &env.RowError{Row: row, Err: fmt.Errorf("%w: %w", env.ErrBadSnapshot, err)}
	}
	for j := range s {
		q.actions[row*s+j] = int32(binary.LittleEndian.Uint32(rest[4*j:]))
	}
	for j := range switches {
		q.depths[row*switches+j] = math.Float32frombits(binary.LittleEndian.Uint32(depths[4*j:]))
	}
	q.rows[row] = queueRow{
		seed: st.Seed, episode: st.Episode, steps: st.Steps, phase: st.Phase, age: st.Age, stall: st.Stall,
		reward: rewardState{last: st.Last, held: st.Held, paid: st.Paid, odd: st.Odd}, info: st.Info,
	}
	return nil
}
