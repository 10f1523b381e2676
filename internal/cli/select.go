package cli

import (
	"github.com/spf13/cobra"
)

func newSelect() *cobra.Command {
	var s selector
	cmd := &cobra.Command{
		Use:   "select (--real FILE_LIMIT.csv... --set NAME=FILE,... | (--data FOLDER | --csv FILE) (--sweep FOLDER | --model FILE...))",
		Short: "Rank models by the metric M and by what M does not see",
		Long: `select scores sets of synthetic rows against the real ones, limit by limit, and
picks the best and the worst by one metric: M as published (Algorithm 1), or
another by --by. M compares quartiles column by column: shuffled rows win it. So
distances of distributions, correlations, autocorrelation, steps, copies and
the noise floor (real windows against the real rows) stand beside it.

Of files, --real and each --set name one file per limit, in the same order; the
limit is the number that ends a file's name. What is in both is scored: any number
of switches, a player or none, or the columns of numbers of any other CSV; what is
left out is named. Of a sweep, or of models, rollouts
are scored on the grid with the recordings' own gaps, and figures are medians;
where the limit changes within recordings (see fit), rollouts are under the same
limits, session by session, and models are ranked by what a limit does in them:

  exogeneity error  how much more often queues are full under one limit than
                    another, less the same in the recordings: the largest over
                    pairs. The load must not answer to a limit
  effect error      the drift of the buffer by load and limit, root mean square
                    difference from the recordings, s/s
  transient error   the same of the 60 s after a change of limit, in tens

Less is better for every figure but the last three, which are best at 1, 1 and .5:

  M            sum over columns of how far the interquartile range and the median
               are off; minmax: on the real columns' scale, 2600: of the first 2600
               rows, as published; raw: unscaled, most of it the counter. Below the
               table is which columns make it up
  W1, KS       distance of a column's values, mean over columns: Wasserstein-1 on the
               real column's range, Kolmogorov-Smirnov's statistic
  corr, ACF    mean error of correlations between columns, and of autocorrelations at
               lags 1 to 20 within windows of 50 rows
  LBO step     mean change of the buffer from second to second, over the real one
  LBO spread   its deviation within windows, over the real one
  copies       share of windows nearer to train than to held-out blocks

--export writes the rows of the best and worst set per limit as the tutorial
does, with q_size, but in time order.`,
		Example: `  planegym select --real real_32.csv --real real_64.csv --set models9=a_32.csv,a_64.csv --set models3=b_32.csv,b_64.csv
  planegym select --data recordings --sweep study --export chosen
  planegym select --data bundled --model a.safetensors --model b.safetensors --rollouts 1
  planegym select --csv house.csv --model a.safetensors --model b.safetensors --rollouts 3
  planegym select --data recordings --model a.safetensors --model b.safetensors --test --by W1 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	addData(cmd, &s.data)
	s.any.flags(cmd)
	s.computing.flags(cmd)
	s.deviceFlag(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&s.real, "real", nil, "CSV of real rows under one limit; repeat for each limit")
	f.StringArrayVar(&s.sets, "set", nil, "a set, as NAME=FILE,FILE in the order of --real; repeat for more")
	f.StringVar(&s.sweep, "sweep", "", "folder of a sweep, whose finished models are rolled out")
	f.StringArrayVar(&s.models, "model", nil, "a checkpoint to roll out, or one per limit, separated by commas; repeat for more")
	f.StringVar(&s.by, "by", "", "what is ranked by: effects (exogeneity and effect errors), exogeneity, effect, transient, M, M_raw, W1, KS, corr or ACF (default effects where limits take turns, else M)")
	f.BoolVar(&s.like, "like", false, "with --real: grids of seconds, whose gaps are applied to every set")
	f.BoolVar(&s.test, "test", false, "score held-out blocks only; of files with --like")
	f.IntVar(&s.rollouts, "rollouts", 5, "rollouts that a model's figures are the median of")
	f.Uint64Var(&s.seed, "seed", 0, "of rollouts and of the noise floor")
	f.StringVar(&s.export, "export", "", "folder to write the best and worst rows of each limit to")
	return cmd
}

type selector struct {
	computing
	data, sweep, by, export string
	real, sets, models      []string
	rollouts                int
	like, test              bool
	any                     anyCSV
	seed                    uint64
}
