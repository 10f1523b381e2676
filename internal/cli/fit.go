package cli

import (
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/timegan"
)

func newFit() *cobra.Command {
	var f fitter
	cmd := &cobra.Command{
		Use:   "fit -o MODEL.safetensors",
		Short: "Fit a simulator to recordings: a closed-loop generator, a TimeGAN, or rules around one",
		Long: `fit trains a simulator of what switches and a player measure under the queue
limits in force. There are three kinds:

  closed_loop  (default) a generator that reads its own last second and the
               limits, and draws the next second; the load is a process of its
               own that no limit moves. Any number of switches, one limit for
               all or one for each. See timegan/closedloop. With --set
               adversarial_weight=W it is then fine-tuned against a discriminator
               that compares rollouts with recordings (adversarial_updates,
               adversarial_window), if that does better on held-out recordings
  timegan      a conditional TimeGAN, trained on the train blocks. With --limit
               it sees that limit's recording only, the published way
  structured   rules of the queues and the player around a load that no limit
               moves, a TimeGAN for what is left; its settings are those of
               timegan/structured (regimes, ranks.joint, ...). It needs sessions

Recordings lie in a folder, one limit each; or they are sessions as testbed
record writes them, in which the limit changes (--schedule switchback): what a
limit does can be learnt from those alone. --data bundled are ten hours of such
sessions of scenario contended, --data bundled-mixed ten of schedule mixed, of
which a closed loop learns more.

The output is a checkpoint, written every so many updates, whole or not at all.
Ctrl-C keeps what is done, --resume goes on from there: the bytes in the end are
those of a run that was never interrupted. Equal data, settings and kernel set
give equal bytes.`,
		Example: `  planegym fit --data recordings -o model.safetensors
  planegym fit --data bundled-mixed -o model.safetensors
  planegym fit --data bundled-mixed --set seed=7 --set updates=600 -o model.safetensors
  planegym fit --data bundled-mixed --set adversarial_weight=1 -o tuned.safetensors
  planegym fit --data one-hour --ensemble 4 -o model.safetensors
  planegym fit --data one-hour --from other-testbed.safetensors --set rate=1e-3 -o model.safetensors
  planegym fit --data recordings --mode timegan --set joint=2000 -o gan.safetensors
  planegym fit --data recordings --set clock=3600 --set held_out=true -o hours.safetensors
  planegym fit --csv stock.csv --window 24 -o stock.safetensors
  planegym fit --csv house.csv --time date --columns load,temperature --condition weekday -o house.safetensors
  planegym fit --data recordings --limit 32 --preset tutorial --set latent=false -o model_32.safetensors
  planegym fit --data recordings --device cuda -o model.safetensors
  planegym fit --data recordings -o model.safetensors --resume
  planegym fit --data bundled --mode structured -o structured.safetensors
  planegym testbed record --scenario contended --schedule switchback --block-s 120 --sessions 40 --seed 1001 -o sessions
  planegym fit --data sessions --mode timegan --set clock=-1 -o pure.safetensors`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	addData(cmd, &f.data)
	f.computing.flags(cmd)
	f.engineFlag(cmd, ", cuda (on a GPU)")
	f.deviceFlag(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "the checkpoint to write")
	fl.StringVar(&f.preset, "preset", "", "settings to begin with: paper or tutorial; default: ours")
	fl.StringVar(&f.config, "config", "", "TOML file of settings")
	fl.StringArrayVar(&f.sets, "set", nil, "one setting, as KEY=VALUE; repeat for more")
	fl.StringVar(&f.mode, "mode", "", "what is fitted: closed_loop, timegan or structured (default closed_loop; timegan with --csv, --preset or --limit)")
	fl.IntVar(&f.limit, "limit", 0, "train on this limit's recording only, packets")
	fl.Uint64Var(&f.shuffle, "shuffle-limits", 0, "a null model: deal the limits out anew among the stretches they were in force in, by this seed; 0: as they were")
	fl.IntVar(&f.knots, "knots", timegan.DefaultKnots, "quantiles of a column's scaler; 2 is min-max")
	fl.IntVar(&f.every, "every", 1000, "updates between checkpoints")
	fl.StringVar(&f.from, "from", "", "of closed_loop, for few recordings: begin with the weights of this model, fitted to another testbed with the same columns and limits; --resume needs it again")
	fl.IntVar(&f.ensemble, "ensemble", 0, "of closed_loop, for few recordings: train so many networks, of seeds that follow one another, and draw from the mean of their distributions; a step takes as many times longer")
	fl.BoolVar(&f.resume, "resume", false, "go on from the output, with its settings")
	fl.BoolVar(&f.force, "force", false, "begin anew where the output already exists")
	fl.BoolVar(&f.weights, "weights-only", false, "leave the optimiser's state out of the finished checkpoint")
	addImpossible(cmd, &f.impossible)
	f.any.flags(cmd)
	fl.IntVar(&f.window, "window", 0, "of --csv: rows of a training window; default: 24")
	addProgress(cmd)
	fl.StringVar(&f.credit, "credit", "", "whose recordings these are: kept in the checkpoint")
	return cmd
}

type fitter struct {
	computing
	data, out, mode, preset, config, credit string
	from                                    string
	sets                                    []string
	limit, knots, every, ensemble           int
	impossible                              float64
	any                                     anyCSV
	window                                  int
	shuffle                                 uint64
	resume, force, weights                  bool
}
