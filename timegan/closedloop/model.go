package closedloop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Model is a fitted simulator: what a checkpoint holds.
type Model struct {
	Config   Config
	Data     []string // hashes of the recordings, then of those that FitOptions.From was fitted to
	Engine   string
	Credit   string             // whose recordings
	Fidelity []timegan.Fidelity // measured after fitting
	Updates  int                // done
	Loss     float64            // nats per second, mean of the last updates
	Warnings []string           // of Fit: what the recordings are short of; not in a checkpoint
	// Adversary is what fine-tuning came to; nil without.
	Adversary *Adversary

	codec  *codec
	others []*seq.Model // of an ensemble, the members trained before net
	net    *seq.Model   // the averaged weights, once training has ended; else those it goes on from
	starts [][]byte     // second of the clock and moments after each recording's first second
	state  *seq.Trainer // of net; nil once the likelihood's training has ended
	tuning *tuning      // of net, after that; nil without, and once it has ended
}

// training is how seq trains.
func (c Config) training() seq.Training {
	return seq.Training{Updates: c.Updates, Rate: c.Rate, Decay: c.Decay}
}

// nets are the networks whose distributions rollouts draw from.
func (m *Model) nets() []*seq.Model { return append(slices.Clip(m.others), m.net) }

// Members is how many networks the model has.
func (m *Model) Members() int { return len(m.others) + 1 }

// member is the config of the network that is being trained.
func (m *Model) member() Config {
	c := m.Config
	c.Seed += uint64(len(m.others))
	return c
}

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.state == nil && m.tuning == nil }

// Fields are the columns that the model generates.
func (m *Model) Fields() []telemetry.Field { return m.codec.fields() }

