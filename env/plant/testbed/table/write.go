// Package table reads and writes the Parquet table of recorded sessions that
// `planegym testbed record` makes, a row per session and second.
package table

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/planegym/planegym/env/plant/testbed"
)

// Writer writes logs as one Parquet table, a row per session and second:
// session, seed, t (seconds), limit1…S in force (packets), then the columns,
// empty where nothing was measured.
type Writer struct {
	out      *parquet.GenericWriter[any]
	switches int
	fields   int
	at       []int // of the columns above, their place in the file
	sessions int
}

// NewWriter begins a table of t's logs. Its Close finishes it, w stays open.
func NewWriter(w io.Writer, t *testbed.Testbed) *Writer {
	group := parquet.Group{
		"session": parquet.Leaf(parquet.Int32Type), "seed": parquet.Uint(64), "t": parquet.Leaf(parquet.Int32Type),
	}
	names := []string{"session", "seed", "t"}
	for n := 1; n <= t.Switches(); n++ {
		names = append(names, fmt.Sprintf("limit%d", n))
		group[names[len(names)-1]] = parquet.Leaf(parquet.Int32Type)
	}
	meta := []parquet.WriterOption{parquet.Compression(&zstd.Codec{})}
	for _, f := range t.Columns() {
		names = append(names, f.Name)
		group[f.Name] = parquet.Optional(parquet.Leaf(parquet.FloatType))
		meta = append(meta, parquet.KeyValueMetadata("unit."+f.Name, f.Unit))
	}
	schema := parquet.NewSchema("recording", group)
	place := map[string]int{}
	for i, path := range schema.Columns() {
		place[path[0]] = i
	}
	table := &Writer{switches: t.Switches(), fields: len(t.Columns())}
	for _, n := range names {
		table.at = append(table.at, place[n])
	}
	table.out = parquet.NewGenericWriter[any](w, append(meta, schema)...)
	return table
}

// Add appends a log as the next session.
func (t *Writer) Add(l *testbed.Log) error {
	s, f := t.switches, t.fields
	row := make(parquet.Row, len(t.at))
	for sec := range l.Seconds() {
		k := 0
		put := func(v parquet.Value, optional bool) {
			at, defined := t.at[k], 0
			if optional && !v.IsNull() {
				defined = 1
			}
			row[at] = v.Level(0, defined, at)
			k++
		}
		put(parquet.Int32Value(int32(t.sessions)), false)
		put(parquet.Int64Value(int64(l.Seed)), false)
		put(parquet.Int32Value(int32(sec)), false)
		for _, x := range l.Limits[sec*s : (sec+1)*s] {
			put(parquet.Int32Value(int32(x)), false)
		}
		for c := range f {
			v := parquet.NullValue()
			if i := sec*f + c; l.Valid[i] {
				v = parquet.FloatValue(l.Values[i])
			}
			put(v, true)
		}
		if _, err := t.out.WriteRows([]parquet.Row{row}); err != nil {
			return fmt.Errorf("table: parquet: %w", err)
		}
	}
	t.sessions++
	return nil
}

// Close finishes the table.
func (t *Writer) Close() error {
	if err := t.out.Close(); err != nil {
		return fmt.Errorf("table: parquet: %w", err)
	}
	return nil
}
