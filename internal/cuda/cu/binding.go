package main

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
)

// binding is a driver.Driver over gorgonia.org/cu. What cu does not have (graph
// launch, stream capture, pinned memory, attributes of functions that are set)
// it leaves to the embedded driver, which opens the same primary context, so
// that both take each other's handles.
type binding struct {
	driver.Driver
	device cu.Device
	open   bool
	pinned map[*byte]int
}

// failed makes cu's error, an integer of a type that it does not export, a
// driver.Error.
func failed(call string, err error) error {
	if err == nil {
		return nil
	}
	e := &driver.Error{Call: call, Name: err.Error(), Text: "as gorgonia.org/cu names it"}
	if v := reflect.ValueOf(err); v.CanInt() {
		e.Code = int(v.Int())
	}
	return e
}

// A handle of cu is a struct of one pointer of C's that it does not export;
// raw and as convert between it and the driver's value.
func raw[H any](h H) uint64            { return *(*uint64)(unsafe.Pointer(&h)) }
func as[H any, N ~uint64](n N) H       { return *(*H)(unsafe.Pointer(&n)) }
func at(b []byte) unsafe.Pointer       { return unsafe.Pointer(unsafe.SliceData(b)) }
func stream(s driver.Stream) cu.Stream { return as[cu.Stream](s) }

// The conversions above hold while the structs are what they are now.
var _ = [1]struct{}{}[unsafe.Sizeof(cu.Stream{})+unsafe.Sizeof(cu.Event{})+unsafe.Sizeof(cu.Module{})+unsafe.Sizeof(cu.Function{})-32]

func (b *binding) Count() (int, error) {
	n, err := cu.NumDevices()
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", compute.ErrNoDevice, failed("cuDeviceGetCount", err))
	case n == 0:
		return 0, fmt.Errorf("%w: the driver finds none", compute.ErrNoDevice)
	}
	return n, nil
}

func (b *binding) Open(ordinal int) (driver.Info, error) {
	n, err := b.Count()
	if err != nil {
		return driver.Info{}, err
	}
	if ordinal < 0 || ordinal >= n {
		return driver.Info{}, fmt.Errorf("%w: device %d of %d, counted from 0", compute.ErrNoDevice, ordinal, n)
	}
	if b.device, err = cu.GetDevice(ordinal); err != nil {
		return driver.Info{}, failed("cuDeviceGet", err)
	}
	info, err := b.info()
	if err != nil {
		return info, err
	}
	ctx, err := b.device.RetainPrimaryCtx()
	if err != nil {
		return info, failed("cuDevicePrimaryCtxRetain", err)
	}
	err = failed("cuCtxSetCurrent", cu.SetCurrentContext(ctx))
	if err == nil {
		_, err = b.Driver.Open(ordinal)
	}
	if err != nil {
		return info, errors.Join(err, failed("cuDevicePrimaryCtxRelease", b.device.ReleasePrimaryCtx()))
	}
	b.open, b.pinned = true, map[*byte]int{}
	return info, nil
}

func (b *binding) info() (i driver.Info, err error) {
	if i.Name, err = b.device.Name(); err != nil {
		return i, failed("cuDeviceGetName", err)
	}
	i.Name = strings.TrimRight(i.Name, "\x00")
	memory, err := b.device.TotalMem()
	if err != nil {
		return i, failed("cuDeviceTotalMem", err)
	}
	i.Memory, i.DriverVersion = uint64(memory), cu.Version()
	for _, a := range []struct {
		to *int
		id cu.DeviceAttribute
	}{{&i.Major, cu.ComputeCapabilityMajor}, {&i.Minor, cu.ComputeCapabilityMinor}, {&i.SMs, cu.MultiprocessorCount}, {&i.Clock, cu.ClockRate},
		{&i.SharedPerBlock, 97}} { // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
		if *a.to, err = b.device.Attribute(a.id); err != nil {
			return i, failed("cuDeviceGetAttribute", err)
		}
	}
	return i, nil
}

func (b *binding) Close() error {
	if !b.open {
		return errors.New("cuda: no device is open")
	}
	b.open = false
	return errors.Join(b.Driver.Close(), failed("cuDevicePrimaryCtxRelease", b.device.ReleasePrimaryCtx()))
}

func (b *binding) Load(ptx []byte) (driver.Module, error) {
	log := &cu.JITErrorLogBuffer{Buffer: make([]byte, 16<<10)}
	m, err := cu.LoadDataEx(string(ptx), log)
	runtime.KeepAlive(log) // cu hands its address on as a number
	if err == nil {
		return driver.Module(raw(m)), nil
	}
	err = failed("cuModuleLoadDataEx", err)
	text, _, _ := strings.Cut(string(log.Buffer), "\x00")
	if text = strings.TrimSpace(text); text != "" {
		err = fmt.Errorf("%w\n%s", err, text)
	}
	return 0, err
}

func (b *binding) Unload(m driver.Module) error {
	return failed("cuModuleUnload", as[cu.Module](m).Unload())
}

func (b *binding) Function(m driver.Module, name string) (driver.Function, error) {
	f, err := as[cu.Module](m).Function(name)
	if err != nil {
		return 0, fmt.Errorf("kernel %s: %w", name, failed("cuModuleGetFunction", err))
	}
	return driver.Function(raw(f)), nil
}

