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
	"agent":                    {"compute", "env", "internal/atomicfile", "internal/episodes", "internal/nn", "internal/rng", "internal/safetensors", "telemetry"},
	"bench/faults":             {"env", "env/ws", "internal/cutter", "internal/rng"},
	"bench/simulator":          {"compute", "env", "internal/rng", "scenarios", "telemetry", "timegan"},
	"bench/stocks":             {"compute", "internal/rng", "internal/safetensors", "telemetry", "timegan", "timegan/posthoc"},
	"cmd/planegym":             {"internal/cli"},
	"compute":                  {},
	"deploy":                   {"agent", "env", "internal/atomicfile", "internal/episodes", "internal/testbed", "p4", "p4/bmv2", "p4/inventory", "p4/p4rt", "scenarios", "telemetry", "telemetry/intreport", "telemetry/live"},
	"env":                      {"internal/rng", "internal/wait", "p4", "telemetry"},
	"env/envtest":              {"env", "internal/rng"},
	"env/ws":                   {"env", "p4", "telemetry"},
	"internal/arch":            {},
	"internal/atomicfile":      {},
	"internal/benchtest":       {},
	"internal/cli":             {"agent", "compute", "deploy", "env", "env/ws", "internal/atomicfile", "internal/compare", "internal/cuda", "internal/cuda/driver", "internal/emulate", "internal/episodes", "internal/graph", "internal/pcap", "internal/picture", "internal/report", "internal/rng", "internal/scalars", "internal/testbed", "p4", "p4/sim", "scenarios", "telemetry", "telemetry/intreport", "telemetry/live", "telemetry/sessions", "timegan", "timegan/selection", "timegan/structured", "timegan/sweep"},
	"internal/compare":         {"agent", "env", "internal/episodes", "internal/rng", "internal/testbed", "p4", "telemetry", "timegan/selection"},
	"internal/cuda":            {"compute", "internal/cuda/driver", "internal/cuda/kernels", "timegan"},
	"internal/cuda/driver":     {"compute"},
	"internal/cuda/drivertest": {"compute", "internal/cuda/driver", "internal/cuda/ptxvm"},
	"internal/cuda/kernels":    {},
	"internal/cuda/ptxvm":      {},
	"internal/cutter":          {"internal/rng"},
	"internal/emulate":         {"internal/testbed", "internal/wait", "p4", "p4/sim", "telemetry", "telemetry/intreport"},
	"internal/episodes":        {"env", "internal/atomicfile", "internal/parquetfile", "p4", "telemetry"},
	"internal/graph":           {"agent", "compute", "internal/nn", "timegan"},
	"internal/nn":              {"compute", "internal/rng"},
	"internal/parquetfile":     {},
	"internal/pcap":            {},
	"internal/picture":         {"env", "telemetry"},
	"internal/report":          {"agent", "internal/compare", "internal/episodes", "internal/rng", "telemetry"},
	"internal/rng":             {},
	"internal/seq":             {"compute", "internal/nn", "internal/rng", "internal/safetensors"},
	"internal/safetensors":     {"internal/atomicfile"},
	"internal/scalars":         {},
	"internal/testbed":         {"internal/parquetfile", "internal/rng", "p4", "telemetry", "telemetry/intreport"},
	"internal/wait":            {},
	"p4":                       {},
	"p4/bmv2":                  {"p4"},
	"p4/inventory":             {"p4", "p4/program"},
	"p4/p4rt":                  {"internal/rng", "p4", "p4/inventory", "p4/program"},
	"p4/sim":                   {"p4", "p4/program"},
	"p4/program":               {},
	"scenarios":                {"env", "internal/testbed", "p4", "p4/inventory", "telemetry"},
	"telemetry":                {"internal/atomicfile"},
	"telemetry/intreport":      {},
	"telemetry/live":           {"internal/pcap", "internal/wait", "telemetry", "telemetry/intreport"},
	"telemetry/sessions":       {"telemetry"},
	"timegan":                  {"compute", "internal/nn", "internal/rng", "internal/safetensors", "telemetry"},
	"timegan/enginetest":       {"compute", "internal/rng", "timegan"},
	"timegan/posthoc":          {"compute", "internal/nn", "internal/rng"},
	"timegan/selection":        {"internal/rng", "telemetry"},
	"timegan/structured":       {"compute", "internal/nn", "internal/rng", "internal/safetensors", "telemetry", "timegan"},
	"timegan/sweep":            {"internal/atomicfile", "telemetry", "timegan", "timegan/selection"},
	"traffic":                  {},
	"traffic/flows":            {"traffic"},
	"traffic/ngram":            {"traffic", "internal/rng", "internal/safetensors"},
	"traffic/store":            {"traffic", "internal/atomicfile", "internal/parquetfile"},
	"traffic/traffictest":      {"traffic"},
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
