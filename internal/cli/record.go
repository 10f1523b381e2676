package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

func newTestbedRecord() *cobra.Command {
	r := sessionRecorder{}
	cmd := &cobra.Command{
		Use:   "record -o DIR",
		Short: "Record emulated sessions as the published recordings are",
		Long: `record lets sessions run on the testbed and writes what was measured:

  DIR/recording.parquet  all sessions: session, seed, t, the limits in force, the
                         columns second by second, empty where nothing was measured
  DIR/CARD.md            what was recorded, how, and what is in it
  DIR/NNN/int.csv        session NNN: the probes' log, as published
  DIR/NNN/dash.csv       the player's log, as published
  DIR/NNN/rows.csv       the join of the two, as published: no timestamps
  DIR/NNN/grid.csv       the join second by second; grid_LIMIT.csv where one
                         limit was in force, so that NNN can be replayed. A second
                         keeps its worst probe, or the mean where the scenario's
                         probe.aggregate says so
  DIR/NNN/probes.pcap    with --pcap: the probe packets

The schedule says which limits were in force:

  fixed            session after session the next limit of the scenario
  random           a limit drawn at every step
  switchback       a limit drawn for every block of --block-s seconds: what an
                   action does can be read off such data, off fixed ones not;
                   the first step is under the scenario's initial limit
  mixed            the same, of blocks of 4 to 240 s: every eight minutes another
                   length is drawn, as often 4 to 8 s as 120 to 240. What happens
                   in the seconds after a change, what quick changes come to, and
                   what a limit comes to in the long run can all be learnt
  policy           what --policy says: a baseline, see play

DIR must not exist; it appears when it is complete.`,
		Example: `  planegym testbed record -o recordings
  planegym testbed record --scenario contended --schedule switchback --block-s 300 --sessions 8 -o blocks
  planegym testbed record --scenario contended --schedule mixed --sessions 10 -o mixed
  planegym testbed record --schedule policy --policy threshold --seconds 600 --pcap -o watched --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&r.scenario, "scenario", "testbed", "the scenario: bundled, or a .toml file")
	f.StringVar(&r.schedule, "schedule", "fixed", "fixed, random, switchback, mixed or policy")
	f.StringVar(&r.policy, "policy", "", "of schedule policy")
	f.IntVar(&r.block, "block-s", 300, "of schedule switchback: seconds of a block")
	f.IntVar(&r.sessions, "sessions", 2, "sessions to record")
	f.IntVar(&r.seconds, "seconds", 3600, "seconds of a session, a multiple of the scenario's step")
	f.Uint64Var(&r.seed, "seed", 1, "of the first session; each next one takes the next")
	f.StringVar(&r.start, "start", "2024-01-01T00:00:00Z", "when the first session begins, RFC 3339; sessions follow one another")
	f.BoolVar(&r.pcap, "pcap", false, "write the probe packets as well")
	f.StringVarP(&r.out, "output", "o", "", "folder to make")
	return cmd
}

type sessionRecorder struct {
	scenario, schedule, policy, start, out string
	block, sessions, seconds               int
	seed                                   uint64
	pcap                                   bool

	s     scenarios.Scenario
	began time.Time
	steps int // of a block
	open  planegym.Gym
	card  card
}

// card is what CARD.md tells.
type card struct {
	files  []string // path, bytes and hash of each
	stats  []columnStats
	reward []float64 // per step, by session
	limits []string  // by session
	probes int
}

type columnStats struct {
	field          telemetry.Field
	n, missing     int
	sum, low, high float64
}

func (r *sessionRecorder) check(cmd *cobra.Command) (err error) {
	if r.out == "" {
		return usagef("record: --output: where to?")
	}
	if _, err := os.Lstat(r.out); err == nil {
		return usagef("record: --output: %s exists: name a folder to make", r.out)
	}
	if r.s, err = loadTestbed(cmd, r.scenario); err != nil {
		return err
	}
	if r.s.Env.StepSeconds == 0 {
		r.s.Env.StepSeconds = 4
	}
	if r.s.Env.Limits == nil {
		r.s.Env.Limits = queues.DefaultLimits()
	}
	step := r.s.Env.StepSeconds
	if r.began, err = time.Parse(time.RFC3339, r.start); err != nil {
		return usagef("record: --start: %q is no time like 2024-01-01T00:00:00Z", r.start)
	}
	switch {
	case r.sessions < 1 || r.sessions > 1000:
		return usagef("record: --sessions: %d is outside 1…1000", r.sessions)
	case r.seconds < 2*step || r.seconds%step != 0:
		return usagef("record: --seconds: %d is no multiple of the scenario's steps of %d s, two at least", r.seconds, step)
	case r.s.Testbed.HorizonS > 0 && r.seconds > r.s.Testbed.HorizonS:
		return usagef("record: --seconds: %d s are past the scenario's testbed.horizon_s of %d s", r.seconds, r.s.Testbed.HorizonS)
	case (r.schedule == "policy") != (r.policy != ""):
		return usagef("record: --policy: is what --schedule policy follows, %q goes by itself", r.schedule)
	}
	switch r.schedule {
	case "fixed", "random", "policy":
	case "mixed":
		if r.seconds < longestBlock {
			return usagef("record: --seconds: %d s hold no block of %d s: schedule mixed draws those too", r.seconds, longestBlock)
		}
	case "switchback":
		if r.block < step || r.block%step != 0 {
			return usagef("record: --block-s: %d is no multiple of the scenario's steps of %d s", r.block, step)
		}
		if r.block > r.seconds {
			return usagef("record: --block-s: %d s are past the horizon of %d s", r.block, r.seconds)
		}
		r.steps = r.block / step
	default:
		return usagef("record: --schedule: %q is none of fixed, random, switchback, mixed, policy", r.schedule)
	}
	r.s.Env.MaxSteps = r.seconds/step - 1 // the reset's window is the first
	r.s.Env.EndOnStall = 0
	return nil
}

func (r *sessionRecorder) run(cmd *cobra.Command) (err error) {
	if err := r.check(cmd); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(filepath.Clean(r.out)), "."+filepath.Base(r.out)+".*")
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if err := r.record(cmd, dir); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.Rename(dir, r.out); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	mean := eval.EstimateOf(r.card.reward).Mean
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"output": r.out, "scenario": r.s.Name, "schedule": r.schedule, "sessions": r.sessions, "seconds": r.seconds,
			"seed": r.seed, "probes": r.card.probes, "reward_per_step": mean,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d sessions of %d s on %s, schedule %s, %d probes, %.2f reward a step\n",
		r.out, r.sessions, r.seconds, r.s.Name, r.schedule, r.card.probes, mean)
	return nil
}

// record runs the sessions, a few at a time, and writes them in their order.
func (r *sessionRecorder) record(cmd *cobra.Command, dir string) error {
	var out *table.Writer
	var rows bytes.Buffer
	bar := newProgress(cmd, int64(r.sessions), "session", "record")
	for at := 0; at < r.sessions; {
		n := min(r.sessions-at, runtime.GOMAXPROCS(0))
		done := make([]session, n)
		var wait sync.WaitGroup
		for i := range done {
			wait.Go(func() { done[i] = r.session(cmd.Context(), at+i) })
		}
		wait.Wait()
		for i, d := range done {
			if d.err != nil {
				return d.err
			}
			if out == nil {
				out = table.NewWriter(&rows, d.plant)
				for _, f := range d.plant.Columns() {
					r.card.stats = append(r.card.stats, columnStats{field: f})
				}
			}
			r.card.reward = append(r.card.reward, d.reward)
			if err := r.write(dir, at+i, d.log); err != nil {
				return err
			}
			if err := out.Add(d.log); err != nil {
				return err
			}
			_ = bar.Add(1)
		}
		at += n
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := r.file(dir, "recording.parquet", func(w io.Writer) error { _, err := w.Write(rows.Bytes()); return err }); err != nil {
		return err
	}
	return r.file(dir, "CARD.md", r.writeCard)
}

// session is one that has run.
type session struct {
	plant  *testbed.Testbed
	log    *testbed.Log
	reward float64 // a step
	err    error
}

// session runs session k. It may be called by several goroutines at once.
func (r *sessionRecorder) session(ctx context.Context, k int) (d session) {
	if d.plant, d.err = testbed.New(r.s.Testbed); d.err != nil {
		return d
	}
	d.log = d.plant.Keep(0)
	s := r.s
	if r.schedule == "fixed" {
		s.Env.Initial = s.Env.Limits[k%len(s.Env.Limits)]
	}
	var v env.Vector
	if r.schedule == "policy" {
		v, d.err = r.open.OpenOn(ctx, s, d.plant, 1, env.NextStep)
	} else {
		s.Env.Observation.Normalise = "none" // no policy reads it
		v, d.err = queues.New(s.Env, d.plant, 1, nil)
	}
	if d.err != nil {
		return d
	}
	defer v.Close()
	var p agent.Policy
	switch r.schedule {
	case "policy":
		if p, d.err = baseline.New(r.policy, v.Spec()); d.err != nil {
			d.err = usageError{fmt.Errorf("--policy: %w", d.err)}
			return d
		}
	case "fixed":
		p = constantPolicy{int32(k % len(s.Env.Limits))}
	case "random":
		p = &switchback{steps: 1, spec: v.Spec()}
	case "mixed":
		p = &switchback{longest: longestBlock / r.s.Env.StepSeconds, spec: v.Spec()}
	default:
		p = &switchback{steps: r.steps, spec: v.Spec()}
	}
	e, err := eval.Evaluate(ctx, v, p, []uint64{r.seed + uint64(k)}, nil)
	if err != nil {
		d.err = err
		return d
	}
	d.reward = e.Returns[0] / e.Length.Mean
	return d
}

// longestBlock is the longest of schedule mixed, in seconds; the shortest is a
// step.
const longestBlock = 240

// switchback draws an action for every block of steps; or, with longest, time is
// cut into stretches of two longest blocks, and in each blocks have a length of
// its own, drawn from 1 to longest, logarithms uniform.
type switchback struct {
	steps   int
	longest int // > 0: blocks differ
	spec    env.Spec
	rows    map[int]*switched
}

type switched struct {
	seed  uint64
	block int
	left  int // steps of the block

	stretch int // steps left of the stretch
	steps   int // of its blocks
}

func (b *switchback) Begin(rows []int, seeds []uint64) {
	if b.rows == nil {
		b.rows = map[int]*switched{}
	}
	for i, seed := range seeds {
		b.rows[env.RowAt(rows, i)] = &switched{seed: seed}
	}
}

func (b *switchback) Act(rows []int, _ []float32, actions []int32) {
	s := len(b.spec.Action)
	for i := range len(actions) / s {
		row := b.rows[env.RowAt(rows, i)]
		if row.left == 0 {
			row.block++
			row.left = b.length(row)
		}
		row.left--
		k := rng.Key{Seed: row.seed, A: uint32(row.block - 1), Purpose: rng.Action}
		for j, n := range b.spec.Action {
			actions[i*s+j] = int32(k.Intn(uint32(j), n))
		}
	}
}

// length is how many steps row's block has: those of its stretch, or what is
// left of it.
func (b *switchback) length(row *switched) int {
	if b.longest == 0 {
		return b.steps
	}
	if row.stretch == 0 {
		row.stretch = 2 * b.longest
		u := rng.Key{Seed: row.seed, A: uint32(row.block - 1), B: 1, Purpose: rng.Action}.Float64(0)
		row.steps = int(math.Round(math.Exp(u * math.Log(float64(b.longest)))))
	}
	n := min(row.steps, row.stretch)
	row.stretch -= n
	return n
}

// write writes session k's files.
func (r *sessionRecorder) write(dir string, k int, l *testbed.Log) error {
	name := fmt.Sprintf("%03d", k)
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		return err
	}
	start := r.began.Add(time.Duration(k*r.seconds) * time.Second)
	var probes, player bytes.Buffer
	if err := l.WriteINT(&probes, start); err != nil {
		return err
	}
	if err := l.WriteDASH(&player, start); err != nil {
		return err
	}
	ints, err := telemetry.NewReader(bytes.NewReader(probes.Bytes()), "int.csv", telemetry.INT)
	if err != nil {
		return err
	}
	dash, err := telemetry.NewReader(bytes.NewReader(player.Bytes()), "dash.csv", telemetry.DASH)
	if err != nil {
		return err
	}
	how := telemetry.MaxTimedelta1
	if r.s.Testbed.Probe.Aggregate == string(telemetry.Mean) {
		how = telemetry.Mean
	}
	joined, err := telemetry.Join(ints, dash, how)
	if err != nil {
		return err
	}
	grid := "grid.csv"
	if n := l.Limit(); n > 0 {
		grid = fmt.Sprintf("grid_%d.csv", n)
		values, valid := make([]float32, joined.Len()*len(joined.Fields())), make([]bool, joined.Len()*len(joined.Fields()))
		joined.Copy(0, values, valid)
		if joined, err = telemetry.NewDataset(joined.Fields(), int(n), joined.Start(), values, valid); err != nil {
			return err
		}
	}
	type file struct {
		name  string
		write func(io.Writer) error
	}
	files := []file{
		{"int.csv", func(w io.Writer) error { _, err := w.Write(probes.Bytes()); return err }},
		{"dash.csv", func(w io.Writer) error { _, err := w.Write(player.Bytes()); return err }},
		{"rows.csv", l.WriteRows},
		{grid, joined.EncodeCSV},
	}
	if r.pcap {
		files = append(files, file{"probes.pcap", func(w io.Writer) error { return l.WritePcap(w, start) }})
	}
	for _, f := range files {
		if err := r.file(dir, filepath.Join(name, f.name), f.write); err != nil {
			return err
		}
	}
	r.count(l)
	return nil
}

// file writes a file and remembers it for the card.
func (r *sessionRecorder) file(dir, name string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	h := sha256.New()
	if err := write(io.MultiWriter(f, h)); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	r.card.files = append(r.card.files, fmt.Sprintf("| %s | %d | %s |", filepath.ToSlash(name), st.Size(), hex.EncodeToString(h.Sum(nil))))
	return f.Sync()
}

// count takes a session into the card.
func (r *sessionRecorder) count(l *testbed.Log) {
	r.card.probes += len(l.Probes)
	f := len(r.card.stats)
	for i, x := range l.Values {
		c := &r.card.stats[i%f]
		v := float64(x)
		switch {
		case !l.Valid[i]:
			c.missing++
			continue
		case c.n == 0:
			c.low, c.high = v, v
		}
		c.n++
		c.sum, c.low, c.high = c.sum+v, min(c.low, v), max(c.high, v)
	}
	limit := "changes"
	if n := l.Limit(); n > 0 {
		limit = fmt.Sprint(n)
	}
	r.card.limits = append(r.card.limits, limit)
}

func (r *sessionRecorder) writeCard(w io.Writer) error {
	c := &r.card
	var b strings.Builder
	how := map[string]string{
		"fixed":      "one limit a session, in turn",
		"random":     "a limit drawn at every step",
		"switchback": fmt.Sprintf("a limit drawn for every block of %d s", r.block),
		"mixed":      fmt.Sprintf("a limit drawn for every block, of %d to %d s, another length every %d s", r.s.Env.StepSeconds, longestBlock, 2*longestBlock),
		"policy":     "what " + r.policy + " chose",
	}[r.schedule]
	fmt.Fprintf(&b, `# Recordings of an emulated testbed

Emulated, not measured: packets, queues, TCP and the player are those of
planegym's testbed (env/plant/testbed/DESIGN.md says what is modelled and how it
was checked). Made by

    planegym testbed record --scenario %s --schedule %s --sessions %d --seconds %d --seed %d --start %s%s%s -o DIR

The same command with the same version makes the same bytes.

| | |
|---|---|
| scenario | %s: %s |
| limits | %v packets, every %d s |
| schedule | %s: %s |
| sessions | %d of %d s, the first at %s, one after another |
| probes | %d |

| session | seed | limit | reward a step |
|---|---|---|---|
`, r.scenario, r.schedule, r.sessions, r.seconds, r.seed, r.start,
		map[bool]string{true: fmt.Sprintf(" --block-s %d", r.block)}[r.schedule == "switchback"],
		map[bool]string{true: " --policy " + r.policy}[r.schedule == "policy"],
		r.s.Name, r.s.Description, r.s.Env.Limits, r.s.Env.StepSeconds, r.schedule, how, r.sessions, r.seconds, r.began.Format(time.RFC3339), c.probes)
	for i, x := range c.reward {
		fmt.Fprintf(&b, "| %03d | %d | %s | %.3f |\n", i, r.seed+uint64(i), c.limits[i], x)
	}
	probes := "those of the second's probe that\nwaited longest at switch 1, as in the published data"
	if r.s.Testbed.Probe.Aggregate == string(telemetry.Mean) {
		probes = "the means over\nthe second's probes (probe.aggregate)"
	}
	b.WriteString("\nA row is a second. The probes' columns are " + probes + "; the player's are taken at\nthe second's end.\n\n| column | unit | missing | mean | lowest | highest |\n|---|---|---|---|---|---|\n")
	for _, s := range c.stats {
		fmt.Fprintf(&b, "| %s | %s | %.1f %% | %.4g | %.4g | %.4g |\n", s.field.Name, s.field.Unit, 100*float64(s.missing)/float64(s.n+s.missing), s.sum/float64(max(s.n, 1)), s.low, s.high)
	}
	b.WriteString("\n| file | bytes | SHA-256 |\n|---|---|---|\n" + strings.Join(slices.Clone(c.files), "\n") + "\n")
	source, err := scenarios.Source(r.scenario)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nThe scenario:\n\n```toml\n%s\n```\n", strings.TrimSpace(string(source)))
	_, err = io.WriteString(w, b.String())
	return err
}
