// Package sweep trains a grid of TimeGAN models, a model per core, and scores
// each on the way: what Tavares et al. (SBRC 2024) do by hand with 3, 9 and 27
// models.
package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Modes of a model: see timegan.Simulator.
const (
	Conditional = "conditional" // one model for all limits
	PerLimit    = "per-limit"   // one model for each
)

// Config is a grid: every combination of its lists is trained. An empty list
// is Base's value.
type Config struct {
	Base    timegan.Config `toml:"base" json:"base"`
	Windows []int          `toml:"windows" json:"windows"` // seconds
	Hidden  []int          `toml:"hidden" json:"hidden"`
	Batches []int          `toml:"batches" json:"batches"`
	Modes   []string       `toml:"modes" json:"modes"` // {"conditional"}
	Seeds   []uint64       `toml:"seeds" json:"seeds"`
	Knots   int            `toml:"knots" json:"knots"` // of the scalers; timegan.DefaultKnots

	Rollouts int `toml:"rollouts" json:"rollouts"` // that M is the median of; 5
	Every    int `toml:"every" json:"every"`       // updates between checkpoints and scores; 1000
	Patience int `toml:"patience" json:"patience"` // scores of the joint phase without a better M after which a model is stopped; 0: never
	Workers  int `toml:"workers" json:"workers"`   // models that train at once; 1

	Shard, Shards int `toml:"-" json:"-"` // of Shards processes that share the grid this is the Shard-th, from 1; 0 of 0: it trains all
}

// Preset is one of the tutorial's studies, "3", "9" or "27": windows of
// 50·(i+1), hidden sizes of 20·(j+1) and batches of 100+28·k, one model per
// limit.
func Preset(name string) (Config, error) {
	sizes := map[string][3]int{"3": {1, 1, 3}, "9": {1, 3, 3}, "27": {3, 3, 3}}
	n, ok := sizes[name]
	if !ok {
		return Config{}, fmt.Errorf(`sweep: preset: %q is not one of "3", "9", "27"`, name)
	}
	base, err := timegan.Preset("tutorial")
	if err != nil {
		return Config{}, err
	}
	base.Latent = false // the tutorial drops rows, we keep gaps
	c := Config{Base: base, Modes: []string{PerLimit}}
	for i := range n[0] {
		c.Windows = append(c.Windows, 50*(i+1))
	}
	for j := range n[1] {
		c.Hidden = append(c.Hidden, 20*(j+1))
	}
	for k := range n[2] {
		c.Batches = append(c.Batches, 100+28*k)
	}
	return c, nil
}

// Member is one model of a grid; one file, or one per limit.
type Member struct {
	Name   string         `json:"name"`
	Mode   string         `json:"mode"`
	Config timegan.Config `json:"config"`
	Files  []string       `json:"files"` // in the sweep's folder
}

// State is the state of a member.
type State string

// The states of a member.
const (
	Waiting State = "waiting"
	Running State = "training"
	Stopped State = "stopped early"
	Done    State = "done"
	Failed  State = "failed"
)

// Status is a member, how far it has come and how good it is.
type Status struct {
	Member
	State    State            `json:"state"`
	Progress timegan.Progress `json:"progress"`
	Limits   []int            `json:"limits"`
	M        []float64        `json:"M"`      // by limit, minmax over all rows, of the latest score; empty before one
	MRaw     []float64        `json:"M_raw"`  // by limit, first 2600 rows
	Best     float64          `json:"best_M"` // smallest sum over limits so far
	Since    int              `json:"since"`  // scores since then
	Error    string           `json:"error,omitempty"`
}

