package protocol_test

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym/eval/protocol"
)

// Two slow waves, and rows of theirs in random order: what the scores are of a
// generator that knows every row and no time.
func ExampleRun() {
	var rows [][]float64
	for t := range 200 {
		rows = append(rows, []float64{math.Sin(.1 * float64(t)), math.Cos(.07 * float64(t))})
	}
	scores, err := protocol.Run(context.Background(), protocol.Config{Window: 12, Trainings: 1, Judges: 200, Forms: []string{"shuffled"}}, rows, nil)
	if err != nil {
		panic(err)
	}
	s := scores[0]
	fmt.Println(s.Form, s.Correlational.Mean < .05, s.Frechet.Mean > .5)
	// Output: shuffled true true
}
