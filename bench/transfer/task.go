package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/scenarios"
)

// judgeSteps is the length of an episode in which agents are judged: half an hour.
const judgeSteps = 450

var (
	plantKey = regexp.MustCompile(`(?m)^plant\s*=.*\n(model\s*=.*\n)?`)
	stepsKey = regexp.MustCompile(`(?m)^max_steps\s*=.*$`)
	envTable = regexp.MustCompile(`(?ms)^\[env\b.*?(\n\[testbed|\z)`)
)

// writeTask writes the scenario of one part of a comparison of agents, made of the
// scenario of a testbed: agents learn on the testbed ("testbed") or in a model of it
// ("model"), and are judged on the testbed in shorter episodes ("judge"). In all three
// observations are on the model's scale. model is written as it is, so relative to
// out's folder.
func writeTask(scenario, part, model, out string) error {
	text, err := taskText(scenario, part, model)
	if err != nil {
		return err
	}
	return atomicfile.Write(out, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

func taskText(scenario, part, model string) (string, error) {
	source, err := scenarios.Source(scenario)
	if err != nil {
		return "", err
	}
	text, with := string(source), func(plant string) string { return fmt.Sprintf("plant = %q\nmodel = %q\n", plant, model) }
	if len(plantKey.FindAllString(text, -1)) != 1 || len(stepsKey.FindAllString(text, -1)) != 1 {
		return "", fmt.Errorf("%s: expected one line plant = and one line max_steps =", scenario)
	}
	switch part {
	case "model":
		env := strings.TrimSuffix(envTable.FindString(text), "\n[testbed")
		if env == "" {
			return "", fmt.Errorf("%s: no table [env]", scenario)
		}
		return with("synthetic") + "\n" + strings.TrimSpace(env) + "\n", nil
	case "testbed":
		return plantKey.ReplaceAllLiteralString(text, with("testbed")), nil
	case "judge":
		text = stepsKey.ReplaceAllLiteralString(text, fmt.Sprint("max_steps = ", judgeSteps))
		return plantKey.ReplaceAllLiteralString(text, with("testbed")), nil
	}
	return "", fmt.Errorf("-part: %q is not one of model, testbed, judge", part)
}
