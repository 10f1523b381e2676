// Package sessions reads the Parquet table of recorded sessions that testbed record
// writes: a row per session and second, with the queue limits in force. It is the
// format of recordings in which the limit changes.
package sessions

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/internal/parquetfile"
	"github.com/planegym/planegym/telemetry"
)

// ReadFile reads the sessions of a file, in its order, each a recording with a
// limit for every second, or one for each switch where they differ. Errors name
// the file, the row (from 1), the column and what was expected.
func ReadFile(path string) ([]telemetry.Recording, error) {
	f, err := telemetry.Open(path)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("sessions: %s: %w", path, err)
	}
	all, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("sessions: %s: %w", path, err)
	}
	return all, nil
}

// Decode is ReadFile of what something else holds.
func Decode(b []byte) (all []telemetry.Recording, err error) {
	defer parquetfile.Recover(&err)
	f, err := parquetfile.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(f)
	if err != nil {
		return nil, err
	}
	rows := parquet.NewReader(f)
	defer rows.Close()
	if err := parquetfile.Read(rows.ReadRows, func(row *parquet.Row) error { d.row++; return d.add(*row) }); err != nil {
		return nil, err
	}
	if err := d.close(); err != nil {
		return nil, err
	}
	if len(d.all) == 0 {
		return nil, errors.New("no sessions are recorded")
	}
	return d.all, nil
}

// decoder gathers rows into recordings.
type decoder struct {
	fields  []telemetry.Field
	session int // its column; -1 where there is none, as t
	t       int
	limits  []int
	columns []int // by field

	of     int64   // the session being gathered
	force  []int   // the first switch's limit, by second
	each   []int32 // all switches' [T,S]
	values []float32
	valid  []bool
	tally  *telemetry.Tally
	row    int // being read, from 1
	all    []telemetry.Recording
}

func newDecoder(f *parquet.File) (*decoder, error) {
	d := &decoder{session: -1, t: -1}
	place := map[string]int{}
	for i, path := range f.Schema().Columns() {
		name := strings.Join(path, ".")
		leaf, _ := f.Schema().Lookup(path...)
		want := parquet.Float
		switch {
		case name == "session":
			d.session, want = i, parquet.Int32
		case name == "t":
			d.t, want = i, parquet.Int32
		case name == "seed":
			want = parquet.Int64
		case strings.HasPrefix(name, "limit"):
			d.limits, want = append(d.limits, i), parquet.Int32
		default:
			field, ok := telemetry.Canonical(name)
			if !ok || field.Name != name || name == "calc_cum" {
				return nil, fmt.Errorf("column %q is none that is measured", name)
			}
			d.fields = append(d.fields, field)
			place[name] = i
		}
		if kind := leaf.Node.Type().Kind(); !leaf.Node.Leaf() || leaf.Node.Repeated() || kind != want {
			return nil, fmt.Errorf("column %q holds %v, expected %v", name, kind, want)
		}
	}
	if d.session < 0 || d.t < 0 || len(d.limits) == 0 || len(d.fields) == 0 {
		return nil, errors.New("no recorded sessions: expected columns session, t, limit1 and what was measured")
	}
	telemetry.SortFields(d.fields)
	for _, f := range d.fields {
		d.columns = append(d.columns, place[f.Name])
	}
	d.tally = telemetry.NewTally(d.fields)
	return d, nil
}

func (d *decoder) add(row parquet.Row) error {
	session := row[d.session].Int64()
	if len(d.force) > 0 && session != d.of {
		if session < d.of {
			return fmt.Errorf("session: %d follows %d", session, d.of)
		}
		if err := d.close(); err != nil {
			return err
		}
	}
	d.of = session
	if t := row[d.t].Int64(); t != int64(len(d.force)) {
		return fmt.Errorf("t: %d, expected second %d of session %d", t, len(d.force), session)
	}
	limit := row[d.limits[0]].Int64()
	for n, c := range d.limits {
		l := row[c].Int64()
		if l < 1 {
			return fmt.Errorf("limit%d: %d: expected at least 1 packet", n+1, l)
		}
		d.each = append(d.each, int32(l))
	}
	d.force = append(d.force, int(limit))
	for i, c := range d.columns {
		if v := row[c]; !v.IsNull() && d.tally.Take(i, float64(v.Float()), "recording", d.row) {
			d.values, d.valid = append(d.values, v.Float()), append(d.valid, true)
		} else {
			d.values, d.valid = append(d.values, 0), append(d.valid, false)
		}
	}
	return nil
}

// close makes a recording of the session that was gathered.
func (d *decoder) close() error {
	if len(d.force) == 0 {
		return nil
	}
	r := telemetry.Recording{Limits: slices.Clone(d.force)}
	s := len(d.limits)
	for t := range slices.Chunk(d.each, s) {
		if slices.Min(t) != slices.Max(t) {
			r.Limits, r.PerSwitch = nil, slices.Clone(d.each)
			break
		}
	}
	if r.PerSwitch == nil && slices.Min(d.force) == slices.Max(d.force) {
		r.Limit, r.Limits = d.force[0], nil
	}
	var err error
	if r.Data, err = telemetry.NewDataset(d.fields, r.Limit, time.Unix(0, 0), d.values, d.valid); err != nil {
		return fmt.Errorf("session %d: %w", d.of, err)
	}
	r.Data = r.Data.WithReading(telemetry.Reading{Refused: d.tally.Refused()})
	d.tally = telemetry.NewTally(d.fields)
	d.all = append(d.all, r)
	d.force, d.each, d.values, d.valid = d.force[:0], d.each[:0], d.values[:0], d.valid[:0]
	return nil
}
