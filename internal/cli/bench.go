package cli

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/bench/stepping"
)

func newBench() *cobra.Command {
	var data string
	var rounds int
	var seconds float64
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure stepping: in process, over loopback, beside raw TCP",
		Long: `bench steps scenarios in process and over a WebSocket on loopback, in batches
of 1, 256 and 1024 and pipelined, and beside it exchanges as many bytes over
raw TCP; both go to a process of its own, as a server is. The kinds take turns
within a round; every figure is the median over rounds. Read the ratios: they
hold across machines, times do not.

Names are stable: SCENARIO.nROWS.KIND.FIGURE. Units: us (a call's median time),
1/s (environment steps), ratio, 1/call (heap allocations of the calling process).`,
		Example: `  planegym bench
  planegym bench --data recordings --json > bench.json
  planegym bench --rounds 3 --seconds 0.05
  planegym bench timegan --csv stock.csv`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rounds < 1 || seconds <= 0 {
				return usagef("bench: --rounds %d, --seconds %v: both must be above 0", rounds, seconds)
			}
			return runBench(cmd, stepping.Options{Data: data, Rounds: rounds, Duration: time.Duration(seconds * float64(time.Second))})
		},
	}
	cmd.AddCommand(newBenchTimeGAN())
	addData(cmd, &data)
	cmd.Flags().IntVar(&rounds, "rounds", 7, "rounds to take the median over")
	cmd.Flags().Float64Var(&seconds, "seconds", 0.2, "how long a measurement lasts, seconds")
	return cmd
}

const peerCommand = "bench-peer"

func newBenchPeer() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: peerCommand, Hidden: true, Args: exactly(0),
		Short: "The process that bench steps through",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return stepping.ServePeer(data, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	addData(cmd, &data)
	return cmd
}

func runBench(cmd *cobra.Command, o stepping.Options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	to, err := stepping.StartPeer(cmd.Context(), cmd.ErrOrStderr(), self, peerCommand, "--data", o.Data)
	if err != nil {
		return err
	}
	defer to.Close()
	bar := newProgress(cmd, int64(o.Calls()), "round", "bench")
	o.Done = func() error { return bar.Add(1) }
	r, err := stepping.Run(cmd.Context(), to, o)
	if err != nil {
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"machine": thisMachine(), "rounds": o.Rounds, "figures": r.Figures()})
	}
	return r.WriteText(cmd.OutOrStdout())
}
