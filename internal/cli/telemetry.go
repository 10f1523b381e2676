package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

func newTelemetry() *cobra.Command {
	group := &cobra.Command{
		Use:     "telemetry",
		Short:   "Read what switches report",
		Example: "  planegym telemetry decode capture.pcapng",
	}
	var d decoding
	cmd := &cobra.Command{
		Use:   "decode FILE",
		Short: "Decode probes and telemetry reports of a capture",
		Long: `decode reads a pcap or pcapng file and says what reports are in it: the probes of
the tutorial's testbed, and telemetry reports of P4.org v0.5, v1.0 and v2.0 with
INT v1.0 and v2.1, sent by UDP.

--reports prints each report as a line of JSON. --csv prints a log of probes as
testbeds write it, a line a report: timestamp in s, then enq_qdepth,
deq_timedelta (us) and deq_qdepth of each switch in order of --switches; what a
report does not tell is empty. A report earlier than the one before it in the
file gets that one's time.

Without --port a datagram is taken for a report only if it is one to its last
byte; everything else is foreign, and counted. With it, what goes to that port is
one, and what is wrong with it is said. Values that cannot be measurements are
left empty and counted; where a switch's times go at another pace than the
capture's the unit that they have is named (--tick). Of a capture that was cut
all whole packets are read.`,
		Example: `  planegym telemetry decode capture.pcapng
  planegym telemetry decode capture.pcap --port 9555 --reports | jq .hops
  planegym telemetry decode probes.pcap --csv --switches 1,2,3 > int.csv`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.BoolVar(&d.reports, "reports", false, "print each report, a line of JSON")
	f.BoolVar(&d.csv, "csv", false, "print a log of probes")
	f.UintSliceVar(&d.switches, "switches", nil, "ids of the switches in order of the path; default: all that report, ascending")
	f.DurationVar(&d.cfg.Tick, "tick", 0, "unit of the reports' times; default 1ns, programs for BMv2 mostly write 1us")
	f.BoolVar(&d.cfg.NoTimes, "no-times", false, "the switches' clocks stand still: leave their times out")
	f.Uint16Var(&d.cfg.Port, "port", 0, "UDP port that reports are sent to; default: any")
	f.Uint8Var(&d.cfg.DSCP, "dscp", 0, "DSCP of packets that carry INT; default: look for it")
	f.Uint16Var(&d.cfg.INTPort, "int-port", 0, "UDP destination port of packets that carry INT; default: look for it")
	group.AddCommand(cmd, newTelemetryProbe())
	return group
}

type decoding struct {
	reports, csv bool
	switches     []uint
	cfg          intreport.Config

	foreign, found int
	untimely       int // captured at a time that cannot be one
	wrong          int
	first          error // of the wrong ones
	cut            *pcap.CutError
	stacks         int // that were cut
	hops           map[uint32]int
	paces          map[uint32]*live.Pacer
}

func (d *decoding) run(cmd *cobra.Command, name string) error {
	if d.reports && d.csv {
		return usagef("telemetry decode: --reports and --csv: which of them?")
	}
	if err := d.cfg.Check(); err != nil {
		return usageError{err}
	}
	var ids []uint32
	for _, id := range d.switches {
		if id > 1<<32-1 || slices.Contains(ids, uint32(id)) {
			return usagef("telemetry decode: --switches: %d is no id of 32 bits or there twice", id)
		}
		ids = append(ids, uint32(id))
	}
	if err := d.survey(name); err != nil {
		return err
	}
	if ids == nil {
		ids = d.seen(cmd)
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	var err error
	switch {
	case d.reports:
		err = d.read(name, func(at time.Time, r *intreport.Report) error {
			return json.NewEncoder(out).Encode(struct {
				Time time.Time `json:"time"`
				*intreport.Report
			}{at, r})
		}, nil)
	case d.csv:
		err = d.log(cmd, name, ids, out)
	default:
		err = d.summary(cmd, name, ids, out)
	}
	err = errors.Join(err, out.Flush())
	d.warn(cmd)
	return err
}

// warn prints what is wrong with the capture, and was passed over.
func (d *decoding) warn(cmd *cobra.Command) {
	if d.first != nil {
		cmd.PrintErrln(d.first)
	}
	if d.wrong > 1 {
		cmd.PrintErrf("… and %d more\n", d.wrong-1)
	}
	if d.stacks > 0 {
		cmd.PrintErrf("%d reports hold a packet that was cut within its INT stack: the hops before are kept\n", d.stacks)
	}
	if d.untimely > 0 {
		cmd.PrintErrf("%d packets were captured before 2000 or after 2100, as their times say\n", d.untimely)
	}
	for _, id := range slices.Sorted(maps.Keys(d.paces)) {
		if fault := d.paces[id].Pace().Fault(d.cfg.Tick); fault != "" {
			cmd.PrintErrf("switch %d: %s\n", id, fault)
		}
	}
	if d.cut != nil {
		cmd.PrintErrln(d.cut)
	}
}

// read calls each for every report of the file, and bad, if not nil, for every
// packet that is none: with ErrForeign, or with what is wrong with it. A file
// that was cut is read up to there.
func (d *decoding) read(name string, each func(time.Time, *intreport.Report) error, bad func(error)) error {
	f, err := telemetry.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := pcap.NewReader(f, name)
	if err != nil {
		return err
	}
	dec, err := intreport.NewDecoder(d.cfg)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		var p pcap.Packet
		var cut *pcap.CutError
		if err := in.Next(&p); errors.Is(err, io.EOF) {
			return nil
		} else if errors.As(err, &cut) && cut.Packets > 0 {
			d.cut = cut
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
			bad(fmt.Errorf("%s: packet %d: %w", name, n, err))
		}
	}
}

// survey counts what is in the file.
func (d *decoding) survey(name string) error {
	d.hops, d.paces = map[uint32]int{}, map[uint32]*live.Pacer{}
	err := d.read(name, func(at time.Time, r *intreport.Report) error {
		d.found++
		if r.Cut {
			d.stacks++
		}
		if !telemetry.PlausibleTime(float64(at.UnixMilli())) {
			d.untimely++
		}
		for i := range r.Hops {
			h := &r.Hops[i]
			if h.Has&intreport.HasSwitch == 0 {
				continue
			}
			d.hops[h.Switch]++
			if h.Has&intreport.HasEgressTime != 0 {
				p := d.paces[h.Switch]
				if p == nil {
					p = new(live.Pacer)
					d.paces[h.Switch] = p
				}
				p.Add(at.UnixNano(), h.EgressTime, h.Wrap)
			}
		}
		return nil
	}, func(err error) {
		if errors.Is(err, intreport.ErrForeign) {
			d.foreign++
			return
		}
		if d.wrong++; d.wrong == 1 {
			d.first = err
		}
	})
	switch {
	case err != nil:
		return err
	case d.found == 0 && d.first != nil:
		return d.first
	case d.found == 0 && d.cfg.Port == 0:
		return fmt.Errorf("%s: none of %d packets is a probe or, for certain, a telemetry report: --port says where reports go", name, d.foreign)
	case d.found == 0:
		return fmt.Errorf("%s: none of %d packets is a probe or goes to UDP port %d", name, d.foreign, d.cfg.Port)
	}
	return nil
}

// seen are the ids of the switches that report, ascending. One that was seen
// once, where another was ten times, is named and left out.
func (d *decoding) seen(cmd *cobra.Command) []uint32 {
	most := 0
	for _, n := range d.hops {
		most = max(most, n)
	}
	var ids []uint32
	for _, id := range slices.Sorted(maps.Keys(d.hops)) {
		if d.csv && d.hops[id] == 1 && most >= 10 {
			cmd.PrintErrf("switch %d was seen once, and is left out: --switches says which are meant\n", id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// log prints the reports as an INT log.
func (d *decoding) log(cmd *cobra.Command, name string, ids []uint32, out *bufio.Writer) error {
	out.WriteString("timestamp")
	var fields []telemetry.Field
	for n := range ids {
		for _, stem := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			f, _ := telemetry.Canonical(fmt.Sprint(stem, n+1))
			fields = append(fields, f)
			out.WriteString("," + f.Name)
		}
	}
	out.WriteByte('\n')
	tally := telemetry.NewTally(fields)
	var line []byte
	var last time.Time
	reports, rows := 0, 0
	cells, filled := make([]string, 3*len(ids)), make([]int, 3*len(ids))
	err := d.read(name, func(at time.Time, r *intreport.Report) error {
		reports++
		if !telemetry.PlausibleTime(float64(at.UnixMilli())) {
			return nil
		}
		clear(cells)
		told := false
		for i := range r.Hops {
			h := &r.Hops[i]
			n := slices.Index(ids, h.Switch)
			if n < 0 || h.Has&intreport.HasSwitch == 0 {
				continue
			}
			values, valid := h.Queueing()
			for k, v := range values {
				if valid[k] && tally.Take(3*n+k, v, name, 0) {
					cells[3*n+k] = strconv.FormatFloat(v, 'f', -1, 64)
					told = true
				}
			}
		}
		if !told {
			return nil
		}
		if at.Before(last) {
			at = last
		}
		last = at
		rows++
		line = fmt.Appendf(line[:0], "%d.%06d", at.Unix(), at.Nanosecond()/1000)
		for i, c := range cells {
			if c != "" {
				filled[i]++
			}
			line = append(append(line, ','), c...)
		}
		_, err := out.Write(append(line, '\n'))
		return err
	}, nil)
	if err != nil {
		return err
	}
	for _, r := range tally.Refused() {
		cmd.PrintErrf("not measured: %v\n", r)
	}
	var empty []string
	for i, n := range filled {
		if n == 0 {
			empty = append(empty, fields[i].Name)
		}
	}
	if rows == 0 {
		return fmt.Errorf("%s: none of %d reports says anything of a queue of switches %v", name, reports, ids)
	}
	if len(empty) > 0 {
		cmd.PrintErrf("never measured: %s\n", strings.Join(empty, " "))
	}
	return nil
}

// summary prints what is in the file.
func (d *decoding) summary(cmd *cobra.Command, name string, ids []uint32, out *bufio.Writer) error {
	if len(ids) > 16 { // as many as a collector takes
		ids = ids[:16]
	}
	if len(ids) == 0 {
		ids = []uint32{0}
	}
	c, err := live.New(live.Config{Switches: ids, Reports: 1, Decode: d.cfg})
	if err != nil {
		return err
	}
	formats := map[string]int{}
	var first, last time.Time
	quirks := intreport.Quirk(0)
	err = d.read(name, func(at time.Time, r *intreport.Report) error {
		if first.IsZero() {
			first = at
		}
		last = at
		formats[r.Format.String()]++
		quirks |= r.Quirks
		c.Report(at, r)
		return nil
	}, nil)
	if err != nil {
		return err
	}
	s := c.Stats()
	if asJSON(cmd) {
		faults := map[uint32]string{}
		for id, p := range d.paces {
			if f := p.Pace().Fault(d.cfg.Tick); f != "" {
				faults[id] = f
			}
		}
		return writeJSON(out, map[string]any{
			"file": name, "first": first, "last": last, "reports": s.Reports, "formats": formats, "hops": d.hops, "quirks": quirks, "sequences": s.Sequences,
			"foreign": d.foreign, "malformed": d.wrong, "cut": d.cut, "cut_stacks": d.stacks, "refused": s.Refused, "clock_faults": faults,
		})
	}
	fmt.Fprintf(out, "%s: %d reports in %v\n", name, s.Reports, last.Sub(first))
	for _, f := range []intreport.Format{intreport.Probe, intreport.V05, intreport.V10, intreport.V20} {
		if n := formats[f.String()]; n > 0 {
			fmt.Fprintf(out, "  %v: %d\n", f, n)
		}
	}
	for _, id := range ids {
		switch n := d.hops[id]; {
		case n == 1:
			fmt.Fprintf(out, "  switch %d: 1 hop, seen once\n", id)
		default:
			fmt.Fprintf(out, "  switch %d: %d hops\n", id, n)
		}
	}
	for _, q := range s.Sequences {
		fmt.Fprintf(out, "  node %d: %d received, %d lost, %d reordered, %d with a number again, %d restarts\n", q.Node, q.Received, q.Lost, q.Reordered, q.Duplicates, q.Restarts)
	}
	if d.foreign > 0 {
		fmt.Fprintf(out, "  other packets: %d\n", d.foreign)
	}
	for _, r := range s.Refused {
		fmt.Fprintf(out, "  not measured: %v\n", r)
	}
	if quirks != 0 {
		fmt.Fprintf(out, "  departures from the specification: %v\n", quirks)
	}
	return nil
}
