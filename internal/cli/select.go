package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan/sweep"
)

func newSelect() *cobra.Command {
	var s selector
	cmd := &cobra.Command{
		Use:   "select (--real FILE_LIMIT.csv... --set NAME=FILE,... | --data FOLDER --sweep FOLDER)",
		Short: "Rank models by the metric M and by what M does not see",
		Long: `select scores sets of synthetic rows against the real ones, limit by limit, and
picks the best and the worst by one metric: M as published (Algorithm 1), or
another by --by. M compares quartiles column by column: shuffled rows win it. So
distances of distributions, correlations, autocorrelation, steps, copies and
the noise floor (real windows against the real rows) stand beside it.

Of files, --real and each --set name one file per limit, in the same order; the
limit is the number that ends a file's name. What is in both is scored: any number
of switches, a player or none, or the columns of numbers of any other CSV; what is
left out is named. Of a sweep, or of models, rollouts
are scored on the grid with the recordings' own gaps, and figures are medians;
where the limit changes within recordings (see fit), rollouts are under the same
limits, session by session, and models are ranked by what a limit does in them:

  exogeneity error  how much more often queues are full under one limit than
                    another, less the same in the recordings: the largest over
                    pairs. The load must not answer to a limit
  effect error      the drift of the buffer by load and limit, root mean square
                    difference from the recordings, s/s
  transient error   the same of the 60 s after a change of limit, in tens

--export writes the rows of the best and worst set per limit as the tutorial
does, with q_size, but in time order.`,
		Example: `  planegym select --real real_32.csv --real real_64.csv --set models9=a_32.csv,a_64.csv --set models3=b_32.csv,b_64.csv
  planegym select --data recordings --sweep study --export chosen
  planegym select --data bundled --model a.safetensors --model b.safetensors --rollouts 1
  planegym select --data recordings --model a.safetensors --model b.safetensors --test --by W1 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	addData(cmd, &s.data)
	s.computing.flags(cmd)
	s.deviceFlag(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&s.real, "real", nil, "CSV of real rows under one limit; repeat for each limit")
	f.StringArrayVar(&s.sets, "set", nil, "a set, as NAME=FILE,FILE in the order of --real; repeat for more")
	f.StringVar(&s.sweep, "sweep", "", "folder of a sweep, whose finished models are rolled out")
	f.StringArrayVar(&s.models, "model", nil, "a checkpoint to roll out, or one per limit, separated by commas; repeat for more")
	f.StringVar(&s.by, "by", "", "what is ranked by: effects (exogeneity and effect errors), exogeneity, effect, transient, M, M_raw, W1, KS, corr or ACF (default effects where limits take turns, else M)")
	f.BoolVar(&s.options.Like, "like", false, "with --real: grids of seconds, whose gaps are applied to every set")
	f.BoolVar(&s.options.Test, "test", false, "score held-out blocks only; of files with --like")
	f.IntVar(&s.rollouts, "rollouts", 5, "rollouts that a model's figures are the median of")
	f.Uint64Var(&s.options.Seed, "seed", 0, "of rollouts and of the noise floor")
	f.StringVar(&s.export, "export", "", "folder to write the best and worst rows of each limit to")
	return cmd
}

type selector struct {
	computing
	data, sweep, by, export string
	what                    string // a table is of: a limit or, where limits change, a session
	real, sets, models      []string
	rollouts                int
	options                 selection.Options
}

// scored is a set of rows under each limit, and how far it is from the real.
type scored struct {
	Name   string            `json:"name"`
	Score  []selection.Score `json:"scores"`               // by limit
	Copies []float64         `json:"copy_share,omitempty"` // by limit, of a grid
	// What a limit does, of sessions in which limits take turns.
	Effects *eval.EffectErrors `json:"effects,omitempty"`
	tables  []selection.Table
}

// figures are what sets can be ranked by.
var figures = map[string]func(selection.Score) float64{
	"M":     func(s selection.Score) float64 { return s.Mean.MMinmax },
	"M_raw": func(s selection.Score) float64 { return s.MRaw2600 },
	"W1":    func(s selection.Score) float64 { return s.Mean.W1 },
	"KS":    func(s selection.Score) float64 { return s.Mean.KS },
	"corr":  func(s selection.Score) float64 { return s.Mean.Corr },
	"ACF":   func(s selection.Score) float64 { return s.Mean.ACF },
}

// effects are what sets of rollouts under limits that take turns can be ranked by.
var effects = map[string]func(eval.EffectErrors) float64{
	// Both over what is wanted of them: a load that answers to the limit, and a
	// buffer that does not, are equally useless.
	"effects":    func(e eval.EffectErrors) float64 { return float64(e.Exogeneity)/.05 + float64(e.Effect)/.1 },
	"exogeneity": func(e eval.EffectErrors) float64 { return float64(e.Exogeneity) },
	"effect":     func(e eval.EffectErrors) float64 { return float64(e.Effect) },
	"transient":  func(e eval.EffectErrors) float64 { return float64(e.Transient) },
}

func (s *selector) run(cmd *cobra.Command) error {
	_, ok := figures[s.by]
	if _, also := effects[s.by]; !ok && !also && s.by != "" {
		return usagef("select: --by: %q is none of effects, exogeneity, effect, transient, M, M_raw, W1, KS, corr, ACF", s.by)
	}
	files, rolled := len(s.real) > 0 || len(s.sets) > 0, s.sweep != "" || len(s.models) > 0
	switch {
	case files == rolled:
		return usagef("select: give either --real and --set, or --data and --sweep or --model")
	case s.rollouts < 1:
		return usagef("select: --rollouts: %d is below 1", s.rollouts)
	}
	var limits []int
	var sets []scored
	var err error
	s.what = "limit"
	if files {
		limits, sets, err = s.files(cmd)
	} else {
		limits, sets, err = s.rollOut(cmd)
	}
	if err != nil {
		return err
	}
	m, err := s.ranking(sets)
	if err != nil {
		return err
	}
	r := selection.Rank(m)
	var written []string
	if s.export != "" {
		if err := os.MkdirAll(s.export, 0o755); err != nil {
			return fmt.Errorf("select: --export: %w", err)
		}
		for k, l := range limits {
			for name, i := range map[string]int{"best": r.Best[k], "worst": r.Worst[k]} {
				path := filepath.Join(s.export, fmt.Sprintf("%s_%d.csv", name, l))
				if err := atomicfile.Write(path, func(w io.Writer) error { return sets[i].tables[k].Write(w, k) }); err != nil {
					return err
				}
				written = append(written, path)
			}
		}
		slices.Sort(written)
	}
	if asJSON(cmd) {
		name := func(at []int) (names []string) {
			for _, i := range at {
				names = append(names, sets[i].Name)
			}
			return names
		}
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			s.what + "s": limits, "by": s.by, "sets": sets, "best": name(r.Best), "worst": name(r.Worst),
			"best_sum": sets[r.BestSum].Name, "worst_sum": sets[r.WorstSum].Name, "written": written,
		})
	}
	var b bytes.Buffer
	s.writeScores(&b, limits, sets)
	writeEffects(&b, sets)
	for k, l := range limits {
		fmt.Fprintf(&b, "%s %d: best by %s %s, worst %s\n", s.what, l, s.by, sets[r.Best[k]].Name, sets[r.Worst[k]].Name)
	}
	fmt.Fprintf(&b, "sum over %ss: best %s, worst %s\n", s.what, sets[r.BestSum].Name, sets[r.WorstSum].Name)
	for _, f := range written {
		fmt.Fprintln(&b, f)
	}
	_, err = b.WriteTo(cmd.OutOrStdout())
	return err
}

// ranking is what sets are ranked by, for each table. Unless --by says
// otherwise it is what a limit does, where the recordings tell, else M.
func (s *selector) ranking(sets []scored) ([][]float64, error) {
	known := !slices.ContainsFunc(sets, func(set scored) bool { return set.Effects == nil })
	if s.by == "" {
		s.by = "M"
		if known && len(sets) > 0 {
			s.by = "effects"
		}
	}
	of, isEffect := effects[s.by]
	if isEffect && !known {
		return nil, usagef("select: --by: %s: what a limit does is not identifiable from these recordings", s.by)
	}
	m := make([][]float64, len(sets))
	for i, set := range sets {
		for _, score := range set.Score {
			x := 0.
			if isEffect {
				x = of(*set.Effects) // the same for every session: it takes all to tell
			} else {
				x = figures[s.by](score)
			}
			m[i] = append(m[i], x)
		}
	}
	return m, nil
}

// writeEffects prints what rollouts say a limit does, beside the recordings.
func writeEffects(b *bytes.Buffer, sets []scored) {
	for _, s := range sets {
		if e := s.Effects; e != nil {
			fmt.Fprintf(b, "%s: exogeneity error %.3f, effect error %.3f s/s, transient error %.3f s/s\n", s.Name, e.Exogeneity, e.Effect, e.Transient)
		} else if len(s.Copies) > 0 {
			fmt.Fprintf(b, "%s: what a limit does is not identifiable: no limit takes turns with another within a recording\n", s.Name)
		}
	}
}

// writeScores prints a table per limit, or per session.
func (s *selector) writeScores(b *bytes.Buffer, limits []int, sets []scored) {
	for k, l := range limits {
		fmt.Fprintf(b, "%s %d, %d real rows\n", s.what, l, sets[0].Score[k].RealRows)
		t := tabwriter.NewWriter(b, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "set\tM minmax\tM minmax 2600\tM raw 2600\tW1\tKS\tcorr\tACF\tLBO step\tLBO spread\tcopies\t")
		row := func(name string, m selection.Means, rest ...string) {
			for len(rest) < 5 {
				rest = append(rest, "")
			}
			fmt.Fprintf(t, "%s\t%.3f\t%s\t%s\t%.4f\t%.3f\t%.3f\t%.3f\t%s\t%s\t%s\t\n", name, m.MMinmax, rest[0], rest[1], m.W1, m.KS, m.Corr, m.ACF, rest[2], rest[3], rest[4])
		}
		for _, s := range sets {
			score := s.Score[k]
			step, spread, copies := "", "", ""
			for _, f := range score.Features {
				if f.Name == "Buffer" {
					step, spread = fmt.Sprintf("%.3f", f.Step), fmt.Sprintf("%.3f", f.SD)
				}
			}
			if len(s.Copies) > 0 {
				copies = fmt.Sprintf("%.2f", s.Copies[k])
			}
			row(s.Name, score.Mean, fmt.Sprintf("%.3f", score.MMinmax2600), fmt.Sprintf("%.0f", score.MRaw2600), step, spread, copies)
		}
		for i, name := range []string{"floor, 5 %", "floor, median", "floor, 95 %"} {
			row(name, sets[0].Score[k].Floor[i])
		}
		t.Flush()
		writeColumns(b, sets, k)
	}
}

// writeColumns prints which columns the sets were scored on under limit k, if
// they are not the published 13, and which were left out.
func writeColumns(b *bytes.Buffer, sets []scored, k int) {
	said := ""
	for _, s := range sets {
		score := s.Score[k]
		text := ""
		if !slices.Equal(score.Columns, selection.Columns) {
			text = fmt.Sprintf("scored: %s\n", strings.Join(score.Columns, " "))
		}
		if len(score.Left) > 0 {
			text += fmt.Sprintf("left out: %s\n", strings.Join(score.Left, " "))
		}
		if text != said {
			if len(sets) > 1 {
				fmt.Fprintf(b, "%s: ", s.Name)
			}
			b.WriteString(text)
			said = text
		}
	}
}

// files scores sets of CSV files.
func (s *selector) files(cmd *cobra.Command) ([]int, []scored, error) {
	if len(s.real) == 0 || len(s.sets) == 0 {
		return nil, nil, usagef("select: --real and --set: both are needed")
	}
	var limits []int
	var real []selection.Table
	for _, path := range s.real {
		l, ok := telemetry.LimitInName(path)
		if !ok && len(s.real) > 1 {
			return nil, nil, usagef("select: --real: no queue limit ends the name of %s: of several files the names tell them apart, as grid_32.csv", path)
		}
		if !ok {
			s.what, l = "file", 1
		}
		t, err := selection.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		limits, real = append(limits, l), append(real, t)
	}
	bar := newProgress(cmd, int64(len(s.sets)*len(limits)), "table", "compare")
	var sets []scored
	for _, arg := range s.sets {
		name, list, ok := strings.Cut(arg, "=")
		paths := strings.Split(list, ",")
		if !ok || name == "" || len(paths) != len(limits) {
			return nil, nil, usagef("select: --set: %q is not NAME=FILE,… with a file for each of %d limits", arg, len(limits))
		}
		set := scored{Name: name}
		for k, path := range paths {
			t, err := selection.ReadFile(path)
			if err != nil {
				return nil, nil, err
			}
			o := s.options
			if len(sets) > 0 {
				o.Draws = -1 // the floor is the real rows' own
			}
			score, err := selection.Compare(real[k], t, o)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", path, err)
			}
			set.Score, set.tables = append(set.Score, score), append(set.tables, t)
			if o.Like {
				copies, err := selection.CopyShare(real[k], t, 5, o.Seed)
				if err != nil {
					return nil, nil, fmt.Errorf("%s: %w", path, err)
				}
				set.Copies = append(set.Copies, copies)
			}
			if err := bar.Add(1); err != nil {
				return nil, nil, err
			}
		}
		sets = append(sets, set)
	}
	return limits, sets, bar.Finish()
}

// rollOut scores models: those of a sweep that are done, and those named.
func (s *selector) rollOut(cmd *cobra.Command) ([]int, []scored, error) {
	data, err := recordings("select", s.data)
	if err != nil {
		return nil, nil, err
	}
	var real []selection.Table
	for _, r := range data {
		t, err := selection.FromDataset(r.Data)
		if err != nil {
			return nil, nil, err
		}
		real = append(real, t)
	}
	type candidate struct {
		name  string
		files []string
	}
	var all []candidate
	if s.sweep != "" {
		result, err := sweep.ReadResult(s.sweep)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range result {
			if m.State == sweep.Done || m.State == sweep.Stopped {
				all = append(all, candidate{m.Name, inFolder(s.sweep, m.Files)})
			}
		}
		if len(all) == 0 {
			return nil, nil, fmt.Errorf("select: %s: none of %d models is done", s.sweep, len(result))
		}
	}
	for _, m := range s.models {
		all = append(all, candidate{m, strings.Split(m, ",")})
	}
	bar := newProgress(cmd, int64(len(all)*len(data)), "table", "roll out")
	var sets []scored
	for _, c := range all {
		set, err := s.rollOutOne(cmd, c.name, c.files, data, real, len(sets) == 0)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.name, err)
		}
		sets = append(sets, set)
		if err := bar.Add(len(data)); err != nil {
			return nil, nil, err
		}
	}
	var at []int
	for i, r := range data {
		if at = append(at, r.Limit); r.Limits != nil || r.PerSwitch != nil {
			s.what, at[i] = "session", i
		}
	}
	return at, sets, bar.Finish()
}

func (s *selector) rollOutOne(cmd *cobra.Command, name string, files []string, data []telemetry.Recording, real []selection.Table, floor bool) (scored, error) {
	set := scored{Name: name}
	sim, _, done, err := s.openModels(s.rollouts, files)
	if err != nil {
		return set, err
	}
	defer done()
	var simulated []telemetry.Recording
	for k, r := range data {
		o := s.options
		if !floor {
			o.Draws = -1
		}
		scores, tables, rolled, err := scoreRollouts(cmd.Context(), sim, seedsFrom(s.options.Seed, s.rollouts), r, real[k], o)
		if err != nil {
			return set, err
		}
		// Keep the median rollout.
		order := make([]int, len(scores))
		for i := range order {
			order[i] = i
		}
		simulated = append(simulated, rolled...)
		by := figures[cmp.Or(s.by, "M")]
		if by == nil {
			by = figures["M"]
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by(scores[a]), by(scores[b])) })
		table := tables[order[(len(order)-1)/2]]
		copies, err := selection.CopyShare(real[k], table, 5, s.options.Seed)
		if err != nil {
			return set, err
		}
		set.Score, set.tables, set.Copies = append(set.Score, selection.Median(scores)), append(set.tables, table), append(set.Copies, copies)
	}
	if e, err := effectErrors(data, simulated); err == nil {
		set.Effects = &e
	}
	return set, nil
}
