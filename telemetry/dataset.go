package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

// maxSeconds is the longest recording accepted, a week: a clock that jumps
// further is wrong, and would ask for memory without end.
const maxSeconds = 7 * 24 * 3600

// Dataset is one recording on a 1 Hz grid: T seconds of F fields and which of
// them were measured. It never changes, so it may be shared freely.
//
// Cumulative counters are kept as their differences, see Counter. Values that
// were not measured hold the last one that was; before the first, the median
// of those measured in train blocks (of all, where those hold none), so that
// every value is finite and none tells of a test block in advance.
type Dataset struct {
	fields []Field
	limit  int
	base   float64   // calc_cum before the first second
	millis []int64   // [T] when the player was measured, since 1970
	values []float32 // [T,F]
	valid  []bool    // [T,F]
	hash   [sha256.Size]byte
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

// Counter is the cumulative counter of each second, integrated from calc_rate;
// nil where the recording has none. It is the recorded one exactly where that
// holds whole numbers and rises by less than 2^24 a second, and the last one
// recorded where there is a gap.
func (d *Dataset) Counter() []float64 {
	c := d.Column("calc_rate")
	if c < 0 {
		return nil
	}
	sum := d.base
	out := make([]float64, d.Len())
	for t := range out {
		if v, ok := d.At(t, c); ok {
			sum += float64(v)
		}
		out[t] = sum
	}
	return out
}

// builder makes a Dataset of records that come second by second.
type builder struct {
	Dataset
	from    *Reader
	columns []int   // of the dataset, by field of from; -1 for the counter
	rate    int     // column of calc_rate, -1 where there is none
	counter int     // fields of from, -1 where there is none
	given   int     // calc_rate among them
	sum     float64 // the counter so far
	before  float64 // and at the end of the second before
	counted bool    // sum is a value of the file
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
	b.rate = b.Column("calc_rate")
	return b
}

// grow makes room for seconds, the new ones not measured.
func (b *builder) grow(seconds int) {
	f := len(b.fields)
	for t := len(b.millis); t < seconds; t++ {
		var ms int64
		if t > 0 {
			ms = b.millis[t-1] + 1000
		}
		b.millis = append(b.millis, ms)
	}
	n := seconds*f - len(b.values)
	b.values = append(b.values, make([]float32, n)...)
	b.valid = append(b.valid, make([]bool, n)...)
}

// put puts a record at t, the latest second so far or a later one. Of two
// records of a second the second counts, with the counter's rise in both.
func (b *builder) put(t int, rec *Record) error {
	if t >= len(b.millis) {
		b.before = b.sum
	}
	b.grow(t + 1)
	b.millis[t] = rec.Millis
	at := t * len(b.fields)
	for i, c := range b.columns {
		if c >= 0 {
			b.values[at+c], b.valid[at+c] = float32(rec.Values[i]), rec.Valid[i]
		}
	}
	if b.counter < 0 || !rec.Valid[b.counter] {
		return nil
	}
	cum := rec.Values[b.counter]
	if b.counted && cum < b.sum {
		return b.from.bad(b.from.header[b.from.sources[b.counter].cell], fmt.Sprint(cum),
			fmt.Sprintf("at least the %v above: a cumulative counter", b.sum))
	}
	given := b.given >= 0 && rec.Valid[b.given]
	if !b.counted && given {
		b.base = cum - float64(float32(rec.Values[b.given]))
		b.before = b.base
	}
	rate := cum - b.before
	if given && math.Abs(rate-rec.Values[b.given]) > 1e-6*max(cum, 1) {
		return b.from.bad("calc_rate", fmt.Sprint(rec.Values[b.given]), fmt.Sprintf("%v, the difference of calc_cum", rate))
	}
	if !given {
		b.values[at+b.rate], b.valid[at+b.rate] = float32(rate), true
	}
	b.sum, b.counted = cum, true
	return nil
}

// dataset ends the building.
func (b *builder) dataset() *Dataset {
	d := b.Dataset // lets go of the reader
	return d.finish()
}

// nearest is the second of a player's record: as many whole seconds after the
// first as is nearest, so that jitter neither doubles nor skips one.
func (b *builder) nearest(ms int64) (int, error) {
	if len(b.millis) == 0 {
		return 0, nil
	}
	return b.within((ms - b.millis[0] + 500) / 1000)
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
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
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
