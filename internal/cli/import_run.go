package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/telemetry"
)

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
	if switches, player := data.Sides(); !switches && (im.int != "" || len(im.rows) > 0) {
		return errors.New("import: no value of any switch could be placed; nothing was written")
	} else if !player && im.dash != "" {
		return fmt.Errorf("import: %s holds no value of the player; nothing was written", im.dash)
	}
	if err := data.WriteCSV(im.out); err != nil {
		return err
	}
	if asJSON(cmd) {
		out := map[string]any{
			"output": im.out, "limit": im.limit, "seconds": data.Len(), "hash": data.Hash(),
			"measured": data.Shares(), "reading": data.Reading(),
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
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d s under limit %d%s\nmeasured: %s\n", im.out, data.Len(), im.limit, what, data.DescribeShares())
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
