package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// transferTable is the table of one testbed: what policies are worth on it, on
// models of it, and on another testbed.
type transferTable struct {
	scenario   string
	wrong      string // the other testbed
	about      string
	structured string // flags of a structured fit; "": none can be fitted
	policies   bool   // whether the values of each policy are printed too
}

var transferTables = []transferTable{
	{"contended", "site", "what policies are worth on contended and on models of it", "--data bundled", true},
	{"site", "contended", "what policies are worth on site and on models of it", "--data hours", true},
	{"per-switch", "contended", "what policies are worth on per-switch and on models of it", "", false},
	{"campus", "contended", "what policies are worth on a scenario of other loads and limits, and on models of it", "--data hours", false},
}

// table is t as one of those that documents hold.
func (t transferTable) table() table {
	return table{t.scenario, "scenarios/TRANSFER.md", t.about, t.steps, t.render}
}

// steps record ten hours, fit three closed loops and a structured simulator, and value
// policies on the testbed, on the models and on the other testbed.
func (t transferTable) steps(quick bool) []step {
	fits, truth, own := 3, 20, 20
	if quick {
		fits, truth, own = 1, 2, 2
	}
	limits := "fixed:32,fixed:64,fixed:128"
	if t.scenario == "campus" {
		limits = "fixed:24,fixed:48,fixed:192"
	}
	scenario := t.testbed()
	steps, models := t.closedLoops("", fits, quick)
	if t.structured != "" {
		steps = append(steps, step{out: "structured.safetensors", command: fmt.Sprintf("planegym fit --mode structured %s --kernels avx2 --progress none -o {out}", t.structured)})
		models = append(models, "structured.safetensors")
	}
	value := func(out, scenario, limits string) step {
		small := ""
		if quick {
			small = " -steps 20 -policies " + limits + ",random,codel:6000"
		}
		return step{out: out, command: fmt.Sprintf("transfer -truth %s -episodes %d%s -o {out}", scenario, truth, small)}
	}
	return append(steps, value("truth.json", scenario, limits), value("wrong.json", t.wrong, "fixed:32,fixed:64,fixed:128"),
		step{out: "values.json", command: fmt.Sprintf("transfer -against truth.json -episodes %d -o {out} %s", own, strings.Join(models, " "))},
		step{out: "tables.md", command: "transfer -tables truth.json -wrong wrong.json values.json"})
}

// testbed is the scenario as commands name it.
func (t transferTable) testbed() string {
	if t.scenario == "campus" {
		return "{root}/bench/transfer/testdata/campus.toml"
	}
	return t.scenario
}

// closedLoops record ten hours, unless they are bundled, and fit so many closed loops
// to them, of seeds 0 and up. The pieces are in folder, which is "" or ends in /.
func (t transferTable) closedLoops(folder string, fits int, quick bool) (steps []step, models []string) {
	sessions, updates, data := 10, "", folder+"hours"
	if quick {
		sessions, updates = 1, " --set updates=20"
	}
	if t.scenario == "contended" {
		data = "bundled-mixed"
	} else {
		steps = append(steps, step{out: data, command: fmt.Sprintf("planegym testbed record --scenario %s --schedule mixed --sessions %d --seed 2001 -o {out}", t.testbed(), sessions)})
	}
	for seed := range fits {
		file := fmt.Sprintf("%sclosed-loop-%d.safetensors", folder, seed)
		steps = append(steps, step{out: file, command: fmt.Sprintf("planegym fit --data %s --kernels avx2 --progress none%s --set seed=%d -o {out}", data, updates, seed)})
		models = append(models, file)
	}
	return steps, models
}

// render puts what the values come to before the values.
func (t transferTable) render(dir string, _ bool) (string, error) {
	name := filepath.Join(dir, "tables.md")
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	policies, sums, ok := strings.Cut(strings.TrimSpace(string(text)), "\n\n")
	if !ok {
		return "", fmt.Errorf("%s: not the two tables that transfer -tables prints", name)
	}
	if !t.policies {
		return sums + "\n", nil
	}
	return sums + "\n\n" + policies + "\n", nil
}
