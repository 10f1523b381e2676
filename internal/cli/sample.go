package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/eval/fidelity"
	"github.com/planegym/planegym/timegan"
)

func newSample() *cobra.Command {
	var s sampler
	cmd := &cobra.Command{
		Use:   "sample [MODEL.safetensors]... -o FOLDER",
		Short: "Write synthetic recordings of a model",
		Long: `sample rolls a model out and writes each rollout as a recording, a row per
second, as import writes real ones: FOLDER/sample_LIMIT.SEED.csv. Without one it
is the bundled model. One model knows all the limits that it was trained under;
of models trained on one limit each, give all.`,
		Example: `  planegym sample -o samples
  planegym sample model.safetensors -o samples
  planegym sample model.safetensors --limit 48 --seconds 600 --rollouts 20 -o samples
  planegym sample model_32.safetensors model_64.safetensors -o samples --json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	s.computing.flags(cmd)
	s.deviceFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&s.out, "output", "o", "", "the folder to write to; it is made if it is not there")
	f.IntSliceVar(&s.limits, "limit", nil, "queue limits in force, packets; default: the smallest and largest trained under")
	f.IntVar(&s.seconds, "seconds", 3600, "length of a rollout")
	f.IntVar(&s.clock, "clock", 0, "second of the recorded hour to begin at; -1: a random one each")
	f.IntVar(&s.rollouts, "rollouts", 1, "rollouts per limit")
	f.Uint64Var(&s.seed, "seed", 0, "of the first rollout; the others count on")
	return cmd
}

type sampler struct {
	computing
	out               string
	limits            []int
	seconds, rollouts int
	clock             int
	seed              uint64
}

func (s *sampler) run(cmd *cobra.Command, args []string) error {
	switch {
	case s.out == "":
		return usagef("sample: --output: name what to write")
	case s.seconds < 1 || s.rollouts < 1:
		return usagef("sample: --seconds %d, --rollouts %d: both must be above 0", s.seconds, s.rollouts)
	}
	sim, known, done, err := s.openModels(s.rollouts, args)
	if err != nil {
		return err
	}
	defer done()
	if len(s.limits) == 0 {
		s.limits = known
	}
	for _, l := range s.limits {
		if l < known[0] || l > known[len(known)-1] {
			return usagef("sample: --limit: %d is outside the %d…%d trained under", l, known[0], known[len(known)-1])
		}
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("sample: --output: %w", err)
	}
	bar := newProgress(cmd, int64(len(s.limits)*s.rollouts), "rollout", "sample")
	var files []string
	for _, l := range s.limits {
		all, err := timegan.Sample(cmd.Context(), sim, fidelity.Seeds(s.seed, s.rollouts), s.clock, int32(l), s.seconds)
		if err != nil {
			return err
		}
		for i, d := range all {
			path := filepath.Join(s.out, fmt.Sprintf("sample_%d.%d.csv", l, s.seed+uint64(i)))
			if err := d.WriteCSV(path); err != nil {
				return err
			}
			files = append(files, path)
			if err := bar.Add(1); err != nil {
				return err
			}
		}
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"files": files, "seconds": s.seconds, "limits": s.limits})
	}
	for _, f := range files {
		fmt.Fprintln(cmd.OutOrStdout(), f)
	}
	return nil
}
