package capture

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

// Summary is what is in a capture.
type Summary struct {
	*File
	ids         []uint32
	stats       live.Stats
	formats     map[string]int
	quirks      intreport.Quirk
	first, last time.Time // of those captured at a time that can be one
}

// Summarise counts the reports, of switches ids.
func (f *File) Summarise(ids []uint32) (*Summary, error) {
	if len(ids) > 16 { // as many as a collector takes
		ids = ids[:16]
	}
	if len(ids) == 0 {
		ids = []uint32{0}
	}
	c, err := live.New(live.Config{Switches: ids, Reports: 1, Decode: f.config})
	if err != nil {
		return nil, err
	}
	s := &Summary{File: f, ids: ids, formats: map[string]int{}}
	err = f.read(func(at time.Time, r *intreport.Report) error {
		if telemetry.PlausibleTime(float64(at.UnixMilli())) {
			if s.first.IsZero() || at.Before(s.first) {
				s.first = at
			}
			if at.After(s.last) {
				s.last = at
			}
		}
		s.formats[r.Format.String()]++
		s.quirks |= r.Quirks
		c.Report(at, r)
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	s.stats = c.Stats()
	return s, nil
}

// JSON is the summary for machines.
func (s *Summary) JSON() map[string]any {
	faults := map[uint32]string{}
	for id, p := range s.paces {
		if fault := p.Pace().Fault(s.config.Tick); fault != "" {
			faults[id] = fault
		}
	}
	return map[string]any{
		"file": s.name, "first": s.first, "last": s.last, "reports": s.stats.Reports, "formats": s.formats, "hops": s.hops, "quirks": s.quirks, "sequences": s.stats.Sequences,
		"foreign": s.foreign, "malformed": s.wrong, "cut": s.cut, "cut_stacks": s.stacks, "refused": s.stats.Refused, "clock_faults": faults,
	}
}

// WriteText writes the summary as lines.
func (s *Summary) WriteText(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s: %d reports in %v\n", s.name, s.stats.Reports, s.last.Sub(s.first))
	for _, f := range []intreport.Format{intreport.Probe, intreport.V05, intreport.V10, intreport.V20} {
		if n := s.formats[f.String()]; n > 0 {
			fmt.Fprintf(&out, "  %v: %d\n", f, n)
		}
	}
	for _, id := range s.ids {
		switch n := s.hops[id]; {
		case n == 1:
			fmt.Fprintf(&out, "  switch %d: 1 hop, seen once\n", id)
		default:
			fmt.Fprintf(&out, "  switch %d: %d hops\n", id, n)
		}
	}
	for _, q := range s.stats.Sequences {
		fmt.Fprintf(&out, "  node %d: %d received, %d lost, %d reordered, %d with a number again, %d restarts\n", q.Node, q.Received, q.Lost, q.Reordered, q.Duplicates, q.Restarts)
	}
	if s.foreign > 0 {
		fmt.Fprintf(&out, "  other packets: %d\n", s.foreign)
	}
	for _, r := range s.stats.Refused {
		fmt.Fprintf(&out, "  not measured: %v\n", r)
	}
	if s.quirks != 0 {
		fmt.Fprintf(&out, "  departures from the specification: %v\n", s.quirks)
	}
	_, err := out.WriteTo(w)
	return err
}
