package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/plant/testbed/table"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/report"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

func newCompare() *cobra.Command {
	var c comparer
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Value the same policies on two plants, and tell how alike they rank them",
		Long: `compare plays the same policies on two plants, A the truth and B what is to stand
in for it, and tells

  value       mean reward of a step on each, with its 95 % interval over episodes
  ρ, τ        Spearman's and Kendall's rank correlation of the two values
  regret@1    what it costs on A to take the policy that does best on B: the value
              of A's best less that one's, in reward and as a share of what lies
              between A's best and A's worst
  drift       how far what is measured under each policy is apart, by column: the
              Wasserstein-1 distance over the column's range on A, and
              Kolmogorov-Smirnov's statistic
  similarity  the mean over policies of the smaller value over the larger, as the
              tutorial compares its environments, beside that of A's worst policy
              and its best: what it says of plants it says of any two policies

With --recordings, what testbed record --schedule switchback (or random) wrote of
A's scenario, come estimates of the policies that nobody played: fitted Q
evaluation and doubly robust, of a discounted reward per step; advantages over
drawing the limit at every step; and the same with the limits' labels shuffled,
where intervals should contain 0.

With --live, a scenario with plant = "live", the same policies act on the switches
too, with A's rewards, limits and length of episodes, and the page says what A and
what B are worth as stand-ins for them: values, drift by column, regret. The
switches take no seeds, so their episodes and a simulator's are independent. Every
policy is played twice on them; --episodes and --steps say how long that takes.

Intervals of statistics resample the episodes. A and B are bundled scenarios,
.toml files, or servers: ws://HOST:PORT` + ws.Path + `#SCENARIO; both need the same
actions, which --limits sets.

Without --baselines=false the policies are every limit, the limits in turn at
three paces, random, rules that watch the queues at several levels or the player,
and rules that hold a limit, act late, at random in part, or turned round; --policy
adds baselines and agents (files that train wrote). An agent observes either
plant as it did the one it was trained in, baselines observe what is measured.

` + policyHelp(),
		Example: `  planegym compare contended mine.toml
  planegym compare contended synthetic --figure values.svg
  planegym testbed record --scenario contended --schedule switchback --sessions 20 -o blocks
  planegym compare contended mine.toml --recordings blocks
  planegym compare synthetic contended --live lab.toml --episodes 3 --steps 30 --policy run/policy.safetensors
  planegym compare contended contended --seed-b 1 --policy run/policy.safetensors --json
  planegym compare contended ws://127.0.0.1:7070/v1/ws#contended --policy fixed:32 --policy fixed:64 --policy random --baselines=false`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.policies, "policy", nil, "a policy to add: a baseline, or an agent's .safetensors file; repeat for more")
	f.BoolVar(&c.baselines, "baselines", true, "play the default policies")
	f.IntVar(&c.episodes, "episodes", 20, "episodes of each policy on each plant")
	f.Uint64Var(&c.seed, "seed", 0, "picks the episodes")
	f.Uint64Var(&c.seedB, "seed-b", 0, "picks the episodes on B; default: --seed")
	f.IntVar(&c.steps, "steps", 0, "steps of an episode; default: the scenarios'")
	f.StringVar(&c.limits, "limits", "", "queue limits to choose from, packets, the last in force at first; default: the scenarios'")
	f.StringVar(&c.observe, "observe", "", "scenario whose observations the agents are given; default: what each was trained in")
	f.StringVar(&c.figure, "figure", "", "draw the values on B over those on A, to this .svg or .png")
	f.StringVar(&c.recordings, "recordings", "", "folder that testbed record wrote of A's scenario: estimate the policies from it too")
	f.StringVar(&c.live, "live", "", "scenario of live switches to play the policies on too, within the rails, guard and journal of deploy")
	f.StringVar(&c.journal, "journal", "journal.jsonl", "with --live: file to append every action to")
	f.Float64Var(&c.gamma, "gamma", .99, "with --recordings: discount a step")
	f.StringVar(&c.token, "token", "", "bearer token for servers; default $PLANEGYM_TOKEN")
	addData(cmd, &c.data)
	c.computing.flags(cmd)
	return cmd
}

type comparer struct {
	computing
	policies                             []string
	baselines                            bool
	episodes, steps                      int
	seed, seedB                          uint64
	limits, observe, figure, token, data string
	recordings, live, journal            string
	gamma                                float64

	allowed []p4.Limit
}

