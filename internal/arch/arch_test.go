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

// TestLinks lists what packages must not link, however indirectly.
func TestLinks(t *testing.T) {
	const (
		grpc    = "google.golang.org/grpc"
		parquet = "github.com/parquet-go/parquet-go"
	)
	for _, c := range []struct{ pkg, not string }{
		{"", grpc}, // a simulation needs no gRPC; deploy does
		{"scenarios", grpc},
		{"scenarios", parquet},
		{"env", parquet},
		{"env/ws", grpc},
		{"agent", grpc},
		{"timegan", parquet},
	} {
		out, err := exec.Command("go", "list", "-deps", strings.TrimSuffix(module+c.pkg, "/")).Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains("\n"+string(out), "\n"+c.not) {
			t.Errorf("%q links %s", c.pkg, c.not)
		}
	}
}

// allowed lists, per package, the packages of ours that it may import. A
// package that is not here fails the test: say what it is for, then add it.
var allowed = map[string][]string{
	"agent":                    {"compute", "env", "env/episodes", "internal/atomicfile", "internal/nn", "internal/rng", "internal/safetensors", "telemetry"},
	"bench/faults":             {"env", "env/ws", "internal/cutter", "internal/rng"},
	"bench/simulator":          {"compute", "env", "internal/rng", "scenarios", "telemetry", "timegan"},
	"bench/stocks":             {"compute", "eval/posthoc", "internal/rng", "internal/safetensors", "telemetry", "timegan"},
	"cmd/planegym":             {"internal/cli"},
	"compute":                  {},
	"deploy":                   {"agent", "env", "env/episodes", "env/plant/testbed", "internal/atomicfile", "p4", "p4/bmv2", "p4/inventory", "p4/p4rt", "scenarios", "telemetry", "telemetry/intreport", "telemetry/live"},
	"env":                      {"internal/rng", "internal/wait", "p4", "telemetry"},
	"env/envtest":              {"env", "internal/rng"},
	"env/episodes":             {"env", "internal/atomicfile", "internal/parquetfile", "p4", "telemetry"},
	"env/plant/testbed":        {"internal/rng", "p4", "telemetry", "telemetry/intreport"},
	"env/plant/testbed/table":  {"env/plant/testbed", "internal/parquetfile", "p4", "telemetry"},
	"env/ws":                   {"env", "p4", "telemetry"},
	"eval":                     {"agent", "env", "env/episodes", "env/plant/testbed/table", "eval/selection", "internal/rng", "p4", "telemetry"},
	"eval/posthoc":             {"compute", "internal/nn", "internal/rng"},
	"eval/selection":           {"internal/rng", "telemetry"},
	"internal/arch":            {},
	"internal/atomicfile":      {},
	"internal/benchtest":       {},
	"internal/cli":             {"agent", "compute", "deploy", "env", "env/episodes", "env/plant/testbed", "env/plant/testbed/table", "env/ws", "eval", "eval/selection", "internal/atomicfile", "internal/cuda", "internal/cuda/driver", "internal/emulate", "internal/envpage", "internal/nesting", "internal/pcap", "internal/picture", "internal/report", "internal/rng", "internal/scalars", "p4", "p4/sim", "planegym", "scenarios", "telemetry", "telemetry/intreport", "telemetry/live", "telemetry/sessions", "timegan", "timegan/structured", "timegan/sweep"},
	"internal/cuda":            {"compute", "internal/cuda/driver", "internal/cuda/kernels", "timegan"},
	"internal/cuda/driver":     {"compute"},
	"internal/cuda/drivertest": {"compute", "internal/cuda/driver", "internal/cuda/ptxvm"},
	"internal/cuda/kernels":    {},
	"internal/cuda/ptxvm":      {},
	"internal/cutter":          {"internal/rng"},
	"internal/emulate":         {"env/plant/testbed", "internal/wait", "p4", "p4/sim", "telemetry", "telemetry/intreport"},
	"internal/envpage":         {"env", "env/plant/testbed", "scenarios", "telemetry"},
	"internal/graph":           {"agent", "compute", "internal/nn", "timegan"},
	"internal/nesting":         {},
	"internal/nn":              {"compute", "internal/rng"},
	"internal/parquetfile":     {},
	"internal/pcap":            {},
	"internal/picture":         {"env", "telemetry"},
	"internal/report":          {"agent", "env/episodes", "eval", "internal/rng", "telemetry"},
	"internal/rng":             {},
	"internal/safetensors":     {"internal/atomicfile"},
	"internal/scalars":         {},
	"internal/seq":             {"compute", "internal/nn", "internal/rng", "internal/safetensors"},
	"internal/tomldoc":         {},
	"internal/wait":            {},
	"p4":                       {},
	"p4/bmv2":                  {"p4"},
	"p4/inventory":             {"p4", "p4/program"},
	"p4/p4rt":                  {"internal/rng", "p4", "p4/inventory", "p4/program"},
	"p4/program":               {},
	"p4/sim":                   {"p4", "p4/program"},
	"planegym":                 {"agent", "compute", "env", "env/plant/testbed", "env/ws", "internal/cuda", "internal/cuda/driver", "internal/graph", "scenarios", "telemetry", "timegan", "timegan/structured"},
	"scenarios":                {"env", "env/plant/testbed", "internal/nesting", "p4", "p4/inventory", "telemetry"},
	"telemetry":                {"internal/atomicfile"},
	"telemetry/intreport":      {},
	"telemetry/live":           {"internal/pcap", "internal/wait", "telemetry", "telemetry/intreport"},
	"telemetry/sessions":       {"telemetry"},
	"timegan":                  {"compute", "internal/nn", "internal/rng", "internal/safetensors", "telemetry"},
	"timegan/enginetest":       {"compute", "internal/rng", "timegan"},
	"timegan/structured":       {"compute", "internal/nn", "internal/rng", "internal/safetensors", "telemetry", "timegan"},
	"timegan/sweep":            {"eval/selection", "internal/atomicfile", "telemetry", "timegan"},
	"traffic":                  {},
	"traffic/flows":            {"traffic"},
	"traffic/ngram":            {"internal/rng", "internal/safetensors", "traffic"},
	"traffic/store":            {"internal/atomicfile", "internal/parquetfile", "traffic"},
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
		name := short(p.ImportPath)
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is not listed in internal/arch", name)
			continue
		}
		for _, i := range p.Imports {
			if ours := strings.HasPrefix(i+"/", module); ours && !slices.Contains(may, short(i)) {
				t.Errorf("%s imports %s; it may import %v", name, i, may)
			}
		}
	}
}

// short is a package's path in the module; the root's is planegym.
func short(path string) string {
	if path+"/" == module {
		return "planegym"
	}
	return strings.TrimPrefix(path, module)
}
