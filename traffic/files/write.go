package files

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/gasf"
	"github.com/planegym/planegym/traffic/headers"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/store"
)

// Endings are what the name of a file to write may end in: sessions as Parquet
// or as a table, packets, nPrint's table of their header bits, a picture of the
// Gramian angular field of the bytes a tenth of a second.
var Endings = []string{".parquet", ".csv", ".pcap", ".nprint", ".png"}

// CheckEnding reports a name that ends in none of those allowed.
func CheckEnding(path string, allowed ...string) error {
	if !slices.Contains(allowed, filepath.Ext(path)) {
		return fmt.Errorf("%q ends in none of %s", path, strings.Join(allowed, ", "))
	}
	return nil
}

// Writing says how sessions are written.
type Writing struct {
	Packets compile.Options // of .pcap and .nprint
	// Faithful writes the header bits that sessions of headers say to .nprint,
	// nothing repaired.
	Faithful bool
	Seed     uint64 // of what was sampled; of header fields that sessions do not say
}

// Written is what became of sessions.
type Written struct {
	Output   string
	Sessions int
	Seed     uint64
	Packets  *compile.Report // of packets: what became of actions
	Rows     int             // of header bits, unrepaired
	Picture  *Picture        // of a picture
}

// Picture says what was drawn.
type Picture struct {
	Ticks int     `json:"ticks"`
	Tick  float64 `json:"tick_s"`
	Min   float64 `json:"min_bytes"`
	Max   float64 `json:"max_bytes"`
}

// MarshalJSON writes what there is, flat.
func (r *Written) MarshalJSON() ([]byte, error) {
	switch {
	case r.Packets != nil:
		return json.Marshal(struct {
			Output string `json:"output"`
			*compile.Report
			RepairRate float64 `json:"repair_rate"`
		}{r.Output, r.Packets, r.Packets.RepairRate()})
	case r.Picture != nil:
		return json.Marshal(struct {
			Output string `json:"output"`
			*Picture
		}{r.Output, r.Picture})
	}
	return json.Marshal(struct {
		Output   string `json:"output"`
		Sessions int    `json:"sessions"`
		Packets  int    `json:"packets,omitempty"`
		Seed     uint64 `json:"seed"`
	}{r.Output, r.Sessions, r.Rows, r.Seed})
}

// Write writes sessions of a schema to a file that appears whole or not at all,
// as its name's ending says.
func (o *Writing) Write(ctx context.Context, path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (*Written, error) {
	r := &Written{Output: path, Seed: o.Seed}
	switch ext := filepath.Ext(path); {
	case ext == ".png":
		return r, r.field(c, sessions)
	case ext == ".nprint" && o.Faithful:
		return r, r.bits(c, sessions)
	case ext == ".pcap" || ext == ".nprint":
		err := atomicfile.Write(path, func(w io.Writer) (err error) {
			if ext == ".nprint" {
				r.Packets, err = table(ctx, w, c, sessions, o.Packets)
				return err
			}
			r.Packets, err = compile.Write(ctx, w, c, sessions, o.Packets)
			return err
		})
		return r, err
	}
	var err error
	r.Sessions, err = Sessions(path, c, sessions)
	return r, err
}

// Sessions writes sessions as Parquet, or as CSV: a row a step, or of flow
// records with NetShare's columns.
func Sessions(path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (n int, err error) {
	switch {
	case filepath.Ext(path) != ".csv":
		return store.WriteFile(path, c, sessions)
	case c.MetaIndex("client_port") < 0:
		return store.WriteCSVFile(path, c, sessions)
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		_, err := netflow.WriteCSV(w, c, func(yield func(traffic.Session, error) bool) {
			for s, err := range sessions {
				if err == nil {
					n++
				}
				if !yield(s, err) {
					return
				}
			}
		})
		return err
	})
	return n, err
}

// bits writes the header bits that sessions say.
func (r *Written) bits(c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) error {
	return atomicfile.Write(r.Output, func(w io.Writer) error {
		out, err := nprint.NewWriter(w)
		if err != nil {
			return err
		}
		for s, err := range sessions {
			if err != nil {
				return err
			}
			if err := headers.Rows(c, &s, r.Seed, r.Sessions, func(row *nprint.Row) error { r.Rows++; return out.Write(row) }); err != nil {
				return fmt.Errorf("session %d: %w", r.Sessions, err)
			}
			r.Sessions++
		}
		return out.Flush()
	})
}

// table writes the headers of compiled packets as nPrint's table.
func table(ctx context.Context, w io.Writer, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], o compile.Options) (*compile.Report, error) {
	out, err := nprint.NewWriter(w)
	if err != nil {
		return nil, err
	}
	o.Raw = true
	var row nprint.Row
	r, err := compile.Packets(ctx, c, sessions, o, func(_ time.Time, ip []byte) error {
		if err := row.Encode(ip); err != nil {
			return err
		}
		return out.Write(&row)
	})
	if err != nil {
		return r, err
	}
	return r, out.Flush()
}

// field draws the Gramian angular field of the bytes that sessions send in each
// tenth of a second, of the first 512 of them; of series, of the bytes of the first
// 512 ticks.
func (r *Written) field(c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) error {
	size, gap := c.StepIndex("size"), c.StepIndex("gap")
	if c.Tick == 0 && (size < 0 || gap < 0) {
		return fmt.Errorf("files: %s: steps have no size and gap to draw", r.Output)
	}
	const ticks = 512
	width := .1
	var series []float64
	for s, err := range sessions {
		if err != nil {
			return err
		}
		if c.Tick > 0 {
			width = c.Tick
			for t := range c.Len(&s) {
				sum := 0.
				for _, x := range c.Step(&s, t) {
					sum += x
				}
				if len(series) < ticks {
					series = append(series, sum)
				}
			}
			continue
		}
		at := s.Start
		for t := range c.Len(&s) {
			at += c.Step(&s, t)[gap]
			k := int(min(at/width, ticks))
			if k >= ticks {
				continue
			}
			for len(series) <= k {
				series = append(series, 0)
			}
			series[k] += c.Step(&s, t)[size]
		}
	}
	f, err := gasf.Of(series)
	if err != nil {
		return fmt.Errorf("files: %s: %w", r.Output, err)
	}
	r.Picture = &Picture{f.N, width, f.Min, f.Max}
	return atomicfile.Write(r.Output, f.WritePNG)
}
