package cli

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/planegym/planegym/internal/settings"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/sweep"
)

func newSweep() *cobra.Command {
	var s sweeper
	cmd := &cobra.Command{
		Use:   "sweep -o FOLDER",
		Short: "Train a grid of TimeGANs",
		Long: `sweep trains every combination of window, hidden size, batch, mode and seed, a
model per core, and scores each by the metric M on the train blocks as it goes:
with --patience a model whose M no longer falls is stopped. FOLDER holds the
checkpoints and result.json, which select reads.

A sweep that was killed goes on when it is called again. With --shard several
processes or machines share one sweep and one folder, or folders that are copied
together: each writes a result of its own, result.I-of-N.json, and select reads
them all. --preset 3, 9 and 27
are the studies of the published tutorial: windows of 50, 100 and 150 s, hidden
sizes of 20, 40 and 60, batches of 100, 128 and 156, one model per limit.`,
		Example: `  planegym sweep --data recordings --preset 9 -o study
  planegym sweep --data recordings --config grid.toml --workers 4 --patience 5 -o grid
  planegym sweep --data recordings --set hidden=[16,24] --set seeds=[1,2,3] -o seeds
  planegym sweep --data recordings --preset 27 --shard 2/4 -o study   on the second of four machines
  planegym select --data recordings --sweep study`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	addData(cmd, &s.data)
	f := cmd.Flags()
	f.StringVar(&s.Kernels, "kernels", "auto", "kernel set: auto, go, avx2, avx512 or reference; equal bytes are promised per set")
	s.engineFlag(cmd, ", cuda (on a GPU)")
	s.deviceFlag(cmd)
	f.StringVarP(&s.out, "output", "o", "", "the folder of the sweep, made where it is missing")
	f.StringVar(&s.preset, "preset", "", "a study of the tutorial: 3, 9 or 27")
	f.StringVar(&s.config, "config", "", "TOML file of the grid: windows, hidden, batches, modes, seeds, [base]")
	f.StringArrayVar(&s.sets, "set", nil, "one key of the grid, as KEY=VALUE; repeat for more")
	f.IntVar(&s.workers, "workers", runtime.GOMAXPROCS(0), "models that train at once, a core each; on a GPU 32 unless said")
	f.StringVar(&s.shard, "shard", "", "I/N: train every N-th model, from the I-th; 1/N to N/N together are the sweep, in one folder")
	f.BoolVar(&s.list, "list", false, "print the models of the grid and train none")
	addProgress(cmd)
	f.IntVar(&s.patience, "patience", 0, "scores in a row without a better M after which a model is stopped; 0: never")
	return cmd
}

type sweeper struct {
	computing
	data, out, preset, config string
	sets                      []string
	workers, patience         int
	shard                     string
	list                      bool
}

func (s *sweeper) run(cmd *cobra.Command) error {
	if err := checkProgress(cmd); err != nil {
		return err
	}
	if s.out == "" && !s.list {
		return usagef("sweep: --output: which folder?")
	}
	s.Threads = 1
	open, err := s.trainer()
	if err != nil {
		return err
	}
	data, err := constant("sweep", s.data)
	if err != nil {
		return err
	}
	c := sweep.Config{Base: timegan.Config{}.WithDefaults()}
	if s.preset != "" {
		if c, err = sweep.Preset(s.preset); err != nil {
			return usagef("sweep: --preset: %w", err)
		}
	}
	if s.config != "" {
		if err := settings.File(s.config, &c); err != nil {
			return err
		}
	}
	if err := set("sweep", s.sets, &c); err != nil {
		return err
	}
	if f := cmd.Flags(); f.Changed("workers") || c.Workers == 0 {
		c.Workers = s.workers
		if s.OnGPU() && !f.Changed("workers") {
			c.Workers = 32
		}
	}
	s.Models = c.Workers
	if s.patience > 0 {
		c.Patience = s.patience
	}
	if s.shard != "" {
		if c.Shard, c.Shards, err = shard(s.shard); err != nil {
			return err
		}
	}
	members, err := c.Members(telemetry.LimitsOf(data))
	if err != nil {
		return usagef("sweep: %w", err)
	}
	if s.list {
		return listMembers(cmd, members)
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	table := newSweepTable(cmd)
	all, err := sweep.Run(cmd.Context(), c, data, s.out, open, table.report)
	table.clear()
	if err != nil {
		if cmd.Context().Err() != nil {
			return fmt.Errorf("sweep: stopped; %s keeps what is done, the same command goes on", s.out)
		}
		return err
	}
	failed := 0
	for _, m := range all {
		if m.State == sweep.Failed {
			failed++
		}
	}
	if asJSON(cmd) {
		err = writeJSON(cmd.OutOrStdout(), map[string]any{"output": s.out, "models": all})
	} else {
		err = writeSweep(cmd.OutOrStdout(), all, nil)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("sweep: %d of %d models failed", failed, len(all))
	}
	return err
}

// shard reads I/N.
func shard(s string) (i, n int, err error) {
	var rest string
	if k, _ := fmt.Sscanf(s+" ", "%d/%d%s", &i, &n, &rest); k != 2 || i < 1 || i > n {
		return 0, 0, usagef("sweep: --shard: %q is not I/N with I from 1 to N", s)
	}
	return i, n, nil
}

// listMembers prints a grid.
func listMembers(cmd *cobra.Command, members []sweep.Member) error {
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"models": members})
	}
	for _, m := range members {
		fmt.Fprintln(cmd.OutOrStdout(), m.Name)
	}
	return nil
}

