package report

import (
	"fmt"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
)

// Models are the sections of recordings and of models, sets, that were rolled out
// beside them, and their scores: figures of the first recording, and over all what a
// limit does.
func Models(data []telemetry.Recording, files []File, sets []fidelity.Set) ([]Section, []Compared, error) {
	truth, err := selection.FromDataset(data[0].Data)
	if err != nil {
		return nil, nil, err
	}
	tables, names := []selection.Table{truth}, []string{"real"}
	results := []Compared{{Name: "real"}}
	for i, s := range sets {
		score := s.Scores[0]
		if i == 0 {
			results[0].Floor = &score.Floor
		}
		tables, names = append(tables, s.Table(0)), append(names, s.Name)
		results = append(results, Compared{Name: s.Name, File: files[i].Path, Score: &score, Effects: s.Effects})
	}
	sections, err := compared(tables, names, results)
	if err != nil {
		return nil, nil, err
	}
	if data[0].Data.Column("lbo_s") < 0 { // no player that a limit could do something to: another CSV
		return sections, results, nil
	}
	return append([]Section{effects(data, sets)}, sections...), results, nil
}

// effects is the section of what a limit does in each set.
func effects(data []telemetry.Recording, sets []fidelity.Set) Section {
	s := Section{
		Title: "What a limit does",
		Text: "Exogeneity error: how much more often queues are full under one limit than under another, less the same in the recordings; the load must not answer to a limit. " +
			"Effect error: the drift of the buffer by load and limit. Transient error: the same in the 60 s after a change of limit. Each with its 95 % interval over sessions; 0 is best. " +
			"The floor is what the recorded system would itself be given by as many sessions: a model below it is not better than one at it.",
	}
	if len(sets) == 0 || sets[0].Effects == nil {
		s.Text += fmt.Sprintf(" In these %d recordings it is not identifiable: no limit takes turns with another within a recording.", len(data))
		return s
	}
	of := func(x, low, high eval.Number) string {
		if x != x {
			return "–"
		}
		return fmt.Sprintf("%.3f (%.3f … %.3f)", float64(x), float64(low), float64(high))
	}
	t := Table{Head: []string{"set", "exogeneity error", "effect error (s/s)", "transient error (s/s)"}}
	for _, set := range sets {
		e := set.Effects
		t.Rows = append(t.Rows, []string{set.Name, of(e.Exogeneity, e.Low.Exogeneity, e.High.Exogeneity), of(e.Effect, e.Low.Effect, e.High.Effect), of(e.Transient, e.Low.Transient, e.High.Transient)})
	}
	f := sets[0].Effects.Floor
	one := func(x eval.Number) string {
		if x != x {
			return "–"
		}
		return fmt.Sprintf("%.3f", float64(x))
	}
	t.Rows = append(t.Rows, []string{"floor", one(f.Exogeneity), one(f.Effect), one(f.Transient)})
	s.Tables = []Table{t}
	return s
}
