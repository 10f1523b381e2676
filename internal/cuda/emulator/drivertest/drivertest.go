// Package drivertest emulates a CUDA driver without a device: kernels run in package
// ptxvm, with its checks.
//
// It uses every freedom that a real driver has: work that is
// submitted runs as late as it can, when something waits for it; the nodes of a
// graph run in an order that only their edges restrict; device memory starts
// unknown. It tracks what was made and not given back, what was used wrongly,
// and from which thread, and can fail any call.
package drivertest

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/ptxvm"
)

// Driver is a driver.Driver. Its zero value has one device; fields are set
// before use.
type Driver struct {
	Device driver.Info   // fields that are 0 get those of a small GPU
	VM     ptxvm.Options // how kernels run
	Absent string        // why there is no device; "" where there is

	calls   int
	failAt  int
	failed  string
	counts  map[string]int
	thread  int
	open    bool
	sticky  error
	misuse  []string
	mem     ptxvm.Memory
	ptrs    map[driver.Ptr]object
	pinned  map[uintptr]object
	objects map[uint64]*object
	handle  uint64
	stats   ptxvm.Stats
	clock   float32 // ms
	null    stream  // the default stream
	capture *capture
	graphs  []*graph
}

var _ driver.Driver = (*Driver)(nil)

// object is something that was made and must be given back.
type object struct {
	kind string
	call int
	size int
	host []byte

	stream *stream
	event  *event
	module *ptxvm.Module
	kernel *function
	graph  *graph
	exec   *exec
}

type function struct {
	kernel  *ptxvm.Kernel
	module  uint64
	dynamic int // bytes that SetShared allowed
}

// node is one piece of work.
type node struct {
	what   string
	kernel bool
	run    func() error
	// In a stream: an event that must have been reached. In a graph: nodes.
	after *record
	deps  []int
}

// FailAt makes the n-th call from now on fail, the first being 1; 0 makes none.
// A call that gives something back does so even where it fails.
func (d *Driver) FailAt(n int) {
	d.failAt, d.failed = 0, ""
	if n > 0 {
		d.failAt = d.calls + n
	}
}

// Failed returns the driver's function that FailAt made fail, "" if none yet.
func (d *Driver) Failed() string { return d.failed }

// Calls returns how many calls there were.
func (d *Driver) Calls() int { return d.calls }

// CallsOf returns the calls of one of the driver's functions: "cuLaunchKernel".
func (d *Driver) CallsOf(name string) int { return d.counts[name] }

// Stats are those of all launches together.
func (d *Driver) Stats() ptxvm.Stats { return d.stats }

// Leaks lists what was made and not given back.
func (d *Driver) Leaks() []string {
	var all []object
	for _, o := range d.ptrs {
		all = append(all, o)
	}
	for _, o := range d.pinned {
		all = append(all, o)
	}
	for _, o := range d.objects {
		if o.kind != "function" { // goes with its module
			all = append(all, *o)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].call < all[j].call })
	var s []string
	for _, o := range all {
		if o.size > 0 {
			s = append(s, fmt.Sprintf("%s of %d bytes, made by call %d", o.kind, o.size, o.call))
		} else {
			s = append(s, fmt.Sprintf("%s, made by call %d", o.kind, o.call))
		}
	}
	if d.open {
		s = append(s, "the context")
	}
	return s
}

// Misuse lists calls that no program should make: a handle given back twice,
// a call from a thread that does not own the context.
func (d *Driver) Misuse() []string { return slices.Clone(d.misuse) }

// Check reports leaks and misuse as errors of the test.
func (d *Driver) Check(t testing.TB) {
	t.Helper()
	for _, l := range d.Leaks() {
		t.Errorf("leaked: %s", l)
	}
	for _, m := range d.misuse {
		t.Errorf("misuse: %s", m)
	}
}

