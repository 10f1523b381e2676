// Package files reads files of traffic as sessions, whatever kind they are, and
// writes sessions as files of the kind that a name ends in.
package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/headers"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/store"
)

// Converter says how files are read. Zero values are the defaults in the
// comments.
type Converter struct {
	Label    string        // of captures: a name, or "file" for each one's own; none
	Flows    flows.Options // of captures, but for their label
	Pause    float64       // s between the sessions of one file and the next
	ByStart  bool          // sessions of all files at their own times, in the order of starts: Pause is not used
	Headers  bool          // steps with header fields, of captures and nPrint's tables
	Window   int           // with Headers: sessions are cut into ones of so many steps; 0: they are not
	Series   time.Duration // > 0: series of bytes up and down a tick
	Ticks    int           // of a series
	Together bool          // windows of all packets of a file, not a series a session
	Half     int           // 1 or 2: that one of the Halves; 0: all
}

// Converted is what became of files.
type Converted struct {
	Output   string            `json:"output"`
	Sessions int               `json:"sessions"`
	Steps    int               `json:"steps"`
	Labels   map[string]int    `json:"labels,omitempty"`
	Packets  int               `json:"packets,omitempty"`
	Cut      int               `json:"offloaded,omitempty"` // packets that are frames of segmentation offload, cut into segments
	Added    int               `json:"segments_added,omitempty"`
	Rows     int               `json:"rows,omitempty"` // of header bits
	Left     map[string]int    `json:"left_out,omitempty"`
	Lost     map[string]int    `json:"details_lost,omitempty"`
	Bad      int               `json:"bad_checksums,omitempty"`
	Refused  map[string]string `json:"refused,omitempty"` // files, by name: why
}

// Read reads files one after another: captures (pcap, pcapng), nPrint's tables,
// flow records (NetShare's CSV columns, NetFlow version 5), NEMEA-SIoT's JSON,
// Parquet of sessions or of MIRAGE. Of several, a capture that covers too much time
// is passed over and named. done is called after each file.
func (c *Converter) Read(ctx context.Context, paths []string, done func()) (*traffic.Set, *Converted, error) {
	r := &Converted{Left: map[string]int{}, Lost: map[string]int{}, Refused: map[string]string{}}
	var sets []*traffic.Set
	var counts flows.Counts
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		set, k, err := c.read(path)
		if errors.Is(err, flows.ErrSpan) && len(paths) > 1 {
			r.Refused[path] = err.Error()
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		counts.Add(k)
		if c.Series > 0 {
			var left float64
			if set, left, err = c.rates(set, path); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", path, err)
			}
			if left > 0 {
				r.Lost["bytes after the last tick"] += int(left)
			}
		}
		sets = append(sets, set)
		done()
	}
	if len(sets) == 0 {
		return nil, nil, errors.New("files: every file was refused")
	}
	if c.Headers {
		headers.Unite(sets...)
	}
	merged := func() (*traffic.Set, error) { return traffic.Merge(c.Pause, sets...) }
	if c.ByStart {
		merged = func() (*traffic.Set, error) { return traffic.Interleave(sets...) }
	}
	all, err := merged()
	if err != nil {
		return nil, nil, err
	}
	if c.Window > 0 {
		all = headers.Windows(all, c.Window)
	}
	if c.Half > 0 {
		first, second := all.Halves()
		all = []*traffic.Set{first, second}[c.Half-1]
	}
	r.Packets, r.Bad, r.Cut, r.Added = counts.Packets, counts.Bad, counts.Cut, counts.Added
	maps.Copy(r.Left, counts.Left)
	maps.Copy(r.Lost, counts.Lost)
	if len(all.Of.Labels) > 0 {
		r.Labels = map[string]int{}
	}
	r.Sessions = all.Len()
	for i := range all.Sessions {
		r.Steps += all.Of.Len(&all.Sessions[i])
		if l := all.Sessions[i].Label; l >= 0 {
			r.Labels[all.Of.Labels[l]]++
		}
	}
	return all, r, nil
}

// rates makes series of the sessions of a file; it counts bytes after the end
// of series.
func (c *Converter) rates(set *traffic.Set, path string) (*traffic.Set, float64, error) {
	o := rates.Options{Ticks: c.Ticks, Tick: c.Series.Seconds()}
	if !c.Together {
		return rates.Flows(set, o)
	}
	label := c.Label
	if label == "" || label == "file" {
		label = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return rates.Windows(set, label, o)
}

// read reads a file of a kind that its first bytes tell.
func (c *Converter) read(path string) (*traffic.Set, flows.Counts, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, flows.Counts{}, err
	}
	if c.Headers {
		return headers.Read(bytes.NewReader(b), path, c.labelled(path))
	}
	if len(b) > 4 && string(b[:4]) == "PAR1" {
		s, err := store.Read(b)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return s, flows.Counts{}, err
	}
	switch {
	case netflow.Is(b[:min(len(b), 1<<12)]):
		r, err := netflow.ReadCSV(bytes.NewReader(b), path, netflow.Options{})
		if err != nil {
			return nil, flows.Counts{}, err
		}
		if len(r) == 0 {
			return nil, flows.Counts{}, fmt.Errorf("%s: there is no flow record", path)
		}
		s := netflow.Sessions(r)
		return s, flows.Counts{}, s.Valid()
	case len(b) > 2 && b[0] == 0 && b[1] == 5:
		r, err := netflow.ReadV5(bytes.NewReader(b))
		if err != nil {
			return nil, flows.Counts{}, fmt.Errorf("%s: %w", path, err)
		}
		if len(r) == 0 {
			return nil, flows.Counts{}, fmt.Errorf("%s: there is no flow record", path)
		}
		s := netflow.Sessions(r)
		return s, flows.Counts{}, s.Valid()
	case nprint.Is(b[:min(len(b), 1<<17)]):
		return c.table(b, path)
	}
	if flows.IsSIoT(b[:min(len(b), 1<<16)]) {
		return flows.ReadSIoT(bytes.NewReader(b), path)
	}
	return flows.Read(bytes.NewReader(b), path, c.labelled(path))
}

// labelled is the options of a capture's sessions.
func (c *Converter) labelled(path string) flows.Options {
	o := c.Flows
	if o.Label = c.Label; o.Label == "file" {
		o.Label = filepath.Base(path)
		for _, ext := range []string{".pcapng", ".pcap", ".nprint", ".csv"} {
			o.Label = strings.TrimSuffix(o.Label, ext)
		}
	}
	return o
}

// table reads a table of nPrint.
func (c *Converter) table(b []byte, path string) (*traffic.Set, flows.Counts, error) {
	f := flows.NewBuilder(c.labelled(path))
	err := nprint.Read(bytes.NewReader(b), path, func(r *nprint.Row) error {
		raw, err := r.Decode()
		if err != nil {
			return err
		}
		return f.Add(time.Unix(0, 0), uint16(pcap.Raw), raw)
	})
	if err != nil {
		return nil, flows.Counts{}, err
	}
	s := f.Set()
	return s, f.Counts(), s.Valid()
}
