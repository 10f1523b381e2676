package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/telemetry/capture"
	"github.com/planegym/planegym/telemetry/intreport"
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
}

func (d *decoding) run(cmd *cobra.Command, name string) (err error) {
	if d.reports && d.csv {
		return usagef("telemetry decode: --reports and --csv: which of them?")
	}
	if err := d.cfg.Check(); err != nil {
		return usageError{err}
	}
	var ids []uint32
	for _, id := range d.switches {
		if id > 1<<32-1 || slices.Contains(ids, uint32(id)) {
			return usagef("telemetry decode: --switches: %d is not a 32-bit id, or is given twice", id)
		}
		ids = append(ids, uint32(id))
	}
	f, err := capture.Open(name, d.cfg)
	if err != nil {
		return err
	}
	if ids == nil {
		var once []uint32
		if ids, once = f.Switches(); !d.csv {
			ids = append(ids, once...)
			slices.Sort(ids)
			once = nil
		}
		for _, id := range once {
			cmd.PrintErrf("switch %d was seen once, and is left out: --switches says which are meant\n", id)
		}
	}
	switch {
	case d.reports:
		err = printReports(f, cmd.OutOrStdout())
	case d.csv:
		var notes []string
		notes, err = f.WriteLog(cmd.OutOrStdout(), ids)
		printLines(cmd, notes)
	default:
		err = printSummary(cmd, f, ids)
	}
	printLines(cmd, f.Warnings())
	return err
}

// printReports prints each report as a line of JSON.
func printReports(f *capture.File, w io.Writer) error {
	out := bufio.NewWriter(w)
	err := f.Each(func(at time.Time, r *intreport.Report) error {
		return json.NewEncoder(out).Encode(struct {
			Time time.Time `json:"time"`
			*intreport.Report
		}{at, r})
	})
	return errors.Join(err, out.Flush())
}

func printSummary(cmd *cobra.Command, f *capture.File, ids []uint32) error {
	s, err := f.Summarise(ids)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), s.JSON())
	}
	return s.WriteText(cmd.OutOrStdout())
}

func printLines(cmd *cobra.Command, lines []string) {
	for _, l := range lines {
		cmd.PrintErrln(l)
	}
}
