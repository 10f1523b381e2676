package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/internal/scalars"
	"github.com/planegym/planegym/telemetry"
)

func newReport() *cobra.Command {
	var r reporter
	cmd := &cobra.Command{
		Use:   "report [--real FILE [--set NAME=FILE]...] [--agent NAME=PATH]... [--compare FILE] [--traffic FILE]",
		Short: "Draw data, agents and comparisons of plants",
		Long: `report draws one page of HTML that loads nothing from elsewhere, of what it is
given:

  --real, --set  recordings, real and synthetic, side by side: the metric M beside
                 the metrics it needs, time series, distributions, autocorrelation,
                 rank correlations, and windows by PCA and t-SNE
  --agent        agents side by side: of a folder that train wrote the curves of
                 training and an episode, drawn; of a .parquet that play --record or
                 serve --record wrote returns, what a viewer saw, and which actions
                 were taken when; of an agent's file, or "bundled", an episode
  --compare      what compare --json wrote: values, drift, estimates
  --traffic      what traffic eval --json wrote: policies under real and generated
                 load, likeness beside the noise floor and models that only count
  --sessions     sessions of traffic, the real ones first: distributions, burstiness

FILE of a recording is CSV with the published columns or those that import writes. Empty cells
were not measured; with --like the real grid's gaps are applied to every set.
In the table, floor is real windows against the real recording: the median of
200 draws, and its 5 and 95 % points. No model can be told from a better one
below it.`,
		Example: `  planegym report --real real_32.csv --set model=sample_32.csv -o report.html
  planegym report --real grid_32.csv --like --set best=a.csv --set worst=b.csv --png figures
  planegym report --real grid_32.csv --like --set best=a.csv --json
  planegym report --agent default=run --agent default=played.parquet --agent random=random.parquet
  planegym report --agent mine=run --agent bundled=bundled -o agents.html
  planegym compare contended mine.toml --json > c.json && planegym report --compare c.json -o compare.html
  planegym traffic eval --real s.parquet --in crossing --json > e.json && planegym report --traffic e.json --sessions real=s.parquet -o traffic.html`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&r.real, "real", "", "CSV of the real recording")
	f.StringArrayVar(&r.sets, "set", nil, "a set to compare, as NAME=FILE; repeat for more")
	f.StringArrayVar(&r.agents, "agent", nil, "an agent, as NAME=PATH: a folder of train, its .safetensors, recorded episodes, or bundled; repeat for more")
	f.StringVar(&r.compare, "compare", "", "what compare --json wrote")
	f.StringVar(&r.traffic, "traffic", "", "what traffic eval --json wrote")
	f.StringArrayVar(&r.sessions, "sessions", nil, "Parquet file of sessions, as NAME=FILE, the real ones first; repeat for more")
	f.BoolVar(&r.options.Like, "like", false, "the real recording is a grid of seconds: apply its gaps to every set")
	f.BoolVar(&r.options.Test, "test", false, "compare held-out blocks only; needs --like")
	f.Uint64Var(&r.options.Seed, "seed", 0, "of the noise floor's draws")
	f.StringVarP(&r.out, "output", "o", "report.html", "the page")
	f.BoolVar(&r.force, "force", false, "replace the page where it is there already")
	f.StringVar(&r.png, "png", "", "folder to write every figure into as PNG")
	return cmd
}

type reporter struct {
	real, out, png         string
	compare, traffic       string
	force                  bool
	sets, agents, sessions []string
	options                selection.Options
}

