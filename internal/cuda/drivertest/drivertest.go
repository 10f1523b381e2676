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
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"testing"
	"unsafe"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/ptxvm"
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

type stream struct {
	queue []node
	tail  []int // while capturing: the nodes that later work follows
	in    *capture
}

// record is one use of an event: its place in a stream's queue.
type record struct {
	stream *stream
	done   bool
	at     float32
}

type event struct {
	last *record
	in   *capture // recorded while capturing
	tail []int
}

type capture struct {
	origin *stream
	nodes  []node
	forked []*stream
	bad    bool
}

type graph struct {
	nodes    []node
	launched int
}

type exec struct{ graph *graph }

// Graph says what a captured graph holds.
type Graph struct {
	Nodes    int
	Kernels  int
	Launched int // times
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

// Graphs describes the graphs captured so far.
func (d *Driver) Graphs() []Graph {
	var all []Graph
	for _, g := range d.graphs {
		s := Graph{Nodes: len(g.nodes), Launched: g.launched}
		for _, n := range g.nodes {
			if n.kernel {
				s.Kernels++
			}
		}
		all = append(all, s)
	}
	return all
}

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

// Alloc makes unknown memory.
func (d *Driver) Alloc(n int) (driver.Ptr, error) {
	const call = "cuMemAlloc_v2"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	if err := d.unsafe(call); err != nil {
		return 0, err
	}
	if n < 1 {
		return 0, d.wrong(call, 1, "%d bytes", n)
	}
	if uint64(d.mem.Used())+uint64(n) > d.info().Memory {
		return 0, because(call, 2, "%d bytes of %d", n, int64(d.info().Memory)-d.mem.Used())
	}
	p, err := d.mem.Alloc(n)
	if err != nil {
		return 0, because(call, 1, "%w", err)
	}
	d.ptrs[driver.Ptr(p)] = object{kind: "device memory", call: d.calls, size: n}
	return driver.Ptr(p), nil
}

// Free waits for all work, then frees.
func (d *Driver) Free(p driver.Ptr) error {
	const call = "cuMemFree_v2"
	fails := d.enter(call)
	if !d.open {
		return fails
	}
	if _, ok := d.ptrs[p]; !ok {
		return d.wrong(call, 1, "%#x is not allocated", p)
	}
	if fails == nil {
		fails = d.unsafe(call)
	}
	fails = errors.Join(fails, d.drainAll())
	delete(d.ptrs, p)
	if err := d.mem.Free(uint64(p)); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	return fails
}

// AllocHost makes pinned memory.
func (d *Driver) AllocHost(n int) ([]byte, error) {
	const call = "cuMemHostAlloc"
	if err := d.enter(call); err != nil {
		return nil, err
	}
	if err := d.unsafe(call); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, d.wrong(call, 1, "%d bytes", n)
	}
	words := make([]uint64, (n+7)/8) // aligned as pinned memory is
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
	for i := range b {
		b[i] = 0xdb // not zero: the driver does not clear it
	}
	d.pinned[address(b)] = object{kind: "pinned memory", call: d.calls, size: n, host: b}
	return b, nil
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// FreeHost waits for all work, then frees.
func (d *Driver) FreeHost(b []byte) error {
	const call = "cuMemFreeHost"
	fails := d.enter(call)
	if !d.open {
		return fails
	}
	if o, ok := d.pinned[address(b)]; !ok || len(b) != o.size {
		return d.wrong(call, 1, "%d bytes that AllocHost did not return", len(b))
	}
	fails = errors.Join(fails, d.drainAll())
	delete(d.pinned, address(b))
	return fails
}

func (d *Driver) isPinned(b []byte) bool {
	for at, o := range d.pinned {
		if address(b) >= at && address(b)+uintptr(len(b)) <= at+uintptr(o.size) {
			return true
		}
	}
	return false
}

// unsafe is the error of calls that must not be made while capturing.
func (d *Driver) unsafe(call string) error {
	if d.capture == nil {
		return nil
	}
	d.capture.bad = true
	return d.wrong(call, 900, "while capturing")
}

// stream resolves a stream; 0 is the default one.
func (d *Driver) stream(call string, s driver.Stream) (*stream, error) {
	if s == 0 {
		if d.capture != nil { // the legacy stream waits for all others
			d.capture.bad = true
			return nil, d.wrong(call, 900, "the default stream while capturing")
		}
		return &d.null, nil
	}
	o, err := d.get(call, "stream", uint64(s))
	if err != nil {
		return nil, err
	}
	return o.stream, nil
}

// enterOn is enter and stream, for calls that work on a stream.
func (d *Driver) enterOn(call string, s driver.Stream) (*stream, error) {
	if err := d.enter(call); err != nil {
		return nil, err
	}
	return d.stream(call, s)
}

// submit appends work to a stream, or to the graph being captured.
func (d *Driver) submit(s *stream, n node) {
	if s.in == nil {
		s.queue = append(s.queue, n)
		return
	}
	n.deps = slices.Clone(s.tail)
	s.in.nodes = append(s.in.nodes, n)
	s.tail = []int{len(s.in.nodes) - 1}
}

// drain runs what a stream has to do.
func (d *Driver) drain(s *stream) error {
	for len(s.queue) > 0 {
		n := s.queue[0]
		if n.after != nil && !n.after.done {
			if err := d.reach(n.after); err != nil {
				return err
			}
		}
		s.queue = s.queue[1:]
		if d.sticky != nil {
			continue
		}
		d.clock += .001
		if n.run == nil {
			continue
		}
		if err := n.run(); err != nil {
			code := 719
			d.sticky = fmt.Errorf("%w: %s: %w", cuda("asynchronous work", code), n.what, err)
		}
	}
	return d.sticky
}

// reach runs a stream until a record of an event is done.
func (d *Driver) reach(r *record) error {
	for !r.done && len(r.stream.queue) > 0 {
		rest := r.stream.queue[1:]
		r.stream.queue = r.stream.queue[:1:1]
		err := d.drain(r.stream)
		r.stream.queue = append(r.stream.queue, rest...)
		if err != nil {
			return err
		}
	}
	return d.sticky
}

func (d *Driver) drainAll() error {
	all := []*stream{&d.null}
	for _, h := range slices.Sorted(maps.Keys(d.objects)) {
		if s := d.objects[h].stream; s != nil {
			all = append(all, s)
		}
	}
	var err error
	for _, s := range all {
		if e := d.drain(s); e != nil {
			err = e
		}
	}
	return err
}

// copying submits a copy between host and device.
func (d *Driver) copying(call string, host []byte, dev driver.Ptr, s driver.Stream, run func() error) error {
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	if len(host) == 0 {
		return d.wrong(call, 1, "no bytes")
	}
	if err := d.mem.Holds(uint64(dev), len(host)); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	pinned := d.isPinned(host)
	if st.in != nil && !pinned {
		st.in.bad = true
		return d.wrong(call, 900, "memory that is not pinned")
	}
	d.submit(st, node{what: fmt.Sprintf("%s of %d bytes", call, len(host)), run: run})
	if !pinned {
		return d.drain(st)
	}
	return nil
}

// Upload copies to the device.
func (d *Driver) Upload(dst driver.Ptr, src []byte, s driver.Stream) error {
	return d.copying("cuMemcpyHtoDAsync_v2", src, dst, s, func() error { return d.mem.Write(uint64(dst), src) })
}

// Download copies from the device.
func (d *Driver) Download(dst []byte, src driver.Ptr, s driver.Stream) error {
	return d.copying("cuMemcpyDtoHAsync_v2", dst, src, s, func() error { return d.mem.Read(dst, uint64(src)) })
}

// Copy copies on the device.
func (d *Driver) Copy(dst, src driver.Ptr, n int, s driver.Stream) error {
	const call = "cuMemcpyDtoDAsync_v2"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	for _, p := range []driver.Ptr{dst, src} {
		if err := d.mem.Holds(uint64(p), n); err != nil {
			return d.wrong(call, 1, "%w", err)
		}
	}
	d.submit(st, node{what: fmt.Sprintf("%s of %d bytes", call, n), run: func() error { return d.mem.Copy(uint64(dst), uint64(src), n) }})
	return nil
}

// Zero clears device memory.
func (d *Driver) Zero(dst driver.Ptr, n int, s driver.Stream) error {
	const call = "cuMemsetD8Async"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	if err := d.mem.Holds(uint64(dst), n); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	d.submit(st, node{what: fmt.Sprintf("%s of %d bytes", call, n), run: func() error { return d.mem.Zero(uint64(dst), n) }})
	return nil
}

// NewStream makes a stream.
func (d *Driver) NewStream() (driver.Stream, error) {
	if err := d.enter("cuStreamCreate"); err != nil {
		return 0, err
	}
	return driver.Stream(d.make(object{kind: "stream", stream: &stream{}})), nil
}

// DestroyStream lets a stream's work end first.
func (d *Driver) DestroyStream(s driver.Stream) error {
	return d.drop("cuStreamDestroy_v2", "stream", uint64(s))
}

// Wait runs what the stream has to do, and no other's work but what it waits
// for.
func (d *Driver) Wait(s driver.Stream) error {
	const call = "cuStreamSynchronize"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	if st.in != nil {
		st.in.bad = true
		return d.wrong(call, 900, "a stream that captures")
	}
	if err := d.drain(st); err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

// NewEvent makes an event.
func (d *Driver) NewEvent() (driver.Event, error) {
	if err := d.enter("cuEventCreate"); err != nil {
		return 0, err
	}
	return driver.Event(d.make(object{kind: "event", event: &event{}})), nil
}

// DestroyEvent frees an event.
func (d *Driver) DestroyEvent(e driver.Event) error {
	return d.drop("cuEventDestroy_v2", "event", uint64(e))
}

// Record marks where the stream is.
func (d *Driver) Record(e driver.Event, s driver.Stream) error {
	const call = "cuEventRecord"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	o, err := d.get(call, "event", uint64(e))
	if err != nil {
		return err
	}
	if st.in != nil {
		*o.event = event{in: st.in, tail: slices.Clone(st.tail)}
		return nil
	}
	r := &record{stream: st}
	*o.event = event{last: r}
	d.submit(st, node{what: call, run: func() error {
		r.done, r.at = true, d.clock
		return nil
	}})
	return nil
}

// WaitEvent makes the stream's later work wait. An event that was never
// recorded holds nothing back.
func (d *Driver) WaitEvent(s driver.Stream, e driver.Event) error {
	const call = "cuStreamWaitEvent"
	st, err := d.enterOn(call, s)
	if err != nil {
		return err
	}
	o, err := d.get(call, "event", uint64(e))
	if err != nil {
		return err
	}
	switch ev := o.event; {
	case ev.in != nil && ev.in != d.capture:
		return d.wrong(call, 1, "an event of a capture that has ended")
	case ev.in != nil:
		if st.in == nil {
			st.in, st.tail = ev.in, nil
			ev.in.forked = append(ev.in.forked, st)
		}
		for _, n := range ev.tail {
			if !slices.Contains(st.tail, n) {
				st.tail = append(st.tail, n)
			}
		}
	case st.in != nil:
		st.in.bad = true
		return d.wrong(call, 900, "an event from outside of the capture")
	case ev.last != nil:
		d.submit(st, node{what: call, after: ev.last})
	}
	return nil
}

// Elapsed counts a microsecond for each piece of work between the two.
func (d *Driver) Elapsed(from, to driver.Event) (float32, error) {
	const call = "cuEventElapsedTime"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	var at [2]float32
	for i, e := range []driver.Event{from, to} {
		o, err := d.get(call, "event", uint64(e))
		if err != nil {
			return 0, err
		}
		if o.event.last == nil {
			return 0, d.wrong(call, 400, "an event that was not recorded")
		}
		if !o.event.last.done {
			return 0, because(call, 600, "event %d of 2", i+1)
		}
		at[i] = o.event.last.at
	}
	return at[1] - at[0], nil
}

// Launch checks the launch now and runs it later.
func (d *Driver) Launch(f driver.Function, grid, block [3]int, shared int, s driver.Stream, args []byte) error {
	const call = "cuLaunchKernel"
	if err := d.enter(call); err != nil {
		return err
	}
	o, err := d.get(call, "function", uint64(f))
	if err != nil {
		return err
	}
	st, err := d.stream(call, s)
	if err != nil {
		return err
	}
	k := o.kernel.kernel
	if k.Shared+shared > 48<<10 && shared > o.kernel.dynamic {
		return d.wrong(call, 1, "%s: %d bytes of shared memory: SetShared allowed %d dynamic ones", k.Name, k.Shared+shared, o.kernel.dynamic)
	}
	if err := k.Check(grid, block, shared, len(args)); err != nil {
		return d.wrong(call, 1, "%w", err)
	}
	args = bytes.Clone(args)
	d.submit(st, node{what: "launch", kernel: true, run: func() error {
		stats, err := k.Run(&d.mem, grid, block, shared, args, d.VM)
		d.stats.Add(stats)
		return err
	}})
	return nil
}

// BeginCapture makes the stream record.
func (d *Driver) BeginCapture(s driver.Stream) error {
	const call = "cuStreamBeginCapture_v2"
	if err := d.enter(call); err != nil {
		return err
	}
	if d.capture != nil {
		return d.wrong(call, 900, "while capturing")
	}
	if s == 0 {
		return d.wrong(call, 900, "the default stream cannot capture")
	}
	st, err := d.stream(call, s)
	if err != nil {
		return err
	}
	d.capture = &capture{origin: st}
	st.in, st.tail = d.capture, nil
	return nil
}

// EndCapture ends the recording, also where it fails.
func (d *Driver) EndCapture(s driver.Stream) (driver.Graph, error) {
	const call = "cuStreamEndCapture"
	fails := d.enter(call)
	if !d.open {
		return 0, fails
	}
	st, err := d.stream(call, s)
	if err != nil {
		return 0, errors.Join(fails, err)
	}
	c := d.capture
	if c == nil || c.origin != st {
		return 0, d.wrong(call, 1, "the stream does not capture")
	}
	d.capture = nil
	c.origin.in = nil
	joined := map[int]bool{}
	var mark func(n int)
	mark = func(n int) {
		if !joined[n] {
			joined[n] = true
			for _, p := range c.nodes[n].deps {
				mark(p)
			}
		}
	}
	for _, n := range st.tail {
		mark(n)
	}
	for _, f := range c.forked {
		f.in = nil
	}
	switch {
	case fails != nil:
		return 0, fails
	case c.bad:
		return 0, cuda(call, 901)
	case len(joined) != len(c.nodes):
		return 0, d.wrong(call, 904, "%d of %d nodes", len(c.nodes)-len(joined), len(c.nodes))
	}
	g := &graph{nodes: c.nodes}
	d.graphs = append(d.graphs, g)
	return driver.Graph(d.make(object{kind: "graph", graph: g})), nil
}

// Instantiate makes a graph launchable.
func (d *Driver) Instantiate(g driver.Graph) (driver.Exec, error) {
	const call = "cuGraphInstantiateWithFlags"
	if err := d.enter(call); err != nil {
		return 0, err
	}
	o, err := d.get(call, "graph", uint64(g))
	if err != nil {
		return 0, err
	}
	return driver.Exec(d.make(object{kind: "executable graph", exec: &exec{o.graph}})), nil
}

// LaunchGraph runs the nodes later, among those that could run the one
// recorded last first.
func (d *Driver) LaunchGraph(e driver.Exec, s driver.Stream) error {
	const call = "cuGraphLaunch"
	if err := d.enter(call); err != nil {
		return err
	}
	o, err := d.get(call, "executable graph", uint64(e))
	if err != nil {
		return err
	}
	st, err := d.stream(call, s)
	if err != nil {
		return err
	}
	if st.in != nil {
		st.in.bad = true
		return d.wrong(call, 900, "a graph within a graph is not supported here")
	}
	g := o.exec.graph
	g.launched++
	d.submit(st, node{what: "graph", run: g.run})
	return nil
}

func (g *graph) run() error {
	done := make([]bool, len(g.nodes))
	for range g.nodes {
		next := -1
		for i := range g.nodes {
			if !done[i] && !slices.ContainsFunc(g.nodes[i].deps, func(p int) bool { return !done[p] }) {
				next = i
			}
		}
		if err := g.nodes[next].run(); err != nil {
			return fmt.Errorf("node %d, %s: %w", next, g.nodes[next].what, err)
		}
		done[next] = true
	}
	return nil
}

// DestroyGraph frees a graph. What was instantiated of it stays.
func (d *Driver) DestroyGraph(g driver.Graph) error {
	return d.drop("cuGraphDestroy", "graph", uint64(g))
}

// DestroyExec lets its launches end first.
func (d *Driver) DestroyExec(e driver.Exec) error {
	return d.drop("cuGraphExecDestroy", "executable graph", uint64(e))
}
