package main

import (
	"fmt"
	"path/filepath"

	"github.com/planegym/planegym/eval/protocol"
)

// Updates of the forms: the paper's has three phases of so many.
const (
	stocksFaithful = 1500
	stocksLikely   = 2000
)

// stocksSteps are a command for each form and training.
func stocksSteps(quick bool) (steps []step) {
	faithful, likely, trainings := stocksFaithful, stocksLikely, 5
	if quick {
		faithful, likely, trainings = 50, 100, 2
	}
	for _, form := range protocol.Forms {
		for seed := range trainings {
			steps = append(steps, step{
				out: fmt.Sprintf("%s-%d.json", form, seed),
				command: fmt.Sprintf("planegym bench timegan --csv {data}/stock.csv --forms %s --trainings 1 --seed %d --updates %d --likelihood %d --json",
					form, seed, faithful, likely),
			})
		}
	}
	return steps
}

// renderStocks pools the trainings of a form, beside published figures.
func renderStocks(dir string, quick bool) (string, error) {
	pooled := map[string]*protocol.Row{}
	for _, s := range stocksSteps(quick) {
		var r struct{ Scores []protocol.Row }
		if err := readJSON(filepath.Join(dir, s.out), &r); err != nil {
			return "", err
		}
		if len(r.Scores) != 1 {
			return "", fmt.Errorf("%s: %d forms, expected one", s.out, len(r.Scores))
		}
		row := r.Scores[0]
		if pooled[row.Form] == nil {
			pooled[row.Form] = &protocol.Row{Form: row.Form, Updates: row.Updates}
		}
		to := pooled[row.Form]
		to.Seconds += row.Seconds
		for _, x := range []struct{ to, from *protocol.Stat }{
			{&to.Discriminative, &row.Discriminative}, {&to.Predictive, &row.Predictive}, {&to.Correlational, &row.Correlational}, {&to.Frechet, &row.Frechet},
		} {
			x.to.Each = append(x.to.Each, x.from.Each...)
		}
	}
	g := newGrid("", "discriminative", "predictive", "correlational", "Fréchet")
	for _, form := range protocol.Forms {
		r := pooled[form]
		if r == nil {
			return "", fmt.Errorf("%s: no training of %s", dir, form)
		}
		g.row(formName(*r), stat(r.Discriminative, 3), stat(r.Predictive, 4), stat(r.Correlational, 3), stat(r.Frechet, 3))
	}
	_, published := protocol.Published(6)
	for _, p := range published {
		g.row(append(append([]string{"published: " + p.Name}, p.Cells()...), "")...)
	}
	return g.String() + "\nMean ± deviation over trainings, each scored once; of published figures, over scorings.\n", nil
}

func formName(r protocol.Row) string {
	n := len(r.Discriminative.Each)
	switch r.Form {
	case "timegan":
		return fmt.Sprintf("the paper's TimeGAN, %d trainings of 3 · %d updates", n, r.Updates)
	case "closed-loop":
		return fmt.Sprintf("closed loop, %d trainings of %d updates", n, r.Updates)
	case "bootstrap":
		return "real windows drawn with replacement"
	case "shuffled":
		return "rows in random order"
	case "real":
		return "real windows, every other one (the floor)"
	}
	return r.Form
}

// stat is mean ± deviation of the pooled trainings.
func stat(s protocol.Stat, digits int) string {
	s = protocol.StatOf(s.Each)
	return fmt.Sprintf("%.*f ± %.*f", digits, s.Mean, digits, s.SD)
}
