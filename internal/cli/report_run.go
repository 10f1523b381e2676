package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/report"
)

func (r *reporter) run(cmd *cobra.Command) error {
	switch {
	case r.real == "" && len(r.sets) > 0:
		return usagef("report: --real: which recording is the real one?")
	case r.real == "" && len(r.agents) == 0 && r.compare == "" && r.traffic == "" && len(r.sessions) == 0:
		return usagef("report: --real, --agent, --compare, --traffic or --sessions: what is it to be about?")
	}
	if err := checkOutput("report: --output", r.out, ".html"); err != nil {
		return err
	}
	if err := refuseExisting("report: --output", r.out, r.force); err != nil {
		return err
	}
	sets, err := namesAndFiles("--set", "FILE", r.sets)
	if err != nil {
		return err
	}
	agents, err := namesAndFiles("--agent", "PATH", r.agents)
	if err != nil {
		return err
	}
	page := report.Page{Title: "Report"}
	bar := newProgress(cmd, int64(len(r.sets)+len(r.agents)+2), "part", "report")
	var results []report.Compared
	next := func() error { return bar.Add(1) }
	if r.compare != "" {
		sections, err := report.ComparisonFile(r.compare)
		if err != nil {
			return fmt.Errorf("report: --compare: %w", err)
		}
		page.Title = "The same policies on two plants"
		page.Sections = append(page.Sections, sections...)
	}
	if r.traffic != "" || len(r.sessions) > 0 {
		sections, err := r.loads()
		if err != nil {
			return err
		}
		page.Title = "Real and generated traffic"
		page.Sections = append(page.Sections, sections...)
	}
	if len(r.agents) > 0 {
		sections, err := agentSections(cmd.Context(), agents, next)
		if err != nil {
			return fmt.Errorf("report: --agent: %w", err)
		}
		page.Title = "Agents"
		page.Sections = append(page.Sections, sections...)
	}
	if r.real != "" {
		var sections []report.Section
		if sections, results, err = report.Recordings(r.real, sets, r.options, next); err != nil {
			return err
		}
		page.Title = "Real and synthetic recordings"
		page.Intro = "Real: " + r.real + ". Errors are on the real recording's scale, 0 to 1, and 0 is best; 1 is best for ratios."
		page.Sections = append(page.Sections, sections...)
	}
	var html bytes.Buffer
	if err := page.WriteHTML(&html); err != nil {
		return err
	}
	if err := atomicfile.Write(r.out, func(w io.Writer) error {
		_, err := w.Write(html.Bytes())
		return err
	}); err != nil {
		return err
	}
	if r.png != "" {
		if err := page.WritePNG(r.png); err != nil {
			return err
		}
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"page": r.out, "sets": results})
	}
	what := fmt.Sprintf("%d sections", len(page.Sections))
	if r.real != "" {
		what = fmt.Sprintf("%d sets", len(results))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %d KiB\n", r.out, what, html.Len()/1024)
	return nil
}

// agentSections are those of training and of recorded episodes, and an episode of each
// agent that can be played.
func agentSections(ctx context.Context, agents []report.File, done func() error) ([]report.Section, error) {
	var names, files []string // that can be played
	var others []report.File
	for _, a := range agents {
		file := policyIn(a.Path)
		if file != "" {
			names, files = append(names, a.Name), append(files, file)
		}
		if file != a.Path {
			others = append(others, a)
		} else if err := done(); err != nil { // the agent alone
			return nil, err
		}
	}
	sections, err := report.AgentFiles(others, done)
	if err != nil {
		return nil, err
	}
	drawn, err := episodeSection(ctx, names, files)
	return append(sections, drawn...), err
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
