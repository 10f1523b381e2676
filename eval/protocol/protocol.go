// Package protocol is the field's public benchmark of generators of time series,
// on any table of numbers: windows are generated and scored by networks that are
// trained after the fact (Yoon et al. 2019, section 5), by correlations (as in
// Yuan and Qiao: "Diffusion-TS: Interpretable Diffusion for General Time Series
// Generation", ICLR 2024, appendix) and by a Fréchet distance of features.
//
// A score's deviation is over trainings of the generator, each scored once by
// its own seed: repeated scorings of one training do not show how much the
// training's luck decides.
package protocol

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/eval/posthoc"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/windows"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Config says what is trained. Zero values are the defaults named.
type Config struct {
	Window    int             // rows of a window; 24
	Trainings int             // of each form; 5
	Updates   int             // of the paper's form, of each of its three phases; 10000
	Likely    int             // of the closed loop; 2000
	Forms     []string        // of Forms; all of them
	Seed      uint64          // of the first training; each next one takes the next
	Judges    int             // updates of the networks that score; 0 is the protocol's, 2000 and 5000
	Kernels   compute.Kernels // 0: the fastest
}

// Forms are the generators, in their order: the paper's TimeGAN, its
// closed-loop form, and what needs no training: real windows drawn with replacement,
// which no score takes for a copy, windows whose rows are in random order, and the
// real windows of every other row that one begins at (the floor).
var Forms = []string{"timegan", "closed-loop", "bootstrap", "shuffled", "real"}

// Stat is a score over trainings.
type Stat struct {
	Mean float64   `json:"mean"`
	SD   float64   `json:"sd"` // over trainings; 0 of one
	Each []float64 `json:"each"`
}

// Row is what a form was given.
type Row struct {
	Form string `json:"form"`
	// Discriminative is |accuracy - 0.5| of a classifier of real and generated
	// windows, Predictive the absolute error, of the last column on [0, 1], of a
	// predictor that learnt on generated windows: package posthoc. Correlational
	// and Frechet are the functions of these names. Less is better.
	Discriminative Stat    `json:"discriminative"`
	Predictive     Stat    `json:"predictive"`
	Correlational  Stat    `json:"correlational"`
	Frechet        Stat    `json:"frechet"`
	Updates        int     `json:"updates,omitempty"`
	Seconds        float64 `json:"train_seconds,omitempty"` // of all trainings
}

// Progress is where a run is.
type Progress struct {
	Form         string
	Training, Of int // from 1
	Done, Total  int // updates
}

// Run trains and scores on rows [N,F], finite, one after another in time.
func Run(ctx context.Context, c Config, rows [][]float64, report func(Progress)) ([]Row, error) {
	if c.Window == 0 {
		c.Window = 24
	}
	if c.Trainings == 0 {
		c.Trainings = 5
	}
	if c.Updates == 0 {
		c.Updates = 10000
	}
	if c.Likely == 0 {
		c.Likely = 2000
	}
	if len(c.Forms) == 0 {
		c.Forms = Forms
	}
	if c.Kernels == 0 {
		c.Kernels = compute.Fastest()
	}
	if report == nil {
		report = func(Progress) {}
	}
	if c.Window < 2 || c.Trainings < 1 || c.Updates < 1 || c.Likely < 1 {
		return nil, fmt.Errorf("protocol: window %d, trainings %d, updates %d and %d: expected 2 rows at least, 1 of the others", c.Window, c.Trainings, c.Updates, c.Likely)
	}
	if len(rows) < 2*c.Window {
		return nil, fmt.Errorf("protocol: %d rows: windows of %d need %d at least", len(rows), c.Window, 2*c.Window)
	}
	scale, err := newScale(rows)
	if err != nil {
		return nil, err
	}
	be := compute.NewBackend(c.Kernels, 1)
	defer be.Close()
	real := scale.windows(rows, c.Window)
	var out []Row
	for _, form := range c.Forms {
		row := Row{Form: form}
		for n := range c.Trainings {
			seed := c.Seed + uint64(n)
			begin := time.Now()
			truth, fake := real, posthoc.Set{}
			switch form {
			case "timegan":
				row.Updates = c.Updates
				fake, err = faithful(ctx, c, seed, rows, real.Len(), func(done, total int) { report(Progress{form, n + 1, c.Trainings, done, total}) })
			case "closed-loop":
				row.Updates = c.Likely
				var m *windows.Model
				m, err = windows.Fit(ctx, windows.Config{Window: c.Window, Updates: c.Likely, Seed: seed}, be, rows, func(u int, _ float64) { report(Progress{form, n + 1, c.Trainings, u, c.Likely}) })
				if err == nil {
					fake = scale.set(m.Sample(be, real.Len(), seed), c.Window)
				}
			case "bootstrap":
				fake = bootstrapped(real, seed)
			case "shuffled":
				fake = shuffled(real, seed)
			case "real":
				truth, fake = halves(real)
			default:
				return nil, fmt.Errorf("protocol: form %q is none of %v", form, Forms)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", form, err)
			}
			row.Seconds += time.Since(begin).Seconds()
			if err := row.score(ctx, be, truth, fake, posthoc.Options{Seed: seed, Updates: c.Judges}); err != nil {
				return nil, err
			}
		}
		if row.Updates == 0 { // nothing was trained
			row.Seconds = 0
		}
		for _, s := range []*Stat{&row.Discriminative, &row.Predictive, &row.Correlational, &row.Frechet} {
			*s = StatOf(s.Each)
		}
		out = append(out, row)
	}
	return out, nil
}

