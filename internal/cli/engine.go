package cli

import (
	"context"
	"errors"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
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

// trainer reports an engine, a kernel set or a device that does not exist; it
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
