package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/record"
	"github.com/planegym/planegym/scenarios"
)

func newTestbedRecord() *cobra.Command {
	var r recordCommand
	cmd := &cobra.Command{
		Use:   "record -o DIR",
		Short: "Record emulated sessions as the published recordings are",
		Long: `record lets sessions run on the testbed and writes what was measured:

  DIR/recording.parquet  all sessions: session, seed, t, the limits in force, the
                         columns second by second, empty where nothing was measured
  DIR/CARD.md            what was recorded, how, and what is in it
  DIR/NNN/int.csv        session NNN: the probes' log, as published
  DIR/NNN/dash.csv       the player's log, as published
  DIR/NNN/rows.csv       the join of the two, as published: no timestamps
  DIR/NNN/grid.csv       the join second by second; grid_LIMIT.csv where one
                         limit was in force, so that NNN can be replayed. A second
                         keeps its worst probe, or the mean where the scenario's
                         probe.aggregate says so
  DIR/NNN/probes.pcap    with --pcap: the probe packets

The schedule says which limits were in force:

  fixed            session after session the next limit of the scenario
  random           a limit drawn at every step
  switchback       a limit drawn for every block of --block-s seconds: what an
                   action does can be read off such data, off fixed ones not;
                   the first step is under the scenario's initial limit
  mixed            the same, of blocks of 4 to 240 s: every eight minutes another
                   length is drawn, as often 4 to 8 s as 120 to 240, and whether
                   two limits take turns in it or all. What happens
                   in the seconds after a change, what quick changes come to, and
                   what a limit comes to in the long run can all be learnt
  reactive         for eight minutes blocks as in mixed, for the next eight two rules
                   of four, in turn: one limit where the buffer, the level or a
                   queue is below a threshold, another above it, all drawn, and a
                   limit drawn in a fifth of the steps. An agent's limits follow
                   measurements too: a simulator of such sessions knows better what
                   policies that watch the player are worth, and less well what
                   quick changes come to
  policy           what --policy says: a baseline, see play

With --branch-s every limit is tried from the state that the testbed is in at every
--every-s, for so many seconds: DIR/branches.parquet has a session for each, the
200 s before it first. Branches of a moment meet the same load. The sessions go on
as if nothing had been tried.

DIR must not exist; it appears when it is complete.`,
		Example: `  planegym testbed record -o recordings
  planegym testbed record --scenario contended --schedule switchback --block-s 300 --sessions 8 -o blocks
  planegym testbed record --scenario contended --schedule mixed --sessions 10 -o mixed
  planegym testbed record --scenario contended --schedule reactive --sessions 10 -o reactive
  planegym testbed record --scenario contended --schedule mixed --sessions 2 --seed 5001 --branch-s 60 -o pairs
  planegym testbed record --schedule policy --policy threshold --seconds 600 --pcap -o watched --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&r.Name, "scenario", "testbed", "the scenario: bundled, or a .toml file")
	f.StringVar(&r.Schedule, "schedule", "fixed", "fixed, random, switchback, mixed, reactive or policy")
	f.StringVar(&r.Policy, "policy", "", "of schedule policy")
	f.IntVar(&r.Block, "block-s", 300, "of schedule switchback: seconds of a block")
	f.IntVar(&r.Branch, "branch-s", 0, "try every limit for so many seconds, from the state at every --every-s; 0 tries none")
	f.IntVar(&r.Every, "every-s", 120, "with --branch-s: seconds from one such moment to the next")
	f.IntVar(&r.Sessions, "sessions", 2, "sessions to record")
	f.IntVar(&r.Seconds, "seconds", 3600, "seconds of a session, a multiple of the scenario's step")
	f.Uint64Var(&r.Seed, "seed", 1, "of the first session; each next one takes the next")
	f.StringVar(&r.Start, "start", "2024-01-01T00:00:00Z", "when the first session begins, RFC 3339; sessions follow one another")
	f.BoolVar(&r.Pcap, "pcap", false, "write the probe packets as well")
	f.StringVarP(&r.out, "output", "o", "", "folder to make")
	return cmd
}

type recordCommand struct {
	out string
	record.Options
}

func (r *recordCommand) run(cmd *cobra.Command) (err error) {
	if r.out == "" {
		return usagef("record: --output: name what to write")
	}
	if _, err := os.Lstat(r.out); err == nil {
		return usagef("record: --output: %s exists: name a folder to make", r.out)
	}
	if r.Scenario, err = loadTestbed(cmd, r.Name); err != nil {
		return err
	}
	if r.Source, err = scenarios.Source(r.Name); err != nil {
		return err
	}
	bar := newProgress(cmd, int64(r.Sessions), "session", "record")
	r.Done = func() { _ = bar.Add(1) }
	s, err := record.Write(cmd.Context(), r.out, r.Options)
	var wrong *record.OptionError
	if errors.As(err, &wrong) {
		return usagef("record: --%w", err)
	} else if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"output": r.out, "scenario": r.Scenario.Name, "schedule": r.Schedule, "sessions": r.Sessions, "seconds": r.Seconds,
			"seed": r.Seed, "probes": s.Probes, "reward_per_step": s.Reward,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d sessions of %d s on %s, schedule %s, %d probes, %.2f reward a step\n",
		r.out, r.Sessions, r.Seconds, r.Scenario.Name, r.Schedule, s.Probes, s.Reward)
	return nil
}
