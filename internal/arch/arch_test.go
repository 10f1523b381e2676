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
	"telemetry":            {},
	"p4":                   {},
	"internal/rng":         {},
	"internal/safetensors": {},
	"env":                  {"internal/rng", "p4", "telemetry"},
	"env/envtest":          {"env", "internal/rng", "p4", "telemetry"},
	"scenarios":            {"env"},
	"internal/cli":         {"env", "env/ws", "internal/nn", "internal/report", "scenarios", "telemetry", "timegan", "timegan/selection", "timegan/sweep"},
	"cmd/planegym":         {"internal/cli"},
	"p4/program":           {},
	"internal/report":      {"internal/rng", "telemetry"},
	"internal/scalars":     {},
	"internal/episodes":    {"env", "p4", "telemetry"},
	"agent":                {"env", "internal/episodes", "internal/nn", "internal/rng", "internal/safetensors", "telemetry"},
	"p4/p4test":            {"p4", "p4/program"},
	"internal/nn":          {"internal/rng"},
	"env/ws":               {"env", "telemetry", "p4"},
	"internal/switches":    {"p4", "p4/p4rt", "p4/bmv2"},
	"p4/bmv2":              {"p4"},
	"p4/p4rt":              {"p4", "p4/program", "internal/rng"},
	"internal/testbed":     {"telemetry", "p4", "internal/rng"},
	"internal/arch":        {},
	"timegan/enginetest":   {"internal/nn", "internal/rng", "timegan"},

	"timegan":           {"internal/nn", "internal/rng", "internal/safetensors", "telemetry"},
	"timegan/selection": {"internal/rng", "telemetry"},
	"bench/stocks":      {"internal/nn", "internal/rng", "internal/safetensors", "telemetry", "timegan", "timegan/posthoc"},
	"bench/simulator":   {"env", "internal/nn", "internal/rng", "scenarios", "telemetry", "timegan"},
	"timegan/posthoc":   {"internal/nn", "internal/rng"},
	"timegan/sweep":     {"telemetry", "timegan", "timegan/selection"},
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
