package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nearest"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
	"github.com/planegym/planegym/timegan"
)

// computing is the flags of commands that train or simulate models.
type computing struct {
	planegym.Computing
	cmd     *cobra.Command // whose context has the driver of GPUs; nil: without flags
	bounded bool           // Threads is a flag
}

func (c *computing) flags(cmd *cobra.Command) {
	c.cmd, c.bounded = cmd, true
	cmd.Flags().StringVar(&c.Kernels, "kernels", "auto", "kernel set: auto, go, avx2, avx512 or reference; equal bytes are promised per set")
	cmd.Flags().IntVar(&c.Threads, "threads", runtime.GOMAXPROCS(0), "threads of a model; results do not depend on them")
}

// engineFlag is for commands that train; others are engines that they have beside.
func (c *computing) engineFlag(cmd *cobra.Command, others string) {
	cmd.Flags().StringVar(&c.Engine, "engine", "fused", "fused (gradients by hand), graph (Gorgonia's, of losses as expressions), reference (plain loops in float64)"+others)
}

// deviceFlag is for commands that train or simulate models.
func (c *computing) deviceFlag(cmd *cobra.Command) {
	c.cmd = cmd
	cmd.Flags().StringVar(&c.Device, "device", "", "cpu, cuda or cuda:N (an NVIDIA GPU, the first or the N-th from 0), or auto (cuda where it is usable, else cpu) (default cpu)")
	c.Note = func(s string) { cmd.PrintErrln(s) }
}

// context is the command's.
func (c *computing) context() context.Context {
	if c.cmd == nil || c.cmd.Context() == nil {
		return context.Background()
	}
	return c.cmd.Context()
}

// asUsage is err, an option's as a flag's: wrong usage.
func asUsage(err error) error {
	var o *planegym.OptionError
	if errors.As(err, &o) {
		return usagef("--%s: %w", o.Option, o.Err)
	}
	return err
}

// agentEngine is check for commands that train agents, and their engine.
func (c *computing) agentEngine() (agent.Learning, compute.Kernels, error) {
	if err := c.checkThreads(); err != nil {
		return nil, 0, err
	}
	e, k, err := c.AgentEngine(c.context())
	return e, k, asUsage(err)
}

// trainer reports an engine, a kernel set or a device that there is not; it
// gives what makes engines that train.
func (c *computing) trainer() (func() (timegan.Engine, error), error) {
	if err := c.checkThreads(); err != nil {
		return nil, err
	}
	open, err := c.Trainer(c.context())
	return open, asUsage(err)
}

// check reports a kernel set that this machine does not run, or a device that
// it has not.
func (c *computing) check() (compute.Kernels, error) {
	if err := c.checkThreads(); err != nil {
		return 0, err
	}
	k, err := c.Resolve(c.context())
	return k, asUsage(err)
}

// findGPU finds the GPU that --device asks for, if it does.
func (c *computing) findGPU() error { return asUsage(c.FindGPU(c.context())) }

func (c *computing) checkThreads() error {
	if c.bounded && c.Threads < 1 {
		return usagef("--threads: %d is below 1", c.Threads)
	}
	return nil
}

// bundledData and mixedData are the --data of the bundled sessions: limits drawn
// for two minutes at a time, or for blocks of 4 to 240 s.
const (
	bundledData = "bundled"
	mixedData   = "bundled-mixed"
)

// recordings reads --data: a folder of recordings under one limit each, or
// sessions that testbed record wrote, their folder or their .parquet file. At
// most 5 % of a column may be impossible.
func recordings(command, dir string) ([]telemetry.Recording, error) {
	all, err := readRecordings(command, dir)
	if err != nil {
		return nil, err
	}
	return all, plausible(all, telemetry.MaxRefused)
}

// plausible is an error if more than a share of a recording's column is
// impossible.
func plausible(all []telemetry.Recording, share float64) error {
	for _, r := range all {
		if err := r.Data.Reading().Check(share); err != nil {
			return err
		}
	}
	return nil
}

// readRecordings is recordings, however much of them is impossible.
func readRecordings(command, dir string) ([]telemetry.Recording, error) {
	if dir == "" {
		return nil, usagef("%s: no recordings: name their folder by --data or PLANEGYM_DATA", command)
	}
	if dir == mixedData {
		return sessions.Decode(scenarios.Mixed())
	}
	if dir == bundledData {
		return sessions.Decode(scenarios.Sessions())
	}
	if strings.HasSuffix(dir, ".parquet") {
		return sessions.ReadFile(dir)
	}
	table := filepath.Join(dir, "recording.parquet")
	if _, err := os.Stat(table); err == nil {
		return sessions.ReadFile(table)
	}
	return telemetry.OpenFolder(dir)
}

// constant is recordings of which each was made under one limit.
func constant(command, dir string) ([]telemetry.Recording, error) {
	all, err := recordings(command, dir)
	for _, r := range all {
		if r.Limits != nil {
			return nil, usagef("%s: --data: in %s the limit changes within a session: %s needs one limit a recording", command, dir, command)
		}
	}
	return all, err
}

// decodeFile sets what a TOML file says. A key that means nothing is an error.
func decodeFile(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := nesting.TOML(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	meta, err := toml.Decode(string(text), into)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s: unknown key %q%s", path, unknown[0].String(), nearest.Hint(unknown[0].String(), nearest.Keys(into)))
	}
	return nil
}

// set sets what KEY=VALUE pairs say, as lines of TOML.
func set(command string, pairs []string, into any) error {
	for _, p := range pairs {
		if !strings.Contains(p, "=") {
			return usagef("%s: --set: %q is not KEY=VALUE", command, p)
		}
		if err := nesting.TOML([]byte(p)); err != nil {
			return usagef("%s: --set: %w", command, err)
		}
		meta, err := toml.Decode(p, into)
		if err != nil {
			return usagef("%s: --set: %q: %w", command, p, err)
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			return usagef("%s: --set: unknown key %q%s", command, unknown[0].String(), nearest.Hint(unknown[0].String(), nearest.Keys(into)))
		}
	}
	return nil
}

// readModels reads checkpoints; one, or one per limit.
func readModels(paths []string) ([]*timegan.Model, error) {
	var all []*timegan.Model
	for _, p := range paths {
		m, err := timegan.ReadModel(p)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// openModels opens n simulations of one model, the bundled one unless named, or
// of one per limit, with the limits known and what closes them.
func (c *computing) openModels(n int, files []string) (planegym.Simulation, []int, func(), error) {
	if err := c.checkThreads(); err != nil {
		return nil, nil, nil, err
	}
	if len(files) > 1 {
		models, err := readModels(files)
		if err != nil {
			return nil, nil, nil, err
		}
		sim, done, err := c.SimulateEach(c.context(), n, models)
		return sim, planegym.LimitsOf(models), done, asUsage(err)
	}
	m, err := planegym.OpenModel(append(files, planegym.DefaultModel)[0])
	if err != nil {
		return nil, nil, nil, err
	}
	sim, done, err := c.Simulate(c.context(), n, m)
	return sim, m.Limits(), done, asUsage(err)
}

// inFolder joins a folder and names.
func inFolder(dir string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = filepath.Join(dir, n)
	}
	return out
}
