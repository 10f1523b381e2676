package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/eval"
)

// printTables prints the values of models beside the truth, policy by policy,
// and what they come to, as Markdown. A file of values on the testbed itself may
// be among files: a floor.
func printTables(w io.Writer, truthFile, wrong string, files []string) error {
	truth, err := read(truthFile)
	if err != nil {
		return err
	}
	var names []string
	var models []Values
	for _, f := range files {
		all, err := readAs[[]Values](f)
		if err != nil {
			return err
		}
		for _, v := range all {
			if v.Scenario != truth.Scenario {
				return fmt.Errorf("%s: %s is valued on %s, the truth is of %s", f, v.Model, v.Scenario, truth.Scenario)
			}
			names, models = append(names, strings.TrimSuffix(filepath.Base(v.Model), ".safetensors")), append(models, v)
		}
	}
	if wrong != "" {
		other, err := read(wrong)
		if err != nil {
			return err
		}
		names, models = append(names, "testbed of "+other.Scenario), append(models, other)
	}
	fmt.Fprintf(w, "| policy | testbed | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", 1+len(models)))
	for _, p := range truth.Policies {
		if len(p.PerSeed) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s | %s |", p.Policy, worth(p.PerSeed))
		for _, m := range models {
			cell := ""
			for _, o := range m.Policies {
				if o.Policy == p.Policy {
					cell = fmt.Sprintf("%.2f", mean(o.PerSeed))
				}
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n| | ρ (95 %% over episodes) | regret@1 | rms | bias |")
	for _, k := range kinds {
		fmt.Fprintf(w, " %s, bias |", k.name)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", 4+len(kinds)))
	for i, m := range models {
		rows := pairs(truth, m)
		a, b := valuesOf(rows)
		c := compare(a, b)
		lo, hi := interval(rows, eval.Spearman)
		fmt.Fprintf(w, "| %s | %.3f (%.3f … %.3f) | %.1f %% | %.3f | %+.2f |", names[i], c.rho, lo, hi, 100*c.regret, c.rms, c.bias)
		for _, k := range kinds {
			if some := ofKind(rows, k.name); some != nil {
				fmt.Fprintf(w, " %+.2f |", compare(valuesOf(some)).bias)
			} else {
				fmt.Fprint(w, " |")
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "| testbed, half of the episodes against half | %.3f | | | |%s\n", ceiling(pairs(truth, truth)), strings.Repeat(" |", len(kinds)))
	return nil
}

// worth is a value with its 95 % interval over episodes.
func worth(x []float64) string {
	e := eval.EstimateOf(x)
	return fmt.Sprintf("%.2f ± %.2f", e.Mean, e.CI)
}
