package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/eval/standings"
	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/picture"
)

func (p *player) check() error {
	if p.episodes < 1 {
		return usagef("play: --episodes: %d is less than 1", p.episodes)
	}
	if p.pictureSteps < 1 {
		return usagef("play: --picture-steps: %d is less than 1", p.pictureSteps)
	}
	if err := checkOutput("play: --record", p.record, ".parquet"); err != nil {
		return err
	}
	return checkOutput("play: --picture", p.picture, ".svg")
}

func (p *player) run(cmd *cobra.Command, files []string) error {
	if err := p.check(); err != nil {
		return err
	}
	k, err := p.computing.check()
	if err != nil {
		return err
	}
	be := compute.NewBackend(k, p.Threads)
	defer be.Close()
	if len(files) == 0 && len(p.policies) == 0 && p.where.scenario == "" && p.where.url == "" {
		files = []string{bundledAgent}
	}
	agents := make([]*agent.DDQN, len(files))
	trained := "" // the scenario of the first
	for i, file := range files {
		if agents[i], err = loadAgent(file, be); err != nil {
			return err
		}
		trained = cmp.Or(trained, agents[i].Scenario)
	}
	if err := p.where.check(cmd, trained); err != nil {
		return err
	}
	v, err := p.where.open(cmd.Context(), min(p.where.envs, p.episodes), true)
	if err != nil {
		return err
	}
	defer v.Close()
	entries, err := p.entries(v.Spec(), files, agents)
	if err != nil {
		return err
	}
	if p.picture != "" {
		if err := p.animate(cmd.Context(), v, entries[0]); err != nil {
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
	rows, err := standings.Play(cmd.Context(), v, entries, eval.HeldOut(p.seed, p.episodes), to, func() error { return bar.Add(1) })
	if err == nil {
		err = bar.Finish()
	}
	if to != nil { // an interruption keeps what was played
		if e := to.Close(); err == nil {
			err = e
		}
	}
	if len(rows) > 0 && (err == nil || !asJSON(cmd)) {
		err = errors.Join(printStandings(cmd, p.where.scenario, v.Spec(), rows), err)
	}
	return err
}

// entries are the agents, the policies that were asked for, and the baselines. Agents
// and policies that were asked for are recorded; where there are none, all are.
func (p *player) entries(spec env.Spec, files []string, agents []*agent.DDQN) ([]standings.Entry, error) {
	var entries []standings.Entry
	for i, d := range agents {
		if err := d.Fits(episodes.SpacesOf(spec)); err != nil {
			return nil, fmt.Errorf("%s: %w", files[i], err)
		}
		entries = append(entries, standings.Entry{Name: files[i], Policy: d, Hash: d.Hash(), Record: true})
	}
	for _, name := range p.policies {
		b, err := baseline.New(name, spec)
		if err != nil {
			return nil, usagef("play: --policy: %w", err)
		}
		entries = append(entries, standings.Entry{Name: name, Policy: b, Record: true})
	}
	asked := len(entries)
	if p.baselines {
		entries = standings.WithBaselines(entries, spec)
	}
	if len(entries) == 0 {
		return nil, usagef("play: no policy: name a file that train wrote, or a --policy")
	}
	for i := range entries {
		entries[i].Record = asked == 0 || i < asked
	}
	return entries, nil
}

// animate draws e's first evaluation episode.
func (p *player) animate(ctx context.Context, v env.Vector, e standings.Entry) error {
	seed, rows := eval.HeldOut(p.seed, 1), []int{0}
	e.Policy.Begin(rows, seed)
	act := func(obs []float32, actions []int32) { e.Policy.Act(rows, obs, actions) }
	title := fmt.Sprintf("%s: %s", p.where.scenario, strings.TrimSuffix(filepath.Base(e.Name), ".safetensors"))
	svg, err := picture.Episode(ctx, v, act, seed[0], p.pictureSteps, title)
	if err != nil {
		return err
	}
	return atomicfile.Write(p.picture, func(w io.Writer) error {
		_, err := io.WriteString(w, svg)
		return err
	})
}
