package cli

import "github.com/spf13/cobra"

func newTestbed() *cobra.Command {
	group := &cobra.Command{
		Use: "testbed", Short: "The emulated testbed",
		Example: "  planegym testbed --p4runtime --scale 60 -o lab.toml",
	}
	addEmulator(group)
	return group
}
