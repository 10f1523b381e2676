package compute

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// Backend is a kernel set and the threads that run it. It serves one call at a
// time: whatever computes on one Backend belongs to one goroutine.
type Backend struct {
	Kernels Kernels // read only

	start   chan struct{} // one token wakes one worker for one Do; nil with one thread
	workers int
	wg      sync.WaitGroup // workers still in the current Do
	exited  sync.WaitGroup
	job     Job
	n       int32
	next    atomic.Int32

	scratch []float32
}

// Job is work in numbered shards that may run in any order, and at once.
type Job interface{ Shard(i int) }

// NewBackend starts threads-1 workers beside the caller's goroutine; they end
// with Close. Threads below 1 count as 1. It panics where this machine does not
// run k (see Available).
func NewBackend(k Kernels, threads int) *Backend {
	if !k.Runs() {
		panic("compute: this machine does not run the kernels " + k.String())
	}
	b := &Backend{Kernels: k}
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
		b.job.Shard(int(i))
	}
}

// Do runs shards 0 to n-1 of j on the threads and returns when all are done.
func (b *Backend) Do(j Job, n int) {
	if b.workers == 0 || n == 1 {
		for i := range n {
			j.Shard(i)
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

// Scratch is memory for one call: n floats of undefined value, the first on a
// 64-byte boundary. The next call of Scratch takes it back.
func (b *Backend) Scratch(n int) []float32 {
	if len(b.scratch) < n {
		b.scratch = Floats(n)
	}
	return b.scratch[:n]
}

// Floats allocates n zeros, the first on a 64-byte boundary.
func Floats(n int) []float32 {
	s := make([]float32, n+15)
	if n == 0 {
		return nil
	}
	i := int(-uintptr(unsafe.Pointer(&s[0])) & 63 / 4)
	return s[i : i+n : i+n]
}
