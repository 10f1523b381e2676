package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/pcap"
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
file gets that one's time.`,
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
	f.Uint16Var(&d.cfg.Port, "port", 0, "UDP port that reports are sent to; default: any")
	f.Uint8Var(&d.cfg.DSCP, "dscp", 0, "DSCP of packets that carry INT; default: look for it")
	f.Uint16Var(&d.cfg.INTPort, "int-port", 0, "UDP destination port of packets that carry INT; default: look for it")
	group.AddCommand(cmd)
	return group
}

type decoding struct {
	reports, csv bool
	switches     []uint
	cfg          intreport.Config
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
	seen, err := d.survey(name)
	if err != nil {
		return err
	}
	if ids == nil {
		ids = seen
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	switch {
	case d.reports:
		err = d.each(cmd, name, func(at time.Time, r *intreport.Report) error {
			return json.NewEncoder(out).Encode(struct {
				Time time.Time `json:"time"`
				*intreport.Report
			}{at, r})
		})
	case d.csv:
		err = d.log(cmd, name, ids, out)
	default:
		err = d.summary(cmd, name, ids, out)
	}
	return errors.Join(err, out.Flush())
}

// read calls each for every report of the file, and bad for every packet that
// is a wrong one.
func (d *decoding) read(name string, each func(time.Time, *intreport.Report) error, bad func(error)) error {
	f, err := os.Open(name)
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
		if err := in.Next(&p); errors.Is(err, io.EOF) {
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
		if failed != nil {
			return failed
		}
		if err != nil && !errors.Is(err, intreport.ErrForeign) {
			bad(fmt.Errorf("%s: packet %d: %w", name, n, err))
		}
	}
}

// survey gives the ids of the switches that report, ascending.
func (d *decoding) survey(name string) ([]uint32, error) {
	var ids []uint32
	reports := 0
	var first error
	err := d.read(name, func(_ time.Time, r *intreport.Report) error {
		reports++
		for i := range r.Hops {
			h := &r.Hops[i]
			if at, found := slices.BinarySearch(ids, h.Switch); !found && h.Has&intreport.HasSwitch != 0 {
				ids = slices.Insert(ids, at, h.Switch)
			}
		}
		return nil
	}, func(err error) {
		if first == nil {
			first = err
		}
	})
	switch {
	case err != nil:
		return nil, err
	case reports == 0 && first != nil:
		return nil, first
	case reports == 0:
		return nil, fmt.Errorf("%s: no packet is a probe or a telemetry report", name)
	}
	return ids, nil
}

// each is read with wrong packets told on stderr, the first and how many.
func (d *decoding) each(cmd *cobra.Command, name string, f func(time.Time, *intreport.Report) error) error {
	wrong := 0
	err := d.read(name, f, func(err error) {
		if wrong++; wrong == 1 {
			fmt.Fprintln(cmd.ErrOrStderr(), err)
		}
	})
	if wrong > 1 {
		fmt.Fprintf(cmd.ErrOrStderr(), "… and %d more\n", wrong-1)
	}
	return err
}

// log prints the reports as an INT log.
func (d *decoding) log(cmd *cobra.Command, name string, ids []uint32, out *bufio.Writer) error {
	out.WriteString("timestamp")
	for n := range ids {
		fmt.Fprintf(out, ",enq_qdepth%[1]d,deq_timedelta%[1]d,deq_qdepth%[1]d", n+1)
	}
	out.WriteByte('\n')
	var line []byte
	var last time.Time
	cells := make([]string, 3*len(ids))
	return d.each(cmd, name, func(at time.Time, r *intreport.Report) error {
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
				if valid[k] {
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
		line = fmt.Appendf(line[:0], "%d.%06d", at.Unix(), at.Nanosecond()/1000)
		for _, c := range cells {
			line = append(append(line, ','), c...)
		}
		_, err := out.Write(append(line, '\n'))
		return err
	})
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
	hops := map[uint32]int{}
	var first, last time.Time
	quirks := intreport.Quirk(0)
	err = d.each(cmd, name, func(at time.Time, r *intreport.Report) error {
		if first.IsZero() {
			first = at
		}
		last = at
		formats[r.Format.String()]++
		quirks |= r.Quirks
		for i := range r.Hops {
			if r.Hops[i].Has&intreport.HasSwitch != 0 {
				hops[r.Hops[i].Switch]++
			}
		}
		c.Report(at, r)
		return nil
	})
	if err != nil {
		return err
	}
	s := c.Stats()
	if asJSON(cmd) {
		return writeJSON(out, map[string]any{
			"file": name, "first": first, "last": last, "reports": s.Reports, "formats": formats, "hops": hops, "quirks": quirks, "sequences": s.Sequences,
		})
	}
	fmt.Fprintf(out, "%s: %d reports in %v\n", name, s.Reports, last.Sub(first))
	for _, f := range []intreport.Format{intreport.Probe, intreport.V05, intreport.V10, intreport.V20} {
		if n := formats[f.String()]; n > 0 {
			fmt.Fprintf(out, "  %v: %d\n", f, n)
		}
	}
	for _, id := range ids {
		fmt.Fprintf(out, "  switch %d: %d hops\n", id, hops[id])
	}
	for _, q := range s.Sequences {
		fmt.Fprintf(out, "  node %d: %d received, %d lost, %d reordered, %d with a number again, %d restarts\n", q.Node, q.Received, q.Lost, q.Reordered, q.Duplicates, q.Restarts)
	}
	if quirks != 0 {
		fmt.Fprintf(out, "  departures from the specification: %v\n", quirks)
	}
	return nil
}
