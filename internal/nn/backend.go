package nn

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// ErrNoDevice is why what needs an accelerator cannot run: there is none, or
// none that can be used. The error around it says which and why.
var ErrNoDevice = errors.New("no usable NVIDIA GPU")

// Kernels names a set of kernels. Sets agree within rounding, not in bytes.
type Kernels uint8

// The kernel sets. Reference is plain float64 loops, row by row, in the form
// of the equations: the oracle of the others. Go is fused float32 loops, with
// equal bytes on every architecture. AVX2 (with FMA) and AVX512 (F, DQ, VL)
// are assembly for amd64.
const (
	Reference Kernels = 1 + iota
	Go
	AVX2
	AVX512
)

var kernelNames = [...]string{Reference: "reference", Go: "go", AVX2: "avx2", AVX512: "avx512"}

func (k Kernels) String() string {
	if k >= 1 && int(k) < len(kernelNames) {
		return kernelNames[k]
	}
	return fmt.Sprintf("Kernels(%d)", uint8(k))
}

// Available are the kernel sets that this machine runs, the fastest last.
func Available() []Kernels {
	var all []Kernels
	for k := Reference; int(k) < len(kernelNames); k++ {
		if k.table() != nil {
			all = append(all, k)
		}
	}
	return all
}

// ParseKernels is the kernel set of that name; "auto" is the fastest that
// this machine runs. A set that it cannot run is an error.
func ParseKernels(name string) (Kernels, error) {
	all := Available()
	if name == "auto" {
		return all[len(all)-1], nil
	}
	for _, k := range all {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("nn: kernels: %q is none of auto and what this machine runs: %v", name, all)
}

// Backend is a kernel set and the threads that run it. It serves one call at
// a time: runs and optimisers on one Backend belong to one goroutine.
type Backend struct {
	Kernels Kernels // read only
	k       *kernels

	start   chan struct{} // one token wakes one worker for one do; nil with one thread
	workers int
	wg      sync.WaitGroup // workers still in the current do
	exited  sync.WaitGroup
	job     sharder
	n       int32
	next    atomic.Int32

	scratch []float32
	softmax softmaxJob
}

// sharder is work in numbered shards that may run in any order.
type sharder interface{ shard(i int) }

// NewBackend starts threads-1 workers beside the caller's goroutine; they end
// with Close. Threads below 1 count as 1. k must be Available.
func NewBackend(k Kernels, threads int) *Backend {
	table := k.table()
	if table == nil {
		panic("nn: this machine does not run the kernels " + k.String())
	}
	b := &Backend{Kernels: k, k: table}
	if threads > 1 {
		b.workers = threads - 1
		b.start = make(chan struct{}, b.workers)
		for range b.workers {
			b.exited.Go(b.work)
		}
	}
	return b
}

// Threads is the number of threads that share the work.
func (b *Backend) Threads() int { return b.workers + 1 }

// Close ends the workers. A closed Backend still computes, on one thread.
func (b *Backend) Close() {
	if b.start != nil {
		close(b.start)
		b.exited.Wait()
		b.start, b.workers = nil, 0
	}
}

func (b *Backend) work() {
	for range b.start {
		b.drain()
		b.wg.Done()
	}
}

func (b *Backend) drain() {
	for {
		i := b.next.Add(1) - 1
		if i >= b.n {
			return
		}
		b.job.shard(int(i))
	}
}

// do runs shards 0 to n-1 of j and returns when all are done.
func (b *Backend) do(j sharder, n int) {
	if b.workers == 0 || n == 1 {
		for i := range n {
			j.shard(i)
		}
		return
	}
	b.job, b.n = j, int32(n)
	b.next.Store(0)
	wake := min(b.workers, n-1)
	b.wg.Add(wake)
	for range wake {
		b.start <- struct{}{}
	}
	b.drain()
	b.wg.Wait()
	b.job = nil
}

// borrow is memory for one call: n floats, undefined, aligned as in floats.
func (b *Backend) borrow(n int) []float32 {
	if len(b.scratch) < n {
		b.scratch = floats(n)
	}
	return b.scratch[:n]
}

// maxShards bounds the copies of a gradient that are summed in the end. It is
// part of the order of summation: another value gives other bytes.
const maxShards = 8

// shards is the number of shards for a batch of tiles.
func shards(tiles int) int { return min(tiles, maxShards) }

// tilesOf gives the tiles of shard i of n: [from, to).
func tilesOf(i, n, tiles int) (from, to int) { return i * tiles / n, (i + 1) * tiles / n }

// addShards adds the gradients of n shards to grad, in shard order.
func (b *Backend) addShards(grad, shards []float32, n int) {
	for i := range n {
		b.k.sum(grad, shardOf(shards, i, len(grad)))
	}
}
