package driver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/planegym/planegym/compute"
)

// call is an index into the library's functions.
type call int

// The driver's functions that are used, by the names that the library exports:
// where a _v2 is there, cuda.h makes the plain name mean it.
const (
	cuInit call = iota
	cuDriverGetVersion
	cuGetErrorName
	cuGetErrorString
	cuDeviceGetCount
	cuDeviceGet
	cuDeviceGetName
	cuDeviceTotalMem
	cuDeviceGetAttribute
	cuDevicePrimaryCtxRetain
	cuDevicePrimaryCtxRelease
	cuCtxSetCurrent
	cuModuleLoadDataEx
	cuModuleUnload
	cuModuleGetFunction
	cuFuncSetAttribute
	cuFuncGetAttribute
	cuOccupancyMaxActiveBlocks
	cuMemAlloc
	cuMemFree
	cuMemHostAlloc
	cuMemFreeHost
	cuMemcpyHtoDAsync
	cuMemcpyDtoHAsync
	cuMemcpyDtoDAsync
	cuMemsetD8Async
	cuStreamCreate
	cuStreamDestroy
	cuStreamSynchronize
	cuStreamWaitEvent
	cuStreamBeginCapture
	cuStreamEndCapture
	cuEventCreate
	cuEventDestroy
	cuEventRecord
	cuEventElapsedTime
	cuLaunchKernel
	cuGraphInstantiate
	cuGraphLaunch
	cuGraphDestroy
	cuGraphExecDestroy
	calls
)

var names = [calls]string{
	"cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString",
	"cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2", "cuDeviceGetAttribute",
	"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuCtxSetCurrent",
	"cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction", "cuFuncSetAttribute", "cuFuncGetAttribute",
	"cuOccupancyMaxActiveBlocksPerMultiprocessor",
	"cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc", "cuMemFreeHost",
	"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD8Async",
	"cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamWaitEvent", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
	"cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventElapsedTime",
	"cuLaunchKernel", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphDestroy", "cuGraphExecDestroy",
}

// Constants of cuda.h.
const (
	attributeClockRate       = 13
	attributeSMs             = 16
	attributeMajor           = 75
	attributeMinor           = 76
	attributeSharedOptin     = 97
	functionMaxThreads       = 0
	functionShared           = 1
	functionLocal            = 3
	functionRegisters        = 4
	functionMaxDynamicShared = 8
	jitErrorLog              = 5
	jitErrorLogSize          = 6
	streamNonBlocking        = 1
	captureThreadLocal       = 1
	launchParamBufferPointer = 1
	launchParamBufferSize    = 2
	needMajor                = 8 // the kernels are compiled for sm_80
	jitLogBytes              = 16 << 10
)

// cuda is the Driver over NVIDIA's library. It belongs to one thread, so what
// calls write to is reused: it must lie on the heap, for a stack may move.
type cuda struct {
	library string
	f       [calls]uintptr
	device  int32
	open    bool
	pinned  map[unsafe.Pointer]int
	out     struct {
		i     int32
		f     float32
		u     uint64
		p     unsafe.Pointer
		name  [256]byte
		extra [5]uintptr
		size  uint64
		log   []byte
		opts  [2]int32
		vals  [2]uintptr
	}
}

// New returns the driver of this machine's NVIDIA GPUs. Its library is opened
// by the first Count or Open. Several of them, each on its own thread, share a
// device's primary context.
func New() Driver { return &cuda{library: libraryName} }

// load opens the library and initialises the driver.
func (c *cuda) load() error {
	if c.f[cuInit] != 0 {
		return nil
	}
	h, err := openLibrary(c.library)
	if err != nil {
		return fmt.Errorf("%w: %w", compute.ErrNoDevice, err)
	}
	var f [calls]uintptr
	for i, name := range names {
		if f[i], err = lookup(h, name); err != nil {
			return fmt.Errorf("%w: %s is older than CUDA 11.4: %w", compute.ErrNoDevice, c.library, err)
		}
	}
	c.f = f
	if err := c.do(cuInit, 0); err != nil {
		c.f = [calls]uintptr{}
		return fmt.Errorf("%w: %w", compute.ErrNoDevice, err)
	}
	return nil
}

