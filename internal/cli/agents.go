package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval/standings"
	"github.com/planegym/planegym/scenarios"
)

// bundledAgent is the name of the agent that comes with planegym.
const bundledAgent = "bundled"

// isAgent reports whether a policy's name is an agent's: its file, or the bundled
// one's name. Other names are baselines'.
func isAgent(name string) bool {
	return name == bundledAgent || strings.HasSuffix(name, ".safetensors")
}

// loadAgent reads an agent's file, or the bundled agent.
func loadAgent(file string, be *compute.Backend) (*agent.DDQN, error) {
	if file == bundledAgent {
		return agent.LoadBytes(file, scenarios.Agent(), be)
	}
	return agent.Load(file, be)
}

// policyHelp lists the baselines.
func policyHelp() string {
	var b strings.Builder
	b.WriteString("Baselines:\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, k := range baseline.Names {
		fmt.Fprintf(w, "  %s\t%s\n", k.Name, k.About)
	}
	_ = w.Flush() // b takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// printStandings prints rows as JSON or as a table.
func printStandings(cmd *cobra.Command, scenario string, spec env.Spec, rows []standings.Row) error {
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"scenario": scenario, "episodes": len(rows[0].Returns), "policies": rows})
	}
	return standings.WriteText(cmd.OutOrStdout(), scenario, spec, rows)
}

// namedPolicies are agents and baselines by their names in --policy.
func namedPolicies(names []string, spec env.Spec, be *compute.Backend) (all []standings.Entry, err error) {
	for _, name := range names {
		e := standings.Entry{Name: name}
		if isAgent(name) {
			e.Policy, err = loadAgent(name, be)
		} else if e.Policy, err = baseline.New(name, spec); err != nil {
			err = usagef("--policy: %w", err)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
