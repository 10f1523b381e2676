package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/planegym/planegym/internal/settings"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/sweep"
)

func (s *sweeper) run(cmd *cobra.Command) error {
	if err := checkProgress(cmd); err != nil {
		return err
	}
	if s.out == "" && !s.list {
		return usagef("sweep: --output: which folder?")
	}
	s.Threads = 1
	open, err := s.trainer()
	if err != nil {
		return err
	}
	data, err := constant("sweep", s.data)
	if err != nil {
		return err
	}
	c, err := s.grid(cmd)
	if err != nil {
		return err
	}
	members, err := c.Members(telemetry.LimitsOf(data))
	if err != nil {
		return usagef("sweep: %w", err)
	}
	if s.list {
		return listMembers(cmd, members)
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	table, events := sweepTable(cmd), newEvents(cmd)
	all, err := sweep.Run(cmd.Context(), c, data, s.out, open, func(i int, st sweep.Status) {
		ended := st.State != sweep.Running && st.State != sweep.Waiting
		events.emit(st.Name+string(st.State)+fmt.Sprint(st.M), ended, st.Fields())
		table.Report(i, st)
	})
	table.Clear()
	if err != nil {
		if cmd.Context().Err() != nil {
			return fmt.Errorf("sweep: stopped; %s keeps what is done, the same command goes on", s.out)
		}
		return err
	}
	failed := 0
	for _, m := range all {
		if m.State == sweep.Failed {
			failed++
		}
	}
	if asJSON(cmd) {
		err = writeJSON(cmd.OutOrStdout(), map[string]any{"output": s.out, "models": all})
	} else {
		err = sweep.WriteText(cmd.OutOrStdout(), all)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("sweep: %d of %d models failed", failed, len(all))
	}
	return err
}

// listMembers prints a grid.
func listMembers(cmd *cobra.Command, members []sweep.Member) error {
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"models": members})
	}
	for _, m := range members {
		fmt.Fprintln(cmd.OutOrStdout(), m.Name)
	}
	return nil
}

// grid is the preset or file with what the flags change.
func (s *sweeper) grid(cmd *cobra.Command) (c sweep.Config, err error) {
	c = sweep.Config{Base: timegan.Config{}.WithDefaults()}
	if s.preset != "" {
		if c, err = sweep.Preset(s.preset); err != nil {
			return c, usagef("sweep: --preset: %w", err)
		}
	}
	if s.config != "" {
		if err := settings.File(s.config, &c); err != nil {
			return c, err
		}
	}
	if err := set("sweep", s.sets, &c); err != nil {
		return c, err
	}
	if f := cmd.Flags(); f.Changed("workers") || c.Workers == 0 {
		c.Workers = s.workers
		if s.OnGPU() && !f.Changed("workers") {
			c.Workers = 32
		}
	}
	s.Models = c.Workers
	if s.patience > 0 {
		c.Patience = s.patience
	}
	if s.shard != "" {
		if c.Shard, c.Shards, err = sweep.ParseShard(s.shard); err != nil {
			return c, usagef("sweep: --shard: %w", err)
		}
	}
	return c, nil
}

// sweepTable shows a sweep as it goes, on a terminal only.
func sweepTable(cmd *cobra.Command) *sweep.Table {
	if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) && !asJSON(cmd) && progressMode(cmd) == "auto" {
		return sweep.NewTable(f)
	}
	return sweep.NewTable(nil)
}
