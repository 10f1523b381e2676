package planegym

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/graph"
	"github.com/planegym/planegym/timegan"
)

// Computing says what computes models. The zero value is the fused engine on
// this processor's fastest kernels.
type Computing struct {
	Kernels string // kernel set, as compute.ParseKernels takes it; "auto"
	Threads int    // of a model; results do not depend on them; GOMAXPROCS
	// Engine computes training: "fused" (gradients by hand; the default),
	// "graph" (Gorgonia's, of losses as expressions), "reference" (plain loops
	// in float64) or, of models and not of agents, "cuda".
	Engine string
	// Device computes models: "cpu", "cuda", "cuda:N" (an NVIDIA GPU) or "auto"
	// (cuda where it is usable, else cpu); "" is the engine's.
	Device string
	Models int          // that train at once on a GPU; 1
	Note   func(string) // called where "auto" finds no GPU; nil: no one

	gpu int // that Resolve found, 1 for device 0; 0 is none
}

// OptionError is the error of an option of Computing that means nothing or that
// this machine cannot do.
type OptionError struct {
	Option string // "kernels", "engine", …
	Err    error
}

func (e *OptionError) Error() string { return "planegym: " + e.Option + ": " + e.Err.Error() }

// Unwrap returns what is wrong with it.
func (e *OptionError) Unwrap() error { return e.Err }

func optionError(option, format string, args ...any) error {
	return &OptionError{option, fmt.Errorf(format, args...)}
}

// engines are what computes the updates of training on the CPU, by name.
var engines = map[string]func(compute.Kernels, int) timegan.Engine{
	"fused":     timegan.NewCPU,
	"graph":     func(k compute.Kernels, threads int) timegan.Engine { return graph.NewTimeGAN(k, threads) },
	"reference": func(_ compute.Kernels, threads int) timegan.Engine { return timegan.NewCPU(compute.Reference, threads) },
}

// agentEngines are what computes the updates of agents, by name; reference is a
// kernel set of the fused one.
var agentEngines = map[string]agent.Learning{"fused": nil, "graph": graph.NewDDQN(), "reference": nil}

// AgentEngine returns the engine of agents (see agent.DDQN.Use) and the kernel
// set of their backend. Errors are *OptionError.
func (c *Computing) AgentEngine(ctx context.Context) (agent.Learning, compute.Kernels, error) {
	e, ok := agentEngines[cmp.Or(c.Engine, "fused")]
	if !ok {
		return nil, 0, optionError("engine", "%q is not one of fused, graph, reference", c.Engine)
	}
	k, err := c.Resolve(ctx)
	if c.Engine == "reference" {
		k = compute.Reference
	}
	return e, k, err
}

// Trainer returns what makes engines that train. Errors are *OptionError.
func (c *Computing) Trainer(ctx context.Context) (func() (timegan.Engine, error), error) {
	name := cmp.Or(c.Engine, "fused")
	if _, ok := engines[name]; !ok && name != "cuda" {
		return nil, optionError("engine", "%q is not one of fused, graph, reference, cuda", c.Engine)
	}
	k, err := c.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	return func() (timegan.Engine, error) { return c.open(ctx, k) }, nil
}

// ClosedLoop returns the engine of closed-loop models by the name that
// closedloop.FitOptions takes, and the kernel set of their backend. Errors are
// *OptionError.
func (c *Computing) ClosedLoop(ctx context.Context) (engine string, k compute.Kernels, err error) {
	k, err = c.Resolve(ctx)
	if err != nil {
		return "", 0, err
	}
	if c.gpu > 0 {
		engine, err = c.sequences(ctx)
		return engine, k, err
	}
	switch name := cmp.Or(c.Engine, "fused"); name {
	case "fused":
		return name, k, nil
	case "reference":
		return "fused", compute.Reference, nil
	case "graph":
		graph.RegisterSeq()
		return name, k, nil
	}
	return "", 0, optionError("engine", "%q is not one of fused, graph, reference, cuda", c.Engine)
}

// sequences makes the GPU, where there is one after Resolve, an engine of sequence
// models; it returns its name, "" without.
func (c *Computing) sequences(ctx context.Context) (string, error) {
	if c.gpu == 0 {
		return "", nil
	}
	return cuda.RegisterSeq(func() driver.Driver { return driver.From(ctx) }, c.gpu-1)
}

// Resolve checks c and returns its kernel set. It finds the GPU where one is
// asked for. Errors are *OptionError, or wrap compute.ErrNoDevice.
func (c *Computing) Resolve(ctx context.Context) (compute.Kernels, error) {
	if c.Threads < 0 {
		return 0, optionError("threads", "%d is below 1", c.Threads)
	}
	k, err := compute.ParseKernels(cmp.Or(c.Kernels, "auto"))
	if err != nil {
		return 0, &OptionError{"kernels", err}
	}
	return k, c.FindGPU(ctx)
}

// open makes an engine, after Resolve.
func (c *Computing) open(ctx context.Context, k compute.Kernels) (timegan.Engine, error) {
	if c.gpu > 0 {
		return cuda.New(driver.From(ctx), c.gpu-1, max(c.Models, 1))
	}
	threads := cmp.Or(c.Threads, runtime.GOMAXPROCS(0))
	if open, ok := engines[c.Engine]; ok {
		return open(k, threads), nil
	}
	return timegan.NewCPU(k, threads), nil
}

// OnGPU reports whether models are computed on a GPU, after Resolve.
func (c *Computing) OnGPU() bool { return c.gpu > 0 }

// FindGPU finds the GPU that Device and Engine ask for, if they do.
func (c *Computing) FindGPU(ctx context.Context) error {
	name, number, numbered := strings.Cut(c.Device, ":")
	n := 0
	if numbered {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 0 {
			return optionError("device", "%q has no number after cuda:", c.Device)
		}
	}
	switch {
	case c.Device == "cpu" && c.Engine == "cuda":
		return optionError("engine cuda", "it does not compute on --device cpu")
	case c.Device == "cpu", c.Device == "" && c.Engine != "cuda":
		return nil
	case c.Device != "" && c.Device != "auto" && name != "cuda":
		return optionError("device", "%q is not one of auto, cpu, cuda, cuda:N", c.Device)
	case c.Engine == "graph", c.Engine == "reference":
		if c.Device == "auto" {
			return nil
		}
		return optionError("engine "+c.Engine, "it does not compute on --device %s", c.Device)
	}
	count, err := driver.From(ctx).Count()
	switch {
	case err != nil && c.Device == "auto" && errors.Is(err, compute.ErrNoDevice):
		if c.Note != nil {
			c.Note(fmt.Sprintf("%v: the CPU computes", err))
		}
		c.Device, c.Engine = "cpu", strings.Replace(c.Engine, "cuda", "fused", 1) // noted once
		return nil
	case err != nil:
		return fmt.Errorf("%w: --device cpu does without", err)
	case n >= count:
		return optionError("device", "%s: this machine's last is cuda:%d", c.Device, count-1)
	}
	c.gpu = n + 1
	return nil
}
