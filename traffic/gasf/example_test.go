package gasf_test

import (
	"fmt"

	"github.com/planegym/planegym/traffic/gasf"
)

// Turn a series into its picture and back.
func Example() {
	f, err := gasf.Of([]float64{1, 2, 4})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d x %d, first row %.2f\n", f.N, f.N, f.Cells[:f.N])
	fmt.Printf("series %.1f\n", f.Series())
	// Output:
	// 3 x 3, first row [-1.00 -0.94 0.00]
	// series [1.0 2.0 4.0]
}
