package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	base "github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/loads"
	"github.com/planegym/planegym/internal/pieces"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/denoise"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
	"github.com/planegym/planegym/traffic/masked"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/seriesgan"
	"github.com/planegym/planegym/traffic/store"
)

// floors is the piece of the row real and of the models that only count.
const floors = "floors"

// rows are the learned models; likelihood is doppelganger's other mode.
var rows = []string{"autoregressive", "masked", "doppelganger", "likelihood", "denoise", "timegan"}

// protocol is one way to measure.
type protocol struct {
	name     string
	train    *traffic.Set
	held     *traffic.Set // nil: half of train
	scenario *scenarios.Scenario
	tick     float64 // of the series that denoise and timegan are fitted to, s
	episodes int     // of each policy, P0's
	least    int     // sessions with fewer steps are left out
	cut      int     // longer sessions end after so many steps; 0: none does
}

// result is what a piece finds.
type result struct {
	Rows []row   `json:"rows"`
	Fit  float64 `json:"fit_cpu_s"`
	Rate float64 `json:"packets_per_cpu_s"` // sampled and compiled
}

type row struct {
	Name    string                 `json:"name"`
	Figures map[string]eval.Number `json:"figures"`
}

func parse(arg string) (*protocol, error) {
	name, files, ok := strings.Cut(arg, "=")
	p := &protocol{name: name, tick: .1, episodes: 20}
	train, second, _ := strings.Cut(files, ",")
	switch {
	case !ok || train == "":
		return nil, fmt.Errorf("%q is not NAME=FILE[,HELD]", arg)
	case name == "P1":
		p.tick = .01
	case name == "P4":
		p.least, p.cut = 20, 64
	}
	var err error
	if p.train, err = p.read(train); err != nil {
		return nil, err
	}
	if second == "" {
		return p, nil
	}
	if strings.HasSuffix(second, ".toml") {
		s, err := scenarios.Load(second)
		p.scenario = &s
		return p, err
	}
	p.held, err = p.read(second)
	return p, err
}

// read reads the sessions that a protocol is about.
func (p *protocol) read(path string) (*traffic.Set, error) {
	s, err := store.ReadFile(path)
	if err != nil {
		return nil, err
	}
	w := len(s.Of.Steps)
	s.Sessions = slices.DeleteFunc(s.Sessions, func(x traffic.Session) bool { return s.Of.Len(&x) < p.least })
	for i := range s.Sessions {
		if x := &s.Sessions[i]; p.cut > 0 && len(x.Steps) > p.cut*w {
			x.Steps = x.Steps[:p.cut*w]
		}
	}
	return s, nil
}

// fits reports whether a row can be fitted to the protocol's sessions: records
// of flows have no rates.
func (p *protocol) fits(row string) bool {
	_, _, err := rates.Flows(&traffic.Set{Of: p.train.Of}, rates.Options{})
	return err == nil || row != "denoise" && row != "timegan"
}

// split is the sessions to fit to and those held out, at most most of each.
func (p *protocol) split(seed uint64, most int) (train, held *traffic.Set) {
	pick := func(s *traffic.Set, order []int) *traffic.Set {
		order = slices.Clone(order[:min(len(order), most)])
		slices.Sort(order)
		out := &traffic.Set{Of: s.Of}
		for _, i := range order {
			out.Sessions = append(out.Sessions, s.Sessions[i])
		}
		return out
	}
	order := rng.Key{Seed: seed, A: 1 << 21, Purpose: rng.Judging}.Choose(p.train.Len(), p.train.Len())
	if p.held != nil {
		return pick(p.train, order), pick(p.held, rng.Key{Seed: seed, A: 1<<21 + 1, Purpose: rng.Judging}.Choose(p.held.Len(), p.held.Len()))
	}
	half := len(order) / 2
	return pick(p.train, order[:half]), pick(p.train, order[half:])
}

// measure fits a row to a split, and judges it.
func (p *protocol) measure(ctx context.Context, o options, name string, seed uint64) (r result, err error) {
	train, held := p.split(seed, o.most)
	var c []eval.Candidate
	if name != floors {
		from := pieces.CPU()
		m, err := p.fit(ctx, o, name, train, seed)
		if err != nil {
			return r, err
		}
		r.Fit = pieces.CPU() - from
		if r.Rate, err = rate(ctx, m, o.sampled, seed); err != nil {
			return r, err
		}
		c = append(c, eval.Candidate{Name: name, Model: m})
	}
	if p.scenario != nil {
		r.Rows, err = p.loop(ctx, c, train, held, seed)
		return r, err
	}
	tick := p.tick
	if !p.fits("denoise") {
		tick = 0
	}
	e, err := eval.Compare(ctx, train, held, c, eval.Options{Tick: tick, Seeds: 1, Seed: seed, Trees: o.trees, NoFloors: name != floors, MaxSteps: p.cut})
	if err != nil {
		return r, err
	}
	for _, x := range e.Rows {
		if (x.Kind == "candidate") != (name != floors) {
			continue
		}
		f := map[string]eval.Number{}
		for k, v := range x.Figures {
			f[k] = v.Mean
		}
		r.Rows = append(r.Rows, row{x.Name, f})
	}
	return r, nil
}

