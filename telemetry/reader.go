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
	"time"
)

// ValueError is bad input: a value in a file that is not what its field allows.
type ValueError struct {
	File   string
	Line   int    // from 1; 0 where the whole file is meant
	Column string // as the file names it; "" where the whole line is meant
	Value  string // the text found there, at most its beginning
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
	maxLine  = 1 << 20 // bytes
	maxShown = 60      // bytes of a bad value that an error repeats
)

// Reader reads a file line by line, in memory that does not grow with the
// file. Create one with NewReader.
type Reader struct {
	file   string
	format Format
	comma  []byte
	lines  *bufio.Scanner
	line   int
	head   []byte // the first line
	whole  bool   // the line ends in a newline
	header []string
	cells  [][]byte

	fields  []Field
	sources []source // of fields
	low     []float64
	high    []float64
	clock   int // columns of the file, -1 where it has none
	second  int
	queue   int
	present int

	rows   int
	first  int64 // Millis of the first record and of the last
	last   int64
	stray  int64 // of a line that was too far ahead, 0: there was none
	unit   *timeUnit
	values []refusals // by field
	times  refusals
	cut    *CutError
	// limit is what the column queue of a grid holds, 0 where it has none.
	limit int64
}

// source is where in a line a field is found: all of a cell, or its part before
// or after the x. Cell -1: it is in none.
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
	d := &Reader{file: file, format: format, lines: lines}
	lines.Split(d.cutLine)
	head, err := d.next()
	if err == io.EOF {
		return nil, d.bad("", "", "a header line: the file is empty")
	} else if err != nil {
		return nil, err
	}
	d.head, d.comma = bytes.Clone(head), []byte{separator(head, formats[format].comma)}
	d.split(head)
	for _, c := range d.cells {
		d.header = append(d.header, string(c))
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
			if c.Name == name && c.aliases != nil && d.format != Grid {
				shown = c.aliases[0]
			} else if d.format == DASH && (name == "width" || name == "height") {
				shown = "Resolution"
			}
		}
		return -1, d.bad(shown, strings.Join(d.header, string(d.comma)), fmt.Sprintf("this column in the header of %s files", f.name))
	}
	for hop := 1; f.hops && hop <= max(len(hops), 1); hop++ {
		for i, c := range columns[:hopKinds] {
			name := strings.TrimSuffix(c.Name, "N") + strconv.Itoa(hop)
			names = append(names, name)
			if _, ok := at[name]; !ok && hops[hop] && d.format == INT {
				at[name] = source{cell: -1}
			} else if _, err := need(name); i == 0 && err != nil {
				return err
			}
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
		low, high := field.Bounds()
		d.low, d.high = append(d.low, low), append(d.high, high)
	}
	d.values = make([]refusals, len(d.fields))
	var err error
	if f.clock != "" {
		for _, n := range clockNames {
			if s, ok := at[n]; ok && d.format != Grid {
				d.clock = s.cell
				break
			}
		}
		if d.clock < 0 {
			if d.clock, err = need(f.clock); err != nil {
				return err
			}
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

// Read reads the next line into rec, whose memory it reuses, and passes over
// those whose time cannot be one; see Refused. It returns io.EOF after the last
// whole line; CutError says of a file that its writer did not end there.
func (d *Reader) Read(rec *Record) error {
	for {
		line, err := d.next()
		if err != nil {
			return err
		}
		kept, err := d.record(line, rec)
		if err != nil && !d.whole { // the last line, which has no newline
			d.cut = &CutError{d.file, d.line, d.rows}
			return io.EOF
		}
		if err != nil || kept {
			return err
		}
	}
}

// CutError is how the file was found to end; nil where it was whole so far.
func (d *Reader) CutError() *CutError { return d.cut }

// Refused counts, by column, the cells so far that held no measurement.
func (d *Reader) Refused() []Refused {
	out := d.times.append(nil)
	for i := range d.values {
		out = d.values[i].append(out)
	}
	return out
}

// record reads a line, unless its time is refused.
func (d *Reader) record(line []byte, rec *Record) (bool, error) {
	d.split(line)
	switch {
	case bytes.Equal(line, d.head): // a second log after the first
		return false, nil
	case len(d.cells) != len(d.header):
		return false, d.bad("", string(line), fmt.Sprintf("%d cells as in the header, not %d", len(d.header), len(d.cells)))
	}
	rec.Line, rec.Millis = d.line, 0
	rec.Values = Grow(rec.Values, len(d.fields))
	rec.Valid = Grow(rec.Valid, len(d.fields))
	if d.clock >= 0 {
		ms, ok, err := d.time()
		if !ok || err != nil {
			return false, err
		}
		rec.Millis = ms
	}
	for i, s := range d.sources {
		var err error
		if rec.Values[i], rec.Valid[i], err = d.value(i, s); err != nil {
			return false, err
		}
	}
	if d.format == Grid {
		if err := d.checkGrid(rec); err != nil {
			return false, err
		}
	}
	if d.rows == 0 {
		d.first = rec.Millis
	}
	d.rows++
	d.last = rec.Millis
	return true, nil
}

// cutLine is bufio.ScanLines that notes whether the line ended.
func (d *Reader) cutLine(data []byte, atEOF bool) (int, []byte, error) {
	n, line, err := bufio.ScanLines(data, atEOF)
	if n > 0 {
		d.whole = data[n-1] == '\n'
	}
	return n, line, err
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

// time is the time of a line in milliseconds; false where it cannot be one.
func (d *Reader) time() (int64, bool, error) {
	cell := d.cells[d.clock]
	d.times.of++
	if d.format == Grid { // its seconds are counted by t
		v, err := strconv.ParseFloat(string(cell), 64)
		if err != nil || !(v >= 0 && v <= maxMillis) {
			return 0, false, d.bad(d.header[d.clock], string(cell), "milliseconds since 1970")
		}
		if d.rows > 0 && int64(v) < d.last {
			return 0, false, d.bad(d.header[d.clock], string(cell), fmt.Sprintf("a time not before the line above, %d", d.last))
		}
		d.unit = &timeUnits[millis]
		due := float64(d.first) + 1000*float64(d.rows)
		if d.rows > 0 && math.Abs(v-due) > 2000+50*float64(d.rows) {
			d.times.refuse(d.bad(d.header[d.clock], string(cell), fmt.Sprintf("about %.0f ms: a second after the line above", due)))
		}
		return int64(v), true, nil
	}
	if d.unit == nil {
		d.unit = unitOf(cell)
	}
	wrong := func(want string) (int64, bool, error) {
		d.times.refuse(d.bad(d.header[d.clock], string(cell), want))
		return 0, false, nil
	}
	if d.unit == nil {
		return wrong("a time after 2000: seconds, milli-, micro- or nanoseconds since 1970, or ISO 8601")
	}
	v, ok := d.unit.millis(cell)
	ms := int64(math.Floor(v))
	show := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000") }
	switch {
	case !ok || !PlausibleTime(v):
		return wrong("a time between 2000 and 2100 in " + d.unit.name + ", as in the lines above")
	case ms < d.last: // 0 before the first
		return wrong("a time not before the line above, " + show(d.last))
	case d.stray <= ms && ms <= d.stray+maxGap: // no time after 2000 is within an hour of a stray of 0
		return 0, false, d.bad(d.header[d.clock], string(cell), fmt.Sprintf("a time within an hour of the lines before, %s: cut the log in two where it starts over", show(d.last)))
	case d.rows > 0 && ms > d.last+maxGap:
		d.stray = ms
		return wrong("a time within an hour of the line above, " + show(d.last))
	}
	d.stray = 0
	return ms, true, nil
}

// value is the number of field i in a line, and whether there is one that can
// be a measurement.
func (d *Reader) value(i int, s source) (float64, bool, error) {
	if s.cell < 0 {
		return 0, false, nil
	}
	cell := d.cells[s.cell]
	if isMissing(cell) {
		return 0, false, nil
	}
	text := cell
	if s.part > 0 {
		at := bytes.IndexAny(cell, "xX×")
		if at <= 0 {
			return 0, false, d.bad(d.header[s.cell], string(cell), "a resolution like 1280x720")
		}
		if text = cell[:at]; s.part == 2 {
			text = bytes.TrimLeft(cell[at:], "xX×")
		}
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil && bytes.IndexByte(text, ',') >= 0 { // a decimal comma
		v, err = strconv.ParseFloat(strings.Replace(string(text), ",", ".", 1), 64)
	}
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false, d.bad(d.header[s.cell], string(cell), "a number")
	}
	r := &d.values[i]
	r.of++
	if !(v >= d.low[i] && v <= d.high[i]) {
		if r.n++; r.n == 1 {
			errors.As(d.bad(d.header[s.cell], string(cell), bounds(d.fields[i])), &r.first)
		}
		return 0, false, nil
	}
	return v, true, nil
}

// value1 is the error of a value of field i that is made of several cells.
func (d *Reader) value1(i int, v float64, want string) error {
	return d.bad(d.header[d.sources[i].cell], fmt.Sprint(v), want)
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
