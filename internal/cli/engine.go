package cli

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/graph"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/structured"
)

// computing says what computes: the flags of commands that train or simulate.
type computing struct {
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
var engines = map[string]func(compute.Kernels, int) timegan.Engine{
	"fused":     timegan.NewCPU,
	"graph":     func(k compute.Kernels, threads int) timegan.Engine { return graph.NewTimeGAN(k, threads) },
	"reference": func(_ compute.Kernels, threads int) timegan.Engine { return timegan.NewCPU(compute.Reference, threads) },
}

func (c *computing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.kernels, "kernels", "auto", "kernel set: auto, go, avx2, avx512 or reference; equal bytes are promised per set")
	cmd.Flags().IntVar(&c.threads, "threads", runtime.GOMAXPROCS(0), "threads of a model; results do not depend on them")
}

// engineFlag is for commands that train; others are engines that they have beside.
func (c *computing) engineFlag(cmd *cobra.Command, others string) {
	cmd.Flags().StringVar(&c.engine, "engine", "fused", "fused (gradients by hand), graph (Gorgonia's, of losses as expressions), reference (plain loops in float64)"+others)
}

// agentEngines are what computes the updates of agents, by the names of
// --engine; reference is a kernel set of the fused one.
var agentEngines = map[string]agent.Engine{"fused": nil, "graph": graph.NewDDQN(), "reference": nil}

// agentEngine is check for commands that train agents, and their engine.
func (c *computing) agentEngine() (agent.Engine, compute.Kernels, error) {
	e, ok := agentEngines[c.engine]
	if !ok {
		return nil, 0, usagef("--engine: %q is none of fused, graph, reference", c.engine)
	}
	k, err := c.check()
	if c.engine == "reference" {
		k = compute.Reference
	}
	return e, k, err
}

// deviceFlag is for commands that train or simulate models.
func (c *computing) deviceFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.device, "device", "", "cpu, cuda or cuda:N (an NVIDIA GPU, the first or the N-th from 0), or auto (cuda where it is usable, else cpu) (default cpu)")
	c.driver = func() driver.Driver { return driver.From(cmd.Context()) }
	c.note = cmd.PrintErrln
}

// trainer reports an engine, a kernel set or a device that there is not; it
// gives what makes engines that train.
func (c *computing) trainer() (func() (timegan.Engine, error), error) {
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
func (c *computing) open(k compute.Kernels) (timegan.Engine, error) {
	if c.gpu > 0 {
		return cuda.New(c.driver(), c.gpu-1, max(c.beside, 1))
	}
	if open, ok := engines[c.engine]; ok {
		return open(k, c.threads), nil
	}
	return timegan.NewCPU(k, c.threads), nil
}

// findGPU sets gpu, by what --device and --engine say.
func (c *computing) findGPU() error {
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
	case err != nil && c.device == "auto" && errors.Is(err, compute.ErrNoDevice):
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
func (c *computing) check() (compute.Kernels, error) {
	if c.threads < 1 {
		return 0, usagef("--threads: %d is below 1", c.threads)
	}
	k, err := compute.ParseKernels(c.kernels)
	if err != nil {
		return 0, usagef("--kernels: %w", err)
	}
	return k, c.findGPU()
}

// simulator opens n simulations of checkpoints and what closes them.
func (c *computing) simulator(n int, models []*timegan.Model) (*timegan.Simulator, func(), error) {
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

// bundledData is the --data of the bundled sessions.
const bundledData = "bundled"

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

// limitsOf are the limits in force in recordings, packets, in order.
func limitsOf(all []telemetry.Recording) []int {
	limits := map[int]bool{}
	for _, r := range all {
		for t := range r.Data.Len() {
			limits[r.LimitAt(t)] = true
		}
	}
	return slices.Sorted(maps.Keys(limits))
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
		if err := nesting.TOML([]byte(p)); err != nil {
			return usagef("%s: --set: %w", command, err)
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

// model is a bundled model, or a file's: one of the two.
type model struct {
	gan        *timegan.Model
	structured *structured.Model
}

// openModel reads a bundled model, or a file.
func openModel(name string) (m model, err error) {
	b, err := scenarios.OpenModel(name)
	if err != nil {
		return m, err
	}
	if r, n := bytes.NewReader(b), int64(len(b)); structured.IsCheckpoint(r, n) {
		m.structured, err = structured.Decode(r, n)
	} else {
		m.gan, err = timegan.DecodeModel(r, n)
	}
	if err != nil {
		err = fmt.Errorf("model %s: %w", name, err)
	}
	return m, err
}

// scaler is what observations of the model's simulations go through.
func (m model) scaler() env.Scaler {
	if m.structured != nil {
		return m.structured
	}
	return m.gan.Codec
}

// scalerOf is scaler, for columns that are those of the model's.
func (m model) scalerOf(columns []telemetry.Field) (env.Scaler, error) {
	var fields []telemetry.Field
	if m.structured != nil {
		fields = m.structured.Fields()
	} else {
		fields = m.gan.Codec.Fields()
	}
	if !slices.Equal(fields, columns) {
		return nil, fmt.Errorf("its columns %v are not the %v that are measured", fields, columns)
	}
	return m.scaler(), nil
}

// limits are the limits that m was fitted to; of a TimeGAN the smallest and
// the largest.
func (m model) limits() []int {
	if m.structured == nil {
		return modelLimits([]*timegan.Model{m.gan})
	}
	var all []int
	for _, l := range m.structured.Limits {
		all = append(all, int(l))
	}
	return all
}

// simulation is n rollouts of a model.
type simulation interface {
	env.Stepper
	timegan.Rollouts
}

// simulate opens n simulations of m and what closes them.
func (c *computing) simulate(n int, m model) (simulation, func(), error) {
	if m.structured == nil {
		return c.simulator(n, []*timegan.Model{m.gan})
	}
	k, err := c.check()
	if err != nil {
		return nil, nil, err
	}
	e, err := c.open(k)
	if err != nil {
		return nil, nil, err
	}
	be := compute.NewBackend(k, 1)
	done := func() {
		be.Close()
		_ = e.Close() // it held memory only
	}
	s, err := structured.NewSimulator(n, m.structured, e, be)
	if err != nil {
		done()
		return nil, nil, err
	}
	return s, done, nil
}

// openModels opens n simulations of one model, the bundled one unless named, or
// of one per limit, with the limits known and what closes them.
func (c *computing) openModels(n int, files []string) (simulation, []int, func(), error) {
	if len(files) > 1 {
		models, err := readModels(files)
		if err != nil {
			return nil, nil, nil, err
		}
		sim, done, err := c.simulator(n, models)
		return sim, modelLimits(models), done, err
	}
	m, err := openModel(append(files, defaultModel)[0])
	if err != nil {
		return nil, nil, nil, err
	}
	sim, done, err := c.simulate(n, m)
	return sim, m.limits(), done, err
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
