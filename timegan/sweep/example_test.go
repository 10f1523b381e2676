package sweep_test

import (
	"fmt"

	"github.com/planegym/planegym/timegan/sweep"
)

// List the models of a grid of two windows and two hidden sizes, one model for
// all limits in each. Run trains them.
func ExampleConfig_Members() {
	c := sweep.Config{Windows: []int{16, 32}, Hidden: []int{20, 40}, Modes: []string{sweep.Conditional}}
	members, err := c.Members([]int{32, 64})
	if err != nil {
		panic(err)
	}
	for i, m := range members {
		fmt.Println(i, m.Name, m.Files)
	}
	// Output:
	// 0 conditional-w16-h20-b64-s0 [conditional-w16-h20-b64-s0.safetensors]
	// 1 conditional-w16-h40-b64-s0 [conditional-w16-h40-b64-s0.safetensors]
	// 2 conditional-w32-h20-b64-s0 [conditional-w32-h20-b64-s0.safetensors]
	// 3 conditional-w32-h40-b64-s0 [conditional-w32-h40-b64-s0.safetensors]
}
