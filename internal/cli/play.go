package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/picture"
)

func newPlay() *cobra.Command {
	var p player
	cmd := &cobra.Command{
		Use:   "play [AGENT...]",
		Short: "Evaluate agents and baselines, and record what they do",
		Long: `play lets trained agents (files that train wrote) act greedily in evaluation
episodes, the baselines beside them in the same ones, and prints each one's
return with a 95 % confidence interval over episodes, how much that is over the
first one's (paired by episode), what a viewer saw, and how often each action
was taken. No training uses the seeds of these episodes.

` + policyHelp() + `

--record keeps the episodes of the agents and of the policies that --policy
names as Parquet, for train --offline. --picture draws the first policy's first
episode as an animated SVG: queues against their limits, the player, the reward.`,
		Example: `  planegym play
  planegym play run/policy.safetensors
  planegym play --scenario cartpole --policy random --episodes 200 --record episodes/random.parquet
  planegym play run/policy.safetensors --picture episode.svg
  planegym play run/policy.safetensors --url ws://127.0.0.1:7070/v1/ws --json`,
		RunE: func(cmd *cobra.Command, files []string) error { return p.run(cmd, files) },
	}
	p.where.add(cmd, 16)
	f := cmd.Flags()
	f.StringArrayVar(&p.policies, "policy", nil, "a baseline to play; repeat for more")
	f.BoolVar(&p.baselines, "baselines", true, "play the baselines that the scenario has")
	f.IntVar(&p.episodes, "episodes", 20, "evaluation episodes")
	f.Uint64Var(&p.seed, "seed", 0, "picks the evaluation episodes")
	f.StringVar(&p.record, "record", "", "file to record the episodes to, .parquet")
	f.StringVar(&p.picture, "picture", "", "file to draw the first policy's first episode to, .svg, animated")
	f.IntVar(&p.pictureSteps, "picture-steps", 150, "steps that --picture shows")
	p.computing.flags(cmd)
	return cmd
}

type player struct {
	computing
	where     where
	policies  []string
	baselines bool
	episodes  int
	seed      uint64
	record    string
	picture   string
	// pictureSteps is how many steps the picture shows.
	pictureSteps int
}

// entry is a policy to evaluate.
type entry struct {
	name   string
	policy agent.Policy
	hash   string // of an agent
	record bool
}

func (p *player) run(cmd *cobra.Command, files []string) error {
	if p.episodes < 1 {
		return usagef("play: --episodes: %d is less than 1", p.episodes)
	}
	if p.pictureSteps < 1 {
		return usagef("play: --picture-steps: %d is less than 1", p.pictureSteps)
	}
	if err := checkOutput("play: --record", p.record, ".parquet"); err != nil {
		return err
	}
	if err := checkOutput("play: --picture", p.picture, ".svg"); err != nil {
		return err
	}
	k, err := p.computing.check()
	if err != nil {
		return err
	}
	be := compute.NewBackend(k, p.Threads)
	defer be.Close()
	var entries []entry
	trained := ""
	var agents []*agent.DDQN
	if len(files) == 0 && len(p.policies) == 0 && p.where.scenario == "" && p.where.url == "" {
		files = []string{bundledAgent}
	}
	for _, file := range files {
		d, err := loadAgent(file, be)
		if err != nil {
			return err
		}
		if trained == "" {
			trained = d.Scenario
		}
		agents = append(agents, d)
		entries = append(entries, entry{file, d, d.Hash(), true})
	}
	if err := p.where.check(cmd, trained); err != nil {
		return err
	}
	v, err := p.where.open(cmd.Context(), min(p.where.envs, p.episodes), true)
	if err != nil {
		return err
	}
	defer v.Close()
	for i, d := range agents {
		if err := d.Fits(episodes.SpacesOf(v.Spec())); err != nil {
			return fmt.Errorf("%s: %w", files[i], err)
		}
	}
	for _, name := range p.policies {
		b, err := baseline.New(name, v.Spec())
		if err != nil {
			return usageError{fmt.Errorf("play: --policy: %w", err)}
		}
		entries = append(entries, entry{name: name, policy: b, record: true})
	}
	if p.baselines {
		entries = addBaselines(entries, v.Spec())
	}
	if len(entries) == 0 {
		return usagef("play: no policy: name a file that train wrote, or a --policy")
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.record }) {
		for i := range entries {
			entries[i].record = true
		}
	}
	if p.picture != "" {
		if err := p.draw(cmd.Context(), v, entries[0]); err != nil {
			return fmt.Errorf("play: --picture: %w", err)
		}
	}
	var to *episodes.Writer
	if p.record != "" {
		hash := ""
		if m, ok := v.(interface{ ModelHash() string }); ok {
			hash = m.ModelHash()
		}
		if to, err = episodes.Create(p.record, episodes.SpacesOf(v.Spec()), p.where.scenario, hash); err != nil {
			return err
		}
	}
	bar := newProgress(cmd, int64(len(entries)), "policies", "play")
	results, err := evaluateAll(cmd.Context(), v, entries, eval.HeldOut(p.seed, p.episodes), to, bar)
	if to != nil { // an interruption keeps what was played
		if e := to.Close(); err == nil {
			err = e
		}
	}
	if len(results) > 0 && (err == nil || !asJSON(cmd)) {
		err = errors.Join(printResults(cmd, p.where.scenario, v.Spec(), results), err)
	}
	return err
}

