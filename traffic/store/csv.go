package store

import (
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/traffic"
)

// WriteCSV writes a row a step: session, label, start, the session's fields,
// step, the step's fields, symbols by name. It counts sessions. CSV is for
// eyes and other programs; Parquet is what is read again.
func WriteCSV(w io.Writer, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (n int, err error) {
	out := csv.NewWriter(w)
	head := []string{"session", "label", "start"}
	for _, f := range c.Meta {
		head = append(head, f.Name)
	}
	head = append(head, "step")
	for _, f := range c.Steps {
		head = append(head, f.Name)
	}
	if err := out.Write(head); err != nil {
		return 0, err
	}
	text := func(f *traffic.Field, x float64) string {
		if f.Kind == traffic.Symbol {
			return f.Levels[int(x)]
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	for s, err := range sessions {
		if err == nil {
			err = c.Valid(&s)
		}
		if err != nil {
			return n, fmt.Errorf("session %d: %w", n, err)
		}
		row := []string{strconv.Itoa(n), c.LabelName(s.Label), strconv.FormatFloat(s.Start, 'g', -1, 64)}
		for i := range c.Meta {
			row = append(row, text(&c.Meta[i], s.Meta[i]))
		}
		fixed := len(row)
		for t := range c.Len(&s) {
			row = append(row[:fixed], strconv.Itoa(t))
			for i, x := range c.Step(&s, t) {
				row = append(row, text(&c.Steps[i], x))
			}
			if err := out.Write(row); err != nil {
				return n, err
			}
		}
		n++
	}
	out.Flush()
	return n, out.Error()
}

// WriteCSVFile is WriteCSV to a file that appears whole or not at all.
func WriteCSVFile(path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (n int, err error) {
	err = atomicfile.Write(path, func(w io.Writer) error {
		n, err = WriteCSV(w, c, sessions)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
