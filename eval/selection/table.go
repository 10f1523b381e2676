// Package selection ranks generative models: by the metric M that the field
// reports, and by scores that see what M misses.
//
// M compares quartiles column by column, so shuffled rows win it; beside it
// are distances of distributions (W1, KS), of structure (correlation,
// autocorrelation, spread and step ratios) and of memory (copy share), each
// with the noise floor of real data against itself.
package selection

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/anycsv"
)

// Columns are the 13 columns of the published recordings, in their order.
var Columns = []string{
	"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2",
	"enq_qdepth3", "deq_timedelta3", "deq_qdepth3", "Buffer", "ReportedBitrate", "FPS", "CalcBitrate",
}

// player are the columns of a player, by the names of telemetry.
var player = []struct{ field, name string }{
	{"lbo_s", "Buffer"}, {"rep_kbps", "ReportedBitrate"}, {"fps", "FPS"}, {"calc_cum", "CalcBitrate"},
}

// described are columns of recordings that say where a row belongs.
var described = []string{"", "t", "ts_ms", "timestamp", "queue", "limit", "q_size", "int_present", "session", "seed"}

// scoredName is the name that a column of a recording is scored under, and its
// place: switch by switch, then the player, as in Columns. False for one that
// is not scored: of a recording those are what each switch says of its queue,
// and the player's buffer, bitrate, frame rate and counter.
func scoredName(column string) (name string, place int, ok bool) {
	f, ok := telemetry.Canonical(column)
	if !ok {
		return "", 0, false
	}
	for i, p := range player {
		if f.Name == p.field {
			return p.name, 1<<20 + i, true
		}
	}
	hop := f.Hop()
	for i, stem := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
		if hop > 0 && strings.TrimRight(f.Name, "0123456789") == stem {
			return f.Name, 3*hop + i, true
		}
	}
	return "", 0, false
}

// Table is n rows of F columns, in time order. A cell that was not measured
// is NaN.
type Table struct {
	Columns []string
	Values  []float64 // [n,F]
	Left    []string  // measured columns of its source that it does not hold
	Series  bool      // of another CSV than a recording's: without a grid, rows with gaps are left out
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

// Read reads a table from CSV: of a recording what is scored (the queue of each
// switch that is there, and of the player what is there), by its published names
// or those of telemetry; of any other file the columns of numbers. Names are
// trimmed, their order is free. A cell that is empty, or says NaN, null or the
// like, is NaN: not measured. Files of other columns are read by package anycsv.
func Read(r io.Reader) (Table, error) {
	source := &replay{r, &bytes.Buffer{}}
	in := telemetry.NewCSV(source)
	in.ReuseRecord = true
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return Table{}, errors.New("there is no header")
	} else if err != nil {
		return Table{}, err
	}
	c, err := newChoice(head)
	if err != nil {
		return Table{}, err
	}
	if !c.known {
		return readAny(io.MultiReader(source.seen, r))
	}
	source.seen = nil
	for rows := 0; ; rows++ {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) && rows == 0 {
			return Table{}, errors.New("there is no row")
		} else if errors.Is(err, io.EOF) {
			return Table{Columns: c.names, Values: c.values, Left: c.left}, nil
		} else if err != nil {
			return Table{}, err
		}
		if err := c.add(rec, in); err != nil {
			return Table{}, err
		}
	}
}

// replay keeps what was read of r, until seen is nil.
type replay struct {
	r    io.Reader
	seen *bytes.Buffer
}

func (s *replay) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.seen != nil {
		s.seen.Write(p[:n])
	}
	return n, err
}

// readAny reads a CSV with no column of a recording, as fit --csv does: a row that is
// missing by the file's clock is one of NaN.
func readAny(r io.Reader) (Table, error) {
	f, err := anycsv.Read(r, anycsv.Options{})
	if err != nil {
		return Table{}, err
	}
	t, err := FromDataset(f.Recording.Data)
	if err != nil {
		return t, err
	}
	t.Left, t.Series = f.Left(), true
	var keep []int
	for k, name := range t.Columns {
		if !slices.Contains(described, strings.ToLower(name)) {
			keep = append(keep, k)
		}
	}
	if len(keep) == 0 {
		return t, fmt.Errorf("there is no column to compare: found %s", strings.Join(append(t.Columns, t.Left...), ", "))
	}
	return t.only(keep), nil
}

// choice is which columns of a recording's file are read.
type choice struct {
	known  bool // it is a recording
	head   []string
	at     []int // columns of the file, by those of the table
	names  []string
	left   []string
	values []float64 // [n,F]
}

