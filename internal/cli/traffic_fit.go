package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/models"
)

func newTrafficFit() *cobra.Command {
	var f trafficFitter
	var modes []string
	about := ""
	for _, k := range models.Kinds {
		modes = append(modes, k.Mode)
		about += fmt.Sprintf("  %-15s %s\n", k.Mode, k.About)
	}
	cmd := &cobra.Command{
		Use:   "fit --data FILE -o MODEL",
		Short: "Fit a model of traffic to sessions",
		Long: `fit learns a model of sessions. Modes:

` + about + `
Settings of a mode are changed by --set; an unknown key names the nearest one.
Learned modes write checkpoints to the output: Ctrl-C keeps what is done, --resume
goes on from there. Equal data, settings, seed and kernel set give equal bytes.

With --epsilon and --delta the model is (ε, δ)-differentially private with respect
to adding or removing one session; the noise is new in every fit. ngram counts with
noise, doppelganger's critics see clipped gradients with noise; both have public,
coarse classes, and learn no times between sessions. Other modes refuse. --set clip=C
bounds what a session adds; ngram needs --cut where sessions were cut when they were
recorded. What cannot be met is refused, and the error says what to change.

--from begins with another fit's weights and classes, for a quarter of its updates
if --set updates= does not say otherwise; values that its classes do not have are
counted. --chunk K/N learns the sessions that start in the K-th of N equal times,
with the classes of all: a trace is learnt chunk by chunk, the first and then each
other one from it. Modes doppelganger and doppelganger-likelihood can;
planegym.ray.traffic_fit_chunks does it on a Ray cluster.`,
		Example: `  planegym traffic fit --data sessions.parquet -o model.safetensors
  planegym traffic fit --data sessions.parquet --mode ngram --set order=5 -o m5.safetensors
  planegym traffic fit --data sessions.parquet --epsilon 2 --delta 1e-6 -o private.safetensors
  planegym traffic fit --data sessions.parquet --mode doppelganger --epsilon 8 --delta 1e-6 --set updates=500 -o p.safetensors
  planegym traffic fit --data trace.parquet --mode doppelganger --chunk 1/10 -o c1.safetensors
  planegym traffic fit --data trace.parquet --from c1.safetensors --chunk 2/10 -o c2.safetensors`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.data, "data", "", "Parquet file of sessions (required)")
	fl.StringVar(&f.mode, "mode", "ngram", "what to fit: "+strings.Join(modes, ", ")+"; with --from its mode")
	fl.StringVar(&f.from, "from", "", "model to begin with, .safetensors: its weights, classes and settings")
	fl.StringVar(&f.chunk, "chunk", "", "K/N: learn the sessions that start in the K-th of N equal times")
	fl.BoolVar(&f.list, "list", false, "say what each of the N chunks of --chunk has, and fit nothing")
	fl.StringArrayVar(&f.sets, "set", nil, "one setting of the mode, as KEY=VALUE; repeat for more")
	fl.IntVar(&f.order, "order", 3, "of ngram, as --set order=: steps that the next one depends on")
	fl.IntVar(&f.cut, "cut", 0, "as --set max_steps=: steps that the recording kept of a session; 0: found, -1: all")
	fl.Float64Var(&f.epsilon, "epsilon", 0, "make a differentially private model of this ε, with --delta")
	fl.Float64Var(&f.delta, "delta", 0, "δ of a private model: far below 1/sessions")
	fl.Uint64Var(&f.options.Seed, "seed", 0, "of a learned mode's weights and batches")
	fl.IntVar(&f.options.Every, "every", 0, "of a learned mode: updates between checkpoints; default: the mode's")
	fl.BoolVar(&f.options.Resume, "resume", false, "go on from the output, with its settings")
	fl.BoolVar(&f.force, "force", false, "begin anew where the output already exists")
	fl.StringVarP(&f.out, "output", "o", "", "model to write, .safetensors (required)")
	f.flags(cmd)
	f.engineFlag(cmd, "")
	addProgress(cmd)
	return cmd
}

type trafficFitter struct {
	computing
	data, mode, out string
	from, chunk     string
	sets            []string
	order, cut      int
	epsilon, delta  float64
	force, list     bool
	options         traffic.FitOptions
}

func (f *trafficFitter) run(cmd *cobra.Command) error {
	if f.list {
		return f.listChunks(cmd)
	}
	if err := f.check(cmd); err != nil {
		return err
	}
	release, err := lockOutput("traffic fit: --output", f.out)
	if err != nil {
		return err
	}
	defer release()
	s, err := readSessions("--data", f.data)
	if err != nil {
		return err
	}
	k, settings, err := f.settings(cmd)
	if err != nil {
		return err
	}
	engine, kernels, err := f.ClosedLoop(cmd.Context())
	if err != nil {
		return asUsage(err)
	}
	o := f.options
	o.Path, o.Engine, o.Kernels, o.Threads = f.out, engine, kernels.String(), f.Threads
	bar, events := newProgress(cmd, -1, "updates", "fit"), newEvents(cmd)
	o.Report = func(p traffic.Progress) {
		shown, losses := p.Phase, map[string]float64{}
		for _, name := range slices.Sorted(maps.Keys(p.Losses)) {
			if x := p.Losses[name]; !math.IsNaN(x) && !math.IsInf(x, 0) {
				losses[name] = x
				shown += fmt.Sprintf(" %s %.3f", name, x)
			}
		}
		events.emit(p.Phase, p.Done == 0 || p.Done >= p.Total, map[string]any{"phase": p.Phase, "done": p.Done, "total": p.Total, "losses": losses})
		bar.ChangeMax(p.Total)
		bar.Describe(shown)
		_ = bar.Set(p.Done)
	}
	start := time.Now()
	m, err := k.Fit(cmd.Context(), s, settings, o)
	if err != nil {
		if _, there := os.Stat(f.out); errors.Is(err, context.Canceled) && there == nil {
			return fmt.Errorf("traffic fit: stopped; %s keeps what is done, --resume goes on: %w", f.out, err)
		}
		return err
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	return f.done(cmd, m, s, settings, time.Since(start))
}