// do calls a function of the driver. Pointers among args are converted to
// uintptr in the argument list, so that what they point to stays.
//
//go:uintptrescapes
func (c *cuda) do(f call, args ...uintptr) error {
	if r := invoke(c.f[f], args...); r != 0 {
		return c.failure(f, r)
	}
	return nil
}

func (c *cuda) failure(f call, code int) error {
	e := &Error{Call: names[f], Code: code, Name: "CUDA_ERROR", Text: "the driver does not know it"}
	for i, to := range []*string{&e.Name, &e.Text} {
		c.out.p = nil
		if invoke(c.f[cuGetErrorName+call(i)], uintptr(uint32(code)), uintptr(unsafe.Pointer(&c.out.p))) == 0 && c.out.p != nil {
			*to = cString(c.out.p)
		}
	}
	return e
}

func cString(p unsafe.Pointer) string {
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// number32 and handle call a function whose first argument is where it writes.
//
//go:uintptrescapes
func (c *cuda) number32(f call, args ...uintptr) (int, error) {
	c.out.i = 0
	err := c.do(f, append([]uintptr{uintptr(unsafe.Pointer(&c.out.i))}, args...)...)
	return int(c.out.i), err
}

//go:uintptrescapes
func (c *cuda) handle(f call, args ...uintptr) (uint64, error) {
	c.out.u = 0
	err := c.do(f, append([]uintptr{uintptr(unsafe.Pointer(&c.out.u))}, args...)...)
	if err != nil {
		return 0, err
	}
	return c.out.u, nil
}

// ready errors where no device is open.
func (c *cuda) ready() error {
	if !c.open {
		return errors.New("cuda: no device is open")
	}
	return nil
}

func (c *cuda) Count() (int, error) {
	if err := c.load(); err != nil {
		return 0, err
	}
	n, err := c.number32(cuDeviceGetCount)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", compute.ErrNoDevice, err)
	case n == 0:
		return 0, fmt.Errorf("%w: the driver finds none", compute.ErrNoDevice)
	}
	return n, nil
}

func (c *cuda) Open(ordinal int) (Info, error) {
	if c.open {
		return Info{}, errors.New("cuda: a device is open already")
	}
	n, err := c.Count()
	if err != nil {
		return Info{}, err
	}
	if ordinal < 0 || ordinal >= n {
		return Info{}, fmt.Errorf("%w: device %d of %d, counted from 0", compute.ErrNoDevice, ordinal, n)
	}
	dev, err := c.number32(cuDeviceGet, uintptr(ordinal))
	if err != nil {
		return Info{}, err
	}
	c.device = int32(dev)
	info, err := c.info()
	if err != nil {
		return Info{}, err
	}
	if info.Major < needMajor {
		return Info{}, fmt.Errorf("%w: %s has compute capability %d.%d, %d.0 is needed", compute.ErrNoDevice, info.Name, info.Major, info.Minor, needMajor)
	}
	ctx, err := c.handle(cuDevicePrimaryCtxRetain, uintptr(uint32(c.device)))
	if err != nil {
		return Info{}, err
	}
	if err := c.do(cuCtxSetCurrent, uintptr(ctx)); err != nil {
		return Info{}, errors.Join(err, c.do(cuDevicePrimaryCtxRelease, uintptr(uint32(c.device))))
	}
	c.open, c.pinned = true, map[unsafe.Pointer]int{}
	return info, nil
}

func (c *cuda) info() (i Info, err error) {
	dev := uintptr(uint32(c.device))
	if err = c.do(cuDeviceGetName, uintptr(unsafe.Pointer(&c.out.name)), uintptr(len(c.out.name)-1), dev); err != nil {
		return i, err
	}
	name, _, _ := bytes.Cut(c.out.name[:], []byte{0})
	i.Name = string(name)
	if i.Memory, err = c.handle(cuDeviceTotalMem, dev); err != nil {
		return i, err
	}
	if i.DriverVersion, err = c.number32(cuDriverGetVersion); err != nil {
		return i, err
	}
	for _, a := range []struct {
		to *int
		id uintptr
	}{{&i.Major, attributeMajor}, {&i.Minor, attributeMinor}, {&i.SMs, attributeSMs}, {&i.Clock, attributeClockRate}, {&i.SharedPerBlock, attributeSharedOptin}} {
		if *a.to, err = c.number32(cuDeviceGetAttribute, a.id, dev); err != nil {
			return i, err
		}
	}
	return i, nil
}

