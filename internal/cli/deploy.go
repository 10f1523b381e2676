package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

func newDeploy() *cobra.Command {
	d := deployment{name: "deploy", endless: true}
	cmd := &cobra.Command{
		Use:   "deploy POLICY --scenario FILE",
		Short: "Let an agent set the queues of live switches",
		Long: `deploy lets a policy (a file that train wrote, bundled, or a baseline) set the queue
limits of the switches of a scenario with plant = "live", a window at a time.

The switches never stay in a bad state: the safe limit is put in force whenever
telemetry is older than two windows, a switch is out of hand or was restarted,
playback stalls for too long, or the policy returns an invalid action, and when
deploy ends. A second process, the guard, does it should this one be killed or
hang. Where both are killed the last limits stay: nothing on a switch ends them.

--dry-run does all but act: it looks at the switches and at one window of
telemetry, and says what the policy would do. --shadow lets the policy decide
for as long as you like, and sets no limit. Every decision, with its reason and
what the switches read back, is a line of the journal.

POLICY may be a baseline: planegym play --help lists them.`,
		Example: `  planegym deploy run/policy.safetensors --scenario lab.toml --dry-run
  planegym deploy run/policy.safetensors --scenario lab.toml --shadow --for 1h
  planegym deploy run/policy.safetensors --scenario lab.toml --metrics 127.0.0.1:9100
  planegym deploy fixed:64 --scenario lab.toml --for 10m --json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.policy = args[0]
			return d.run(cmd)
		},
	}
	d.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&d.dryRun, "dry-run", false, "look at everything, say what would be done, and end")
	f.BoolVar(&d.shadow, "shadow", false, "the policy decides and no limit is set; the journal records its decisions")
	return cmd
}

func (d *deployment) run(cmd *cobra.Command) (err error) {
	c, err := d.config(cmd, env.Disabled)
	if err != nil {
		return err
	}
	if d.dryRun {
		if err := checkSwitches(cmd, d.scenario, 0); err != nil {
			return err
		}
	}
	k, err := compute.ParseKernels(d.kernels)
	if err != nil {
		return usagef("%s: --kernels: %w", d.name, err)
	}
	be := compute.NewBackend(k, 1)
	defer be.Close()
	if isAgent(d.policy) { // a file that is missing is found before switches are asked
		if _, err := loadAgent(d.policy, be); err != nil {
			return err
		}
	}
	on, err := deploy.Open(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer statusLine(cmd)("")
	policy, who, err := d.load(on.Spec(), be)
	switch {
	case err != nil:
	case d.dryRun:
		err = d.wouldDo(cmd, on, policy)
	default:
		err = on.Run(policy, who)
	}
	if err = on.Close(err); err != nil || d.dryRun {
		return err
	}
	return d.report(cmd, on.Summary())
}

// wouldDo says what the policy would do now.
func (d *deployment) wouldDo(cmd *cobra.Command, on *deploy.Deployment, p agent.Policy) error {
	limits, err := on.Decide(p)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"would_set": limits, "telemetry": on.Summary().Stats})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "telemetry comes in; %s would now set %v. Nothing was changed.\n", d.policy, limits)
	return nil
}

// report says what the deployment came to.
func (d *deployment) report(cmd *cobra.Command, s deploy.Summary) error {
	slices.Sort(s.Sets)
	q := func(p float64) float64 {
		if len(s.Sets) == 0 {
			return 0
		}
		return telemetry.Quantile(s.Sets, p)
	}
	mean := 0.0
	if s.Steps > 0 {
		mean = s.Rewards / float64(s.Steps)
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{
			"files":  s.Files,
			"policy": d.policy, "steps": s.Steps, "reward_per_step": mean, "safe": s.Safe, "shadow": d.shadow,
			"set_ms": map[string]float64{"p50": q(.5), "p99": q(.99), "max": q(1)}, "sets": len(s.Sets),
			"journal": d.journal, "telemetry": s.Stats,
		})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d steps, reward %.3f a step, the safe limit %d times; decision to read-back p50 %.2f ms, p99 %.2f ms; journal %s\n",
		d.policy, s.Steps, mean, s.Safe, q(.5), q(.99), d.journal)
	if s.Files != nil {
		fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", strings.Join(s.Files, ", "))
	}
	return nil
}
