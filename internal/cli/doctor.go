package cli

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what this machine has", Args: exactly(0),
		Long: `doctor prints what planegym can use here: processor features, threads, GPUs, and
the folder of recordings. Nothing is changed.`,
		Example: "  planegym doctor\n  planegym doctor --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return doctor(cmd) },
	}
}

type machine struct {
	Version      string   `json:"version"`
	Go           string   `json:"go"`
	Platform     string   `json:"platform"`
	Threads      int      `json:"threads"`
	CPUFeatures  []string `json:"cpu_features"`
	Recordings   string   `json:"recordings"`    // PLANEGYM_DATA
	RecordingsOK bool     `json:"recordings_ok"` // it is a folder that can be read

	GPUs   []cuda.Report `json:"gpus"`
	GPUErr string        `json:"gpu_error,omitempty"` // why there is none, or what is wrong with one
}

// thisMachine is what doctor tells and a benchmark names.
func thisMachine() machine {
	m := machine{
		Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Threads: runtime.GOMAXPROCS(0), CPUFeatures: []string{}, Recordings: os.Getenv("PLANEGYM_DATA"),
	}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX2", cpu.X86.HasAVX2}, {"FMA", cpu.X86.HasFMA}, {"AVX512F", cpu.X86.HasAVX512F},
		{"AVX512DQ", cpu.X86.HasAVX512DQ}, {"ASIMD", cpu.ARM64.HasASIMD},
	} {
		if f.has {
			m.CPUFeatures = append(m.CPUFeatures, f.name)
		}
	}
	if m.Recordings != "" {
		_, err := os.ReadDir(m.Recordings)
		m.RecordingsOK = err == nil
	}
	return m
}

// findGPUs has each GPU compile our kernels and compute something.
func (m *machine) findGPUs(ctx context.Context) {
	n, err := driver.From(ctx).Count()
	m.GPUs = []cuda.Report{}
	for i := 0; i < n && err == nil; i++ {
		var r cuda.Report
		if r, err = cuda.Inspect(driver.From(ctx), i); err == nil {
			m.GPUs = append(m.GPUs, r)
		}
	}
	if err != nil {
		m.GPUErr = err.Error()
	}
}

func doctor(cmd *cobra.Command) error {
	m := thisMachine()
	m.findGPUs(cmd.Context())
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), m)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "planegym    %s, %s, %s\n", m.Version, m.Go, m.Platform)
	fmt.Fprintf(out, "threads     %d\n", m.Threads)
	fmt.Fprintf(out, "processor   %v\n", m.CPUFeatures)
	for i, g := range m.GPUs {
		fmt.Fprintf(out, "GPU         cuda:%d: %s, sm_%d%d, %d multiprocessors, %d MiB, driver for CUDA %d.%d: it compiled the kernels and computes\n",
			i, g.Name, g.Major, g.Minor, g.SMs, g.Memory>>20, g.DriverVersion/1000, g.DriverVersion%1000/10)
		for _, k := range g.Kernels {
			fmt.Fprintf(out, "              %-9s %3d registers, %5d bytes shared, %d bytes spilled\n", k.Name, k.Registers, k.Shared, k.Local)
		}
	}
	if m.GPUErr != "" {
		fmt.Fprintf(out, "GPU         %s\n", m.GPUErr)
	}
	switch {
	case m.Recordings == "":
		fmt.Fprintln(out, "recordings  PLANEGYM_DATA is unset: commands take --data DIR, tests of real recordings skip")
	case m.RecordingsOK:
		fmt.Fprintf(out, "recordings  %s\n", m.Recordings)
	default:
		fmt.Fprintf(out, "recordings  %s cannot be read: point PLANEGYM_DATA at the folder\n", m.Recordings)
	}
	return nil
}
