// Package selection ranks generative models: by the metric M that the field
// reports, and by what M cannot see.
//
// M compares quartiles column by column, so shuffled rows win it; beside it
// stand distances of distributions (W1, KS), of structure (correlation,
// autocorrelation, spread and step ratios) and of memory (copy share), each
// with the noise floor of real data against itself.
package selection

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/telemetry"
)

// Columns are the 13 columns that are compared, in the order of the published
// recordings.
var Columns = []string{
	"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2",
	"enq_qdepth3", "deq_timedelta3", "deq_qdepth3", "Buffer", "ReportedBitrate", "FPS", "CalcBitrate",
}

// aliases are the names that aligned recordings and our plants give.
var aliases = map[string]string{"lbo_s": "Buffer", "fps": "FPS", "rep_kbps": "ReportedBitrate", "calc_cum": "CalcBitrate"}

// Table is n rows of F columns, in time order. A cell that was not measured
// is NaN.
type Table struct {
	Columns []string
	Values  []float64 // [n,F]
}

// Rows is n.
func (t Table) Rows() int { return len(t.Values) / max(len(t.Columns), 1) }

// Row is the i-th row, a view into t.
func (t Table) Row(i int) []float64 {
	f := len(t.Columns)
	return t.Values[i*f : (i+1)*f : (i+1)*f]
}

// column copies column k.
func (t Table) column(k int) []float64 {
	x := make([]float64, t.Rows())
	for i := range x {
		x[i] = t.Values[i*len(t.Columns)+k]
	}
	return x
}

// ReadFile reads the table of a CSV file; see Read.
func ReadFile(path string) (Table, error) {
	f, err := telemetry.Open(path)
	if err != nil {
		return Table{}, err
	}
	defer f.Close()
	t, err := Read(f)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return t, err
}

// Read reads the columns of Columns from CSV: names are trimmed, their order
// is free, further columns are ignored, lbo_s, fps, rep_kbps and calc_cum are
// accepted. An empty cell is NaN: not measured.
func Read(r io.Reader) (Table, error) {
	in := csv.NewReader(telemetry.LimitLines(r))
	in.ReuseRecord = true
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return Table{}, errors.New("there is no header")
	} else if err != nil {
		return Table{}, err
	}
	at := make([]int, len(Columns))
	for i := range at {
		at[i] = -1
	}
	for i, name := range head {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if a, ok := aliases[name]; ok {
			name = a
		}
		if k := slices.Index(Columns, name); k >= 0 {
			if at[k] >= 0 {
				return Table{}, fmt.Errorf("column %s stands twice", name)
			}
			at[k] = i
		}
	}
	for k, i := range at {
		if i < 0 {
			return Table{}, fmt.Errorf("there is no column %s", Columns[k])
		}
	}
	t := Table{Columns: Columns}
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Table{}, err
		}
		for k, i := range at {
			x := math.NaN()
			if s := strings.TrimSpace(rec[i]); s != "" {
				if x, err = strconv.ParseFloat(s, 64); err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
					line, _ := in.FieldPos(i)
					return Table{}, fmt.Errorf("line %d: %s: %q is not a finite number", line, Columns[k], s)
				}
			}
			t.Values = append(t.Values, x)
		}
	}
	if t.Rows() == 0 {
		return Table{}, errors.New("there is no row")
	}
	return t, nil
}

// gaps counts the rows that have a cell which was not measured.
func (t Table) gaps() int {
	n := 0
	for i := range t.Rows() {
		if slices.ContainsFunc(t.Row(i), math.IsNaN) {
			n++
		}
	}
	return n
}

// pick is the rows i of t for which keep is true.
func (t Table) pick(keep func(i int) bool) Table {
	out := Table{Columns: t.Columns}
	for i := range t.Rows() {
		if keep(i) {
			out.Values = append(out.Values, t.Row(i)...)
		}
	}
	return out
}

// Write writes t as the tutorial's export does: its 13 column names, three of
// them beginning with a blank, and q_size, the index of the queue limit among
// those compared. Unlike the tutorial's, rows stay in time order.
func (t Table) Write(w io.Writer, qSize int) error {
	if !slices.Equal(t.Columns, Columns) {
		return fmt.Errorf("selection: columns %v are not %v", t.Columns, Columns)
	}
	if n := t.gaps(); n > 0 {
		return fmt.Errorf("selection: %d rows have cells that were not measured", n)
	}
	// The tutorial's names are not quoted, as encoding/csv would.
	if _, err := io.WriteString(w, header); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	rec := make([]string, 0, len(Columns)+1)
	for i := range t.Rows() {
		rec = rec[:0]
		for _, x := range t.Row(i) {
			rec = append(rec, number(x))
		}
		if err := out.Write(append(rec, number(float64(qSize)))); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

const header = "enq_qdepth1,deq_timedelta1,deq_qdepth1, enq_qdepth2, deq_timedelta2, deq_qdepth2," +
	"enq_qdepth3,deq_timedelta3,deq_qdepth3,Buffer,ReportedBitrate,FPS,CalcBitrate,q_size\n"

// number prints x as pandas does: 3 is 3.0.
func number(x float64) string {
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		s = strconv.FormatFloat(x, 'f', 1, 64)
	}
	return s
}

// FromDataset is the table of a recording or a rollout; its counter is
// integrated. What was not measured is NaN.
func FromDataset(d *telemetry.Dataset) (Table, error) {
	t := Table{Columns: Columns, Values: make([]float64, d.Len()*len(Columns))}
	fields := d.Fields()
	for k, name := range Columns {
		at := slices.IndexFunc(fields, func(f telemetry.Field) bool {
			return f.Name == name || aliases[f.Name] == name || f.Name == "calc_rate" && name == "CalcBitrate"
		})
		if at < 0 {
			return t, fmt.Errorf("selection: the recording has no %s", name)
		}
		counter, counted := d.Counter()
		for i := range d.Len() {
			v, ok := d.At(i, at)
			x := float64(v)
			if name == "CalcBitrate" {
				x, ok = counter[i], counted[i]
			}
			if !ok {
				x = math.NaN()
			}
			t.Values[i*len(Columns)+k] = x
		}
	}
	return t, nil
}
