package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/internal/emulate"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/sim"
)

// emulator is `testbed --p4runtime`.
type emulator struct {
	on          bool
	scenario    string
	out         string
	scale       float64
	udp, player string
	addrs       []string
	personality string
	seed        uint64
	safe        int
	log         string
}

// addEmulator gives the testbed command what makes its switches P4Runtime
// servers.
func addEmulator(cmd *cobra.Command) {
	var e emulator
	f := cmd.Flags()
	f.BoolVar(&e.on, "p4runtime", false, "let the emulated switches pass for real ones until Ctrl-C")
	f.StringVar(&e.scenario, "scenario", "testbed", "with --p4runtime: the scenario whose [testbed] and [env] hold, bundled or a .toml file")
	f.StringVarP(&e.out, "out", "o", "lab.toml", "with --p4runtime: the scenario of the switches to write, for deploy, collect and switches check")
	f.Float64Var(&e.scale, "scale", 1, "with --p4runtime: how many of their seconds pass in one of ours")
	f.StringVar(&e.udp, "reports", "127.0.0.1:32766", "with --p4runtime: where telemetry reports are sent to")
	f.StringVar(&e.player, "player", "127.0.0.1:8087", "with --p4runtime: where the player's samples are posted to")
	f.StringSliceVar(&e.addrs, "addr", nil, "with --p4runtime: where the switches listen, a host:port each; free ports of 127.0.0.1")
	f.StringVar(&e.personality, "personality", string(sim.Strict), "with --p4runtime: whose habits the switches have: strict, bmv2 or pins")
	f.Uint64Var(&e.seed, "seed", 0, "with --p4runtime: of the testbed")
	f.IntVar(&e.safe, "safe", 0, "with --p4runtime: the safe limit; 0: the smallest of env.limits")
	f.StringVar(&e.log, "limits-log", "", "with --p4runtime: file that every limit which comes into force is appended to, a JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		if !e.on {
			return cmd.Help()
		}
		return e.run(cmd)
	}
}

func (e *emulator) run(cmd *cobra.Command) (err error) {
	s, err := loadTestbed(cmd, e.scenario)
	if err != nil {
		return err
	}
	if err := prepareOutput("testbed: --out", e.out); err != nil {
		return err
	}
	limits := deploy.ActionLimits(s)
	safe := p4.Limit(e.safe)
	if safe == 0 {
		safe = slices.Min(limits)
	}
	if !slices.Contains(limits, safe) {
		return usagef("testbed: --safe: %d is not one of the limits %v", safe, limits)
	}
	depths := []p4.Limit{safe}
	for _, l := range limits {
		if l != safe {
			depths = append(depths, l)
		}
	}
	c := emulate.Config{
		Testbed: s.Testbed, Seed: e.seed, Personality: sim.Personality(e.personality), Depths: depths,
		Scale: e.scale, Addrs: e.addrs, UDP: e.udp, HTTP: "http://" + e.player + "/",
	}
	if e.log != "" {
		done, openErr := c.LogTo(e.log)
		if openErr != nil {
			return fmt.Errorf("testbed: --limits-log: %w", openErr)
		}
		defer func() { err = errors.Join(err, done()) }()
	}
	em, err := emulate.Open(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, em.Close()) }()
	var targets []string
	for _, sw := range em.Servers() {
		targets = append(targets, sw.Addr())
	}
	if err := em.WriteScenario(e.out, s, e.player); err != nil {
		return fmt.Errorf("testbed: --out: %w", err)
	}
	if asJSON(cmd) {
		if err := writeJSONLine(cmd.OutOrStdout(), map[string]any{"scenario": e.out, "switches": targets, "reports": e.udp, "player": e.player}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), `%[2]d switches at %[3]s, %[4]g× real time, in %[1]s

  planegym switches check --scenario %[1]s
  planegym deploy threshold --scenario %[1]s --for 10m
  planegym collect --scenario %[1]s --limit %[5]d --for 10m -o recordings

Ctrl-C stops them.
`, e.out, len(targets), strings.Join(targets, " "), e.scale, safe)
	}
	return em.Run(cmd.Context())
}
