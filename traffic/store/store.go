// Package store reads and writes files of sessions: planegym's own Parquet, one row a
// session, and two published formats, MIRAGE's Parquet and NEMEA-SIoT's JSON.
//
// planegym's own file has the columns label and start, meta.NAME for each field of
// a session and steps.NAME, a list, for each field of its steps. Symbols are
// strings; sizes, ports and address ranks int64; all else double. The schema
// is JSON in the file's metadata under "planegym.schema".
package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/parquetfile"
	"github.com/planegym/planegym/traffic"
)

const (
	schemaKey   = "planegym.schema"
	labelColumn = "label"
	startColumn = "start"
)

// column is one of the file: which field, or the label or start.
type column struct {
	field *traffic.Field // nil: label, or start
	step  bool
	at    int // index in Meta or in Steps
	index int // in a row

	// Of a file that is read:
	name string
	null int // as nullElement says
}

// nullElement is the definition level of a list's element that has no value, -1
// where each has one: a null below is a list without elements.
func nullElement(leaf parquet.LeafColumn) int {
	if leaf.Node.Optional() {
		return leaf.MaxDefinitionLevel - 1
	}
	return -1
}

func columnName(step bool, f *traffic.Field) string {
	if step {
		return "steps." + f.Name
	}
	return "meta." + f.Name
}

// layout is the Parquet schema of c.
func layout(c *traffic.Schema) (*parquet.Schema, []column) {
	leaf := func(f *traffic.Field) parquet.Node {
		switch f.Kind {
		case traffic.Symbol:
			return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
		case traffic.Size, traffic.Port, traffic.Address:
			return parquet.Int(64)
		}
		return parquet.Leaf(parquet.DoubleType)
	}
	group := parquet.Group{
		labelColumn: parquet.Optional(parquet.Encoded(parquet.String(), &parquet.RLEDictionary)),
		startColumn: parquet.Leaf(parquet.DoubleType),
	}
	for i := range c.Meta {
		group[columnName(false, &c.Meta[i])] = leaf(&c.Meta[i])
	}
	for i := range c.Steps {
		group[columnName(true, &c.Steps[i])] = parquet.List(leaf(&c.Steps[i]))
	}
	s := parquet.NewSchema("sessions", group)
	columns := make([]column, 0, len(group))
	at := func(path ...string) int {
		leaf, ok := s.Lookup(path...)
		if !ok {
			panic(fmt.Sprintf("store: the layout has no column %q", path))
		}
		return leaf.ColumnIndex
	}
	columns = append(columns, column{index: at(labelColumn)}, column{index: at(startColumn)})
	for i := range c.Meta {
		columns = append(columns, column{field: &c.Meta[i], at: i, index: at(columnName(false, &c.Meta[i]))})
	}
	for i := range c.Steps {
		columns = append(columns, column{field: &c.Steps[i], step: true, at: i, index: at(columnName(true, &c.Steps[i]), "list", "element")})
	}
	return s, columns
}

func value(f *traffic.Field, x float64) parquet.Value {
	switch f.Kind {
	case traffic.Symbol:
		return parquet.ByteArrayValue([]byte(f.Levels[int(x)]))
	case traffic.Size, traffic.Port, traffic.Address:
		return parquet.Int64Value(int64(x))
	}
	return parquet.DoubleValue(x)
}

// Write writes sessions as they come. It checks each; an error names the
// session.
func Write(w io.Writer, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (n int, err error) {
	if err := c.Check(); err != nil {
		return 0, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	s, columns := layout(c)
	out := parquet.NewGenericWriter[any](w, s, parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}), parquet.KeyValueMetadata(schemaKey, string(text)))
	var row parquet.Row
	for x, err := range sessions {
		if err != nil {
			return n, err
		}
		if err := c.Valid(&x); err != nil {
			return n, fmt.Errorf("session %d: %w", n, err)
		}
		row = row[:0]
		byIndex := make([][]parquet.Value, len(columns))
		for k, col := range columns {
			switch {
			case k == 0 && x.Label < 0:
				byIndex[col.index] = []parquet.Value{parquet.NullValue().Level(0, 0, col.index)}
			case k == 0:
				byIndex[col.index] = []parquet.Value{parquet.ByteArrayValue([]byte(c.Labels[x.Label])).Level(0, 1, col.index)}
			case k == 1:
				byIndex[col.index] = []parquet.Value{parquet.DoubleValue(x.Start).Level(0, 0, col.index)}
			case !col.step:
				byIndex[col.index] = []parquet.Value{value(col.field, x.Meta[col.at]).Level(0, 0, col.index)}
			case len(x.Steps) == 0:
				byIndex[col.index] = []parquet.Value{parquet.NullValue().Level(0, 0, col.index)}
			default:
				for i := 0; i < c.Len(&x); i++ {
					byIndex[col.index] = append(byIndex[col.index], value(col.field, c.Step(&x, i)[col.at]).Level(min(i, 1), 1, col.index))
				}
			}
		}
		for _, v := range byIndex {
			row = append(row, v...)
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return n, fmt.Errorf("store: session %d: %w", n, err)
		}
		n++
	}
	if err := out.Close(); err != nil {
		return n, fmt.Errorf("store: %w", err)
	}
	return n, nil
}

