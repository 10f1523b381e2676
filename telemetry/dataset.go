package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"time"
)

// maxSeconds is the longest recording accepted, a week: a clock that jumps
// further is wrong, and would ask for memory without end.
const maxSeconds = 7 * 24 * 3600

// Dataset is one recording on a 1 Hz grid: T seconds of F fields and which of
// them were measured. It never changes, so it may be shared freely.
//
// Cumulative counters are stored as their differences, see Counter. Values that
// were not measured hold the last one that was; before the first, the median
// of those measured in train blocks (of all, where those hold none), so that
// every value is finite and none leaks from a test block.
type Dataset struct {
	fields  []Field
	limit   int
	base    float64   // calc_cum before the first second that has one
	cum     []float64 // [T] calc_cum, NaN where there is none; nil: the sum of calc_rate
	millis  []int64   // [T] when the player was measured, since 1970
	values  []float32 // [T,F]
	valid   []bool    // [T,F]
	hash    [sha256.Size]byte
	reading Reading
}

// NewDataset copies values and valid [T,F] of a recording that began at start
// under limit packets (0: unknown).
func NewDataset(fields []Field, limit int, start time.Time, values []float32, valid []bool) (*Dataset, error) {
	d := &Dataset{fields: slices.Clone(fields), limit: limit, values: slices.Clone(values), valid: slices.Clone(valid)}
	f := len(fields)
	if f == 0 || len(values) == 0 || len(values)%f != 0 || len(valid) != len(values) {
		return nil, fmt.Errorf("telemetry: dataset: %d values and %d flags for %d fields", len(values), len(valid), f)
	}
	if limit < 0 {
		return nil, fmt.Errorf("telemetry: dataset: limit: %d packets is negative", limit)
	}
	for i, a := range fields {
		if a.Name == "" || slices.ContainsFunc(fields[:i], func(b Field) bool { return a.Name == b.Name }) {
			return nil, fmt.Errorf("telemetry: dataset: field %d: %q is empty or named twice", i, a.Name)
		}
	}
	for i, v := range values {
		if valid[i] && !(math.Abs(float64(v)) <= math.MaxFloat32) {
			return nil, fmt.Errorf("telemetry: dataset: second %d: %s is %v: want a finite number", i/f, fields[i%f].Name, v)
		}
	}
	for t := range len(values) / f {
		d.millis = append(d.millis, start.UnixMilli()+1000*int64(t))
	}
	return d.finish(), nil
}

// finish fills what was not measured and takes the hash.
func (d *Dataset) finish() *Dataset {
	f := len(d.fields)
	for c := range f {
		last := d.median(c)
		for i := c; i < len(d.values); i += f {
			if d.valid[i] {
				last = d.values[i]
			} else {
				d.values[i] = last
			}
		}
	}
	h := sha256.New()
	d.encode(h)
	h.Sum(d.hash[:0])
	return d
}

// median is column c's over train blocks, or over all of it, or 0.
func (d *Dataset) median(c int) float32 {
	for _, s := range []Split{Train, All} {
		if v := d.measured(c, s); len(v) > 0 {
			slices.Sort(v)
			return float32(Quantile(v, .5))
		}
	}
	return 0
}

// measured are the valid values of column c in a split, in order of time.
func (d *Dataset) measured(c int, s Split) []float64 {
	var v []float64
	for t := range d.Len() {
		if i := t*len(d.fields) + c; d.valid[i] && s.Holds(t) {
			v = append(v, float64(d.values[i]))
		}
	}
	return v
}

