package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/report"
)

func (r *reporter) run(cmd *cobra.Command) error {
	switch {
	case r.real == "" && len(r.sets) > 0:
		return usagef("report: --real: which recording is the real one?")
	case r.real != "" && len(r.models) > 0:
		return usagef("report: --model: models are rolled out beside --csv or --data, not --real")
	case r.any.file != "" && len(r.models) == 0:
		return usagef("report: --csv: name a model by --model NAME=FILE, or rows by --real and --set")
	case r.rollouts < 1:
		return usagef("report: --rollouts: %d is below 1", r.rollouts)
	case r.real == "" && len(r.models) == 0 && len(r.agents) == 0 && r.compare == "" && r.traffic == "" && len(r.sessions) == 0:
		return usagef("report: --real, --model, --agent, --compare, --traffic or --sessions: what is it to be about?")
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
	bar := newProgress(cmd, int64(len(r.sets)+len(r.models)+len(r.agents)+2), "part", "report")
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
	if len(r.models) > 0 {
		var sections []report.Section
		if sections, results, err = r.rolledOut(cmd, next); err != nil {
			return err
		}
		page.Title = "Recordings and models of them"
		page.Intro = "Errors are on the recording's scale, 0 to 1, and 0 is best; 1 is best for ratios."
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
	if results != nil {
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
