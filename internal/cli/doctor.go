package cli

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what this machine has", Args: exactly(0),
		Long: `doctor prints what planegym can use here: processor features, threads, and the
folder of recordings. Nothing is changed.`,
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
}

// thisMachine is what doctor tells and a benchmark names.
func thisMachine() machine {
	m := machine{
		Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Threads: runtime.GOMAXPROCS(0), CPUFeatures: []string{}, Recordings: os.Getenv("PLANEGYM_DATA"),
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		m.Version = b.Main.Version
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

func doctor(cmd *cobra.Command) error {
	m := thisMachine()
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), m)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "planegym    %s, %s, %s\n", m.Version, m.Go, m.Platform)
	fmt.Fprintf(out, "threads     %d\n", m.Threads)
	fmt.Fprintf(out, "processor   %v\n", m.CPUFeatures)
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
