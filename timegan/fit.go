package timegan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/telemetry"
)

// Training is what a model is fitted to.
type Training struct {
	Codec   *Codec
	Windows Windows
	Data    []string // hashes of the recordings
}

// DefaultKnots is how many quantiles a channel's scaler has by default.
const DefaultKnots = 129

// NewTraining encodes the seconds of recordings in a split, for the windows of
// c. knots is that of NewCodec.
func NewTraining(recordings []telemetry.Recording, split telemetry.Split, c Config, knots int) (Training, error) {
	if err := c.Check(); err != nil {
		return Training{}, err
	}

	var t Training
	var err error
	if t.Codec, err = NewCodec(recordings, knots, split); err != nil {
		return t, err
	}
	if c.Free {
		t.Codec.free()
	}
	if t.Windows, err = NewWindows(t.Codec, recordings, c.WithDefaults().Window, split); err != nil {
		return t, err
	}
	for _, r := range recordings {
		t.Data = append(t.Data, r.Data.Hash())
	}
	return t, nil
}

// Progress is how far training has come.
type Progress struct {
	Phase       Phase
	Update, Of  int    // updates done of this phase's
	Done, Total int    // of all phases
	Losses      Losses // of the latest update
}

// FitOptions say what happens along the way. The zero value reports nothing
// and writes nothing.
type FitOptions struct {
	Report   func(Progress) // called every Interval updates and at a phase's end
	Interval int            // updates; 50
	Path     string         // of checkpoints, weights and state; "" is none
	Every    int            // updates between checkpoints; 1000
	Resume   *Model         // go on from a checkpoint of the same config and data
	// Checkpoint is called with the model at each checkpoint, written or not,
	// and at the end. ErrStop ends training there, without an error.
	Checkpoint func(*Model) error
}

// ErrStop is what FitOptions.Checkpoint returns to end training early.
var ErrStop = errors.New("training was stopped early")

// ErrResume is wrapped by errors that say why a fit cannot continue a checkpoint.
var ErrResume = errors.New("cannot resume")

// Fit trains on e, whose owner the caller stays. Run after run gives equal
// bytes, and so does one that was interrupted and resumed. When ctx ends, Fit
// ends between two updates: it writes a last checkpoint, and returns the model
// as it is with the context's error.
func Fit(ctx context.Context, c Config, e Engine, t Training, o FitOptions) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.WithDefaults()
	if t.Windows.Length != c.Window {
		return nil, fmt.Errorf("timegan: windows of %d seconds, window is %d", t.Windows.Length, c.Window)
	}
	if c.Latent && t.Windows.Bits > 0 {
		return nil, fmt.Errorf("timegan: latent: the recordings have gaps: codes of windows with and without are not to be compared")
	}
	m := &Model{Config: c, Codec: t.Codec, Data: t.Data, Engine: e.Name(), Params: NewParams(c, t.Codec.Channels, t.Codec.Bits)}
	if r := o.Resume; r != nil {
		switch {
		case r.Config != c:
			return nil, fmt.Errorf("timegan: %w: the checkpoint's config is %+v, not %+v", ErrResume, r.Config, c)
		case !slices.Equal(r.Data, t.Data):
			return nil, fmt.Errorf("timegan: %w: the checkpoint was trained on recordings %v, not %v", ErrResume, r.Data, t.Data)
		case r.Engine != e.Name():
			return nil, fmt.Errorf("timegan: %w: the checkpoint was trained on engine %s: %s gives other bytes", ErrResume, r.Engine, e.Name())
		case r.State == nil && !r.Done():
			return nil, fmt.Errorf("timegan: %w: the checkpoint holds weights only", ErrResume)
		}
		m.Phase, m.Update, m.Losses, m.Params, m.State = r.Phase, r.Update, r.Losses, r.Params, r.State
	}
	if err := e.Load(c, m.Params, m.State, t.Windows); err != nil {
		return nil, err
	}
	interval, every := o.Interval, o.Every
	if interval <= 0 {
		interval = 50
	}
	if every <= 0 {
		every = 1000
	}
	store := func() (err error) {
		if m.Params, m.State, err = e.Store(); err != nil {
			return err
		}
		if o.Path != "" {
			if err := m.WriteFile(o.Path); err != nil {
				return err
			}
		}
		if o.Checkpoint != nil {
			return o.Checkpoint(m)
		}
		return nil
	}
	steps := [...]int{c.Embed, c.Super, c.Joint}
	losses := make([]Losses, interval)
	for !m.Done() {
		of := steps[m.Phase]
		for m.Update < of {
			n := min(interval-m.Update%interval, of-m.Update, every-m.Update%every)
			done, err := e.Run(ctx, m.Phase, m.Update, n, c.Seed, losses[:n])
			m.Update += done
			if done > 0 {
				m.Losses.merge(losses[done-1])
			}
			if err != nil {
				var diverged *DivergedError
				if errors.As(err, &diverged) {
					return nil, err // the last checkpoint is the last that is good
				}
				if stop := store(); !errors.Is(stop, ErrStop) {
					err = errors.Join(err, stop)
				}
				return m, err
			}
			if o.Report != nil && (m.Update%interval == 0 || m.Update == of) {
				before := 0
				for _, s := range steps[:m.Phase] {
					before += s
				}
				o.Report(Progress{m.Phase, m.Update, of, before + m.Update, steps[0] + steps[1] + steps[2], m.Losses})
			}
			if m.Update%every == 0 && m.Update < of {
				if err := store(); errors.Is(err, ErrStop) {
					return m, nil
				} else if err != nil {
					return m, err
				}
			}
		}
		m.Phase, m.Update = m.Phase+1, 0
	}
	if err := store(); !errors.Is(err, ErrStop) {
		return m, err
	}
	return m, nil
}

// merge keeps of l what the latest update has not computed.
func (l *Losses) merge(latest Losses) {
	for _, f := range []struct{ to, from *float32 }{
		{&l.R, &latest.R}, {&l.S, &latest.S}, {&l.U, &latest.U}, {&l.V, &latest.V}, {&l.C, &latest.C}, {&l.K, &latest.K}, {&l.D, &latest.D},
	} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
}
