package cli

import (
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/scenarios"
)

func newTestbed() *cobra.Command {
	group := &cobra.Command{
		Use:   "testbed",
		Short: "Emulate the testbed: record it, and ask what an action is worth",
		Long: `testbed runs the packet-level emulation of the tutorial's testbed. Its
scenarios are those whose plant is "testbed"; serve, train and play take them
as any other.

--p4runtime lets its switches pass for real ones until Ctrl-C: each is a
P4Runtime server, telemetry reports and the player's samples come in scaled real
time, and the scenario of all this is written to a file, for switches check,
deploy, collect and train --switches.`,
		Example: `  planegym testbed record --scenario testbed --schedule switchback -o recordings
  planegym testbed worth --scenario contended
  planegym testbed --p4runtime --scale 60 -o lab.toml`,
	}
	group.AddCommand(newTestbedRecord(), newTestbedWorth(), newTestbedCalibrate())
	addEmulator(group)
	return group
}

// loadTestbed is loadScenario of one whose plant is a testbed.
func loadTestbed(cmd *cobra.Command, name string) (scenarios.Scenario, error) {
	s, err := loadScenario(name)
	if err == nil && s.Plant != "testbed" {
		err = usagef("%s: --scenario: the plant of %s is %q, not a testbed", cmd.Name(), name, s.Plant)
	}
	return s, err
}
