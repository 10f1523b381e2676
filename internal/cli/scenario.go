package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/loads"
	"github.com/planegym/planegym/scenarios"
)

func newScenario() *cobra.Command {
	group := &cobra.Command{
		Use:   "scenario",
		Short: "List, show, check and describe scenarios",
		Example: `  planegym scenario list
  planegym scenario show replay > mine.toml
  planegym scenario check mine.toml
  planegym scenario doc contended`,
	}
	group.AddCommand(
		newScenarioDoc(),
		&cobra.Command{
			Use: "list", Short: "List the bundled scenarios", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error { return listScenarios(cmd) },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Print a scenario's TOML", Args: exactly(1),
			Example: "  planegym scenario show replay > mine.toml",
			RunE:    func(cmd *cobra.Command, args []string) error { return showScenario(cmd, args[0]) },
		},
		newScenarioCheck(),
	)
	return group
}

// loadScenario is scenarios.Load; an unknown name is wrong usage.
func loadScenario(name string) (scenarios.Scenario, error) {
	s, err := scenarios.Load(name)
	if errors.Is(err, scenarios.ErrUnknown) {
		err = usageError{err}
	}
	if err == nil && s.Plant == "testbed" {
		err = loads.Attach(context.Background(), &s.Testbed)
	}
	return s, err
}

func listScenarios(cmd *cobra.Command) error {
	type row struct {
		Name        string `json:"name"`
		Plant       string `json:"plant"`
		Description string `json:"description"`
	}
	var rows []row
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			return err
		}
		rows = append(rows, row{name, s.Plant, s.Description})
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), rows)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Plant, r.Description)
	}
	return w.Flush()
}

func showScenario(cmd *cobra.Command, name string) error {
	if asJSON(cmd) {
		s, err := loadScenario(name)
		if err != nil {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), s)
	}
	text, err := scenarios.Source(name)
	if errors.Is(err, scenarios.ErrUnknown) {
		err = usageError{err}
	}
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

func newScenarioCheck() *cobra.Command {
	var o planegym.Gym
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Say what is wrong with a scenario", Args: exactly(1),
		Long: `check reads a scenario and opens what it names: the model, the emulated testbed,
the recordings. Of live switches it opens the files that the scenario names;
planegym switches check speaks with the switches themselves.`,
		Example: `  planegym scenario check mine.toml
  planegym scenario check replay --data recordings`,
		RunE: func(cmd *cobra.Command, args []string) error { return checkScenario(cmd, &o, args[0]) },
	}
	addData(cmd, &o.Data)
	return cmd
}

func checkScenario(cmd *cobra.Command, o *planegym.Gym, name string) error {
	s, err := loadScenario(name)
	if err != nil {
		return err
	}
	left := "" // what could not be checked, and why
	switch {
	case s.Plant == "live":
		if err := s.CheckFiles(); err != nil {
			return err
		}
		left = "switches are not asked: see planegym switches check"
	case s.Plant == "replay" && o.Data == "":
		left = "no recordings are opened: name their folder by --data"
	default:
		v, err := o.Open(cmd.Context(), s, 1, env.NextStep)
		if err != nil {
			return fmt.Errorf("scenario %s: %w", name, err)
		}
		if err := v.Close(); err != nil {
			return fmt.Errorf("scenario %s: %w", name, err)
		}
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"ok": true, "name": s.Name, "plant": s.Plant, "not_checked": left})
	}
	if left != "" {
		left = " (" + left + ")"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: plant %s%s\n", s.Name, s.Plant, left)
	return nil
}
