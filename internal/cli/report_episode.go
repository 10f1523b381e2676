package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/picture"
	"github.com/planegym/planegym/internal/report"
)

// shownSteps is how much of an episode a report draws: 10 minutes of video in
// steps of 4 s.
const shownSteps = 150

// episodeSection draws the first steps of an episode of each agent in the
// scenario that it was trained in, all from one seed. Agents whose scenario
// cannot be opened here, or has no queues, are named in the text instead.
func episodeSection(ctx context.Context, names, files []string) ([]report.Section, error) {
	k, err := new(computing).check()
	if err != nil {
		return nil, err
	}
	be := compute.NewBackend(k, 1)
	defer be.Close()
	s := report.Section{Title: "An episode", Text: fmt.Sprintf("The first %d steps, in the scenario that the agent was trained in.", shownSteps)}
	for i, file := range files {
		d, err := loadAgent(file, be)
		if err != nil {
			return nil, fmt.Errorf("report: --agent: %w", err)
		}
		svg, err := episodeOf(ctx, names[i], d)
		switch {
		case errors.Is(err, picture.ErrNoPlayer): // CartPole
		case err != nil:
			s.Text += fmt.Sprintf(" Not drawn: %s: %v.", names[i], err)
		default:
			s.Figures = append(s.Figures, report.Drawing(fmt.Sprintf("episode-%d", i+1), names[i], svg, picture.FitCSS))
		}
	}
	if len(s.Figures) == 0 {
		return nil, nil
	}
	return []report.Section{s}, nil
}

func episodeOf(ctx context.Context, name string, d *agent.DDQN) (string, error) {
	s, err := loadScenario(d.Scenario)
	if err != nil {
		return "", err
	}
	v, err := (&planegym.Gym{Data: os.Getenv("PLANEGYM_DATA")}).Open(ctx, s, 1, env.NextStep)
	if err != nil {
		return "", err
	}
	defer v.Close()
	if err := d.Fits(episodes.SpacesOf(v.Spec())); err != nil {
		return "", err
	}
	seed, rows := eval.HeldOut(0, 1), []int{0}
	d.Begin(rows, seed)
	act := func(obs []float32, actions []int32) { d.Act(rows, obs, actions) }
	return picture.FittingEpisode(ctx, v, act, seed[0], shownSteps, d.Scenario+": "+name)
}

// policyIn names the agent's file at path: in a folder that train wrote, or the
// path itself. It is "" where there is none.
func policyIn(path string) string {
	if isAgent(path) {
		return path
	}
	file := filepath.Join(path, "policy.safetensors")
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}
