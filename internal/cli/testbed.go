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
as any other.`,
		Example: `  planegym testbed record --scenario testbed --schedule switchback -o recordings
  planegym testbed worth --scenario contended`,
	}
	group.AddCommand(newTestbedRecord(), newTestbedWorth(), newTestbedCalibrate())
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
