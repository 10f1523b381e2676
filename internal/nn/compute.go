package nn

import "github.com/planegym/planegym/compute"

// What engines outside this package share is compute's.
type (
	Activation = compute.Activation
	Backend    = compute.Backend
	GRUConfig  = compute.GRUConfig
	MLPConfig  = compute.MLPConfig
	Params     = compute.Params
	View       = compute.View
)

// The activations of package compute.
const (
	Linear  = compute.Linear
	ReLU    = compute.ReLU
	Sigmoid = compute.Sigmoid
	Tanh    = compute.Tanh
)

// kernelsOf is the kernel set of b.
func kernelsOf(b *Backend) *kernels { return table(b.Kernels) }

// table is the kernel set of that name, which this machine must run.
func table(k compute.Kernels) *kernels {
	switch k {
	case compute.Reference, compute.Go: // Reference computes layers in reference.go
		return &goKernels
	}
	return native(k)
}

// floats is n zeros, the first on a 64-byte boundary.
func floats(n int) []float32 { return compute.Floats(n) }

// maxShards bounds the copies of a gradient that are summed in the end. It is
// part of the order of summation: another value gives other bytes.
const maxShards = 8

// shards is the number of shards for a batch of tiles.
func shards(tiles int) int { return min(tiles, maxShards) }

// tilesOf gives the tiles of shard i of n: [from, to).
func tilesOf(i, n, tiles int) (from, to int) { return i * tiles / n, (i + 1) * tiles / n }

// addShards adds the gradients of n shards to grad, in shard order.
func addShards(b *Backend, grad, shards []float32, n int) {
	for i := range n {
		kernelsOf(b).sum(grad, shardOf(shards, i, len(grad)))
	}
}
