package telemetry

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/planegym/planegym/internal/atomicfile"
)

// WriteCSV writes the recording to path in the grid format, whole or not at
// all.
func (d *Dataset) WriteCSV(path string) error {
	if err := atomicfile.Write(path, d.EncodeCSV); err != nil {
		return fmt.Errorf("telemetry: write %s: %w", path, err)
	}
	return nil
}

// EncodeCSV writes the recording to w in the grid format. Every field must be
// one that Canonical knows and no value negative: what is written can be read.
// Of a dataset with no such field, as of another's CSV, t and the columns are
// written as they are.
func (d *Dataset) EncodeCSV(w io.Writer) error {
	if !slices.ContainsFunc(d.fields, func(f Field) bool { _, ok := Canonical(f.Name); return ok }) {
		return d.encodePlain(w)
	}
	b := bufio.NewWriter(w)
	b.WriteString("t,ts_ms,queue")
	hops := false
	for _, f := range d.fields {
		if c, ok := Canonical(f.Name); !ok || c != f {
			return fmt.Errorf("telemetry: a grid file has no column %q in %q", f.Name, f.Unit)
		}
		if _, hop := splitHop(f.Name); hop > 0 {
			hops = true
		}
		if f.Name == "calc_rate" {
			b.WriteString(",calc_cum")
		}
		b.WriteString("," + f.Name)
	}
	if hops {
		b.WriteString(",int_present")
	}
	counter, counted := d.Counter()
	var line []byte
	for t, ms := range d.millis {
		line = fmt.Appendf(line[:0], "\n%d,%d,%d", t, ms, d.limit)
		present := 0
		for c, f := range d.fields {
			v, ok := d.At(t, c)
			if ok && v < 0 {
				return fmt.Errorf("telemetry: second %d: %s is %v: a grid file has no negative values", t, f.Name, v)
			}
			if _, hop := splitHop(f.Name); hop > 0 && ok {
				present = 1
			}
			if f.Name == "calc_rate" {
				line = append(line, ',')
				if counted[t] {
					line = strconv.AppendFloat(line, counter[t], 'f', -1, 64)
				}
			}
			line = append(line, ',')
			if ok {
				line = strconv.AppendFloat(line, float64(v), 'f', -1, 32)
			}
		}
		if hops {
			line = fmt.Appendf(line, ",%d", present)
		}
		b.Write(line)
	}
	b.WriteByte('\n')
	return b.Flush()
}

// encodePlain writes t and the columns; a value that was not measured is empty.
func (d *Dataset) encodePlain(w io.Writer) error {
	out := csv.NewWriter(w)
	rec := []string{"t"}
	for _, f := range d.fields {
		rec = append(rec, f.Name)
	}
	if err := out.Write(rec); err != nil {
		return err
	}
	for t := range d.millis {
		rec = append(rec[:0], strconv.Itoa(t))
		for c := range d.fields {
			cell := ""
			if v, ok := d.At(t, c); ok {
				cell = strconv.FormatFloat(float64(v), 'f', -1, 32)
			}
			rec = append(rec, cell)
		}
		if err := out.Write(rec); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
