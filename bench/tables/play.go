package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/planegym/planegym/eval"
)

// playSteps play every policy in the episodes of three seeds.
func playSteps(quick bool) (steps []step) {
	episodes := 20
	if quick {
		episodes = 2
	}
	for seed := range 3 {
		steps = append(steps, step{out: fmt.Sprintf("play-%d.json", seed), command: fmt.Sprintf("planegym play bundled --policy threshold:0.55 --episodes %d --seed %d --json", episodes, seed)})
	}
	return steps
}

// renderPlay pools the episodes: policies, the best first.
func renderPlay(dir string, quick bool) (string, error) {
	returns := map[string][]float64{}
	var names []string
	for _, s := range playSteps(quick) {
		var r struct {
			Policies []struct {
				Policy  string
				Returns []float64
			}
		}
		if err := readJSON(filepath.Join(dir, s.out), &r); err != nil {
			return "", err
		}
		for _, p := range r.Policies {
			if returns[p.Policy] == nil {
				names = append(names, p.Policy)
			}
			returns[p.Policy] = append(returns[p.Policy], p.Returns...)
		}
	}
	mean := func(name string) eval.Estimate { return eval.EstimateOf(returns[name]) }
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(mean(b).Mean, mean(a).Mean) })
	if len(names) == 0 {
		return "", fmt.Errorf("%s: no policy was played", dir)
	}
	g := newGrid("policy", fmt.Sprintf("return of an episode, %d episodes, 95 %%", mean(names[0]).N))
	for _, name := range names {
		e := mean(name)
		g.row(called(name), fmt.Sprintf("%.0f ± %.0f", e.Mean, e.CI))
	}
	return g.String(), nil
}

// called is how a reader knows a policy.
func called(name string) string {
	var x string
	if n, _ := fmt.Sscanf(name, "fixed:%s", &x); n == 1 {
		return "limit " + x
	}
	switch name {
	case "bundled":
		return "bundled agent"
	case "threshold:0.55":
		return "best rule found, on delay (`threshold:0.55`)"
	case "threshold":
		return "rule on delay (`threshold`)"
	case "codel":
		return "rule on delay (`codel`)"
	case "alternate":
		return "limits in turn"
	}
	return name
}

func readJSON(path string, to any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%s: %w: remove it to make it again", path, err)
	}
	return nil
}
