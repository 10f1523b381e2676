// Package seriesgan is TimeGAN as a model of traffic: package timegan fitted to
// series of rates, a tick in the place of a second and the label in that of the
// queue limit.
package seriesgan

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/traffic"
)

// Format is the metadata "format" of a file with a model.
const Format = "planegym.seriesgan.v2"

// ErrFormat is wrapped by the error of a file that holds no such model.
var ErrFormat = errors.New("seriesgan: no TimeGAN of series")

// Config is TimeGAN's own; Seed is traffic.FitOptions'. A Clock of 0 turns once
// in a series, so that a tick knows where it is.
type Config = timegan.Config

// Defaults are the settings of a fit of minutes.
func Defaults() Config {
	c, err := timegan.Preset("")
	if err != nil {
		panic(err) // the default preset has this name
	}
	c.Hidden, c.Embed, c.Super, c.Joint, c.Clock = 24, 600, 200, 800, 0
	return c
}

// Model is a fitted TimeGAN with what it says of series. It is safe for
// concurrent use.
type Model struct {
	about about
	gan   *timegan.Model
}

// about is what a file holds beside TimeGAN's checkpoint.
type about struct {
	Schema traffic.Schema `json:"schema"`
	Ticks  int            `json:"ticks"`
	Labels []int32        `json:"labels"` // series of each, those without first
	Data   string         `json:"data_sha256"`
	Fields []field        `json:"fields"`
}

// Schema says what is sampled.
func (m *Model) Schema() *traffic.Schema { return &m.about.Schema }

// Settings are those it was fitted with.
func (m *Model) Settings() Config {
	c := m.gan.Config
	c.Seed = 0
	return c
}

// Fit trains TimeGAN on series of one length: on 0 where nothing is sent, on the
// upper half of [0,1] by how much is.
// Its checkpoints are whole models; a resumed run ends with the bytes of one
// that was never interrupted.
func Fit(ctx context.Context, src traffic.Source, c Config, o traffic.FitOptions) (*Model, error) {
	set, err := traffic.Load(src)
	if err != nil {
		return nil, fmt.Errorf("seriesgan: %w", err)
	}
	if len(set.Of.Meta) > 0 || set.Of.Tick <= 0 || set.Len() == 0 {
		return nil, fmt.Errorf("seriesgan: %d sessions with %d fields of their own and a tick of %v s: expected series, which have a tick and values per tick alone (planegym traffic convert --series makes them)", set.Len(), len(set.Of.Meta), set.Of.Tick)
	}
	m := &Model{about: about{Schema: set.Of, Ticks: set.Of.Len(&set.Sessions[0]), Labels: make([]int32, len(set.Of.Labels)+1)}}
	if m.about.Data, err = traffic.Hash(set); err != nil {
		return nil, err
	}
	c.Seed = o.Seed
	if c.Clock == 0 {
		c.Clock = m.about.Ticks
	}
	if err := m.scale(set); err != nil {
		return nil, err
	}
	var fields []telemetry.Field
	for _, f := range set.Of.Steps {
		fields = append(fields, telemetry.Field{Name: f.Name, Unit: f.Unit})
	}
	var recordings []telemetry.Recording
	for i := range set.Sessions {
		s := &set.Sessions[i]
		if n := set.Of.Len(s); n != m.about.Ticks || n == 0 {
			return nil, fmt.Errorf("seriesgan: session %d has %d steps, session 0 has %d: expected series of one length", i, n, m.about.Ticks)
		}
		m.about.Labels[s.Label+1]++
		values, valid := make([]float32, len(s.Steps)), make([]bool, len(s.Steps))
		for j, x := range s.Steps {
			values[j], valid[j] = m.about.Fields[j%len(fields)].encode(x), true
		}
		d, err := telemetry.NewDataset(fields, s.Label+2, time.Unix(0, 0), values, valid)
		if err != nil {
			return nil, fmt.Errorf("seriesgan: session %d: %w", i, err)
		}
		recordings = append(recordings, telemetry.Recording{Limit: s.Label + 2, Data: d})
	}
	t, err := timegan.NewTraining(recordings, telemetry.All, c, 2) // min-max: a rollout's values never tie
	if err != nil {
		return nil, fmt.Errorf("seriesgan: %w", err)
	}
	t.Data = []string{m.about.Data}
	kernels, err := compute.ParseKernels(cmp.Or(o.Kernels, "auto"))
	if err != nil {
		return nil, fmt.Errorf("seriesgan: %w", err)
	}
	e := timegan.NewCPU(kernels, cmp.Or(o.Threads, runtime.GOMAXPROCS(0)))
	defer e.Close()
	to := timegan.FitOptions{Interval: 10, Every: o.Every, Checkpoint: func(g *timegan.Model) error {
		if m.gan = g; o.Path == "" && !g.Done() {
			return nil
		}
		if err := m.calibrate(context.WithoutCancel(ctx), kernels); err != nil {
			return err
		}
		if o.Path == "" {
			return nil
		}
		return m.Save(o.Path, nil)
	}, Report: func(p timegan.Progress) {
		if o.Report != nil {
			o.Report(traffic.Progress{Phase: "timegan", Done: p.Done, Total: p.Total})
		}
	}}
	if o.Resume {
		from, err := Open(o.Path)
		if err != nil {
			return nil, err
		}
		to.Resume = from.gan
	}
	if m.gan, err = timegan.Fit(ctx, c, e, t, to); err != nil {
		return m, fmt.Errorf("seriesgan: %w", err)
	}
	return m, nil
}

