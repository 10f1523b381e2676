package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval"
)

// A plant on a server is the plant: every policy earns the same there, and
// drift, of observations where windows are not at hand, is 0.
func TestCompareRemote(t *testing.T) {
	url := serve(t, "--scenario", "contended") + "#contended"
	args := []string{"compare", "contended", url, "--episodes", "2", "--steps", "6", "--limits", "32,128", "--baselines=false",
		"--policy", "fixed:32", "--policy", "fixed:128", "--policy", "occupancy:0.3", "--json"}
	var out, stderr bytes.Buffer
	if code := Main(t.Context(), args, nil, &out, &stderr); code != exitOK {
		t.Fatal(code, stderr.String(), out.String())
	}
	r, err := eval.Decode(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Columns) == 0 || r.Columns[0].Name != "enq_qdepth1_max" || r.Columns[0].Unit != "packets" {
		t.Fatalf("columns %v", r.Columns)
	}
	for _, p := range r.Policies {
		if p.Difference.Mean != 0 || p.Difference.CI != 0 {
			t.Errorf("%s differs by %v", p.Policy, p.Difference)
		}
		for c, d := range p.Drift {
			if d.KS != 0 || d.W1 != 0 {
				t.Errorf("%s: %s drifts: %+v", p.Policy, r.Columns[c].Name, d)
			}
		}
	}
	out.Reset()
	if code := Main(t.Context(), append(args, "--limits", "32,9999999"), nil, &out, &stderr); code == exitOK || strings.Contains(out.String(), "serve running") {
		t.Errorf("limits that there are not: %d %s", code, out.String())
	}
}