// compared is a set and its score; of the real recording, the noise floor.
type compared struct {
	Name  string              `json:"name"`
	File  string              `json:"file"`
	Score *selection.Score    `json:"score,omitempty"`
	Floor *[3]selection.Means `json:"floor_p5_p50_p95,omitempty"`
}

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
	page := report.Page{Title: "Report"}
	bar := newProgress(cmd, int64(len(r.sets)+len(r.agents)+2), "part", "report")
	var results []compared
	if r.compare != "" {
		sections, err := r.plants()
		if err != nil {
			return err
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
		sections, err := r.agentSections(cmd.Context(), bar)
		if err != nil {
			return err
		}
		page.Title = "Agents"
		page.Sections = append(page.Sections, sections...)
	}
	if r.real != "" {
		sections, err := r.data(bar, &results)
		if err != nil {
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

// data is the sections of recordings, and their scores.
func (r *reporter) data(bar *progressbar.ProgressBar, results *[]compared) ([]report.Section, error) {
	real, err := selection.ReadFile(r.real)
	if err != nil {
		return nil, err
	}
	tables, names := []selection.Table{real}, []string{"real"}
	*results = []compared{{Name: "real", File: r.real}}
	for _, s := range r.sets {
		name, file, err := nameAndFile("--set", "FILE", s)
		if err != nil {
			return nil, err
		}
		table, err := selection.ReadFile(file)
		if err != nil {
			return nil, err
		}
		score, err := selection.Compare(real, table, r.options)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		tables, names = append(tables, table), append(names, name)
		*results = append(*results, compared{Name: name, File: file, Score: &score})
		(*results)[0].Floor = &score.Floor
		if err := bar.Add(1); err != nil {
			return nil, err
		}
	}
	tables, left, err := selection.Common(tables...)
	if err != nil {
		return nil, err
	}
	var sets []report.Set
	for i, t := range tables {
		sets = append(sets, dataset(names[i], t))
	}
	sections, err := report.Data(sets)
	metrics := metricSections(*results)
	if len(left) > 0 && len(metrics) > 0 {
		metrics[0].Text = "Left out, because not all sets hold measured numbers of them: " + strings.Join(left, ", ") + "."
	}
	return append(metrics, sections...), err
}

// nameAndFile is the two halves of a flag's NAME=FILE.
func nameAndFile(flag, what, text string) (name, file string, err error) {
	name, file, ok := strings.Cut(text, "=")
	if !ok || name == "" || file == "" {
		return "", "", usagef("report: %s: %q is not NAME=%s", flag, text, what)
	}
	return name, file, nil
}

// agentSections is the sections about agents.
func (r *reporter) agentSections(ctx context.Context, bar *progressbar.ProgressBar) ([]report.Section, error) {
	var names, files []string // of agents that can be played
	var trained []report.Trained
	var played []*report.Played
	for _, a := range r.agents {
		name, path, err := nameAndFile("--agent", "PATH", a)
		if err != nil {
			return nil, err
		}
		file := policyIn(path)
		if file != "" {
			names, files = append(names, name), append(files, file)
		}
		if file == path { // the agent alone
			if err := bar.Add(1); err != nil {
				return nil, err
			}
			continue
		}
		st, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("report: --agent: %w", err)
		}
		if st.IsDir() {
			t := report.Trained{Name: name}
			if t.Steps, t.Columns, err = scalars.Read(path); err != nil {
				return nil, err
			}
			trained = append(trained, t)
		} else {
			p := report.NewPlayed(name)
			if err := episodes.Read(path, p.Add); err != nil {
				return nil, err
			}
			played = append(played, p)
		}
		if err := bar.Add(1); err != nil {
			return nil, err
		}
	}
	sections, err := report.Agents(trained, played)
	if err != nil {
		return nil, err
	}
	drawn, err := episodeSection(ctx, names, files)
	return append(sections, drawn...), err
}

// plants is the sections of a comparison.
func (r *reporter) plants() ([]report.Section, error) {
	text, err := os.ReadFile(r.compare)
	if err != nil {
		return nil, fmt.Errorf("report: --compare: %w", err)
	}
	c, err := eval.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("report: --compare: %s: %w", r.compare, err)
	}
	return report.Comparison(c)
}

// metricSections is the table of scores, and of each set's columns.
func metricSections(results []compared) []report.Section {
	if len(results) < 2 {
		return nil
	}
	number := func(x float64) string { return fmt.Sprintf("%.4f", x) }
	// A figure beyond the floor's 95 % is marked: real data differ less from real data.
	marked := func(x, top float64) string {
		if x > top {
			return number(x) + " ▲"
		}
		return number(x)
	}
	row := func(name string, m, top selection.Means) []string {
		return []string{name, marked(m.MMinmax, top.MMinmax), marked(m.W1, top.W1), marked(m.KS, top.KS), marked(m.Corr, top.Corr), marked(m.ACF, top.ACF)}
	}
	top := results[0].Floor[2]
	all := report.Table{
		Caption: "M is Equation 1 on the min-max scale over all rows; the others are means over the columns that vary. ▲: above the noise floor's 95 %, which real data against real data seldom pass.",
		Head:    []string{"set", "M", "W1", "KS", "correlation error", "ACF error, 1–20 s"},
	}
	each := report.Section{Title: "Metrics by column", Text: "Spread within windows and mean change from second to second: synthetic over real."}
	for _, c := range results[1:] {
		all.Rows = append(all.Rows, row(c.Name, c.Score.Mean, top))
		t := report.Table{Caption: c.Name, Head: []string{"column", "W1", "KS", "ACF error", "spread ratio", "step ratio"}}
		for _, f := range c.Score.Features {
			t.Rows = append(t.Rows, []string{f.Name, number(f.W1), number(f.KS), number(f.ACF), number(f.SD), number(f.Step)})
		}
		each.Tables = append(each.Tables, t)
	}
	for i, name := range []string{"floor, 5 %", "floor, median", "floor, 95 %"} {
		all.Rows = append(all.Rows, row(name, results[0].Floor[i], top))
	}
	return []report.Section{{Title: "Metrics", Tables: []report.Table{all}}, each}
}

// dataset gives a table the units that figures show.
func dataset(name string, t selection.Table) report.Set {
	units := map[string]string{"Buffer": "s", "ReportedBitrate": "kbit/s", "FPS": "1/s", "CalcBitrate": "kbit"}
	s := report.Set{Name: name, Values: t.Values}
	for _, c := range t.Columns {
		unit, ok := units[c]
		switch {
		case ok:
		case strings.HasPrefix(c, "deq_timedelta"):
			unit = "us"
		default:
			f, _ := telemetry.Canonical(c) // of another CSV: no unit is known
			unit = f.Unit
		}
		s.Fields = append(s.Fields, telemetry.Field{Name: c, Unit: unit})
	}
	return s
}
