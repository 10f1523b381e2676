package cli

import (
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/files"
	"github.com/planegym/planegym/traffic/store"
)

func newTrafficCompile() *cobra.Command {
	var out string
	var o files.Writing
	cmd := &cobra.Command{
		Use:   "compile SESSIONS",
		Short: "Make legal packets of sessions",
		Long: `compile writes a capture (pcap, nanoseconds) of a Parquet file of sessions:
addresses, ports, sequence numbers, acknowledgements, options, checksums and
payload are computed. It prints the repair rate, the share of actions that could
not be said as they are, and why: a model's bad actions do not disappear.`,
		Example: `  planegym traffic compile s.parquet -o s.pcap
  planegym traffic compile s.parquet --mtu 9000 --complete -o s.pcap --json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := files.CheckEnding(out, ".pcap", ".nprint", ".png"); err != nil {
				return usagef("traffic compile: --output: %w", err)
			}
			if err := prepareOutput("traffic compile: --output", out); err != nil {
				return err
			}
			s, err := readSessions("SESSIONS", args[0])
			if err != nil {
				return err
			}
			bar := newProgress(cmd, int64(s.Len()), "sessions", "compile")
			sessions := watched(store.All(s), func(*traffic.Session) { _ = bar.Add(1) })
			return writeTraffic(cmd, out, &s.Of, sessions, &o, bar.Finish)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "capture to write, .pcap; a table of nPrint, .nprint; a picture, .png (required)")
	f.IntVar(&o.Packets.MTU, "mtu", 1500, "bytes of an IP packet")
	f.Uint64Var(&o.Packets.Seed, "seed", 0, "of ports and sequence numbers")
	f.BoolVar(&o.Packets.Complete, "complete", false, "add handshake, acknowledgements and close to connections without")
	f.BoolVar(&o.Packets.Raw, "raw", false, "IP packets without Ethernet headers")
	return cmd
}
