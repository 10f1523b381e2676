package denoise

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/traffic"
)

// Format is the metadata "format" of a file with a model.
const Format = "planegym.denoise.v1"

var (
	// ErrFormat is wrapped by the error of a file that holds no such model.
	ErrFormat = errors.New("denoise: no model of series by diffusion")
	// ErrResume is wrapped by errors that say why a fit cannot continue a checkpoint.
	ErrResume = errors.New("denoise: cannot resume")
)

// Model is a fitted generator, or a checkpoint of training. It is safe for
// concurrent use.
type Model struct {
	Config  Config
	Seed    uint64
	Data    string // hash of the series
	Engine  string // and kernel set that trained it
	Updates int    // done
	Loss    float64

	codec *codec
	net   *seq.Model
	state *seq.Trainer // nil once training has ended
}

// Settings are those it was fitted with.
func (m *Model) Settings() Config { return m.Config }

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.codec.Schema }

// Done reports whether training has ended.
func (m *Model) Done() bool { return m.state == nil }

// Parameters is how many numbers were learnt.
func (m *Model) Parameters() int { return m.net.Parameters() }

// Fit trains. Equal config, series, seed and kernel set give equal bytes, and so
// does a run that was interrupted and resumed. When ctx ends, Fit ends between
// two updates, after a last checkpoint, with the context's error beside the
// model as it is.
func Fit(ctx context.Context, src traffic.Source, c Config, o traffic.FitOptions) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	c.seed = o.Seed
	set, err := traffic.Load(src)
	if err != nil {
		return nil, fmt.Errorf("denoise: %w", err)
	}
	kernels, err := compute.ParseKernels(cmp.Or(o.Kernels, "auto"))
	if err != nil {
		return nil, fmt.Errorf("denoise: %w", err)
	}
	if o.Engine != "" && o.Engine != seq.Fused {
		return nil, fmt.Errorf("denoise: engine %q: a diffusion model is trained by %q alone", o.Engine, seq.Fused)
	}
	be := compute.NewBackend(kernels, cmp.Or(o.Threads, runtime.GOMAXPROCS(0)))
	defer be.Close()
	m := &Model{Config: c, Seed: o.Seed, Engine: seq.Fused + "/" + kernels.String()}
	if m.Data, err = traffic.Hash(set); err != nil {
		return nil, err
	}
	if m.codec, err = newCodec(c, set); err != nil {
		return nil, err
	}
	if o.Resume {
		if err := m.resume(o.Path, be); err != nil {
			return nil, err
		}
	} else {
		if m.net, err = seq.New(network(c, m.codec.channels(), len(set.Of.Labels)), c.seed); err != nil {
			return nil, fmt.Errorf("denoise: %w", err)
		}
		if m.state, err = seq.NewTrainer(m.net, be, c.training()); err != nil {
			return nil, fmt.Errorf("denoise: %w", err)
		}
	}
	return m, m.train(ctx, be, set, o)
}

func (c Config) training() seq.Training {
	return seq.Training{Updates: c.Updates, Rate: c.Rate, Average: .995}
}

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

// objective is the mean square of what the network predicts less v (Salimans
// and Ho 2022), v = alpha·noise - sigma·x. How much is sent weighs more where
// something is: as much in all as whether it is.
type objective struct {
	run    *seq.Run
	target []float32 // [T,B,channels]
	weight []float32
	dy     []float32
	loss   [1]float64
}

func (o *objective) Losses(b *seq.Batch) ([]float64, error) {
	y := o.run.Forward(b)
	sum, scale := 0., 1/float32(len(y))
	for i, v := range y {
		d := v - o.target[i]
		sum += float64(o.weight[i]) * float64(d) * float64(d)
		o.dy[i] = 2 * o.weight[i] * d * scale
	}
	o.loss[0] = sum / float64(len(y))
	o.run.BackwardFrom(o.dy)
	return o.loss[:], nil
}

func (o *objective) Gradients() [][]float32 { return o.run.Gradients() }