func (c *comparer) run(cmd *cobra.Command, args []string) error {
	if err := c.check(cmd); err != nil {
		return err
	}
	k, err := c.computing.check()
	if err != nil {
		return err
	}
	be := compute.NewBackend(k, c.Threads)
	defer be.Close()
	a, err := c.side(args[0], c.seed)
	if err != nil {
		return err
	}
	b, err := c.side(args[1], c.seedB)
	if err != nil {
		return err
	}
	log, err := c.log(args[0])
	if err != nil {
		return err
	}
	policies, err := c.choose(cmd.Context(), a, be)
	if err != nil {
		return err
	}
	runs := 1
	if c.live != "" {
		runs = 3
	}
	bar := newProgress(cmd, int64(runs*len(policies)), "policies", "compare")
	o := eval.Options{Episodes: c.episodes, Log: log, Done: func(string) error { return bar.Add(1) }}
	if c.live != "" {
		all, err := c.onLive(cmd, args, a, b, policies, o)
		if err != nil && !errors.Is(err, eval.ErrStopped) {
			return err
		}
		stopped := cmp.Or(err, bar.Finish())
		if asJSON(cmd) {
			return cmp.Or(writeJSON(cmd.OutOrStdout(), all), stopped)
		}
		return cmp.Or(all.print(cmd), stopped)
	}
	result, err := eval.Run(cmd.Context(), a, b, policies, o)
	if err != nil && !errors.Is(err, eval.ErrStopped) {
		return err
	}
	stopped := err
	if err := bar.Finish(); err != nil {
		return err
	}
	if c.figure != "" {
		if err := c.draw(result); err != nil {
			return err
		}
	}
	if asJSON(cmd) {
		err = writeJSON(cmd.OutOrStdout(), result)
	} else {
		err = printCompare(cmd.OutOrStdout(), result)
	}
	return cmp.Or(err, stopped)
}

func (c *comparer) check(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("seed-b") {
		c.seedB = c.seed
	}
	switch ext := filepath.Ext(c.figure); {
	case c.episodes < 2:
		return usagef("compare: --episodes: %d give no interval: 2 at least", c.episodes)
	case c.steps < 0:
		return usagef("compare: --steps: %d is negative", c.steps)
	case !(c.gamma >= 0 && c.gamma < 1):
		return usagef("compare: --gamma: %v: expected 0 up to 1", c.gamma)
	case c.figure != "" && ext != ".svg" && ext != ".png":
		return usagef("compare: --figure: %s ends in neither .svg nor .png", c.figure)
	}
	var err error
	c.allowed, err = parseLimits("compare: --limits", c.limits)
	return err
}

// choose makes the policies; those of a decide what there is.
func (c *comparer) choose(ctx context.Context, a eval.Side, be *compute.Backend) ([]eval.Policy, error) {
	v, err := a.Open(ctx, nil, func(p env.Plant) env.Plant { return p })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	defer v.Close()
	var names []string
	if c.baselines {
		names = eval.Defaults(v.Spec())
	}
	for _, name := range c.policies {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var all []eval.Policy
	for _, name := range names {
		p := eval.Policy{Name: name}
		if strings.HasSuffix(name, ".safetensors") {
			if p.Agent, err = agent.Load(name, be); err != nil {
				return nil, err
			}
		} else if _, err := baseline.New(name, v.Spec()); err != nil {
			return nil, usageError{fmt.Errorf("compare: --policy: %w", err)}
		}
		all = append(all, p)
	}
	if len(all) < 3 {
		return nil, usagef("compare: %d policies have no ranking to speak of: add some by --policy", len(all))
	}
	return all, nil
}

// scenario is one by name, with what the flags change.
func (c *comparer) scenario(name string) (scenarios.Scenario, error) {
	s, err := loadScenario(name)
	if err != nil {
		return s, err
	}
	if c.allowed != nil {
		s.Env.Limits, s.Env.Initial = c.allowed, c.allowed[len(c.allowed)-1] // on both plants alike
	}
	if c.steps > 0 {
		s.Env.MaxSteps = c.steps
	}
	return s, nil
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "ws://") || strings.HasPrefix(name, "wss://")
}

