package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/eval/standings"
	"github.com/planegym/planegym/internal/envpage"
	"github.com/planegym/planegym/scenarios"
)

// scenarioDoc writes the pages of environments.
type scenarioDoc struct {
	out      string
	measure  bool
	keep     string
	episodes int
	policies []string
	curves   []string
	open     planegym.Gym
}

func newScenarioDoc() *cobra.Command {
	var d scenarioDoc
	cmd := &cobra.Command{
		Use:   "doc [NAME...]",
		Short: "Write the page of an environment: observations, actions, reward, returns",
		Long: `doc describes an environment as Gymnasium's documentation describes its own:
every element of the observation, the actions, the reward's formula, when an
episode ends, and what policies return in the bundled ones. --measure plays the
scenario's baselines, and the agents that --policy names, and gives their returns. Without NAME it takes every bundled scenario; pages go to
stdout, or with -o into a folder, one file each.`,
		Example: `  planegym scenario doc contended
  planegym scenario doc mine.toml --measure --policy run/policy.safetensors
  planegym scenario doc mine.toml --curves curves.csv -o pages
  planegym scenario doc -o docs/environments`,
		RunE: func(cmd *cobra.Command, names []string) error { return d.run(cmd, names) },
	}
	f := cmd.Flags()
	f.StringVarP(&d.out, "out", "o", "", "folder to write NAME.md into; made where it is missing")
	f.BoolVar(&d.measure, "measure", false, "play policies and add a table of their returns")
	f.IntVar(&d.episodes, "episodes", 20, "episodes a policy, with --measure")
	f.StringVar(&d.keep, "keep", "", "JSON file to keep what --measure measures in, beside other scenarios' entries")
	f.StringArrayVar(&d.policies, "policy", nil, "an agent's file or a baseline to measure beside the defaults; repeat for more")
	f.StringArrayVar(&d.curves, "curves", nil, "CSV of learning curves to add: algorithm,seed,transitions,return,settings,command; repeat for more")
	addData(cmd, &d.open.Data)
	return cmd
}

func (d *scenarioDoc) run(cmd *cobra.Command, names []string) error {
	switch {
	case d.episodes < 2:
		return usagef("scenario doc: --episodes: %d is less than 2: an interval needs two", d.episodes)
	case len(d.policies) > 0 && !d.measure:
		return usagef("scenario doc: --policy goes with --measure")
	case d.keep != "" && !d.measure && len(d.curves) == 0:
		return usagef("scenario doc: --keep goes with --measure or --curves")
	case len(d.curves) > 0 && len(names) != 1:
		return usagef("scenario doc: --curves are of one scenario: name it")
	}
	every := len(names) == 0
	if every {
		names = scenarios.Names()
	}
	if d.out != "" {
		if err := os.MkdirAll(d.out, 0o777); err != nil {
			return fmt.Errorf("scenario doc: -o: %w", err)
		}
	}
	for _, name := range names {
		s, err := loadScenario(name)
		if err != nil {
			return err
		}
		if every && s.Plant == "replay" && d.open.Data == "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is left out: it needs recordings, see --data\n", name)
			continue
		}
		page, err := d.describe(cmd.Context(), s, strings.HasSuffix(name, ".toml"))
		if err != nil {
			return fmt.Errorf("scenario %s: %w", name, err)
		}
		if len(d.curves) > 0 {
			if page.Returns.Curves, err = envpage.ReadCurves(d.curves); err != nil {
				return fmt.Errorf("scenario doc: --curves: %w", err)
			}
		}
		if d.keep != "" {
			if err := page.Returns.Keep(d.keep, s.Name); err != nil {
				return fmt.Errorf("scenario doc: --keep: %w", err)
			}
		}
		if err := d.write(cmd, page); err != nil {
			return err
		}
	}
	return nil
}

func (d *scenarioDoc) write(cmd *cobra.Command, page envpage.Page) error {
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"name": page.Scenario.Name, "markdown": page.Markdown(), "returns": page.Returns})
	}
	if d.out == "" {
		_, err := io.WriteString(cmd.OutOrStdout(), page.Markdown())
		return err
	}
	files, err := page.WriteFiles(d.out)
	for _, file := range files {
		fmt.Fprintln(cmd.ErrOrStderr(), file)
	}
	return err
}

// describe opens s and describes it; a user's own scenario has no measured returns,
// whatever its name.
func (d *scenarioDoc) describe(ctx context.Context, s scenarios.Scenario, own bool) (envpage.Page, error) {
	if !d.measure {
		return envpage.Describe(ctx, &d.open, s, own)
	}
	k, err := new(computing).check()
	if err != nil {
		return envpage.Page{}, err
	}
	be := compute.NewBackend(k, 1)
	defer be.Close()
	policies := func(spec env.Spec) ([]standings.Entry, error) { return namedPolicies(d.policies, spec, be) }
	page, err := envpage.Measure(ctx, &d.open, s, d.episodes, policies)
	switch {
	case s.Plant != "replay":
	case d.open.Data == os.Getenv("PLANEGYM_DATA"):
		page.Returns.Measured += ` --data "$PLANEGYM_DATA"`
	default:
		page.Returns.Measured += " --data " + d.open.Data
	}
	for _, p := range d.policies {
		page.Returns.Measured += " --policy " + p
	}
	return page, err
}
