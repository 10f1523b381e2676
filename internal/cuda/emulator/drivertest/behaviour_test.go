package drivertest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
)

// rig is an open driver with a stream, and a kernel: add(p, v) adds v to a word.
type rig struct {
	*drivertest.Driver
	t   *testing.T
	m   driver.Module
	add driver.Function
	s   driver.Stream
}

const addPTX = `.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 4 .b8 more[];
.visible .entry add(.param .align 8 .b8 a[16])
{
	.reg .b32 %r<4>;
	.reg .b64 %rd<3>;
	ld.param.u64 %rd1, [a];
	ld.param.u32 %r1, [a+8];
	mov.u64 %rd2, more;
	ld.global.u32 %r2, [%rd1];
	add.s32 %r2, %r2, %r1;
	st.global.u32 [%rd1], %r2;
	ret;
}`

func newRig(t *testing.T) *rig {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r := &rig{Driver: &drivertest.Driver{}, t: t}
	_, err := r.Open(0)
	r.ok(err)
	r.m, err = r.Load([]byte(addPTX))
	r.ok(err)
	r.add, err = r.Function(r.m, "add")
	r.ok(err)
	r.s, err = r.NewStream()
	r.ok(err)
	return r
}

// end gives back what newRig made, and checks that nothing else is left.
func (r *rig) end() {
	r.t.Helper()
	r.ok(r.DestroyStream(r.s))
	r.ok(r.Unload(r.m))
	r.ok(r.Close())
	r.Check(r.t)
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) launch(p driver.Ptr, v uint32, s driver.Stream) {
	r.t.Helper()
	args := binary.LittleEndian.AppendUint64(nil, uint64(p))
	args = binary.LittleEndian.AppendUint32(args, v)
	r.ok(r.Launch(r.add, [3]int{1, 1, 1}, [3]int{1, 1, 1}, 0, s, append(args, 0, 0, 0, 0)))
}

func (r *rig) word(p driver.Ptr, s driver.Stream) uint32 {
	r.t.Helper()
	b := make([]byte, 4)
	r.ok(r.Download(b, p, s))
	return binary.LittleEndian.Uint32(b)
}

// Nothing happens before something waits for it.
func TestLate(t *testing.T) {
	r := newRig(t)
	p, err := r.Alloc(4)
	r.ok(err)
	host, err := r.AllocHost(4)
	r.ok(err)
	copy(host, []byte{9, 0, 0, 0})
	r.ok(r.Upload(p, host, r.s))
	r.launch(p, 1, r.s)
	r.ok(r.Download(host, p, r.s))
	if !bytes.Equal(host, []byte{9, 0, 0, 0}) {
		t.Errorf("the download came before Wait: %v", host)
	}
	host[0] = 20 // too early: the upload has not happened
	r.ok(r.Wait(r.s))
	if host[0] != 21 {
		t.Errorf("%v, want 21", host)
	}
	r.ok(r.FreeHost(host))
	r.ok(r.Free(p))
	r.end()
}

// Two streams are ordered by an event, and by nothing else.
func TestEvents(t *testing.T) {
	r := newRig(t)
	p, err := r.Alloc(4)
	r.ok(err)
	other, err := r.NewStream()
	r.ok(err)
	e, err := r.NewEvent()
	r.ok(err)
	e2, err := r.NewEvent()
	r.ok(err)
	r.ok(r.Upload(p, []byte{1, 0, 0, 0}, r.s))
	r.launch(p, 10, other)
	if got := r.word(p, r.s); got != 1 {
		t.Errorf("%d: the other stream's work is done, though nothing waited for it", got)
	}
	r.ok(r.Record(e, other))
	r.launch(p, 100, other)
	r.ok(r.WaitEvent(r.s, e))
	if got := r.word(p, r.s); got != 11 {
		t.Errorf("%d, want the work before the event and no later", got)
	}
	r.ok(r.Record(e2, other))
	if _, err := r.Elapsed(e, e2); err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_NOT_READY") {
		t.Errorf("elapsed: %v", err)
	}
	r.ok(r.Wait(other))
	if ms, err := r.Elapsed(e, e2); err != nil || !(ms > 0) {
		t.Errorf("elapsed: %v ms, %v", ms, err)
	}
	r.ok(r.DestroyEvent(e))
	r.ok(r.DestroyEvent(e2))
	r.ok(r.DestroyStream(other))
	r.ok(r.Free(p))
	r.end()
}

