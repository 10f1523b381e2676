package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/anycsv"
)

// anyCSV is a CSV of columns that are none of a testbed's.
type anyCSV struct {
	file string
	anycsv.Options
}

func (a *anyCSV) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.file, "csv", "", "any CSV, a row a time step, in place of --data: its columns of numbers are modelled")
	f.StringVar(&a.Time, "time", "", "of --csv: the column of time, which is not modelled; default: a column of dates, or one that counts the rows")
	f.StringSliceVar(&a.Columns, "columns", nil, "of --csv: the columns to model, separated by commas; default: all that hold numbers")
	f.StringVar(&a.Condition, "condition", "", "of --csv: the column that conditions the model, as the queue limit of a recording does: whole numbers from 1, or words")
}

// given says whether one of the flags is there.
func (a *anyCSV) given() bool {
	return a.Time != "" || a.Condition != "" || len(a.Columns) > 0
}

// read reads the file as one recording and prints what it found.
func (a *anyCSV) read(cmd *cobra.Command) ([]telemetry.Recording, error) {
	f, err := anycsv.ReadFile(a.file, a.Options)
	var name *anycsv.NameError
	if errors.As(err, &name) {
		return nil, usagef("%s: --%s: %s: %w", cmd.Name(), name.Option, a.file, name.Err)
	} else if err != nil {
		return nil, err
	}
	cmd.PrintErrf("%s: %v", a.file, f)
	return []telemetry.Recording{f.Recording}, nil
}

// orRecordings reads --csv where it is given, else the folder of recordings.
func (a *anyCSV) orRecordings(cmd *cobra.Command, folder string) ([]telemetry.Recording, error) {
	switch {
	case a.file != "" && cmd.Flags().Changed("data"):
		return nil, usagef("%s: --csv, --data: one or the other", cmd.Name())
	case a.file != "":
		return a.read(cmd)
	case a.given():
		return nil, usagef("%s: --time, --condition, --columns: are of --csv", cmd.Name())
	}
	return recordings(cmd.Name(), folder)
}
