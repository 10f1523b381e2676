package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/emulate"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
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
	limits := deploy.ActionLimits(s)
	safe := p4.Limit(e.safe)
	if safe == 0 {
		safe = slices.Min(limits)
	}
	if !slices.Contains(limits, safe) {
		return usagef("testbed: --safe: %d is none of the limits %v", safe, limits)
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
		done, err := e.follow(&c)
		if err != nil {
			return err
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
	if err := e.write(s, safe, depths, targets, em.Thrift()); err != nil {
		return err
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

// follow appends every limit that comes into force to e.log.
func (e *emulator) follow(c *emulate.Config) (done func() error, err error) {
	f, err := os.OpenFile(e.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("testbed: --limits-log: %w", err)
	}
	var mu sync.Mutex
	var failed error
	c.Changed = func(sw int, port p4.Port, l p4.Limit) {
		line, err := json.Marshal(map[string]any{"time": time.Now(), "switch": fmt.Sprint("s", sw+1), "port": port, "limit": l})
		if err == nil {
			_, err = f.Write(append(line, '\n'))
		}
		mu.Lock()
		failed = errors.Join(failed, err)
		mu.Unlock()
	}
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(failed, f.Close())
	}, nil
}

// write writes the scenario of the switches.
func (e *emulator) write(s scenarios.Scenario, safe p4.Limit, depths []p4.Limit, targets, thrift []string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "description = \"Emulated switches of scenario %s, %g times real time\"\nplant = \"live\"\n\n[live]\nsafe = %d\ntime_scale = %g\n", s.Name, e.scale, safe, e.scale)
	fmt.Fprintf(&b, "probes.udp = %q\nplayer.http = %q\n", e.udp, e.player)
	role := ""
	if sim.Personality(e.personality) == sim.PINS {
		role = fmt.Sprintf("role = %q\npush = [\"reconcile-and-commit\"]\n", sim.PINSRole)
	}
	var queues []string
	for _, d := range depths {
		queues = append(queues, fmt.Sprint(d))
	}
	for i, t := range targets {
		fmt.Fprintf(&b, "\n[[live.switch]]\nname = \"s%d\"\ntarget = %q\ndevice_id = %d\nports = [%d]\nqueues = [%s]\n%s", i+1, t, i+1, emulate.Port, strings.Join(queues, ", "), role)
		if thrift != nil {
			fmt.Fprintf(&b, "thrift = %q\n", thrift[i])
		}
	}
	b.WriteString("\n# As in the scenario: what observations are scaled by.\n")
	if err := toml.NewEncoder(&b).Encode(map[string]any{"env": s.Env, "testbed": s.Testbed}); err != nil {
		return fmt.Errorf("testbed: %w", err)
	}
	if _, err := scenarios.Parse(b.Bytes()); err != nil {
		return fmt.Errorf("testbed: %w", err)
	}
	err := atomicfile.Write(e.out, func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("testbed: --out: %w", err)
	}
	return nil
}
