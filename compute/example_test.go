package compute_test

import (
	"fmt"

	"github.com/planegym/planegym/compute"
)

// squares squares one number per shard.
type squares []int

func (s squares) Shard(i int) { s[i] *= s[i] }

// Share work between two threads. The result does not depend on their number.
func ExampleBackend_Do() {
	be := compute.NewBackend(compute.Go, 2) // Go has equal bytes on every machine
	defer be.Close()
	x := squares{1, 2, 3, 4}
	be.Do(x, len(x))
	fmt.Println(be.Kernels, be.Threads(), x)
	// Output: go 2 [1 4 9 16]
}

// A kernel set is chosen by name; an unknown name is an error.
func ExampleParseKernels() {
	k, err := compute.ParseKernels("go")
	fmt.Println(k, k.Runs(), err)
	_, err = compute.ParseKernels("sse")
	fmt.Println(err != nil)
	// Output:
	// go true <nil>
	// true
}