// A capture that forks by an event and joins by another: both branches are in
// the graph, which may be launched often.
func TestGraph(t *testing.T) {
	r := newRig(t)
	p, err := r.Alloc(8)
	r.ok(err)
	side, err := r.NewStream()
	r.ok(err)
	fork, err := r.NewEvent()
	r.ok(err)
	join, err := r.NewEvent()
	r.ok(err)
	r.ok(r.Zero(p, 8, r.s))
	r.ok(r.BeginCapture(r.s))
	r.launch(p, 1, r.s)
	r.ok(r.Record(fork, r.s))
	r.ok(r.WaitEvent(side, fork))
	r.launch(p+4, 5, side)
	r.launch(p, 2, r.s)
	r.ok(r.Record(join, side))
	r.ok(r.WaitEvent(r.s, join))
	r.ok(r.Copy(p+4, p, 4, r.s))
	g, err := r.EndCapture(r.s)
	r.ok(err)
	x, err := r.Instantiate(g)
	r.ok(err)
	if got := r.word(p, r.s); got != 0 {
		t.Errorf("capturing ran a kernel: %d", got)
	}
	for range 3 {
		r.ok(r.LaunchGraph(x, r.s))
	}
	if a, b := r.word(p, r.s), r.word(p+4, r.s); a != 9 || b != 9 {
		t.Errorf("%d, %d, want 9", a, b)
	}
	if got, want := r.Graphs(), []drivertest.Graph{{Nodes: 4, Kernels: 3, Launched: 3}}; !slices.Equal(got, want) {
		t.Errorf("graphs %+v, want %+v", got, want)
	}
	r.ok(errors.Join(r.DestroyExec(x), r.DestroyGraph(g), r.DestroyEvent(fork), r.DestroyEvent(join), r.DestroyStream(side), r.Free(p)))
	r.end()
}

// Branches of a graph without an edge run in the order that is not the one
// they were recorded in.
func TestGraphWithoutAnEdge(t *testing.T) {
	r := newRig(t)
	p, err := r.Alloc(4)
	r.ok(err)
	side, err := r.NewStream()
	r.ok(err)
	e, err := r.NewEvent()
	r.ok(err)
	r.ok(r.BeginCapture(r.s))
	r.ok(r.Record(e, r.s))
	r.ok(r.WaitEvent(side, e))
	r.ok(r.Zero(p, 4, r.s)) // side does not wait for it
	r.launch(p, 7, side)
	r.ok(r.Record(e, side))
	r.ok(r.WaitEvent(r.s, e))
	r.ok(r.Zero(p, 4, r.s))
	g, err := r.EndCapture(r.s)
	r.ok(err)
	x, err := r.Instantiate(g)
	r.ok(err)
	r.ok(r.LaunchGraph(x, r.s))
	if err := r.Wait(r.s); err == nil || !strings.Contains(err.Error(), "reads global memory that nobody wrote") {
		t.Errorf("%v: the kernel ran after the work that it does not wait for", err)
	}
}

