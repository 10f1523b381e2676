package cli

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/telemetry"
)

// anyCSV is a CSV of columns that are none of a testbed's.
type anyCSV struct {
	file, time, condition string
	columns               []string
}

func (a *anyCSV) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.file, "csv", "", "any CSV, a row a time step, in place of --data: its columns of numbers are modelled")
	f.StringVar(&a.time, "time", "", "of --csv: the column of time, which orders the rows and is not modelled")
	f.StringSliceVar(&a.columns, "columns", nil, "of --csv: the columns to model, separated by commas; default: all that hold numbers")
	f.StringVar(&a.condition, "condition", "", "of --csv: a column of whole numbers from 1 that the model is told, as it is the queue limit of a recording")
}

// read reads the file as one recording and says what it found.
func (a *anyCSV) read(cmd *cobra.Command) ([]telemetry.Recording, error) {
	t, err := selection.ReadFile(a.file)
	if err != nil {
		return nil, err
	}
	column := func(flag, name string) (int, error) {
		k := slices.Index(t.Columns, name)
		if k < 0 {
			return -1, usagef("%s: --%s: %s has no column of numbers %q, only %s", cmd.Name(), flag, a.file, name, strings.Join(t.Columns, ", "))
		}
		return k, nil
	}
	cond := -1
	if a.condition != "" {
		if cond, err = column("condition", a.condition); err != nil {
			return nil, err
		}
	}
	clock := slices.Index(t.Columns, a.time)
	var at []int
	for k, name := range t.Columns {
		if k != cond && (clock < 0 || k != clock) && (len(a.columns) == 0 || slices.Contains(a.columns, name)) {
			at = append(at, k)
		}
	}
	for _, name := range a.columns {
		if _, err := column("columns", name); err != nil {
			return nil, err
		}
	}
	if len(at) == 0 {
		return nil, usagef("%s: --csv: %s has no column of numbers to model", cmd.Name(), a.file)
	}
	var fields []telemetry.Field
	for _, k := range at {
		fields = append(fields, telemetry.Field{Name: t.Columns[k]})
	}
	var values []float32
	var valid []bool
	r := telemetry.Recording{Limit: 1}
	gaps := make([]int, len(at))
	for i := range t.Rows() {
		row := t.Row(i)
		if clock >= 0 && i > 0 && row[clock] < t.Row(i - 1)[clock] {
			return nil, fmt.Errorf("%s: --time: %s: row %d is earlier than the one before it: sort the rows", cmd.Name(), a.file, i+1)
		}
		for j, k := range at {
			v := row[k]
			ok := !math.IsNaN(v) && math.Abs(v) <= math.MaxFloat32
			if !ok {
				v = 0
				gaps[j]++
			}
			values, valid = append(values, float32(v)), append(valid, ok)
		}
		if cond >= 0 {
			c := row[cond]
			if c != math.Trunc(c) || c < 1 || c > 1<<19 {
				return nil, fmt.Errorf("fit: --condition: %s: row %d: %s is %v: want a whole number from 1", a.file, i+1, a.condition, c)
			}
			r.Limits = append(r.Limits, int(c))
		}
	}
	if r.Limits != nil {
		if r.Limit = 0; slices.Min(r.Limits) == slices.Max(r.Limits) {
			r.Limit, r.Limits = r.Limits[0], nil
		}
	}
	if r.Data, err = telemetry.NewDataset(fields, r.Limit, time.Unix(0, 0), values, valid); err != nil {
		return nil, err
	}
	cmd.PrintErrf("%s: %d rows\n", a.file, t.Rows())
	for j, f := range fields {
		what := "whole numbers"
		for i := j; i < len(values); i += len(fields) {
			if valid[i] && values[i] != float32(math.Trunc(float64(values[i]))) {
				what = "real numbers"
			}
		}
		cmd.PrintErrf("  %s: %s, %d of %d missing\n", f.Name, what, gaps[j], t.Rows())
	}
	if len(t.Left) > 0 {
		cmd.PrintErrf("  left out, no numbers: %s\n", strings.Join(t.Left, ", "))
	}
	return []telemetry.Recording{r}, nil
}
