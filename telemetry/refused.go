package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

// MaxRefused is the share of a column's cells that may be impossible before a
// file is refused whole: more than that is not an accident.
const MaxRefused = .05

// Refused are the cells of one column that hold what cannot be a measurement:
// a value outside of its field's bounds, or a time out of order. They count as
// not measured; the lines of refused times are passed over whole.
type Refused struct {
	Column string      `json:"column"` // as the file names it
	Count  int         `json:"count"`
	Of     int         `json:"of"` // cells that hold a value
	First  *ValueError `json:"first"`
}

// Share is the share of cells that were refused.
func (r Refused) Share() float64 { return float64(r.Count) / float64(max(r.Of, 1)) }

func (r Refused) String() string {
	return fmt.Sprintf("%v (%d of %d, %.2g %%)", r.First, r.Count, r.Of, 100*r.Share())
}

// Reading is what was passed over while files were read.
type Reading struct {
	Refused  []Refused   `json:"refused,omitempty"`
	Restarts int         `json:"restarts,omitempty"` // of the player's counter, whose rise was not measured there
	Cut      []*CutError `json:"cut,omitempty"`
	Clocks   []Clock     `json:"clocks,omitempty"` // times in another unit than the format's
}

// Clock is the unit of a file's times, where it is not the one that files of
// its format have.
type Clock struct {
	File string `json:"file"`
	Unit string `json:"unit"`
}

// add adds what r passed over.
func (r *Reading) add(from *Reader) {
	r.Refused = append(r.Refused, from.Refused()...)
	if from.cut != nil {
		r.Cut = append(r.Cut, from.cut)
	}
	if u := from.unit; u != nil && u != &timeUnits[formats[from.format].unit] {
		r.Clocks = append(r.Clocks, Clock{from.file, u.name})
	}
}

// Check is an error if more than a share of a column's cells were refused; a
// ValueError that names the first of them.
func (r Reading) Check(share float64) error {
	for _, c := range r.Refused {
		if c.Share() > share {
			bad := *c.First
			bad.Want += fmt.Sprintf("; so are %d of %d, %.2g %%, and %.2g %% may be", c.Count, c.Of, 100*c.Share(), 100*share)
			if c.Count == 1 {
				bad.Want = c.First.Want
			}
			return &bad
		}
	}
	return nil
}

// Notes are a line for each thing that was passed over, for people.
func (r Reading) Notes() []string {
	var out []string
	for _, c := range r.Clocks {
		out = append(out, fmt.Sprintf("%s: times are taken for %s", c.File, c.Unit))
	}
	for _, c := range r.Refused {
		out = append(out, fmt.Sprintf("not measured: %v", c))
	}
	if r.Restarts > 0 {
		out = append(out, fmt.Sprintf("the player's counter began anew %d times", r.Restarts))
	}
	for _, c := range r.Cut {
		out = append(out, c.Error())
	}
	return out
}

// refusals count the refused cells of a column.
type refusals struct {
	n, of int
	first *ValueError
}

func (r *refusals) refuse(why error) {
	if r.n++; r.n == 1 {
		errors.As(why, &r.first)
	}
}

// append appends what was refused, if anything.
func (r *refusals) append(to []Refused) []Refused {
	if r.n == 0 {
		return to
	}
	return append(to, Refused{r.first.Column, r.n, r.of, r.first})
}

// Tally counts which values of columns cannot be measurements.
type Tally struct {
	fields    []Field
	low, high []float64
	columns   []refusals
}

// NewTally makes a tally of columns.
func NewTally(fields []Field) *Tally {
	t := &Tally{fields: slices.Clone(fields), columns: make([]refusals, len(fields))}
	for _, f := range fields {
		low, high := f.Bounds()
		t.low, t.high = append(t.low, low), append(t.high, high)
	}
	return t
}

// Take counts a value of column i and reports whether it can be a measurement.
// where names its source, line and, from 1, its place in it.
func (t *Tally) Take(i int, v float64, where string, line int) bool {
	r := &t.columns[i]
	r.of++
	if v >= t.low[i] && v <= t.high[i] {
		return true
	}
	f := t.fields[i]
	if r.n++; r.n == 1 {
		r.first = &ValueError{File: where, Line: line, Column: f.Name, Value: fmt.Sprint(v), Want: bounds(f)}
	}
	return false
}

// Add adds what a reader refused of column i.
func (t *Tally) Add(i int, r Refused) {
	c := &t.columns[i]
	c.n, c.of = c.n+r.Count, c.of+r.Count
	if c.first == nil {
		c.first = r.First
	}
}

// Refused are the columns of which a value was refused.
func (t *Tally) Refused() []Refused {
	var out []Refused
	for i := range t.columns {
		out = t.columns[i].append(out)
	}
	return out
}

// bounds says what a value of f must be.
func bounds(f Field) string {
	low, high := f.Bounds()
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	unit := f.Unit
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("%s to %s%s", number(low), number(high), unit)
}

// CutError says that a file ends within a record, as one does whose writer was
// killed. All records before it were read.
type CutError struct {
	File    string `json:"file"`
	Line    int    `json:"line"`    // that was cut
	Records int    `json:"records"` // whole ones before it
}

func (e *CutError) Error() string {
	return fmt.Sprintf("%s: cut within line %d: the %d records before it were read", e.File, e.Line, e.Records)
}

// Open opens a regular file for reading. Anything else, such as a named pipe,
// whose opening would wait for a writer, is an error at once.
func Open(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("telemetry: %w", &fs.PathError{Op: "open", Path: path, Err: errors.New(kind(st.Mode()) + ": want a regular file")})
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return f, nil
}

// kind names the kind of a file that is not regular.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "no file"
}

// LimitLines is r, and an error once a line of it is longer than a readable
// one, a mebibyte: what reads lines of it takes bounded memory.
func LimitLines(r io.Reader) io.Reader { return &lineLimit{r: r} }

type lineLimit struct {
	r io.Reader
	n int // bytes of the line so far
}

func (l *lineLimit) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	b := p[:n]
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.n += len(b)
			break
		}
		if l.n += i; l.n > maxLine {
			break
		}
		l.n, b = 0, b[i+1:]
	}
	if l.n > maxLine {
		return 0, fmt.Errorf("a line is longer than %d bytes", maxLine)
	}
	return n, err
}