// codes are the errors that this driver reports.
var codes = map[int][2]string{
	1:   {"CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	2:   {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	100: {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	101: {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
	201: {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
	218: {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	400: {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
	500: {"CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	600: {"CUDA_ERROR_NOT_READY", "device not ready"},
	700: {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	701: {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
	719: {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
	900: {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
	901: {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
	904: {"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
	999: {"CUDA_ERROR_UNKNOWN", "unknown error"},
}

func cuda(call string, code int) *driver.Error {
	return &driver.Error{Call: call, Code: code, Name: codes[code][0], Text: codes[code][1]}
}

func because(call string, code int, format string, args ...any) error {
	return fmt.Errorf("%w (%w)", cuda(call, code), fmt.Errorf(format, args...))
}

// injected are the errors that fit a call; others get 999.
var injected = map[string]int{
	"cuMemAlloc_v2": 2, "cuMemHostAlloc": 2, "cuModuleLoadDataEx": 218, "cuLaunchKernel": 701, "cuStreamSynchronize": 719,
	"cuGraphInstantiateWithFlags": 2, "cuDeviceGetCount": 100, "cuStreamEndCapture": 901,
}

// enter is the start of every call. fails is an error that the call must
// return after it gave back what it gives back.
func (d *Driver) enter(call string) (fails error) {
	d.calls++
	if d.counts == nil {
		d.counts = map[string]int{}
		d.ptrs = map[driver.Ptr]object{}
		d.pinned = map[uintptr]object{}
		d.objects = map[uint64]*object{}
	}
	d.counts[call]++
	if d.open {
		if t := threadID(); t != d.thread {
			d.misuse = append(d.misuse, fmt.Sprintf("call %d, %s: from thread %d, the context is thread %d's", d.calls, call, t, d.thread))
		}
	} else if call != "cuDeviceGetCount" && call != "cuDevicePrimaryCtxRetain" {
		return d.wrong(call, 201, "no device is open")
	}
	if d.calls == d.failAt {
		d.failed = call
		code, ok := injected[call]
		if !ok {
			code = 999
		}
		return cuda(call, code)
	}
	if d.sticky != nil {
		return fmt.Errorf("%s: %w", call, d.sticky)
	}
	return nil
}

// wrong is an error that a correct program never gets.
func (d *Driver) wrong(call string, code int, format string, args ...any) error {
	err := because(call, code, format, args...)
	d.misuse = append(d.misuse, fmt.Sprintf("call %d: %v", d.calls, err))
	return err
}

func (d *Driver) make(o object) uint64 {
	d.handle++
	o.call = d.calls
	d.objects[d.handle] = &o
	return d.handle
}

func (d *Driver) get(call, kind string, h uint64) (*object, error) {
	o := d.objects[h]
	if o == nil || o.kind != kind {
		return nil, d.wrong(call, 400, "%d is no %s", h, kind)
	}
	return o, nil
}

// drop gives a handle back.
func (d *Driver) drop(call, kind string, h uint64) error {
	fails := d.enter(call)
	if !d.open {
		return fails
	}
	o, err := d.get(call, kind, h)
	if err != nil {
		return err
	}
	if kind == "stream" {
		if o.stream.in != nil {
			o.stream.in.bad = true
		}
		fails = errors.Join(fails, d.drain(o.stream))
	}
	if kind == "module" {
		fails = errors.Join(fails, d.drainAll())
		d.mem.Unload(o.module)
		for f, fo := range d.objects {
			if fo.kind == "function" && fo.kernel.module == h {
				delete(d.objects, f)
			}
		}
	}
	delete(d.objects, h)
	return fails
}

// Count is 1.
func (d *Driver) Count() (int, error) {
	if err := d.enter("cuDeviceGetCount"); err != nil {
		return 0, fmt.Errorf("%w: %w", compute.ErrNoDevice, err)
	}
	if d.Absent != "" {
		return 0, fmt.Errorf("%w: %s", compute.ErrNoDevice, d.Absent)
	}
	return 1, nil
}

// Open opens device 0.
func (d *Driver) Open(ordinal int) (driver.Info, error) {
	if err := d.enter("cuDevicePrimaryCtxRetain"); err != nil {
		return driver.Info{}, err
	}
	if d.open {
		return driver.Info{}, d.wrong("cuDevicePrimaryCtxRetain", 201, "a device is open already")
	}
	if d.Absent != "" {
		return driver.Info{}, fmt.Errorf("%w: %s", compute.ErrNoDevice, d.Absent)
	}
	if ordinal != 0 {
		return driver.Info{}, because("cuDeviceGet", 101, "device %d of 1", ordinal)
	}
	d.open, d.thread = true, threadID()
	return d.info(), nil
}

func (d *Driver) info() driver.Info {
	i := d.Device
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	if i.Name == "" {
		i.Name = "PTX interpreter"
	}
	def(&i.Major, 8)
	def(&i.SMs, 4)
	def(&i.Clock, 1_000_000)
	def(&i.SharedPerBlock, 163<<10)
	def(&i.DriverVersion, 12040)
	if i.Memory == 0 {
		i.Memory = 1 << 30
	}
	return i
}

// Close ends what still runs. Leaks still lists what was not given back.
func (d *Driver) Close() error {
	fails := d.enter("cuDevicePrimaryCtxRelease_v2")
	if !d.open {
		return fails
	}
	fails = errors.Join(fails, d.drainAll())
	d.open = false
	return fails
}

// Load parses PTX.
func (d *Driver) Load(ptx []byte) (driver.Module, error) {
	if err := d.enter("cuModuleLoadDataEx"); err != nil {
		return 0, err
	}
	m, err := ptxvm.Parse(ptx)
	if err != nil {
		return 0, because("cuModuleLoadDataEx", 218, "%w", err)
	}
	return driver.Module(d.make(object{kind: "module", module: m})), nil
}

// Unload frees a module and its functions.
func (d *Driver) Unload(m driver.Module) error { return d.drop("cuModuleUnload", "module", uint64(m)) }

// Function finds a kernel.
func (d *Driver) Function(m driver.Module, name string) (driver.Function, error) {
	const call = "cuModuleGetFunction"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	o, err := d.get(call, "module", uint64(m))
	if err != nil {
		return 0, err
	}
	k := o.module.Kernel(name)
	if k == nil {
		return 0, because(call, 500, "kernel %q", name)
	}
	return driver.Function(d.make(object{kind: "function", kernel: &function{kernel: k, module: uint64(m)}})), nil
}

// SetShared allows dynamic shared memory up to the device's limit.
func (d *Driver) SetShared(f driver.Function, bytes int) error {
	const call = "cuFuncSetAttribute"
	if err := d.enter(call); err != nil {
		return err
	}
	o, err := d.get(call, "function", uint64(f))
	if err != nil {
		return err
	}
	if limit := d.info().SharedPerBlock; bytes < 0 || bytes+o.kernel.kernel.Shared > limit {
		return because(call, 1, "%d bytes of shared memory for %s, at most %d", bytes+o.kernel.kernel.Shared, o.kernel.kernel.Name, limit)
	}
	o.kernel.dynamic = bytes
	return nil
}

// Attributes are known of memory and threads; registers are said to be 32.
func (d *Driver) Attributes(f driver.Function) (driver.Attributes, error) {
	const call = "cuFuncGetAttribute"
	if err := d.enter(call); err != nil {
		return driver.Attributes{}, err
	}
	o, err := d.get(call, "function", uint64(f))
	if err != nil {
		return driver.Attributes{}, err
	}
	k := o.kernel.kernel
	return driver.Attributes{Registers: 32, Shared: k.Shared, Local: k.Local, MaxThreads: k.Threads()}, nil
}

// Occupancy is that of an SM with 2048 threads, 32 blocks, and shared memory
// for one block of the largest size.
func (d *Driver) Occupancy(f driver.Function, threads, shared int) (int, error) {
	const call = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	o, err := d.get(call, "function", uint64(f))
	if err != nil {
		return 0, err
	}
	if threads < 1 || shared < 0 {
		return 0, d.wrong(call, 1, "%d threads, %d bytes", threads, shared)
	}
	if threads > o.kernel.kernel.Threads() {
		return 0, nil
	}
	n := min(32, 2048/threads)
	if s := shared + o.kernel.kernel.Shared; s > 0 {
		n = min(n, (d.info().SharedPerBlock+1024)/(s+1024))
	}
	return n, nil
}
