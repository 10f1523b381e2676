package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/timegan"
)

// rolledOut are the sections of recordings and of models that are rolled out beside
// them.
func (r *reporter) rolledOut(cmd *cobra.Command, next func() error) ([]report.Section, []report.Compared, error) {
	models, err := namesAndFiles("--model", "FILE", r.models)
	if err != nil {
		return nil, nil, err
	}
	data, err := r.any.orRecordings(cmd, r.data)
	if err != nil {
		return nil, nil, err
	}
	var candidates []fidelity.Model
	for _, m := range models {
		candidates = append(candidates, fidelity.Model{Name: m.Name, Open: func(n int) (timegan.Rollouts, func(), error) {
			sim, _, done, err := r.openModels(n, []string{m.Path})
			return sim, done, err
		}})
	}
	o := fidelity.Options{Options: r.options, Rollouts: r.rollouts, Done: func(int) error { return next() }}
	sets, err := fidelity.ScoreModels(cmd.Context(), data, candidates, o)
	if err != nil {
		return nil, nil, err
	}
	return report.Models(data, models, sets)
}

// nameAndFile is the two halves of a flag's NAME=FILE.
func nameAndFile(flag, what, text string) (name, file string, err error) {
	name, file, ok := strings.Cut(text, "=")
	if !ok || name == "" || file == "" {
		return "", "", usagef("report: %s: %q is not NAME=%s", flag, text, what)
	}
	return name, file, nil
}

// namesAndFiles are a flag's NAME=FILE, each.
func namesAndFiles(flag, what string, all []string) (files []report.File, err error) {
	for _, text := range all {
		name, path, err := nameAndFile(flag, what, text)
		if err != nil {
			return nil, err
		}
		files = append(files, report.File{Name: name, Path: path})
	}
	return files, nil
}