func (r *Row) score(ctx context.Context, be *compute.Backend, real, fake posthoc.Set, o posthoc.Options) error {
	d, err := posthoc.Discriminative(ctx, be, real, fake, o)
	if err != nil {
		return err
	}
	r.Discriminative.Each = append(r.Discriminative.Each, d)
	if real.Features > 1 {
		p, err := posthoc.Predictive(ctx, be, real, fake, o)
		if err != nil {
			return err
		}
		r.Predictive.Each = append(r.Predictive.Each, p)
	}
	r.Correlational.Each = append(r.Correlational.Each, Correlational(real, fake))
	f, err := Frechet(real, fake)
	if err != nil {
		return err
	}
	r.Frechet.Each = append(r.Frechet.Each, f)
	return nil
}

// StatOf is the score of trainings, each.
func StatOf(each []float64) Stat {
	s := Stat{Each: each}
	n := float64(len(each))
	for _, x := range each {
		s.Mean += x / n
	}
	for _, x := range each {
		s.SD += (x - s.Mean) * (x - s.Mean) / max(n-1, 1)
	}
	s.SD = math.Sqrt(s.SD)
	return s
}

// scale puts columns on [0, 1] of what was recorded, as the authors' code does.
type scale struct{ lo, span []float64 }

func newScale(rows [][]float64) (*scale, error) {
	f := len(rows[0])
	if f == 0 {
		return nil, errors.New("protocol: there is no column of numbers")
	}
	s := &scale{make([]float64, f), make([]float64, f)}
	for j := range f {
		lo, hi := math.Inf(1), math.Inf(-1)
		for t, r := range rows {
			if len(r) != f || r[j]-r[j] != 0 {
				return nil, fmt.Errorf("protocol: row %d, column %d: expected a finite number", t+1, j+1)
			}
			lo, hi = min(lo, r[j]), max(hi, r[j])
		}
		s.lo[j], s.span[j] = lo, hi-lo
		if hi == lo {
			s.span[j] = 1
		}
	}
	return s, nil
}

// windows are all windows of rows, [N-length+1,length,F].
func (s *scale) windows(rows [][]float64, length int) posthoc.Set {
	var flat []float64
	for at := range len(rows) - length + 1 {
		for _, r := range rows[at : at+length] {
			flat = append(flat, r...)
		}
	}
	return s.set(flat, length)
}

func (s *scale) set(x []float64, length int) posthoc.Set {
	f := len(s.lo)
	out := posthoc.Set{Length: length, Features: f, X: make([]float32, len(x))}
	for i, v := range x {
		out.X[i] = float32((v - s.lo[i%f]) / s.span[i%f])
	}
	return out
}

