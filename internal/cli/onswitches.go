package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/telemetry"
)

// deployment is the flags of deploy, collect and train --switches.
type deployment struct {
	name                    string // of the command
	policy, scenario, data  string
	journal, metrics        string
	kernels                 string
	time                    time.Duration
	dryRun, shadow, endless bool
	episodes                string         // Parquet file, ""
	record                  *deploy.Record // of what comes in, nil: none
}

// config is what the flags ask for.
func (d *deployment) config(cmd *cobra.Command, mode env.Autoreset) (deploy.Config, error) {
	s, err := loadLive(cmd, d.scenario)
	if err != nil {
		return deploy.Config{}, err
	}
	if d.time < 0 {
		return deploy.Config{}, usagef("%s: --for: %v is negative", d.name, d.time)
	}
	for _, w := range s.Live.Warnings() {
		fmt.Fprintln(cmd.ErrOrStderr(), "planegym: warning:", w)
	}
	c := deploy.Config{
		Scenario: s, Name: d.scenario, Journal: d.journal, Metrics: d.metrics, For: d.time, Shadow: d.shadow || d.dryRun,
		Endless: d.endless, Autoreset: mode, Episodes: d.episodes, Record: d.record,
	}
	if d.data != "" {
		c.Scaler = func(columns []telemetry.Field) (queues.Normaliser, error) {
			o := planegym.Gym{Data: d.data}
			_, scaler, err := o.Recordings()
			if err != nil {
				return nil, err
			}
			return deploy.ScalerByName(scaler, scaler.(*telemetry.Scaler).Fields(), columns)
		}
	}
	if c.Guard, err = guardCommand(d.scenario, d.journal); err != nil {
		return deploy.Config{}, err
	}
	show := statusLine(cmd)
	c.Step = func(s deploy.Step) {
		line := fmt.Sprintf("step %d  limits %v  reward %.2f", s.N, s.Limits, s.Reward)
		if len(s.Player) > 0 {
			line += fmt.Sprintf("  buffer %.1f s", s.Player[0])
		}
		show(fmt.Sprintf("%s  set in %.1f ms  safe %d×  late %d", line, s.Set.Seconds()*1e3, s.Safe, s.Stats.Late))
	}
	return c, nil
}

// add adds the flags that deploy and collect share.
func (d *deployment) add(cmd *cobra.Command) {
	addLiveScenario(cmd, &d.scenario)
	f := cmd.Flags()
	f.DurationVar(&d.time, "for", 0, "how long, in the switches' time; 0: until Ctrl-C")
	f.StringVar(&d.journal, "journal", "journal.jsonl", "file to append every action to")
	f.StringVar(&d.metrics, "metrics", "", "host:port to tell metrics at, for Prometheus; \"\": nowhere")
	f.StringVar(&d.data, "data", "", "folder of recordings that observations are scaled by; \"\": the emulated testbed of the scenario")
	f.StringVar(&d.kernels, "kernels", "auto", "kernel set to compute with")
}

// load loads the policy; who is what the journal calls it.
func (d *deployment) load(spec env.Spec, be *compute.Backend) (p agent.Policy, who string, err error) {
	if _, e := os.Stat(d.policy); e != nil && !isAgent(d.policy) {
		if p, err = baseline.New(d.policy, spec); err != nil {
			return nil, "", usageError{fmt.Errorf("%s: %w, nor a file that train wrote", d.name, err)}
		}
		return p, d.policy, nil
	}
	trained, err := loadAgent(d.policy, be)
	if err != nil {
		return nil, "", err // it names the file
	}
	if err := trained.Fits(episodes.SpacesOf(spec)); err != nil {
		return nil, "", fmt.Errorf("%s: %w", d.policy, err)
	}
	return trained, d.policy + " " + trained.Hash(), nil
}

// onSwitches is `train --switches`: the agent learns on live switches, within
// the rails of deploy, while what comes in may be recorded.
type onSwitches struct {
	on      bool
	collect string // folder, ""
	deployment
}

func (o *onSwitches) add(cmd *cobra.Command) {
	o.name = cmd.Name()
	f := cmd.Flags()
	f.BoolVar(&o.on, "switches", false, "learn on the live switches of --scenario, with the rails, guard and journal of deploy")
	f.StringVar(&o.journal, "journal", "journal.jsonl", "with --switches: file to append every action to")
	f.StringVar(&o.metrics, "metrics", "", "with --switches: host:port to tell metrics at, for Prometheus; \"\": nowhere")
	f.StringVar(&o.collect, "collect", "", "with --switches: folder to record what comes in to, as collect does; \"\": none")
}

// open opens the switches as a vector of one row.
func (o *onSwitches) open(cmd *cobra.Command, scenario, data string) (env.Vector, error) {
	o.scenario, o.data = scenario, data
	if o.collect != "" {
		o.record = &deploy.Record{Dir: o.collect}
	}
	c, err := o.config(cmd, env.NextStep)
	if err != nil {
		return nil, err
	}
	d, err := deploy.Open(cmd.Context(), c)
	if err != nil {
		return nil, err
	}
	return d.Learn("an agent that learns")
}

// statusLine writes one line over and over, where stderr is a terminal; ""
// ends it.
func statusLine(cmd *cobra.Command) func(string) {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || asJSON(cmd) {
		return func(string) {}
	}
	return func(s string) {
		if s == "" {
			s = "\n"
		}
		fmt.Fprintf(f, "\r\x1b[K%s", s)
	}
}
