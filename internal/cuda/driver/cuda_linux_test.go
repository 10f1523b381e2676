//go:build amd64 || arm64

package driver

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/planegym/planegym/compute"
)

// fake is a compiled testdata/fakecuda.c.
type fake struct {
	t          *testing.T
	path       string
	take, fail uintptr
}

func newFake(t *testing.T, flags ...string) *fake {
	t.Helper()
	compiler := ""
	for _, c := range []string{"cc", "gcc", "clang", "clang-19"} {
		if p, err := exec.LookPath(c); err == nil {
			compiler = p
			break
		}
	}
	if compiler == "" {
		t.Skip("no C compiler here")
	}
	f := &fake{t: t, path: filepath.Join(t.TempDir(), "libfakecuda.so")}
	args := append([]string{"-shared", "-fPIC", "-Wall", "-Werror", "-o", f.path, "testdata/fakecuda.c"}, flags...)
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", compiler, err, out)
	}
	h, err := openLibrary(f.path)
	if err != nil {
		t.Fatal(err)
	}
	if f.take, err = lookup(h, "fake_take"); err != nil {
		t.Fatal(err)
	}
	if f.fail, err = lookup(h, "fake_fail"); err != nil {
		t.Fatal(err)
	}
	return f
}

// calls returns what was called since the last time.
func (f *fake) calls() string {
	b := make([]byte, 1<<16)
	n := invoke(f.take, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return string(b[:n])
}

func (f *fake) failNext(name string, code int) {
	z := append([]byte(name), 0)
	invoke(f.fail, uintptr(unsafe.Pointer(&z[0])), uintptr(code))
}

func (f *fake) open(ordinal int) *cuda {
	f.t.Helper()
	c := &cuda{library: f.path}
	if _, err := c.Open(ordinal); err != nil {
		f.t.Fatal(err)
	}
	f.calls()
	return c
}

func TestOpen(t *testing.T) {
	f := newFake(t)
	th := NewThread()
	defer th.Close()
	err := th.Do(func() error {
		c := &cuda{library: f.path}
		info, err := c.Open(1)
		if err != nil {
			return err
		}
		want := Info{Name: "Fake GPU 41", Major: 9, Minor: 6, SMs: 132, Clock: 1980000, Memory: 85 << 30, SharedPerBlock: 232448, DriverVersion: 12040}
		if info != want {
			t.Errorf("info %+v, want %+v", info, want)
		}
		if _, err := c.Open(1); err == nil {
			t.Error("opened twice")
		}
		return c.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `cuInit(0)
cuDeviceGetCount()
cuDeviceGet(1)
cuDeviceGetName(255, 41)
cuDeviceTotalMem_v2(41)
cuDriverGetVersion()
cuDeviceGetAttribute(75, 41)
cuDeviceGetAttribute(76, 41)
cuDeviceGetAttribute(16, 41)
cuDeviceGetAttribute(13, 41)
cuDeviceGetAttribute(97, 41)
cuDevicePrimaryCtxRetain(41)
cuCtxSetCurrent(CONTEXT)
cuCtxSetCurrent((nil))
cuDevicePrimaryCtxRelease_v2(41)
`
	if got := regexp.MustCompile(`0x10000000[0-9a-f]+`).ReplaceAllString(f.calls(), "CONTEXT"); got != want {
		t.Errorf("calls\n%swant\n%s", got, want)
	}
}

// Every call, as C sees it.
func TestCalls(t *testing.T) {
	f := newFake(t)
	c := f.open(0)
	pinned, err := c.AllocHost(16)
	if err != nil {
		t.Fatal(err)
	}
	f.calls()
	const h, big = 0x7fff12345678, 0x7f0011223344
	var handle uint64
	keep := func(v uint64, err error) error { handle = v; return err }
	for _, e := range []struct {
		want string
		new  bool // returns a handle
		run  func() error
	}{
		{"cuModuleLoadDataEx('.version 7.0', 2 options: 5, 6=16384)", true, func() error { m, err := c.Load([]byte(".version 7.0")); return keep(uint64(m), err) }},
		{"cuModuleUnload(0x7fff12345678)", false, func() error { return c.Unload(h) }},
		{"cuModuleGetFunction(0x7fff12345678, 'gru')", true, func() error { k, err := c.Function(h, "gru"); return keep(uint64(k), err) }},
		{"cuFuncSetAttribute(0x7fff12345678, 8, 230000)", false, func() error { return c.SetShared(h, 230000) }},
		{"cuFuncGetAttribute(4, 0x7fff12345678)\ncuFuncGetAttribute(1, 0x7fff12345678)\ncuFuncGetAttribute(3, 0x7fff12345678)\ncuFuncGetAttribute(0, 0x7fff12345678)", false, func() error {
			a, err := c.Attributes(h)
			if want := (Attributes{Registers: 1004, Shared: 1001, Local: 1003, MaxThreads: 1000}); a != want && err == nil {
				t.Errorf("attributes %+v, want %+v", a, want)
			}
			return err
		}},
		{"cuOccupancyMaxActiveBlocksPerMultiprocessor(0x7fff12345678, 256, 100000)", false, func() error {
			n, err := c.Occupancy(h, 256, 100000)
			if n != 6 && err == nil {
				t.Errorf("occupancy %d", n)
			}
			return err
		}},
		{"cuMemAlloc_v2(5000000000)", true, func() error { p, err := c.Alloc(5_000_000_000); return keep(uint64(p), err) }},
		{"cuMemFree_v2(0x7f0011223344)", false, func() error { return c.Free(big) }},
		{"cuMemcpyHtoDAsync_v2(0x7f0011223344, 'go bytes', 8, 0x7fff12345678)\ncuStreamSynchronize(0x7fff12345678)", false, func() error { return c.Upload(big, []byte("go bytes"), h) }},
		{"cuMemcpyHtoDAsync_v2(0x7f0011223344, 'pinned', 6, 0x7fff12345678)", false, func() error {
			copy(pinned, "pinned")
			return c.Upload(big, pinned[:6], h)
		}},
		{"cuMemcpyDtoHAsync_v2(0x7f0011223344, 4, 0x7fff12345678)", false, func() error {
			err := c.Download(pinned[4:8], big, h)
			if err == nil && string(pinned[:9]) != "pinnxxxx\x00" {
				t.Errorf("downloaded %q", pinned)
			}
			return err
		}},
		{"cuMemcpyDtoHAsync_v2(0x7f0011223344, 3, (nil))\ncuStreamSynchronize((nil))", false, func() error { return c.Download(make([]byte, 3), big, 0) }},
		{"cuMemcpyDtoDAsync_v2(0x7f0011223344, 0x7f0011223345, 6000000000, 0x7fff12345678)", false, func() error { return c.Copy(big, big+1, 6_000_000_000, h) }},
		{"cuMemsetD8Async(0x7f0011223344, 0, 6000000000, 0x7fff12345678)", false, func() error { return c.Zero(big, 6_000_000_000, h) }},
		{"cuStreamCreate(1)", true, func() error { s, err := c.NewStream(); return keep(uint64(s), err) }},
		{"cuStreamDestroy_v2(0x7fff12345678)", false, func() error { return c.DestroyStream(h) }},
		{"cuStreamSynchronize(0x7fff12345678)", false, func() error { return c.Wait(h) }},
		{"cuEventCreate(0)", true, func() error { e, err := c.NewEvent(); return keep(uint64(e), err) }},
		{"cuEventDestroy_v2(0x7fff12345678)", false, func() error { return c.DestroyEvent(h) }},
		{"cuEventRecord(0x7fff12345678, 0x7f0011223344)", false, func() error { return c.Record(h, big) }},
		{"cuStreamWaitEvent(0x7f0011223344, 0x7fff12345678, 0)", false, func() error { return c.WaitEvent(big, h) }},
		{"cuEventElapsedTime(0x7fff12345678, 0x7f0011223344)", false, func() error {
			ms, err := c.Elapsed(h, big)
			if ms != 1.25 && err == nil {
				t.Errorf("%v ms", ms)
			}
			return err
		}},
		{"cuLaunchKernel(0x7fff12345678, 70000 2 3, 256 4 1, 99000, 0x7f0011223344, no params, extra 1 2 0: 00010203aaff)", false, func() error {
			return c.Launch(h, [3]int{70000, 2, 3}, [3]int{256, 4, 1}, 99000, big, []byte{0, 1, 2, 3, 0xaa, 0xff})
		}},
		{"cuStreamBeginCapture_v2(0x7fff12345678, 1)", false, func() error { return c.BeginCapture(h) }},
		{"cuStreamEndCapture(0x7fff12345678)", true, func() error { g, err := c.EndCapture(h); return keep(uint64(g), err) }},
		{"cuGraphInstantiateWithFlags(0x7fff12345678, 0)", true, func() error { e, err := c.Instantiate(h); return keep(uint64(e), err) }},
		{"cuGraphLaunch(0x7fff12345678, 0x7f0011223344)", false, func() error { return c.LaunchGraph(h, big) }},
		{"cuGraphDestroy(0x7fff12345678)", false, func() error { return c.DestroyGraph(h) }},
		{"cuGraphExecDestroy(0x7fff12345678)", false, func() error { return c.DestroyExec(h) }},
		{"cuMemHostAlloc(3000000000, 0)", false, func() error {
			b, err := c.AllocHost(3_000_000_000)
			if err == nil && len(b) != 3_000_000_000 {
				t.Errorf("%d bytes", len(b))
			}
			return err
		}},
	} {
		handle = 0
		if err := e.run(); err != nil {
			t.Errorf("%s: %v", e.want, err)
		}
		if got := f.calls(); got != e.want+"\n" {
			t.Errorf("calls\n%swant\n%s", got, e.want)
		}
		if e.new && handle>>36 != 1 {
			t.Errorf("%s returned %#x", e.want, handle)
		}
		// and the same failing
		name, _, _ := strings.Cut(e.want, "(")
		f.failNext(name, 2)
		var de *Error
		if err := e.run(); !errors.As(err, &de) || *de != (Error{Call: name, Code: 2, Name: "CUDA_ERROR_OUT_OF_MEMORY", Text: "out of memory"}) {
			t.Errorf("%s failing: %v", name, err)
		}
		if e.new && handle != 0 {
			t.Errorf("%s failing returned %#x", name, handle)
		}
		f.failNext("", 0)
		f.calls()
	}
	if err := c.FreeHost(pinned[:4]); err == nil {
		t.Error("freed a part of pinned memory")
	}
	if err := c.FreeHost(pinned); err != nil || f.calls() != "cuMemFreeHost()\n" {
		t.Error("FreeHost:", err)
	}
	if err := c.FreeHost(pinned); err == nil {
		t.Error("freed pinned memory twice")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Alloc(4); err == nil {
		t.Error("allocated after Close")
	}
}

func TestFailures(t *testing.T) {
	f := newFake(t)
	// the compiler's log
	c := f.open(0)
	f.failNext("cuModuleLoadDataEx", 218)
	if _, err := c.Load([]byte("x")); err == nil || err.Error() != "cuModuleLoadDataEx: CUDA_ERROR_OF_TEST (218): made to fail\nptxas application ptx input, line 7; fatal : expected ';'" {
		t.Errorf("load: %v", err)
	}
	// a code that the driver itself does not know
	f.failNext("cuEventRecord", 77)
	if err := c.Record(1, 2); err == nil || err.Error() != "cuEventRecord: CUDA_ERROR (77): the driver does not know it" {
		t.Errorf("record: %v", err)
	}
	f.failNext("", 0)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	// an Open that fails leaves no context behind
	for _, e := range []struct {
		call     string
		noDevice bool
		released bool
	}{
		{"cuInit", true, false}, {"cuDeviceGetCount", true, false}, {"cuDeviceGet", false, false}, {"cuDeviceGetName", false, false}, {"cuDeviceTotalMem_v2", false, false},
		{"cuDriverGetVersion", false, false}, {"cuDeviceGetAttribute", false, false}, {"cuDevicePrimaryCtxRetain", false, false}, {"cuCtxSetCurrent", false, true},
	} {
		f.calls()
		f.failNext(e.call, 999)
		c := &cuda{library: f.path}
		_, err := c.Open(0)
		if err == nil || !strings.Contains(err.Error(), e.call) || errors.Is(err, compute.ErrNoDevice) != e.noDevice {
			t.Errorf("%s failing: %v", e.call, err)
		}
		if got := strings.Contains(f.calls(), "cuDevicePrimaryCtxRelease_v2(40)"); got != e.released {
			t.Errorf("%s failing: context released: %v", e.call, got)
		}
		if err := c.Close(); err == nil {
			t.Errorf("%s failing: Close of nothing", e.call)
		}
	}
	f.failNext("", 0)
	for ordinal, want := range map[int]string{2: "Fake GPU 42 has compute capability 7.6, 8.0 is needed", 3: "device 3 of 3, counted from 0", -1: "device -1 of 3"} {
		if _, err := (&cuda{library: f.path}).Open(ordinal); !errors.Is(err, compute.ErrNoDevice) || !strings.Contains(err.Error(), want) {
			t.Errorf("device %d: %v, want %q", ordinal, err, want)
		}
	}
}

// Without a driver, or with too old a one, the error says so.
func TestNoDriver(t *testing.T) {
	_, err := (&cuda{library: "libcuda-that-is-not-there.so.1"}).Count()
	if !errors.Is(err, compute.ErrNoDevice) || !strings.HasPrefix(err.Error(), "no usable NVIDIA GPU: libcuda-that-is-not-there.so.1: cannot open shared object file") {
		t.Error(err)
	}
	f := newFake(t, "-DcuGraphLaunch=renamed")
	if _, err := (&cuda{library: f.path}).Count(); !errors.Is(err, compute.ErrNoDevice) || !strings.Contains(err.Error(), "is older than CUDA 11.4: cuGraphLaunch is missing") {
		t.Error(err)
	}
}

// With a GPU the self-test runs on it.
func TestOnDevice(t *testing.T) {
	th := NewThread()
	defer th.Close()
	err := th.Do(func() error {
		d := New()
		info, err := d.Open(0)
		if err != nil {
			return err
		}
		a, err := SelfTest(d)
		t.Logf("%+v %+v", info, a)
		return errors.Join(err, d.Close())
	})
	if errors.Is(err, compute.ErrNoDevice) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestThread(t *testing.T) {
	th := NewThread()
	defer th.Close()
	if err := th.Do(func() error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = th.Do(func() error { panic("boom") })
	}()
	if err := th.Do(func() error { return nil }); err != nil {
		t.Error("after a panic:", err)
	}
}
