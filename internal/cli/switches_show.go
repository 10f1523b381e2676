package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
)

func newSwitchesProvision() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "provision --scenario FILE",
		Short: "Give BMv2's queues their depths and rates",
		Long: `provision sets the depth of every queue of every port of the switches' inventory
to what its key queues says, and the rate of the ports to service_pps, over
BMv2's Thrift interface (key thrift: host and --thrift-port). A BMv2 forgets both
whenever it is started. deploy, collect and train --switches do the same each
time they connect.

It says how the switches stand before and after, and fails where a queue does
not exist: the switch was then started with too few --priority-queues.`,
		Example: `  planegym switches provision --scenario lab.toml
  planegym switches provision --scenario lab.toml --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loadLive(cmd, name)
			if err != nil {
				return err
			}
			inv := s.Live.Switches
			before := deploy.Show(cmd.Context(), inv, s.Live.Safe)
			done, failed := deploy.Provision(cmd.Context(), inv, s.Live.Safe)
			after := deploy.Show(cmd.Context(), inv, s.Live.Safe)
			if asJSON(cmd) {
				if err := writeJSON(cmd.OutOrStdout(), map[string]any{"before": before, "provisioned": done, "after": after}); err != nil {
					return err
				}
			} else {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				for i, p := range done {
					if p.Err != "" {
						fmt.Fprintf(w, "%s\tfailed\t%s\n", p.Switch, p.Err)
						continue
					}
					rate := "rate not set: service_pps is not given"
					if p.Rate > 0 {
						rate = fmt.Sprintf("rate %d packets/s", p.Rate)
					}
					fmt.Fprintf(w, "%s\tprovisioned\tports %v: queues %v, %s; up for %.0f s\n", p.Switch, p.Ports, p.Depths, rate, p.UpS)
					for k, port := range after[i].Ports {
						was := "not known"
						if k < len(before[i].Ports) && before[i].Ports[k].Limit > 0 {
							was = fmt.Sprint(before[i].Ports[k].Limit)
						}
						fmt.Fprintf(w, "\t\tport %d: limit %s before, %d after\n", port.Port, was, port.Limit)
					}
				}
				if err := w.Flush(); err != nil {
					return err
				}
			}
			if failed == nil {
				return nil
			}
			bad := 0
			for _, p := range done {
				if p.Err != "" {
					bad++
				}
			}
			return reportedError{fmt.Errorf("switches provision: %d of %d switches failed", bad, len(done))}
		},
	}
	addLiveScenario(cmd, &name)
	return cmd
}

func newSwitchesShow() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "show --scenario FILE",
		Short: "Say which limits are in force, and who is primary",
		Long: `show asks every switch for its primary, and of each port for the limit in force,
the queue that it picks, and the packets that have met it. It changes nothing, and
may be asked beside a running deploy.`,
		Example: `  planegym switches show --scenario lab.toml
  planegym switches show --scenario lab.toml --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loadLive(cmd, name)
			if err != nil {
				return err
			}
			all := deploy.Show(cmd.Context(), s.Live.Switches, s.Live.Safe)
			if asJSON(cmd) {
				return writeJSON(cmd.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "switch\tprimary\tport\tlimit\tqueue\tpackets\t")
			for _, x := range all {
				if len(x.Ports) == 0 {
					fmt.Fprintf(w, "%s\t%s\t\t\t\t\t%s\n", x.Switch, x.Primary, x.Err)
				}
				for _, p := range x.Ports {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", x.Switch, x.Primary, p.Port, unless(int64(p.Limit), 0), unless(int64(p.Queue), -1), unless(p.Packets, -1), p.Err)
				}
			}
			return w.Flush()
		},
	}
	addLiveScenario(cmd, &name)
	return cmd
}

// unless is a number, or "-" where it is not known.
func unless(n, not int64) string {
	if n == not {
		return "-"
	}
	return fmt.Sprint(n)
}