// shuffled are windows of real rows that were drawn alone, in no order.
func shuffled(real posthoc.Set, seed uint64) posthoc.Set {
	out := real
	out.X = make([]float32, len(real.X))
	f := real.Features
	n := len(real.X) / f
	key := rng.Key{Seed: seed, Purpose: rng.Bootstrap}
	for i := range n {
		from := key.Intn(uint32(i), n)
		copy(out.X[i*f:][:f], real.X[from*f:][:f])
	}
	return out
}

// bootstrapped are real windows drawn with replacement.
func bootstrapped(real posthoc.Set, seed uint64) posthoc.Set {
	out := real
	out.X = nil
	n := real.Length * real.Features
	key := rng.Key{Seed: seed, A: 1, Purpose: rng.Bootstrap}
	for i := range real.Len() {
		out.X = append(out.X, real.X[key.Intn(uint32(i), real.Len())*n:][:n]...)
	}
	return out
}

// halves are the windows that begin at even rows and at odd ones.
func halves(real posthoc.Set) (a, b posthoc.Set) {
	a, b = real, real
	a.X, b.X = nil, nil
	n := real.Length * real.Features
	for w := range real.Len() {
		to := &a
		if w%2 == 1 {
			to = &b
		}
		to.X = append(to.X, real.X[w*n:][:n]...)
	}
	return a, b
}

// faithful trains the paper's TimeGAN and gives n windows.
func faithful(ctx context.Context, c Config, seed uint64, rows [][]float64, n int, report func(done, total int)) (posthoc.Set, error) {
	var none posthoc.Set
	f := len(rows[0])
	var fields []telemetry.Field
	for j := range f {
		fields = append(fields, telemetry.Field{Name: fmt.Sprint("column", j, "x"), Unit: "1"})
	}
	var values []float32
	var valid []bool
	for _, r := range rows {
		for _, v := range r {
			values, valid = append(values, float32(v)), append(valid, true)
		}
	}
	data, err := telemetry.NewDataset(fields, 0, time.Unix(0, 0), values, valid)
	if err != nil {
		return none, err
	}
	p, err := timegan.Preset("paper")
	if err != nil {
		return none, err
	}
	p.Window, p.Seed, p.Embed, p.Super, p.Joint = c.Window, seed, c.Updates, c.Updates, c.Updates
	t, err := timegan.NewTraining([]telemetry.Recording{{Data: data}}, telemetry.All, p, 2)
	if err != nil {
		return none, err
	}
	e := timegan.NewCPU(c.Kernels, 1)
	defer e.Close()
	before := map[timegan.Phase]int{}
	m, err := timegan.Fit(ctx, p, e, t, timegan.FitOptions{Interval: max(c.Updates/50, 1), Report: func(g timegan.Progress) {
		before[g.Phase] = g.Update
		done := 0
		for _, u := range before {
			done += u
		}
		report(done, 3*c.Updates)
	}})
	if err != nil {
		return none, err
	}
	if m.Codec.Channels != f {
		return none, fmt.Errorf("protocol: the paper's form makes %d channels of %d columns: one is constant", m.Codec.Channels, f)
	}
	return Alone(e, m, n)
}

// Alone makes n windows that stand alone, as the paper's training does, on the
// model's scale: [0, 1] of what was recorded.
func Alone(e timegan.Engine, m *timegan.Model, n int) (posthoc.Set, error) {
	c, f := m.Config, m.Codec.Channels
	out := posthoc.Set{Length: c.Window, Features: f, X: make([]float32, n*c.Window*f)}
	st, err := e.Stepper(n)
	if err != nil {
		return out, err
	}
	rows := make([]int, n)
	noise, cond, x := make([]float32, n*c.Noise), make([]float32, n), make([]float32, n*f)
	for i := range rows {
		rows[i] = i
	}
	for t := range c.Window {
		for i := range rows {
			key := rng.Key{Seed: c.Seed, A: uint32(t), B: uint32(i), Purpose: rng.SampleNoise}
			for z := range c.Noise {
				v, _ := key.Normal(uint32(z))
				noise[i*c.Noise+z] = float32(v)
			}
		}
		if err := st.Next(rows, noise, cond, x); err != nil {
			return out, err
		}
		for i := range rows {
			copy(out.X[(i*c.Window+t)*f:][:f], x[i*f:])
		}
	}
	return out, nil
}
