package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/scenarios"
)

func newSwitches() *cobra.Command {
	group := &cobra.Command{
		Use:     "switches",
		Short:   "Look after live switches",
		Example: "  planegym switches check --scenario lab.toml",
	}
	group.AddCommand(newSwitchesCheck(), newSwitchesProvision(), newSwitchesShow())
	return group
}

func newSwitchesCheck() *cobra.Command {
	var name string
	var listen time.Duration
	cmd := &cobra.Command{
		Use:   "check --scenario FILE",
		Short: "Say what is wrong with the switches, and how to mend it",
		Long: `check looks at every switch of a scenario with plant = "live" and changes
nothing: whether it is reached, who is primary, whether it runs our program with
our P4Info, whether every limit has a queue, and which limit is in force. It
looks at the clock of this machine, too: reports are put on seconds by it. With
--listen it takes telemetry for a while, and says what came of whom, and how far
the clocks are apart.

It fails where something stands in the way of deploy.`,
		Example: `  planegym switches check --scenario lab.toml
  planegym switches check --scenario lab.toml --listen 10s --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return checkSwitches(cmd, name, listen) },
	}
	addLiveScenario(cmd, &name)
	cmd.Flags().DurationVar(&listen, "listen", 0, "how long to listen for telemetry; 0: not at all")
	return cmd
}

func addLiveScenario(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "scenario", "", "a scenario with plant = \"live\": a .toml file")
}

// loadLive loads a scenario of live switches.
func loadLive(cmd *cobra.Command, name string) (scenarios.Scenario, error) {
	if name == "" {
		return scenarios.Scenario{}, usagef("%s: --scenario: which live switches? Give a .toml file", cmd.Name())
	}
	s, err := loadScenario(name)
	if err == nil && s.Plant != "live" {
		err = usagef(`%s: --scenario: %s has plant = %q, not "live"`, cmd.Name(), name, s.Plant)
	}
	return s, err
}

func checkSwitches(cmd *cobra.Command, name string, listen time.Duration) error {
	s, err := loadLive(cmd, name)
	if err != nil {
		return err
	}
	found := append(deploy.Examine(cmd.Context(), s.Live.Switches, deploy.ActionLimits(s), s.Live.Safe, probesOf(s)), deploy.ExamineClock())
	for _, w := range s.Live.Warnings() {
		found = append(found, deploy.Finding{Switch: "all", Check: "config", Level: deploy.Warning, Says: w})
	}
	if listen > 0 {
		heard, err := deploy.Listen(cmd.Context(), s, listen)
		if err != nil {
			return err
		}
		found = append(found, heard...)
	}
	bad := 0
	for _, f := range found {
		if f.Level == deploy.Failed {
			bad++
		}
	}
	if asJSON(cmd) {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"ok": bad == 0, "found": found}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		for _, f := range found {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Switch, f.Check, f.Level, f.Says)
			for _, m := range f.Mend {
				fmt.Fprintf(w, "\t\t→\t%s\n", m)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if bad > 0 {
		return reportedError{fmt.Errorf("switches check: %d of %d checks failed", bad, len(found))}
	}
	return nil
}

// probesOf is how many probes a second pass by a meter: ours, or, where others
// send them, as many as the tutorial's testbed.
func probesOf(s scenarios.Scenario) float64 {
	if s.Live.Probes.SendPerSecond > 0 {
		return s.Live.Probes.SendPerSecond
	}
	return 25
}
