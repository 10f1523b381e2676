package autoregressive

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
		return nil, errors.New("autoregressive: there is no session to learn from")
	}
	kernels, err := compute.ParseKernels(cmp.Or(o.Kernels, "auto"))
	if err != nil {
		return nil, fmt.Errorf("autoregressive: %w", err)
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
	m.census = m.codec.NewCensus(s, c.MaxSteps)
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
	total := 0
	for _, past := range b.past {
		total += len(past) / len(m.codec.Steps)
	}
	return m, m.train(ctx, b, be, o, func() error { return m.fitLength(kernels, float64(total)/float64(len(b.past))) })
}

// train runs the updates that are left; end is called on the averaged network.
func (m *Model) train(ctx context.Context, b *batches, be *compute.Backend, o traffic.FitOptions, end func() error) error {
	trainer, c := m.state, m.Config
	t := tokens.Training{
		Name: "autoregressive", Codec: m.codec, Schedule: b.schedule, Net: m.net, State: trainer, Updates: c.Updates, Fill: b.fill, Loss: &m.Loss,
		Store: func() error {
			m.Updates = trainer.Update
			if trainer.Update == c.Updates {
				m.net, m.state = trainer.Averaged(), nil
				if err := end(); err != nil {
					return err
				}
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
	past     [][]int32   // by session: classes of its steps, [n,columns]
	about    [][]int32   // by session: tokens of label and meta
	memory   []seq.Batch // by shape
}

// overlap is how many steps of a later piece only give the state a past.
const overlap = 8

func newBatches(m *Model, s *traffic.Set) *batches {
	c := m.Config
	b := &batches{m: m}
	var steps []int
	for i := range s.Sessions {
		x := &s.Sessions[i]
		b.past = append(b.past, m.codec.Classes(x, nil))
		t := make([]int32, 1+len(m.codec.Meta))
		m.codec.MetaTokens(x.Label, x.Meta, t)
		b.about = append(b.about, t)
		steps = append(steps, b.targets(i))
	}
	b.schedule = tokens.NewSchedule(steps, 11, c.Window, c.Rows, min(overlap, c.Window-1), m.Seed)
	for _, sh := range b.schedule.Shapes {
		batch := tokens.NewBatch(network(m.codec, c.Hidden), sh.Steps, sh.Rows)
		if len(b.schedule.Shapes) > 1 {
			batch.Weight = slices.Repeat([]float32{sh.Share}, len(batch.Values))
		}
		b.memory = append(b.memory, *batch)
	}
	return b
}

// targets counts what is to be said of session i: its steps, and its end.
func (b *batches) targets(i int) int {
	n := len(b.past[i]) / len(b.m.codec.Steps)
	if most := b.m.census.MaxSteps; most == 0 || n < most {
		n++
	}
	return n
}

// fill puts the batch of an update into b and gives its shape.
func (b *batches) fill(update int, into *seq.Batch) int {
	shape, piece := b.schedule.Batch(update)
	out := &b.memory[shape]
	for row := range out.Rows {
		b.row(out, row, piece(row), rng.Key{Seed: b.m.Seed, A: uint32(update), B: uint32(row), Purpose: rng.Noise})
	}
	*into = *out
	return shape
}

// row puts one piece into a batch.
func (b *batches) row(out *seq.Batch, row int, x tokens.Piece, key rng.Key) {
	cols := len(b.m.codec.Steps)
	about, past := b.about[x.Session], b.past[x.Session]
	e, end := cols+1+len(about), b.targets(int(x.Session))
	for t := range out.Steps {
		at := t*out.Rows + row
		in, values := out.Tokens[at*e:][:e], out.Values[at*cols:][:cols]
		i := int(x.From) + t
		for k := range values {
			values[k] = -1
		}
		if i >= end {
			for k := range in {
				in[k] = -1
			}
			continue
		}
		b.m.inputs(in, past, i, about)
		if p := b.m.Config.Dropout; p > 0 {
			for k := range cols {
				if key.Float64(uint32(t*cols+k)) < p {
					in[k] = -1
				}
			}
		}
		switch {
		case x.From > 0 && t < overlap: // the piece before has learnt it
		case i*cols < len(past):
			copy(values, past[i*cols:])
		default:
			values[0] = b.m.end()
		}
	}
}

// inputs are the tokens of step i of a session whose steps have classes past
// and whose label and meta have tokens about.
func (m *Model) inputs(dst, past []int32, i int, about []int32) {
	cols := len(m.codec.Steps)
	for k := range cols {
		dst[k] = -1
		if i > 0 {
			dst[k] = past[(i-1)*cols+k]
		}
	}
	dst[cols] = tokens.Position(i)
	copy(dst[cols+1:], about)
}
