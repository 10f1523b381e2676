package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/sendpcap"
)

func newTrafficReplay() *cobra.Command {
	var iface, count string
	var speed float64
	var loop int
	cmd := &cobra.Command{
		Use:   "replay CAPTURE --interface NAME",
		Short: "Send a capture's frames out of an interface, at their own times",
		Long: `replay sends the Ethernet frames of a capture (pcap, pcapng) out of an interface,
paced by their times over --speed, and says how late they left. With --count it
counts what arrives at another interface, up to a second after the last frame. Linux; it needs CAP_NET_RAW. What it sends reaches whoever is on that wire:
use a veth pair, or a port that leads to your switches alone.`,
		Example: `  ip link add veth0 type veth peer name veth1 && ip link set veth0 up && ip link set veth1 up
  planegym traffic sample -n 1000 -o load.pcap
  planegym traffic replay load.pcap --interface veth0 --count veth1
  planegym traffic replay load.pcap --interface veth0 --speed 2 --loop 10`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case iface == "":
				return usagef("traffic replay: --interface: out of which?")
			case !(speed > 0 && speed <= 1e6):
				return usagef("traffic replay: --speed: %v is outside 0…1e6", speed)
			case loop < 1:
				return usagef("traffic replay: --loop: %d", loop)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			o := sendpcap.Options{Interface: iface, Speed: speed, Times: loop}
			bar := newProgress(cmd, -1, "frames", "replay")
			o.Sent = func(n int) { _ = bar.Add(n) }
			var counted chan sendpcap.Counted
			sent := make(chan struct{})
			if count != "" {
				known, err := sendpcap.Know(args[0])
				if err != nil {
					return err
				}
				c, err := sendpcap.Listen(count)
				if err != nil {
					return err
				}
				counted = make(chan sendpcap.Counted, 1)
				// The goroutine ends with ctx, or a second after the last frame;
				// the receive below waits for it.
				go func() { counted <- c.Count(ctx, known, sent) }()
			}
			r, err := sendpcap.Send(ctx, args[0], o)
			close(sent)
			if err != nil {
				return err
			}
			if err := bar.Finish(); err != nil {
				return err
			}
			var arrived sendpcap.Counted
			if counted != nil {
				if arrived = <-counted; arrived.Err != nil {
					return arrived.Err
				}
			}
			if asJSON(cmd) {
				out := map[string]any{"sent": r}
				if counted != nil {
					out["arrived"] = arrived
				}
				return writeJSON(cmd.OutOrStdout(), out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d frames, %d bytes sent out of %s in %.3f s, of %.3f s asked for; late by %v in the median, %v at the most\n",
				r.Frames, r.Bytes, iface, r.Seconds, r.Asked, r.LateMedian, r.LateMax)
			if counted != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%d frames, %d bytes arrived at %s, and %d of others\n", arrived.Frames, arrived.Bytes, count, arrived.Others)
				if arrived.Missed > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%d more arrived and were not counted: this process had no time for them; --speed is less than %g where every one counts\n", arrived.Missed, speed)
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&iface, "interface", "", "interface to send out of (required)")
	f.Float64Var(&speed, "speed", 1, "times are divided by it")
	f.IntVar(&loop, "loop", 1, "times to send the capture")
	f.StringVar(&count, "count", "", "interface to count what arrives at")
	return cmd
}
