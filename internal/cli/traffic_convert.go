package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/headers"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/rates"
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
flow records with NetShare's columns. Tables of nPrint have no times: their gaps
are 0.
With --headers the steps of captures and tables hold the header fields of packets
as well (TTL, window, options, …): what masked models learn from, and what
sample --faithful writes as header bits.
With --series the steps are ticks, and hold the bytes up and down in them: what
mode denoise learns from. A series is a session from its first packet on or,
with --together, a window of all packets of a FILE, labelled as --label says.
Captures that cover more than 24 h are several in one file; they are left out and
named, unless --span allows more.`,
		Example: `  planegym traffic convert a.pcap b.pcapng --label file -o sessions.parquet
  planegym traffic convert mirage_train.parquet -o train.parquet
  planegym traffic convert flows.json -o flows.csv
  planegym traffic convert a.pcap --headers --window 64 -o headers.parquet
  planegym traffic convert mirage_train.parquet --series 10ms -o rates.parquet
  planegym traffic convert camera.json --series 100ms --together --label camera -o rates.parquet`,
		Args: atLeast(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&c.out, "output", "o", "", "file to write: .parquet or .csv (required)")
	f.StringVar(&c.label, "label", "", `label of captures: a name, or "file" for each one's own name`)
	f.DurationVar(&c.options.Idle, "idle", 0, "silence after which a five-tuple is another session; 1h")
	f.DurationVar(&c.options.Span, "span", 0, "time that a capture may cover; 24h")
	f.BoolVar(&c.headers, "headers", false, "steps with header fields, of captures and nPrint's tables")
	f.IntVar(&c.window, "window", 0, "with --headers: cut sessions into ones of so many steps")
	f.DurationVar(&c.series, "series", 0, "make series: bytes up and down a tick of so much time")
	f.IntVar(&c.ticks, "ticks", 128, "with --series: of a series")
	f.BoolVar(&c.together, "together", false, "with --series: windows of all packets of a FILE, not a series a session")
	f.Float64Var(&c.pause, "pause", 1, "seconds between the sessions of one FILE and the next")
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
	out, label string
	options    flows.Options
	pause      float64
	headers    bool
	window     int
	series     time.Duration
	ticks      int
	together   bool
}

// rates makes series of the sessions of a file; it counts bytes after the end
// of series.
func (c *converter) rates(set *traffic.Set, path string) (*traffic.Set, float64, error) {
	o := rates.Options{Ticks: c.ticks, Tick: c.series.Seconds()}
	if !c.together {
		return rates.Flows(set, o)
	}
	label := c.label
	if label == "" || label == "file" {
		label = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	s, err := rates.Windows(set, label, o)
	return s, 0, err
}

// converted is what convert prints.
type converted struct {
	Output   string            `json:"output"`
	Sessions int               `json:"sessions"`
	Steps    int               `json:"steps"`
	Labels   map[string]int    `json:"labels,omitempty"`
	Packets  int               `json:"packets,omitempty"`
	Left     map[string]int    `json:"left_out,omitempty"`
	Lost     map[string]int    `json:"details_lost,omitempty"`
	Bad      int               `json:"bad_checksums,omitempty"`
	Refused  map[string]string `json:"refused,omitempty"`
}

func (c *converter) run(cmd *cobra.Command, files []string) error {
	ext := filepath.Ext(c.out)
	switch {
	case c.out == "":
		return usagef("traffic convert: --output: where should the sessions go?")
	case ext != ".parquet" && ext != ".csv":
		return usagef("traffic convert: --output: %s ends in neither .parquet nor .csv", c.out)
	case c.window < 0 || c.window > 0 && !c.headers:
		return usagef("traffic convert: --window: %d; it cuts what --headers makes", c.window)
	case c.series < 0 || c.series > 0 && c.headers:
		return usagef("traffic convert: --series: %v; not together with --headers", c.series)
	case c.ticks < 1 || c.together && c.series == 0:
		return usagef("traffic convert: --ticks %d, --together: they are of --series", c.ticks)
	case !(c.pause >= 0 && c.pause < 1e9):
		return usagef("traffic convert: --pause: %v", c.pause)
	}
	r := converted{Output: c.out, Left: map[string]int{}, Lost: map[string]int{}, Refused: map[string]string{}}
	bar := newProgress(cmd, int64(len(files)), "files", "convert")
	var sets []*traffic.Set
	var counts flows.Counts
	for _, path := range files {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		set, k, err := c.read(path)
		if errors.Is(err, flows.ErrSpan) && len(files) > 1 {
			r.Refused[path] = err.Error()
			continue
		}
		if err != nil {
			return err
		}
		counts.Add(k)
		if c.series > 0 {
			var left float64
			if set, left, err = c.rates(set, path); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if left > 0 {
				r.Lost["bytes after the last tick"] += int(left)
			}
		}
		sets = append(sets, set)
		if err := bar.Add(1); err != nil {
			return err
		}
	}
	if len(sets) == 0 {
		return errors.New("traffic convert: every file was refused")
	}
	if c.headers {
		headers.Unite(sets...)
	}
	all, err := traffic.Merge(c.pause, sets...)
	if err != nil {
		return err
	}
	if c.window > 0 {
		all = headers.Windows(all, c.window)
	}
	if r.Sessions, err = writeSessions(c.out, all); err != nil {
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	r.Packets, r.Bad = counts.Packets, counts.Bad
	maps.Copy(r.Left, counts.Left)
	maps.Copy(r.Lost, counts.Lost)
	if len(all.Of.Labels) > 0 {
		r.Labels = map[string]int{}
	}
	for i := range all.Sessions {
		r.Steps += all.Of.Len(&all.Sessions[i])
		if l := all.Sessions[i].Label; l >= 0 {
			r.Labels[all.Of.Labels[l]]++
		}
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), r)
	}
	return r.print(cmd.OutOrStdout())
}

