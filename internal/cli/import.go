package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/telemetry"
)

func newImport() *cobra.Command {
	var im importer
	cmd := &cobra.Command{
		Use:   "import [--int LOG] [--dash LOG] [--rows FILE...] -o grid_LIMIT.csv",
		Short: "Make a recording of logs: put them on a grid of seconds",
		Long: `import joins the log of probes (--int) with the player's (--dash), second by
second, and writes a recording: what fit, play and serve read. Either may be
given alone, and the recording then lacks the other's columns.

--int reads what telemetry decode --csv, collect and testbed record write, and
raw logs of testbeds: timestamp, and enq_qdepthN, deq_timedeltaN (us), deq_qdepthN
of each switch, several probes a second, columns in any order. --aggregate says
how the probes of a second make one value.

--rows takes rows of INT and DASH as they are published, without timestamps, and
places them on the clock of the player log by their four DASH columns. A second
without a row has empty INT cells; a row that fits no second is reported, and
with --strict an error.

Logs may be separated by comma, semicolon, tab or bar, and give times in any unit
since 1970 or as ISO 8601; NaN, null, NA and the like were not measured. A value
that cannot be one (a negative delay, a time out of order) counts as not measured
and is reported; more than 5 % of a column are an error (--max-impossible).`,
		Example: `  planegym import --int int_32.csv --dash dash_32.csv -o grid_32.csv
  planegym import --int probes.csv --dash player.csv --limit 64 --aggregate max -o grid.csv
  planegym import --dash dash_TD-32_100.csv --rows real_32.csv -o grid_32.csv
  planegym import --dash dash_64.csv --rows a.csv --rows b.csv --limit 64 -o grid.csv --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return im.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&im.int, "int", "", "the log of probes")
	f.StringVar(&im.dash, "dash", "", "the player's log")
	f.StringArrayVar(&im.rows, "rows", nil, "published rows of INT and DASH, to place on --dash; repeat for more files")
	f.StringVar(&im.how, "aggregate", string(telemetry.MaxTimedelta1), "one value a second of the probes: max-timedelta1, max, mean, p95 or count")
	f.StringVarP(&im.out, "output", "o", "", "the recording to write")
	f.IntVar(&im.limit, "limit", 0, "queue limit in force, packets; default: the number that ends the output's name")
	f.BoolVar(&im.strict, "strict", false, "fail if a row fits no second")
	f.Float64Var(&im.placed, "min-placed", .5, "share of rows that must fit a second")
	addImpossible(cmd, &im.impossible)
	return cmd
}

// addImpossible adds the flag that bounds what may be impossible in a file.
func addImpossible(cmd *cobra.Command, share *float64) {
	cmd.Flags().Float64Var(share, "max-impossible", telemetry.MaxRefused, "share of a column's values that may be impossible (they count as not measured), 0 to 1")
}

type importer struct {
	int, dash, out, how string
	rows                []string
	limit               int
	strict              bool
	placed, impossible  float64
}

func (im *importer) check() error {
	switch {
	case im.int == "" && im.dash == "":
		return usagef("import: --int, --dash: which log?")
	case len(im.rows) > 0 && im.dash == "":
		return usagef("import: --dash: rows are placed on which player log?")
	case len(im.rows) > 0 && im.int != "":
		return usagef("import: --int, --rows: both hold what switches measured: give one")
	case im.out == "":
		return usagef("import: --output: where to?")
	case !(im.impossible >= 0 && im.impossible <= 1) || !(im.placed >= 0 && im.placed <= 1):
		return usagef("import: --max-impossible %v, --min-placed %v: shares from 0 to 1", im.impossible, im.placed)
	}
	if im.limit == 0 {
		im.limit, _ = telemetry.LimitInName(im.out)
	}
	if im.limit < 1 {
		return usagef("import: --limit: no queue limit ends the name of %s: give it in packets", im.out)
	}
	return nil
}

func (im *importer) run(cmd *cobra.Command) error {
	if err := im.check(); err != nil {
		return err
	}
	if err := checkOutput("import: --output", im.out, ".csv"); err != nil {
		return err
	}
	var size int64
	for _, name := range append([]string{im.int, im.dash}, im.rows...) {
		if st, err := os.Stat(name); err == nil {
			size += st.Size()
		}
	}
	bar := newProgress(cmd, size, "B", "import")
	data, report, err := im.read(bar)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	for i, u := range report.Unplaced {
		if i == 10 {
			fmt.Fprintf(cmd.ErrOrStderr(), "… and %d more\n", len(report.Unplaced)-i)
			break
		}
		fmt.Fprintln(cmd.ErrOrStderr(), u)
	}
	fits := report.Placed + report.Repeated
	if n := len(report.Unplaced); n > 0 && (im.strict || float64(fits) < im.placed*float64(report.Rows)) {
		return fmt.Errorf("import: %d of %d rows fit no second of %s; nothing was written", n, report.Rows, im.dash)
	}
	if err := tellReading(cmd, data, im.impossible); err != nil {
		return fmt.Errorf("import: %w; nothing was written", err)
	}
	if err := im.substance(data); err != nil {
		return err
	}
	if err := data.WriteCSV(im.out); err != nil {
		return err
	}
	if asJSON(cmd) {
		out := map[string]any{
			"output": im.out, "limit": im.limit, "seconds": data.Len(), "hash": data.Hash(),
			"measured": measuredShares(data), "reading": data.Reading(),
		}
		if len(im.rows) > 0 {
			out["rows"], out["placed"], out["repeated"], out["unplaced"] = report.Rows, report.Placed, report.Repeated, len(report.Unplaced)
		}
		return writeJSON(cmd.OutOrStdout(), out)
	}
	what := ""
	switch {
	case len(im.rows) > 0:
		what = fmt.Sprintf(", %d of %d rows placed, %d repeated", report.Placed, report.Rows, report.Repeated)
	case im.int == "":
		what = ", the player's log alone"
	case im.dash == "":
		what = ", the log of probes alone"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d s under limit %d%s\nmeasured: %s\n", im.out, data.Len(), im.limit, what, describeShares(data))
	return nil
}

// read reads the logs and joins them.
func (im *importer) read(bar *progressbar.ProgressBar) (*telemetry.Dataset, *telemetry.Report, error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	open := func(name string, format telemetry.Format) (*telemetry.Reader, error) {
		if name == "" {
			return nil, nil
		}
		f, err := telemetry.Open(name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		return telemetry.NewReader(io.TeeReader(f, progressWriter{bar}), name, format)
	}
	probes, err := open(im.int, telemetry.INT)
	if err != nil {
		return nil, nil, err
	}
	dash, err := open(im.dash, telemetry.DASH)
	if err != nil {
		return nil, nil, err
	}
	if len(im.rows) == 0 {
		data, err := telemetry.Join(probes, dash, telemetry.Aggregation(im.how))
		if err != nil {
			return nil, nil, err
		}
		data, err = data.WithLimit(im.limit)
		return data, &telemetry.Report{}, err
	}
	var rows []*telemetry.Reader
	for _, name := range im.rows {
		r, err := open(name, telemetry.Merged)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, r)
	}
	return telemetry.Import(dash, im.limit, rows...)
}

// substance is an error if a log that was given left nothing in the recording.
func (im *importer) substance(data *telemetry.Dataset) error {
	shares := data.Measured()
	var switches, player float64
	for i, f := range data.Fields() {
		if f.Hop() > 0 {
			switches = max(switches, shares[i])
		} else {
			player = max(player, shares[i])
		}
	}
	switch {
	case switches == 0 && (im.int != "" || len(im.rows) > 0):
		return errors.New("import: no value of any switch could be placed; nothing was written")
	case player == 0 && im.dash != "":
		return fmt.Errorf("import: %s holds no value of the player; nothing was written", im.dash)
	}
	return nil
}

// tellReading prints what was passed over in a recording's files, and is an
// error if that is more than a share of a column.
func tellReading(cmd *cobra.Command, data *telemetry.Dataset, share float64) error {
	r := data.Reading()
	for _, n := range r.Notes() {
		cmd.PrintErrln(n)
	}
	return r.Check(share)
}

// measuredShares are the shares of seconds in which each column was measured.
func measuredShares(data *telemetry.Dataset) map[string]float64 {
	out := map[string]float64{}
	for i, share := range data.Measured() {
		out[data.Fields()[i].Name] = math.Round(share*1e4) / 1e4
	}
	return out
}

// describeShares is measuredShares in words: columns of one share together, and
// those that are empty.
func describeShares(data *telemetry.Dataset) string {
	var order []string
	names := map[string][]string{}
	for i, share := range data.Measured() {
		p := fmt.Sprintf("%.1f %%", 100*share)
		switch {
		case share == 0:
			p = "never"
		case share > .9995:
			p = "100 %"
		}
		if names[p] == nil {
			order = append(order, p)
		}
		names[p] = append(names[p], data.Fields()[i].Name)
	}
	var parts []string
	for _, p := range order {
		parts = append(parts, strings.Join(names[p], " ")+" "+p)
	}
	return strings.Join(parts, ", ")
}

// progressWriter counts bytes without failing what they come from.
type progressWriter struct{ bar *progressbar.ProgressBar }

func (w progressWriter) Write(b []byte) (int, error) {
	_ = w.bar.Add(len(b))
	return len(b), nil
}