// loop values two policies under the loads: limits 32 and 64, which P0's
// scenario tells apart. A candidate's sessions take the place of those it was
// fitted to, so that their own load is played once a split and not once a row.
func (p *protocol) loop(ctx context.Context, c []eval.Candidate, train, held *traffic.Set, seed uint64) (out []row, err error) {
	o := inloop.Options{Episodes: p.episodes, Seed: seed, NoFloors: len(c) > 0}
	for _, name := range []string{"fixed:32", "fixed:64"} {
		o.Policies = append(o.Policies, base.Policy{Name: name})
	}
	if len(c) > 0 {
		l := slices.IndexFunc(p.scenario.Testbed.Loads, func(l testbed.Load) bool { return l.Kind == "sessions" })
		if l < 0 {
			return nil, fmt.Errorf("scenario %s has no load of sessions", p.scenario.Name)
		}
		if train, err = loads.Draw(ctx, c[0].Model, &p.scenario.Testbed.Loads[l], seed); err != nil {
			return nil, err
		}
	}
	r, err := inloop.Compare(ctx, *p.scenario, train, held, nil, o)
	if err != nil {
		return nil, err
	}
	for i, s := range r.StandIns {
		name := s.Name
		if len(c) > 0 {
			name = c[0].Name
		}
		f := map[string]eval.Number{"off": eval.Number(s.Off.Value), "packets_per_s": eval.Number(r.Rows[i+1].PacketsPerSecond)}
		out = append(out, row{name, f})
	}
	return out, nil
}

// fit fits a row to the sessions, a model of series to the same sessions as
// series. autoregressive and masked make their default's passes over them; the
// others have updates that cost about as many seconds.
func (p *protocol) fit(ctx context.Context, o options, name string, train *traffic.Set, seed uint64) (traffic.Model, error) {
	updates := func(n int) int {
		if o.updates > 0 {
			return o.updates
		}
		return n
	}
	f := traffic.FitOptions{Seed: seed, Threads: 1}
	series := func() (*traffic.Set, error) {
		s, _, err := rates.Flows(train, rates.Options{Tick: p.tick})
		return s, err
	}
	switch name {
	case "autoregressive":
		c := autoregressive.Defaults()
		c.Updates = updates(0)
		return autoregressive.Fit(ctx, train, c, f)
	case "masked":
		c := masked.Defaults()
		c.Updates = updates(0)
		return masked.Fit(ctx, train, c, f)
	case "doppelganger":
		c := doppelganger.Defaults(doppelganger.Adversarial)()
		c.Updates = updates(1500)
		return doppelganger.Fit(ctx, train, c, f)
	case "likelihood":
		c := doppelganger.Defaults(doppelganger.Likelihood)()
		c.Updates = updates(c.Updates)
		return doppelganger.Fit(ctx, train, c, f)
	case "denoise":
		s, err := series()
		if err != nil {
			return nil, err
		}
		c := denoise.Defaults()
		c.Updates = updates(1000)
		return denoise.Fit(ctx, s, c, f)
	case "timegan":
		s, err := series()
		if err != nil {
			return nil, err
		}
		c := seriesgan.Defaults()
		n := updates(1000)
		c.Embed, c.Super, c.Joint = n*3/8, n/8, n/2
		return seriesgan.Fit(ctx, s, c, f)
	}
	return nil, fmt.Errorf("there is no row %q", name)
}

// rate is how many packets of n sessions a model samples, compiled, in a second
// of processor time.
func rate(ctx context.Context, m traffic.Model, n int, seed uint64) (float64, error) {
	from := pieces.CPU()
	r, err := compile.Packets(ctx, m.Schema(), m.Sample(ctx, traffic.Request{N: n, Seed: seed}), compile.Options{Seed: seed}, func(time.Time, []byte) error { return nil })
	if err != nil {
		return 0, err
	}
	return float64(r.Packets) / max(pieces.CPU()-from, 1e-3), nil
}
