package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic/files"
	"github.com/planegym/planegym/traffic/store"
)

func newTrafficConvert() *cobra.Command {
	var c converter
	cmd := &cobra.Command{
		Use:   "convert FILE...",
		Short: "Make sessions of captures and flow records",
		Long: `convert reads captures (pcap, pcapng), nPrint's tables, flow records (NetShare's
CSV columns, NetFlow version 5), NEMEA-SIoT's JSON and Parquet of sessions or of
MIRAGE, one FILE after another, and writes sessions. What cannot be said as
actions is counted and named: packets left out, and details lost.

The output's ending decides: .parquet for sessions; .csv for a row a step, or of
flow records with NetShare's columns; .nprint for the header bits of the packets
of captures, one row each, as nPrint writes them. Tables of nPrint have no times:
their gaps are 0.
With --headers the steps of captures and tables hold the header fields of packets
as well (TTL, window, options, …): what masked models learn from, and what
sample --faithful writes as header bits.
With --series the steps are ticks, and hold the bytes up and down in them: what
mode denoise learns from. A series is a session from its first packet on or,
with --together, a window of all packets of a FILE, labelled as --label says.
A TCP frame that is larger than its connection's MSS and than Ethernet's 1,500
bytes was put together by the host's network card (segmentation offload); it is
cut into the segments that a link carries, unless --whole-frames is given.
Captures that cover more than 24 h are several in one file; they are left out and
named, unless --span allows more.`,
		Example: `  planegym traffic convert a.pcap b.pcapng --label file -o sessions.parquet
  planegym traffic convert mirage_train.parquet -o train.parquet
  planegym traffic convert flows.json -o flows.csv
  planegym traffic convert a.pcap -o a.nprint
  planegym traffic convert a.pcap --headers --window 64 -o headers.parquet
  planegym traffic convert mirage_train.parquet --series 10ms -o rates.parquet
  planegym traffic convert camera.json --series 100ms --together --label camera -o rates.parquet
  planegym traffic convert sessions.parquet --half 1 -o fit.parquet
  planegym traffic convert c1.parquet c2.parquet --by-start -o all.parquet`,
		Args: atLeast(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&c.out, "output", "o", "", "file to write: .parquet, .csv or .nprint (required)")
	f.StringVar(&c.Label, "label", "", `label of captures: a name, or "file" for each one's own name`)
	f.DurationVar(&c.Flows.Idle, "idle", 0, "silence after which a five-tuple is another session; 1h")
	f.DurationVar(&c.Flows.Span, "span", 0, "time that a capture may cover; 24h")
	f.BoolVar(&c.Flows.Whole, "whole-frames", false, "leave frames of segmentation offload one packet; without, they are cut into segments of the connection's MSS")
	f.BoolVar(&c.Headers, "headers", false, "steps with header fields, of captures and nPrint's tables")
	f.IntVar(&c.Window, "window", 0, "with --headers: cut sessions into ones of so many steps")
	f.DurationVar(&c.Series, "series", 0, "make series: bytes up and down a tick of so much time")
	f.IntVar(&c.Ticks, "ticks", 128, "with --series: of a series")
	f.BoolVar(&c.Together, "together", false, "with --series: windows of all packets of a FILE, not a series a session")
	f.IntVar(&c.Half, "half", 0, "keep every second session, from the first (1) or the second on (2): the halves that eval compares without --held")
	f.BoolVar(&c.ByStart, "by-start", false, "sessions of all FILEs at their own times, in the order of starts: what models of the chunks of a trace have sampled")
	f.Float64Var(&c.Pause, "pause", 1, "seconds between the sessions of one FILE and the next")
	return cmd
}

func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s needs %d %s at least", cmd.CommandPath(), n, what)
		}
		return nil
	}
}

type converter struct {
	files.Converter
	out string
}

func (c *converter) run(cmd *cobra.Command, paths []string) error {
	switch err := files.CheckEnding(c.out, ".parquet", ".csv", ".nprint"); {
	case c.out == "":
		return usagef("traffic convert: --output: where should the sessions go?")
	case err != nil:
		return usagef("traffic convert: --output: %w", err)
	case c.Window < 0 || c.Window > 0 && !c.Headers:
		return usagef("traffic convert: --window: %d; it cuts what --headers makes", c.Window)
	case c.Series < 0 || c.Series > 0 && c.Headers:
		return usagef("traffic convert: --series: %v; not together with --headers", c.Series)
	case c.Ticks < 1 || c.Together && c.Series == 0:
		return usagef("traffic convert: --ticks %d, --together: they are of --series", c.Ticks)
	case c.Half < 0 || c.Half > 2:
		return usagef("traffic convert: --half: %d; 1 is the half with the first session, 2 the other", c.Half)
	case filepath.Ext(c.out) == ".nprint" && (c.Headers || c.Series > 0 || c.Half > 0):
		return usagef("traffic convert: --headers, --series, --half: they make sessions; %s is of packets", c.out)
	case !(c.Pause >= 0 && c.Pause < 1e9):
		return usagef("traffic convert: --pause: %v", c.Pause)
	case c.ByStart && cmd.Flags().Changed("pause"):
		return usagef("traffic convert: --by-start, --pause: sessions at their own times, or FILEs one after another")
	}
	if err := prepareOutput("traffic convert: --output", c.out); err != nil {
		return err
	}
	bar := newProgress(cmd, int64(len(paths)), "files", "convert")
	r, err := c.write(cmd.Context(), paths, func() { _ = bar.Add(1) })
	if err != nil {
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), r)
	}
	return r.WriteText(cmd.OutOrStdout())
}

func (c *converter) write(ctx context.Context, paths []string, done func()) (*files.Converted, error) {
	if filepath.Ext(c.out) == ".nprint" {
		return files.Bits(ctx, c.out, paths, done)
	}
	set, r, err := c.Read(ctx, paths, done)
	if err != nil {
		return nil, err
	}
	r.Output = c.out
	_, err = files.Sessions(c.out, &set.Of, store.All(set))
	return r, err
}