// writeSessions writes by the path's ending.
func writeSessions(path string, s *traffic.Set) (int, error) {
	if filepath.Ext(path) == ".csv" && s.Of.MetaIndex("client_port") >= 0 {
		return s.Len(), atomicfile.Write(path, func(w io.Writer) error {
			_, err := netflow.WriteCSV(w, &s.Of, store.All(s))
			return err
		})
	}
	if filepath.Ext(path) == ".csv" {
		return store.WriteCSVFile(path, &s.Of, store.All(s))
	}
	return store.WriteFile(path, &s.Of, store.All(s))
}

// read reads a file of a kind that its first bytes tell.
func (c *converter) read(path string) (*traffic.Set, flows.Counts, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, flows.Counts{}, err
	}
	if c.headers {
		return headers.Read(bytes.NewReader(b), path, c.labelled(path))
	}
	if len(b) > 4 && string(b[:4]) == "PAR1" {
		s, err := store.Read(b)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return s, flows.Counts{}, err
	}
	switch {
	case netflow.Is(b[:min(len(b), 1<<12)]):
		r, err := netflow.ReadCSV(bytes.NewReader(b), path, netflow.Options{})
		if err != nil {
			return nil, flows.Counts{}, err
		}
		s := netflow.Sessions(r)
		return s, flows.Counts{}, s.Valid()
	case len(b) > 2 && b[0] == 0 && b[1] == 5:
		r, err := netflow.ReadV5(bytes.NewReader(b))
		if err != nil {
			return nil, flows.Counts{}, fmt.Errorf("%s: %w", path, err)
		}
		s := netflow.Sessions(r)
		return s, flows.Counts{}, s.Valid()
	case nprint.Is(b[:min(len(b), 1<<17)]):
		return c.table(b, path)
	}
	if flows.IsSIoT(b[:min(len(b), 1<<16)]) {
		return flows.ReadSIoT(bytes.NewReader(b), path)
	}
	return flows.Read(bytes.NewReader(b), path, c.labelled(path))
}

// labelled is the options of a capture's sessions.
func (c *converter) labelled(path string) flows.Options {
	o := c.options
	if o.Label = c.label; o.Label == "file" {
		o.Label = filepath.Base(path)
		for _, ext := range []string{".pcapng", ".pcap", ".nprint", ".csv"} {
			o.Label = strings.TrimSuffix(o.Label, ext)
		}
	}
	return o
}

// table reads a table of nPrint.
func (c *converter) table(b []byte, path string) (*traffic.Set, flows.Counts, error) {
	f := flows.NewBuilder(c.labelled(path))
	err := nprint.Read(bytes.NewReader(b), path, func(r *nprint.Row) error {
		raw, err := r.Decode()
		if err != nil {
			return err
		}
		return f.Add(time.Unix(0, 0), uint16(pcap.Raw), raw)
	})
	if err != nil {
		return nil, flows.Counts{}, err
	}
	s := f.Set()
	return s, f.Counts(), s.Valid()
}

func (r *converted) print(out io.Writer) error {
	fmt.Fprintf(out, "%s: %d sessions, %d steps", r.Output, r.Sessions, r.Steps)
	if r.Packets > 0 {
		fmt.Fprintf(out, " of %d packets, %d bad checksums", r.Packets, r.Bad)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	counted := func(head string, m map[string]int) {
		if len(m) == 0 {
			return
		}
		fmt.Fprintln(w, head)
		for _, k := range slices.SortedFunc(maps.Keys(m), func(a, b string) int {
			if m[a] != m[b] {
				return m[b] - m[a]
			}
			return strings.Compare(a, b)
		}) {
			fmt.Fprintf(w, "  %s\t%d\n", k, m[k])
		}
	}
	counted("Labels:", r.Labels)
	counted("Packets left out:", r.Left)
	counted("Details that actions do not say:", r.Lost)
	for _, k := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "Refused: %s\n", r.Refused[k])
	}
	return w.Flush()
}
