// Package record lets sessions run on the emulated testbed under a schedule of limits,
// and writes what was measured in the formats of the published recordings.
package record

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/scenarios"
)

// Options say what is recorded.
type Options struct {
	Scenario scenarios.Scenario // of plant testbed
	Name     string             // the scenario's on the command line, for the card
	Source   []byte             // the scenario's TOML, for the card
	Schedule string             // which limits are in force: fixed, random, switchback, mixed, reactive or policy
	Policy   string             // a baseline, of schedule policy
	Block    int                // seconds of a block, of schedule switchback
	Sessions int
	Seconds  int    // of a session, a multiple of the scenario's step
	Seed     uint64 // of the first session; each next one takes the next
	Start    string // when the first session begins, RFC 3339; sessions follow one another
	Branch   int    // > 0: seconds that every limit is tried for, from every so often on
	Every    int    // seconds from one such moment to the next, with Branch
	Pcap     bool   // write the probe packets as well
	Done     func() // after each session; may be nil
}

// OptionError is a value that an option cannot have.
type OptionError struct {
	Option string // policy, schedule, block-s, branch-s, every-s, sessions, seconds or start
	Err    error
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

func (e *OptionError) Unwrap() error { return e.Err }

// Summary is what a recording came to.
type Summary struct {
	Probes int
	Reward float64 // mean per step
}

// recorder is a recording that is being made.
type recorder struct {
	Options
	began time.Time
	steps int // of a block
	card  card
}

// start checks options and fills in what the scenario leaves to defaults.
func (o Options) start() (*recorder, error) {
	r := &recorder{Options: o}
	wrong := func(option, format string, args ...any) (*recorder, error) {
		return nil, &OptionError{option, fmt.Errorf(format, args...)}
	}
	r.Scenario.Env.StepSeconds = cmp.Or(r.Scenario.Env.StepSeconds, 4)
	if r.Scenario.Env.Limits == nil {
		r.Scenario.Env.Limits = queues.DefaultLimits()
	}
	step := r.Scenario.Env.StepSeconds
	var err error
	if r.began, err = time.Parse(time.RFC3339, r.Start); err != nil {
		return wrong("start", "%q is not a time like 2024-01-01T00:00:00Z", r.Start)
	}
	switch horizon := r.Scenario.Testbed.HorizonS; {
	case r.Sessions < 1 || r.Sessions > 1000:
		return wrong("sessions", "%d is outside 1…1000", r.Sessions)
	case r.Seconds < 2*step || r.Seconds%step != 0:
		return wrong("seconds", "%d is not a multiple of the scenario's steps of %d s, two at least", r.Seconds, step)
	case horizon > 0 && r.Seconds > horizon:
		return wrong("seconds", "%d s are past the scenario's testbed.horizon_s of %d s", r.Seconds, horizon)
	case (r.Schedule == "policy") != (r.Policy != ""):
		return wrong("policy", "is what --schedule policy follows, %q goes by itself", r.Schedule)
	}
	switch r.Schedule {
	case "fixed", "random", "policy":
	case "mixed", "reactive":
		if r.Seconds < longestBlock {
			return wrong("seconds", "%d s hold no block of %d s: schedule %s draws those too", r.Seconds, longestBlock, r.Schedule)
		}
	case "switchback":
		if r.Block < step || r.Block%step != 0 {
			return wrong("block-s", "%d is not a multiple of the scenario's steps of %d s", r.Block, step)
		}
		if r.Block > r.Seconds {
			return wrong("block-s", "%d s are past the horizon of %d s", r.Block, r.Seconds)
		}
		r.steps = r.Block / step
	default:
		return wrong("schedule", "%q is not one of fixed, random, switchback, mixed, reactive, policy", r.Schedule)
	}
	switch {
	case r.Branch < 0:
		return wrong("branch-s", "%d is negative", r.Branch)
	case r.Branch > 0 && (r.Every < step || r.Every%step != 0):
		return wrong("every-s", "%d is not a multiple of the scenario's steps of %d s", r.Every, step)
	case r.Branch > 0 && r.Seconds < history+2*step:
		return wrong("seconds", "%d s are too short for branches, which begin after %d", r.Seconds, history)
	}
	r.Scenario.Env.MaxSteps = r.Seconds/step - 1 // the reset's window is the first
	r.Scenario.Env.EndOnStall = 0
	return r, nil
}

// Write makes the recording's folder, dir, which appears when it is complete.
func Write(ctx context.Context, dir string, o Options) (s Summary, err error) {
	r, err := o.start()
	if err != nil {
		return s, err
	}
	made, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), "."+filepath.Base(dir)+".*")
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(made)
		}
	}()
	if err := r.record(ctx, made); err != nil {
		return s, err
	}
	if err := os.Chmod(made, 0o755); err != nil {
		return s, err
	}
	if err := os.Rename(made, dir); err != nil {
		return s, err
	}
	return Summary{r.card.probes, eval.EstimateOf(r.card.reward).Mean}, nil
}
