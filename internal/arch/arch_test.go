// Package arch holds one test: who may import whom.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/planegym/planegym/"

// allowed lists, per package, the packages of ours that it may import. A
// package that is not here fails the test: say what it is for, then add it.
var allowed = map[string][]string{
	"telemetry":                {"internal/atomicfile"},
	"p4":                       {},
	"internal/rng":             {},
	"internal/safetensors":     {"internal/atomicfile"},
	"env":                      {"telemetry", "p4", "internal/rng", "internal/wait"},
	"env/envtest":              {"env", "telemetry", "p4", "internal/rng"},
	"scenarios":                {"env", "internal/testbed", "internal/nesting", "internal/switches", "p4", "telemetry"},
	"internal/cli":             {"scenarios", "env", "env/ws", "telemetry", "timegan/selection", "internal/report", "internal/testbed", "internal/switches", "agent", "p4", "internal/episodes", "internal/nn", "internal/scalars", "timegan", "timegan/structured", "timegan/sweep", "internal/graph", "telemetry/intreport", "telemetry/live", "telemetry/sessions", "internal/pcap", "internal/emulate", "p4/p4rt", "p4/p4test", "internal/rng", "internal/atomicfile", "internal/compare", "internal/cuda", "internal/cuda/driver", "internal/nesting"},
	"cmd/planegym":             {"internal/cli"},
	"timegan":                  {"telemetry", "internal/nn", "internal/rng", "internal/safetensors"},
	"timegan/selection":        {"internal/rng", "telemetry"},
	"p4/program":               {},
	"internal/report":          {"telemetry", "internal/rng", "internal/compare", "internal/episodes", "agent"},
	"internal/scalars":         {},
	"internal/episodes":        {"env", "telemetry", "p4", "internal/atomicfile", "internal/parquetfile"},
	"agent":                    {"env", "telemetry", "internal/rng", "internal/nn", "internal/safetensors", "internal/episodes", "internal/atomicfile"},
	"p4/p4test":                {"p4", "p4/program"},
	"internal/nn":              {"internal/rng"},
	"env/ws":                   {"env", "telemetry", "p4", "internal/nesting"},
	"internal/nesting":         {},
	"internal/switches":        {"p4", "p4/p4rt", "p4/bmv2"},
	"p4/bmv2":                  {"p4"},
	"p4/p4rt":                  {"p4", "p4/program", "internal/rng"},
	"internal/testbed":         {"telemetry", "p4", "internal/rng", "telemetry/intreport", "internal/parquetfile"},
	"telemetry/intreport":      {},
	"telemetry/live":           {"telemetry", "telemetry/intreport", "internal/pcap", "internal/wait"},
	"internal/pcap":            {},
	"timegan/enginetest":       {"internal/nn", "internal/rng", "timegan"},
	"bench/stocks":             {"internal/nn", "internal/rng", "internal/safetensors", "telemetry", "timegan", "timegan/posthoc"},
	"timegan/posthoc":          {"internal/nn", "internal/rng"},
	"timegan/sweep":            {"telemetry", "timegan", "timegan/selection", "internal/atomicfile"},
	"internal/graph":           {"timegan", "internal/nn", "internal/rng", "agent"},
	"internal/benchtest":       {},
	"internal/cutter":          {"internal/rng"},
	"bench/faults":             {"env", "env/ws", "internal/cutter", "internal/rng"},
	"internal/emulate":         {"internal/testbed", "p4", "p4/p4test", "telemetry", "telemetry/intreport", "internal/wait"},
	"bench/simulator":          {"env", "internal/nn", "internal/rng", "scenarios", "telemetry", "timegan"},
	"internal/wait":            {},
	"internal/atomicfile":      {},
	"internal/cuda/driver":     {"internal/nn"},
	"internal/cuda/ptxvm":      {},
	"internal/cuda/drivertest": {"internal/cuda/driver", "internal/cuda/ptxvm", "internal/nn"},
	"internal/compare":         {"agent", "env", "internal/episodes", "internal/rng", "p4", "telemetry", "timegan/selection", "internal/testbed"},
	"internal/cuda":            {"timegan", "internal/nn", "internal/cuda/driver", "internal/cuda/kernels"},
	"internal/cuda/kernels":    {},
	"telemetry/sessions":       {"telemetry"},
	"timegan/structured":       {"telemetry", "internal/nn", "internal/rng", "internal/safetensors", "timegan"},
	"internal/parquetfile":     {},
	"internal/arch":            {},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is not listed in internal/arch", name)
			continue
		}
		for _, i := range p.Imports {
			if i, ours := strings.CutPrefix(i, module); ours && !slices.Contains(may, i) {
				t.Errorf("%s imports %s; it may import %v", name, i, may)
			}
		}
	}
}
