package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
	"github.com/planegym/planegym/timegan"
)

// metrics asks of the figures that models are chosen by whether they are worth
// it: on models fixed beforehand, the rank correlation of each figure with what
// matters, the regret and the error of a value.
type metrics struct {
	data   []telemetry.Recording
	models []judged
}

// judged is a model: what is known of it from recordings, and what it is worth.
type judged struct {
	name        string
	figures     []float64 // by figureNames
	regret, rms float64
}

var figureNames = []string{"exogeneity", "effect", "transient", "exogeneity+effect, over floors", "M", "W1", "KS", "corr", "ACF"}

func newMetrics(path string) (*metrics, error) {
	if path == "" {
		return nil, nil
	}
	data, err := sessions.ReadFile(path)
	return &metrics{data: data}, err
}

// add scores a model's rollouts, three under each recording.
func (m *metrics) add(ctx context.Context, path string, open func(n int) (timegan.Rollouts, func(), error), regret, rms float64) error {
	sets, err := fidelity.ScoreModels(ctx, m.data, []fidelity.Model{{Name: path, Open: open}}, fidelity.Options{Options: selection.Options{Draws: -1}, Rollouts: 3})
	if err != nil {
		return err
	}
	s := sets[0]
	if s.Effects == nil {
		return fmt.Errorf("%s: the recordings do not say what a limit does", path)
	}
	e := s.Effects
	x := []float64{float64(e.Exogeneity), float64(e.Effect), float64(e.Transient),
		float64(e.Exogeneity)/float64(e.Floor.Exogeneity) + float64(e.Effect)/float64(e.Floor.Effect), 0, 0, 0, 0, 0}
	for _, score := range s.Scores {
		n := float64(len(s.Scores))
		for i, v := range []float64{score.MMinmax2600, score.Mean.W1, score.Mean.KS, score.Mean.Corr, score.Mean.ACF} {
			x[4+i] += v / n
		}
	}
	m.models = append(m.models, judged{path, x, regret, rms})
	return nil
}

// print writes the models, and of each figure Spearman's ρ with regret and rms,
// with 95 % intervals by resampling models.
func (m *metrics) print() {
	fmt.Printf("| model | regret | rms | %s |\n|---|%s\n", strings.Join(figureNames, " | "), strings.Repeat("---|", 2+len(figureNames)))
	for _, j := range m.models {
		fmt.Printf("| %s | %.1f %% | %.3f |", j.name, 100*j.regret, j.rms)
		for _, x := range j.figures {
			fmt.Printf(" %.3f |", x)
		}
		fmt.Println()
	}
	if len(m.models) < 3 { // there is nothing to rank
		return
	}
	fmt.Println("\n| figure | ρ with regret | ρ with rms |\n|---|---|---|")
	for f, name := range figureNames {
		fmt.Printf("| %s |", name)
		for _, of := range []func(judged) float64{func(j judged) float64 { return j.regret }, func(j judged) float64 { return j.rms }} {
			rho := func(models []judged) float64 {
				var a, b []float64
				for _, j := range models {
					a, b = append(a, j.figures[f]), append(b, of(j))
				}
				return eval.Spearman(a, b)
			}
			lo, hi := overDraws(1000, func(draw uint32) float64 {
				key := rng.Key{Seed: 1, A: draw, Purpose: rng.Bootstrap}
				some := make([]judged, len(m.models))
				for i := range some {
					some[i] = m.models[key.Intn(uint32(i), len(m.models))]
				}
				return rho(some)
			})
			fmt.Printf(" %.2f (%.2f … %.2f) |", rho(m.models), lo, hi)
		}
		fmt.Println()
	}
}
