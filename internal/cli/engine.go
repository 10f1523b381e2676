package cli

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/graph"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/timegan"
)

// compute says what computes: the flags of commands that train or simulate.
type compute struct {
	kernels string
	threads int
	engine  string       // of training
	device  string       // of models; "" is the engine's
	gpu     int          // that check found, 1 for device 0; 0 is none
	beside  int          // models that train at once there
	note    func(...any) // says that there is none, where any would do
	driver  func() driver.Driver
}

// engines are what computes the updates of training on the CPU, by the names of
// --engine.
var engines = map[string]func(nn.Kernels, int) timegan.Engine{
	"fused":     timegan.NewCPU,
	"graph":     func(k nn.Kernels, threads int) timegan.Engine { return graph.NewTimeGAN(k, threads) },
	"reference": func(_ nn.Kernels, threads int) timegan.Engine { return timegan.NewCPU(nn.Reference, threads) },
}

func (c *compute) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.kernels, "kernels", "auto", "kernel set: auto, go, avx2, avx512 or reference; equal bytes are promised per set")
	cmd.Flags().IntVar(&c.threads, "threads", runtime.GOMAXPROCS(0), "threads of a model; results do not depend on them")
	c.driver = func() driver.Driver { return driver.From(cmd.Context()) }
}

// engineFlag is for commands that train.
func (c *compute) engineFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.engine, "engine", "fused", "fused (gradients by hand), graph (Gorgonia's, of losses as expressions), reference (plain loops in float64) or cuda (on a GPU)")
}

// deviceFlag is for commands that train or simulate models.
func (c *compute) deviceFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.device, "device", "", "cpu, cuda or cuda:N (an NVIDIA GPU, the first or the N-th from 0), or auto (cuda where it is usable, else cpu) (default cpu)")
	c.note = cmd.PrintErrln
}

// trainer reports an engine, a kernel set or a device that there is not; it
// gives what makes engines that train.
func (c *compute) trainer() (func() (timegan.Engine, error), error) {
	if _, ok := engines[c.engine]; !ok && c.engine != "cuda" {
		return nil, usagef("--engine: %q is none of fused, graph, reference, cuda", c.engine)
	}
	k, err := c.check()
	if err != nil {
		return nil, err
	}
	return func() (timegan.Engine, error) { return c.open(k) }, nil
}

// open makes an engine, after check.
func (c *compute) open(k nn.Kernels) (timegan.Engine, error) {
	if c.gpu > 0 {
		return cuda.New(c.driver(), c.gpu-1, max(c.beside, 1))
	}
	if open, ok := engines[c.engine]; ok {
		return open(k, c.threads), nil
	}
	return timegan.NewCPU(k, c.threads), nil
}

// findGPU sets gpu, by what --device and --engine say.
func (c *compute) findGPU() error {
	name, number, numbered := strings.Cut(c.device, ":")
	n := 0
	if numbered {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 0 {
			return usagef("--device: %q has no number after cuda:", c.device)
		}
	}
	switch {
	case c.device == "cpu" && c.engine == "cuda":
		return usagef("--engine cuda: it does not compute on --device cpu")
	case c.device == "cpu", c.device == "" && c.engine != "cuda":
		return nil
	case c.device != "" && c.device != "auto" && name != "cuda":
		return usagef("--device: %q is none of auto, cpu, cuda, cuda:N", c.device)
	case c.engine == "graph", c.engine == "reference":
		if c.device == "auto" {
			return nil
		}
		return usagef("--engine %s: it does not compute on --device %s", c.engine, c.device)
	}
	count, err := c.driver().Count()
	switch {
	case err != nil && c.device == "auto" && errors.Is(err, nn.ErrNoDevice):
		c.note(fmt.Sprintf("%v: the CPU computes", err))
		c.device, c.engine = "cpu", strings.Replace(c.engine, "cuda", "fused", 1) // said once
		return nil
	case err != nil:
		return fmt.Errorf("%w: --device cpu does without", err)
	case n >= count:
		return usagef("--device: %s: this machine's last is cuda:%d", c.device, count-1)
	}
	c.gpu = n + 1
	return nil
}

// check reports a kernel set that this machine does not run, or a device that
// it has not.
func (c *compute) check() (nn.Kernels, error) {
	if c.threads < 1 {
		return 0, usagef("--threads: %d is below 1", c.threads)
	}
	k, err := nn.ParseKernels(c.kernels)
	if err != nil {
		return 0, usagef("--kernels: %w", err)
	}
	return k, c.findGPU()
}

// simulator opens n simulations of checkpoints and what closes them.
func (c *compute) simulator(n int, models []*timegan.Model) (*timegan.Simulator, func(), error) {
	k, err := c.check()
	if err != nil {
		return nil, nil, err
	}
	var engines []timegan.Engine
	closeAll := func() {
		for _, e := range engines {
			_ = e.Close() // it held memory only
		}
	}
	for range models {
		e, err := c.open(k)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		engines = append(engines, e)
	}
	s, err := timegan.NewSimulator(n, models, engines)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return s, closeAll, nil
}

// recordings reads the folder of --data.
func recordings(command, dir string) ([]telemetry.Recording, error) {
	if dir == "" {
		return nil, usagef("%s: no recordings: name their folder by --data or PLANEGYM_DATA", command)
	}
	return telemetry.OpenFolder(dir)
}

// limitsOf are the limits of recordings, packets.
func limitsOf(all []telemetry.Recording) []int {
	var limits []int
	for _, r := range all {
		limits = append(limits, r.Limit)
	}
	return limits
}

// decodeFile sets what a TOML file says. A key that means nothing is an error.
func decodeFile(path string, into any) error {
	meta, err := toml.DecodeFile(path, into)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s: unknown key %q", path, unknown[0].String())
	}
	return nil
}

// set sets what KEY=VALUE pairs say, as lines of TOML.
func set(command string, pairs []string, into any) error {
	for _, p := range pairs {
		if !strings.Contains(p, "=") {
			return usagef("%s: --set: %q is not KEY=VALUE", command, p)
		}
		meta, err := toml.Decode(p, into)
		if err != nil {
			return usagef("%s: --set: %q: %w", command, p, err)
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			return usagef("%s: --set: unknown key %q", command, unknown[0].String())
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

// defaultModel is the bundled one.
const defaultModel = "synthetic"

// openModel reads a bundled model, or a file.
func openModel(name string) (*timegan.Model, error) {
	b, err := scenarios.OpenModel(name)
	if err != nil {
		return nil, err
	}
	m, err := timegan.DecodeModel(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	return m, nil
}

// modelLimits are the limits that models were trained under: of one model the
// smallest and the largest.
func modelLimits(models []*timegan.Model) []int {
	limits := map[int]bool{}
	for _, m := range models {
		limits[int(m.Codec.Lo)], limits[int(m.Codec.Hi)] = true, true
	}
	return slices.Sorted(maps.Keys(limits))
}

// inFolder joins a folder and names.
func inFolder(dir string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = filepath.Join(dir, n)
	}
	return out
}