// draw plays e's first evaluation episode once more and draws it.
func (p *player) draw(ctx context.Context, v env.Vector, e entry) error {
	svg, err := animate(ctx, v, p.where.scenario, e, p.seed, p.pictureSteps)
	if err != nil {
		return err
	}
	return atomicfile.Write(p.picture, func(w io.Writer) error {
		_, err := io.WriteString(w, svg)
		return err
	})
}

// animate plays the first steps of e's first evaluation episode in v and draws
// them, a moment a step, as one SVG.
func animate(ctx context.Context, v env.Vector, scenario string, e entry, seed uint64, steps int) (string, error) {
	seeds := eval.HeldOut(seed, 1)
	rows := []int{0}
	e.policy.Begin(rows, seeds)
	act := func(obs []float32, actions []int32) { e.policy.Act(rows, obs, actions) }
	moments, err := picture.Record(ctx, v, act, seeds[0], steps)
	if err != nil {
		return "", err
	}
	title := fmt.Sprintf("%s: %s", scenario, strings.TrimSuffix(filepath.Base(e.name), ".safetensors"))
	scale := picture.ScaleOf(title, moments)
	for _, l := range v.Spec().Limits {
		scale.MaxLimit = max(scale.MaxLimit, float64(l))
	}
	return scale.Animation(moments, .2), nil
}

// addBaselines adds those that work in spec and are not there yet.
func addBaselines(entries []entry, spec env.Spec) []entry {
	names := []string{}
	for i := range slices.Min(spec.Action) {
		if spec.Limits != nil {
			i = int(spec.Limits[i])
		}
		names = append(names, fmt.Sprint("fixed:", i))
	}
	for _, name := range append(names, "alternate", "random", "threshold", "codel") {
		if slices.ContainsFunc(entries, func(e entry) bool { return e.name == name }) {
			continue
		}
		if b, err := baseline.New(name, spec); err == nil {
			entries = append(entries, entry{name: name, policy: b})
		}
	}
	return entries
}

// result is how a policy did, as JSON.
type result struct {
	Policy  string      `json:"policy"`
	Agent   string      `json:"agent,omitempty"` // digest of its weights
	Return  estimate    `json:"return"`
	Over    *estimate   `json:"over_first,omitempty"` // this return less the first policy's, paired by episode
	Length  estimate    `json:"length"`               // steps
	QoE     *qoe        `json:"qoe,omitempty"`
	Shares  [][]float64 `json:"action_shares"` // [switch][action]
	Returns []float64   `json:"returns"`
}

type qoe struct {
	LBO    estimate `json:"lbo_s"`
	Level  estimate `json:"level"`
	Stalls estimate `json:"stall_s"`
}

// estimate is eval.Estimate as JSON, which has no NaN.
type estimate struct {
	Mean float64  `json:"mean"`
	CI   *float64 `json:"ci95"` // null for a single episode
}

func estimateOf(e eval.Estimate) estimate {
	if math.IsNaN(e.CI) {
		return estimate{Mean: e.Mean}
	}
	return estimate{e.Mean, &e.CI}
}

