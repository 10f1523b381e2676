package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/sweep"
)

func (s *selector) run(cmd *cobra.Command) error {
	if err := fidelity.CheckBy(s.by); err != nil {
		return usagef("select: --by: %w", err)
	}
	files, rolled := len(s.real) > 0 || len(s.sets) > 0, s.sweep != "" || len(s.models) > 0
	switch {
	case files == rolled:
		return usagef("select: give either --real and --set, or --data and --sweep or --model")
	case s.rollouts < 1:
		return usagef("select: --rollouts: %d is below 1", s.rollouts)
	}
	o := fidelity.Options{Options: selection.Options{Like: s.like, Test: s.test, Seed: s.seed}, By: s.by, Rollouts: s.rollouts}
	score := s.rollOut
	if files {
		score = s.files
	}
	sets, what, at, err := score(cmd, o)
	if err != nil {
		return err
	}
	ranked, err := fidelity.Rank(sets, what, at, s.by)
	if err != nil {
		return usagef("select: --by: %w", err)
	}
	var written []string
	if s.export != "" {
		if written, err = ranked.Export(s.export); err != nil {
			return fmt.Errorf("select: --export: %w", err)
		}
	}
	if asJSON(cmd) {
		out := ranked.JSON()
		out["written"] = written
		return writeJSON(cmd.OutOrStdout(), out)
	}
	if err := ranked.WriteText(cmd.OutOrStdout()); err != nil {
		return err
	}
	for _, f := range written {
		fmt.Fprintln(cmd.OutOrStdout(), f)
	}
	return nil
}

// files scores sets of CSV files. A table is of a limit, which its file's name
// ends in, or, where there is one, of that file.
func (s *selector) files(cmd *cobra.Command, o fidelity.Options) (sets []fidelity.Set, what string, limits []int, err error) {
	if len(s.real) == 0 || len(s.sets) == 0 {
		return nil, "", nil, usagef("select: --real and --set: both are needed")
	}
	what = "limit"
	for _, path := range s.real {
		l, ok := telemetry.LimitInName(path)
		if !ok && len(s.real) > 1 {
			return nil, "", nil, usagef("select: --real: no queue limit ends the name of %s: of several files the names tell them apart, as grid_32.csv", path)
		}
		if !ok {
			what, l = "file", 1
		}
		limits = append(limits, l)
	}
	var candidates []fidelity.Files
	for _, arg := range s.sets {
		name, list, ok := strings.Cut(arg, "=")
		paths := strings.Split(list, ",")
		if !ok || name == "" || len(paths) != len(limits) {
			return nil, "", nil, usagef("select: --set: %q is not NAME=FILE,… with a file for each of %d limits", arg, len(limits))
		}
		candidates = append(candidates, fidelity.Files{Name: name, Paths: paths})
	}
	bar := newProgress(cmd, int64(len(candidates)*len(limits)), "table", "compare")
	o.Done = bar.Add
	if sets, err = fidelity.ScoreFiles(s.real, candidates, o); err != nil {
		return nil, "", nil, err
	}
	return sets, what, limits, bar.Finish()
}

// rollOut scores models: those of a sweep that are done, and those named. A table
// is of a limit or, where limits change within recordings, of a session.
func (s *selector) rollOut(cmd *cobra.Command, o fidelity.Options) (sets []fidelity.Set, what string, at []int, err error) {
	data, err := s.any.orRecordings(cmd, s.data)
	if err != nil {
		return nil, "", nil, err
	}
	var candidates []fidelity.Model
	add := func(name string, files []string) {
		candidates = append(candidates, fidelity.Model{Name: name, Open: func(n int) (timegan.Rollouts, func(), error) {
			sim, _, done, err := s.openModels(n, files)
			return sim, done, err
		}})
	}
	if s.sweep != "" {
		result, err := sweep.ReadResult(s.sweep)
		if err != nil {
			return nil, "", nil, err
		}
		for _, m := range result {
			if m.State == sweep.Done || m.State == sweep.Stopped {
				add(m.Name, inFolder(s.sweep, m.Files))
			}
		}
		if len(candidates) == 0 {
			return nil, "", nil, fmt.Errorf("select: %s: none of %d models is done", s.sweep, len(result))
		}
	}
	for _, m := range s.models {
		add(m, strings.Split(m, ","))
	}
	bar := newProgress(cmd, int64(len(candidates)*len(data)), "table", "roll out")
	o.Done = bar.Add
	if sets, err = fidelity.ScoreModels(cmd.Context(), data, candidates, o); err != nil {
		return nil, "", nil, err
	}
	if what = "limit"; s.any.file != "" {
		what = "file"
	}
	for i, r := range data {
		if at = append(at, r.Limit); r.Session() {
			what, at[i] = "session", i
		}
	}
	return sets, what, at, bar.Finish()
}
