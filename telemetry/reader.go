package telemetry

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ValueError is bad input: what stands in a file where something else should.
type ValueError struct {
	File   string
	Line   int    // from 1; 0 where the whole file is meant
	Column string // as the file names it; "" where the whole line is meant
	Value  string // what stands there, at most its beginning
	Want   string // what was expected
}

func (e *ValueError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Column != "" {
		b.WriteString(": " + e.Column)
	}
	fmt.Fprintf(&b, ": %q: want %s", e.Value, e.Want)
	return b.String()
}

// Format is a kind of file.
type Format uint8

// The formats. All are text with a header line that names the columns, which
// may come in any order with blanks around their names; columns that are not
// mentioned are ignored. A UTF-8 byte order mark and CRLF are accepted.
const (
	// INT is the log of in-band telemetry, comma-separated, one probe a line,
	// several a second: timestamp in seconds, and enq_qdepthN,
	// deq_timedeltaN, deq_qdepthN for each switch. An empty cell was not
	// measured.
	INT Format = iota
	// DASH is the log of a player, separated by semicolons: timestamp in
	// milliseconds, Buffer, FPS, ReportedBitrate, Resolution as 1280x720,
	// CalcBitrate, and stall_s if it is there. An empty cell was not measured.
	DASH
	// Merged is the published join of the two, comma-separated, without
	// timestamps and with every cell filled: the INT columns, Buffer,
	// ReportedBitrate, FPS, CalcBitrate.
	Merged
	// Grid is one recording second by second, comma-separated, as WriteCSV
	// writes it: t = 0, 1, 2, …, ts_ms, the columns of a Dataset with the
	// counter calc_cum beside calc_rate, int_present. An empty cell was not
	// measured. queue, the limit in packets, is optional.
	Grid
)

// formats says of each format how to read it.
var formats = [...]struct {
	name   string
	comma  byte
	clock  string // column of time
	unit   float64
	hops   bool // has switches
	need   []string
	may    []string
	filled bool // no cell is empty
}{
	INT:    {name: "INT", comma: ',', clock: "timestamp", unit: 1000, hops: true},
	DASH:   {name: "DASH", comma: ';', clock: "timestamp", unit: 1, need: []string{"lbo_s", "fps", "rep_kbps", "calc_cum", "width", "height"}, may: []string{"stall_s"}},
	Merged: {name: "merged", comma: ',', hops: true, need: []string{"lbo_s", "fps", "rep_kbps", "calc_cum"}, filled: true},
	Grid:   {name: "grid", comma: ',', clock: "ts_ms", unit: 1},
}