// What a program must not do is noted, and Leaks finds what it forgot.
func TestMisuse(t *testing.T) {
	r := newRig(t)
	p, err := r.Alloc(64)
	r.ok(err)
	host, err := r.AllocHost(64)
	r.ok(err)
	event, err := r.NewEvent()
	r.ok(err)
	args := make([]byte, 16)
	one := [3]int{1, 1, 1}
	misuse := func(want string, f func() error) {
		t.Helper()
		n := len(r.Misuse())
		err := f()
		all := r.Misuse()
		if err == nil || !strings.Contains(err.Error(), want) || len(all) == n || !strings.Contains(all[n], want) {
			t.Errorf("%v, noted %v, want %q", err, all[n:], want)
		}
	}
	misuse("0x1 is not allocated", func() error { return r.Free(1) })
	misuse("64 bytes at 0x700000000010: offset 16 of an allocation of 64 bytes", func() error { return r.Upload(p+16, host, r.s) })
	misuse("12345 is no stream", func() error { return r.Wait(12345) })
	misuse("is no module", func() error { return r.Unload(driver.Module(event)) })
	misuse("8 bytes of arguments, want 16", func() error { return r.Launch(r.add, one, one, 0, r.s, args[:8]) })
	misuse("block [2048 1 1]", func() error { return r.Launch(r.add, one, [3]int{2048, 1, 1}, 0, r.s, args) })
	misuse("60000 bytes of shared memory: SetShared allowed 0", func() error { return r.Launch(r.add, one, one, 60000, r.s, args) })
	misuse("8 bytes that AllocHost did not return", func() error { return r.FreeHost(host[:8]) })
	r.ok(r.SetShared(r.add, 60000))
	if err := r.SetShared(r.add, 1<<20); err == nil {
		t.Error("a megabyte of shared memory")
	}

	capture := func(want string, f func() error) {
		t.Helper()
		r.ok(r.BeginCapture(r.s))
		misuse(want, f)
		if _, err := r.EndCapture(r.s); err == nil || !strings.Contains(err.Error(), "INVALIDATED") {
			t.Errorf("capture after a misuse: %v", err)
		}
	}
	capture("while capturing", func() error { _, err := r.Alloc(4); return err })
	capture("memory that is not pinned", func() error { return r.Upload(p, make([]byte, 4), r.s) })
	capture("a stream that captures", func() error { return r.Wait(r.s) })
	capture("the default stream while capturing", func() error { return r.Zero(p, 4, 0) })
	misuse("the default stream cannot capture", func() error { return r.BeginCapture(0) })
	r.ok(r.BeginCapture(r.s))
	side, err := r.NewStream()
	r.ok(err)
	r.ok(r.Record(event, r.s))
	r.ok(r.WaitEvent(side, event))
	r.ok(r.Zero(p, 4, side))
	misuse("UNJOINED", func() error { _, err := r.EndCapture(r.s); return err })

	th := driver.NewThread()
	n := len(r.Misuse())
	_ = th.Do(func() error { return r.Zero(p, 4, r.s) })
	th.Close()
	if m := r.Misuse(); runtime.GOOS == "linux" && (len(m) == n || !strings.Contains(m[n], "from thread")) {
		t.Errorf("a call from another thread: %v", m[n:])
	}
	r.ok(r.Close())
	leaks := strings.Join(r.Leaks(), "\n")
	for _, want := range []string{"device memory of 64 bytes", "pinned memory of 64 bytes", "event, made by call", "module, made by call", "stream, made by call"} {
		if !strings.Contains(leaks, want) {
			t.Errorf("no %q in the leaks\n%s", want, leaks)
		}
	}
	if n := strings.Count(leaks, "\n") + 1; n != 6 {
		t.Errorf("%d leaks, want 6\n%s", n, leaks)
	}
}

// A kernel's fault is every later call's error, and calls still give back.
func TestSticky(t *testing.T) {
	r := newRig(t)
	p, err := r.Alloc(4)
	r.ok(err)
	r.launch(p, 1, r.s) // of unwritten memory
	for range 2 {
		if err := r.Wait(r.s); err == nil || !strings.Contains(err.Error(), "kernel add, PTX line 12 (ld.global.u32 %r2, [%rd1])") || !strings.Contains(err.Error(), "CUDA_ERROR_LAUNCH_FAILED") {
			t.Errorf("%v", err)
		}
	}
	if _, err := r.Alloc(4); err == nil {
		t.Error("an allocation after a fault")
	}
	for _, err := range []error{r.Free(p), r.DestroyStream(r.s), r.Unload(r.m), r.Close()} {
		if err == nil {
			t.Error("no error after a fault")
		}
	}
	r.Check(t)
}

func TestOutOfMemory(t *testing.T) {
	d := &drivertest.Driver{Device: driver.Info{Memory: 1000}}
	err := on(t, d, func() error {
		p, err := d.Alloc(600)
		if err != nil {
			return err
		}
		if _, err := d.Alloc(600); err == nil || !strings.Contains(err.Error(), "600 bytes of 400") {
			t.Errorf("%v", err)
		}
		return d.Free(p)
	})
	if err != nil {
		t.Error(err)
	}
	d.Check(t)
}
