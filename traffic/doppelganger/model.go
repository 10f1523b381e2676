package doppelganger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// Model is a fitted generator, or a checkpoint of training. It is safe for
// concurrent use.
type Model struct {
	Config    Config
	Seed      uint64
	Data      string // hash of the sessions
	Engine    string // and kernel set that trained it
	Updates   int    // done
	Account   Account
	Distances [][]float64 // of each candidate, by field
	Chosen    int         // candidate, -1 before there is one
	Parent    string      // hash of the model that the fit began with; "": none
	Strange   []Strange   // values of the sessions that the parent's classes do not have

	codec      *codec
	private    *Private  // of a private fit
	nets       *networks // the chosen candidate's
	candidates []*networks
	trainer    *trainer                    // nil once training has ended
	state      *safetensors.File           // of a checkpoint that was read
	lm         *likelihood                 // of mode Likelihood
	training   func() []safetensors.Tensor // its state, until training has ended
}

// Settings are those it was fitted with.
func (m *Model) Settings() Config { return m.Config }

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.codec.Schema }

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.Updates == m.Config.Updates }

// Fit trains. Equal config, sessions, seed and kernel set give equal bytes, and
// so does a run that was interrupted and resumed. When ctx ends, Fit ends
// between two updates, after a last checkpoint, with the context's error beside
// the model as it is.
func Fit(ctx context.Context, src traffic.Source, c Config, o traffic.FitOptions) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	c.seed = o.Seed
	set, err := traffic.Load(src)
	if err != nil {
		return nil, fmt.Errorf("doppelganger: %w", err)
	}
	kernels, err := compute.ParseKernels(cmp.Or(o.Kernels, "auto"))
	if err != nil {
		return nil, fmt.Errorf("doppelganger: %w", err)
	}
	if o.Engine != "" && o.Engine != seq.Fused && c.Mode == Adversarial {
		return nil, fmt.Errorf("doppelganger: engine %q: a model against critics is trained by %q alone", o.Engine, seq.Fused)
	}
	be := compute.NewBackend(kernels, cmp.Or(o.Threads, runtime.GOMAXPROCS(0)))
	defer be.Close()
	m := &Model{Config: c, Seed: o.Seed, Engine: cmp.Or(o.Engine, seq.Fused) + "/" + kernels.String(), Chosen: -1}
	if c.private() {
		if o.From != nil || c.Chunk > 0 {
			return nil, fmt.Errorf("doppelganger: a private fit begins with no model and learns no chunk alone: classes of either come from sessions")
		}
		return m, m.fitPrivate(ctx, be, set, o, nil)
	}
	if m.Data, err = traffic.Hash(set); err != nil {
		return nil, err
	}
	if m.codec, err = newCodec(c, set); err != nil {
		return nil, err
	}
	part, err := m.codec.part(set, c.Chunk)
	if err != nil {
		return nil, err
	}
	var parent, from *Model
	if o.From != nil {
		if parent, err = m.begin(o.From, part); err != nil {
			return nil, err
		}
	}
	if o.Resume {
		if from, err = m.resume(o.Path, parent != nil); err != nil {
			return nil, err
		}
	}
	t := m.codec.encode(part, c.Window)
	m.Account = t.account
	if c.Chunk > 0 {
		m.Account.Others = len(nonEmpty(set)) - part.Len()
	}
	if c.Mode == Likelihood {
		return m, m.fitLikelihood(ctx, be, part, parent, from, o)
	}
	m.trainer = newTrainer(c, m.codec, t, be)
	if m.Parent != "" {
		m.trainer.alone = c.Updates / alone
	}
	if parent != nil {
		m.trainer.n.set(parent.nets)
		m.trainer.avg.set(parent.nets)
	}
	if from != nil {
		if err := m.trainer.restore(from.state); err != nil {
			return nil, err
		}
		m.Distances, m.candidates = from.Distances, from.candidates
		m.pick()
	}
	return m, m.train(ctx, be, nonEmpty(part), o)
}

// resume reads the checkpoint at path, which m must be able to go on with: it takes
// over its classes. begun says that a parent is given: the checkpoint must have begun
// with it.
func (m *Model) resume(path string, begun bool) (*Model, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	if err := r.origin().Resume(m.origin(), ErrResume); err != nil {
		return nil, err
	}
	if begun && r.Parent != m.Parent {
		return nil, fmt.Errorf("%w: it did not begin with that model", ErrResume)
	}
	m.codec, m.Parent, m.Strange = r.codec, r.Parent, r.Strange
	return r, nil
}