// sweepTable shows a sweep as it goes, on a terminal only.
type sweepTable struct {
	out    io.Writer // nil: nothing shows
	events *events
	all    []sweep.Status
	since  []time.Time // when a member began to train here
	from   []int       // and what it had done
	drawn  time.Time
	lines  int
}

func newSweepTable(cmd *cobra.Command) *sweepTable {
	l := &sweepTable{events: newEvents(cmd)}
	if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) && !asJSON(cmd) && progressMode(cmd) == "auto" {
		l.out = f
	}
	return l
}

func (l *sweepTable) report(i int, s sweep.Status) {
	fields := s.Progress.Fields()
	fields["model"], fields["state"] = s.Name, s.State
	if s.Error != "" {
		fields["error"] = s.Error
	}
	if len(s.M) > 0 {
		fields["M"], fields["best_M"] = s.M, s.Best
	}
	ended := s.State != sweep.Running && s.State != sweep.Waiting
	l.events.emit(s.Name+string(s.State)+fmt.Sprint(s.M), ended, fields)
	if l.out == nil {
		return
	}
	for len(l.all) <= i {
		l.all, l.since, l.from = append(l.all, sweep.Status{}), append(l.since, time.Time{}), append(l.from, 0)
	}
	if l.all[i] = s; l.since[i].IsZero() && s.Progress.Done > 0 {
		l.since[i], l.from[i] = time.Now(), s.Progress.Done
	}
	if time.Since(l.drawn) < 500*time.Millisecond {
		return
	}
	l.drawn = time.Now()
	var b strings.Builder
	_ = writeSweep(&b, l.all, l.eta)
	l.clear()
	l.lines = strings.Count(b.String(), "\n")
	fmt.Fprint(l.out, b.String())
}

// clear takes the table off the screen.
func (l *sweepTable) clear() {
	if l.lines > 0 {
		fmt.Fprintf(l.out, "\x1b[%dA\x1b[J", l.lines)
		l.lines = 0
	}
}

// eta is when member i ends, at the pace it had here; of one file of several.
func (l *sweepTable) eta(i int) string {
	p := l.all[i].Progress
	done := p.Done - l.from[i]
	if l.all[i].State != sweep.Running || done <= 0 {
		return ""
	}
	return (time.Duration(float64(time.Since(l.since[i])) / float64(done) * float64(p.Total-p.Done))).Round(time.Second).String()
}

// writeSweep prints a row for each member; eta may be nil.
func writeSweep(w io.Writer, all []sweep.Status, eta func(int) string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "model\tstate\tupdates\tlosses\tM by limit\tbest\tETA\t")
	for i, s := range all {
		if s.Name == "" {
			continue
		}
		left, best := "", ""
		if eta != nil {
			left = eta(i)
		}
		if len(s.M) > 0 && s.Best < math.MaxFloat64 {
			best = fmt.Sprintf("%.3f", s.Best)
		}
		var m []string
		for k, v := range s.M {
			m = append(m, fmt.Sprintf("%d: %.3f", s.Limits[k], v))
		}
		state := string(s.State)
		if s.Error != "" {
			state += ": " + s.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\t\n", s.Name, state, s.Progress.Done, s.Progress.Total,
			s.Progress.Losses.Describe(s.Progress.Phase), strings.Join(m, ", "), best, left)
	}
	return t.Flush()
}