func (e estimate) String() string {
	if e.CI == nil {
		return fmt.Sprintf("%.2f", e.Mean)
	}
	return fmt.Sprintf("%.2f ± %.2f", e.Mean, *e.CI)
}

// evaluateAll plays every policy in the same episodes; with an error come the
// results of those that were played.
func evaluateAll(ctx context.Context, v env.Vector, entries []entry, seeds []uint64, to *episodes.Writer, bar *progressbar.ProgressBar) ([]result, error) {
	var results []result
	var first *eval.Evaluation
	for _, e := range entries {
		record := to
		if !e.record {
			record = nil
		}
		got, err := eval.Evaluate(ctx, v, e.policy, seeds, record)
		if err != nil {
			return results, fmt.Errorf("%s: %w", e.name, err)
		}
		r := result{Policy: e.name, Agent: e.hash, Return: estimateOf(got.Return), Length: estimateOf(got.Length), Shares: got.Shares, Returns: got.Returns}
		if first == nil {
			first = got
		} else {
			over := estimateOf(got.Over(first))
			r.Over = &over
		}
		if q := got.QoE; q != nil {
			r.QoE = &qoe{estimateOf(q.LBO), estimateOf(q.Level), estimateOf(q.Stalls)}
		}
		results = append(results, r)
		if err := bar.Add(1); err != nil {
			return results, err
		}
	}
	return results, bar.Finish()
}

func printResults(cmd *cobra.Command, scenario string, spec env.Spec, results []result) error {
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"scenario": scenario, "episodes": len(results[0].Returns), "policies": results})
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d episodes each, mean ± 95 %% confidence\n", scenario, len(results[0].Returns))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "POLICY\tRETURN\tOVER THE FIRST\tSTEPS\t"
	if results[0].QoE != nil {
		head += "BUFFER (s)\tLEVEL\tSTALLED (s)\t"
	}
	fmt.Fprintln(w, head+"ACTIONS")
	for _, r := range results {
		over := "-"
		if r.Over != nil {
			over = r.Over.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t", r.Policy, r.Return, over, r.Length.Mean)
		if q := r.QoE; q != nil {
			fmt.Fprintf(w, "%s\t%s\t%s\t", q.LBO, q.Level, q.Stalls)
		}
		fmt.Fprintln(w, shares(spec, r.Shares))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range notes(results) {
		fmt.Fprintln(out, n)
	}
	return nil
}

// notes says what a reader of the table may overlook: a rule that equals a
// constant, and policies that all earn the same.
func notes(results []result) []string {
	var out []string
	for _, r := range results {
		if strings.HasPrefix(r.Policy, "fixed:") {
			continue
		}
		for _, f := range results {
			if strings.HasPrefix(f.Policy, "fixed:") && slices.Equal(r.Returns, f.Returns) {
				out = append(out, fmt.Sprintf("%s earns what %s earns, episode by episode: here it always picks that limit.", r.Policy, f.Policy))
			}
		}
	}
	if len(results) > 1 && len(results[0].Returns) > 1 && sameWithinNoise(results) {
		out = append(out, "All policies earn the same within noise: no action matters here, and an agent has nothing to learn.")
	}
	return out
}

// sameWithinNoise reports whether no policy's return differs from the best
// one's, paired by episode, by more than the 95 % interval of the difference.
func sameWithinNoise(results []result) bool {
	best := results[0]
	for _, r := range results {
		if r.Return.Mean > best.Return.Mean {
			best = r
		}
	}
	for _, r := range results {
		d := (&eval.Evaluation{Returns: best.Returns}).Over(&eval.Evaluation{Returns: r.Returns})
		if d.Mean > d.CI { // NaN for a single episode: not known
			return false
		}
	}
	return true
}

// shares tells how often each action was taken, switch by switch.
func shares(spec env.Spec, all [][]float64) string {
	var switches []string
	for _, s := range all {
		var actions []string
		for a, share := range s {
			name := fmt.Sprint(a)
			if spec.Limits != nil {
				name = fmt.Sprint(spec.Limits[a])
			}
			actions = append(actions, fmt.Sprintf("%s: %.0f %%", name, 100*share))
		}
		switches = append(switches, strings.Join(actions, ", "))
	}
	return strings.Join(switches, " | ")
}
