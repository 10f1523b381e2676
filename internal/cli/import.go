package cli

import (
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
		return usagef("import: --output: name what to write")
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
