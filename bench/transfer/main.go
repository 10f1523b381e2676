// Command transfer measures how far a simulator can replace the emulated testbed:
// it values policies on the testbed once, then on each model named, and prints
// both as the tables of scenarios/TRANSFER.md.
//
//	go run ./bench/transfer -truth contended -o truth.json
//	go run ./bench/transfer -against truth.json -o values.json model.safetensors ...
//	go run ./bench/transfer -tables truth.json [-wrong other-truth.json] values.json ...
//	go run ./bench/transfer -task site -part judge -model site.safetensors -o judge.toml
//	go run ./bench/transfer -agents play.json[,other.json] -groups model,testbed
//	go run ./bench/transfer -against truth.json -metrics mixed/recording.parquet model.safetensors ...
//	go run ./bench/transfer -branches pairs/branches.parquet model.safetensors ...
//
// The first two write as they go, go on where they were stopped, and add
// episodes where -episodes asks for more. The third and the fifth only read files, the
// fifth what planegym play --json printed of agents trained in a model and on the testbed;
// the fourth writes the scenarios in which these learn (-part model, -part testbed) and
// are judged. The sixth scores models by recordings too, and prints which of the scores
// say what they are worth. The last compares counterfactual pairs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	truth := flag.String("truth", "", "scenario to value on the testbed: bundled, or a .toml file")
	against := flag.String("against", "", "file of values on the testbed: value the models named on its scenario's task, and compare")
	tables := flag.String("tables", "", "file of values on the testbed: print it and the files of values named as tables")
	wrong := flag.String("wrong", "", "with -tables or -against: values on another scenario's testbed, as a model of this one")
	agents := flag.String("agents", "", "what planegym play --json printed of two groups of agents, files separated by commas: compare them")
	taskOf := flag.String("task", "", "scenario of a testbed: write the one in which agents of a comparison learn or are judged")
	part := flag.String("part", "model", "of -task: model, testbed or judge")
	model := flag.String("model", "", "of -task: the model, relative to the file that is written")
	groups := flag.String("groups", "model,testbed", "of -agents: a part of the file names of either group")
	episodes := flag.Int("episodes", 20, "episodes of a policy")
	steps := flag.Int("steps", 450, "steps of an episode")
	seed := flag.Uint64("seed", 1, "picks the episodes")
	out := flag.String("o", "", "file of values to write")
	names := flag.String("policies", "", "policies, separated by commas; default: all families, or with -against those of the truth")
	tried := flag.String("branches", "", "branches.parquet of testbed record --branch-s: compare what the models named make of a change of limit from the same state")
	figures := flag.String("metrics", "", "recording.parquet of sessions: score the models' rollouts under their limits too")
	flag.Parse()
	var policies []string
	if *names != "" {
		policies = strings.Split(*names, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *tried != "":
		err = printBranches(os.Stdout, *tried, flag.Args())
	case *agents != "":
		err = printAgents(os.Stdout, strings.Split(*agents, ","), *groups)
	case *taskOf != "" && *out != "":
		err = writeTask(*taskOf, *part, *model, *out)
	case *tables != "":
		err = printTables(os.Stdout, *tables, *wrong, flag.Args())
	case *against != "":
		err = compareModels(ctx, comparison{
			truth: *against, wrong: *wrong, recordings: *figures, out: *out, policies: policies, episodes: *episodes, seed: *seed, models: flag.Args(),
		})
	case *truth != "" && *out != "":
		err = valueTruth(ctx, Values{Scenario: *truth, Seed: *seed, Episodes: *episodes, Steps: *steps}, policies, *out)
	default:
		err = errors.New("one of -truth or -task with -o, -against, -tables or -agents says what to do")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}
