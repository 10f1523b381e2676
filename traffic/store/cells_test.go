package store

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/traffic"
)

// Files that another program wrote, with cells that hold nothing or something else:
// never a session with other numbers, always the row and the column.
func TestCells(t *testing.T) {
	type list struct {
		List []struct {
			Element *float64 `parquet:"element,optional"`
		} `parquet:"list"`
	}
	number := func(x float64) *float64 { return &x }
	steps := func(values ...*float64) (l list) {
		for _, x := range values {
			l.List = append(l.List, struct {
				Element *float64 `parquet:"element,optional"`
			}{x})
		}
		return l
	}
	type row struct {
		Label *string  `parquet:"label,optional"`
		Start *float64 `parquet:"start,optional"`
		Port  *float64 `parquet:"meta.port,optional"`
		Proto *string  `parquet:"meta.proto,optional"`
		Size  list     `parquet:"steps.size"`
		Gap   list     `parquet:"steps.gap"`
	}
	type numbered struct {
		Label float64 `parquet:"label"`
		Start float64 `parquet:"start"`
		Port  int32   `parquet:"meta.port"`
		Proto string  `parquet:"meta.proto"`
		Size  list    `parquet:"steps.size"`
		Gap   list    `parquet:"steps.gap"`
	}
	type texts struct {
		Label string `parquet:"label"`
		Start string `parquet:"start"`
		Port  int64  `parquet:"meta.port"`
		Proto string `parquet:"meta.proto"`
		Size  list   `parquet:"steps.size"`
		Gap   list   `parquet:"steps.gap"`
	}
	type flags struct {
		Label string  `parquet:"label"`
		Start float64 `parquet:"start"`
		Port  bool    `parquet:"meta.port"`
		Proto string  `parquet:"meta.proto"`
		Size  list    `parquet:"steps.size"`
		Gap   list    `parquet:"steps.gap"`
	}
	type codes struct {
		Label string  `parquet:"label"`
		Start float64 `parquet:"start"`
		Port  int64   `parquet:"meta.port"`
		Proto int64   `parquet:"meta.proto"`
		Size  list    `parquet:"steps.size"`
		Gap   list    `parquet:"steps.gap"`
	}
	type lists struct {
		Label string    `parquet:"label"`
		Start float64   `parquet:"start"`
		Port  []float64 `parquet:"meta.port"`
		Proto string    `parquet:"meta.proto"`
		Size  list      `parquet:"steps.size"`
		Gap   list      `parquet:"steps.gap"`
	}
	of, err := json.Marshal(traffic.Schema{
		Labels: []string{"a", "b"},
		Meta:   []traffic.Field{{Name: "port", Kind: traffic.Port}, {Name: "proto", Kind: traffic.Symbol, Levels: []string{"tcp", "udp"}}},
		Steps:  []traffic.Field{{Name: "size", Kind: traffic.Size}, {Name: "gap", Kind: traffic.Gap}},
	})
	if err != nil {
		t.Fatal(err)
	}
	meta := parquet.KeyValueMetadata(schemaKey, string(of))
	b, udp := "b", "udp"
	two := steps(number(1), number(2))
	good := func() row { return row{&b, number(3), number(53), &udp, two, two} }
	file := func(change func(r *row)) []byte {
		second := good()
		change(&second)
		return written(t, []row{good(), second}, meta)
	}
	for name, c := range map[string]struct {
		file []byte
		want string // "": it is read
	}{
		"as written":            {file(func(*row) {}), ""},
		"no label":              {file(func(r *row) { r.Label = nil }), ""},
		"no step":               {file(func(r *row) { r.Size, r.Gap = list{}, list{} }), ""},
		"no start":              {file(func(r *row) { r.Start = nil }), "row 2: start: there is no value"},
		"no port":               {file(func(r *row) { r.Port = nil }), "row 2: meta.port: there is no value"},
		"no protocol":           {file(func(r *row) { r.Proto = nil }), "row 2: meta.proto: there is no value"},
		"a step without size":   {file(func(r *row) { r.Size = steps(number(1), nil) }), "row 2: steps.size: step 1 has no value"},
		"a step of nothing":     {file(func(r *row) { r.Size, r.Gap = steps(nil, number(1)), steps(nil, number(1)) }), "step 0 has no value"},
		"labels by number":      {written(t, []numbered{{1, 0, 53, "udp", two, two}}, meta), `row 1: label: values of DOUBLE: expected texts, one of ["a" "b"]`},
		"starts as text":        {written(t, []texts{{"b", "b", 53, "udp", two, two}}, meta), "row 1: start: values of BYTE_ARRAY: expected numbers"},
		"ports as truth values": {written(t, []flags{{"b", 1, true, "udp", two, two}}, meta), "row 1: meta.port: values of BOOLEAN: expected numbers"},
		"symbols by number":     {written(t, []codes{{"b", 1, 53, 1, two, two}}, meta), `row 1: meta.proto: values of INT64: expected texts, one of ["tcp" "udp"]`},
		"ports as lists":        {written(t, []lists{{"b", 1, []float64{53, 80}, "udp", two, two}}, meta), `column "meta.port": a value a session in meta, a list in steps`},
	} {
		s, err := Read(c.file)
		switch {
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %+v, error %v, want %q", name, s, err, c.want)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case s.Sessions[0].Label != 1 || s.Sessions[0].Start != 3 || s.Sessions[0].Meta[0] != 53 || s.Sessions[0].Meta[1] != 1 || s.Sessions[0].Steps[3] != 2:
			t.Errorf("%s: %+v", name, s.Sessions[0])
		}
	}
}

// MIRAGE's lists have a value for each packet.
func TestMIRAGECells(t *testing.T) {
	type list struct {
		List []struct {
			Element *float64 `parquet:"element,optional"`
		} `parquet:"list"`
	}
	type flow struct {
		PL, IAT, DIR list
		LABEL        string
	}
	of := func(values ...*float64) (l list) {
		for _, x := range values {
			l.List = append(l.List, struct {
				Element *float64 `parquet:"element,optional"`
			}{x})
		}
		return l
	}
	number := func(x float64) *float64 { return &x }
	whole, holes := of(number(100), number(1)), of(number(100), nil)
	s, err := Read(written(t, []flow{{whole, whole, of(number(0), number(1)), "app"}}))
	if err != nil || s.Of.Len(&s.Sessions[0]) != 2 {
		t.Fatal(s, err)
	}
	if s, err := Read(written(t, []flow{{holes, holes, of(number(0), nil), "app"}})); err == nil || !strings.Contains(err.Error(), "row 1: PL: packet 1 has no value") {
		t.Errorf("%+v, %v", s, err)
	}
}

func written[T any](t *testing.T, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