// Limits are the limits that were recorded at any switch, packets, ascending.
func (m *Model) Limits() []int32 {
	var all []int32
	for _, l := range m.codec.Limits {
		all = append(all, l...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Switches is how many limits a second has: 1 where one is in force at all
// switches.
func (m *Model) Switches() int { return m.codec.Switches }

// Regimes is how many regimes the load has.
func (m *Model) Regimes() int { return m.codec.Load.K }

// Parameters is how many numbers were learnt.
func (m *Model) Parameters() int {
	n := 0
	for _, net := range m.nets() {
		n += net.Parameters()
	}
	return n
}

// Scale puts a value of a column in [0, 1] of the range that was recorded:
// what an agent is shown.
func (m *Model) Scale(column int, x float32) float32 {
	c := &m.codec.Columns[column]
	if c.Hi > c.Lo {
		return float32((float64(x) - float64(c.Lo)) / (float64(c.Hi) - float64(c.Lo)))
	}
	return x - c.Lo
}

// Progress is where training is.
type Progress struct {
	Update, Of int
	Loss       float64 // nats per second of the latest update
	Right      float64 // in adversarial fine-tuning, the share of windows that the discriminator tells from rollouts; else 0
}

// FitOptions say what happens along the way. The zero value is silence.
type FitOptions struct {
	Report func(Progress)
	Path   string // of checkpoints; "" is none
	Every  int    // updates between checkpoints; 500
	Resume *Model // go on from a checkpoint of the same config and recordings
	// From is a model, of other recordings, with whose weights training begins: see
	// from.go. A run that is resumed needs it again.
	From *Model
	// Checkpoint is called with the model at each checkpoint, written or not, and
	// at the end. timegan.ErrStop ends training there, without an error.
	Checkpoint func(*Model) error
	// Engine computes losses and gradients: "" or "fused" by hand on the backend,
	// or what internal/seq knows by another name.
	Engine string
}

// tracks are recordings encoded, and the windows of them.
type tracks struct {
	k      *codec
	all    []track
	starts [][2]int // track and second of each window's first
	length int
}

func newTracks(k *codec, recordings []telemetry.Recording, regimes [][]uint8, window int) (*tracks, error) {
	t := &tracks{k: k}
	for i, r := range recordings {
		t.all = append(t.all, k.encode(r, regimes[i]))
	}
	if t = t.of(window); len(t.starts) == 0 {
		return nil, fmt.Errorf("closedloop: window: no recording has %d seconds and one before", window)
	}
	return t, nil
}

// of is t with windows of so many seconds.
func (t *tracks) of(window int) *tracks {
	to := &tracks{k: t.k, all: t.all, length: window}
	for i, tr := range t.all {
		for s := 1; s+window <= tr.seconds; s++ {
			to.starts = append(to.starts, [2]int{i, s})
		}
	}
	return to
}

// heldOut are the recordings that a stage holds out, or all where they are too few.
func (t *tracks) heldOut() *tracks {
	if len(t.all) < leastHeld {
		return t
	}
	to := &tracks{k: t.k, length: t.length}
	for i, tr := range t.all {
		if heldOut(i) {
			to.all = append(to.all, tr)
		}
	}
	return to
}

// fill puts an update's windows into the first rows of b, drawn by its number.
func (t *tracks) fill(c Config, update int, b *seq.Batch, rows int) {
	for row := range rows {
		key := rng.Key{Seed: c.Seed, A: uint32(update), B: uint32(row), Purpose: rng.BatchOrder}
		at := t.starts[key.Intn(0, len(t.starts))]
		tr := &t.all[at[0]]
		first, end := at[1], at[1]+b.Steps
		if t.k.Restart {
			first, end = tr.within(first, b.Steps)
		}
		t.put(c, b, row, tr, first, end)
		if c.Noise <= 0 {
			continue
		}
		d, e, given := t.k.numbersIn(), len(t.k.heads), t.k.given()
		for s := range b.Steps {
			if i := s*b.Rows + row; key.Float64(uint32(2+s)) < c.Noise {
				clear(b.Dense[i*d+given : (i+1)*d])
				for j := range e {
					b.Tokens[i*e+j] = -1
				}
			}
		}
	}
}

// put makes the seconds of tr from first a row of b; those from end on do not count.
func (t *tracks) put(c Config, b *seq.Batch, row int, tr *track, first, end int) {
	d, e, h, lead := t.k.numbersIn(), len(t.k.heads), t.k.lead()+len(t.k.Heads), t.k.lead()
	for s := range b.Steps {
		i, from := s*b.Rows+row, min(first+s, tr.seconds-1)
		copy(b.Dense[i*d:][:d], tr.x[from*d:])
		copy(b.Tokens[i*e:][:e], tr.tokens[from*e:])
		values := b.Values[i*h:][:h]
		copy(values, tr.classes[from*h:])
		if lead > 0 {
			t.k.weigh(c, b.Weight[i*h:][:h], values[0] > 0)
			values[0] = -1 // see fitTurning
		}
		if first+s >= end {
			for j := range values {
				values[j] = -1
			}
		}
	}
}

// within is the part of a window of n seconds from first that no change of the
// load divides: the longer one of the first two, from its first second on, for
// the network's state begins anew with each regime.
func (t *track) within(first, n int) (from, end int) {
	u := t.next(first)
	if u >= first+n {
		return first, first + n
	}
	if end := min(u+n, t.next(u)); end-u > u-first {
		return u, end
	}
	return first, u
}

// next is the second after s that begins another regime, or the track's end.
func (t *track) next(s int) int {
	if i, _ := slices.BinarySearch(t.turns, s+1); i < len(t.turns) {
		return t.turns[i]
	}
	return t.seconds
}

func newBatch(c Config, k *codec, steps, rows int) *seq.Batch {
	n := steps * rows
	heads := k.lead() + len(k.Heads)
	weight := make([]float32, n*heads)
	for w := range slices.Chunk(weight, heads) {
		k.weigh(c, w, false)
	}
	return &seq.Batch{Weight: weight, Steps: steps, Rows: rows, Tokens: make([]int32, n*len(k.heads)), Dense: make([]float32, n*k.numbersIn()), Values: make([]int32, n*heads)}
}

// weigh sets a second's weights in the loss, [lead+H]: where the load changes 0 of
// the player's heads, see fitTurning.
func (k *codec) weigh(c Config, weight []float32, turns bool) {
	clear(weight)
	for h := range k.Heads {
		w := 1.
		if kind := k.Columns[k.Heads[h].Column].Kind; kind == qualityKind || kind == changeKind {
			if w = c.Weight; turns {
				w = 0
			}
		}
		weight[k.lead()+h] = float32(w)
	}
}

// Fit trains on be, whose owner the caller stays. Equal config, recordings and
// kernel set give equal bytes, and so does a run that was interrupted and
// resumed. When ctx ends, Fit ends between two updates, after a last
// checkpoint, with the context's error beside the model as it is.
func Fit(ctx context.Context, c Config, be *compute.Backend, recordings []telemetry.Recording, o FitOptions) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	m := &Model{Config: c, Engine: be.Kernels.String()}
	for _, r := range recordings {
		m.Data = append(m.Data, r.Data.Hash())
	}
	if c.HeldOut {
		var err error
		if recordings, err = trainBlocks(recordings); err != nil {
			return nil, err
		}
	}
	k, regimes, err := newCodec(c, recordings)
	if err != nil {
		return nil, err
	}
	if o.From != nil {
		m.Data = append(m.Data, o.From.Data...)
		if k, regimes, err = o.From.lend(c, k, recordings); err != nil {
			return nil, err
		}
	}
	m.codec = k
	shown, d := k.shows(recordings)
	m.Warnings = k.warnings(recordings, regimes, shown, d)
	if o.Engine != "" && o.Engine != seq.Fused {
		m.Engine = o.Engine + "/" + m.Engine
	}
	for i, r := range recordings {
		m.starts = append(m.starts, k.starts(r, regimes[i])...)
	}
	t, err := newTracks(k, recordings, regimes, c.Window)
	if err != nil {
		return nil, err
	}
	var s *stage
	if c.adversarial() {
		if s, err = newStage(k, recordings, regimes, c.AdversarialWindow); err != nil {
			return nil, err
		}
	}
	lent := func(net *seq.Model) error {
		if o.From == nil {
			return nil
		}
		return o.From.give(net, k, be, recordings, regimes)
	}
	if err := m.begin(be, o.Resume, lent); err != nil {
		return nil, err
	}
	halted := false
	store := func() error {
		if m.state != nil {
			m.Updates = m.state.Update
		}
		if m.state != nil && m.Updates == c.Updates {
			m.net, m.state = m.state.Averaged(), nil
			m.codec.projectWeights(m.net)
			t.fitTurning(m.net, be)
			if m.Members() < c.members() {
				m.others = append(m.others, m.net)
				m.Updates = 0
				if err := m.begin(be, nil, lent); err != nil {
					return err
				}
			}
			if c.adversarial() {
				if m.tuning, err = m.newTuning(be); err != nil {
					return err
				}
			}
		}
		if o.Path != "" {
			if err := m.WriteFile(o.Path); err != nil {
				return err
			}
		}
		if o.Checkpoint == nil {
			return nil
		}
		if err := o.Checkpoint(m); !errors.Is(err, timegan.ErrStop) {
			return err
		}
		halted = true
		return seq.ErrStop
	}
	for err == nil && !halted && m.state != nil {
		err = m.likelihood(ctx, be, t, o, store)
	}
	if err == nil && !halted && m.tuning != nil {
		if err = m.tune(ctx, be, s, t, o, store); errors.Is(err, seq.ErrStop) {
			err = nil
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return m, err
}

// begin is a model before its first update, whose network lent may change, or what r
// was trained to so far.
func (m *Model) begin(be *compute.Backend, r *Model, lent func(*seq.Model) error) (err error) {
	c := m.member()
	if r != nil {
		return m.resume(r, be)
	}
	if m.net, err = seq.New(m.codec.network(c), c.Seed); err != nil {
		return err
	}
	m.codec.spread(m.net)
	if err := lent(m.net); err != nil {
		return err
	}
	m.codec.projectWeights(m.net)
	if c.AdversarialOnly {
		m.tuning, err = m.newTuning(be)
		return err
	}
	m.state, err = seq.NewTrainer(m.net, be, c.training())
	return err
}

// likelihood trains m by the likelihood of the next second.
func (m *Model) likelihood(ctx context.Context, be *compute.Backend, t *tracks, o FitOptions, store func() error) error {
	c, before := m.member(), len(m.others)*m.Config.Updates
	objective, err := m.codec.openObjective(o.Engine, m.net, be, c.Window, c.Batch)
	if err != nil {
		return err
	}
	defer func() { _ = seq.Close(objective) }() // what it had is in the model
	return m.state.Fit(ctx, objective, newBatch(c, m.codec, c.Window, c.Batch), func(u int, b *seq.Batch) error {
		t.fill(c, u, b, b.Rows)
		m.codec.projectWeights(m.net)
		return nil
	}, seq.FitOptions{Every: o.Every, Checkpoint: store, Report: func(u int, losses []float64) {
		sum := 0.
		for _, l := range losses {
			sum += l
		}
		keep := min(float64(u)/float64(u+1), .98)
		m.Loss += (1 - keep) * (sum - m.Loss)
		if o.Report != nil {
			o.Report(Progress{Update: before + u, Of: c.members()*c.Updates + c.tuningUpdates(), Loss: sum})
		}
	}})
}

// trainBlocks are recordings in whose test blocks nothing was measured.
func trainBlocks(recordings []telemetry.Recording) ([]telemetry.Recording, error) {
	var all []telemetry.Recording
	for _, r := range recordings {
		d, n := r.Data, len(r.Data.Fields())
		values, valid := make([]float32, d.Len()*n), make([]bool, d.Len()*n)
		for t := range d.Len() {
			d.Copy(t, values[t*n:][:n], valid[t*n:][:n])
			if !telemetry.Train.Holds(t) {
				clear(valid[t*n:][:n])
			}
		}
		var err error
		if r.Data, err = telemetry.NewDataset(d.Fields(), d.Limit(), time.Unix(0, 0), values, valid); err != nil {
			return nil, fmt.Errorf("closedloop: held_out: %w", err)
		}
		all = append(all, r)
	}
	return all, nil
}

// resume takes over what r was trained to so far.
func (m *Model) resume(r *Model, be *compute.Backend) error {
	switch {
	case r.Config != m.Config:
		return fmt.Errorf("closedloop: %w: the checkpoint's config is %+v, not %+v", timegan.ErrResume, r.Config, m.Config)
	case !slices.Equal(r.Data, m.Data):
		return fmt.Errorf("closedloop: %w: the checkpoint was trained on recordings %v, not %v", timegan.ErrResume, r.Data, m.Data)
	case r.Engine != m.Engine:
		return fmt.Errorf("closedloop: %w: the checkpoint was trained on engine %s: %s gives other bytes", timegan.ErrResume, r.Engine, m.Engine)
	case r.Done():
		return fmt.Errorf("closedloop: %w: training has ended", timegan.ErrResume)
	}
	m.Updates, m.Loss, m.net, m.others, m.state, m.tuning = r.Updates, r.Loss, r.net, r.others, r.state, r.tuning
	if m.state != nil {
		m.state.On(be)
	}
	if u := m.tuning; u != nil {
		u.generator.On(be)
		u.watching.On(be)
	}
	return nil
}

// Likelihood is the mean negative log-likelihood of recordings, nats per
// second, by head, of pieces one after another, the seconds about a change of the
// load left out of the player's heads: what of a recording that the
// model was not trained on says how well it is known. Of an ensemble it is the mean
// of the members'.
func (m *Model) Likelihood(be *compute.Backend, recordings []telemetry.Recording) (names []string, nats []float64, err error) {
	_, regimes := inferLoad(m.codec, recordings, m.codec.Load.K)
	t, err := newTracks(m.codec, recordings, regimes, m.Config.Window)
	if err != nil {
		return nil, nil, err
	}
	c := m.Config
	c.Weight = 1
	nats = make([]float64, len(m.codec.Heads))
	for _, net := range m.nets() {
		for h, l := range t.nats(c, net, be, nil) {
			nats[h] += l / float64(m.Members())
		}
	}
	for _, h := range m.codec.Heads {
		names = append(names, h.Name)
	}
	return names, nats, nil
}

// nats are the mean negative log-likelihood that net gives a second of t, by head,
// weighted as in training, of the pieces whose first second counts; nil: all do.
func (t *tracks) nats(c Config, net *seq.Model, be *compute.Backend, counts func(track, second int) bool) []float64 {
	k := t.k
	run := net.NewRun(be, t.length, 1)
	b := newBatch(c, k, t.length, 1)
	nats := make([]float64, len(k.Heads))
	lead := k.lead()
	n := 0.
	for i := range t.all {
		tr := &t.all[i]
		for s := 1; s < tr.seconds; {
			end := min(s+t.length, tr.seconds)
			if k.Restart {
				end = min(end, tr.next(s))
			}
			if counts == nil || counts(i, s) {
				t.put(c, b, 0, tr, s, end)
				run.Forward(b)
				for h, l := range run.Backward(1)[lead:] {
					nats[h] += l * float64(end-s)
				}
				n += float64(end - s)
			}
			s = end
		}
	}
	for h := range nats {
		nats[h] /= max(n, 1)
	}
	return nats
}