// Members lists a grid's models: index (i·jMax + j)·kMax + k for window i,
// hidden size j and batch k, all of a mode and seed together.
func (c Config) Members(limits []int) ([]Member, error) {
	c.Base = c.Base.WithDefaults()
	windows, hidden, batches := c.Windows, c.Hidden, c.Batches
	modes, seeds := c.Modes, c.Seeds
	if len(windows) == 0 {
		windows = []int{c.Base.Window}
	}
	if len(hidden) == 0 {
		hidden = []int{c.Base.Hidden}
	}
	if len(batches) == 0 {
		batches = []int{c.Base.Batch}
	}
	if len(modes) == 0 {
		modes = []string{Conditional}
	}
	if len(seeds) == 0 {
		seeds = []uint64{c.Base.Seed}
	}
	if c.Rollouts < 0 || c.Every < 0 || c.Patience < 0 || c.Workers < 0 {
		return nil, fmt.Errorf("sweep: rollouts %d, every %d, patience %d, workers %d: none may be negative", c.Rollouts, c.Every, c.Patience, c.Workers)
	}
	var all []Member
	for _, mode := range modes {
		if mode != Conditional && mode != PerLimit {
			return nil, fmt.Errorf(`sweep: modes: %q is not one of "conditional", "per-limit"`, mode)
		}
		for _, seed := range seeds {
			for _, w := range windows {
				for _, h := range hidden {
					for _, b := range batches {
						m := Member{Mode: mode, Config: c.Base}
						m.Config.Window, m.Config.Hidden, m.Config.Batch, m.Config.Seed = w, h, b, seed
						if err := m.Config.Check(); err != nil {
							return nil, err
						}
						m.Name = fmt.Sprintf("%s-w%d-h%d-b%d-s%d", mode, w, h, b, seed)
						m.Files = []string{m.Name + ".safetensors"}
						if mode == PerLimit {
							m.Files = nil
							for _, l := range limits {
								m.Files = append(m.Files, fmt.Sprintf("%s.%d.safetensors", m.Name, l))
							}
						}
						if slices.ContainsFunc(all, func(o Member) bool { return o.Name == m.Name }) {
							return nil, fmt.Errorf("sweep: %s is a duplicate in the grid", m.Name)
						}
						all = append(all, m)
					}
				}
			}
		}
	}
	if c.Shards == 0 {
		return all, nil
	}
	if c.Shard < 1 || c.Shard > c.Shards {
		return nil, fmt.Errorf("sweep: shard %d of %d: it is from 1 to %[2]d", c.Shard, c.Shards)
	}
	var mine []Member
	for i := c.Shard - 1; i < len(all); i += c.Shards {
		mine = append(mine, all[i])
	}
	return mine, nil
}