func (c *cuda) Close() error {
	if err := c.ready(); err != nil {
		return err
	}
	c.open = false
	return errors.Join(c.do(cuCtxSetCurrent, 0), c.do(cuDevicePrimaryCtxRelease, uintptr(uint32(c.device))))
}

func (c *cuda) Load(ptx []byte) (Module, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	image := append(bytes.Clone(ptx), 0) // a C string
	o := &c.out
	o.log = make([]byte, jitLogBytes)
	o.opts = [2]int32{jitErrorLog, jitErrorLogSize}
	o.vals = [2]uintptr{uintptr(unsafe.Pointer(unsafe.SliceData(o.log))), jitLogBytes}
	m, err := c.handle(cuModuleLoadDataEx, uintptr(unsafe.Pointer(unsafe.SliceData(image))), uintptr(len(o.opts)),
		uintptr(unsafe.Pointer(&o.opts)), uintptr(unsafe.Pointer(&o.vals)))
	text, _, _ := bytes.Cut(o.log, []byte{0})
	o.log = nil
	if s := strings.TrimSpace(string(text)); err != nil && s != "" {
		err = fmt.Errorf("%w\n%s", err, s)
	}
	return Module(m), err
}

func (c *cuda) Unload(m Module) error { return c.with(cuModuleUnload, uint64(m)) }

// with calls a function of one handle.
func (c *cuda) with(f call, h uint64) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(f, uintptr(h))
}

func (c *cuda) Function(m Module, name string) (Function, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	z := append([]byte(name), 0)
	h, err := c.handle(cuModuleGetFunction, uintptr(m), uintptr(unsafe.Pointer(unsafe.SliceData(z))))
	if err != nil {
		return 0, fmt.Errorf("kernel %s: %w", name, err)
	}
	return Function(h), nil
}

func (c *cuda) SetShared(f Function, n int) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuFuncSetAttribute, uintptr(f), functionMaxDynamicShared, uintptr(uint32(n)))
}

func (c *cuda) Attributes(f Function) (a Attributes, err error) {
	if err := c.ready(); err != nil {
		return a, err
	}
	for _, e := range []struct {
		to *int
		id uintptr
	}{{&a.Registers, functionRegisters}, {&a.Shared, functionShared}, {&a.Local, functionLocal}, {&a.MaxThreads, functionMaxThreads}} {
		if *e.to, err = c.number32(cuFuncGetAttribute, e.id, uintptr(f)); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (c *cuda) Occupancy(f Function, threads, shared int) (int, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	return c.number32(cuOccupancyMaxActiveBlocks, uintptr(f), uintptr(uint32(threads)), uintptr(shared))
}

func (c *cuda) Alloc(n int) (Ptr, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	p, err := c.handle(cuMemAlloc, uintptr(n))
	if err != nil {
		return 0, fmt.Errorf("%d bytes: %w", n, err)
	}
	return Ptr(p), nil
}

func (c *cuda) Free(p Ptr) error { return c.with(cuMemFree, uint64(p)) }

func (c *cuda) AllocHost(n int) ([]byte, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	c.out.p = nil
	if err := c.do(cuMemHostAlloc, uintptr(unsafe.Pointer(&c.out.p)), uintptr(n), 0); err != nil {
		return nil, fmt.Errorf("%d bytes: %w", n, err)
	}
	p := c.out.p
	c.pinned[p] = n
	return unsafe.Slice((*byte)(p), n), nil
}

func (c *cuda) FreeHost(b []byte) error {
	if err := c.ready(); err != nil {
		return err
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if n, ok := c.pinned[p]; !ok || n != len(b) {
		return fmt.Errorf("cuda: %d bytes that AllocHost did not return", len(b))
	}
	delete(c.pinned, p)
	return c.do(cuMemFreeHost, uintptr(p))
}

// finish waits for a copy whose host memory is not pinned: it is Go's, and the
// driver would read or write it after the call.
func (c *cuda) finish(b []byte, s Stream) error {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for p, n := range c.pinned {
		if at >= uintptr(p) && at+uintptr(len(b)) <= uintptr(p)+uintptr(n) {
			return nil
		}
	}
	return c.do(cuStreamSynchronize, uintptr(s))
}

func (c *cuda) Upload(dst Ptr, src []byte, s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	if err := c.do(cuMemcpyHtoDAsync, uintptr(dst), uintptr(unsafe.Pointer(unsafe.SliceData(src))), uintptr(len(src)), uintptr(s)); err != nil {
		return err
	}
	return c.finish(src, s)
}

func (c *cuda) Download(dst []byte, src Ptr, s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	if err := c.do(cuMemcpyDtoHAsync, uintptr(unsafe.Pointer(unsafe.SliceData(dst))), uintptr(src), uintptr(len(dst)), uintptr(s)); err != nil {
		return err
	}
	return c.finish(dst, s)
}

func (c *cuda) Copy(dst, src Ptr, n int, s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(n), uintptr(s))
}

func (c *cuda) Zero(dst Ptr, n int, s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuMemsetD8Async, uintptr(dst), 0, uintptr(n), uintptr(s))
}

func (c *cuda) NewStream() (Stream, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	h, err := c.handle(cuStreamCreate, streamNonBlocking)
	return Stream(h), err
}

func (c *cuda) DestroyStream(s Stream) error { return c.with(cuStreamDestroy, uint64(s)) }

func (c *cuda) Wait(s Stream) error { return c.with(cuStreamSynchronize, uint64(s)) }

func (c *cuda) NewEvent() (Event, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	h, err := c.handle(cuEventCreate, 0)
	return Event(h), err
}

func (c *cuda) DestroyEvent(e Event) error { return c.with(cuEventDestroy, uint64(e)) }

func (c *cuda) Record(e Event, s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuEventRecord, uintptr(e), uintptr(s))
}

