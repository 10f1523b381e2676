package fidelity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/eval/fidelity"
)

// Two files of synthetic rows against the real ones: the copy wins by any figure.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			panic(err)
		}
		return path
	}
	var rows, shifted strings.Builder
	for i := range 100 {
		fmt.Fprintln(&rows, i%7)
		fmt.Fprintln(&shifted, i%7+3)
	}
	real := write("real_32.csv", "depth\n"+rows.String())
	candidates := []fidelity.Files{
		{Name: "shifted", Paths: []string{write("a_32.csv", "depth\n"+shifted.String())}},
		{Name: "copy", Paths: []string{write("b_32.csv", "depth\n"+rows.String())}},
	}
	sets, err := fidelity.ScoreFiles([]string{real}, candidates, fidelity.Options{})
	if err != nil {
		panic(err)
	}
	r, err := fidelity.Rank(sets, "limit", []int{32}, "W1")
	if err != nil {
		panic(err)
	}
	fmt.Println("best by", r.By, r.Sets[r.BestSum].Name, "worst", r.Sets[r.WorstSum].Name)
	// Output:
	// best by W1 copy worst shifted
}
