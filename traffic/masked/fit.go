package masked

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// Fit trains. When ctx ends, Fit ends between two updates, after a last
// checkpoint, with the context's error beside the model as it is.
func Fit(ctx context.Context, src traffic.Source, c Config, o traffic.FitOptions) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s, err := traffic.Load(src)
	if err != nil {
		return nil, err
	}
	if s.Len() == 0 {
		return nil, errors.New("masked: there is no session to learn from")
	}
	kernels, err := compute.ParseKernels(cmp.Or(o.Kernels, "auto"))
	if err != nil {
		return nil, fmt.Errorf("masked: %w", err)
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	be := compute.NewBackend(kernels, threads)
	defer be.Close()
	m := &Model{Seed: o.Seed, Engine: cmp.Or(o.Engine, seq.Fused) + "/" + kernels.String()}
	if m.Data, err = traffic.Hash(s); err != nil {
		return nil, err
	}
	if m.codec, err = tokens.New(s, tokens.Options{Often: c.Often}); err != nil {
		return nil, err
	}
	m.census = m.codec.NewCensus(s, -1)
	m.learn(s)
	m.Config = c
	b := newBatches(m, s)
	if c.Updates == 0 {
		m.Config.Updates = min(max(48*b.schedule.Batches(), 500), 6000)
	}
	if o.Resume {
		if err := m.resume(o.Path, be); err != nil {
			return nil, err
		}
	} else {
		if m.net, err = seq.New(network(m.codec, c.Hidden), o.Seed); err != nil {
			return nil, err
		}
		if m.state, err = seq.NewTrainer(m.net, be, m.Config.training()); err != nil {
			return nil, err
		}
	}
	return m, m.train(ctx, b, be, o)
}

func (m *Model) train(ctx context.Context, b *batches, be *compute.Backend, o traffic.FitOptions) error {
	trainer, c := m.state, m.Config
	t := tokens.Training{
		Name: "masked", Codec: m.codec, Schedule: b.schedule, Net: m.net, State: trainer, Updates: c.Updates, Fill: b.fill, Loss: &m.Loss,
		Store: func() error {
			m.Updates = trainer.Update
			if trainer.Update == c.Updates {
				m.net, m.state = trainer.Averaged(), nil
			}
			if o.Path == "" {
				return nil
			}
			return m.Save(o.Path, nil)
		},
	}
	return t.Run(ctx, be, o)
}

// resume takes over what the checkpoint at path was trained to so far.
func (m *Model) resume(path string, be *compute.Backend) error {
	r, err := Open(path)
	if err != nil {
		return err
	}
	if err := r.origin().Resume(m.origin(), ErrResume); err != nil {
		return err
	}
	m.Updates, m.Loss, m.net, m.state = r.Updates, r.Loss, r.net, r.state
	m.state.On(be)
	return nil
}

func (m *Model) origin() traffic.Origin {
	return traffic.Origin{Config: m.Config, Seed: m.Seed, Data: m.Data, Engine: m.Engine, Done: m.Done()}
}

// batches are the pieces of sessions as the network sees them.
type batches struct {
	m        *Model
	schedule *tokens.Schedule
	all      [][]int32   // by session: classes of its steps, [n,columns]
	about    [][]int32   // by session: tokens of label and meta
	memory   []seq.Batch // by shape
}

func newBatches(m *Model, s *traffic.Set) *batches {
	c := m.Config
	b := &batches{m: m}
	var steps []int
	for i := range s.Sessions {
		x := &s.Sessions[i]
		b.all = append(b.all, m.codec.Classes(x, nil))
		t := make([]int32, 1+len(m.codec.Meta))
		m.codec.MetaTokens(x.Label, x.Meta, t)
		b.about = append(b.about, t)
		steps = append(steps, max(s.Of.Len(x), 1))
	}
	b.schedule = tokens.NewSchedule(steps, 10, c.Window, c.Rows, c.Window/4, m.Seed)
	for _, sh := range b.schedule.Shapes {
		x := tokens.NewBatch(network(m.codec, c.Hidden), sh.Steps, sh.Rows)
		x.Weight, x.Length = make([]float32, len(x.Values)), make([]int32, sh.Rows)
		b.memory = append(b.memory, *x)
	}
	return b
}

// fill puts the batch of an update into b and gives its shape. The shares of
// masked steps are spread evenly over the rows.
func (b *batches) fill(update int, into *seq.Batch) int {
	shape, piece := b.schedule.Batch(update)
	out := &b.memory[shape]
	shift := rng.Key{Seed: b.m.Seed, A: uint32(update), B: 1 << 31, Purpose: rng.Noise}.Float64(0)
	for row := range out.Rows {
		share := (float64(row) + shift) / float64(out.Rows)
		b.row(out, row, piece(row), max(share, .02), rng.Key{Seed: b.m.Seed, A: uint32(update), B: uint32(row), Purpose: rng.Noise})
	}
	*into = *out
	return shape
}

// row puts one piece into a batch, each of its steps masked with probability
// share. A masked one counts 1/share in the loss (Sahoo et al. 2024, eq. 8, with
// a linear schedule).
func (b *batches) row(out *seq.Batch, row int, x tokens.Piece, share float64, key rng.Key) {
	cols := len(b.m.codec.Steps)
	all, about := b.all[x.Session], b.about[x.Session]
	n := len(all) / cols
	e := len(b.m.net0().Embeddings)
	here := min(n-int(x.From), out.Steps)
	out.Length[row] = int32(here)
	free := key.Float64(0) < b.m.Config.Free
	for t := range out.Steps {
		at := t*out.Rows + row
		in, values, weight := out.Tokens[at*e:][:e], out.Values[at*cols:][:cols], out.Weight[at*cols:][:cols]
		if t >= here {
			for k := range in {
				in[k] = -1
			}
			for k := range values {
				values[k], weight[k] = -1, 0
			}
			continue
		}
		i := int(x.From) + t
		copy(values, all[i*cols:][:cols])
		b.m.inputs(in, values, i, n, about)
		if free {
			in[cols+2] = -1
		}
		w := float32(0)
		if key.Float64(uint32(1+t)) < share {
			w = float32(1 / share)
			for k := range cols {
				in[k] = int32(b.m.codec.Steps[k].Len())
			}
		}
		for k := range cols {
			weight[k] = w
		}
	}
}

// net0 is the sizes of the network.
func (m *Model) net0() seq.Config { return network(m.codec, m.Config.Hidden) }

// quantiles are at most n of v, evenly spaced in order.
func quantiles(v []int32, n int) []int32 {
	v = slices.Sorted(slices.Values(v))
	if len(v) <= n {
		return v
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = v[i*(len(v)-1)/(n-1)]
	}
	return out
}