func (m *Model) origin() traffic.Origin {
	return traffic.Origin{Config: m.Config, Seed: m.Seed, Data: m.Data, Engine: m.Engine, Done: m.Done()}
}

func nonEmpty(set *traffic.Set) []traffic.Session {
	var s []traffic.Session
	for _, x := range set.Sessions {
		if len(x.Steps) > 0 {
			s = append(s, x)
		}
	}
	return s
}

func (m *Model) train(ctx context.Context, be *compute.Backend, set []traffic.Session, o traffic.FitOptions) error {
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
			t := m.trainer.t
			m.trainer, m.candidates = nil, nil
			if err := m.calibrate(be, set, t); err != nil {
				return err
			}
		}
		if o.Path == "" {
			return nil
		}
		return m.Save(o.Path, nil)
	}
	for r.done < c.Updates {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, checkpoint())
		}
		losses, err := r.update()
		if err != nil {
			return err
		}
		// Candidates come in the second half: earlier ones lose.
		if from := c.Updates / 2; r.done > from && (r.done-from)*c.Checks/(c.Updates-from) > (r.done-1-from)*c.Checks/(c.Updates-from) {
			m.candidate(be, set)
		}
		if o.Report != nil {
			o.Report(traffic.Progress{Phase: "doppelganger", Done: r.done, Total: c.Updates, Losses: map[string]float64{
				"attributes_distance": losses.Attributes, "series_distance": losses.Series, "penalty": losses.Penalty}})
		}
		if r.done%every == 0 && r.done < c.Updates {
			if err := checkpoint(); err != nil {
				return err
			}
		}
	}
	return checkpoint()
}

// candidate adds the averaged generators as they are to those that the best is
// chosen of.
func (m *Model) candidate(be *compute.Backend, set []traffic.Session) {
	n := m.trainer.avg.clone()
	m.candidates = append(m.candidates, n)
	was := m.nets
	m.nets = n
	drawn := m.drawLike(be, min(len(set), 5000), uint64(len(m.candidates))+m.Config.seed<<16)
	m.nets = was
	m.Distances = append(m.Distances, marginals(&m.codec.Schema, set, drawn))
	m.pick()
}

// drawLike draws n sessions with the labels and starts that training has.
func (m *Model) drawLike(be *compute.Backend, n int, seed uint64) (all []traffic.Session) {
	m.drawBlocks(be, n, seed, func(drawn []traffic.Session) { all = append(all, drawn...) })
	return all
}

// drawBlocks draws as drawLike does, a block at a time.
func (m *Model) drawBlocks(be *compute.Backend, n int, seed uint64, do func(drawn []traffic.Session)) {
	m.blocks(be, n, seed, func(r *traffic.Request, s *sampler, first, rows int, labels []int, starts []float64) {
		if s != nil {
			do(s.draw(r, first, rows))
		} else {
			do(m.lm.draw(be, r, first, rows, labels, starts))
		}
	})
}

// blocks calls do for each block of n sessions, with their labels and starts; s is
// that of a model against critics, else nil.
func (m *Model) blocks(be *compute.Backend, n int, seed uint64, do func(r *traffic.Request, s *sampler, first, rows int, labels []int, starts []float64)) {
	rows := max(min(n, block), 1)
	labels, starts := make([]int, rows), make([]float64, rows)
	var s *sampler
	if m.lm == nil {
		s = m.nets.newSampler(be, rows)
		labels, starts = s.label, s.start
	}
	r := traffic.Request{N: n, Seed: seed}
	for first := 0; first < n; first += block {
		rows := min(block, n-first)
		for i := range rows {
			labels[i], starts[i] = m.label(&r, first+i), m.codec.start(seed, first+i)
		}
		do(&r, s, first, rows, labels, starts)
	}
}

func (m *Model) pick() {
	if len(m.Distances) == 0 {
		return
	}
	sums := rankSums(m.Distances)
	m.Chosen = slices.Index(sums, slices.Min(sums))
	m.nets = m.candidates[m.Chosen]
}
