package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

func newSweep() *cobra.Command {
	var s sweeper
	cmd := &cobra.Command{
		Use:   "sweep -o FOLDER",
		Short: "Train a grid of TimeGANs",
		Long: `sweep trains every combination of window, hidden size, batch, mode and seed, a
model per core, and scores each by the metric M on the train blocks as it goes:
with --patience a model whose M no longer falls is stopped. FOLDER holds the
checkpoints and result.json, which select reads.

A sweep that was killed goes on when it is called again. With --shard several
processes or machines share one sweep and one folder, or folders that are copied
together: each writes a result of its own, result.I-of-N.json, and select reads
them all. --preset 3, 9 and 27
are the studies of the published tutorial: windows of 50, 100 and 150 s, hidden
sizes of 20, 40 and 60, batches of 100, 128 and 156, one model per limit.`,
		Example: `  planegym sweep --data recordings --preset 9 -o study
  planegym sweep --data recordings --config grid.toml --workers 4 --patience 5 -o grid
  planegym sweep --data recordings --set hidden=[16,24] --set seeds=[1,2,3] -o seeds
  planegym sweep --data recordings --preset 27 --shard 2/4 -o study   on the second of four machines
  planegym select --data recordings --sweep study`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	addData(cmd, &s.data)
	f := cmd.Flags()
	f.StringVar(&s.Kernels, "kernels", "auto", "kernel set: auto, go, avx2, avx512 or reference; equal bytes are promised per set")
	s.engineFlag(cmd, ", cuda (on a GPU)")
	s.deviceFlag(cmd)
	f.StringVarP(&s.out, "output", "o", "", "the folder of the sweep, made where it is missing")
	f.StringVar(&s.preset, "preset", "", "a study of the tutorial: 3, 9 or 27")
	f.StringVar(&s.config, "config", "", "TOML file of the grid: windows, hidden, batches, modes, seeds, [base]")
	f.StringArrayVar(&s.sets, "set", nil, "one key of the grid, as KEY=VALUE; repeat for more")
	f.IntVar(&s.workers, "workers", runtime.GOMAXPROCS(0), "models that train at once, a core each; on a GPU 32 unless said")
	f.StringVar(&s.shard, "shard", "", "I/N: train every N-th model, from the I-th; 1/N to N/N together are the sweep, in one folder")
	f.BoolVar(&s.list, "list", false, "print the models of the grid and train none")
	addProgress(cmd)
	f.IntVar(&s.patience, "patience", 0, "scores in a row without a better M after which a model is stopped; 0: never")
	return cmd
}

type sweeper struct {
	computing
	data, out, preset, config string
	sets                      []string
	workers, patience         int
	shard                     string
	list                      bool
}