func (c *cuda) WaitEvent(s Stream, e Event) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuStreamWaitEvent, uintptr(s), uintptr(e), 0)
}

func (c *cuda) Elapsed(from, to Event) (float32, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	c.out.f = 0
	err := c.do(cuEventElapsedTime, uintptr(unsafe.Pointer(&c.out.f)), uintptr(from), uintptr(to))
	return c.out.f, err
}

func (c *cuda) Launch(f Function, grid, block [3]int, shared int, s Stream, args []byte) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.launch(f, grid, block, shared, s, uintptr(unsafe.Pointer(unsafe.SliceData(args))), len(args))
}

// launch passes the parameters as one buffer, which the driver copies.
//
//go:uintptrescapes
func (c *cuda) launch(f Function, grid, block [3]int, shared int, s Stream, args uintptr, n int) error {
	o := &c.out
	o.size = uint64(n)
	o.extra = [5]uintptr{launchParamBufferPointer, args, launchParamBufferSize, uintptr(unsafe.Pointer(&o.size)), 0}
	return c.do(cuLaunchKernel, uintptr(f), uintptr(uint32(grid[0])), uintptr(uint32(grid[1])), uintptr(uint32(grid[2])),
		uintptr(uint32(block[0])), uintptr(uint32(block[1])), uintptr(uint32(block[2])), uintptr(uint32(shared)), uintptr(s),
		0, uintptr(unsafe.Pointer(&o.extra)))
}

func (c *cuda) BeginCapture(s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuStreamBeginCapture, uintptr(s), captureThreadLocal)
}

func (c *cuda) EndCapture(s Stream) (Graph, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	c.out.u = 0
	if err := c.do(cuStreamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&c.out.u))); err != nil {
		return 0, err
	}
	return Graph(c.out.u), nil
}

func (c *cuda) Instantiate(g Graph) (Exec, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	h, err := c.handle(cuGraphInstantiate, uintptr(g), 0)
	return Exec(h), err
}

func (c *cuda) LaunchGraph(e Exec, s Stream) error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.do(cuGraphLaunch, uintptr(e), uintptr(s))
}

func (c *cuda) DestroyGraph(g Graph) error { return c.with(cuGraphDestroy, uint64(g)) }

func (c *cuda) DestroyExec(e Exec) error { return c.with(cuGraphExecDestroy, uint64(e)) }