// Run trains a grid on the train blocks of recordings, into folder, which
// must exist: checkpoints, and result.json with every member's status. What
// lies there of an earlier run, killed or ended, is gone on with. engine makes
// an engine for each model; report, which may be nil, is called with a member
// and its status as it goes, never twice at once. A member that fails says
// so in its status, and the others go on.
func Run(ctx context.Context, c Config, recordings []telemetry.Recording, folder string, engine func() (timegan.Engine, error), report func(i int, s Status)) ([]Status, error) {
	var limits []int
	var real []selection.Table
	for _, r := range recordings {
		t, err := selection.FromDataset(r.Data)
		if err != nil {
			return nil, err
		}
		limits, real = append(limits, r.Limit), append(real, t)
	}
	members, err := c.Members(limits)
	if err != nil {
		return nil, err
	}
	s := &sweep{c: c, recordings: recordings, real: real, folder: folder, engine: engine, report: report}
	before, err := ReadResult(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, m := range members {
		status := Status{Member: m, State: Waiting, Limits: limits, Best: math.MaxFloat64}
		if i := slices.IndexFunc(before, func(o Status) bool { return o.Name == m.Name && o.Config == m.Config }); i >= 0 {
			status = before[i]
			if status.State == Running || status.State == Failed {
				status.State, status.Error = Waiting, ""
			}
		}
		s.all = append(s.all, status)
	}
	// workers take the members in order; the caller waits for all of them.
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(c.Workers, 1) {
		wg.Go(func() {
			for i := range next {
				s.train(ctx, i)
			}
		})
	}
	for i := range members {
		if st := s.all[i].State; st == Done || st == Stopped {
			s.set(i, func(*Status) {})
			continue
		}
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if s.err == nil {
		s.err = ctx.Err()
	}
	return s.all, s.err
}

type sweep struct {
	c          Config
	recordings []telemetry.Recording
	real       []selection.Table
	folder     string
	engine     func() (timegan.Engine, error)
	report     func(int, Status)

	mu  sync.Mutex // of what follows
	all []Status
	err error // of writing the result
}

// set changes a member's status, reports it and writes the result.
func (s *sweep) set(i int, change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.all[i].State
	scored := s.all[i].M
	change(&s.all[i])
	if s.report != nil {
		s.report(i, s.all[i])
	}
	if before != s.all[i].State || !slices.Equal(scored, s.all[i].M) {
		if err := writeResult(filepath.Join(s.folder, s.c.resultFile()), s.all); err != nil && s.err == nil {
			s.err = err
		}
	}
}

// train trains a member's models, one after the other.
func (s *sweep) train(ctx context.Context, i int) {
	s.set(i, func(st *Status) { st.State = Running })
	m := s.all[i].Member // only this goroutine changes member i
	var models []*timegan.Model
	var engines []timegan.Engine
	defer func() {
		for _, e := range engines {
			e.Close()
		}
	}()
	err := func() error {
		for k, file := range m.Files {
			recordings := s.recordings
			if m.Mode == PerLimit {
				recordings = recordings[k : k+1]
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			engines = append(engines, e)
			model, err := s.fit(ctx, i, recordings, filepath.Join(s.folder, file), e, len(m.Files) == 1)
			if err != nil {
				return err
			}
			models = append(models, model)
		}
		return s.score(ctx, i, models, engines)
	}()
	s.set(i, func(st *Status) {
		switch {
		case err == nil && st.State == Running:
			st.State = Done
		case err != nil && ctx.Err() != nil:
			st.State = Waiting
		case err != nil:
			st.State, st.Error = Failed, err.Error()
		}
	})
}

// fit trains one model; alone says that it can be scored on the way.
func (s *sweep) fit(ctx context.Context, i int, recordings []telemetry.Recording, path string, e timegan.Engine, alone bool) (*timegan.Model, error) {
	c := s.all[i].Config
	knots := s.c.Knots
	if knots == 0 {
		knots = timegan.DefaultKnots
	}
	t, err := timegan.NewTraining(recordings, telemetry.Train, c, knots)
	if err != nil {
		return nil, err
	}
	o := timegan.FitOptions{Path: path, Every: s.c.Every, Report: func(p timegan.Progress) {
		s.set(i, func(st *Status) { st.Progress = p })
	}}
	if _, err := os.Stat(path); err == nil {
		if o.Resume, err = timegan.ReadModel(path); err != nil {
			return nil, err
		}
		if o.Resume.Done() {
			s.set(i, func(st *Status) { st.Progress = finished(o.Resume) })
			return o.Resume, nil
		}
	}
	if alone && s.c.Patience > 0 {
		o.Checkpoint = func(m *timegan.Model) error {
			if m.Phase != timegan.Joint {
				return nil
			}
			probe, err := s.engine()
			if err != nil {
				return err
			}
			defer probe.Close()
			if err := s.score(ctx, i, []*timegan.Model{m}, []timegan.Engine{probe}); err != nil {
				return err
			}
			stop := false
			s.set(i, func(st *Status) {
				if stop = st.Since >= s.c.Patience; stop {
					st.State = Stopped
				}
			})
			if stop {
				return timegan.ErrStop
			}
			return nil
		}
	}
	return timegan.Fit(ctx, c, e, t, o)
}

// finished is the progress of a model whose training is over.
func finished(m *timegan.Model) timegan.Progress {
	c := m.Config
	total := c.Embed + c.Super + c.Joint
	return timegan.Progress{Phase: timegan.Joint, Update: c.Joint, Of: c.Joint, Done: total, Total: total, Losses: m.Losses}
}

// score rolls the member out under each limit and keeps the median M of the
// rollouts on the train blocks, on which nothing is held out: test blocks are
// for the model that is chosen.
func (s *sweep) score(ctx context.Context, i int, models []*timegan.Model, engines []timegan.Engine) error {
	rollouts := s.c.Rollouts
	if rollouts == 0 {
		rollouts = 5
	}
	sim, err := timegan.NewSimulator(rollouts, models, engines)
	if err != nil {
		return err
	}
	seeds := make([]uint64, rollouts)
	for k := range seeds {
		seeds[k] = uint64(k)
	}
	var m, raw []float64
	sum := 0.
	for k, r := range s.recordings {
		data, err := timegan.Sample(ctx, sim, seeds, 0, int32(r.Limit), r.Data.Len())
		if err != nil {
			return err
		}
		var each []selection.Score
		for _, d := range data {
			t, err := selection.FromDataset(d)
			if err != nil {
				return err
			}
			score, err := selection.Compare(s.real[k], t, selection.Options{Like: true, Train: true, Draws: -1})
			if err != nil {
				return err
			}
			each = append(each, score)
		}
		score := selection.Median(each)
		m, raw = append(m, score.Mean.MMinmax), append(raw, score.MRaw2600)
		sum += m[k]
	}
	s.set(i, func(st *Status) {
		st.M, st.MRaw = m, raw
		if st.Since++; sum < st.Best {
			st.Best, st.Since = sum, 0
		}
	})
	return nil
}

// resultFile holds every member's status, in the sweep's folder: those of a
// shard where there are several.
func (c Config) resultFile() string {
	if c.Shards == 0 {
		return "result.json"
	}
	return fmt.Sprintf("result.%d-of-%d.json", c.Shard, c.Shards)
}

// ReadResult reads a sweep's result: of a process that trained all of it, and of
// those that each trained a shard. A member of which several tell has the status
// that came furthest.
func ReadResult(folder string) ([]Status, error) {
	parts, err := filepath.Glob(filepath.Join(folder, "result.*-of-*.json"))
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	type placed struct {
		Status
		at [2]int // of the grid: how many shards it was in, place
	}
	var all []placed
	add := func(file string, shard, shards int) error {
		part, err := readResult(file)
		for k, st := range part {
			p := placed{st, [2]int{shards, k*shards + shard - 1}}
			i := slices.IndexFunc(all, func(o placed) bool { return o.Name == st.Name && o.Config == st.Config })
			switch {
			case i < 0:
				all = append(all, p)
			case further(st, all[i].Status):
				all[i].Status = st
			}
		}
		return err
	}
	if err := add(filepath.Join(folder, "result.json"), 1, 1); err != nil && (len(parts) == 0 || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	for _, file := range parts {
		var i, n int
		if _, err := fmt.Sscanf(filepath.Base(file), "result.%d-of-%d.json", &i, &n); err != nil || i < 1 || i > n {
			return nil, fmt.Errorf("sweep: %s: is the result of no shard", file)
		}
		if err := add(file, i, n); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return slices.Compare(a.at[:], b.at[:]) })
	out := make([]Status, len(all))
	for i, p := range all {
		out[i] = p.Status
	}
	return out, nil
}

// further reports whether a came further than b.
func further(a, b Status) bool {
	rank := map[State]int{Waiting: 0, Running: 1, Failed: 2, Stopped: 3, Done: 4}
	if rank[a.State] != rank[b.State] {
		return rank[a.State] > rank[b.State]
	}
	return a.Progress.Done > b.Progress.Done
}

func readResult(file string) ([]Status, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	var all []Status
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("sweep: %s: %w", file, err)
	}
	return all, nil
}

func writeResult(file string, all []Status) error {
	return atomicfile.Write(file, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(all)
	})
}
