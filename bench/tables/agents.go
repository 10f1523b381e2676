package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// agentTestbeds are those of transferTables on which agents are compared.
var agentTestbeds = []string{"contended", "site", "per-switch"}

// agentsSteps train agents of five seeds in the closed loop of seed 0, which is that of
// the testbed's own table, and on the testbed, and play all of them on the testbed.
func agentsSteps(quick bool) (steps []step) {
	seeds, transitions, episodes := 5, 30000, 8
	if quick {
		seeds, transitions, episodes = 2, 600, 2
	}
	var played []string
	for _, t := range transferTables {
		if !slices.Contains(agentTestbeds, t.scenario) {
			continue
		}
		fit, models := t.closedLoops("../"+t.scenario+"/", 1, quick)
		steps = append(steps, fit...)
		for _, part := range []string{"model", "testbed", "judge"} {
			steps = append(steps, step{out: t.scenario + "/" + part + ".toml", command: fmt.Sprintf("transfer -task %s -part %s -model ../%s -o {out}", t.testbed(), part, models[0])})
		}
		var agents []string
		for _, part := range []string{"model", "testbed"} {
			for seed := 1; seed <= seeds; seed++ {
				out := fmt.Sprintf("%s/%s-%d", t.scenario, part, seed)
				steps = append(steps, step{out: out, command: fmt.Sprintf("planegym train --scenario %s/%s.toml --steps %d --seed %d --kernels avx2 --evaluate 0 --progress none --out {out}", t.scenario, part, transitions, seed)})
				agents = append(agents, out+"/policy.safetensors")
			}
		}
		play := t.scenario + "/play.json"
		steps = append(steps, step{out: play, command: fmt.Sprintf("planegym play %s --scenario %s/judge.toml --episodes %d --seed 1 --baselines=false --policy fixed:32 --policy fixed:128 --json",
			strings.Join(agents, " "), t.scenario, episodes)})
		played = append(played, play)
	}
	return append(steps, step{out: "table.md", command: "transfer -agents " + strings.Join(played, ",")})
}

func renderAgents(dir string, _ bool) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "table.md"))
	return strings.ReplaceAll(string(text), "/judge.toml", ""), err
}
