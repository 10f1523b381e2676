package autoregressive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"

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
	m.census(s, c.MaxSteps)
	m.Config = c
	b := newBatches(m, s)
	if c.Updates == 0 {
		m.Config.Updates = min(max(48*len(b.epoch), 500), 6000)
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
	objective := &buckets{}
	for _, k := range b.shapes {
		run, err := seq.Open(o.Engine, m.net, be, k.steps, k.rows)
		if err != nil {
			return fmt.Errorf("autoregressive: %w", err)
		}
		objective.of = append(objective.of, run)
	}
	store := func() error {
		m.Updates = trainer.Update
		if trainer.Update == c.Updates {
			m.net, m.state = trainer.Averaged(), nil
		}
		if o.Path == "" {
			return nil
		}
		return m.Save(o.Path, nil)
	}
	var batch seq.Batch
	return trainer.Fit(ctx, objective, &batch, func(u int, into *seq.Batch) error {
		objective.at = b.fill(u, into)
		return nil
	}, seq.FitOptions{Every: o.Every, Checkpoint: store, Report: func(u int, losses []float64) {
		sum, by := 0., map[string]float64{}
		for h, l := range losses {
			sum += l
			by[m.codec.Steps[h].Name+"_nats_per_step"] = l
		}
		keep := min(float64(u)/float64(u+1), .98)
		m.Loss += (1 - keep) * (sum - m.Loss)
		if o.Report != nil {
			o.Report(traffic.Progress{Phase: "autoregressive", Done: u, Total: c.Updates, Losses: by})
		}
	}})
}

// resume takes over what the checkpoint at path was trained to so far.
func (m *Model) resume(path string, be *compute.Backend) error {
	r, err := Open(path)
	switch {
	case err != nil:
		return err
	case r.Config != m.Config:
		return fmt.Errorf("%w: its settings are %+v, not %+v", ErrResume, r.Config, m.Config)
	case r.Seed != m.Seed:
		return fmt.Errorf("%w: its seed is %d, not %d", ErrResume, r.Seed, m.Seed)
	case r.Data != m.Data:
		return fmt.Errorf("%w: it was trained on other sessions", ErrResume)
	case r.Engine != m.Engine:
		return fmt.Errorf("%w: it was trained on engine %s: %s gives other bytes", ErrResume, r.Engine, m.Engine)
	case r.state == nil:
		return fmt.Errorf("%w: training has ended", ErrResume)
	}
	m.Updates, m.Loss, m.net, m.state = r.Updates, r.Loss, r.net, r.state
	m.state.On(be)
	return nil
}

// buckets is an objective over batches of several shapes.
type buckets struct {
	of []seq.Objective
	at int
}

func (o *buckets) Losses(b *seq.Batch) ([]float64, error) { return o.of[o.at].Losses(b) }
func (o *buckets) Gradients() [][]float32                 { return o.of[o.at].Gradients() }

// batches cuts sessions into pieces, and pieces into batches of equal cost:
// many short sessions or few long pieces.
type batches struct {
	m      *Model
	c      Config
	shapes []shape
	epoch  []place     // the batches of a pass, by shape
	past   [][]int32   // by session: classes of its steps, [n,columns]
	about  [][]int32   // by session: tokens of label and meta
	orders [][]int32   // by shape: order of its pieces in pass current
	order  []int32     // of the batches
	now    int         // the pass that orders are of; -1
	memory []seq.Batch // by shape
}

// shape is a size of batch and the pieces of sessions that fit.
type shape struct {
	steps, rows int
	pieces      []piece
}

// piece is steps from … of a session, with a session's end as one more.
type piece struct{ session, from int32 }

type place struct{ shape, at int }

// overlap is how many steps of a later piece only give the state a past.
const overlap = 8