func (f Format) String() string {
	if int(f) < len(formats) {
		return formats[f].name
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// Record is one line of a file.
type Record struct {
	Line   int       // in the file, from 1
	Millis int64     // since 1970; 0 in a format without timestamps
	Values []float64 // by Reader.Fields; 0 where !Valid
	Valid  []bool
}

const (
	maxLine   = 1 << 20 // bytes
	maxMillis = 1e14    // a time after the year 5000 is in a wrong unit
	maxShown  = 60      // bytes of a bad value that an error repeats
)

// Reader reads a file line by line, in memory that does not grow with the
// file. Create one with NewReader.
type Reader struct {
	file   string
	format Format
	comma  []byte
	lines  *bufio.Scanner
	line   int
	header []string
	cells  [][]byte

	fields  []Field
	sources []source // of fields
	clock   int      // columns of the file, -1 where it has none
	second  int
	queue   int
	present int

	rows int
	last int64 // Millis of the last record
	// limit is what the column queue of a grid holds, 0 where it has none.
	limit int64
}

// source is where in a line a field stands: all of a cell, or its part before
// or after the x.
type source struct {
	cell, part int
}

// NewReader reads the header of r, a file of the given format whose name is
// used in errors. What is wrong with the content is a *ValueError; the same
// holds for Read.
func NewReader(r io.Reader, file string, format Format) (*Reader, error) {
	if int(format) >= len(formats) {
		return nil, fmt.Errorf("telemetry: %v is unknown", format)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 1<<16), maxLine)
	d := &Reader{file: file, format: format, comma: []byte{formats[format].comma}, lines: lines}
	head, err := d.next()
	if err == io.EOF {
		return nil, d.bad("", "", "a header line: the file is empty")
	} else if err != nil {
		return nil, err
	}
	d.split(head)
	for _, c := range d.cells {
		d.header = append(d.header, string(c))
	}
	if len(d.header) == 1 && bytes.ContainsAny(head, ",;\t|") {
		return nil, d.bad("", string(head), fmt.Sprintf("columns separated by %q", d.comma))
	}
	if err := d.bind(); err != nil {
		return nil, err
	}
	return d, nil
}

// bind finds the columns of the format in the header.
func (d *Reader) bind() error {
	f := &formats[d.format]
	at := map[string]source{}
	hops := map[int]bool{}
	var names []string
	d.clock, d.second, d.queue, d.present = -1, -1, -1, -1
	for i, h := range d.header {
		holds := []string{h}
		if field, ok := Canonical(h); ok {
			holds[0] = field.Name
		} else if h == "Resolution" {
			holds = []string{"width", "height"}
		}
		for part, n := range holds {
			s := source{cell: i}
			if len(holds) > 1 {
				s.part = part + 1
			}
			if _, twice := at[n]; twice && n != "" {
				return d.bad(h, n, "each column once")
			}
			at[n] = s
			if _, ok := Canonical(n); !ok {
				continue
			}
			if _, hop := splitHop(n); hop > 0 {
				hops[hop] = true
			}
			if d.format == Grid {
				names = append(names, n)
			}
		}
	}
	need := func(name string) (int, error) {
		if s, ok := at[name]; ok {
			return s.cell, nil
		}
		shown := name
		for _, c := range columns {
			if c.Name == name && c.alias != "" && d.format != Grid {
				shown = c.alias
			} else if d.format == DASH && (name == "width" || name == "height") {
				shown = "Resolution"
			}
		}
		return -1, d.bad(shown, strings.Join(d.header, string(d.comma)), fmt.Sprintf("this column in the header of %s files", f.name))
	}
	for hop := 1; f.hops && hop <= max(len(hops), 1); hop++ {
		for _, c := range columns[:hopKinds] {
			names = append(names, strings.TrimSuffix(c.Name, "N")+strconv.Itoa(hop))
		}
	}
	names = append(names, f.need...)
	for _, n := range names {
		if _, err := need(n); err != nil {
			return err
		}
	}
	for _, n := range f.may {
		if _, ok := at[n]; ok {
			names = append(names, n)
		}
	}
	for _, n := range names {
		field, _ := Canonical(n)
		d.fields = append(d.fields, field)
	}
	SortFields(d.fields)
	for _, field := range d.fields {
		d.sources = append(d.sources, at[field.Name])
	}
	var err error
	if f.clock != "" {
		if d.clock, err = need(f.clock); err != nil {
			return err
		}
	}
	if d.format != Grid {
		return nil
	}
	if d.second, err = need("t"); err != nil {
		return err
	}
	if s, ok := at["queue"]; ok {
		d.queue = s.cell
	}
	if len(hops) > 0 {
		d.present, err = need("int_present")
	}
	return err
}

// Fields are the columns that Read gives, in canonical order: switch by
// switch, then the player's.
func (d *Reader) Fields() []Field { return slices.Clone(d.fields) }

// Read reads the next line into rec, whose memory it reuses. It returns io.EOF
// after the last.
func (d *Reader) Read(rec *Record) error {
	line, err := d.next()
	if err != nil {
		return err
	}
	d.split(line)
	if len(d.cells) != len(d.header) {
		return d.bad("", string(line), fmt.Sprintf("%d cells as in the header, not %d", len(d.header), len(d.cells)))
	}
	rec.Line, rec.Millis = d.line, 0
	rec.Values = Grow(rec.Values, len(d.fields))
	rec.Valid = Grow(rec.Valid, len(d.fields))
	if d.clock >= 0 {
		if rec.Millis, err = d.time(); err != nil {
			return err
		}
	}
	for i, s := range d.sources {
		if rec.Values[i], rec.Valid[i], err = d.value(s); err != nil {
			return err
		}
	}
	if d.format == Grid {
		if err := d.checkGrid(rec); err != nil {
			return err
		}
	}
	d.rows++
	d.last = rec.Millis
	return nil
}

// next is the next line that is not blank.
func (d *Reader) next() ([]byte, error) {
	for d.lines.Scan() {
		d.line++
		b := d.lines.Bytes()
		if d.line == 1 {
			b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		}
		if len(bytes.TrimSpace(b)) > 0 {
			return b, nil
		}
	}
	switch err := d.lines.Err(); {
	case err == nil:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		d.line++
		return nil, d.bad("", "", fmt.Sprintf("a line of at most %d bytes", maxLine))
	default:
		return nil, fmt.Errorf("telemetry: read %s after line %d: %w", d.file, d.line, err)
	}
}

// split cuts a line into cells, without the blanks and quotes around them; no
// format has a cell that holds its separator.
func (d *Reader) split(line []byte) {
	d.cells = d.cells[:0]
	for more := true; more; {
		var cell []byte
		cell, line, more = bytes.Cut(line, d.comma)
		cell = bytes.TrimSpace(cell)
		if n := len(cell); n >= 2 && cell[0] == '"' && cell[n-1] == '"' {
			cell = bytes.TrimSpace(cell[1 : n-1])
		}
		d.cells = append(d.cells, cell)
	}
}

// time is the time of a line in milliseconds.
func (d *Reader) time() (int64, error) {
	f := &formats[d.format]
	unit := "milliseconds"
	if f.unit != 1 {
		unit = "seconds"
	}
	cell := d.cells[d.clock]
	v, err := strconv.ParseFloat(string(cell), 64)
	if err != nil || !(v >= 0 && v*f.unit <= maxMillis) {
		return 0, d.bad(f.clock, string(cell), unit+" since 1970")
	}
	ms := int64(math.Floor(v * f.unit))
	if d.rows > 0 && ms < d.last {
		return 0, d.bad(f.clock, string(cell), fmt.Sprintf("a time not before the line above (%v %s)", float64(d.last)/f.unit, unit))
	}
	return ms, nil
}

// value is a number of a line, and whether there is one.
func (d *Reader) value(s source) (float64, bool, error) {
	cell := d.cells[s.cell]
	if len(cell) == 0 && !formats[d.format].filled {
		return 0, false, nil
	}
	text := cell
	if s.part > 0 {
		before, after, ok := bytes.Cut(cell, []byte("x"))
		if !ok {
			return 0, false, d.bad(d.header[s.cell], string(cell), "a resolution like 1280x720")
		}
		if text = before; s.part == 2 {
			text = after
		}
	}
	v, err := strconv.ParseFloat(string(text), 64)
	switch {
	case err != nil || !(math.Abs(v) <= math.MaxFloat32):
		return 0, false, d.bad(d.header[s.cell], string(cell), "a finite number")
	case v < 0:
		return 0, false, d.bad(d.header[s.cell], string(cell), "a number of at least 0")
	}
	return v, true, nil
}

// checkGrid checks what a grid says beside its values: one line a second, one
// limit, and int_present that agrees with the cells.
func (d *Reader) checkGrid(rec *Record) error {
	t, err := strconv.ParseInt(string(d.cells[d.second]), 10, 64)
	if err != nil || t != int64(d.rows) {
		return d.bad("t", string(d.cells[d.second]), fmt.Sprintf("%d: one line a second from 0", d.rows))
	}
	if d.queue >= 0 {
		limit, err := strconv.ParseInt(string(d.cells[d.queue]), 10, 32)
		switch {
		case err != nil || limit < 0:
			return d.bad("queue", string(d.cells[d.queue]), "a queue limit in packets")
		case d.rows > 0 && limit != d.limit:
			return d.bad("queue", string(d.cells[d.queue]), fmt.Sprintf("%d as in the first line: one limit a recording", d.limit))
		}
		d.limit = limit
	}
	if d.present < 0 {
		return nil
	}
	want := "0"
	for i, f := range d.fields {
		if _, hop := splitHop(f.Name); hop > 0 && rec.Valid[i] {
			want = "1"
		}
	}
	if got := string(d.cells[d.present]); got != want {
		return d.bad("int_present", got, want+": whether an INT cell of the line is filled")
	}
	return nil
}

func (d *Reader) bad(column, value, want string) error {
	if len(value) > maxShown {
		value = strings.ToValidUTF8(value[:maxShown], "") + "…"
	}
	return &ValueError{File: d.file, Line: d.line, Column: column, Value: value, Want: want}
}