// WriteFile writes a file that appears whole or not at all, and counts its
// sessions.
func WriteFile(path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (n int, err error) {
	err = atomicfile.Write(path, func(w io.Writer) error {
		n, err = Write(w, c, sessions)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// All is the sessions of a source, in order.
func All(src traffic.Source) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		for i := range src.Len() {
			s, err := src.At(i)
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// ErrFormat is wrapped by the error of a Parquet file without sessions.
var ErrFormat = errors.New("no Parquet file of sessions")

// ReadFile reads a Parquet file of sessions, ours or MIRAGE's.
func ReadFile(path string) (*traffic.Set, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Read is ReadFile of what a file holds. Errors name the row.
func Read(b []byte) (set *traffic.Set, err error) {
	defer parquetfile.Recover(&err)
	f, err := parquetfile.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	text, ok := f.Lookup(schemaKey)
	if !ok {
		if isMIRAGE(f) {
			return readMIRAGE(f)
		}
		return nil, fmt.Errorf("%w: it has no metadata %q, and no columns PL, IAT, DIR, LABEL as MIRAGE's", ErrFormat, schemaKey)
	}
	set = &traffic.Set{}
	if err := json.Unmarshal([]byte(text), &set.Of); err != nil {
		return nil, fmt.Errorf("%w: metadata %s: %w", ErrFormat, schemaKey, err)
	}
	c := &set.Of
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	// The columns are found by name, so that a file rewritten by another
	// program is read too.
	_, columns := layout(c)
	own := make(map[int]*column, len(columns))
	for k := range columns {
		col := &columns[k]
		path := []string{labelColumn}
		switch {
		case k == 1:
			path = []string{startColumn}
		case k > 1 && !col.step:
			path = []string{columnName(false, col.field)}
		case k > 1:
			path = []string{columnName(true, col.field), "list", "element"}
		}
		leaf, ok := f.Schema().Lookup(path...)
		if !ok {
			return nil, fmt.Errorf("%w: it has no column %q", ErrFormat, path[0])
		}
		if col.step != (leaf.MaxRepetitionLevel == 1) {
			return nil, fmt.Errorf("%w: column %q: a value a session in meta, a list in steps", ErrFormat, path[0])
		}
		own[leaf.ColumnIndex] = col
		col.name, col.null = path[0], nullElement(leaf)
	}
	levels := map[*traffic.Field]map[string]float64{nil: {}}
	for i, l := range c.Labels {
		levels[nil][l] = float64(i)
	}
	for k := range columns {
		if fd := columns[k].field; fd != nil && fd.Kind == traffic.Symbol {
			levels[fd] = map[string]float64{}
			for i, l := range fd.Levels {
				levels[fd][l] = float64(i)
			}
		}
	}
	err = eachRow(f, func(row parquet.Row) error {
		s := traffic.Session{Label: -1, Meta: make([]float64, len(c.Meta))}
		steps := make([][]float64, len(c.Steps))
		for _, v := range row {
			col := own[v.Column()]
			switch {
			case col == nil || v.IsNull() && col == &columns[0]: // another program's column; no label
				continue
			case v.IsNull() && !col.step:
				return fmt.Errorf("%s: there is no value", col.name)
			case v.IsNull() && v.DefinitionLevel() == col.null:
				return fmt.Errorf("%s: step %d has no value", col.name, len(steps[col.at]))
			case v.IsNull(): // a list without elements
				continue
			}
			x, err := number(v, levels, col)
			if err != nil {
				return err
			}
			switch {
			case col == &columns[0]:
				s.Label = int(x)
			case col == &columns[1]:
				s.Start = x
			case !col.step:
				s.Meta[col.at] = x
			default:
				steps[col.at] = append(steps[col.at], x)
			}
		}
		n := len(steps[0])
		for i := range steps {
			if len(steps[i]) != n {
				return fmt.Errorf("%d values of %s, %d of %s", len(steps[i]), c.Steps[i].Name, n, c.Steps[0].Name)
			}
		}
		s.Steps = make([]float64, 0, n*len(steps))
		for t := range n {
			for i := range steps {
				s.Steps = append(s.Steps, steps[i][t])
			}
		}
		set.Sessions = append(set.Sessions, s)
		return c.Valid(&s)
	})
	return set, err
}

// number is a cell as a session holds it. Names are texts, and numbers are not: an
// index that another program gave a name need not be the schema's.
func number(v parquet.Value, levels map[*traffic.Field]map[string]float64, col *column) (float64, error) {
	of, named := levels[col.field]
	if named = named && col.name != startColumn; named != (v.Kind() == parquet.ByteArray) {
		want := "numbers"
		if named {
			want = fmt.Sprintf("texts, one of %q", slices.Sorted(maps.Keys(of)))
		}
		return 0, fmt.Errorf("%s: values of %v: expected %s", col.name, v.Kind(), want)
	}
	switch v.Kind() {
	case parquet.Double:
		return v.Double(), nil
	case parquet.Float:
		return float64(v.Float()), nil
	case parquet.Int64:
		return float64(v.Int64()), nil
	case parquet.Int32:
		return float64(v.Int32()), nil
	case parquet.ByteArray:
		x, ok := of[string(v.ByteArray())]
		if !ok {
			return 0, fmt.Errorf("%s: %q is not a level of the schema", col.name, v.ByteArray())
		}
		return x, nil
	}
	return 0, fmt.Errorf("%s: values of %v: expected numbers", col.name, v.Kind())
}

// eachRow calls use for every row; errors name it, from 1.
func eachRow(f *parquet.File, use func(parquet.Row) error) error {
	n := 0
	for _, g := range f.RowGroups() {
		rows := g.Rows()
		err := func() error {
			defer rows.Close()
			buffer := make([]parquet.Row, 64)
			for {
				k, err := rows.ReadRows(buffer)
				for _, row := range buffer[:k] {
					n++
					if err := use(row); err != nil {
						return fmt.Errorf("row %d: %w", n, err)
					}
				}
				switch {
				case errors.Is(err, io.EOF):
					return nil
				case err == nil && k == 0:
					return io.ErrNoProgress
				case err != nil:
					return fmt.Errorf("row %d: %w", n+1, err)
				}
			}
		}()
		if err != nil {
			return err
		}
	}
	return nil
}
