package fidelity

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// Options say how candidates are scored.
type Options struct {
	selection.Options
	By       string          // the figure by which a model's median rollout is picked; "" or an effect: M
	Rollouts int             // rollouts of a model under each recording
	Done     func(int) error // after so many tables were compared; may be nil
}

func (o *Options) done(tables int) error {
	if o.Done == nil {
		return nil
	}
	return o.Done(tables)
}

// Seeds are n seeds that count up from first.
func Seeds(first uint64, n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	return seeds
}

// Set is one candidate with its scores, an entry for each real table.
type Set struct {
	Name   string            `json:"name"`
	Scores []selection.Score `json:"scores"`
	Copies []float64         `json:"copy_share,omitempty"` // of tables on the real one's grid
	// Effects are the errors in what a limit does, of rollouts under sessions in
	// which limits take turns; nil where that is not identifiable.
	Effects *Effects `json:"effects,omitempty"`
	tables  []selection.Table
}

// Table is the set's rows beside table k: of a model those of its median rollout.
func (s Set) Table(k int) selection.Table { return s.tables[k] }

// Of is the set of rows that stand for a model's rollout under a recording.
func Of(name string, r telemetry.Recording, rows selection.Table, effects *Effects) (Set, error) {
	real, err := selection.FromDataset(r.Data)
	if err != nil {
		return Set{}, err
	}
	score, err := selection.Compare(real, rows, selection.Options{Like: true})
	return Set{Name: name, Scores: []selection.Score{score}, Effects: effects, tables: []selection.Table{rows}}, err
}

// Files is a candidate whose rows are in files, one for each real table.
type Files struct {
	Name  string
	Paths []string
}

// ScoreFiles compares the files of each candidate with the real ones, in order. The
// noise floor is drawn for the first candidate only: it is the real rows' own.
func ScoreFiles(real []string, candidates []Files, o Options) ([]Set, error) {
	var truth []selection.Table
	for _, path := range real {
		t, err := selection.ReadFile(path)
		if err != nil {
			return nil, err
		}
		truth = append(truth, t)
	}
	var sets []Set
	for _, c := range candidates {
		set := Set{Name: c.Name}
		for k, path := range c.Paths {
			t, err := selection.ReadFile(path)
			if err != nil {
				return nil, err
			}
			with := o.Options
			if len(sets) > 0 {
				with.Draws = -1
			}
			score, err := selection.Compare(truth[k], t, with)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			set.Scores, set.tables = append(set.Scores, score), append(set.tables, t)
			if o.Like {
				copies, err := selection.CopyShare(truth[k], t, 5, o.Seed)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", path, err)
				}
				set.Copies = append(set.Copies, copies)
			}
			if err := o.done(1); err != nil {
				return nil, err
			}
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// Model is a candidate that is rolled out. Open opens n simulations of it, and gives
// what closes them.
type Model struct {
	Name string
	Open func(n int) (timegan.Rollouts, func(), error)
}

// ScoreModels rolls out each candidate under the limits of each recording; figures
// are medians over o.Rollouts rollouts.
func ScoreModels(ctx context.Context, data []telemetry.Recording, candidates []Model, o Options) ([]Set, error) {
	var real []selection.Table
	for _, r := range data {
		t, err := selection.FromDataset(r.Data)
		if err != nil {
			return nil, err
		}
		real = append(real, t)
	}
	var sets []Set
	for _, c := range candidates {
		sim, done, err := c.Open(o.Rollouts)
		if err != nil {
			return nil, err // it names the file
		}
		set, err := c.score(ctx, sim, data, real, o)
		done()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		sets = append(sets, set)
		o.Draws = -1 // the floor is drawn
		if err := o.done(len(data)); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func (c Model) score(ctx context.Context, sim timegan.Rollouts, data []telemetry.Recording, real []selection.Table, o Options) (Set, error) {
	set := Set{Name: c.Name}
	by := figures[o.By]
	if by == nil {
		by = figures["M"]
	}
	var simulated []telemetry.Recording
	held := telemetry.HoldsOut(data)
	for k, r := range data {
		rolled, err := rollOut(ctx, sim, Seeds(o.Seed, o.Rollouts), r, real[k], o.Options)
		if err != nil {
			return set, err
		}
		simulated = append(simulated, rolled.recordings...)
		order := make([]int, len(rolled.scores))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by(rolled.scores[a]), by(rolled.scores[b])) })
		median := rolled.tables[order[(len(order)-1)/2]]
		set.Scores, set.tables = append(set.Scores, selection.Median(rolled.scores)), append(set.tables, median)
		if held {
			copies, err := selection.CopyShare(real[k], median, 5, o.Seed)
			if err != nil {
				return set, err
			}
			set.Copies = append(set.Copies, copies)
		}
	}
	set.Effects = effectsOf(data, simulated, o.Seed)
	return set, nil
}
