package table

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/internal/parquetfile"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// Session is a session of a table: T seconds, S switches, F columns.
type Session struct {
	Seed   uint64
	Limits []p4.Limit // [T,S] in force
	Values []float32  // [T,F], the last value before it, or 0, where !Valid
	Valid  []bool     // [T,F]
}

// Read reads the table that Writer wrote, its columns and its sessions in
// their order. Errors name the row (from 1) and the column.
func Read(path string) (fields []telemetry.Field, switches int, sessions []Session, err error) {
	file, err := os.Open(path)
	if err != nil {
		return fields, switches, sessions, fmt.Errorf("table: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return fields, switches, sessions, fmt.Errorf("table: %w", err)
	}
	if fields, switches, sessions, err = Decode(file, st.Size()); err != nil {
		return fields, switches, sessions, fmt.Errorf("table: %s: %w", path, err)
	}
	return fields, switches, sessions, nil
}

// Decode is Read of what is at hand.
func Decode(in io.ReaderAt, size int64) (fields []telemetry.Field, switches int, sessions []Session, err error) {
	defer parquetfile.Recover(&err)
	var r tableReader
	if err := r.read(in, size); err != nil {
		return fields, switches, sessions, err
	}
	return r.fields, len(r.limits), r.sessions, nil
}

type tableReader struct {
	fields           []telemetry.Field
	session, seed, t int   // places of columns
	limits           []int // likewise [S]
	values           []int // likewise [F]
	columns          int
	sessions         []Session
	last             []float32 // [F]
}

func (r *tableReader) read(in io.ReaderAt, size int64) error {
	pf, err := parquetfile.Open(in, size)
	if err != nil {
		return err
	}
	if err := r.schema(pf); err != nil {
		return err
	}
	rows := parquet.NewReader(pf)
	defer rows.Close()
	if err := parquetfile.Read(rows.ReadRows, func(row *parquet.Row) error { return r.add(*row) }); err != nil {
		return err
	}
	if len(r.sessions) == 0 {
		return errors.New("no sessions are recorded")
	}
	return nil
}

func (r *tableReader) schema(pf *parquet.File) error {
	at, units := map[string]int{}, map[string]string{}
	columns := pf.Schema().Columns()
	for i, path := range columns {
		at[strings.Join(path, ".")] = i
	}
	for _, kv := range pf.Metadata().KeyValueMetadata {
		if name, ok := strings.CutPrefix(kv.Key, "unit."); ok {
			units[name] = kv.Value
		}
	}
	find := func(name string, kind parquet.Kind) (int, error) {
		i, ok := at[name]
		if !ok {
			return 0, fmt.Errorf("there is no column %s: testbed record writes one", name)
		}
		leaf, _ := pf.Schema().Lookup(columns[i]...)
		if k := leaf.Node.Type().Kind(); k != kind {
			return 0, fmt.Errorf("column %s is of %v, expected %v", name, k, kind)
		}
		return i, nil
	}
	var err error
	for _, c := range []struct {
		to   *int
		name string
		kind parquet.Kind
	}{{&r.session, "session", parquet.Int32}, {&r.seed, "seed", parquet.Int64}, {&r.t, "t", parquet.Int32}} {
		if *c.to, err = find(c.name, c.kind); err != nil {
			return err
		}
	}
	for n := 1; ; n++ {
		name := fmt.Sprint("limit", n)
		if _, ok := at[name]; !ok && n > 1 {
			break
		}
		i, err := find(name, parquet.Int32)
		if err != nil {
			return err
		}
		r.limits = append(r.limits, i)
	}
	r.columns = len(columns)
	names := []string{"lbo_s", "fps", "rep_kbps", "calc_rate", "stall_s"}
	for n := len(r.limits); n > 0; n-- {
		names = append([]string{fmt.Sprint("enq_qdepth", n), fmt.Sprint("deq_timedelta", n), fmt.Sprint("deq_qdepth", n)}, names...)
	}
	for _, name := range names {
		i, err := find(name, parquet.Float)
		if err != nil {
			return err
		}
		r.fields, r.values = append(r.fields, telemetry.Field{Name: name, Unit: units[name]}), append(r.values, i)
	}
	return nil
}

func (r *tableReader) add(row parquet.Row) error {
	if len(row) != r.columns {
		return fmt.Errorf("%d values of %d columns", len(row), r.columns)
	}
	session, t := int(row[r.session].Int32()), int(row[r.t].Int32())
	if session == len(r.sessions) && t == 0 {
		r.sessions = append(r.sessions, Session{Seed: uint64(row[r.seed].Int64())})
		r.last = make([]float32, len(r.fields))
	}
	if session < 0 || session != len(r.sessions)-1 {
		return fmt.Errorf("session: %d at second %d, expected %d", session, t, max(len(r.sessions)-1, 0))
	}
	s := &r.sessions[session]
	if seconds := len(s.Limits) / len(r.limits); t != seconds {
		return fmt.Errorf("t: %d, expected %d", t, seconds)
	}
	for n, i := range r.limits {
		l := p4.Limit(row[i].Int32())
		if err := l.Check(); err != nil {
			return fmt.Errorf("limit%d: %w", n+1, err)
		}
		s.Limits = append(s.Limits, l)
	}
	for f, i := range r.values {
		valid := !row[i].IsNull()
		if valid {
			x := row[i].Float()
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return fmt.Errorf("%s: %v", r.fields[f].Name, x)
			}
			r.last[f] = x
		}
		s.Values, s.Valid = append(s.Values, r.last[f]), append(s.Valid, valid)
	}
	return nil
}
