// Package capture reads the probes and telemetry reports of a pcap or pcapng file.
package capture

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

// File is a capture that was surveyed: what is in it, and what was passed over.
type File struct {
	name   string
	config intreport.Config

	foreign, found int
	untimely       int // captured at a time that cannot be one
	wrong          int
	first          error // of the wrong ones
	cut            *pcap.CutError
	stacks         int // that were cut
	hops           map[uint32]int
	paces          map[uint32]*live.Pacer
}

// Open surveys a capture. Without a report in it there is an error that says what was
// there instead. Of a file that was cut all whole packets are read.
func Open(name string, c intreport.Config) (*File, error) {
	f := &File{name: name, config: c}
	return f, f.survey()
}

// Each calls each for every report, in the file's order, until it fails. The report is
// overwritten by the next.
func (f *File) Each(each func(time.Time, *intreport.Report) error) error { return f.read(each, nil) }

// Warnings are what is wrong with the capture and was passed over.
func (f *File) Warnings() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if f.first != nil {
		add("%v", f.first)
	}
	if f.wrong > 1 {
		add("… and %d more", f.wrong-1)
	}
	if f.stacks > 0 {
		add("%d reports hold a packet that was cut within its INT stack: the hops before are kept", f.stacks)
	}
	if f.untimely > 0 {
		add("%d packets were captured before 2000 or after 2100, as their times say", f.untimely)
	}
	for _, id := range slices.Sorted(maps.Keys(f.paces)) {
		if fault := f.paces[id].Pace().Fault(f.config.Tick); fault != "" {
			add("switch %d: %s", id, fault)
		}
	}
	if f.cut != nil {
		add("%v", f.cut)
	}
	return all
}

// Switches are the ids of the switches that report, ascending. Those that were seen
// once, where another was ten times, are once.
func (f *File) Switches() (ids, once []uint32) {
	most := 0
	for _, n := range f.hops {
		most = max(most, n)
	}
	for _, id := range slices.Sorted(maps.Keys(f.hops)) {
		if f.hops[id] == 1 && most >= 10 {
			once = append(once, id)
		} else {
			ids = append(ids, id)
		}
	}
	return ids, once
}

// read calls each for every report of the file, and bad, if not nil, for every
// packet that is none: with ErrForeign, or with what is wrong with it. A file
// that was cut is read up to there.
func (f *File) read(each func(time.Time, *intreport.Report) error, bad func(error)) error {
	file, err := telemetry.Open(f.name)
	if err != nil {
		return err
	}
	defer file.Close()
	in, err := pcap.NewReader(file, f.name)
	if err != nil {
		return err
	}
	dec, err := intreport.NewDecoder(f.config)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		var p pcap.Packet
		var cut *pcap.CutError
		if err := in.Next(&p); errors.Is(err, io.EOF) {
			return nil
		} else if errors.As(err, &cut) && cut.Packets > 0 {
			f.cut = cut
			return nil
		} else if err != nil {
			return err
		}
		var failed error
		err := live.Decode(dec, uint16(p.Link), p.Data, func(r *intreport.Report) {
			if failed == nil {
				failed = each(p.Time, r)
			}
		})
		switch {
		case failed != nil:
			return failed
		case err != nil && bad != nil && errors.Is(err, intreport.ErrForeign):
			bad(err)
		case err != nil && bad != nil:
			bad(fmt.Errorf("%s: packet %d: %w", f.name, n, err))
		}
	}
}

// survey counts what is in the file.
func (f *File) survey() error {
	f.hops, f.paces = map[uint32]int{}, map[uint32]*live.Pacer{}
	err := f.read(func(at time.Time, r *intreport.Report) error {
		f.found++
		if r.Cut {
			f.stacks++
		}
		if !telemetry.PlausibleTime(float64(at.UnixMilli())) {
			f.untimely++
		}
		for i := range r.Hops {
			h := &r.Hops[i]
			if h.Has&intreport.HasSwitch == 0 {
				continue
			}
			f.hops[h.Switch]++
			if h.Has&intreport.HasEgressTime != 0 {
				p := f.paces[h.Switch]
				if p == nil {
					p = new(live.Pacer)
					f.paces[h.Switch] = p
				}
				p.Add(at.UnixNano(), h.EgressTime, h.Wrap)
			}
		}
		return nil
	}, func(err error) {
		if errors.Is(err, intreport.ErrForeign) {
			f.foreign++
			return
		}
		if f.wrong++; f.wrong == 1 {
			f.first = err
		}
	})
	switch {
	case err != nil:
		return err
	case f.found == 0 && f.first != nil:
		return f.first
	case f.found == 0 && f.config.Port == 0:
		return fmt.Errorf("%s: none of %d packets is a probe or, for certain, a telemetry report: --port says where reports go", f.name, f.foreign)
	case f.found == 0:
		return fmt.Errorf("%s: none of %d packets is a probe or goes to UDP port %d", f.name, f.foreign, f.config.Port)
	}
	return nil
}
