package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/telemetry"
)

func newImport() *cobra.Command {
	var im importer
	cmd := &cobra.Command{
		Use:   "import --dash FILE --rows FILE... -o grid_LIMIT.csv",
		Short: "Put published recordings on a grid of seconds",
		Long: `import places published rows, which have no timestamps, on the clock of the
player log that they were made of, by their four DASH columns, and writes a
recording with a row per second. A second without a row has empty INT cells.

A row that fits no second is reported; with --strict it is an error.`,
		Example: `  planegym import --dash dash_TD-32_100.csv --rows real_32.csv -o grid_32.csv
  planegym import --dash dash_64.csv --rows a.csv --rows b.csv --limit 64 -o grid.csv --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return im.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&im.dash, "dash", "", "the player's log, as published")
	f.StringArrayVar(&im.rows, "rows", nil, "published rows of INT and DASH; repeat for more files")
	f.StringVarP(&im.out, "output", "o", "", "the recording to write")
	f.IntVar(&im.limit, "limit", 0, "queue limit in force, packets; default: the number in the output's name")
	f.BoolVar(&im.strict, "strict", false, "fail if a row fits no second")
	return cmd
}

type importer struct {
	dash, out string
	rows      []string
	limit     int
	strict    bool
}

var number = regexp.MustCompile(`\d+`)

func (im *importer) run(cmd *cobra.Command) error {
	switch {
	case im.dash == "":
		return usagef("import: --dash: which player log?")
	case len(im.rows) == 0:
		return usagef("import: --rows: which published rows?")
	case im.out == "":
		return usagef("import: --output: where to?")
	}
	if im.limit == 0 {
		im.limit, _ = strconv.Atoi(number.FindString(filepath.Base(im.out)))
	}
	if im.limit < 1 {
		return usagef("import: --limit: %s names no queue limit: give it in packets", im.out)
	}
	var size int64
	for _, name := range append([]string{im.dash}, im.rows...) {
		if st, err := os.Stat(name); err == nil {
			size += st.Size()
		}
	}
	bar := newProgress(cmd, size, "B", "import")
	open := func(name string, format telemetry.Format) (*telemetry.Reader, func() error, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		r, err := telemetry.NewReader(io.TeeReader(f, progressWriter{bar}), name, format)
		if err != nil {
			f.Close()
			return nil, nil, err
		}
		return r, f.Close, nil
	}
	dash, done, err := open(im.dash, telemetry.DASH)
	if err != nil {
		return err
	}
	defer done()
	var rows []*telemetry.Reader
	for _, name := range im.rows {
		r, done, err := open(name, telemetry.Merged)
		if err != nil {
			return err
		}
		defer done()
		rows = append(rows, r)
	}
	data, report, err := telemetry.Import(dash, im.limit, rows...)
	if err != nil {
		return err
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
	if im.strict && len(report.Unplaced) > 0 {
		return fmt.Errorf("import: %d of %d rows fit no second of %s; nothing was written", len(report.Unplaced), report.Rows, im.dash)
	}
	if err := data.WriteCSV(im.out); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"output": im.out, "limit": im.limit, "seconds": data.Len(), "rows": report.Rows,
			"placed": report.Placed, "repeated": report.Repeated, "unplaced": len(report.Unplaced), "hash": data.Hash(),
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d s under limit %d, %d of %d rows placed, %d repeated\n",
		im.out, data.Len(), im.limit, report.Placed, report.Rows, report.Repeated)
	return nil
}

// progressWriter counts bytes without failing what they come from.
type progressWriter struct{ bar *progressbar.ProgressBar }

func (w progressWriter) Write(b []byte) (int, error) {
	_ = w.bar.Add(len(b))
	return len(b), nil
}
