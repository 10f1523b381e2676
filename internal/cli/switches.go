package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/switches"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
)

func newSwitches() *cobra.Command {
	group := &cobra.Command{
		Use:     "switches",
		Short:   "Look after live switches",
		Example: "  planegym switches check --scenario lab.toml",
	}
	group.AddCommand(newSwitchesCheck())
	return group
}

func newSwitchesCheck() *cobra.Command {
	var name string
	var listen time.Duration
	cmd := &cobra.Command{
		Use:   "check --scenario FILE",
		Short: "Say what is wrong with the switches, and how to mend it",
		Long: `check looks at every switch of a scenario with plant = "live" and changes
nothing: whether it is reached, who is primary, whether it runs our program with
our P4Info, whether every limit has a queue, and which limit is in force. It
looks at the clock of this machine, too: reports are put on seconds by it. With
--listen it takes telemetry for a while, and says what came of whom, and how far
the clocks are apart.

It fails where something stands in the way of deploy.`,
		Example: `  planegym switches check --scenario lab.toml
  planegym switches check --scenario lab.toml --listen 10s --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return checkSwitches(cmd, name, listen) },
	}
	addLiveScenario(cmd, &name)
	cmd.Flags().DurationVar(&listen, "listen", 0, "how long to listen for telemetry; 0: not at all")
	return cmd
}

func addLiveScenario(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "scenario", "", "a scenario with plant = \"live\": a .toml file")
}

// loadLive loads a scenario of live switches.
func loadLive(cmd *cobra.Command, name string) (scenarios.Scenario, error) {
	if name == "" {
		return scenarios.Scenario{}, usagef("%s: --scenario: which live switches? Give a .toml file", cmd.Name())
	}
	s, err := loadScenario(name)
	if err == nil && s.Plant != "live" {
		err = usagef(`%s: --scenario: %s has plant = %q, not "live"`, cmd.Name(), name, s.Plant)
	}
	return s, err
}

// listenTo takes telemetry for a while and says what came. Packets in go to
// the primary alone, which this is not.
func listenTo(ctx context.Context, s scenarios.Scenario, d time.Duration) ([]switches.Finding, error) {
	c, err := openTelemetry(s.Live, nil, nil)
	if err != nil {
		return nil, err
	}
	n := max(1, int(d/c.second))
	width := len(c.Columns())
	values, valid := make([]float32, n*width), make([]bool, n*width)
	ages, err := c.Window(ctx, time.Now(), values, valid)
	st := c.Stats()
	if err := errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	var found []switches.Finding
	tell := func(who string, age, offset time.Duration, mend string) {
		f := switches.Finding{Switch: who, Check: "telemetry", Level: switches.OK, Says: fmt.Sprintf("newest %v old, clock %+v from ours", age.Round(time.Millisecond), -offset.Round(time.Millisecond))}
		if age == env.Never {
			f.Level, f.Says, f.Mend = switches.Failed, fmt.Sprintf("nothing came within %v", d), []string{mend}
		}
		found = append(found, f)
	}
	if s.Live.Probes.UDP == "" {
		found = append(found, switches.Finding{Switch: "all", Check: "telemetry", Level: switches.Warning, Says: "probes come as packets in, which only a primary gets: deploy --dry-run listens to them"})
	} else {
		for i, sw := range s.Live.Switches.Names() {
			tell(sw, ages.Switches[i], st.Clocks[i], fmt.Sprintf("do its reports go to %s, under switch id %d? %d packets came, %d malformed, %d hops of unknown switches", s.Live.Probes.UDP, s.Live.Probes.ID(i), st.Packets, st.Malformed, st.Unknown))
		}
	}
	tell("player", ages.Player, st.PlayerClock, fmt.Sprintf("does the player's page post to http://%s, or is the log %q written? %d samples could not be read; %s", s.Live.Player.HTTP, s.Live.Player.Log, st.BadSamples, st.LastError))
	return found, nil
}

// actionLimits are the limits that actions set.
func actionLimits(s scenarios.Scenario) []p4.Limit {
	if s.Env.Limits == nil {
		return env.DefaultLimits()
	}
	return s.Env.Limits
}

func checkSwitches(cmd *cobra.Command, name string, listen time.Duration) error {
	s, err := loadLive(cmd, name)
	if err != nil {
		return err
	}
	found := append(s.Live.Switches.Examine(cmd.Context(), actionLimits(s), s.Live.Safe), examineClock())
	if listen > 0 {
		heard, err := listenTo(cmd.Context(), s, listen)
		if err != nil {
			return err
		}
		found = append(found, heard...)
	}
	bad := 0
	for _, f := range found {
		if f.Level == switches.Failed {
			bad++
		}
	}
	if asJSON(cmd) {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"ok": bad == 0, "found": found}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		for _, f := range found {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Switch, f.Check, f.Level, f.Says)
			for _, m := range f.Mend {
				fmt.Fprintf(w, "\t\t→\t%s\n", m)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if bad > 0 {
		return reportedError{fmt.Errorf("switches check: %d of %d checks failed", bad, len(found))}
	}
	return nil
}