// Sample rolls TimeGAN out, a seed a series, from the first tick of its clock.
// It continues no prefix.
func (m *Model) Sample(ctx context.Context, r traffic.Request) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		fail := func(err error) { yield(traffic.Session{}, err) }
		if err := r.Check(&m.about.Schema); err != nil {
			fail(err)
			return
		}
		for _, l := range r.Labels {
			if m.about.Labels[l+1] == 0 {
				fail(fmt.Errorf("%w: no series of training has label %d %q", traffic.ErrRequest, l, m.about.Schema.LabelName(l)))
				return
			}
		}
		if r.Prefix != nil {
			fail(fmt.Errorf("%w: %w: TimeGAN goes on from no prefix", traffic.ErrRequest, errors.ErrUnsupported))
			return
		}
		if r.N == 0 {
			return
		}
		e := timegan.NewCPU(compute.Fastest(), runtime.GOMAXPROCS(0))
		defer e.Close()
		for block, err := range m.roll(ctx, e, &r) {
			if err != nil {
				fail(err)
				return
			}
			for _, s := range block {
				width := len(m.about.Fields)
				for j, v := range s.Steps {
					s.Steps[j] = m.about.Fields[j%width].decode(v, m.about.Schema.Steps[j%width].Kind)
				}
				if err := ctx.Err(); err != nil {
					fail(err)
					return
				}
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// roll rolls out the sessions of a request, in blocks, with values as TimeGAN
// gives them.
func (m *Model) roll(ctx context.Context, e timegan.Engine, r *traffic.Request) iter.Seq2[[]traffic.Session, error] {
	return func(yield func([]traffic.Session, error) bool) {
		const block = 64
		sim, err := timegan.NewSimulator(min(block, r.N), []*timegan.Model{m.gan}, []timegan.Engine{e})
		if err != nil {
			yield(nil, fmt.Errorf("seriesgan: %w", err))
			return
		}
		for first := 0; first < r.N; first += block {
			drawn, err := m.draw(ctx, sim, r, first, min(block, r.N-first))
			if !yield(drawn, err) || err != nil {
				return
			}
		}
	}
}

func (m *Model) draw(ctx context.Context, sim *timegan.Simulator, r *traffic.Request, first, n int) ([]traffic.Session, error) {
	ticks := m.about.Ticks
	rows, seeds, limits := make([]int, n), make([]uint64, n), make([]int32, n)
	out := make([]traffic.Session, n)
	for i := range n {
		label := m.label(r, first+i)
		rows[i], limits[i] = i, int32(label+2)
		seeds[i] = rng.Key{Seed: r.Seed, A: uint32(first + i), B: 1, Purpose: rng.SessionSteps}.Uint64(0)
		out[i] = traffic.Session{Label: label, Start: float64(first+i) * float64(ticks) * m.about.Schema.Tick, Meta: []float64{}}
	}
	if err := sim.ResetAt(rows, seeds, 0); err != nil {
		return nil, fmt.Errorf("seriesgan: %w", err)
	}
	if r.MaxSteps > 0 {
		ticks = min(ticks, r.MaxSteps)
	}
	var w telemetry.Window
	w.Size(n, ticks, len(m.about.Fields))
	if err := sim.Step(ctx, rows, limits, &w); err != nil {
		return nil, err
	}
	for i := range out {
		values, _ := w.Row(i)
		for _, v := range values {
			out[i].Steps = append(out[i].Steps, float64(v))
		}
	}
	return out, nil
}

func (m *Model) label(r *traffic.Request, i int) int {
	if len(r.Labels) > 0 {
		return r.Labels[i%len(r.Labels)]
	}
	total := int32(0)
	for _, n := range m.about.Labels {
		total += n
	}
	at := int32(rng.Key{Seed: r.Seed, A: uint32(i), Purpose: rng.SessionSteps}.Intn(0, int(total)))
	for l, n := range m.about.Labels {
		if at < n {
			return l - 1
		}
		at -= n
	}
	return len(m.about.Labels) - 2
}

// Save writes the model to a file that appears whole or not at all. about is
// added to its metadata, for where the data come from.
func (m *Model) Save(path string, about map[string]string) error {
	meta, err := safetensors.ModelMetadata(about, Format, "model", m.about)
	if err != nil {
		return fmt.Errorf("seriesgan: %w", err)
	}
	var gan bytes.Buffer
	if err := m.gan.Write(&gan); err != nil {
		return fmt.Errorf("seriesgan: %w", err)
	}
	return safetensors.WriteFile(path, meta, []safetensors.Tensor{{Name: "timegan", Shape: []int{gan.Len()}, Data: gan.Bytes()}})
}

// Open reads what Save wrote. An error that wraps ErrFormat says that the file
// holds no such model.
func Open(path string) (*Model, error) { return safetensors.OpenModel("seriesgan", path, read) }

// Parse is Open of what a file holds.
func Parse(b []byte) (*Model, error) { return safetensors.ParseModel("seriesgan", b, read) }

func read(f *safetensors.File) (*Model, error) {
	var err error
	bad := func(err error) error { return fmt.Errorf("%w: %w", ErrFormat, err) }
	if got := f.Metadata["format"]; got != Format {
		return nil, bad(fmt.Errorf("format is %q, not %q", got, Format))
	}
	m := &Model{}
	if err := json.Unmarshal([]byte(f.Metadata["model"]), &m.about); err != nil {
		return nil, bad(err)
	}
	a := &m.about
	if err := a.Schema.Check(); err != nil {
		return nil, bad(err)
	}
	total := 0
	for _, n := range a.Labels {
		if n < 0 {
			return nil, bad(fmt.Errorf("labels are in %v series", a.Labels))
		}
		total += int(n)
	}
	if a.Ticks < 1 || a.Ticks > 1<<16 || len(a.Labels) != len(a.Schema.Labels)+1 || len(a.Schema.Meta) > 0 || total < 1 || total > math.MaxInt32 {
		return nil, bad(fmt.Errorf("%d ticks, %d labels, %d series", a.Ticks, len(a.Labels)-1, total))
	}
	info, ok := f.Info("timegan")
	if !ok || len(info.Shape) != 1 {
		return nil, bad(errors.New("there is no tensor \"timegan\""))
	}
	gan := make([]byte, info.Shape[0])
	if err := safetensors.Read(f, "timegan", gan, info.Shape...); err != nil {
		return nil, bad(err)
	}
	if m.gan, err = timegan.DecodeModel(bytes.NewReader(gan), int64(len(gan))); err != nil {
		return nil, bad(err)
	}
	for i, f := range a.Fields {
		if i < len(a.Schema.Steps) {
			if err := f.check(a.Schema.Steps[i].Kind); err != nil {
				return nil, bad(fmt.Errorf("field %d: %w", i, err))
			}
		}
	}
	if len(m.gan.Codec.Columns) != len(a.Schema.Steps) || len(a.Fields) != len(a.Schema.Steps) {
		return nil, bad(fmt.Errorf("TimeGAN has %d columns, a tick %d fields", len(m.gan.Codec.Columns), len(a.Schema.Steps)))
	}
	return m, nil
}
