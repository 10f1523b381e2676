package cli

import (
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval/selection"
)

func newReport() *cobra.Command {
	var r reporter
	cmd := &cobra.Command{
		Use:   "report [--real FILE [--set NAME=FILE]...] [(--csv FILE | --data FOLDER) --model NAME=FILE...] [--agent NAME=PATH]... [--compare FILE] [--traffic FILE]",
		Short: "Draw data, agents and comparisons of plants",
		Long: `report draws one page of HTML that loads nothing from elsewhere, of what it is
given:

  --real, --set  recordings, real and synthetic, side by side: the metric M beside
                 the metrics it needs, time series, distributions, autocorrelation,
                 rank correlations, and windows by PCA and t-SNE
  --model        models beside the recordings that --csv or --data names (else
                 PLANEGYM_DATA): rolled out under the same limits, with the same gaps;
                 the figures above of the first recording, M by column, and what a
                 limit does (exogeneity, effect and transient error, see select)
  --agent        agents side by side: of a folder that train wrote the curves of
                 training and an episode, drawn; of a .parquet that play --record or
                 serve --record wrote returns, what a viewer saw, and which actions
                 were taken when; of an agent's file, or "bundled", an episode
  --compare      what compare --json wrote: values, drift, estimates
  --traffic      what traffic eval --json wrote: policies under real and generated
                 load, likeness beside the noise floor and models that only count
  --sessions     sessions of traffic, the real ones first: distributions, burstiness

FILE of a recording is CSV with the published columns or those that import writes. Empty cells
were not measured; with --like the real grid's gaps are applied to every set.
In the table, floor is real windows against the real recording: the median of
200 draws, and its 5 and 95 % points. No model can be distinguished from a better one
below it.`,
		Example: `  planegym report --real real_32.csv --set model=sample_32.csv -o report.html
  planegym report --real grid_32.csv --like --set best=a.csv --set worst=b.csv --png figures
  planegym report --real grid_32.csv --like --set best=a.csv --json
  planegym report --csv house.csv --model mine=house.safetensors -o house.html
  planegym report --data bundled --model closed=closedloop --model structured=synthetic -o models.html
  planegym report --agent default=run --agent default=played.parquet --agent random=random.parquet
  planegym report --agent mine=run --agent bundled=bundled -o agents.html
  planegym compare contended mine.toml --json > c.json && planegym report --compare c.json -o compare.html
  planegym traffic eval --real s.parquet --in crossing --json > e.json && planegym report --traffic e.json --sessions real=s.parquet -o traffic.html`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&r.real, "real", "", "CSV of the real recording")
	f.StringArrayVar(&r.sets, "set", nil, "a set to compare, as NAME=FILE; repeat for more")
	f.StringArrayVar(&r.models, "model", nil, "a model to roll out beside --csv or --data, as NAME=FILE; repeat for more")
	f.IntVar(&r.rollouts, "rollouts", 3, "of --model: rollouts that its figures are the median of")
	addData(cmd, &r.data)
	r.any.flags(cmd)
	r.computing.flags(cmd)
	f.StringArrayVar(&r.agents, "agent", nil, "an agent, as NAME=PATH: a folder of train, its .safetensors, recorded episodes, or bundled; repeat for more")
	f.StringVar(&r.compare, "compare", "", "what compare --json wrote")
	f.StringVar(&r.traffic, "traffic", "", "what traffic eval --json wrote")
	f.StringArrayVar(&r.sessions, "sessions", nil, "Parquet file of sessions, as NAME=FILE, the real ones first; repeat for more")
	f.BoolVar(&r.options.Like, "like", false, "the real recording is a grid of seconds: apply its gaps to every set")
	f.BoolVar(&r.options.Test, "test", false, "compare held-out blocks only; needs --like")
	f.Uint64Var(&r.options.Seed, "seed", 0, "of the noise floor's draws")
	f.StringVarP(&r.out, "output", "o", "report.html", "the page")
	f.BoolVar(&r.force, "force", false, "replace the page where it already exists")
	f.StringVar(&r.png, "png", "", "folder to write every figure into as PNG")
	return cmd
}

type reporter struct {
	computing
	real, out, png         string
	compare, traffic, data string
	any                    anyCSV
	models                 []string
	rollouts               int
	force                  bool
	sets, agents, sessions []string
	options                selection.Options
}
