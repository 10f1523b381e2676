package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/calibrate"
)

func newTestbedCalibrate() *cobra.Command {
	var c calibrateCommand
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "Search the load and rates under which the testbed measures what was recorded",
		Long: `calibrate emulates an hour under each limit of --data's real_LIMIT.csv, passes it
through the published preprocessing, and compares the rows with the recorded
ones: the Kolmogorov-Smirnov distance of every column that is not constant, and
the share of seconds that the preprocessing leaves out.

It looks for less of the mean distance of all columns plus the difference of that
share, by a (1+1) evolution strategy: of the best parameters so far one to three
are multiplied by a log-normal factor, whose width grows by half after a success
and shrinks by a tenth after a failure; every try meets the same seeds. A second
load, where it is UDP, is varied in its rate: in scenario calibrated it holds the
player back until the second at which its quality rose in the recordings.`,
		Example: `  planegym testbed calibrate --data recordings --tries 200 -o calibrated.toml
  planegym testbed calibrate --data recordings --tries 0 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&c.data, "data", os.Getenv("PLANEGYM_DATA"), "folder with the published real_LIMIT.csv; default $PLANEGYM_DATA")
	f.StringVar(&c.scenario, "scenario", "calibrated", "the scenario to begin with; its first switch and its loads are varied")
	f.IntVar(&c.Tries, "tries", 100, "parameters to try; 0 only compares")
	f.IntVar(&c.Seconds, "seconds", 3600, "seconds of a recording")
	f.Uint64Var(&c.Seed, "seed", 1, "of the search and the emulation")
	f.StringVarP(&c.out, "output", "o", "", "file for the parameters found, TOML")
	return cmd
}

type calibrateCommand struct {
	data, scenario, out string
	calibrate.Search
}

func (c *calibrateCommand) run(cmd *cobra.Command) error {
	switch {
	case c.data == "":
		return usagef("calibrate: --data: where are real_LIMIT.csv?")
	case c.Tries < 0 || c.Seconds < 100:
		return usagef("calibrate: --tries %d, --seconds %d: tries are not negative, seconds at least 100", c.Tries, c.Seconds)
	}
	if c.out != "" {
		if err := prepareOutput("calibrate: --output", c.out); err != nil {
			return err
		}
	}
	s, err := loadTestbed(cmd, c.scenario)
	if err != nil {
		return err
	}
	if err := c.Open(c.data); errors.Is(err, calibrate.ErrNoRecordings) {
		return usagef("calibrate: --data: %w", err)
	} else if err != nil {
		return err
	}
	begin, err := calibrate.CanVary(s.Testbed)
	if err != nil {
		return usagef("calibrate: --scenario: %s: %w", c.scenario, err)
	}
	bar := newProgress(cmd, int64(c.Tries), "try", "calibrate")
	c.Done = func() { _ = bar.Add(1) }
	r, err := c.Run(cmd.Context(), begin)
	if err != nil {
		return err
	}
	_ = bar.Finish()
	if c.out != "" {
		if err := r.WriteFile(c.out); err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"tries": c.Tries, "loss_before": r.Before, "found": r.Found(), "fit": r.Fit})
	}
	return r.WriteText(cmd.OutOrStdout())
}
