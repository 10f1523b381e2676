package cuda

import (
	"fmt"
	"unsafe"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/kernels"
)

// functions are the kernels, by their names in kernels.cu.
var functions = [...]string{"prepare", "forward", "backward", "products", "gradient", "adam", "stats", "losses", "spread", "finish", "noise",
	"gather", "classes", "scatter", "norm", "adamw", "weights"}

const (
	prepare = iota
	forward
	backward
	products
	gradient
	adam
	stats
	losses
	spread
	finish
	noise
	gather
	classes
	scatter
	norm
	adamw
	weights
)

// device is an open device with the kernels loaded.
type device struct {
	driver.Driver
	info   driver.Info
	models int // that compute beside each other there
	module driver.Module
	f      [len(functions)]driver.Function
	stream driver.Stream
}

// openDevice opens device number ordinal for one of so many models. What it had got is given back where
// it fails.
func openDevice(d driver.Driver, ordinal, models int) (_ *device, err error) {
	dev := &device{Driver: d, models: models}
	if dev.info, err = d.Open(ordinal); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = dev.close() // err says what failed first
		}
	}()
	if dev.info.Major < 8 {
		return nil, fmt.Errorf("cuda: device %d, %s, has compute capability %d.%d: 8.0 is the least", ordinal, dev.info.Name, dev.info.Major, dev.info.Minor)
	}
	if dev.module, err = d.Load(kernels.PTX); err != nil {
		return nil, err
	}
	for i, name := range functions {
		if dev.f[i], err = d.Function(dev.module, name); err != nil {
			return nil, err
		}
	}
	if dev.stream, err = d.NewStream(); err != nil {
		return nil, err
	}
	return dev, nil
}

func (d *device) close() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if d.stream != 0 {
		keep(d.DestroyStream(d.stream))
	}
	if d.module != 0 {
		keep(d.Unload(d.module))
	}
	keep(d.Close())
	return first
}

// bytesOf is the memory of a slice's elements, in the layout that the kernels
// share.
func bytesOf[T any](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}

// arena is device memory that is freed together. Its methods do nothing once
// one has failed; err says how.
type arena struct {
	*device
	all []driver.Ptr
	err error
}

// alloc gives zeroed memory for n values of size bytes; at least one, so that
// an empty array has an address too.
func (a *arena) alloc(n, size int) driver.Ptr {
	if a.err != nil {
		return 0
	}
	bytes := max(n, 1) * size
	p, err := a.Alloc(bytes)
	if err != nil {
		a.err = err
		return 0
	}
	a.all = append(a.all, p)
	a.err = a.Zero(p, bytes, a.stream)
	return p
}

// floats gives n of them, all 0.
func (a *arena) floats(n int) driver.Ptr { return a.alloc(n, 4) }

// put copies values to new memory.
func put[T any](a *arena, v []T) driver.Ptr {
	var zero T
	p := a.alloc(len(v), int(unsafe.Sizeof(zero)))
	upload(a, p, v)
	return p
}

func upload[T any](a *arena, p driver.Ptr, v []T) {
	if a.err == nil && len(v) > 0 {
		a.err = a.Upload(p, bytesOf(v), a.stream)
	}
}

func download[T any](a *arena, v []T, p driver.Ptr) {
	if a.err == nil && len(v) > 0 {
		a.err = a.Download(bytesOf(v), p, a.stream)
	}
}

// launch runs a kernel; shared is bytes of dynamic shared memory.
func launch[T any](a *arena, f, gridX, gridY, threads, shared int, args T) {
	if a.err == nil {
		a.err = a.Launch(a.f[f], [3]int{gridX, gridY, 1}, [3]int{threads, 1, 1}, shared, a.stream, bytesOf([]T{args}))
	}
}

// wait waits for the stream.
func (a *arena) wait() error {
	if a.err == nil {
		a.err = a.Wait(a.stream)
	}
	return a.err
}

// free gives it all back.
func (a *arena) free() error {
	return a.back(0)
}

// back frees what came after the first n allocations, and forgets an error that
// came with them.
func (a *arena) back(n int) error {
	var first error
	for _, p := range a.all[n:] {
		if err := a.Free(p); first == nil {
			first = err
		}
	}
	a.all, a.err = a.all[:n], nil
	return first
}