// side is a plant by what the command line calls it.
func (c *comparer) side(name string, seed uint64) (eval.Side, error) {
	side := eval.Side{Name: name, Seed: seed}
	if isURL(name) {
		side.Open = c.remote(name)
		return side, nil
	}
	s, err := c.scenario(name)
	if err != nil {
		return side, err
	}
	o := &planegym.Gym{Data: c.data, Computing: c.Computing}
	side.Open = func(ctx context.Context, d *agent.DDQN, tap func(env.Plant) env.Plant) (env.Vector, error) {
		as, scaled, err := c.observed(s, d)
		if err != nil {
			return nil, err
		}
		o.Wrap = func(p env.Plant, own queues.Normaliser) (env.Plant, queues.Normaliser, error) {
			scaler, err := scaled(p.Columns(), own)
			return tap(p), scaler, err
		}
		return o.Open(ctx, as, min(c.episodes, 32), env.NextStep)
	}
	return side, nil
}

// log is what --recordings names, of the scenario.
func (c *comparer) log(name string) (*eval.Log, error) {
	if c.recordings == "" {
		return nil, nil
	}
	if isURL(name) {
		return nil, usagef("compare: --recordings: the rewards are the scenario's, which is on a server: name it as it is here")
	}
	s, err := c.scenario(name)
	if err != nil {
		return nil, err
	}
	l := &eval.Log{Path: c.recordings, Gamma: c.gamma}
	if l.Fields, l.Switches, l.Sessions, err = table.Read(filepath.Join(c.recordings, "recording.parquet")); err != nil {
		return nil, err
	}
	s.Env.MaxSteps, s.Env.EndOnStall = len(l.Sessions[0].Limits), 0 // the log ends by itself
	l.Open = func(d *agent.DDQN, plant env.Plant, n int) (env.Vector, error) {
		as, scaled, err := c.observed(s, d)
		if err != nil {
			return nil, err
		}
		scaler, err := scaled(plant.Columns(), nil)
		if err != nil {
			return nil, err
		}
		return queues.New(as.Env, plant, n, scaler)
	}
	return l, nil
}

// observed is s with the observations that d was trained with, and what scales
// them; baselines, d nil, observe what is measured.
func (c *comparer) observed(s scenarios.Scenario, d *agent.DDQN) (as scenarios.Scenario, scaled func([]telemetry.Field, queues.Normaliser) (queues.Normaliser, error), err error) {
	if d != nil {
		s.Env.Observation, scaled, err = c.trained(d)
		return s, scaled, err
	}
	s.Env.Observation = queues.Observation{Normalise: "none"}
	return s, func(_ []telemetry.Field, own queues.Normaliser) (queues.Normaliser, error) { return own, nil }, nil
}

// trained is how the plant that an agent was trained in is observed: what is
// shown, and its scaler for the columns of another.
func (c *comparer) trained(d *agent.DDQN) (shown queues.Observation, scaled func([]telemetry.Field, queues.Normaliser) (queues.Normaliser, error), err error) {
	name := c.observe
	if name == "" {
		name = d.Scenario
	}
	s, err := scenarios.Load(name)
	if err != nil {
		return shown, nil, fmt.Errorf("compare: the agent was trained in %q: name the scenario whose observations it is to get by --observe: %w", d.Scenario, err)
	}
	var columns []telemetry.Field
	var scaler queues.Normaliser
	o := planegym.Gym{Data: c.data, Computing: c.Computing, Wrap: func(p env.Plant, own queues.Normaliser) (env.Plant, queues.Normaliser, error) {
		columns, scaler = p.Columns(), own
		return p, own, nil
	}}
	v, err := o.Open(context.Background(), s, 1, env.NextStep)
	if err != nil {
		return shown, nil, fmt.Errorf("scenario %s, which the agent was trained in: %w", name, err)
	}
	_ = v.Close() // nothing was written
	return s.Env.Observation, func(of []telemetry.Field, _ queues.Normaliser) (queues.Normaliser, error) {
		if scaler == nil {
			return nil, nil
		}
		return deploy.ScalerByName(scaler, columns, of)
	}, nil
}

// remote opens environments on a server, ws://HOST:PORT/PATH#SCENARIO.
func (c *comparer) remote(name string) func(context.Context, *agent.DDQN, func(env.Plant) env.Plant) (env.Vector, error) {
	url, scenario, given := strings.Cut(name, "#")
	if !given {
		scenario = defaultScenario
	}
	return func(ctx context.Context, d *agent.DDQN, _ func(env.Plant) env.Plant) (env.Vector, error) {
		set := map[string]any{}
		if d == nil {
			set["observation"] = map[string]any{"normalise": "none"}
		}
		if c.allowed != nil {
			set["limits"], set["initial"] = c.allowed, c.allowed[len(c.allowed)-1]
		}
		if c.steps > 0 {
			set["max_steps"] = c.steps
		}
		token := c.token
		if token == "" {
			token = os.Getenv("PLANEGYM_TOKEN")
		}
		v, err := ws.Dial(ctx, url, ws.DialOptions{Scenario: scenario, NumEnvs: min(c.episodes, 32), Info: true, Token: token, Kwargs: map[string]any{"env": set}})
		switch {
		case errors.Is(err, ws.ErrInvalidConfig) || errors.Is(err, ws.ErrUnknownScenario):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: is planegym serve running there?", err)
		}
		return v, nil
	}
}