func newBatches(m *Model, s *traffic.Set) *batches {
	c := m.Config
	b := &batches{m: m, c: c, now: -1}
	longest := min(m.longest+1, c.Window)
	for steps := min(11, longest); ; steps = min(2*steps, longest) {
		b.shapes = append(b.shapes, shape{steps: steps, rows: max(c.Rows*min(11, longest)/steps, 1)})
		if steps == longest {
			break
		}
	}
	for i := range s.Sessions {
		x := &s.Sessions[i]
		b.past = append(b.past, m.codec.Classes(x, nil))
		t := make([]int32, 1+len(m.codec.Meta))
		m.codec.MetaTokens(x.Label, x.Meta, t)
		b.about = append(b.about, t)
		n := b.targets(i)
		for from := 0; ; from += c.Window - overlap {
			left := n - from
			k := 0
			for k < len(b.shapes)-1 && b.shapes[k].steps < left {
				k++
			}
			b.shapes[k].pieces = append(b.shapes[k].pieces, piece{int32(i), int32(from)})
			if left <= c.Window {
				break
			}
		}
	}
	for k := range b.shapes {
		sh := &b.shapes[k]
		for at := 0; at < len(sh.pieces); at += sh.rows {
			b.epoch = append(b.epoch, place{k, at})
		}
		b.memory = append(b.memory, *newBatch(m.net0(), sh.steps, sh.rows))
	}
	return b
}

// net0 is the sizes of the network.
func (m *Model) net0() seq.Config { return network(m.codec, 1) }

func newBatch(c seq.Config, steps, rows int) *seq.Batch {
	n := steps * rows
	return &seq.Batch{Steps: steps, Rows: rows, Tokens: make([]int32, n*len(c.Embeddings)), Values: make([]int32, n*len(c.Heads))}
}

// targets counts what is to be said of session i: its steps, and its end.
func (b *batches) targets(i int) int {
	n := len(b.past[i]) / len(b.m.codec.Steps)
	if b.m.maxSteps == 0 || n < b.m.maxSteps {
		n++
	}
	return n
}

// fill puts the batch of an update into b and gives its shape. Passes go
// through all pieces in an order of their own.
func (b *batches) fill(update int, into *seq.Batch) int {
	pass := update / len(b.epoch)
	if pass != b.now {
		b.now = pass
		b.order = permutation(len(b.epoch), rng.Key{Seed: b.m.Seed, A: uint32(pass), Purpose: rng.BatchOrder})
		b.orders = nil
		for k := range b.shapes {
			b.orders = append(b.orders, permutation(len(b.shapes[k].pieces), rng.Key{Seed: b.m.Seed, A: uint32(pass), B: uint32(1 + k), Purpose: rng.BatchOrder}))
		}
	}
	p := b.epoch[b.order[update%len(b.epoch)]]
	sh, out := &b.shapes[p.shape], &b.memory[p.shape]
	for row := range sh.rows {
		x := sh.pieces[b.orders[p.shape][(p.at+row)%len(sh.pieces)]]
		b.row(out, row, x, rng.Key{Seed: b.m.Seed, A: uint32(update), B: uint32(row), Purpose: rng.Noise})
	}
	*into = *out
	return p.shape
}

// row puts one piece into a batch.
func (b *batches) row(out *seq.Batch, row int, x piece, key rng.Key) {
	cols := len(b.m.codec.Steps)
	about, past := b.about[x.session], b.past[x.session]
	e, end := cols+1+len(about), b.targets(int(x.session))
	for t := range out.Steps {
		at := t*out.Rows + row
		tokens, values := out.Tokens[at*e:][:e], out.Values[at*cols:][:cols]
		i := int(x.from) + t
		if i >= end {
			for k := range tokens {
				tokens[k] = -1
			}
			for k := range values {
				values[k] = -1
			}
			continue
		}
		b.m.tokens(tokens, past, i, about)
		if b.c.Dropout > 0 {
			for k := range cols {
				if key.Float64(uint32(t*cols+k)) < b.c.Dropout {
					tokens[k] = -1
				}
			}
		}
		for k := range values {
			switch {
			case x.from > 0 && t < overlap:
				values[k] = -1
			case i*cols < len(past):
				values[k] = past[i*cols+k]
			default:
				values[k] = -1
			}
		}
		if i*cols == len(past) && !(x.from > 0 && t < overlap) {
			values[0] = b.m.end()
		}
	}
}

// tokens are the inputs of step i of a session whose steps have classes past
// and whose label and meta have tokens about.
func (m *Model) tokens(dst, past []int32, i int, about []int32) {
	cols := len(m.codec.Steps)
	for k := range cols {
		dst[k] = -1
		if i > 0 {
			dst[k] = past[(i-1)*cols+k]
		}
	}
	dst[cols] = position(i)
	copy(dst[cols+1:], about)
}

func permutation(n int, key rng.Key) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		k := key.Intn(uint32(i), i+1)
		p[i], p[k] = p[k], p[i]
	}
	return p
}