func newChoice(head []string) (*choice, error) {
	c := &choice{}
	places := map[int]int{} // column of the file by place
	names := map[int]string{}
	for i, h := range head {
		h = strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))
		c.head = append(c.head, h)
		name, place, ok := scoredName(h)
		if !ok {
			continue
		}
		if _, twice := places[place]; twice {
			return nil, fmt.Errorf("column %s is a duplicate", name)
		}
		places[place], names[place] = i, name
	}
	c.known = len(places) > 0
	for _, place := range slices.Sorted(maps.Keys(places)) {
		c.at, c.names = append(c.at, places[place]), append(c.names, names[place])
	}
	for i, h := range c.head {
		switch _, ours := telemetry.Canonical(h); {
		case slices.Contains(described, strings.ToLower(h)) || slices.Contains(c.at, i):
		case c.known && ours && h != "calc_rate": // the counter's rise is in the counter
			c.left = append(c.left, h)
		}
	}
	return c, nil
}

// add adds a row.
func (c *choice) add(rec []string, in *csv.Reader) error {
	for k, i := range c.at {
		x := math.NaN()
		if s := strings.TrimSpace(rec[i]); !telemetry.Missing(s) {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
				line, _ := in.FieldPos(i)
				return fmt.Errorf("line %d: %s: %q is not a finite number", line, c.names[k], s)
			}
			x = v
		}
		c.values = append(c.values, x)
	}
	return nil
}

// only is t with some of its columns.
func (t Table) only(at []int) Table {
	if len(at) == len(t.Columns) {
		return t
	}
	out := Table{Left: t.Left, Series: t.Series}
	for _, k := range at {
		out.Columns = append(out.Columns, t.Columns[k])
	}
	for i := range t.Rows() {
		for _, k := range at {
			out.Values = append(out.Values, t.Values[i*len(t.Columns)+k])
		}
	}
	return out
}

// Common are the tables with the columns that all of them have and were
// measured in each, in the order of the first, and the names of the rest.
func Common(all ...Table) ([]Table, []string, error) {
	var left []string
	leave := func(name string) {
		if !slices.Contains(left, name) {
			left = append(left, name)
		}
	}
	at := make([][]int, len(all))
	for _, t := range all {
		for _, name := range t.Columns {
			places := make([]int, len(all))
			for i, o := range all {
				places[i] = slices.Index(o.Columns, name)
				if places[i] < 0 || !slices.ContainsFunc(o.column(places[i]), func(v float64) bool { return !math.IsNaN(v) }) {
					leave(name)
					break
				}
			}
		}
		for _, name := range t.Left {
			leave(name)
		}
	}
	for _, name := range all[0].Columns {
		if slices.Contains(left, name) {
			continue
		}
		for i, o := range all {
			at[i] = append(at[i], slices.Index(o.Columns, name))
		}
	}
	if len(at[0]) == 0 {
		return nil, left, fmt.Errorf("selection: no column is measured in both: %v and %v", all[0].Columns, all[len(all)-1].Columns)
	}
	out := make([]Table, len(all))
	for i, t := range all {
		out[i] = t.only(at[i])
	}
	return out, left, nil
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
	out := Table{Columns: t.Columns, Left: t.Left, Series: t.Series}
	for i := range t.Rows() {
		if keep(i) {
			out.Values = append(out.Values, t.Row(i)...)
		}
	}
	return out
}

// Write writes t as the tutorial's export does: its 13 column names, three of
// them beginning with a blank, and q_size, the index of the queue limit among
// those compared. Unlike the tutorial's, rows stay in time order. Of a table
// with other columns their names are written as they are.
func (t Table) Write(w io.Writer, qSize int) error {
	header := header
	if !slices.Equal(t.Columns, Columns) {
		header = strings.Join(t.Columns, ",") + ",q_size\n"
	}
	if n := t.gaps(); n > 0 {
		return fmt.Errorf("selection: %d rows have cells that were not measured", n)
	}
	// The tutorial's names are not quoted, as encoding/csv would.
	if _, err := io.WriteString(w, header); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	rec := make([]string, 0, len(t.Columns)+1)
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
// integrated. What was not measured is NaN. Of a dataset with no column of a
// recording all are taken.
func FromDataset(d *telemetry.Dataset) (Table, error) {
	type column struct {
		name  string
		place int
		at    int
	}
	var columns []column
	var left []string
	fields := d.Fields()
	for i, f := range fields {
		of := f.Name
		if of == "calc_rate" {
			of = "calc_cum"
		}
		if name, place, ok := scoredName(of); ok {
			columns = append(columns, column{name, place, i})
		} else {
			left = append(left, f.Name)
		}
	}
	if len(columns) == 0 {
		for i, f := range fields {
			columns = append(columns, column{f.Name, i, i})
		}
		left = nil
	}
	slices.SortFunc(columns, func(a, b column) int { return a.place - b.place })
	t := Table{Values: make([]float64, d.Len()*len(columns)), Left: left}
	counter, counted := d.Counter()
	for k, c := range columns {
		t.Columns = append(t.Columns, c.name)
		for i := range d.Len() {
			v, ok := d.At(i, c.at)
			x := float64(v)
			if fields[c.at].Name == "calc_rate" {
				x, ok = counter[i], counted[i]
			}
			if !ok {
				x = math.NaN()
			}
			t.Values[i*len(columns)+k] = x
		}
	}
	return t, nil
}
