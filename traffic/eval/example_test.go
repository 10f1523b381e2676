package eval_test

import (
	"fmt"

	"github.com/planegym/planegym/traffic/eval"
)

// Grow a random forest that tells small values from large ones.
func ExampleGrow() {
	var x [][]float32
	var y []int
	for i := range 40 {
		x, y = append(x, []float32{float32(i)}), append(y, i/20)
	}
	f := eval.Grow(x, y, 2, 20, 1)
	fmt.Println("classes of 3 and 36:", f.Classify([]float32{3}), f.Classify([]float32{36}))
	f1, accuracy := f.Score(x, y)
	fmt.Printf("F1 %.2f, accuracy %.2f\n", f1, accuracy)
	// Output:
	// classes of 3 and 36: 0 1
	// F1 1.00, accuracy 1.00
}
