package telemetry

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// WriteCSV writes the recording to path in the grid format, whole or not at
// all.
func (d *Dataset) WriteCSV(path string) error { return WriteFile(path, d.EncodeCSV) }

// WriteFile replaces a file by what write writes, through a temporary file
// beside it: path holds all of it or what it held before.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("telemetry: write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("telemetry: write %s: %w", path, err)
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// EncodeCSV writes the recording to w in the grid format. Every field must be
// one that Canonical knows and no value negative: what is written can be read.
func (d *Dataset) EncodeCSV(w io.Writer) error {
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
	counter := d.Counter()
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
				if ok {
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
