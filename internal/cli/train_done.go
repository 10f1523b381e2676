package cli

import (
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/onnx"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/standings"
)

// show makes the training's progress a bar and events; finish ends it.
func (t *training) show(cmd *cobra.Command, total int64, unit string) (finish func() error) {
	events, bar := newEvents(cmd), newProgress(cmd, total, unit, "train")
	t.run.Report = func(p agent.Progress) error {
		if !math.IsNaN(p.Return) {
			bar.Describe(fmt.Sprintf("train, return %.1f", p.Return))
		} else if !math.IsNaN(p.Reward) {
			bar.Describe(fmt.Sprintf("train, reward %.3f a step", p.Reward))
		}
		if err := bar.Set64(min(p.Steps, bar.GetMax64())); err != nil { // the last step of all rows may take it past the end
			return err
		}
		events.emit("", p.Steps >= p.Total, map[string]any{
			"done": p.Steps, "total": p.Total, "updates": p.Updates, "episodes": p.Episodes,
			"epsilon": p.Epsilon, "return": p.Return, "reward": p.Reward, "loss": p.Loss, "target": p.Target,
		})
		return nil
	}
	return bar.Finish
}

// stopped says what is left of a training that err ended.
func (t *training) stopped(err error) error {
	if t.run.Saved < 0 {
		return fmt.Errorf("train: %w; no checkpoint had been written yet: begin again", err)
	}
	hint := ""
	if t.where.url != "" {
		hint = " --url " + t.where.url
	}
	return fmt.Errorf("train: %w; the checkpoint at transition %d is kept: planegym train --resume %s%s goes on from there", err, t.run.Saved, t.out, hint)
}

// finish exports and evaluates d, and says what came out.
func (t *training) finish(cmd *cobra.Command, d *agent.DDQN, took time.Duration, live bool) error {
	if t.onnx != "" {
		if err := onnx.Export(d, t.onnx); err != nil {
			return err
		}
	}
	out := map[string]any{
		"scenario": t.where.scenario, "steps": t.run.Last.Steps, "updates": t.run.Last.Updates, "episodes": t.run.Last.Episodes,
		"seconds": took.Seconds(), "policy": t.run.Policy(), "agent": d.Hash(), "kernels": t.be.Kernels.String(),
	}
	if t.onnx != "" {
		out["onnx"] = t.onnx
	}
	if !math.IsNaN(t.run.Last.Return) {
		out["return"] = t.run.Last.Return
	}
	if !asJSON(cmd) {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d updates in %.1f s, agent %s; planegym play %[1]s evaluates it\n", t.run.Policy(), t.run.Last.Updates, took.Seconds(), d.Hash())
	}
	if t.evaluate > 0 && !live { // an hour of a live network is for play to ask for
		spec, results, err := t.evaluation(cmd, d)
		if err != nil {
			return fmt.Errorf("train: the agent is trained and kept; evaluating it: %w", err)
		}
		if !asJSON(cmd) {
			return printStandings(cmd, t.where.scenario, spec, results)
		}
		out["evaluation"] = results
	}
	if asJSON(cmd) {
		if err := writeJSON(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	}
	if live && t.run.Last.Updates == 0 { // an hour of a live network for nothing
		return reportedError{fmt.Errorf("train: 0 updates in %d transitions: the policy is as untrained as it began; the first update comes after %d transitions (--steps)", t.run.Last.Steps, d.Config.Minimum)}
	}
	return nil
}

func (t *training) evaluation(cmd *cobra.Command, d *agent.DDQN) (spec env.Spec, rows []standings.Row, err error) {
	v, err := t.where.open(cmd.Context(), min(t.where.envs, t.evaluate), true)
	if err != nil {
		return spec, nil, err
	}
	defer v.Close()
	spec = v.Spec()
	if err := d.Fits(episodes.SpacesOf(spec)); err != nil {
		return spec, nil, err
	}
	entries := standings.WithBaselines([]standings.Entry{{Name: t.run.Policy(), Policy: d, Hash: d.Hash()}}, spec)
	if !asJSON(cmd) {
		fmt.Fprintf(cmd.ErrOrStderr(), "evaluating %d policies in %d episodes each; --evaluate 0 skips\n", len(entries), t.evaluate)
	}
	bar := newProgress(cmd, int64(len(entries)), "policies", "evaluate")
	if rows, err = standings.Play(cmd.Context(), v, entries, eval.HeldOut(t.seed, t.evaluate), nil, func() error { return bar.Add(1) }); err == nil {
		err = bar.Finish()
	}
	return spec, rows, err
}
