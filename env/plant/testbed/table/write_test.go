package table_test

import (
	"bytes"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/env/plant/testbed/table"
)

func TestWriter(t *testing.T) {
	p, l := logged(t)
	var b bytes.Buffer
	w := table.NewWriter(&b, p)
	for range 2 {
		if err := w.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Session   int32    `parquet:"session"`
		Seed      uint64   `parquet:"seed"`
		T         int32    `parquet:"t"`
		Limit1    int32    `parquet:"limit1"`
		Limit3    int32    `parquet:"limit3"`
		Timedelta *float32 `parquet:"deq_timedelta1,optional"`
		LBO       *float32 `parquet:"lbo_s,optional"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(rows) != 120 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	f := len(p.Columns())
	for i, r := range rows {
		sec := i % 60
		if int(r.Session) != i/60 || r.Seed != 4 || int(r.T) != sec || r.Limit1 != int32(l.Limits[3*sec]) || r.Limit3 != int32(l.Limits[3*sec+2]) || (r.LBO != nil) != l.Valid[sec*f+9] || r.LBO != nil && *r.LBO != l.Values[sec*f+9] ||
			(r.Timedelta != nil) != l.Valid[sec*f+1] || r.Timedelta != nil && *r.Timedelta != l.Values[sec*f+1] {
			t.Fatalf("row %d: %+v", i, r)
		}
	}
}
