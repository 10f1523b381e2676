package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/gasf"
	"github.com/planegym/planegym/traffic/headers"
	"github.com/planegym/planegym/traffic/models"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/store"
)

func newTrafficSample() *cobra.Command {
	var s trafficSampler
	cmd := &cobra.Command{
		Use:   "sample [MODEL]",
		Short: "Sample sessions of a model, as a table or as packets",
		Long: `sample draws sessions of MODEL, or of the bundled model where none is given: a
recurrent network (fit --mode autoregressive) of the flows of NEMEA-SIoT (CESNET,
BSD-3) and of captures of netFound, NetSSM (MIT) and nPrint (Apache-2.0).
"bundled-ngram" is the n-gram of the same flows. Session i depends on model, seed,
labels and i alone; of learned models on the kernels of the processor, too.

The output's ending decides: .parquet and .csv for sessions, .pcap for packets,
.nprint for nPrint's table of their header bits, .png for the Gramian angular
field of the bytes a tenth of a second.`,
		Example: `  planegym traffic sample -n 1000 -o load.pcap
  planegym traffic sample model.safetensors -n 10000 --label netflix --seed 7 -o s.parquet
  planegym traffic sample -n 100 --rate 50 -o s.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("traffic sample takes one MODEL, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	f := cmd.Flags()
	f.IntVarP(&s.request.N, "n", "n", 1000, "sessions")
	f.StringSliceVar(&s.labels, "label", nil, "labels, taken in turn; default: as often as in training")
	f.Uint64Var(&s.request.Seed, "seed", 0, "picks the sessions")
	f.IntVar(&s.request.MaxSteps, "max-steps", 0, "steps of a session at most")
	f.Float64Var(&s.rate, "rate", 0, "sessions a second, Poisson; default: as the model spaces them, 20 of the bundled one")
	f.StringVarP(&s.out, "output", "o", "", "file to write: .parquet, .csv, .pcap, .nprint or .png (required)")
	f.IntVar(&s.options.MTU, "mtu", 1500, "of .pcap: bytes of an IP packet")
	f.BoolVar(&s.faithful, "faithful", false, "of .nprint: the header bits as the model says them, nothing repaired; for models of convert --headers")
	return cmd
}

type trafficSampler struct {
	request traffic.Request
	labels  []string
	rate    float64
	out     string
	options compile.Options
	// faithful writes header bits without the compiler.
	faithful bool
}

func (s *trafficSampler) run(cmd *cobra.Command, args []string) error {
	ext := filepath.Ext(s.out)
	switch {
	case s.out == "":
		return usagef("traffic sample: --output: where should the sessions go?")
	case !slices.Contains([]string{".parquet", ".csv", ".pcap", ".nprint", ".png"}, ext):
		return usagef("traffic sample: --output: %s ends in none of .parquet, .csv, .pcap, .nprint, .png", s.out)
	case s.faithful && ext != ".nprint":
		return usagef("traffic sample: --faithful: header bits go to a table: --output NAME.nprint")
	case s.request.N < 1:
		return usagef("traffic sample: --n: %d sessions", s.request.N)
	case !(s.rate >= 0 && s.rate < 1e9):
		return usagef("traffic sample: --rate: %v", s.rate)
	}
	path := ""
	if len(args) == 1 {
		path = args[0]
	} else if !cmd.Flags().Changed("rate") {
		s.rate = 20 // its captures lie days apart
	}
	m, err := models.Open(path)
	if err != nil {
		return err
	}
	if s.request.Labels, err = labelIndices(m.Schema(), s.labels); err != nil {
		return err
	}
	if err := s.request.Check(m.Schema()); err != nil {
		return usageError{err}
	}
	bar := newProgress(cmd, int64(s.request.N), "sessions", "sample")
	i, start := uint32(0), 0.
	sessions := watched(m.Sample(cmd.Context(), s.request), func(x *traffic.Session) {
		if s.rate > 0 {
			start -= math.Log1p(-rng.Key{Seed: s.request.Seed, A: i, B: 1, Purpose: rng.SessionStart}.Float64(0)) / s.rate
			x.Start = start
		}
		i++
		_ = bar.Add(1)
	})
	if ext == ".png" {
		return fieldTo(cmd, s.out, m.Schema(), sessions, bar.Finish)
	}
	if s.faithful {
		return bitsTo(cmd, s.out, m.Schema(), sessions, s.request.Seed, bar.Finish)
	}
	if ext == ".pcap" || ext == ".nprint" {
		return compileTo(cmd, s.out, m.Schema(), sessions, s.options, bar.Finish)
	}
	var n int
	if ext == ".csv" {
		n, err = store.WriteCSVFile(s.out, m.Schema(), sessions)
	} else {
		n, err = store.WriteFile(s.out, m.Schema(), sessions)
	}
	if err != nil {
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"output": s.out, "sessions": n, "seed": s.request.Seed})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d sessions, seed %d\n", s.out, n, s.request.Seed)
	return nil
}

// watched calls see with every session on its way.
func watched(in iter.Seq2[traffic.Session, error], see func(*traffic.Session)) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		for s, err := range in {
			if err == nil {
				see(&s)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

func newTrafficCompile() *cobra.Command {
	var out string
	var o compile.Options
	cmd := &cobra.Command{
		Use:   "compile SESSIONS",
		Short: "Make legal packets of sessions",
		Long: `compile writes a capture (pcap, nanoseconds) of a Parquet file of sessions:
addresses, ports, sequence numbers, acknowledgements, options, checksums and
payload are computed. It prints the repair rate, the share of actions that could
not be said as they are, and why: a model's bad actions do not disappear.`,
		Example: `  planegym traffic compile s.parquet -o s.pcap
  planegym traffic compile s.parquet --mtu 9000 --complete -o s.pcap --json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ext := filepath.Ext(out); ext != ".pcap" && ext != ".nprint" && ext != ".png" {
				return usagef("traffic compile: --output: %q ends in none of .pcap, .nprint, .png", out)
			}
			s, err := readSessions("SESSIONS", args[0])
			if err != nil {
				return err
			}
			bar := newProgress(cmd, int64(s.Len()), "sessions", "compile")
			sessions := watched(store.All(s), func(*traffic.Session) { _ = bar.Add(1) })
			if filepath.Ext(out) == ".png" {
				return fieldTo(cmd, out, &s.Of, sessions, bar.Finish)
			}
			return compileTo(cmd, out, &s.Of, sessions, o, bar.Finish)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "capture to write, .pcap; a table of nPrint, .nprint; a picture, .png (required)")
	f.IntVar(&o.MTU, "mtu", 1500, "bytes of an IP packet")
	f.Uint64Var(&o.Seed, "seed", 0, "of ports and sequence numbers")
	f.BoolVar(&o.Complete, "complete", false, "add handshake, acknowledgements and close to connections without")
	f.BoolVar(&o.Raw, "raw", false, "IP packets without Ethernet headers")
	return cmd
}

// compileTo writes a capture and prints what became of the actions.
func compileTo(cmd *cobra.Command, path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], o compile.Options, done func() error) error {
	if o.MTU < 576 || o.MTU > 65535 {
		return usagef("traffic: --mtu: %d is outside 576…65535", o.MTU)
	}
	var r *compile.Report
	err := atomicfile.Write(path, func(w io.Writer) (err error) {
		if filepath.Ext(path) == ".nprint" {
			r, err = writeTable(cmd.Context(), w, c, sessions, o)
			return err
		}
		r, err = compile.Write(cmd.Context(), w, c, sessions, o)
		return err
	})
	if err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), struct {
			Output string `json:"output"`
			*compile.Report
			RepairRate float64 `json:"repair_rate"`
		}{path, r, r.RepairRate()})
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d sessions, %d actions, %d packets, %d bytes; every checksum is right\n", path, r.Sessions, r.Actions, r.Packets, r.Bytes)
	fmt.Fprintf(out, "Repair rate %.2f %%: %d actions changed, %d packets added\n", 100*r.RepairRate(), r.Changed, r.Added)
	for _, why := range r.Reasons() {
		fmt.Fprintf(out, "  %6d  %s\n", r.Why[why], why)
	}
	return nil
}

// bitsTo writes the header bits that sessions say, unrepaired.
func bitsTo(cmd *cobra.Command, path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], seed uint64, done func() error) error {
	n, rows := 0, 0
	err := atomicfile.Write(path, func(w io.Writer) error {
		out, err := nprint.NewWriter(w)
		if err != nil {
			return err
		}
		for s, err := range sessions {
			if err != nil {
				return err
			}
			if err := headers.Rows(c, &s, seed, n, func(r *nprint.Row) error { rows++; return out.Write(r) }); err != nil {
				return fmt.Errorf("session %d: %w", n, err)
			}
			n++
		}
		return out.Flush()
	})
	if err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"output": path, "sessions": n, "packets": rows, "seed": seed})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d sessions, %d packets, nothing repaired, seed %d\n", path, n, rows, seed)
	return nil
}

// writeTable writes the headers of compiled packets as nPrint's table.
func writeTable(ctx context.Context, w io.Writer, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], o compile.Options) (*compile.Report, error) {
	out, err := nprint.NewWriter(w)
	if err != nil {
		return nil, err
	}
	o.Raw = true
	var row nprint.Row
	r, err := compile.Packets(ctx, c, sessions, o, func(_ time.Time, ip []byte) error {
		if err := row.Encode(ip); err != nil {
			return err
		}
		return out.Write(&row)
	})
	if err != nil {
		return r, err
	}
	return r, out.Flush()
}

// fieldTo draws the Gramian angular field of the bytes that sessions send in
// each tenth of a second, of the first 512 of them.
func fieldTo(cmd *cobra.Command, path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], done func() error) error {
	size, gap := c.StepIndex("size"), c.StepIndex("gap")
	if size < 0 || gap < 0 {
		return usagef("traffic: %s: steps have no size and gap to draw", path)
	}
	const width, ticks = .1, 512
	var series []float64
	for s, err := range sessions {
		if err != nil {
			return err
		}
		at := s.Start
		for t := range c.Len(&s) {
			at += c.Step(&s, t)[gap]
			k := int(min(at/width, ticks))
			if k >= ticks {
				continue
			}
			for len(series) <= k {
				series = append(series, 0)
			}
			series[k] += c.Step(&s, t)[size]
		}
	}
	f, err := gasf.Of(series)
	if err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	if err := atomicfile.Write(path, f.WritePNG); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"output": path, "ticks": f.N, "tick_s": width, "min_bytes": f.Min, "max_bytes": f.Max})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d ticks of %v s, %.0f to %.0f bytes\n", path, f.N, width, f.Min, f.Max)
	return nil
}
