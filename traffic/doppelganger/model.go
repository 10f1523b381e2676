package doppelganger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// Model is a fitted generator, or a checkpoint of training. It is safe for
// concurrent use.
type Model struct {
	Config    Config
	Data      string // hash of the sessions
	Engine    string // kernel set that trained it
	Updates   int    // done
	Account   Account
	Distances [][]float64 // of each candidate, by field
	Chosen    int         // candidate, -1 before there is one

	codec      *codec
	nets       *networks // the chosen candidate's
	candidates []*networks
	trainer    *trainer                    // nil once training has ended
	state      *safetensors.File           // of a checkpoint that was read
	lm         *likelihood                 // of mode Likelihood
	training   func() []safetensors.Tensor // its state, until training has ended
}

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.codec.Schema }

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.Updates == m.Config.Updates }

func (m *Model) newSampler(be *compute.Backend, rows int) *sampler {
	return m.nets.newSampler(be, rows)
}

// Fit trains on be, whose owner the caller stays. Equal config, sessions and
// kernel set give equal bytes, and so does a run that was interrupted and
// resumed. When ctx ends, Fit ends between two updates, after a last
// checkpoint, with the context's error beside the model as it is.
func Fit(ctx context.Context, c Config, be *compute.Backend, src traffic.Source, o FitOptions) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	set, err := traffic.Load(src)
	if err != nil {
		return nil, fmt.Errorf("doppelganger: %w", err)
	}
	m := &Model{Config: c, Engine: be.Kernels.String(), Chosen: -1}
	if m.Data, err = traffic.Hash(set); err != nil {
		return nil, err
	}
	if m.codec, err = newCodec(c, set); err != nil {
		return nil, err
	}
	t := m.codec.encode(set, c.Window)
	m.Account = t.account
	if r := o.Resume; r != nil {
		switch {
		case r.Config != c:
			return nil, fmt.Errorf("%w: the checkpoint's config is %+v, not %+v", ErrResume, r.Config, c)
		case r.Data != m.Data:
			return nil, fmt.Errorf("%w: the checkpoint is of other sessions", ErrResume)
		case r.Engine != m.Engine:
			return nil, fmt.Errorf("%w: the checkpoint was trained on %s, this is %s", ErrResume, r.Engine, m.Engine)
		case r.Done():
			return r, nil
		}
		if r.state == nil { // not of a file: make it one
			if o.Resume, err = r.again(); err != nil {
				return nil, err
			}
		}
	}
	if c.Mode == Likelihood {
		return m.fitLikelihood(ctx, be, set, o)
	}
	m.trainer = newTrainer(c, m.codec, t, be)
	if r := o.Resume; r != nil {
		if err := m.trainer.restore(r.state); err != nil {
			return nil, err
		}
		m.Distances, m.candidates = r.Distances, r.candidates
		m.pick()
	}
	kept := train{set: nonEmpty(set)}
	return m, m.train(ctx, be, kept, o)
}

type train struct{ set []traffic.Session }

func nonEmpty(set *traffic.Set) []traffic.Session {
	var s []traffic.Session
	for _, x := range set.Sessions {
		if len(x.Steps) > 0 {
			s = append(s, x)
		}
	}
	return s
}

func (m *Model) train(ctx context.Context, be *compute.Backend, t train, o FitOptions) error {
	c, r := m.Config, m.trainer
	every := o.Every
	if every <= 0 {
		every = 1000
	}
	checkpoint := func() error {
		m.Updates = r.done
		if m.nets == nil {
			m.nets = r.avg.clone()
		}
		if m.Done() {
			m.trainer, m.candidates = nil, nil
		}
		if o.Path != "" {
			if err := m.Save(o.Path, nil); err != nil {
				return err
			}
		}
		if o.Checkpoint != nil {
			return o.Checkpoint(m)
		}
		return nil
	}
	for r.done < c.Updates {
		if err := ctx.Err(); err != nil {
			if stop := checkpoint(); stop != nil && !errors.Is(stop, ErrStop) {
				return errors.Join(err, stop)
			}
			return err
		}
		losses, err := r.update()
		if err != nil {
			return err
		}
		// Candidates come in the second half: earlier ones lose.
		if from := c.Updates / 2; r.done > from && (r.done-from)*c.Checks/(c.Updates-from) > (r.done-1-from)*c.Checks/(c.Updates-from) {
			if err := m.candidate(be, t); err != nil {
				return err
			}
		}
		if o.Report != nil {
			o.Report(Progress{Update: r.done, Of: c.Updates, Losses: losses})
		}
		if r.done%every == 0 && r.done < c.Updates {
			if err := checkpoint(); errors.Is(err, ErrStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	if err := checkpoint(); err != nil && !errors.Is(err, ErrStop) {
		return err
	}
	return nil
}

// candidate adds the averaged generators as they are to those that the best is
// chosen of.
func (m *Model) candidate(be *compute.Backend, t train) error {
	n := m.trainer.avg.clone()
	m.candidates = append(m.candidates, n)
	was := m.nets
	m.nets = n
	drawn, err := m.drawLike(be, min(len(t.set), 5000), uint64(len(m.candidates))+m.Config.Seed<<16)
	m.nets = was
	if err != nil {
		return err
	}
	m.Distances = append(m.Distances, marginals(&m.codec.Schema, t.set, drawn))
	m.pick()
	return nil
}

// drawLike draws n sessions with the labels and starts that training has.
func (m *Model) drawLike(be *compute.Backend, n int, seed uint64) ([]traffic.Session, error) {
	s := m.nets.newSampler(be, min(n, block))
	r := traffic.Request{N: n, Seed: seed}
	var all []traffic.Session
	start := 0.
	for first := 0; first < n; first += block {
		k := min(block, n-first)
		for i := range k {
			start += m.pause(seed, first+i)
			s.label[i], s.start[i] = m.label(&r, first+i), start
		}
		all = append(all, s.draw(&r, first, k)...)
	}
	return all, nil
}

func (m *Model) pick() {
	if len(m.Distances) == 0 {
		return
	}
	sums := rankSums(m.Distances)
	m.Chosen = slices.Index(sums, slices.Min(sums))
	m.nets = m.candidates[m.Chosen]
}
