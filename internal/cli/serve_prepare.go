package cli

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/serving"
)

// reload reads the tokens again.
func (s *server) reload() {
	if err := s.o.Tokens.Reload(); err != nil {
		s.o.Log.Error("tokens are what they were", "error", err)
	} else {
		s.o.Log.Warn("tokens read again")
	}
}

// prepare opens the scenario once, to fail now rather than at the first client, and
// completes the server's options.
func (s *server) prepare(cmd *cobra.Command) (name string, spec env.Spec, err error) {
	if err := s.findGPU(); err != nil {
		return "", spec, err
	}
	first, err := loadScenario(s.scenario)
	if err != nil {
		return "", spec, err
	}
	served, err := planegym.Bundled()
	if err != nil {
		return "", spec, err
	}
	served[first.Name] = first
	open := &planegym.Gym{Data: s.data, Computing: s.Computing}
	trial, err := open.Open(cmd.Context(), first, 1, env.NextStep)
	if err != nil {
		return "", spec, fmt.Errorf("serve: scenario %s: %w", first.Name, err)
	}
	spec = trial.Spec()
	if first.Plant == "replay" {
		recordings, _, err := open.Recordings()
		if err != nil {
			return "", spec, err
		}
		for _, r := range recordings {
			fmt.Fprintf(cmd.ErrOrStderr(), "limit %d, %d s: measured: %s\n", r.Limit(), r.Len(), r.DescribeShares())
		}
	}
	if err := trial.Close(); err != nil {
		return "", spec, err
	}
	level := slog.LevelWarn
	if s.verbose {
		level = slog.LevelInfo
	}
	s.o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	for _, d := range []*time.Duration{&s.o.StepTimeout, &s.o.MakeTimeout, &s.o.ResumeFor} {
		if *d == 0 {
			*d = -1 // as ws.Options has it
		}
	}
	recording := &serving.Recorder{Dir: s.record, Log: s.o.Log}
	s.o.Metrics = append(s.o.Metrics, recording)
	s.o.Open = recording.Wrap(s.workers.Wrap(open.Serve(served)))
	own, err := s.workers.Pages(served)
	if err != nil {
		return "", spec, usagef("serve: --worker: %w", err)
	}
	s.o.Scenarios, err = serving.Pages(open, served, first.Name, strings.HasSuffix(s.scenario, ".toml"))
	s.o.Scenarios = append(s.o.Scenarios, own...)
	program := thisBuild()
	s.o.Version, s.o.Commit = program.Version, program.Commit
	return first.Name, spec, err
}
