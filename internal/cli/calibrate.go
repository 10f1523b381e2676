package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

func newTestbedCalibrate() *cobra.Command {
	c := calibration{}
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "Search the load and rates under which the testbed measures what was recorded",
		Long: `calibrate emulates an hour under each limit of --data's real_LIMIT.csv, passes it
through the published preprocessing, and compares the rows with the recorded
ones: the Kolmogorov-Smirnov distance of every column that is not constant, and
the share of seconds that the preprocessing leaves out.

It looks for less of the mean distance of all columns plus the difference of that
share, by a (1+1) evolution strategy: of the best parameters so far one to three
are multiplied by a log-normal factor, whose width grows by half after a success
and shrinks by a tenth after a failure; every try meets the same seeds. A second
load, where it is UDP, is varied in its rate: in scenario calibrated it holds the
player back until the second at which its quality rose in the recordings.`,
		Example: `  planegym testbed calibrate --data recordings --tries 200 -o calibrated.toml
  planegym testbed calibrate --data recordings --tries 0 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&c.data, "data", os.Getenv("PLANEGYM_DATA"), "folder with the published real_LIMIT.csv; default $PLANEGYM_DATA")
	f.StringVar(&c.scenario, "scenario", "calibrated", "the scenario to begin with; its first switch and its loads are varied")
	f.IntVar(&c.tries, "tries", 100, "parameters to try; 0 only compares")
	f.IntVar(&c.seconds, "seconds", 3600, "seconds of a recording")
	f.Uint64Var(&c.seed, "seed", 1, "of the search and the emulation")
	f.StringVarP(&c.out, "output", "o", "", "file for the parameters found, TOML")
	return cmd
}

type calibration struct {
	data, scenario, out string
	tries, seconds      int
	seed                uint64

	limits []int
	real   map[int]selection.Table
}

// knob is a parameter that is searched.
type knob struct {
	name      string
	low, high float64
	at        func(*testbed.Config) []*float64
}

func pps(port int) func(*testbed.Config) []*float64 {
	return func(c *testbed.Config) []*float64 {
		if port >= len(c.Ports) || c.Ports[port].PPS == 0 {
			return nil
		}
		return []*float64{&c.Ports[port].PPS}
	}
}

// knobs are searched on a logarithmic scale.
var knobs = []knob{
	{"port[0].pps", 1000, 8000, pps(0)},
	{"port[1].pps", 2000, 40000, pps(1)},
	{"port[2].pps", 2000, 40000, pps(2)},
	{"load[0].pattern.n", 1, 20, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].Pattern.N} }},
	{"load[0].pattern.amplitude", .1, 20, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].Pattern.Amplitude} }},
	{"load[0].object_kb", 5, 5000, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].ObjectKB} }},
	{"load[0].think_s", .05, 30, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].ThinkS} }},
	{"load[0].rtt_ms[1]", 10, 300, func(c *testbed.Config) []*float64 { return []*float64{&c.Loads[0].RTTMS[1]} }},
	{"port[0].late_us", 20, 5000, func(c *testbed.Config) []*float64 { return []*float64{&c.Ports[0].LateUS} }},
	{"port[0].late_sigma", .1, 2, func(c *testbed.Config) []*float64 { return []*float64{&c.Ports[0].LateSigma} }},
	{"load[1].pps", 100, 5000, func(c *testbed.Config) []*float64 {
		if len(c.Loads) < 2 || c.Loads[1].Kind != "udp" {
			return nil
		}
		return []*float64{&c.Loads[1].PPS}
	}},
	{"port.wake_us", 10, 200, func(c *testbed.Config) (x []*float64) { return wake(c, false) }},
	{"port.wake_sigma", .05, 1, func(c *testbed.Config) (x []*float64) { return wake(c, true) }},
}

func wake(c *testbed.Config, sigma bool) (x []*float64) {
	for i := range c.Ports {
		if p := &c.Ports[i]; p.Switch > 0 && sigma {
			x = append(x, &p.WakeSigma)
		} else if p.Switch > 0 {
			x = append(x, &p.WakeUS)
		}
	}
	return x
}

// fit is how near a configuration comes.
type fit struct {
	Loss     float64         `json:"loss"`
	Features []fittedFeature `json:"features"`
	Removed  []removedShare  `json:"removed"`
}

type fittedFeature struct {
	Limit int     `json:"limit"`
	Name  string  `json:"name"`
	KS    float64 `json:"KS"`
	ACF   float64 `json:"acf_error"`
}

type removedShare struct {
	Limit     int     `json:"limit"`
	Recorded  float64 `json:"recorded"`
	Emulated  float64 `json:"emulated"`
	LBOFalls  float64 `json:"lbo_falls_1s"` // share of seconds in which the buffer fell by a second
	LBOArrive float64 `json:"lbo_rises_3s"` // a segment came: rose by three
}

func (c *calibration) run(cmd *cobra.Command) error {
	switch {
	case c.data == "":
		return usagef("calibrate: --data: where are real_LIMIT.csv?")
	case c.tries < 0 || c.seconds < 100:
		return usagef("calibrate: --tries %d, --seconds %d: tries are not negative, seconds at least 100", c.tries, c.seconds)
	}
	s, err := loadTestbed(cmd, c.scenario)
	if err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	best := s.Testbed
	if best.Ports == nil {
		best.Ports = testbed.DefaultPorts()
	}
	if best.Loads == nil {
		best.Loads = testbed.DefaultLoads()
	}
	if len(best.Loads) == 0 || best.Loads[0].Kind != "tcp" || best.Ports[0].Switch != 1 {
		return usagef("calibrate: --scenario: %s: the first port must be switch 1's and the first load TCP's", c.scenario)
	}
	at, err := c.compare(cmd.Context(), best)
	if err != nil {
		return err
	}
	first := at.Loss
	bar := newProgress(cmd, int64(c.tries), "try", "calibrate")
	width := .5
	for k := range c.tries {
		if cmd.Context().Err() != nil {
			break // keep what was found so far
		}
		next := c.vary(best, k, width)
		if next.Check() != nil { // a combination that is none, such as a load of more slots than there are
			continue
		}
		got, err := c.compare(cmd.Context(), next)
		if err != nil {
			return err
		}
		if got.Loss < at.Loss {
			best, at, width = next, got, min(1.5*width, 1)
		} else {
			width = max(.9*width, .02)
		}
		_ = bar.Add(1)
	}
	_ = bar.Finish()
	found := map[string]float64{}
	for _, k := range knobs {
		if x := k.at(&best); x != nil {
			found[k.name] = *x[0]
		}
	}
	if c.out != "" {
		if err := writeConfig(c.out, best); err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"tries": c.tries, "loss_before": first, "found": found, "fit": at})
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "loss %.3f, before the search %.3f\n", at.Loss, first)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(out, "%s\t%.4g\n", name, found[name])
	}
	fmt.Fprintln(out, "limit\tcolumn\tKS\tACF error")
	for _, f := range at.Features {
		fmt.Fprintf(out, "%d\t%s\t%.3f\t%.3f\n", f.Limit, f.Name, f.KS, f.ACF)
	}
	for _, r := range at.Removed {
		fmt.Fprintf(out, "%d\tseconds left out\t%.1f %%, recorded %.1f %%\n", r.Limit, 100*r.Emulated, 100*r.Recorded)
		fmt.Fprintf(out, "%d\tbuffer falls 1 s, rises 3 s\t%.1f %%, %.1f %%\n", r.Limit, 100*r.LBOFalls, 100*r.LBOArrive)
	}
	return out.Flush()
}

// load reads the recorded rows.
func (c *calibration) load() error {
	c.real = map[int]selection.Table{}
	names, err := filepath.Glob(filepath.Join(c.data, "real_*.csv"))
	if err != nil {
		return fmt.Errorf("calibrate: --data: %w", err)
	}
	for _, name := range names {
		var limit int
		if _, err := fmt.Sscanf(filepath.Base(name), "real_%d.csv", &limit); err != nil || p4.Limit(limit).Check() != nil {
			continue
		}
		t, err := selection.ReadFile(name)
		if err != nil {
			return err
		}
		c.limits, c.real[limit] = append(c.limits, limit), t
	}
	if len(c.limits) == 0 {
		return usagef("calibrate: --data: %s holds no real_LIMIT.csv", c.data)
	}
	slices.Sort(c.limits)
	return nil
}

// vary changes one to three knobs of a configuration.
func (c *calibration) vary(cfg testbed.Config, try int, width float64) testbed.Config {
	cfg.Ports, cfg.Loads = slices.Clone(cfg.Ports), slices.Clone(cfg.Loads)
	k := rng.Key{Seed: c.seed, A: uint32(try), Purpose: rng.Action}
	for i := range 1 + k.Intn(0, 3) {
		knob := knobs[k.Intn(uint32(1+i), len(knobs))]
		n, _ := k.Normal(uint32(10 + i))
		for _, x := range knob.at(&cfg) {
			*x = min(max(max(*x, knob.low)*math.Exp(width*n), knob.low), knob.high)
		}
	}
	p := &cfg.Loads[0].Pattern
	p.Amplitude = min(p.Amplitude, p.N)
	return cfg
}

// compare emulates an hour under every limit and compares it.
func (c *calibration) compare(ctx context.Context, cfg testbed.Config) (fit, error) {
	type result struct {
		score   selection.Score
		removed removedShare
		err     error
	}
	got := make([]result, len(c.limits))
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, limit := range c.limits {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := &got[i]
			var synth selection.Table
			if synth, r.removed, r.err = c.emulate(ctx, cfg, limit); r.err == nil {
				r.score, r.err = selection.Compare(c.real[limit], synth, selection.Options{Draws: -1})
			}
		})
	}
	wait.Wait()
	var f fit
	n := 0.
	for i, r := range got {
		if r.err != nil {
			return f, r.err
		}
		for _, x := range r.score.Features {
			f.Features = append(f.Features, fittedFeature{c.limits[i], x.Name, x.KS, x.ACF})
			f.Loss, n = f.Loss+x.KS, n+1
		}
		f.Removed = append(f.Removed, r.removed)
	}
	f.Loss /= max(n, 1)
	for _, r := range f.Removed {
		f.Loss += math.Abs(r.Emulated-r.Recorded) / float64(len(f.Removed))
	}
	return f, nil
}

// emulate is an hour under a limit after the published preprocessing.
func (c *calibration) emulate(ctx context.Context, cfg testbed.Config, limit int) (t selection.Table, share removedShare, err error) {
	plant, err := testbed.New(cfg)
	if err != nil {
		return t, share, err
	}
	l := plant.Keep(0)
	var w telemetry.Window
	w.Size(1, c.seconds, len(plant.Columns()))
	force := slices.Repeat([]p4.Limit{p4.Limit(limit)}, plant.Switches())
	if err := plant.Reset(ctx, []int{0}, []uint64{c.seed}, force, &w); err != nil {
		return t, share, err
	}
	read := func(f telemetry.Format, name string, write func(io.Writer) error) (*telemetry.Reader, error) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, err
		}
		return telemetry.NewReader(&b, name, f)
	}
	start := time.Unix(1704067200, 0) // as testbed record's
	probes, err := read(telemetry.INT, "probes", func(w io.Writer) error { return l.WriteINT(w, start) })
	if err != nil {
		return t, share, err
	}
	player, err := read(telemetry.DASH, "player", func(w io.Writer) error { return l.WriteDASH(w, start) })
	if err != nil {
		return t, share, err
	}
	rows, err := telemetry.Tutorial(probes, player)
	if err != nil {
		return t, share, err
	}
	for _, f := range rows.Fields {
		name := f.Name
		switch name {
		case "lbo_s":
			name = "Buffer"
		case "rep_kbps":
			name = "ReportedBitrate"
		case "fps":
			name = "FPS"
		case "calc_cum":
			name = "CalcBitrate"
		}
		t.Columns = append(t.Columns, name)
	}
	t.Values = rows.Values
	share = removedShare{Limit: limit, Emulated: 1 - float64(t.Rows())/float64(c.seconds), Recorded: 1 - float64(c.real[limit].Rows())/3600}
	f, at := len(plant.Columns()), slices.IndexFunc(plant.Columns(), func(f telemetry.Field) bool { return f.Name == "lbo_s" })
	for s := 1; s < c.seconds; s++ {
		switch d := float64(l.Values[s*f+at] - l.Values[(s-1)*f+at]); {
		case math.Abs(d+1) < .3:
			share.LBOFalls += 1 / float64(c.seconds-1)
		case math.Abs(d-3) < .3:
			share.LBOArrive += 1 / float64(c.seconds-1)
		}
	}
	return t, share, nil
}

// writeConfig writes a testbed's configuration as a scenario's TOML.
func writeConfig(path string, cfg testbed.Config) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		return toml.NewEncoder(w).Encode(map[string]any{"plant": "testbed", "testbed": cfg})
	})
}
