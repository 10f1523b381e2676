package selection_test

import (
	"fmt"
	"strings"

	"github.com/planegym/planegym/eval/selection"
)

// Metric M compares medians and quartile ranges, column by column. Shifting
// every value by 3 moves the median by 3 and leaves the range as it is.
func ExampleM() {
	real, err := selection.Read(strings.NewReader("depth\n1\n2\n3\n4\n5\n"))
	if err != nil {
		panic(err)
	}
	synth, err := selection.Read(strings.NewReader("depth\n4\n5\n6\n7\n8\n"))
	if err != nil {
		panic(err)
	}
	fmt.Println("M of a copy:", selection.M(real, real, 0))
	fmt.Println("M of the shifted table:", selection.M(real, synth, 0))
	// Output:
	// M of a copy: 0
	// M of the shifted table: 3
}

// Algorithm 1 picks the best and the worst of three models, under each of two
// queue limits and over both.
func ExampleRank() {
	m := [][]float64{ // model by model: M at limits 32 and 64
		{0.9, 0.2},
		{0.3, 0.4},
		{0.8, 0.7},
	}
	r := selection.Rank(m)
	fmt.Println("best by limit:", r.Best, "over both:", r.BestSum)
	fmt.Println("worst by limit:", r.Worst, "over both:", r.WorstSum)
	// Output:
	// best by limit: [1 0] over both: 1
	// worst by limit: [0 2] over both: 2
}
