package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/inloop"
)

func newTrafficEval() *cobra.Command {
	var e trafficEval
	cmd := &cobra.Command{
		Use:   "eval --real FILE [--held FILE] [--synth NAME=FILE]...",
		Short: "Say how far generated sessions are from real ones",
		Long: `eval compares sessions with held-out real ones. A --synth is a Parquet file of
sessions, a capture, or a model, which is sampled --seeds times and whose likelihood
counts. Of a capture the legality of its own packets is measured, of sessions that
of the packets which compile makes of them.
Without --held, every second session of --real is held out; give models that were
fitted to the others then, or likelihood and copies say little.

Models and sessions of rates (convert --series) stand beside packets: all rows are
measured as series then, and a figure that a series has not is "–".

Beside every figure stand the row "real", the training sessions in a generator's
place, and the floors bootstrap, markov and witten-bell-3, fitted to the same
sessions. Intervals are 95 %, over seeds; of nll over held-out sessions. Likelihood
first: TSTR and C2ST reward copies, so read them where copy is near real's.

With --audit, membership in training is attacked: by a threshold on a model's
likelihood, and with --shadow N by N models fitted as each was, with the settings in
its file, to random halves of as many training as held-out sessions, beside the
other training sessions (LiRA). A model without a likelihood is judged by its
nearest sample. The sessions of --real are those that the model was fitted to, and
--held is drawn as they were: all that distinguishes the two counts as memory.

With --in, a testbed scenario with loads of kind "sessions", policies are played
under the held-out sessions in the place of the scenario's, and under each row's:
what they are worth, by the same seeds; how far a row is off, beside the row
"real", half of the real sessions against the other half; and whether it ranks
policies that differ beyond noise as the real load does. A load that names labels
takes the sessions with these. Likeness is measured as well, unless --only-in.`,
		Example: `  planegym traffic eval --real train.parquet --held test.parquet --synth mine=model.safetensors --audit
  planegym traffic eval --real train.parquet --held test.parquet --synth mine=model.safetensors --shadow 8 --no-forest --no-floors
  planegym traffic eval --real sessions.parquet --synth a=a.parquet --synth b=b.parquet --json > eval.json
  planegym traffic eval --real sessions.parquet --synth rates=denoise.safetensors --synth packets=masked.safetensors
  planegym traffic eval --real sessions.parquet --in mine.toml --policy fixed:32 --policy fixed:128 --policy occupancy:0.42 --episode-steps 250`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&e.real, "real", "", "real sessions to fit to (required)")
	f.StringVar(&e.held, "held", "", "real sessions to compare with; default: every second one of --real")
	f.StringArrayVar(&e.synth, "synth", nil, "generated sessions or a model, as NAME=FILE; repeat for more")
	f.IntVar(&e.options.Seeds, "seeds", 3, "samples of a model, forests of a set")
	f.Uint64Var(&e.options.Seed, "seed", 0, "the first")
	f.IntVar(&e.options.N, "n", 0, "sessions sampled of a model; default: as many as in training")
	f.IntVar(&e.options.Steps, "steps", 10, "steps of a session that forests see")
	f.IntVar(&e.options.Trees, "trees", 200, "of a forest")
	f.BoolVar(&e.options.NoForest, "no-forest", false, "leave out what needs forests: seconds instead of minutes")
	f.BoolVar(&e.options.NoFloors, "no-floors", false, "leave bootstrap, markov and witten-bell-3 out")
	f.BoolVar(&e.options.Audit, "audit", false, "also say how well a threshold on a model's likelihood tells training sessions from held-out ones")
	f.IntVar(&e.options.Shadow, "shadow", 0, "with so many shadow models of each, an even number from 4 on, also attack as LiRA does; it implies --audit")
	f.BoolVar(&e.options.Mixing, "mixing", false, "also the curve of mixtures of real and generated sessions")
	f.StringVar(&e.in, "in", "", "testbed scenario to value policies in under real and generated load: bundled, or a .toml file")
	f.BoolVar(&e.onlyIn, "only-in", false, "with --in: leave likeness out")
	f.IntVar(&e.loop.Episodes, "episodes", 20, "with --in: episodes of each policy under each load")
	f.IntVar(&e.steps, "episode-steps", 0, "with --in: steps of an episode; default: the scenario's")
	f.StringArrayVar(&e.policies, "policy", nil, "with --in: a policy, a baseline or an agent's .safetensors file; repeat for more; default: those of compare")
	return cmd
}

type trafficEval struct {
	real, held, in  string
	synth, policies []string
	steps           int
	onlyIn          bool
	options         eval.Options
	loop            inloop.Options
}

func (e *trafficEval) run(cmd *cobra.Command) error {
	switch {
	case e.real == "":
		return usagef("traffic eval: --real: which sessions are the real ones?")
	case e.onlyIn && e.in == "":
		return usagef("traffic eval: --only-in: of which scenario? --in names it")
	case e.loop.Episodes < 2 || e.steps < 0:
		return usagef("traffic eval: --episodes is at least 2, --episode-steps at least 0")
	case e.options.Seeds < 1 || e.options.Steps < 1 || e.options.Trees < 1 || e.options.N < 0:
		return usagef("traffic eval: --seeds, --steps and --trees are at least 1")
	case e.options.Shadow != 0 && (e.options.Shadow < 4 || e.options.Shadow%2 != 0):
		return usagef("traffic eval: --shadow: %d models; expected an even number from 4 on: a session is in half of them", e.options.Shadow)
	case e.options.Shadow > 0 && len(e.synth) == 0 && e.options.NoFloors:
		return usagef("traffic eval: --shadow: there is no model to attack: --synth NAME=MODEL.safetensors, or no --no-floors")
	}
	train, err := readSessions("--real", e.real)
	if err != nil {
		return err
	}
	var held *traffic.Set
	if e.held != "" {
		if held, err = readSessions("--held", e.held); err != nil {
			return err
		}
	}
	candidates, err := readCandidates(e.synth)
	if err != nil {
		return err
	}
	var all inloop.Evaluation
	if e.in != "" {
		if all.InLoop, err = e.inLoop(cmd, train, held, candidates); err != nil {
			return err
		}
	}
	if !e.onlyIn {
		bar := newProgress(cmd, int64(e.options.Work(candidates)), "sets", "eval")
		e.options.Progress = func() { _ = bar.Add(1) }
		all.Result, err = eval.Compare(cmd.Context(), train, held, candidates, e.options)
		if err := cmp.Or(err, bar.Finish()); err != nil {
			return err
		}
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), all)
	}
	if all.InLoop != nil {
		if err := printInLoop(cmd.OutOrStdout(), all.InLoop); err != nil || e.onlyIn {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout())
	}
	return printTrafficEval(cmd.OutOrStdout(), all.Result)
}