func (b *binding) Attributes(f driver.Function) (a driver.Attributes, err error) {
	for _, e := range []struct {
		to *int
		id cu.FunctionAttribute
	}{{&a.Registers, cu.NumRegs}, {&a.Shared, cu.SharedSizeBytes}, {&a.Local, cu.LocalSizeBytes}, {&a.MaxThreads, cu.FnMaxThreadsPerBlock}} {
		if *e.to, err = as[cu.Function](f).Attribute(e.id); err != nil {
			return a, failed("cuFuncGetAttribute", err)
		}
	}
	return a, nil
}

func (b *binding) Occupancy(f driver.Function, threads, shared int) (int, error) {
	n, err := as[cu.Function](f).MaxActiveBlocksPerMultiProcessor(threads, int64(shared))
	return n, failed("cuOccupancyMaxActiveBlocksPerMultiprocessor", err)
}

func (b *binding) Alloc(n int) (driver.Ptr, error) {
	p, err := cu.MemAlloc(int64(n))
	if err != nil {
		return 0, fmt.Errorf("%d bytes: %w", n, failed("cuMemAlloc", err))
	}
	return driver.Ptr(p), nil
}

func (b *binding) Free(p driver.Ptr) error { return failed("cuMemFree", cu.MemFree(cu.DevicePtr(p))) }

func (b *binding) AllocHost(n int) ([]byte, error) {
	p, err := b.Driver.AllocHost(n)
	if err == nil {
		b.pinned[unsafe.SliceData(p)] = n
	}
	return p, err
}

func (b *binding) FreeHost(p []byte) error {
	delete(b.pinned, unsafe.SliceData(p))
	return b.Driver.FreeHost(p)
}

// finish waits for a copy whose host memory is Go's.
func (b *binding) finish(p []byte, s driver.Stream) error {
	from := uintptr(at(p))
	for q, n := range b.pinned {
		if start := uintptr(unsafe.Pointer(q)); from >= start && from+uintptr(len(p)) <= start+uintptr(n) {
			return nil
		}
	}
	return b.Wait(s)
}

func (b *binding) Upload(dst driver.Ptr, src []byte, s driver.Stream) error {
	if err := cu.MemcpyHtoDAsync(cu.DevicePtr(dst), at(src), int64(len(src)), stream(s)); err != nil {
		return failed("cuMemcpyHtoDAsync", err)
	}
	return b.finish(src, s)
}

func (b *binding) Download(dst []byte, src driver.Ptr, s driver.Stream) error {
	if err := cu.MemcpyDtoHAsync(at(dst), cu.DevicePtr(src), int64(len(dst)), stream(s)); err != nil {
		return failed("cuMemcpyDtoHAsync", err)
	}
	return b.finish(dst, s)
}

func (b *binding) Copy(dst, src driver.Ptr, n int, s driver.Stream) error {
	return failed("cuMemcpyDtoDAsync", cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), int64(n), stream(s)))
}

func (b *binding) Zero(dst driver.Ptr, n int, s driver.Stream) error {
	return failed("cuMemsetD8Async", cu.MemsetD8Async(cu.DevicePtr(dst), 0, int64(n), stream(s)))
}

func (b *binding) NewStream() (driver.Stream, error) {
	s, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		return 0, failed("cuStreamCreate", err)
	}
	return driver.Stream(raw(s)), nil
}

func (b *binding) DestroyStream(s driver.Stream) error {
	h := stream(s)
	return failed("cuStreamDestroy", h.Destroy())
}

func (b *binding) Wait(s driver.Stream) error {
	return failed("cuStreamSynchronize", stream(s).Synchronize())
}

func (b *binding) NewEvent() (driver.Event, error) {
	e, err := cu.MakeEvent(cu.DefaultEvent)
	if err != nil {
		return 0, failed("cuEventCreate", err)
	}
	return driver.Event(raw(e)), nil
}

func (b *binding) DestroyEvent(e driver.Event) error {
	h := as[cu.Event](e)
	return failed("cuEventDestroy", cu.DestroyEvent(&h))
}

func (b *binding) Record(e driver.Event, s driver.Stream) error {
	return failed("cuEventRecord", as[cu.Event](e).Record(stream(s)))
}

func (b *binding) WaitEvent(s driver.Stream, e driver.Event) error {
	return failed("cuStreamWaitEvent", stream(s).Wait(as[cu.Event](e), 0))
}

func (b *binding) Elapsed(from, to driver.Event) (float32, error) {
	ms, err := as[cu.Event](from).Elapsed(as[cu.Event](to))
	return float32(ms), failed("cuEventElapsedTime", err)
}

// Launch passes a struct through an interface that takes parameters of 8 bytes:
// cu copies what each of params points to into one array, in order, and gives
// the driver the address of each element. The struct's words side by side are
// the struct, its address is that of the first, and the driver takes as many
// bytes from there as the kernel's one parameter has.
func (b *binding) Launch(f driver.Function, grid, block [3]int, shared int, s driver.Stream, args []byte) error {
	words := make([]uint64, (len(args)+7)/8)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words)), args)
	params := make([]unsafe.Pointer, len(words))
	for i := range words {
		params[i] = unsafe.Pointer(&words[i])
	}
	return failed("cuLaunchKernel", as[cu.Function](f).Launch(grid[0], grid[1], grid[2], block[0], block[1], block[2], shared, stream(s), params))
}