func (c *comparer) draw(r *eval.Result) error {
	figure, err := report.Values(r)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := figure.Write(&b, filepath.Ext(c.figure)); err != nil {
		return err
	}
	return atomicfile.Write(c.figure, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err })
}

func printCompare(out io.Writer, r *eval.Result) error {
	fmt.Fprintf(out, "A: %s, seed %d    B: %s, seed %d\n%d episodes of %d steps each, limits %v; mean reward a step ± 95 %%\n", r.A.Name, r.A.Seed, r.B.Name, r.B.Seed, r.Episodes, r.Steps, r.Limits)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	qoe := r.Policies[0].A.LBO != nil && r.Policies[0].B.LBO != nil
	head := "POLICY\tON A\tON B\tB − A\tOF THE SPAN\t"
	if qoe {
		head += "BUFFER A, B (s)\tLEVEL A, B\tSTALLED A, B (s)\t"
	}
	fmt.Fprintln(w, head+"DRIFT (KS, LARGEST)")
	for _, p := range r.Policies {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t", p.Policy, p.A.Reward, p.B.Reward, p.Difference, percent("%+.0f", p.Normalised.Mean))
		if qoe {
			fmt.Fprintf(w, "%.1f, %.1f\t%.2f, %.2f\t%.0f, %.0f\t", p.A.LBO.Mean, p.B.LBO.Mean, p.A.Level.Mean, p.B.Level.Mean, p.A.Stall.Mean, p.B.Stall.Mean)
		}
		if name, ks := p.Largest(r.Columns); name == "" {
			fmt.Fprintln(w, "–")
		} else {
			fmt.Fprintf(w, "%.2f %s\n", ks, name)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	g := r.Agreement
	fmt.Fprintf(out, "\nSpearman's ρ %s, Kendall's τ %s\n", g.Spearman, g.Kendall)
	share := g.Regret.Share
	fmt.Fprintf(out, "Regret@1: B picks %s, A's best is %s: %s reward a step, %s [%s, %s] of the %.2f between A's best and worst\n",
		g.Regret.Chosen, g.Regret.Best, g.Regret.Absolute, percent("%.1f", share.Value), percent("%.1f", share.Low), percent("%.1f", share.High), r.Span)
	if _, err := fmt.Fprintf(out, "Similarity as the tutorial takes it: %s of reward, %s of the frame rate; of A's worst policy and its best: %s, %s\n",
		percent("%.1f", g.Similarity.Reward), percent("%.1f", g.Similarity.FPS), percent("%.1f", g.Similarity.Apart.Reward), percent("%.1f", g.Similarity.Apart.FPS)); err != nil {
		return err
	}
	return printRecordings(out, r)
}

func printRecordings(out io.Writer, r *eval.Result) error {
	log := r.Recordings
	if log == nil {
		return nil
	}
	fmt.Fprintf(out, "\n%s: %d sessions of %d steps, a limit drawn every %d; recorded %s a step; estimates: (1-γ)·V, γ %v\n", log.Path, log.Sessions, log.Steps, log.Block, log.Reward, log.Gamma)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POLICY\tFQE\tOVER RANDOM\tDOUBLY ROBUST\tOVER RANDOM\tSTEPS FOLLOWED")
	for _, p := range log.Policies {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\n", p.Policy, p.FQE, p.AdvantageFQE, p.DR, p.AdvantageDR, p.Followed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "Spearman's ρ with the values on A: FQE %.2f, DR %.2f. Labels shuffled %d times: %s of FQE's intervals contain 0, %s of DR's\n",
		log.FQE, log.DR, log.Null.Shuffles, percent("%.0f", log.Null.FQE), percent("%.0f", log.Null.DR))
	return err
}

// percent is a share in percent, – where there is none.
func percent(format string, n eval.Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf(format+" %%", 100*n)
}