func newBatch(ticks, rows, channels int) *seq.Batch {
	n := ticks * rows
	b := &seq.Batch{Steps: ticks, Rows: rows, Tokens: make([]int32, n), Dense: make([]float32, n*(channels+clock)), Values: make([]int32, n)}
	for i := range b.Values {
		b.Values[i] = -1
	}
	return b
}

func (m *Model) train(ctx context.Context, be *compute.Backend, set *traffic.Set, o traffic.FitOptions) error {
	c, k, t := m.Config, m.codec, m.state
	ch := k.channels()
	fields := len(k.Fields)
	scaled, weight := make([][]float32, set.Len()), make([][]float32, set.Len())
	for i := range scaled {
		for j, x := range set.Sessions[i].Steps {
			sent, much := k.encode(j%fields, x)
			w := 1.
			if x > 0 {
				w = min(1/k.Active[j%fields], 50)
			}
			scaled[i], weight[i] = append(scaled[i], float32(sent), float32(much)), append(weight[i], 1, float32(w))
		}
	}
	obj := &objective{run: m.net.NewRun(be, k.Ticks, c.Batch), target: make([]float32, k.Ticks*c.Batch*ch), weight: make([]float32, k.Ticks*c.Batch*ch), dy: make([]float32, k.Ticks*c.Batch*ch)}
	store := func() error {
		m.Updates = t.Update
		if t.Update == c.Updates {
			m.net, m.state = t.Averaged(), nil
		}
		if o.Path == "" {
			return nil
		}
		return m.Save(o.Path, nil)
	}
	every := o.Every
	if every <= 0 {
		every = 500
	}
	err := t.Fit(ctx, obj, newBatch(k.Ticks, c.Batch, ch), func(update int, b *seq.Batch) error {
		for row := range b.Rows {
			key := rng.Key{Seed: c.seed, A: uint32(update), B: uint32(row), Purpose: rng.BatchOrder}
			i := key.Intn(0, len(scaled))
			// Rows of an update have times that are spread evenly (Kingma et al. 2021).
			_, time := math.Modf(key.Float64(2)/float64(b.Rows) + (float64(row))/float64(b.Rows))
			alpha, sigma := alphaSigma(time)
			label := int32(set.Sessions[i].Label + 1)
			if key.Float64(4) < c.Drop {
				label = 0
			}
			noise := rng.Key{Seed: c.seed, A: uint32(update), B: uint32(row), Purpose: rng.Noise}
			for tick := range k.Ticks {
				at := tick*b.Rows + row
				b.Tokens[at] = label
				d := b.Dense[at*(ch+clock):][:ch+clock]
				setClock(d[ch:], time)
				for j := range ch {
					e, other := noise.Normal(uint32((tick*ch + j) / 2))
					if (tick*ch+j)%2 == 1 {
						e = other
					}
					x := float64(scaled[i][tick*ch+j])
					d[j] = float32(alpha*x + sigma*e)
					obj.target[at*ch+j] = float32(alpha*e - sigma*x)
					obj.weight[at*ch+j] = weight[i][tick*ch+j]
				}
			}
		}
		return nil
	}, seq.FitOptions{Every: every, Checkpoint: store, Report: func(u int, losses []float64) {
		keep := min(float64(u)/float64(u+1), .98)
		m.Loss += (1 - keep) * (losses[0] - m.Loss)
		if o.Report != nil {
			o.Report(traffic.Progress{Phase: "denoise", Done: u, Total: c.Updates, Losses: map[string]float64{"v_squared": losses[0]}})
		}
	}})
	if err != nil {
		return fmt.Errorf("denoise: %w", err)
	}
	return nil
}

// block is how many series are drawn at once. They do not depend on it.
const block = 64