// encode writes the content in one fixed form, for the hash.
func (d *Dataset) encode(h hash.Hash) {
	var b []byte
	for _, f := range d.fields {
		b = fmt.Appendf(b, "%q %q\n", f.Name, f.Unit)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(d.limit))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(d.base))
	for _, ms := range d.millis {
		b = binary.LittleEndian.AppendUint64(b, uint64(ms))
	}
	for i, v := range d.values {
		if !d.valid[i] {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	h.Write(b)
}

// Fields are the columns.
func (d *Dataset) Fields() []Field { return slices.Clone(d.fields) }

// Column is the index of a field, or -1.
func (d *Dataset) Column(name string) int {
	return slices.IndexFunc(d.fields, func(f Field) bool { return f.Name == name })
}

// Len is T, in seconds.
func (d *Dataset) Len() int { return len(d.millis) }

// Limit is the queue limit in force, in packets; 0 where it is not known.
func (d *Dataset) Limit() int { return d.limit }

// Start is when the first second was measured.
func (d *Dataset) Start() time.Time { return time.UnixMilli(d.millis[0]).UTC() }

// Hash names the content: equal for equal fields, times, limit, measured
// values and gaps. A checkpoint keeps it to tell what it was trained on.
func (d *Dataset) Hash() string { return hex.EncodeToString(d.hash[:]) }

// At is column c of second t, and whether it was measured.
func (d *Dataset) At(t, c int) (float32, bool) {
	i := t*len(d.fields) + c
	return d.values[i], d.valid[i]
}

// Copy fills values and valid [n,F] with the n seconds from start. Either may
// be nil. It allocates nothing.
func (d *Dataset) Copy(start int, values []float32, valid []bool) {
	at := start * len(d.fields)
	if values != nil {
		copy(values, d.values[at:at+len(values)])
	}
	if valid != nil {
		copy(valid, d.valid[at:at+len(valid)])
	}
}

// Counter is the cumulative counter of each second and whether it was measured
// in it: as recorded, or, of values that were not read from a file, the sum of
// calc_rate. A second without one has the last one before. nil where the
// recording has no counter.
func (d *Dataset) Counter() ([]float64, []bool) {
	c := d.Column("calc_rate")
	if c < 0 {
		return nil, nil
	}
	sum := d.base
	out, counted := make([]float64, d.Len()), make([]bool, d.Len())
	for t := range out {
		v, ok := d.At(t, c)
		switch {
		case d.cum != nil && !math.IsNaN(d.cum[t]):
			sum, counted[t] = d.cum[t], true
		case d.cum == nil && ok:
			sum += float64(v)
			counted[t] = true
		}
		out[t] = sum
	}
	return out, counted
}

// WithLimit is d under a limit, in packets.
func (d *Dataset) WithLimit(limit int) (*Dataset, error) {
	if limit < 0 {
		return nil, fmt.Errorf("telemetry: dataset: limit: %d packets is negative", limit)
	}
	out := *d
	out.values = slices.Clone(d.values)
	out.limit = limit
	return out.finish(), nil
}

// Measured is the share of seconds in which each field was measured, by field.
func (d *Dataset) Measured() []float64 {
	share := make([]float64, len(d.fields))
	for i, ok := range d.valid {
		if ok {
			share[i%len(d.fields)] += 1 / float64(d.Len())
		}
	}
	return share
}

// WithReading is d, of which something was passed over while it was read.
func (d *Dataset) WithReading(r Reading) *Dataset {
	out := *d
	out.reading = r
	return &out
}

// Empty are the names of the fields that were measured in no second.
func (d *Dataset) Empty() []string {
	var out []string
	for c, share := range d.Measured() {
		if share == 0 {
			out = append(out, d.fields[c].Name)
		}
	}
	return out
}

// Reading is what was passed over in the files that d was read from.
func (d *Dataset) Reading() Reading { return d.reading }

// builder makes a Dataset of records that come second by second.
type builder struct {
	Dataset
	from    *Reader
	origin  int64 // ms since 1970, of the first record: where second 0 begins
	columns []int // of the dataset, by field of from; -1 for the counter
	stall   int   // column of stall_s, -1 where there is none
	rate    int   // of calc_rate, likewise
	counter int   // fields of from, -1 where there is none
	given   int   // calc_rate among them
	now     count // the last one
	before  count // at the end of the second before
	rise    refusals
}

// count is the counter at the end of a second.
type count struct {
	sum    float64
	second int
	ok     bool
}

// newBuilder makes a builder of what from reads, after the fields before.
func newBuilder(from *Reader, before []Field) *builder {
	b := &builder{from: from, rate: -1, counter: -1, given: -1}
	b.fields = slices.Clone(before)
	for i, f := range from.fields {
		switch f.Name {
		case "calc_cum":
			b.counter = i
		case "calc_rate":
			b.given = i
		}
	}
	for _, f := range from.fields {
		if f.Name == "calc_cum" {
			if b.given >= 0 {
				continue
			}
			f, _ = Canonical("calc_rate")
		}
		b.fields = append(b.fields, f)
	}
	SortFields(b.fields)
	for _, f := range from.fields {
		b.columns = append(b.columns, b.Column(f.Name))
	}
	b.rate, b.stall = b.Column("calc_rate"), b.Column("stall_s")
	return b
}

// grow makes room for seconds, the new ones not measured.
func (b *builder) grow(seconds int) {
	f := len(b.fields)
	for t := len(b.millis); t < seconds; t++ {
		ms := b.origin
		if t > 0 {
			ms = b.millis[t-1] + 1000
		}
		b.millis = append(b.millis, ms)
		if b.counter >= 0 {
			b.cum = append(b.cum, math.NaN())
		}
	}
	n := seconds*f - len(b.values)
	b.values = append(b.values, make([]float32, n)...)
	b.valid = append(b.valid, make([]bool, n)...)
}

// put puts a record at t, the latest second so far or a later one. Of two
// records of a second the later one's values count, the stalls of both, and
// the counter's rise in both.
func (b *builder) put(t int, rec *Record) error {
	again := t < len(b.millis)
	switch {
	case !again && t == 0:
		b.origin = rec.Millis
	case !again:
		b.before = b.now
	}
	b.grow(t + 1)
	if t > 0 {
		b.millis[t] = rec.Millis
	}
	at := t * len(b.fields)
	for i, c := range b.columns {
		if c < 0 || !rec.Valid[i] {
			continue
		}
		v := float32(rec.Values[i])
		if c == b.stall && b.valid[at+c] {
			v = min(b.values[at+c]+v, 1)
		}
		b.values[at+c], b.valid[at+c] = v, true
	}
	if b.counter >= 0 && rec.Valid[b.counter] {
		return b.count(t, rec)
	}
	return nil
}

// count takes the counter of a record at t. The rise of a second is since the
// last second that had a count, by second where others lie between; the first
// count has none unless it is 0, nor has one that starts over.
func (b *builder) count(t int, rec *Record) error {
	cum := rec.Values[b.counter]
	given := b.given >= 0 && rec.Valid[b.given]
	since := float64(max(t-b.before.second, 1))
	rise := cum - b.before.sum
	cell := t*len(b.fields) + b.rate
	switch {
	case given && !b.before.ok:
		if !b.now.ok {
			b.base = cum - float64(float32(rec.Values[b.given]))
		}
	case given:
		given, near := rec.Values[b.given], 1e-6*max(cum, 1)
		if math.Abs(rise-given) > near && math.Abs(rise/since-given) > near {
			return b.from.bad("calc_rate", fmt.Sprint(given), fmt.Sprintf("%v, the difference of calc_cum", rise/since))
		}
	case b.given >= 0: // a gap, or a count that began anew, where it was recorded
		if !b.now.ok {
			b.base = cum
		}
	case b.now.ok && cum < b.now.sum: // it began anew
		b.reading.Restarts++
		b.valid[cell], b.values[cell] = false, 0
		b.before = count{}
	case b.before.ok || !b.now.ok && cum == 0:
		f := b.fields[b.rate]
		b.rise.of++
		if !f.Plausible(rise / since) {
			b.rise.refuse(b.from.value1(b.counter, rise/since, bounds(f)))
			b.valid[cell], b.values[cell] = false, 0
		} else {
			b.values[cell], b.valid[cell] = float32(rise/since), true
		}
	case !b.now.ok:
		b.base = cum
	}
	if !b.now.ok && cum == 0 { // the next record of this second rises from 0
		b.before = count{0, t, true}
	}
	b.now = count{cum, t, true}
	b.cum[t] = cum
	return nil
}

// dataset ends the building.
func (b *builder) dataset() *Dataset {
	if b.from != nil {
		b.reading.add(b.from)
	}
	b.reading.Refused = b.rise.append(b.reading.Refused)
	d := b.Dataset // lets go of the reader
	return d.finish()
}

// nearest is the second of a player's record: as many whole seconds after the
// first as is nearest, so that jitter neither doubles nor skips one.
func (b *builder) nearest(ms int64) (int, error) {
	if len(b.millis) == 0 {
		return 0, nil
	}
	return b.within((ms - b.origin + 500) / 1000)
}

// within is second t, unless the recording cannot be that long.
func (b *builder) within(t int64) (int, error) {
	if t >= maxSeconds {
		return 0, b.from.bad("", fmt.Sprintf("%d s after the first line", t), fmt.Sprintf("a recording of less than %d s", maxSeconds))
	}
	return int(t), nil
}

// ReadGrid reads one recording of the grid format, which WriteCSV and
// `planegym import` write.
func ReadGrid(path string) (*Dataset, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return DecodeGrid(f, path)
}

// DecodeGrid is ReadGrid of r; file names it in errors.
func DecodeGrid(r io.Reader, file string) (*Dataset, error) {
	in, err := NewReader(r, file, Grid)
	if err != nil {
		return nil, err
	}
	b := newBuilder(in, nil)
	if len(b.fields) == 0 {
		return nil, in.bad("", "", "columns of a switch or a player")
	}
	err = in.each(func(rec *Record) error {
		t, err := b.within(int64(in.rows) - 1)
		if err != nil {
			return err
		}
		return b.put(t, rec)
	})
	if err != nil {
		return nil, err
	}
	b.limit = int(in.limit)
	return b.dataset(), nil
}
