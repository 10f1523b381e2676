package closedloop

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Model is a fitted simulator: what a checkpoint holds.
type Model struct {
	Config   Config
	Data     []string // hashes of the recordings
	Engine   string
	Credit   string             // whose recordings
	Fidelity []timegan.Fidelity // measured after fitting
	Updates  int                // done
	Loss     float64            // nats per second, mean of the last updates

	codec  *codec
	net    *seq.Model   // the averaged weights, once training has ended; else those it goes on from
	starts [][]byte     // second of the clock and moments after each recording's first second
	state  *seq.Trainer // of net; nil once training has ended
}

// training is how seq trains.
func (c Config) training() seq.Training {
	return seq.Training{Updates: c.Updates, Rate: c.Rate, Decay: c.Decay}
}

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.state == nil }

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
func (m *Model) Parameters() int { return m.net.Parameters() }

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
}

// FitOptions say what happens along the way. The zero value is silence.
type FitOptions struct {
	Report func(Progress)
	Path   string // of checkpoints; "" is none
	Every  int    // updates between checkpoints; 500
	Resume *Model // go on from a checkpoint of the same config and recordings
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
	t := &tracks{k: k, length: window}
	for i, r := range recordings {
		tr := k.encode(r, regimes[i])
		t.all = append(t.all, tr)
		for s := 1; s+window <= tr.seconds; s++ {
			t.starts = append(t.starts, [2]int{i, s})
		}
	}
	if len(t.starts) == 0 {
		return nil, fmt.Errorf("closedloop: window: no recording has %d seconds and one before", window)
	}
	return t, nil
}

// fill puts an update's windows into b, drawn by its number.
func (t *tracks) fill(c Config, update int, b *seq.Batch) {
	d, e, h := t.k.numbersIn(), len(t.k.heads), t.k.lead()+len(t.k.Heads)
	given, lead := t.k.given(), t.k.lead()
	for row := range b.Rows {
		key := rng.Key{Seed: c.Seed, A: uint32(update), B: uint32(row), Purpose: rng.BatchOrder}
		at := t.starts[key.Intn(0, len(t.starts))]
		tr := &t.all[at[0]]
		for s := range b.Steps {
			i, from := s*b.Rows+row, at[1]+s
			copy(b.Dense[i*d:][:d], tr.x[from*d:])
			copy(b.Tokens[i*e:][:e], tr.tokens[from*e:])
			copy(b.Values[i*h:][:h], tr.classes[from*h:])
			if lead > 0 {
				t.k.weigh(c, b.Weight[i*h:][:h], b.Values[i*h] > 0)
				b.Values[i*h] = -1 // see fitTurning
			}
			if c.Noise > 0 && key.Float64(uint32(2+s)) < c.Noise {
				clear(b.Dense[i*d+given : (i+1)*d])
				for j := range e {
					b.Tokens[i*e+j] = -1
				}
			}
		}
	}
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
	k, regimes, err := newCodec(c, recordings)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, codec: k, Engine: be.Kernels.String()}
	if o.Engine != "" && o.Engine != seq.Fused {
		m.Engine = o.Engine + "/" + m.Engine
	}
	for i, r := range recordings {
		m.Data = append(m.Data, r.Data.Hash())
		m.starts = append(m.starts, k.starts(r, regimes[i])...)
	}
	t, err := newTracks(k, recordings, regimes, c.Window)
	if err != nil {
		return nil, err
	}
	if r := o.Resume; r != nil {
		if err := m.resume(r, be); err != nil {
			return nil, err
		}
	} else {
		if m.net, err = seq.New(k.network(c), c.Seed); err != nil {
			return nil, err
		}
		if m.state, err = seq.NewTrainer(m.net, be, c.training()); err != nil {
			return nil, err
		}
	}
	net, trainer := m.net, m.state
	objective, err := seq.Open(o.Engine, net, be, c.Window, c.Batch)
	if err != nil {
		return nil, fmt.Errorf("closedloop: %w", err)
	}
	defer func() { _ = seq.Close(objective) }() // what it had is in the model
	store := func() error {
		m.Updates = trainer.Update
		if trainer.Update == c.Updates {
			m.net, m.state = trainer.Averaged(), nil
			t.fitTurning(m.net, be)
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
		return seq.ErrStop
	}
	err = trainer.Fit(ctx, objective, newBatch(c, k, c.Window, c.Batch), func(u int, b *seq.Batch) error {
		t.fill(c, u, b)
		return nil
	}, seq.FitOptions{Every: o.Every, Checkpoint: store, Report: func(u int, losses []float64) {
		sum := 0.
		for _, l := range losses {
			sum += l
		}
		keep := min(float64(u)/float64(u+1), .98)
		m.Loss += (1 - keep) * (sum - m.Loss)
		if o.Report != nil {
			o.Report(Progress{u, c.Updates, sum})
		}
	}})
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return m, err
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
	case r.state == nil:
		return fmt.Errorf("closedloop: %w: training has ended", timegan.ErrResume)
	}
	m.Updates, m.Loss, m.net, m.state = r.Updates, r.Loss, r.net, r.state
	m.state.On(be)
	return nil
}

// Likelihood is the mean negative log-likelihood of recordings, nats per
// second, by head, of windows one after another: what of a recording that the
// model was not trained on says how well it is known.
func (m *Model) Likelihood(be *compute.Backend, recordings []telemetry.Recording) (names []string, nats []float64, err error) {
	_, regimes := inferLoad(m.codec, recordings, m.codec.Load.K)
	t, err := newTracks(m.codec, recordings, regimes, m.Config.Window)
	if err != nil {
		return nil, nil, err
	}
	c := m.Config
	c.Noise, c.Weight = 0, 1
	run := m.net.NewRun(be, c.Window, 1)
	b := newBatch(c, m.codec, c.Window, 1)
	nats = make([]float64, len(m.codec.Heads))
	lead := m.codec.lead()
	n := 0.
	for i := range t.all {
		for s := 1; s+c.Window <= t.all[i].seconds; s += c.Window {
			one := tracks{k: t.k, all: t.all, starts: [][2]int{{i, s}}}
			one.fill(c, 0, b)
			run.Forward(b)
			for h, l := range run.Backward(1)[lead:] {
				nats[h] += l
			}
			n++
		}
	}
	for h := range nats {
		nats[h] /= n
		names = append(names, m.codec.Heads[h].Name)
	}
	return names, nats, nil
}
