// Package nn computes small neural networks in float32: dense and GRU layers
// forward and backward, losses and optimisers, each as plain loops and as
// fused kernels.
//
// A network (MLP, GRU) is its sizes and parameters; a run (MLPRun, GRURun,
// GRUState) is preallocated memory to apply it once, and a network may have
// several runs under way. A Backend says with which kernels and on how many
// threads. Sequences are time-major, [T,B,F]. Once warm nothing allocates.
//
// Results do not depend on the number of threads: the batch is cut into tiles
// of 32 rows, the tiles into a fixed number of shards, and what shards share
// (gradients of parameters) is summed in shard order. A row's result does not
// depend on the rows beside it. They do depend on the kernel set (Kernels).
//
// A wrong shape is a bug of the caller in this module: it panics with both
// shapes. Input from outside is checked before it gets here.
package nn

import (
	"fmt"
	"slices"
)

// check panics unless a slice of got elements has the shape want.
func check(what string, got int, want ...int) {
	n := 1
	for _, w := range want {
		n *= w
	}
	if got != n {
		panicShape(what, got, slices.Clone(want)) // the clone keeps want off the heap
	}
}

func panicShape(what string, got int, want []int) {
	n := 1
	for _, w := range want {
		n *= w
	}
	panic(fmt.Sprintf("nn: %s: shape [%d], want %v = [%d]", what, got, want, n))
}
