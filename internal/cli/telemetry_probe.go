package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
)

func newTelemetryProbe() *cobra.Command {
	var name, device, destination string
	var rate float64
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "probe (--scenario FILE | --interface NAME)",
		Short: "Send probes, to which switches add the depths of their queues",
		Long: `probe sends empty probes, the tutorial's (IPv4 protocol 253), along the path: every
switch whose table E.swtrace has int_hop as its default action adds its id, the
depth of its queue and the time in it.

With --interface they leave by an interface of this machine that leads to the
first switch (Linux, as root): they meet its queues as traffic does. With
--scenario they leave by packet out of the first switch, for which no deploy may
run beside it; the first hop then tells of the first queue of its port. deploy
and collect send probes themselves where live.probes.send_per_second is given.`,
		Example: `  planegym telemetry probe --interface h1 --per-second 10
  planegym telemetry probe --scenario lab.toml --for 10s`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (name == "") == (device == "") {
				return usagef("telemetry probe: give --scenario FILE or --interface NAME")
			}
			if !(rate > 0 && rate <= 10000) {
				return usagef("telemetry probe: --per-second: %v is outside 0…10000", rate)
			}
			ctx, cancel := cmd.Context(), context.CancelFunc(func() {})
			if span > 0 {
				ctx, cancel = context.WithTimeout(ctx, span)
			}
			defer cancel()
			sent := 0
			count := func() { sent++ }
			var err error
			if device != "" {
				err = probeInterface(ctx, device, destination, rate, count)
			} else {
				s, e := loadLive(cmd, name)
				if e != nil {
					return e
				}
				if destination != "" {
					s.Live.Probes.Destination = destination
				}
				err = deploy.Probe(ctx, s, rate, count)
			}
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return writeJSON(cmd.OutOrStdout(), map[string]int{"sent": sent})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d probes sent\n", sent)
			return nil
		},
	}
	addLiveScenario(cmd, &name)
	f := cmd.Flags()
	f.StringVar(&device, "interface", "", "interface to send by")
	f.StringVar(&destination, "to", "", "IPv4 address that the probes go to; default "+deploy.DefaultDestination)
	f.Float64Var(&rate, "per-second", 10, "probes a second")
	f.DurationVar(&span, "for", 0, "how long; 0: until Ctrl-C")
	return cmd
}

func probeInterface(ctx context.Context, device, destination string, rate float64, count func()) error {
	frame, err := deploy.ProbeFrame(destination)
	if err != nil {
		return err
	}
	send, done, err := deploy.Raw(device)
	if err != nil {
		return err
	}
	defer done()
	return deploy.Prober(ctx, rate, func(ctx context.Context) error { return send(ctx, frame) }, count)
}
