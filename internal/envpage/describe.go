package envpage

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/standings"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/scenarios"
)

// Describe opens s and describes it. The bundled scenarios have measured returns; a
// user's own has none, whatever its name.
func Describe(ctx context.Context, gym *planegym.Gym, s scenarios.Scenario, own bool) (Page, error) {
	page, v, err := open(ctx, gym, s, 1)
	if err != nil {
		return page, err
	}
	defer v.Close()
	if own {
		return page, nil
	}
	all, err := scenarios.MeasuredReturns()
	page.Returns = all[s.Name]
	return page, err
}

// Measure is Describe with returns that are measured now: those of policies, which are
// made for the scenario's spec, and of the usual baselines, best first.
func Measure(ctx context.Context, gym *planegym.Gym, s scenarios.Scenario, n int, policies func(env.Spec) ([]standings.Entry, error)) (Page, error) {
	page, v, err := open(ctx, gym, s, n)
	if err != nil {
		return page, err
	}
	defer v.Close()
	entries, err := policies(v.Spec())
	if err != nil {
		return page, err
	}
	rows, err := standings.Play(ctx, v, standings.WithBaselines(entries, v.Spec()), eval.HeldOut(0, n), nil, nil)
	if err != nil {
		return page, err
	}
	for _, row := range rows {
		r := scenarios.Return{Policy: row.Policy, Mean: row.Return.Mean, Episodes: n}
		if row.Return.CI != nil {
			r.CI = *row.Return.CI
		}
		page.Returns.Policies = append(page.Returns.Policies, r)
	}
	slices.SortStableFunc(page.Returns.Policies, func(a, b scenarios.Return) int { return cmp.Compare(b.Mean, a.Mean) })
	page.Returns.Measured = fmt.Sprintf("planegym scenario doc %s --measure --episodes %d", s.Name, n)
	return page, nil
}

func open(ctx context.Context, gym *planegym.Gym, s scenarios.Scenario, rows int) (Page, env.Vector, error) {
	page := Page{Scenario: s}
	v, err := gym.Open(ctx, s, rows, env.NextStep)
	if err != nil {
		return page, nil, err
	}
	page.Spec = v.Spec()
	if i, ok := v.(env.Informer); ok {
		page.Info = i.InfoFields()
	}
	return page, v, nil
}

// WriteFiles writes the page into dir as NAME.md, and its figure, where it has one,
// beside it. It gives the files that were written.
func (p Page) WriteFiles(dir string) (files []string, err error) {
	write := func(name string, f func(io.Writer) error) error {
		file := filepath.Join(dir, name)
		err := atomicfile.Write(file, f)
		if err == nil {
			files = append(files, file)
		}
		return err
	}
	if p.Figure() != "" {
		if err := write(p.Figure(), p.WriteFigure); err != nil {
			return files, err
		}
	}
	err = write(p.Scenario.Name+".md", func(w io.Writer) error {
		_, err := io.WriteString(w, p.Markdown())
		return err
	})
	return files, err
}
