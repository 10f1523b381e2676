// Package driver is the part of NVIDIA's CUDA driver that planegym uses: an interface,
// and its binding to the driver's library, opened at run time without cgo.
package driver

import "fmt"

// Ptr is an address in the device's memory. 0 is none.
type Ptr uint64

// Handles of the driver's objects. 0 is none, except that Stream 0 is the
// default stream.
type (
	Stream   uint64
	Event    uint64
	Module   uint64
	Function uint64
	Graph    uint64 // what a capture recorded
	Exec     uint64 // a graph that can be launched
)

// Info describes a device.
type Info struct {
	Name           string `json:"name"`
	Major          int    `json:"major"` // compute capability
	Minor          int    `json:"minor"`
	SMs            int    `json:"sms"`              // multiprocessors
	Clock          int    `json:"clock_khz"`        // of the multiprocessors, kHz
	Memory         uint64 `json:"memory"`           // bytes
	SharedPerBlock int    `json:"shared_per_block"` // bytes that a block may have once SetShared asked for them
	DriverVersion  int    `json:"driver_version"`   // 1000·major + 10·minor of the newest CUDA it supports
}

// Attributes are what the driver's compiler made of a kernel.
type Attributes struct {
	Registers  int `json:"registers"` // per thread
	Shared     int `json:"shared"`    // static, bytes per block
	Local      int `json:"local"`     // bytes per thread: spilled registers and local arrays
	MaxThreads int `json:"max_threads"`
}

// Driver is one process's access to one device. After Open every call but
// Count must come from the OS thread that opened it (see Thread). Calls that
// take a Stream return before their work is done, so memory handed to them
// stays untouched until Wait or an event says that it is; an error of that work
// may be reported by any later call. Errors name the driver's function and,
// where the driver itself failed, are an [Error].
type Driver interface {
	// Count returns the number of devices. It errors with nn.ErrNoDevice and
	// the reason where no device can be used.
	Count() (int, error)
	// Open makes the device's primary context current on this OS thread.
	Open(ordinal int) (Info, error)
	// Close releases that context with everything still in it.
	Close() error

	// Load compiles PTX for the device. Its error holds the compiler's log.
	Load(ptx []byte) (Module, error)
	Unload(Module) error
	Function(m Module, name string) (Function, error)
	// SetShared allows launches of f with up to bytes of dynamic shared
	// memory, which must be asked for above 48 kB.
	SetShared(f Function, bytes int) error
	Attributes(f Function) (Attributes, error)
	// Occupancy returns how many blocks of that many threads and bytes of
	// dynamic shared memory fit on a multiprocessor at once.
	Occupancy(f Function, threads, shared int) (int, error)

	// Alloc returns device memory of undefined content, 256-byte aligned.
	Alloc(bytes int) (Ptr, error)
	Free(Ptr) error
	// AllocHost returns pinned memory, outside Go's heap, that copies reach
	// without staging. FreeHost takes exactly that slice.
	AllocHost(bytes int) ([]byte, error)
	FreeHost([]byte) error
	// Upload and Download copy len(src) and len(dst) bytes. Only pinned memory
	// is copied asynchronously, and only it may be used while capturing; with
	// other memory the call returns when the copy is done.
	Upload(dst Ptr, src []byte, s Stream) error
	Download(dst []byte, src Ptr, s Stream) error
	Copy(dst, src Ptr, n int, s Stream) error
	Zero(dst Ptr, n int, s Stream) error

	// NewStream returns a stream that does not synchronise with stream 0.
	NewStream() (Stream, error)
	DestroyStream(Stream) error
	// Wait blocks until all work of the stream is done.
	Wait(Stream) error

	NewEvent() (Event, error)
	DestroyEvent(Event) error
	Record(Event, Stream) error
	// WaitEvent holds back later work of the stream until the event's last
	// recorded point is reached. While capturing it joins the stream to the
	// capture that recorded the event.
	WaitEvent(Stream, Event) error
	// Elapsed returns the time between two recorded points that were reached.
	Elapsed(from, to Event) (ms float32, err error)

	// Launch runs f with args, the bytes of its one by-value struct parameter
	// in C layout, copied before it returns.
	Launch(f Function, grid, block [3]int, shared int, s Stream, args []byte) error

	// BeginCapture makes the stream record work instead of doing it, until
	// EndCapture returns what it recorded.
	BeginCapture(Stream) error
	EndCapture(Stream) (Graph, error)
	Instantiate(Graph) (Exec, error)
	LaunchGraph(Exec, Stream) error
	DestroyGraph(Graph) error
	DestroyExec(Exec) error
}

// Error is a failure that the driver reported.
type Error struct {
	Call string // the driver's function: "cuMemAlloc_v2"
	Code int    // CUresult
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string // what it says about it: "out of memory"
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}