// Sample draws series: noise, and Config.Steps steps back along the schedule
// (DDIM, Song et al. 2021, with no noise added). One follows the other in
// time. It continues no prefix.
func (m *Model) Sample(ctx context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		if err := m.checkRequest(&r); err != nil {
			yield(traffic.Session{}, err)
			return
		}
		be := compute.NewBackend(compute.Fastest(), runtime.GOMAXPROCS(0))
		defer be.Close()
		var s *sampler
		for first := 0; first < r.N; first += block {
			if s == nil {
				s = m.newSampler(be, min(block, r.N))
			}
			drawn, err := s.draw(ctx, &r, first, min(block, r.N-first))
			if err != nil {
				yield(traffic.Session{}, err)
				return
			}
			for _, x := range drawn {
				if err := ctx.Err(); err != nil {
					yield(traffic.Session{}, err)
					return
				}
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

func (m *Model) checkRequest(r *traffic.Request) error {
	if err := r.Check(&m.codec.Schema); err != nil {
		return err
	}
	for _, l := range r.Labels {
		if m.codec.Labels[l+1] == 0 {
			return fmt.Errorf("%w: no series of training has label %d %q", traffic.ErrRequest, l, m.codec.Schema.LabelName(l))
		}
	}
	if r.Prefix != nil {
		return fmt.Errorf("%w: %w: a diffusion model goes on from no prefix", traffic.ErrRequest, errors.ErrUnsupported)
	}
	return nil
}

// sampler draws blocks of series.
type sampler struct {
	m     *Model
	rows  int
	run   *seq.Run
	b     *seq.Batch
	x     []float64 // [rows, T, channels]
	plain []float32 // predictions without a label
}

func (m *Model) newSampler(be *compute.Backend, rows int) *sampler {
	k := m.codec
	n := rows * k.Ticks * k.channels()
	return &sampler{m: m, rows: rows, run: m.net.NewRun(be, k.Ticks, rows), b: newBatch(k.Ticks, rows, k.channels()), x: make([]float64, n), plain: make([]float32, n)}
}

func (s *sampler) draw(ctx context.Context, r *traffic.Request, first, n int) ([]traffic.Session, error) {
	m, k := s.m, s.m.codec
	ch := k.channels()
	label := make([]int, s.rows)
	for i := range s.rows {
		label[i] = k.label(r, first+i)
		key := rng.Key{Seed: r.Seed, A: uint32(first + i), B: 1, Purpose: rng.SessionSteps}
		x := s.x[i*k.Ticks*ch:][:k.Ticks*ch]
		for j := 0; j < len(x); j += 2 {
			a, b := key.Normal(uint32(j / 2))
			x[j] = a
			if j+1 < len(x) {
				x[j+1] = b
			}
		}
	}
	for step := range m.Config.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now, next := 1-float64(step)/float64(m.Config.Steps), 1-float64(step+1)/float64(m.Config.Steps)
		alpha, sigma := alphaSigma(now)
		alpha2, sigma2 := alphaSigma(next)
		w := m.Config.Guidance
		if w != 1 && len(k.Schema.Labels) > 0 {
			copy(s.plain, s.predict(now, func(int) int32 { return 0 }))
		}
		v := s.predict(now, func(row int) int32 { return int32(label[row] + 1) })
		for i := range s.rows {
			for tick := range k.Ticks {
				for j := range ch {
					at := (tick*s.rows+i)*ch + j
					p := float64(v[at])
					if w != 1 && len(k.Schema.Labels) > 0 && label[i] >= 0 {
						p = float64(s.plain[at]) + w*(p-float64(s.plain[at]))
					}
					x := &s.x[(i*k.Ticks+tick)*ch+j]
					clean := min(max(alpha**x-sigma*p, -1.05), 1.05)
					noise := sigma**x + alpha*p
					if sigma > 1e-3 {
						noise = (*x - alpha*clean) / sigma
					}
					*x = alpha2*clean + sigma2*noise
				}
			}
		}
	}
	out := make([]traffic.Session, n)
	ticks := k.Ticks
	if r.MaxSteps > 0 {
		ticks = min(ticks, r.MaxSteps)
	}
	for i := range out {
		out[i] = traffic.Session{Label: label[i], Start: float64(first+i) * float64(k.Ticks) * k.Schema.Tick, Meta: []float64{}, Steps: make([]float64, ticks*len(k.Fields))}
		for j := range out[i].Steps {
			out[i].Steps[j] = k.decode(j%len(k.Fields), s.x[i*k.Ticks*ch+2*j], s.x[i*k.Ticks*ch+2*j+1])
		}
	}
	return out, nil
}

// predict is the network's v of the series at a time, [T, rows, channels], until
// the next call.
func (s *sampler) predict(time float64, label func(row int) int32) []float32 {
	k := s.m.codec
	ch := k.channels()
	for tick := range k.Ticks {
		for i := range s.rows {
			at := tick*s.rows + i
			s.b.Tokens[at] = label(i)
			d := s.b.Dense[at*(ch+clock):][:ch+clock]
			for j := range ch {
				d[j] = float32(s.x[(i*k.Ticks+tick)*ch+j])
			}
			setClock(d[ch:], time)
		}
	}
	return s.run.Forward(s.b)
}

// label is that of session i: as asked for, or as often as in training.
func (k *codec) label(r *traffic.Request, i int) int {
	if len(r.Labels) > 0 {
		return r.Labels[i%len(r.Labels)]
	}
	total := int32(0)
	for _, n := range k.Labels {
		total += n
	}
	at := int32(rng.Key{Seed: r.Seed, A: uint32(i), Purpose: rng.SessionSteps}.Intn(0, int(total)))
	for l, n := range k.Labels {
		if at < n {
			return l - 1
		}
		at -= n
	}
	return len(k.Labels) - 2
}

type metadata struct {
	Config  Config  `json:"config"`
	Seed    uint64  `json:"seed"`
	Data    string  `json:"data_sha256"`
	Engine  string  `json:"engine"`
	Updates int     `json:"updates"`
	Loss    float64 `json:"loss"`
	Codec   *codec  `json:"codec"`
}

// Save writes the model to a file that appears whole or not at all. about is
// added to its metadata, for where the data come from.
func (m *Model) Save(path string, about map[string]string) error {
	meta, err := safetensors.ModelMetadata(about, Format, "model", metadata{m.Config, m.Seed, m.Data, m.Engine, m.Updates, m.Loss, m.codec})
	if err != nil {
		return fmt.Errorf("denoise: %w", err)
	}
	tensors := m.net.Tensors("denoiser.")
	if m.state != nil {
		tensors = append(tensors, m.state.State("state.")...)
	}
	return safetensors.WriteFile(path, meta, tensors)
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) { return safetensors.OpenModel("denoise", path, read) }

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) { return safetensors.ParseModel("denoise", b, read) }

func read(f *safetensors.File) (*Model, error) {
	var err error
	bad := func(err error) error { return fmt.Errorf("%w: %w", ErrFormat, err) }
	if got := f.Metadata["format"]; got != Format {
		return nil, bad(fmt.Errorf("format is %q, not %q", got, Format))
	}
	var c metadata
	if err := json.Unmarshal([]byte(f.Metadata["model"]), &c); err != nil {
		return nil, bad(err)
	}
	if err := c.Config.Check(); err != nil {
		return nil, bad(err)
	}
	if c.Codec == nil {
		return nil, bad(errors.New("the codec is missing"))
	}
	if err := c.Codec.check(); err != nil {
		return nil, bad(err)
	}
	if c.Updates < 0 || c.Updates > c.Config.Updates {
		return nil, bad(fmt.Errorf("updates: %d of %d", c.Updates, c.Config.Updates))
	}
	c.Config.seed = c.Seed
	m := &Model{Config: c.Config, Seed: c.Seed, Data: c.Data, Engine: c.Engine, Updates: c.Updates, Loss: c.Loss, codec: c.Codec}
	if m.net, err = seq.New(network(c.Config, c.Codec.channels(), len(c.Codec.Schema.Labels)), 0); err != nil {
		return nil, bad(err)
	}
	if err := m.net.Load(f, "denoiser."); err != nil {
		return nil, bad(err)
	}
	if m.Updates < m.Config.Updates {
		be := compute.NewBackend(compute.Go, 1)
		defer be.Close()
		if m.state, err = seq.NewTrainer(m.net, be, m.Config.training()); err != nil {
			return nil, bad(err)
		}
		if err := m.state.Restore(f, "state."); err != nil {
			return nil, bad(err)
		}
	}
	return m, nil
}
